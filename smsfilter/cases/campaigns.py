"""Campaigns: one text that many customers report within days, whatever source it comes from.

Texts are the same when they differ in digits, links, blanks and signs only (reports/fold.py), and
are known by a keyed mark, so that none is opened to be compared.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import CTE, ColumnElement, Connection, Row, Select, func, select

from smsfilter.desk.blocks import company_of
from smsfilter.flow.suggest import CAMPAIGN_LEAST
from smsfilter.reports.answers import DAY_US
from smsfilter.reports.cases import ORDERS
from smsfilter.store.schema import case_file, report

WITHIN_US: Final = 7 * DAY_US
LOOKED_AT_MOST: Final = 1_000
"""Reports of one text that are looked at, the newest: more say no more, and cost time."""
SHOWN_MOST: Final = 10
_CANDIDATES: Final = 15
"""Texts that are counted in full, the most reported ones of the last day."""


@dataclass(frozen=True, slots=True)
class Campaign:
    """What is known of one text."""

    text: str
    """The mark of it."""
    reports: tuple[int, ...]
    """One of each customer, the newest first."""
    customers: int
    sources: int
    companies: tuple[str, ...]
    first_at: int
    last_at: int
    is_more: bool
    """There are more than were looked at."""

    @property
    def is_one(self) -> bool:
        """Whether so many report it that it is a campaign."""
        return self.customers >= CAMPAIGN_LEAST


def of_text(connection: Connection, text: str, until: int) -> Campaign | None:
    """Return what was reported of a text in the seven days up to `until` (µs); None for nothing."""
    found = same_text(connection, text, until)
    rows = [row for row in found if row.received_at > until - WITHIN_US]
    if not rows:
        return None
    newest = {row.customer: row.id for row in reversed(rows)}
    companies = {company for row in rows if (company := company_of(row.target))}
    return Campaign(
        text=text,
        reports=tuple(sorted(newest.values(), reverse=True)),
        customers=len(newest),
        sources=len({row.reported_customer or row.reported_norm for row in rows}),
        companies=tuple(sorted(companies)),
        first_at=rows[-1].received_at,
        last_at=rows[0].received_at,
        is_more=len(rows) == LOOKED_AT_MOST,
    )


def lately(
    connection: Connection, now: int, branches: Iterable[str] | None = None
) -> list[Campaign]:
    """Return the campaigns that customers of these branches report by now, the largest first."""
    candidates = connection.scalars(_lately(now - DAY_US, branches))
    found = [of_text(connection, each, now) for each in candidates]
    campaigns = [each for each in found if each is not None and each.is_one]
    campaigns.sort(key=lambda each: (-each.customers, -each.last_at))
    return campaigns[:SHOWN_MOST]


def same_text(connection: Connection, text: str, until: int) -> Sequence[Row[Any]]:
    """Return reports of a text with their cases, whenever they came, the newest first."""
    return connection.execute(_of_text(text, until)).all()


def _of_text(text: str, until: int) -> Select[Any]:
    """The newest reports of a text; read backwards, so that no more than these are looked at."""
    return (
        select(
            report.c.id,
            report.c.customer,
            report.c.reported_norm,
            report.c.reported_customer,
            report.c.received_at,
            report.c.case_id,
            case_file.c.target,
            case_file.c.state.label("case_state"),
            case_file.c.outcome,
        )
        .outerjoin(case_file, case_file.c.id == report.c.case_id)
        .where(
            report.c.text_fold == text,
            report.c.received_at <= until,
            report.c.counted,
            report.c.state.not_in(ORDERS),
        )
        .order_by(report.c.received_at.desc(), report.c.id.desc())
        .limit(LOOKED_AT_MOST)
    )


def reports_since(since: int, *which: ColumnElement[bool]) -> CTE:
    """The reports that came after `since` (µs), found first: whatever they are joined with is more.

    Left to itself SQLite would begin with all cases there ever were.
    """
    columns = (report.c.id, report.c.customer, report.c.case_id, report.c.text_fold)
    lately = select(*columns).where(report.c.received_at > since, *which)
    return lately.cte("lately").prefix_with("MATERIALIZED")


def _lately(since: int, branches: Iterable[str] | None) -> Select[Any]:
    lately = reports_since(since, report.c.text_fold.is_not(None), report.c.counted)
    query = select(lately.c.text_fold)
    if branches is not None:
        query = query.join_from(lately, case_file, case_file.c.id == lately.c.case_id)
        query = query.where(case_file.c.branch.in_(sorted(branches)))
    often = func.count()
    query = query.group_by(lately.c.text_fold).having(often > 1)
    return query.order_by(often.desc(), lately.c.text_fold).limit(_CANDIDATES)
