"""Counters of the SMS path and how Prometheus and `smsfilter top` read them.

The path bumps plain ints, dicts and lists (0.06 µs); everything that costs more happens in
`render` and `snapshot`, which the admin's threads call. They only copy, so neither side waits.
Every series of a closed label set stands at 0 from the start, so that a first refusal is a
visible increase. Must never have a label that holds a number or a company, and no system_id but
of the accounts that the policy names.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any, Final

from prometheus_client import (
    CollectorRegistry,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from smsfilter.exposition import (
    SECONDS_BOUNDS,
    Histogram,
    counter,
    gauge,
    histogram,
    info,
    now,
    present,
    total,
)
from smsfilter.rules.verdict import ANSWERS, Kind, Reason
from smsfilter.smpp.session import State

BATCH_BOUNDS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)
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
        self.records = 0
        self.record_octets = 0
        self.records_lost = 0
        self.record_fsync_errors = 0
        self.segments = 0
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
        self.recording = False
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
        sessions: dict[str, int] = now(self.sessions)
        return dict.fromkeys(SESSION_STATES, 0) | sessions

    def snapshot(self) -> dict[str, Any]:
        """Give the counters for the status page: verdicts, latency, gauges. See admin.py."""
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
            "in_flight": now(self.in_flight),
            "log_dropped": now(self.log_dropped),
            "loop_lag_s": now(self.loop_lag),
            "index_ready": self.index_ready,
            "config_stale": self.config_stale,
            "policy_version": self.policy_version,
            "registry_version": self.registry_version,
        }


def render(metrics: Metrics) -> bytes:
    """Give everything in Prometheus' text format."""
    return generate_latest(metrics._registry)


class _Exposition(Collector):
    """The names and labels under which Prometheus knows the counters."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        m = self._metrics
        verdicts: dict[tuple[str, ...], int] = {(Kind.FORWARD, ""): m.forwarded}
        yield counter(
            "messages", "Messages judged.", ("verdict", "reason"), verdicts | m.refused.copy()
        )
        yield counter(
            "shadow",
            "Messages that passed because a rule runs in shadow.",
            ("rule", "reason"),
            m.shadow,
        )
        yield counter(
            "policy_bypassed",
            "Messages that a rule could not check and let pass, as on_error: pass says.",
            ("rule",),
            m.bypassed,
        )
        yield counter("closes", "Sessions ended, by whom and why.", ("leg", "why"), m.closes)
        yield counter("binds", "Binds, by what became of them.", ("result",), m.binds)
        yield counter(
            "pdus_dropped", "PDUs that were not passed on.", ("leg", "why"), m.pdus_dropped
        )
        yield total("trailing_nuls", "PDUs with NULs after their last field.", m.trailing_nuls)
        yield total("log_dropped", "Log lines lost to a slow reader.", now(m.log_dropped))
        yield total("decision_records", "Verdicts and receipts put on record.", m.records)
        yield total("decision_octets", "Octets of these.", m.record_octets)
        yield total("decision_records_lost", "Messages decided without a record.", m.records_lost)
        yield total("decision_segments", "Files of records begun.", m.segments)
        yield total(
            "decision_fsync_errors", "Files that the disk would not keep.", m.record_fsync_errors
        )
        yield histogram("batch_size", "Messages per look-up.", m.batch_size)
        yield histogram("lookup_seconds", "Round trip of a batch to Redis.", m.lookup_seconds)
        yield histogram("added_seconds", "Time from reading to writing.", m.added_seconds)
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
        for (account, limit), most in now(m.account_limits).items():
            own.add_metric((account, limit), most)
        yield own
        held = GaugeMetricFamily(
            "smsfilter_account_sessions",
            "Sessions of the accounts that the policy names.",
            labels=("account",),
        )
        for account, n in now(m.account_sessions).items():
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
        yield gauge("in_flight", "Requests of ESMEs without an answer.", now(m.in_flight))
        yield gauge("redis_up", "1 while Redis answers and is trusted.", m.redis_up)
        yield gauge("index_ready", "1 while the index is filled.", m.index_ready)
        yield gauge("decisions_recorded", "1 while verdicts are put on record.", m.recording)
        yield gauge("config_stale", "1 while the files on disk were refused.", m.config_stale)
        yield gauge("loop_lag_seconds", "How late the event loop is.", now(m.loop_lag))
        yield info("policy", "The policy in force.", m.policy_version)
        yield info("registry", "The registry in force.", m.registry_version)
