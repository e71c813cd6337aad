"""Incidents: reports on a pair that is blocked already, and what had become of the message.

The incident is opened in the transaction of the report, so that none is lost, and decided by the
proof of the block, by itself: forwarded after the block, accepted before it, or not through us at
all. Where records are missing or not in yet it is looked into again, for an hour before that is
said, and for three days in case they come.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, func, insert, or_, select, update

from smsfilter import log
from smsfilter.decisions.proof import Decided
from smsfilter.desk import blocks, proving
from smsfilter.desk.evidence import Evidence
from smsfilter.desk.matching import WINDOW
from smsfilter.desk.office import Office
from smsfilter.desk.proving import Given, UnprovableError
from smsfilter.deskmetrics import ProofMetrics
from smsfilter.ledger.actor import system
from smsfilter.store.reading import reading
from smsfilter.store.records import RecordsAway, RecordsError
from smsfilter.store.schema import block, incident, report
from smsfilter.store.seal import SealError
from smsfilter.store.transaction import Transaction

LOOK_EVERY_S: Final = 2.0
AT_ONCE: Final = 20
MINUTE: Final = 60_000_000
HOUR: Final = 60 * MINUTE
REDELIVERED: Final = 5 * MINUTE
"""Within so long the same report again is the SMSC's own copy."""
FORWARDED: Final = "forwarded"
ACCEPTED_BEFORE: Final = "accepted_before"
NOT_THROUGH_US: Final = "not_through_us"
NOT_PROVABLE: Final = "not_provable"
BY: Final = system("incidents")
_NAMED_MOST: Final = 20
"""Messages that a row of the ledger names."""


def opened(
    transaction: Transaction,
    report_id: int,
    customer: str,
    target: str,
    said_at: int | None = None,
) -> bool:
    """Open an incident: the report is on a pair that was blocked before. False where it is none.

    `said_at` (µs) is when the customer said it, where that was before it was entered. A block of
    the same group commit is not yet in force: two reports that came together are none.
    """
    connection = transaction.connection
    block_id = blocks.live(transaction, customer, target)
    if block_id is None:
        return False
    found = connection.execute(select(block).where(block.c.id == block_id)).one()
    lately = select(incident.c.id).where(
        incident.c.report == report_id, incident.c.opened_at > transaction.now - REDELIVERED
    )
    is_older = said_at is not None and said_at <= found.created_at
    if found.changed_seq == 0 or is_older or connection.scalar(lately) is not None:
        return False
    case = connection.scalar(select(report.c.case_id).where(report.c.id == report_id))
    connection.execute(
        insert(incident).values(
            report=report_id,
            block=block_id,
            block_seq=found.changed_seq,
            case_id=case,
            opened_at=transaction.now,
            next_at=transaction.now,
        )
    )
    return True


@dataclass(frozen=True, slots=True)
class Counted:
    """What else was reported on the pair before an incident."""

    reports: int
    """Each accounts for one message that was forwarded."""
    late: int
    """Incidents of which it is known already that the message was accepted before the block."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What an incident comes to."""

    result: str
    messages: Sequence[Decided] = ()
    """What it rests on."""


def judge(given: Given, opened_at: int, counted: Counted) -> Judged:
    """Decide an incident, opened at `opened_at` (µs), by the proof of its block.

    A message that was forwarded before the block, and that no earlier report accounts for, or that
    was delivered after the block by its receipt, can be the one that is reported now.
    """
    proof, since = given.proof, opened_at - WINDOW
    if proof.violations:
        return Judged(FORWARDED, proof.violations)
    doubtful = [one for one in proof.doubtful if one.at >= since]
    if doubtful or any(gap.until >= since for gap in proof.gaps):
        return Judged(NOT_PROVABLE, doubtful)
    late = [one for one in proof.delivered_after if one.reason == "DELIVRD"]
    if len(late) > counted.late:
        return Judged(ACCEPTED_BEFORE, late)
    before = [one for one in proof.before if one.at >= given.subject.created_at - WINDOW]
    if len(before) > counted.reports:
        return Judged(ACCEPTED_BEFORE, before)
    return Judged(NOT_THROUGH_US)


class Incidents:
    """Decides the incidents that are open."""

    def __init__(self, office: Office, evidence: Evidence, metrics: ProofMetrics) -> None:
        self._office = office
        self._evidence = evidence
        self._metrics = metrics

    async def run(self) -> None:
        """Look into what is open, for ever."""
        while True:
            try:
                while await self.once():
                    pass
            except (RecordsAway, RecordsError) as error:
                log.get().warning("incidents_wait", error=str(error))
            except Exception as error:  # it must not be the last look
                log.get().error("unhandled", where="incidents", exc_info=error)
            await asyncio.sleep(LOOK_EVERY_S)

    async def once(self) -> int:
        """Look into some of the incidents that are due, and return how many these were."""
        now = self._office.clock()
        query = (
            select(incident)
            .where(incident.c.next_at <= now)
            .order_by(incident.c.next_at)
            .limit(AT_ONCE)
        )
        due = await reading(self._office.records, lambda c: c.execute(query).all())
        for row in due:
            await self._decide(row)
        return len(due)

    async def _decide(self, row: Any) -> None:
        can_heal = True
        try:
            given, judged = await reading(
                self._office.records, lambda connection: self._judged(connection, row)
            )
            why = sorted({gap.why for gap in given.proof.gaps})
        except (UnprovableError, SealError) as error:
            can_heal, judged, why = False, Judged(NOT_PROVABLE), [str(error)]
        age = self._office.clock() - row.opened_at
        waits = judged.result == NOT_PROVABLE and can_heal and age < WINDOW
        if judged.result == row.result or (waits and age < HOUR):
            await self._office.writer.write(lambda transaction: _put_off(transaction, row, waits))
            return
        detail = {
            "incident": row.id,
            "report": row.report,
            "result": judged.result,
            "messages": [f"{m.proxy}/{m.segment}/{m.slot}" for m in judged.messages[:_NAMED_MOST]],
            "count": len(judged.messages),
            "missing": why if judged.result == NOT_PROVABLE else [],
        }
        await self._office.writer.write(lambda t: _decided(t, row, judged.result, detail, waits))
        self._metrics.incidents[judged.result] += 1
        said = {"report": row.report, "block": row.block, "result": judged.result}
        said |= {"messages": detail["messages"]}
        if judged.result == FORWARDED:
            log.get().error("incident", **said)
        elif judged.result == ACCEPTED_BEFORE:
            log.get().info("incident", **said)
        else:
            log.get().warning("incident", **said)

    def _judged(self, connection: Connection, row: Any) -> tuple[Given, Judged]:
        """Prove what a report is about, up to the moment when it came."""
        subject = proving.by_id(connection, self._office, row.block, row.block_seq)
        given = proving.prove(connection, self._office, self._evidence, subject, row.opened_at)
        return given, judge(given, row.opened_at, _counted(connection, row))


def _counted(connection: Connection, row: Any) -> Counted:
    """Count what was reported on a pair before an incident: reports, and copies of them."""
    of_block = select(block.c.case_id).where(block.c.id == row.block)
    reports = connection.scalar(
        select(func.count())
        .select_from(report)
        .where(
            or_(report.c.case_id == row.case_id, report.c.case_id.in_(of_block)),
            report.c.received_at < row.opened_at,
        )
    )
    earlier = connection.execute(
        select(incident.c.result, incident.c.opened_at, report.c.received_at)
        .join(report, report.c.id == incident.c.report)
        .where(incident.c.block == row.block, incident.c.id < row.id)
    ).all()
    copies = sum(one.opened_at > one.received_at for one in earlier)
    late = sum(one.result == ACCEPTED_BEFORE for one in earlier)
    return Counted((reports or 0) + copies, late)


def _put_off(transaction: Transaction, row: Any, waits: bool) -> None:
    pause = MINUTE if row.result is None else HOUR
    transaction.connection.execute(
        update(incident)
        .where(incident.c.id == row.id)
        .values(next_at=transaction.now + pause if waits else None)
    )


def _decided(
    transaction: Transaction, row: Any, result: str, detail: dict[str, Any], waits: bool
) -> None:
    connection, now = transaction.connection, transaction.now
    connection.execute(
        update(incident)
        .where(incident.c.id == row.id)
        .values(result=result, decided_at=now, next_at=now + HOUR if waits else None)
    )
    customer = connection.scalar(select(block.c.customer).where(block.c.id == row.block))
    transaction.enter(
        "incident",
        BY,
        object=f"block:{row.block}",
        case_id=row.case_id,
        customer_id=customer,
        detail=detail,
    )
