"""SMS to customers and staff: each is sent at least once, and once only wherever that can be known.

`sending` is committed before submit_sm. Where the answer never came, or the desk ended in between,
the SMS may have gone out or not: it is sent once more and marked `maybe_twice`; after a second
time without an answer it is given up as `unknown`. What the SMSC refuses for now is tried again
with growing pauses, for a day.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from sqlalchemy import Connection, select, update

from smsfilter import log, tasks
from smsfilter.desk.office import Office
from smsfilter.deskmetrics import IntakeMetrics
from smsfilter.ledger.actor import system
from smsfilter.reports import receipts, results
from smsfilter.reports.failures import Failures
from smsfilter.reports.replies import encode
from smsfilter.reports.sms import Answer, NoAnswer, NotBound, Outgoing
from smsfilter.store.reading import reading
from smsfilter.store.records import RecordsAway
from smsfilter.store.schema import customer, sms_out, staff
from smsfilter.store.transaction import Transaction

PAUSES_S: Final = (2, 5, 15, 60, 300, 900, 3600)
"""Between one try and the next; the last of them from then on."""
TRIES_MOST: Final = 30
AHEAD: Final = 3
"""SMS that are begun for each that may be unanswered, so that the next are there when an answer
comes; the bind itself keeps the window. What was begun at a crash is sent once more: so, no more.
"""
LOOK_EVERY_S: Final = 1.0
UNBOUND_S: Final = 1.0
STOP_WITHIN_S: Final = 5.0
"""For what became of the last SMS to be written down, once the bind has ended."""
_BY: Final = system("outbox")
T = TypeVar("T")


class Submits(Protocol):
    """The bind that SMS go out by: reports/bind.py."""

    @property
    def bound(self) -> bool:
        """Whether SMS can be submitted."""

    async def submit(self, sms: Outgoing) -> Answer:
        """Send an SMS and wait for its answer. Raises NotBound, NoAnswer."""


class Outbox:
    """Sends what the records say is to be sent, as many at a time as the window holds."""

    def __init__(
        self, office: Office, centre: Submits, window: int, metrics: IntakeMetrics
    ) -> None:
        self._office = office
        self._centre = centre
        self._most = window * AHEAD
        self._wake = asyncio.Event()
        self._under_way: dict[int, asyncio.Task[None]] = {}
        self._unanswered = 0
        self._metrics = metrics
        self._failures = Failures()
        self._stopping = False
        self._left: Callable[[Transaction], None] | None = _take_up_again
        """What has to be set right before anything is sent."""

    def wake(self) -> None:
        """Something is to be sent."""
        self._wake.set()

    async def run(self) -> None:
        """Send, until told to stop."""
        while not self._stopping:
            self._wake.clear()
            try:
                await self.look()
            except RecordsAway as error:
                log.get().warning("outbox_waits", error=str(error))
            except Exception as error:  # whatever it is, it must not be the last try
                self._failed(error)
            if self._stopping:
                break
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._wake.wait()

    async def look(self) -> None:
        """Begin to send what is due. Raises RecordsAway."""
        if self._left is not None:
            await self._office.writer.write(self._left)
            self._left = None
        try:
            await self._send_due()
        except RecordsAway:
            self._left = self._put_back_unsent  # it may have been committed all the same
            raise

    def end(self) -> None:
        """Send nothing more."""
        self._stopping = True
        self._wake.set()

    async def ended(self) -> None:
        """Write down what became of the last ones; for when the bind has ended."""
        if self._under_way:
            await asyncio.wait(self._under_way.values(), timeout=STOP_WITHIN_S)
        await tasks.ended(self._under_way.values())

    async def _send_due(self) -> None:
        while self._centre.bound and not self._stopping:
            room = self._most - self._unanswered
            if room * AHEAD < self._most:
                return  # many at once cost less than each for itself; an answer wakes us
            look = partial(_due, now=self._office.clock(), most=room)
            due = await reading(self._office.records, look)
            if not due:
                return
            begun = await self._office.writer.write(partial(_sending, due=due))
            for row in due:
                if row.id in begun:
                    self._unanswered += 1
                    task = asyncio.create_task(self._sent(row))
                    self._under_way[row.id] = task
                    task.add_done_callback(partial(self._done, row.id))

    def _put_back_unsent(self, transaction: Transaction) -> None:
        """What the records have as being sent, and nobody sends, has never left."""
        unsent = transaction.connection.scalars(
            update(sms_out)
            .where(sms_out.c.state == "sending", sms_out.c.id.not_in(tuple(self._under_way)))
            .values(state="queued", attempts=sms_out.c.attempts - 1, next_at=transaction.now)
            .returning(sms_out.c.id)
        ).all()
        if unsent:
            transaction.enter("sms put off", _BY, detail={"sms": sorted(unsent)})

    def _done(self, sms: int, _task: object) -> None:
        self._under_way.pop(sms, None)
        self._wake.set()

    def _failed(self, error: Exception) -> None:
        if said := self._failures.said(error):
            log.get().error("sms_failed", **said)

    async def _sent(self, row: Any) -> None:
        """Send one, and write down what became of it, whatever that is."""
        try:
            became = await self._send(row)
        except Exception as error:  # a number that was erased, a key that is not here
            self._failed(error)
            became = partial(_unsendable, row=row)
        finally:
            self._unanswered -= 1
            self._wake.set()
        try:
            state = await self._write(became)
        except Exception as error:  # as after a crash: at the next start it is sent once more
            self._failed(error)
            return
        if state != "queued":
            self._metrics.sms[state] += 1

    async def _send(self, row: Any) -> Callable[[Transaction], str]:
        """Send one; what is to be written down of it."""
        vault = self._office.vault
        if row.staff is not None:
            number = vault.open(row.phone_enc, "staff", "phone_enc", row.staff).decode()
        else:
            number = vault.open(row.number_enc, "customer", "number_enc", row.customer).decode()
        text = vault.open(row.text_enc, "sms_out", "text_enc", row.id).decode()
        data_coding, octets = encode(text)
        try:
            answer = await self._centre.submit(Outgoing(number, octets, data_coding))
        except NotBound:
            return partial(_put_back, row=row)
        except NoAnswer:
            return partial(_ended, row=row, answer=None)
        if answer.accepted:
            waited = self._office.clock() - row.created_at
            self._metrics.answered_seconds.observe(max(waited, 0) / 1e6)
        return partial(_ended, row=row, answer=answer)

    async def _write(self, work: Callable[[Transaction], T]) -> T:
        """Write down what became of it, however long the records are away."""
        while True:
            try:
                return await self._office.writer.write(work)
            except RecordsAway as error:
                log.get().warning("outbox_waits", error=str(error))
                await asyncio.sleep(LOOK_EVERY_S)


def _due(connection: Connection, now: int, most: int) -> Sequence[Any]:
    """The next SMS to be sent, with the number that each goes to."""
    return connection.execute(
        select(
            sms_out.c.id,
            sms_out.c.customer,
            sms_out.c.text_enc,
            sms_out.c.attempts,
            sms_out.c.maybe_twice,
            sms_out.c.created_at,
            sms_out.c.staff,
            customer.c.number_enc,
            staff.c.phone_enc,
        )
        .outerjoin(customer, customer.c.id == sms_out.c.customer)
        .outerjoin(staff, staff.c.id == sms_out.c.staff)
        .where(sms_out.c.state == "queued", sms_out.c.next_at <= now)
        .order_by(sms_out.c.next_at, sms_out.c.id)
        .limit(most)
    ).all()


def _sending(transaction: Transaction, due: Sequence[Any]) -> set[int]:
    begun = transaction.connection.scalars(
        update(sms_out)
        .where(sms_out.c.id.in_([row.id for row in due]), sms_out.c.state == "queued")
        .values(state="sending", attempts=sms_out.c.attempts + 1)
        .returning(sms_out.c.id)
    ).all()
    if begun:
        transaction.enter("sms sending", _BY, detail={"sms": sorted(begun)})
    return set(begun)


def _ended(transaction: Transaction, row: Any, answer: Answer | None) -> str:
    """Write down what became of one try; the state of the SMS by it."""
    now, tries = transaction.now, row.attempts + 1
    change: dict[str, Any]
    if answer is None and not row.maybe_twice:
        change = {"state": "queued", "next_at": now, "maybe_twice": True}
    elif answer is None:
        change = {"state": "unknown", "next_at": None}
    elif answer.accepted:
        message_id = receipts.spelled(answer.message_id)
        change = {"state": "sent", "sent_at": now, "message_id": message_id, "next_at": None}
    elif answer.temporary and tries < TRIES_MOST:
        pause = PAUSES_S[min(tries, len(PAUSES_S)) - 1]
        change = {"state": "queued", "next_at": now + pause * 1_000_000}
    else:
        change = {"state": "given_up" if answer.temporary else "refused", "next_at": None}
    transaction.connection.execute(update(sms_out).where(sms_out.c.id == row.id).values(change))
    state: str = change["state"]
    results.ended(transaction, row.id, state)
    if state == "sent":
        receipts.claim(transaction, row.id, row.customer, change["message_id"])
    _enter(transaction, row, state, tries, None if answer is None else answer.status)
    return state


def _put_back(transaction: Transaction, row: Any) -> str:
    """It was never sent."""
    next_at = transaction.now + int(UNBOUND_S * 1_000_000)
    transaction.connection.execute(
        update(sms_out)
        .where(sms_out.c.id == row.id)
        .values(state="queued", attempts=row.attempts, next_at=next_at)
    )
    _enter(transaction, row, "queued", row.attempts, None)
    return "queued"


def _unsendable(transaction: Transaction, row: Any) -> str:
    """It can never be sent: its number or its text cannot be opened."""
    transaction.connection.execute(
        update(sms_out).where(sms_out.c.id == row.id).values(state="given_up", next_at=None)
    )
    results.ended(transaction, row.id, "given_up")
    _enter(transaction, row, "given_up", row.attempts + 1, None)
    return "given_up"


def _enter(transaction: Transaction, row: Any, state: str, tries: int, status: int | None) -> None:
    transaction.enter(
        "sms put off" if state == "queued" else "sms ended",
        _BY,
        object=f"sms:{row.id}",
        customer_id=row.customer,
        detail={"state": state, "tries": tries, "status": status},
    )


def _take_up_again(transaction: Transaction) -> None:
    """What was being sent when the desk ended: once more, if that is the first time."""
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
    for sms in given_up:
        results.ended(transaction, sms, "unknown")
    if given_up or again:
        detail = {"again": sorted(again), "unknown": sorted(given_up)}
        transaction.enter("sms taken up again", _BY, detail=detail)
