"""How a day stands: incidents first, then what came, what is due, what is late, who is reported.

Figures of the branches that whoever asks may see, from one state of the records. They are made at
most once in a few seconds, however many clerks have them on their screens; that somebody has
looked is a row of the ledger each time.
"""

import asyncio
from collections.abc import Iterable
from datetime import datetime, time
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Row, Select, func, select

from smsfilter.cases import campaigns
from smsfilter.cases.campaigns import Campaign
from smsfilter.cases.next import UNANSWERED
from smsfilter.desk.api import Asked
from smsfilter.desk.incidents import FORWARDED
from smsfilter.desk.office import Office
from smsfilter.reports.answers import DAY_US
from smsfilter.reports.cases import ORDERS
from smsfilter.store.reading import reading
from smsfilter.store.schema import block, case_file, incident, report

DUE_WITHIN_US: Final = 4 * 3600 * 1_000_000
INCIDENTS_WITHIN_US: Final = 7 * DAY_US
INCIDENTS_MOST: Final = 20
"""Incidents that are shown: those that were forwarded, then the newest."""
_INCIDENTS_LOOKED_AT: Final = 500
COMPANIES_MOST: Final = 10
FRESH_US: Final = 10_000_000
"""How long figures are said again before they are made anew."""

Within = frozenset[str] | None
"""The branches that are seen; None = all."""


class Today:
    """Says how the day stands."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._zone = ZoneInfo(office.policy.timezone)
        self._made: dict[Within, tuple[int, dict[str, Any]]] = {}
        self._making = asyncio.Lock()

    async def today(self, asked: Asked) -> Any:
        """How the day stands in the branches of whoever asks: incidents, what is due, who."""
        figures = await self._figures(self._office.branches.within(asked.known.branch))
        detail = {"branch": asked.known.branch, "count": len(figures["incidents"])}
        await self._office.writer.write(
            lambda transaction: transaction.enter("day looked at", asked.by, detail=detail)
        )
        return figures

    async def _figures(self, within: Within) -> dict[str, Any]:
        async with self._making:  # one at a time: the others find what it has made
            now = self._office.clock()
            at, figures = self._made.get(within, (0, {}))
            if not 0 <= now - at < FRESH_US or not figures:
                figures = await reading(
                    self._office.records, lambda c: self.figures(c, within, now)
                )
                self._made[within] = (now, figures)
            return figures

    def figures(self, connection: Connection, within: Within, now: int) -> dict[str, Any]:
        """Return the figures at `now` (µs)."""
        midnight = self._midnight(now)
        late = _open(within).where(case_file.c.due_at <= now)
        due = _open(within).where(
            case_file.c.due_at > now, case_file.c.due_at <= now + DUE_WITHIN_US
        )
        unowned = _open(within).where(case_file.c.owner.is_(None))
        return {
            "at": now,
            "since": midnight,
            "incidents": _incidents(connection, within, now),
            "received": _received(connection, within, midnight),
            "open": _count(connection, _open(within)),
            "due": _count(connection, due),
            "breaches": _count(connection, late),
            "unowned": _count(connection, unowned),
            "replies_failed": _count(connection, _open(within).where(UNANSWERED)),
            "companies": _companies(connection, within, now),
            "campaigns": [_campaign(one) for one in campaigns.lately(connection, now, within)],
        }

    def _midnight(self, now: int) -> int:
        """Return when the day has begun, where the policy is in force."""
        day = datetime.fromtimestamp(now // 1_000_000, self._zone).date()
        return int(datetime.combine(day, time(), self._zone).timestamp()) * 1_000_000


def _open(within: Within) -> Select[Any]:
    query = select(case_file.c.id).where(case_file.c.closed_at.is_(None))
    return query if within is None else query.where(case_file.c.branch.in_(sorted(within)))


def _count(connection: Connection, query: Select[Any]) -> int:
    return connection.scalar(query.with_only_columns(func.count())) or 0


def _received(connection: Connection, within: Within, since: int) -> int:
    """Count the reports of a day; what customers order about one is none."""
    query = select(func.count()).where(
        report.c.received_at >= since, report.c.state.not_in((*ORDERS, "nonsense"))
    )
    return connection.scalar(_of(within, query)) or 0


def _of(within: Iterable[str] | None, query: Select[Any]) -> Select[Any]:
    """Leave reports of other branches out."""
    if within is None:
        return query
    query = query.join_from(report, case_file, case_file.c.id == report.c.case_id)
    return query.where(case_file.c.branch.in_(sorted(within)))


def _incidents(connection: Connection, within: Within, now: int) -> list[dict[str, Any]]:
    newest = select(incident).order_by(incident.c.id.desc()).limit(_INCIDENTS_LOOKED_AT).subquery()
    query = (
        select(newest, block.c.target, case_file.c.branch)
        .join(block, block.c.id == newest.c.block)
        .outerjoin(case_file, case_file.c.id == newest.c.case_id)
        .where(newest.c.opened_at > now - INCIDENTS_WITHIN_US)
    )
    if within is not None:
        query = query.where(case_file.c.branch.in_(sorted(within)))
    rows = connection.execute(query).all()
    rows = sorted(rows, key=lambda row: (row.result != FORWARDED, -row.id))
    return [_incident(row) for row in rows[:INCIDENTS_MOST]]


def _incident(row: Row[Any]) -> dict[str, Any]:
    named = row.target if not row.target.startswith("source:#") else "a person's number"
    columns = ("id", "report", "block", "case_id", "opened_at", "result")
    said = {name: getattr(row, name) for name in columns}
    return said | {"of": named, "alarm": row.result == FORWARDED}


def _companies(connection: Connection, within: Within, now: int) -> list[dict[str, Any]]:
    """The companies that most customers reported in the last 24 h."""
    lately = (
        select(report.c.customer, report.c.case_id)
        .where(report.c.received_at > now - DAY_US, report.c.counted)
        .cte("lately")
        .prefix_with("MATERIALIZED")  # else SQLite reads all cases there ever were, by target
    )
    customers = func.count(lately.c.customer.distinct())
    query = (
        select(case_file.c.target, func.count().label("reports"), customers.label("customers"))
        .join_from(lately, case_file, case_file.c.id == lately.c.case_id)
        .where(case_file.c.target.not_like("source:%"))
        .group_by(case_file.c.target)
        .order_by(customers.desc(), case_file.c.target)
        .limit(COMPANIES_MOST)
    )
    if within is not None:
        query = query.where(case_file.c.branch.in_(sorted(within)))
    return [
        {"company": row.target, "reports": row.reports, "customers": row.customers}
        for row in connection.execute(query)
    ]


def _campaign(one: Campaign) -> dict[str, Any]:
    return {
        "customers": one.customers,
        "sources": one.sources,
        "companies": list(one.companies),
        "first_at": one.first_at,
        "last_at": one.last_at,
        "more": one.is_more,
        "report": one.reports[0],
    }
