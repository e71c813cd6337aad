"""What /metrics says of cases."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import Connection, func, select

from smsfilter.exposition import counter, gauge, present
from smsfilter.flow.case import OPEN
from smsfilter.flow.clock import Warned
from smsfilter.store.schema import case_file


@dataclass(frozen=True, slots=True)
class Figures:
    """The open cases, as they were counted last."""

    states: Mapping[str, int] = field(default_factory=dict)
    oldest_due_at: int | None = None
    """µs UTC."""


def figures(connection: Connection) -> Figures:
    """Count the open cases."""
    query = select(case_file.c.state, func.count()).where(case_file.c.closed_at.is_(None))
    states = {row[0]: row[1] for row in connection.execute(query.group_by(case_file.c.state))}
    oldest = select(func.min(case_file.c.due_at)).where(case_file.c.closed_at.is_(None))
    return Figures(states, connection.scalar(oldest))


class CaseMetrics(Collector):
    """Open cases, and what the clock has said of them."""

    def __init__(self) -> None:
        self.figures = Figures()
        self.held = False
        self.warnings: dict[str, int] = {}
        present(self.warnings, Warned)

    def collect(self) -> Iterator[Metric]:
        """Give every family."""
        known = self.figures
        cases = GaugeMetricFamily(
            "smsfilter_desk_cases", "Open cases by their state.", labels=["state"]
        )
        for state in OPEN:
            cases.add_metric([state.value], known.states.get(state.value, 0))
        yield cases
        oldest = 0.0 if known.oldest_due_at is None else known.oldest_due_at / 1e6
        yield gauge(
            "desk_oldest_due_seconds",
            "When the most urgent open case is due, in seconds since 1970; 0: there is none.",
            oldest,
        )
        yield counter("desk_warnings", "What the clock has warned of.", ("kind",), self.warnings)
        yield gauge(
            "desk_clock_held",
            "1 while the wall clock has jumped and nobody is warned.",
            self.held,
        )
