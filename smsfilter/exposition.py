"""Counts, histograms, and the families in which Prometheus reads them.

What counts bumps plain ints and dicts (0.06 µs); everything that costs more happens when they are
read, by other threads, which only copy. All names begin with `smsfilter_`.
"""

from bisect import bisect_left
from collections.abc import Iterable
from itertools import accumulate
from typing import Any, Final, TypeVar

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)

SECONDS_BOUNDS: Final = (
    *(0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005),
    *(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0),
)

K = TypeVar("K")


class Histogram:
    """Counts of values in fixed buckets, the last one without an upper bound."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Iterable[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float, n: int = 1) -> None:
        """Count `value` n times."""
        self.counts[bisect_left(self.bounds, value)] += n
        self.sum += value * n

    def snapshot(self) -> dict[str, Any]:
        """Give bounds, counts per bucket, sum and the usual quantiles, as JSON can say them."""
        counts = self.counts.copy()
        quantiles = {
            name: quantile(self.bounds, counts, q)
            for name, q in (("p50", 0.5), ("p99", 0.99), ("p999", 0.999))
        }
        return {"bounds": list(self.bounds), "counts": counts, "sum": self.sum, **quantiles}


def quantile(bounds: Iterable[float], counts: Iterable[int], q: float) -> float | None:
    """Estimate the q-quantile by its place in its bucket; None where nothing was counted."""
    bounds, counts = list(bounds), list(counts)
    rank = q * sum(counts)
    below = 0
    for i, count in enumerate(counts):
        if count and below + count >= rank:
            low = bounds[i - 1] if i else 0.0
            high = bounds[i] if i < len(bounds) else low  # beyond the last bound: at least that
            return low + (high - low) * (rank - below) / count
        below += count
    return None


def present(counter: dict[K, int], keys: Iterable[K]) -> None:
    """Let a series stand at 0 before it is first counted."""
    for key in keys:
        counter.setdefault(key, 0)


def now(gauge: Any) -> Any:
    """Give a gauge that is a value, or that another thread may ask for."""
    return gauge() if callable(gauge) else gauge


def counter(
    name: str, text: str, labels: tuple[str, ...], counts: dict[Any, int]
) -> CounterMetricFamily:
    """Counts by their labels; another thread may go on counting."""
    family = CounterMetricFamily(f"smsfilter_{name}", text, labels=labels)
    for key, n in counts.copy().items():
        family.add_metric((key,) if isinstance(key, str) else key, n)
    return family


def total(name: str, text: str, value: int) -> CounterMetricFamily:
    """One count."""
    return CounterMetricFamily(f"smsfilter_{name}", text, value=value)


def gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    """One value that goes up and down."""
    return GaugeMetricFamily(f"smsfilter_{name}", text, value=float(value))


def info(name: str, text: str, version: str) -> InfoMetricFamily:
    """A version that is in force."""
    return InfoMetricFamily(f"smsfilter_{name}", text, value={"version": version})


def histogram(name: str, text: str, values: Histogram) -> HistogramMetricFamily:
    """Values in buckets."""
    bounds = [*(f"{float(bound):g}" for bound in values.bounds), "+Inf"]
    buckets = list(zip(bounds, accumulate(values.counts.copy()), strict=True))
    return HistogramMetricFamily(f"smsfilter_{name}", text, buckets=buckets, sum_value=values.sum)
