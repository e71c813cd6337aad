"""Reports from a file: each row is a report, and the same row is never a second one.

What a row says is known again by a keyed hash, however long ago it was taken in and whatever has
become of it since: a file that is imported twice, or in part, adds what is missing and no more.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, select

from smsfilter.desk.indexing import IndexAway
from smsfilter.desk.office import Office
from smsfilter.ledger.actor import Actor
from smsfilter.reports.filing import Filed, Filing, Heard
from smsfilter.reports.intake import Intake
from smsfilter.reports.parse import parse
from smsfilter.store.reading import reading
from smsfilter.store.records import RecordsAway
from smsfilter.store.schema import report
from smsfilter.store.transaction import Transaction

CHANNEL: Final = "import"
ROWS_MOST: Final = 500
"""Rows of one request."""
AT_ONCE: Final = 16
"""Rows under way together: what comes by SMS meanwhile waits for no more than so many."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What has become of a row."""

    mark: str
    """The same for rows that say the same; says nothing of them."""
    outcome: str | None
    """The state of its report, or what it would be; None where it could not be taken in now."""
    report: int | None
    is_new: bool
    """Whether a report was made of it, or would be."""
    why: str = ""
    """Why it was not taken in, or is not in force yet."""


class Import:
    """Takes in the rows of one file after another."""

    def __init__(self, office: Office, filing: Filing, intake: Intake) -> None:
        self._office = office
        self._filing = filing
        self._intake = intake
        self._one = asyncio.Lock()
        self._room = asyncio.Semaphore(AT_ONCE)

    async def run(self, rows: Sequence[Heard], by: Actor, *, rehearse: bool) -> list[Taken]:
        """Take rows in, or say what would become of them. Raises RecordsAway: nothing was done.

        What was looked up and taken in is one row of the ledger, beside that of each report.
        """
        async with self._one:  # the same file from two sides is taken in once
            known = await reading(self._office.records, lambda at: self._known(at, rows))
            marks = [self._mark(each) for each in rows]
            first = {mark: n for n, mark in reversed(list(enumerate(marks)))}
            new = [n for n, mark in enumerate(marks) if n not in known and first[mark] == n]
            await self._enter(by, rows=len(rows), new=len(new), rehearse=rehearse)
            work = self._rehearsed if rehearse else self._taken
            done = await asyncio.gather(*(work(rows[n], marks[n]) for n in new))
        results = dict(zip(new, done, strict=True))
        for n, mark in enumerate(marks):
            if n in known:
                results[n] = Taken(mark, known[n][1], known[n][0], is_new=False)
            elif n not in results:
                same = results[first[mark]]
                results[n] = Taken(mark, same.outcome, same.report, is_new=False, why=same.why)
        return [results[n] for n in range(len(rows))]

    def _known(self, connection: Connection, rows: Sequence[Heard]) -> dict[int, tuple[int, str]]:
        """Find the rows that were taken in before: their reports and states."""
        found: dict[int, tuple[int, str]] = {}
        for n, heard in enumerate(rows):
            customer = self._office.vault.find(connection, heard.reporter)
            if customer is None:
                continue
            query = select(report.c.id, report.c.state).where(
                report.c.fingerprint == self._filing.fingerprint(customer, heard),
                report.c.customer == customer,
            )
            row = connection.execute(query.order_by(report.c.id).limit(1)).one_or_none()
            if row is not None:
                found[n] = (row.id, row.state)
        return found

    def _mark(self, heard: Heard) -> str:
        return self._office.vault.fingerprint(heard.reporter.encode() + b"|" + heard.key)

    async def _enter(self, by: Actor, *, rows: int, new: int, rehearse: bool) -> None:
        detail = {"rows": rows, "new": new}
        action = "import rehearsed" if rehearse else "reports imported"

        def work(transaction: Transaction) -> None:
            transaction.enter(action, by, detail=detail)

        await self._office.writer.write(work)

    async def _rehearsed(self, heard: Heard, mark: str) -> Taken:
        decided = await self._intake.decide(
            parse(heard.text, self._office.policy.country_code), heard
        )
        return Taken(mark, decided.state, None, is_new=True)

    async def _taken(self, heard: Heard, mark: str) -> Taken:
        async with self._room:
            return await self._take(heard, mark)

    async def _take(self, heard: Heard, mark: str) -> Taken:
        try:
            filed = await self._intake.enter(heard)
        except RecordsAway as error:
            return Taken(mark, None, None, is_new=False, why=str(error))
        return Taken(
            mark, filed.state, filed.report, not filed.is_copy, await settled(self._intake, filed)
        )


async def settled(intake: Intake, filed: Filed) -> str:
    """Wait until what was filed is in force; say why, where it is not yet."""
    try:
        await intake.settle(filed)
    except (IndexAway, RecordsAway) as error:
        return str(error)
    return ""
