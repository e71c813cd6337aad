"""Reports that named nobody known when they came: looked at again, for 72 hours.

The registry is asked for all of them whenever it has changed. What was forwarded is asked for each
at growing distances, as decision records of other hosts arrive late: a minute after it came, then
at twice its age each time, so that hundreds of thousands of them cost no more than thousands.
"""

import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Row, Select, and_, or_, select

from smsfilter import log
from smsfilter.desk.matching import Reported
from smsfilter.desk.office import Office
from smsfilter.desk.owners import WINDOW, Owners
from smsfilter.ledger.actor import system
from smsfilter.reports.intake import Intake
from smsfilter.reports.triage import Triage
from smsfilter.store.reading import reading
from smsfilter.store.schema import report
from smsfilter.store.transaction import Transaction

FIRST_US: Final = 60_000_000
BEFORE_US: Final = 3600 * 1_000_000
"""How far back a desk that starts takes up turns that were missed."""
AT_ONCE: Final = 500
"""Reports whose reporter is opened in one row of the ledger."""
_TIMES: Final = tuple(FIRST_US << n for n in range(13))
"""Ages at which a report is looked at again: a minute to 68 hours."""
_BY: Final = system("matching")
T = TypeVar("T")
RECORDS_AWAY: Final = "records away"
"""In the evidence: the decision records could not be read, so nothing followed from there."""


class Unmatched:
    """Looks at unmatched reports again."""

    def __init__(
        self,
        office: Office,
        triage: Triage,
        intake: Intake,
        owners: Callable[[], Awaitable[Owners]],
    ) -> None:
        self._office = office
        self._triage = triage
        self._intake = intake
        self._owners = owners
        self._seen_seq = -1  # of the registry, when all were looked at
        self._looked_at = office.clock() - BEFORE_US

    async def look(self) -> int:
        """Look at those whose turn it is; how many are known by now.

        Raises RecordsAway: what was not reached then has its turn again.
        """
        now, since = self._office.clock(), self._looked_at
        seq = (await self._owners()).seq
        matched = 0
        if seq != self._seen_seq:
            matched += await self._by_registry(now)
        matched += await self._by_forwards(now, since)
        self._seen_seq, self._looked_at = seq, now
        if matched:
            log.get().info("reports_matched", count=matched)
        return matched

    async def _by_registry(self, now: int) -> int:
        """Ask the registry for every source that is waiting."""
        matched = 0
        for source in await self._read(partial(_sources, now=now)):
            if await self._triage.by_registry(Reported(source, now)) is None:
                continue  # who owned it when each report came may differ: asked below
            for row in await self._read(partial(_of_source, now=now, source=source)):
                decided = await self._triage.by_registry(_reported(row, source))
                if decided is not None:
                    matched += await self._intake.match(row.id, decided)
        return matched

    async def _by_forwards(self, now: int, since: int) -> int:
        """Ask what was forwarded, for those that have come of an age since the last time."""
        matched, after = 0, 0
        while rows := await self._read(partial(_of_age, now=now, since=since, after=after)):
            after = rows[-1].id
            numbers = await self._opened(rows)
            for row in rows:
                matched += await self._again(row, numbers)
        return matched

    async def _again(self, row: Any, numbers: dict[str, str]) -> bool:
        source = row.reported_norm or numbers.get(row.reported_customer or "")
        reporter = numbers.get(row.customer)
        if source is None or reporter is None:
            return False
        decided = await self._triage.again(_reported(row, source), reporter)
        return decided is not None and await self._intake.match(row.id, decided)

    async def _opened(self, rows: Iterable[Any]) -> dict[str, str]:
        """Open the numbers that are needed, and enter how many."""
        ids = {each for row in rows for each in (row.customer, row.reported_customer) if each}

        def work(transaction: Transaction) -> dict[str, str]:
            numbers = self._office.vault.numbers(transaction.connection, ids)
            transaction.enter("reports looked at again", _BY, detail={"numbers": len(numbers)})
            return numbers

        return await self._office.writer.write(work)

    async def _read(self, work: Callable[[Connection], T]) -> T:
        return await reading(self._office.records, work)


def _waiting(now: int) -> tuple[Any, ...]:
    return report.c.state == "unmatched", report.c.received_at > now - WINDOW


def _rows() -> Select[Any]:
    return select(
        report.c.id,
        report.c.customer,
        report.c.reported_norm,
        report.c.reported_customer,
        report.c.received_at,
        report.c.evidence,
    )


def _sources(connection: Connection, now: int) -> Sequence[str]:
    query = select(report.c.reported_norm).where(*_waiting(now)).distinct()
    return connection.scalars(query.where(report.c.reported_norm.is_not(None))).all()


def _of_source(connection: Connection, now: int, source: str) -> Sequence[Row[Any]]:
    query = _rows().where(*_waiting(now), report.c.reported_norm == source)
    return connection.execute(query.order_by(report.c.id)).all()


def _of_age(connection: Connection, now: int, since: int, after: int) -> Sequence[Row[Any]]:
    """Those whose turn has come between `since` and now, a page of them."""
    turns = [
        and_(report.c.received_at <= now - age, report.c.received_at > since - age)
        for age in _TIMES
    ]
    query = _rows().where(*_waiting(now), or_(*turns), report.c.id > after)
    return connection.execute(query.order_by(report.c.id).limit(AT_ONCE)).all()


def _reported(row: Any, source: str) -> Reported:
    """What was reported; without a text only where that was why it named nobody."""
    was_away = json.loads(row.evidence or "{}").get("by") == RECORDS_AWAY
    return Reported(source, row.received_at, number_only=not was_away)
