"""Reports that wait for a person to say whose they are, by what was reported, and decided at once.

One unknown sender makes a hundred reports. They are grouped by the source; whoever names the
company, or says that nobody can be named, sees first what would follow, and then has it done in
portions: each report is an act of its own in the ledger, and what is done is not done again, so
that it may be stopped and taken up at any point.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, exists, func, select

from smsfilter.desk.blocks import SOURCE
from smsfilter.desk.vault import Vault
from smsfilter.reports.deciding import UNDECIDED
from smsfilter.rules.headers import source_forms
from smsfilter.rules.numbers import subscriber
from smsfilter.store.schema import block, case_file, report

PERSON: Final = "#"
"""Before a customer's id: the source is that person's number."""
SHOWN_MOST: Final = 200


@dataclass(frozen=True, slots=True)
class Source:
    """What was reported: a service's source, or the number of a person as their id."""

    norm: str | None
    customer: str | None

    @property
    def key(self) -> str:
        """By which a group is named; no number is in it."""
        return f"{PERSON}{self.customer}" if self.customer else self.norm or ""

    @property
    def reports(self) -> ColumnElement[bool]:
        """The reports of it."""
        if self.customer is not None:
            return report.c.reported_customer == self.customer
        return report.c.reported_norm == self.norm


def source_of(
    connection: Connection, vault: Vault, written: str, country_code: str
) -> Source | None:
    """Read a source as a person wrote it, or as a list names it; None for an unknown person."""
    text = written.strip()
    if text.startswith(PERSON):
        return Source(None, text.removeprefix(PERSON))
    digits = subscriber(text.encode(), country_code)
    if digits is None:
        forms = source_forms(text.removeprefix(SOURCE).encode(), country_code)
        return Source(forms.normalised, None)
    known = vault.find(connection, digits.decode())
    return None if known is None else Source(None, known)


def listed(
    connection: Connection, vault: Vault, within: Iterable[str] | None, most: int
) -> list[dict[str, Any]]:
    """Return the groups of these branches, the largest first."""
    query = (
        _waiting(within)
        .with_only_columns(
            report.c.reported_norm,
            report.c.reported_customer,
            func.count().label("reports"),
            func.count(report.c.case_id.distinct()).label("cases"),
            func.count(report.c.customer.distinct()).label("customers"),
            func.min(report.c.received_at).label("first_at"),
            func.max(report.c.received_at).label("last_at"),
            *(_count_of(state).label(state) for state in UNDECIDED),
        )
        .group_by(report.c.reported_norm, report.c.reported_customer)
        .order_by(func.count().desc(), func.min(report.c.id))
        .limit(most)
    )
    rows = connection.execute(query).all()
    people = [row.reported_customer for row in rows if row.reported_customer]
    masked = vault.masked(connection, people)
    return [_told(row, masked) for row in rows]


def _told(row: Row[Any], masked: dict[str, str]) -> dict[str, Any]:
    source = Source(row.reported_norm, row.reported_customer)
    columns = ("reports", "cases", "customers", "first_at", "last_at")
    return {
        "key": source.key,
        "source": masked[source.customer] if source.customer else source.norm,
        **{name: getattr(row, name) for name in columns},
        "states": {state: n for state in UNDECIDED if (n := getattr(row, state))},
    }


@dataclass(frozen=True, slots=True)
class Extent:
    """What a decision would reach."""

    reports: int
    cases: int
    customers: int
    blocks: int = 0
    """Blocks of the company that would be put: of customers who have none yet."""
    ends: int = 0
    """Blocks of the source that these would take the place of."""

    def told(self) -> dict[str, int]:
        """As the API says it."""
        return asdict(self)


def extent(
    connection: Connection, source: Source, within: Iterable[str] | None, company: str | None = None
) -> Extent:
    """Count what a decision on a source would reach in these branches."""
    query = _waiting(within).where(source.reports)
    counts = connection.execute(
        query.with_only_columns(
            func.count().label("reports"),
            func.count(report.c.case_id.distinct()).label("cases"),
            func.count(report.c.customer.distinct()).label("customers"),
        )
    ).one()
    if company is None:
        return Extent(counts.reports, counts.cases, counts.customers)
    there = exists().where(
        block.c.customer == report.c.customer,
        block.c.target == company,
        block.c.ended_at.is_(None),
    )
    new = query.where(~there).with_only_columns(func.count(report.c.customer.distinct()))
    ends = (
        select(func.count())
        .select_from(block)
        .where(
            block.c.ended_at.is_(None),
            block.c.target.startswith(SOURCE),
            block.c.case_id.in_(query.with_only_columns(report.c.case_id)),
            block.c.customer.in_(query.with_only_columns(report.c.customer)),
        )
    )
    return Extent(
        counts.reports,
        counts.cases,
        counts.customers,
        connection.scalar(new) or 0,
        connection.scalar(ends) or 0,
    )


def of_others(
    connection: Connection, source: Source, within: Iterable[str] | None, staff: str | None
) -> int:
    """Count the cases of a source that somebody else than `staff` works on."""
    query = (
        _waiting(within)
        .where(source.reports, case_file.c.owner.is_not(None), case_file.c.owner != (staff or ""))
        .with_only_columns(func.count(case_file.c.id.distinct()))
    )
    return connection.scalar(query) or 0


def portion(
    connection: Connection,
    source: Source,
    within: Iterable[str] | None,
    after: int,
    most: int,
) -> list[Row[Any]]:
    """Return the next cases of a source behind `after`, each with its first report that waits."""
    query = (
        _waiting(within)
        .where(source.reports, case_file.c.id > after)
        .with_only_columns(case_file.c.id.label("case_id"), func.min(report.c.id).label("report"))
        .group_by(case_file.c.id)
        .order_by(case_file.c.id)
        .limit(most)
    )
    return list(connection.execute(query))


def _waiting(within: Iterable[str] | None) -> Select[Any]:
    """Reports that wait, of open cases in these branches."""
    wanted = [
        case_file.c.closed_at.is_(None),
        case_file.c.due_at >= 0,  # by the index of open cases, and not by that of all in a branch
        report.c.state.in_(UNDECIDED),
        case_file.c.outcome.is_(None),
    ]
    if within is not None:
        wanted.append(case_file.c.branch.in_(list(within)))
    return (
        select(report.c.id).join(case_file, case_file.c.id == report.c.case_id).where(and_(*wanted))
    )


def _count_of(state: str) -> ColumnElement[int]:
    return func.count(report.c.id).filter(report.c.state == state)
