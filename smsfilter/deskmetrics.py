"""Counters of the desk, in a registry of their own: the proxy's /metrics has none of them.

Each part of the desk counts in a class of its own here, which also knows the names under which
Prometheus reads it. Every series of a closed label set stands at 0 from the start. No label holds
a number, a company or anything that a customer wrote.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from typing import Final, NamedTuple

from prometheus_client import (
    CollectorRegistry,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from smsfilter.exposition import SECONDS_BOUNDS, Histogram, counter, gauge, histogram, now, present


class Outcome(StrEnum):
    """What became of a deliver_sm or data_sm."""

    TAKEN = "taken"
    """Answered ESME_ROK."""
    TEMPORARY = "temporary"
    """Answered with a status after which the SMSC delivers it again."""
    REFUSED = "refused"
    """Answered with a status that is final."""
    FAILED = "failed"
    """An error of the desk's own; answered as temporary."""
    BUSY = "busy"
    """More in progress than the limit; answered as temporary."""
    STOPPING = "stopping"
    """Came while the desk was being stopped; answered as temporary."""
    MALFORMED = "malformed"
    """Cannot be read; answered as final."""
    UNSENT = "unsent"
    """Done, but its connection was gone by then: the SMSC delivers it again."""


class Submitted(StrEnum):
    """What became of a submit_sm."""

    ACCEPTED = "accepted"
    TEMPORARY = "temporary"
    REFUSED = "refused"
    UNANSWERED = "unanswered"


BIND_RESULTS: Final = ("accepted", "refused", "unavailable")
DROPPED: Final = ("unexpected_response", "unexpected_request")


class CentreMetrics(Collector):
    """What the report centre counts at its SMSC. Bumped by the event loop, and only by it."""

    def __init__(self) -> None:
        self.bound = False
        self.binds: defaultdict[str, int] = defaultdict(int)
        self.closes: defaultdict[str, int] = defaultdict(int)
        self.deliveries: defaultdict[str, int] = defaultdict(int)
        self.submits: defaultdict[str, int] = defaultdict(int)
        self.dropped: defaultdict[str, int] = defaultdict(int)
        self.answer_seconds = Histogram(SECONDS_BOUNDS)
        self.in_progress: int | Callable[[], int] = 0
        self.in_flight: int | Callable[[], int] = 0
        present(self.binds, BIND_RESULTS)
        present(self.deliveries, Outcome)
        present(self.submits, Submitted)
        present(self.dropped, DROPPED)

    def collect(self) -> Iterator[Metric]:
        """Give every family."""
        yield gauge("centre_bound", "1 while the report centre is bound to its SMSC.", self.bound)
        yield counter("centre_binds", "Binds of the report centre.", ("result",), self.binds)
        yield counter("centre_closes", "Connections to its SMSC ended.", ("why",), self.closes)
        yield counter(
            "centre_deliveries",
            "Messages from its SMSC, by what became of them.",
            ("outcome",),
            self.deliveries,
        )
        yield counter(
            "centre_submits", "SMS to customers, by what became of them.", ("result",), self.submits
        )
        yield counter(
            "centre_pdus_dropped", "PDUs of its SMSC without a meaning.", ("why",), self.dropped
        )
        yield histogram(
            "centre_answer_seconds", "From a message to its answer.", self.answer_seconds
        )
        yield gauge("centre_in_progress", "Messages not answered yet.", now(self.in_progress))
        yield gauge("centre_in_flight", "SMS that the SMSC has not answered.", now(self.in_flight))


FILED: Final = (
    *("blocked", "to_decide", "referred", "unmatched", "needs_info", "never_block", "nonsense"),
    *("withdrawal", "appeal", "copy", "part", "receipt", "receipt_unmatched", "no_handset"),
)
"""What a message to the centre has become."""
SMS_ENDED: Final = ("sent", "refused", "given_up", "unknown")


class IntakeMetrics(Collector):
    """What customers sent, and what they were answered."""

    def __init__(self) -> None:
        self.filed: defaultdict[str, int] = defaultdict(int)
        self.put_off = 0
        self.in_force_seconds = Histogram(SECONDS_BOUNDS)
        self.sms: defaultdict[str, int] = defaultdict(int)
        self.answered_seconds = Histogram(SECONDS_BOUNDS)
        present(self.filed, FILED)
        present(self.sms, SMS_ENDED)

    def collect(self) -> Iterator[Metric]:
        """Give every family."""
        yield counter(
            "reports", "Messages to the centre, by what they have become.", ("outcome",), self.filed
        )
        yield counter(
            "reports_put_off",
            "Messages answered as temporary: not durable or not in force in time.",
            (),
            {(): self.put_off},
        )
        yield histogram(
            "report_in_force_seconds",
            "From a message to its block in force.",
            self.in_force_seconds,
        )
        yield counter("sms", "SMS to customers that are done with.", ("result",), self.sms)
        yield histogram(
            "sms_answer_seconds",
            "From a report on the records to its answer at the SMSC.",
            self.answered_seconds,
        )


class IndexFigures(NamedTuple):
    """How the index stands to the records, and what was done to it since the start."""

    ready: bool
    lag: int
    lag_s: float
    unconfirmed: int
    runs: int
    failures: int
    lost: int


class IndexMetrics(Collector):
    """How far the index has followed the records."""

    def __init__(self, figures: Callable[[], IndexFigures]) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        """Give every family."""
        now = self._figures()
        yield gauge("projection_ready", "1 while the index follows the records.", now.ready)
        yield gauge("projection_lag", "Rows of the ledger that are not in force.", now.lag)
        yield gauge("projection_lag_seconds", "Age of the oldest of them.", now.lag_s)
        yield gauge("blocks_unconfirmed", "Live blocks that are not in force.", now.unconfirmed)
        for name, help_text, count in (
            ("projection_runs", "Times that the index was written to.", now.runs),
            ("projection_failures", "Times that it could not be.", now.failures),
            ("index_lost", "Times that it was emptied or an old copy.", now.lost),
        ):
            yield counter(name, help_text, (), {(): count})


PROOFS: Final = ("proven", "forwarded", "not_provable")
INCIDENTS: Final = ("forwarded", "accepted_before", "not_through_us", "not_provable")
SEGMENTS: Final = ("taken", "at_fault")


class ProofMetrics(Collector):
    """What the desk made of the records of the proxies."""

    def __init__(self) -> None:
        self.segments: defaultdict[str, int] = defaultdict(int)
        self.proofs: defaultdict[str, int] = defaultdict(int)
        self.incidents: defaultdict[str, int] = defaultdict(int)
        self.behind_s: dict[str, float] = {}
        """By proxy: the age of what is known of it; infinite where nothing can be read."""
        present(self.segments, SEGMENTS)
        present(self.proofs, PROOFS)
        present(self.incidents, INCIDENTS)

    def collect(self) -> Iterator[Metric]:
        """Give every family."""
        yield counter(
            "decision_segments",
            "Segments of decision records that were taken in, or found at fault.",
            ("result",),
            self.segments,
        )
        behind = GaugeMetricFamily(
            "smsfilter_decisions_behind_seconds",
            "Age of what is known of a proxy's decisions.",
            labels=("proxy",),
        )
        for proxy, age in self.behind_s.copy().items():
            behind.add_metric((proxy,), age)
        yield behind
        yield counter("proofs", "Proofs that were asked for.", ("result",), self.proofs)
        yield counter(
            "incidents", "Reports on a pair that was blocked already.", ("result",), self.incidents
        )


class DeskMetrics:
    """Everything that the desk counts: what its parts have added."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)

    def add(self, collectors: Iterable[Collector]) -> None:
        """Show what a part of the desk counts."""
        for each in collectors:
            self._registry.register(each)

    def render(self) -> bytes:
        """Give everything in Prometheus' text format."""
        return generate_latest(self._registry)
