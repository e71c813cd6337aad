"""How a day stands: incidents first, then what came, what is due, what is late, who is reported.

Figures of the branches that whoever asks may see, from one state of the records. They are made at
most once in a few seconds, however many clerks have them on their screens; that somebody has
looked is a row of the ledger each time.
"""

import asyncio
from datetime import datetime, time
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Row, and_, func, select

from smsfilter.cases import campaigns
from smsfilter.cases.campaigns import Campaign, reports_since
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
        figures = await self._figures(self._office.seen_by(asked.known))
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
        return {
            "at": now,
            "since": midnight,
            "incidents": _incidents(connection, within, now),
            "received": _received(connection, within, midnight),
            **_open(connection, within, now),
            "companies": _companies(connection, within, now),
            "campaigns": [_campaign(one) for one in campaigns.lately(connection, now, within)],
        }

    def _midnight(self, now: int) -> int:
        """Return when the day has begun, where the policy is in force."""
        day = datetime.fromtimestamp(now // 1_000_000, self._zone).date()
        return int(datetime.combine(day, time(), self._zone).timestamp()) * 1_000_000


def _open(connection: Connection, within: Within, now: int) -> dict[str, int]:
    """Count the open cases, and those of which somebody should know."""
    due = case_file.c.due_at
    counts = {
        "open": None,
        "due": and_(due > now, due <= now + DUE_WITHIN_US),
        "breaches": due <= now,
        "unowned": case_file.c.owner.is_(None),
        "replies_failed": UNANSWERED,
    }
    columns = [
        func.count().label(name) if which is None else func.count().filter(which).label(name)
        for name, which in counts.items()
    ]
    # by the index of open cases, which has few, rather than by that of all in a branch
    query = select(*columns).where(case_file.c.closed_at.is_(None), due >= 0)
    if within is not None:
        query = query.where(case_file.c.branch.in_(sorted(within)))
    return dict(connection.execute(query).one()._mapping)


def _received(connection: Connection, within: Within, since: int) -> int:
    """Count the reports of a day; what customers order about one is none."""
    lately = reports_since(since - 1, report.c.state.not_in((*ORDERS, "nonsense")))
    query = select(func.count()).select_from(lately)
    if within is not None:
        query = query.join(case_file, case_file.c.id == lately.c.case_id)
        query = query.where(case_file.c.branch.in_(sorted(within)))
    return connection.scalar(query) or 0


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
    lately = reports_since(now - DAY_US, report.c.counted)
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
