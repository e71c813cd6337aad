"""Counters of the SMS path and how Prometheus and `smsfilter top` read them.

The path bumps plain ints, dicts and lists (0.06 µs); everything that costs more happens in
`render` and `snapshot`, which the admin's threads call. They only copy, so neither side waits.
Every series of a closed label set stands at 0 from the start, so that a first refusal is a
visible increase. Must never have a label that holds a number or a company, and no system_id but
of the accounts that the policy names.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from typing import Any, Final, TypeVar

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from smsfilter.rules.verdict import ANSWERS, Kind, Reason
from smsfilter.smpp.session import State

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
BATCH_BOUNDS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)
SECONDS_BOUNDS: Final = (
    *(0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005),
    *(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0),
)
SESSION_STATES: Final = tuple(state.name.lower() for state in State if state is not State.CLOSED)
BIND_REASONS: Final = (
    Reason.ALREADY_BOUND,
    Reason.SMSC_UNAVAILABLE,
    Reason.ADDRESS_NOT_ALLOWED,
    Reason.CERTIFICATE_NOT_ALLOWED,
    Reason.BIND_TYPE_NOT_ALLOWED,
    Reason.TOO_MANY_SESSIONS,
    Reason.PASSWORD_TOO_LONG,
)
"""Reasons said of a bind and never of a message."""
BIND_RESULTS: Final = ("accepted", "refused_by_smsc", Reason.PAUSED, *BIND_REASONS)

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


class Metrics:
    """Everything the daemon counts. Attributes are bumped by the event loop, and only by it."""

    def __init__(self) -> None:
        self.forwarded = 0
        self.refused: defaultdict[tuple[Kind, Reason], int] = defaultdict(int)
        self.shadow: defaultdict[tuple[str, Reason], int] = defaultdict(int)
        self.bypassed: defaultdict[str, int] = defaultdict(int)
        self.closes: defaultdict[tuple[str, str], int] = defaultdict(int)
        self.binds: defaultdict[str, int] = defaultdict(int)
        self.pdus_dropped: defaultdict[tuple[str, str], int] = defaultdict(int)
        self.trailing_nuls = 0
        self.batch_size = Histogram(BATCH_BOUNDS)
        self.lookup_seconds = Histogram(SECONDS_BOUNDS)
        self.added_seconds = Histogram(SECONDS_BOUNDS)
        # gauges are values, or callables that another thread may call
        self.sessions: dict[str, int] | Callable[[], dict[str, int]] = {}
        self.limits: dict[str, float] = {}
        self.account_limits: Callable[[], dict[tuple[str, str], int]] = dict
        self.account_sessions: Callable[[], dict[str, int]] = dict
        self.certificates: dict[str, float] = {}
        self.in_flight: int | Callable[[], int] = 0
        self.log_dropped: int | Callable[[], int] = 0
        self.loop_lag: float | Callable[[], float] = 0.0
        self.redis_up = False
        self.index_ready = False
        self.config_stale = False
        self.policy_version = ""
        self.registry_version = ""
        for reason, (kind, _) in ANSWERS.items():
            if reason not in BIND_REASONS:
                self.refused[kind, reason] = 0
        present(self.binds, BIND_RESULTS)
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Exposition(self))
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)

    def sessions_by_state(self) -> dict[str, int]:
        """Give the number of sessions in each state, those with none included."""
        sessions: dict[str, int] = _now(self.sessions)
        return dict.fromkeys(SESSION_STATES, 0) | sessions

    def snapshot(self) -> dict[str, Any]:
        """Give the counters for the status page: verdicts, latency, gauges. See proxy/admin.py."""
        messages: dict[str, dict[str, int]] = {Kind.FORWARD: {"": self.forwarded}}
        for (kind, reason), n in self.refused.copy().items():
            if n:
                messages.setdefault(kind, {})[reason] = n
        shadow: dict[str, dict[str, int]] = {}
        for (rule, reason), n in self.shadow.copy().items():
            if n:
                shadow.setdefault(rule, {})[reason] = n
        return {
            "messages": messages,
            "shadow": shadow,
            "bypassed": {rule: n for rule, n in self.bypassed.copy().items() if n},
            "batch_size": self.batch_size.snapshot(),
            "lookup_seconds": self.lookup_seconds.snapshot(),
            "added_seconds": self.added_seconds.snapshot(),
            "sessions_by_state": self.sessions_by_state(),
            "in_flight": _now(self.in_flight),
            "log_dropped": _now(self.log_dropped),
            "loop_lag_s": _now(self.loop_lag),
            "index_ready": self.index_ready,
            "config_stale": self.config_stale,
            "policy_version": self.policy_version,
            "registry_version": self.registry_version,
        }


def present(counter: dict[K, int], keys: Iterable[K]) -> None:
    """Let a series stand at 0 before it is first counted."""
    for key in keys:
        counter.setdefault(key, 0)


def render(metrics: Metrics) -> bytes:
    """Give everything in Prometheus' text format."""
    return generate_latest(metrics._registry)


def _now(gauge: Any) -> Any:
    return gauge() if callable(gauge) else gauge


class _Exposition(Collector):
    """The names and labels under which Prometheus knows the counters."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        m = self._metrics
        verdicts: dict[tuple[str, ...], int] = {(Kind.FORWARD, ""): m.forwarded}
        yield _counter(
            "messages", "Messages judged.", ("verdict", "reason"), verdicts | m.refused.copy()
        )
        yield _counter(
            "shadow",
            "Messages that passed because a rule runs in shadow.",
            ("rule", "reason"),
            m.shadow,
        )
        yield _counter(
            "policy_bypassed",
            "Messages that a rule could not check and let pass, as on_error: pass says.",
            ("rule",),
            m.bypassed,
        )
        yield _counter("closes", "Sessions ended, by whom and why.", ("leg", "why"), m.closes)
        yield _counter("binds", "Binds, by what became of them.", ("result",), m.binds)
        yield _counter(
            "pdus_dropped", "PDUs that were not passed on.", ("leg", "why"), m.pdus_dropped
        )
        yield _total("trailing_nuls", "PDUs with NULs after their last field.", m.trailing_nuls)
        yield _total("log_dropped", "Log lines lost to a slow reader.", _now(m.log_dropped))
        yield _histogram("batch_size", "Messages per look-up.", m.batch_size)
        yield _histogram("lookup_seconds", "Round trip of a batch to Redis.", m.lookup_seconds)
        yield _histogram("added_seconds", "Time from reading to writing.", m.added_seconds)
        sessions = GaugeMetricFamily(
            "smsfilter_sessions", "Sessions, by their state.", labels=("state",)
        )
        for state, n in m.sessions_by_state().items():
            sessions.add_metric((state,), n)
        yield sessions
        limits = GaugeMetricFamily(
            "smsfilter_limit", "What the configuration allows.", labels=("limit",)
        )
        for limit, most in m.limits.items():
            limits.add_metric((limit,), most)
        yield limits
        own = GaugeMetricFamily(
            "smsfilter_account_limit",
            "What the policy allows the accounts that it names.",
            labels=("account", "limit"),
        )
        for (account, limit), most in _now(m.account_limits).items():
            own.add_metric((account, limit), most)
        yield own
        held = GaugeMetricFamily(
            "smsfilter_account_sessions",
            "Sessions of the accounts that the policy names.",
            labels=("account",),
        )
        for account, n in _now(m.account_sessions).items():
            held.add_metric((account,), n)
        yield held
        ends = GaugeMetricFamily(
            "smsfilter_certificate_expiration_timestamp_seconds",
            "When the first certificate of a role ends, in Unix time.",
            labels=("role",),
        )
        for role, expires_at in m.certificates.items():
            ends.add_metric((role,), expires_at)
        yield ends
        yield _gauge("in_flight", "Requests of ESMEs without an answer.", _now(m.in_flight))
        yield _gauge("redis_up", "1 while Redis answers and is trusted.", m.redis_up)
        yield _gauge("index_ready", "1 while the index is filled.", m.index_ready)
        yield _gauge("config_stale", "1 while the files on disk were refused.", m.config_stale)
        yield _gauge("loop_lag_seconds", "How late the event loop is.", _now(m.loop_lag))
        yield _info("policy", "The policy in force.", m.policy_version)
        yield _info("registry", "The registry in force.", m.registry_version)


def _counter(
    name: str, text: str, labels: tuple[str, ...], counts: dict[Any, int]
) -> CounterMetricFamily:
    family = CounterMetricFamily(f"smsfilter_{name}", text, labels=labels)
    for key, n in counts.copy().items():
        family.add_metric((key,) if isinstance(key, str) else key, n)
    return family


def _total(name: str, text: str, value: int) -> CounterMetricFamily:
    return CounterMetricFamily(f"smsfilter_{name}", text, value=value)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"smsfilter_{name}", text, value=float(value))


def _info(name: str, text: str, version: str) -> InfoMetricFamily:
    return InfoMetricFamily(f"smsfilter_{name}", text, value={"version": version})


def _histogram(name: str, text: str, histogram: Histogram) -> HistogramMetricFamily:
    bounds = [*(f"{float(bound):g}" for bound in histogram.bounds), "+Inf"]
    buckets = list(zip(bounds, accumulate(histogram.counts.copy()), strict=True))
    return HistogramMetricFamily(
        f"smsfilter_{name}", text, buckets=buckets, sum_value=histogram.sum
    )
