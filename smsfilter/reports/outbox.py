"""SMS to customers: each is sent at least once, and once only wherever that can be known.

`sending` is committed before submit_sm. Where the answer never came, or the desk ended in between,
the SMS may have gone out or not: it is sent once more and marked `maybe_twice`; after a second
time without an answer it is given up as `unknown`. What the SMSC refuses for now is tried again
with growing pauses, for a day.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from sqlalchemy import select, update

from smsfilter import log
from smsfilter.desk.office import Office
from smsfilter.deskmetrics import IntakeMetrics
from smsfilter.ledger.actor import system
from smsfilter.reports import receipts
from smsfilter.reports.bind import Centre
from smsfilter.reports.replies import encode
from smsfilter.reports.sms import Answer, NoAnswer, NotBound, Outgoing
from smsfilter.store.records import RecordsAway
from smsfilter.store.schema import customer, sms_out
from smsfilter.store.writer import Transaction

PAUSES_S: Final = (2, 5, 15, 60, 300, 900, 3600)
"""Between one try and the next; the last of them from then on."""
TRIES_MOST: Final = 30
LOOK_EVERY_S: Final = 1.0
UNBOUND_S: Final = 1.0
_BY: Final = system("outbox")
T = TypeVar("T")


class Outbox:
    """Sends what the records say is to be sent, as many at a time as the window holds."""

    def __init__(self, office: Office, centre: Centre, window: int, metrics: IntakeMetrics) -> None:
        self._office = office
        self._centre = centre
        self._window = window
        self._wake = asyncio.Event()
        self._under_way: dict[int, asyncio.Task[None]] = {}
        self._metrics = metrics

    def wake(self) -> None:
        """Something is to be sent."""
        self._wake.set()

    async def run(self) -> None:
        """Send, until cancelled."""
        await self._resume()
        try:
            while True:
                try:
                    await self._send_due()
                except RecordsAway as error:
                    log.get().warning("outbox_waits", error=str(error))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_EVERY_S):
                        await self._wake.wait()
                self._wake.clear()
        finally:
            tasks = list(self._under_way.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _resume(self) -> None:
        """What was being sent when the desk ended: once more, if that is the first time."""
        while True:
            with contextlib.suppress(RecordsAway):
                await self._office.writer.write(_take_up_again)
                return
            await asyncio.sleep(LOOK_EVERY_S)

    async def _send_due(self) -> None:
        while self._centre.bound and len(self._under_way) < self._window:
            room = self._window - len(self._under_way)
            due = await asyncio.to_thread(self._due, room)
            if not due:
                return
            await self._office.writer.write(partial(_sending, due=due))
            for row in due:
                task = asyncio.create_task(self._send(row))
                self._under_way[row.id] = task
                task.add_done_callback(partial(self._done, row.id))

    def _done(self, sms: int, _task: object) -> None:
        self._under_way.pop(sms, None)
        self._wake.set()

    def _due(self, most: int) -> Sequence[Any]:
        with self._office.records.reading() as connection:
            return connection.execute(
                select(
                    sms_out.c.id,
                    sms_out.c.customer,
                    sms_out.c.text_enc,
                    sms_out.c.attempts,
                    sms_out.c.maybe_twice,
                    customer.c.number_enc,
                )
                .join(customer, customer.c.id == sms_out.c.customer)
                .where(sms_out.c.state == "queued", sms_out.c.next_at <= self._office.clock())
                .order_by(sms_out.c.next_at)
                .limit(most)
            ).all()

    async def _send(self, row: Any) -> None:
        vault = self._office.vault
        number = vault.open(row.number_enc, "customer", "number_enc", row.customer).decode()
        text = vault.open(row.text_enc, "sms_out", "text_enc", row.id).decode()
        data_coding, octets = encode(text)
        answer: Answer | None
        try:
            answer = await self._centre.submit(Outgoing(number, octets, data_coding))
        except NotBound:
            await self._write(lambda transaction: _put_back(transaction, row, self._office.clock()))
            return
        except NoAnswer:
            answer = None
        state = await self._write(lambda transaction: self._ended(transaction, row, answer))
        if state != "queued":
            self._metrics.sms[state] += 1

    async def _write(self, work: Callable[[Transaction], T]) -> T:
        """Write down what became of it, however long the records are away."""
        while True:
            try:
                return await self._office.writer.write(work)
            except RecordsAway as error:
                log.get().warning("outbox_waits", error=str(error))
                await asyncio.sleep(LOOK_EVERY_S)

    def _ended(self, transaction: Transaction, row: Any, answer: Answer | None) -> str:
        """Write down what became of one try; the state of the SMS by it."""
        now, tries = transaction.now, row.attempts + 1
        change: dict[str, Any]
        if answer is None and not row.maybe_twice:
            change = {"state": "queued", "next_at": now, "maybe_twice": True}
        elif answer is None:
            change = {"state": "unknown", "next_at": None}
        elif answer.accepted:
            message_id = receipts.spelled(answer.message_id)
            change = {
                "state": "sent",
                "sent_at": now,
                "message_id": message_id,
                "next_at": None,
            }
        elif answer.temporary and tries < TRIES_MOST:
            pause = PAUSES_S[min(tries, len(PAUSES_S)) - 1]
            change = {"state": "queued", "next_at": now + pause * 1_000_000}
        else:
            change = {"state": "given_up" if answer.temporary else "refused", "next_at": None}
        transaction.connection.execute(update(sms_out).where(sms_out.c.id == row.id).values(change))
        state: str = change["state"]
        if state == "sent":
            receipts.claim(transaction, row.id, change["message_id"])
        transaction.enter(
            "sms ended" if change["next_at"] is None else "sms put off",
            _BY,
            object=f"sms:{row.id}",
            customer_id=row.customer,
            detail={"state": state, "tries": tries, "status": answer and answer.status},
        )
        return state


def _sending(transaction: Transaction, due: Sequence[Any]) -> None:
    ids = [row.id for row in due]
    transaction.connection.execute(
        update(sms_out)
        .where(sms_out.c.id.in_(ids))
        .values(state="sending", attempts=sms_out.c.attempts + 1)
    )
    transaction.enter("sms sending", _BY, detail={"sms": ids})


def _put_back(transaction: Transaction, row: Any, now: int) -> None:
    """It was never sent."""
    transaction.connection.execute(
        update(sms_out)
        .where(sms_out.c.id == row.id)
        .values(state="queued", attempts=row.attempts, next_at=now + int(UNBOUND_S * 1_000_000))
    )
    transaction.enter("sms put off", _BY, object=f"sms:{row.id}", customer_id=row.customer)


def _take_up_again(transaction: Transaction) -> None:
    connection = transaction.connection
    given_up = connection.scalars(
        update(sms_out)
        .where(sms_out.c.state == "sending", sms_out.c.maybe_twice)
        .values(state="unknown", next_at=None)
        .returning(sms_out.c.id)
    ).all()
    again = connection.scalars(
        update(sms_out)
        .where(sms_out.c.state == "sending")
        .values(state="queued", next_at=transaction.now, maybe_twice=True)
        .returning(sms_out.c.id)
    ).all()
    if given_up or again:
        detail = {"again": sorted(again), "unknown": sorted(given_up)}
        transaction.enter("sms taken up again", _BY, detail=detail)
