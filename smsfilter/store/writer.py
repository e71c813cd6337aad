"""The one writer of the records: a thread that commits what waits as one group.

Each request runs in a SAVEPOINT of its own, so that one that fails takes nobody with it. As the
last steps before the commit the head of the ledger is locked, the rows of the group are entered,
and the rows they touched are told their seq: commits are then in the order of seq, without a gap
and without a fork. One fsync serves all that waited.
"""

import asyncio
import queue
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Generic, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import (
    Connection,
    Table,
    Update,
    bindparam,
    insert,
    select,
    update,
)
from sqlalchemy.exc import (
    DBAPIError,
    InterfaceError,
    InternalError,
    OperationalError,
    SQLAlchemyError,
)

from smsfilter.ledger.chain import Entry, canonical, chain_id, row
from smsfilter.ledger.checkpoint import (
    ROWS_BETWEEN,
    SECONDS_BETWEEN,
    Checkpoint,
    key_id,
    sign,
)
from smsfilter.store.records import Records, RecordsAway, RecordsError, reason
from smsfilter.store.schema import checkpoint, ledger, ledger_head
from smsfilter.store.transaction import Entered, Transaction

T = TypeVar("T")

GROUP_MOST: Final = 256
"""Requests in one commit: the first of them waits for the last."""
_TOUCHED_AT_ONCE: Final = 500
_SINGLY_MOST: Final = 20


@dataclass(slots=True)
class _Job(Generic[T]):
    work: Callable[[Transaction], T]
    future: "Future[T]"
    result: T | None = None
    error: Exception | None = None


@dataclass(slots=True)
class _Head:
    seq: int
    hash: bytes
    chain: str
    signed_seq: int
    signed_at: int


class Writer:
    """Writes for everyone. `clock` gives µs UTC; `signed` is told of each checkpoint committed."""

    def __init__(
        self,
        records: Records,
        clock: Callable[[], int],
        key: Ed25519PrivateKey | None = None,
        signed: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self._records = records
        self._clock = clock
        self._key = key
        self._signed = signed
        self._jobs: queue.SimpleQueue[_Job[Any] | None] = queue.SimpleQueue()
        self._connection: Connection | None = None
        self._thread = threading.Thread(target=self._run, name="records", daemon=True)
        self._held = ExitStack()
        self._gate = threading.Lock()
        self._is_open = True
        self.head = 0
        """The seq of the last row committed."""
        self.unsigned = 0
        """Rows after the last checkpoint."""
        self._touched: Counter[Table] = Counter()

    def start(self) -> None:
        """Take the lock and begin. RecordsError: another has it. RecordsAway: not reachable."""
        if self._records.is_sqlite:
            self._held.enter_context(self._records.locked())
        try:
            connection = self._connected()
            with connection.begin():
                self._noted(_head(connection))
        except DBAPIError as error:
            self._held.close()
            raise RecordsAway(reason(error)) from error
        except BaseException:
            self._held.close()
            raise
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, then end. What comes later fails with RecordsAway."""
        with self._gate:
            self._is_open = False
            self._jobs.put(None)
        if self._thread.ident is not None:
            self._thread.join()
        if self._connection is not None:
            with suppress(RecordsAway, SQLAlchemyError):
                self._records.unlock(self._connection)
        self._drop()
        self._held.close()

    def touched(self, *tables: Table) -> int:
        """Count the commits that may have touched one of these.

        What was read of them may be kept for as long as that stays the same.
        """
        return sum(self._touched[table] for table in tables)

    def submit(self, work: Callable[[Transaction], T]) -> "Future[T]":
        """Have `work` done in a transaction; its result comes once that is committed.

        The future raises RecordsAway when the records cannot be written now, RecordsError when
        another desk has taken them, and what `work` raised: nothing is left behind then.
        """
        future: Future[T] = Future()
        with self._gate:
            if self._is_open:
                self._jobs.put(_Job(work, future))
            else:
                future.set_exception(RecordsAway("the desk is stopping"))
        return future

    async def write(self, work: Callable[[Transaction], T]) -> T:
        """Submit, and wait. Cancelling the wait does not undo what is under way."""
        return await asyncio.wrap_future(self.submit(work))

    # --- the thread

    def _run(self) -> None:
        ending = False
        while not ending:
            jobs, job = [], self._jobs.get()
            while job is not None:
                if job.future.set_running_or_notify_cancel():
                    jobs.append(job)
                if len(jobs) >= GROUP_MOST:
                    break
                try:
                    job = self._jobs.get_nowait()
                except queue.Empty:
                    break
            ending = job is None
            if jobs:
                self._commit(jobs)

    def _commit(self, jobs: list[_Job[Any]]) -> None:
        texts: list[str] = []
        head: _Head | None = None
        entries: list[Entered] = []
        try:
            connection = self._connected()
            with connection.begin():
                closing = False
                for job in jobs:
                    transaction = Transaction(connection, self._clock())
                    self._try(job, transaction)
                    if job.error is None:
                        entries += transaction.entries
                        closing = closing or transaction.sign
                if entries or closing:
                    head = _head(connection)
                    texts = self._enter(connection, head, entries, closing=closing)
                self._records.unmoved()
        except (SQLAlchemyError, RecordsAway, RecordsError) as error:
            self._note_touched(entries)  # it may have been committed all the same
            self._drop()
            failure = error if isinstance(error, RecordsError) else RecordsAway(reason(error))
            for job in jobs:
                job.future.set_exception(failure)
            return
        except Exception as error:  # an entry that is none: nobody's work may hang for it
            self._drop()
            for job in jobs:
                job.future.set_exception(error)
            return
        self._note_touched(entries)
        if head is not None:
            self._noted(head)
        for job in jobs:
            if job.error is not None:
                job.future.set_exception(job.error)
            else:
                job.future.set_result(job.result)
        for text in texts:
            self._signed(text)

    def _try(self, job: _Job[Any], transaction: Transaction) -> None:
        """Run one request in its savepoint. Raises only what ends the whole group."""
        try:
            job.result = job.work(transaction)
            for entered in transaction.entries:
                canonical(_entry(entered, 1))  # what cannot be entered fails here, and alone
            if transaction.nested is not None:
                transaction.nested.commit()
        except Exception as error:
            if transaction.nested is None and isinstance(error, SQLAlchemyError):
                raise  # not even a savepoint could be had
            try:
                if transaction.nested is not None:
                    transaction.nested.rollback()
            except SQLAlchemyError:  # the database gave the whole transaction up: no room, say
                raise error from None
            if isinstance(error, DBAPIError) and error.connection_invalidated:
                raise
            job.error = RecordsAway(reason(error)) if _passing(error) else error

    def _enter(
        self, connection: Connection, head: _Head, entries: list[Entered], *, closing: bool
    ) -> list[str]:
        """Enter the group into the ledger; the texts of the checkpoints that it made due."""
        rows, checkpoints = [], []
        at = head.signed_at
        for entered in entries:
            head.seq += 1
            entered.seq, at = head.seq, entered.at
            entered_row = row(_entry(entered, head.seq), head.hash)
            head.hash = entered_row.hash
            head.chain = head.chain or chain_id(head.hash)
            rows.append({column.name: getattr(entered_row, column.name) for column in ledger.c})
            late = at - head.signed_at >= SECONDS_BETWEEN * 1_000_000
            due = late or head.seq - head.signed_seq >= ROWS_BETWEEN
            if due and self._key is not None:
                checkpoints.append(_sign(head, at, self._key))
        if closing and self._key is not None and head.seq > head.signed_seq:
            checkpoints.append(_sign(head, self._clock(), self._key))
        if rows:
            connection.execute(insert(ledger), rows)
        if checkpoints:
            connection.execute(insert(checkpoint), checkpoints)
        _touch(connection, entries)
        connection.execute(
            update(ledger_head).values(
                seq=head.seq,
                hash=head.hash,
                chain=head.chain,
                signed_seq=head.signed_seq,
                signed_at=head.signed_at,
            )
        )
        return [each["text"] for each in checkpoints]

    def _note_touched(self, entries: Sequence[Entered]) -> None:
        self._touched.update({table for each in entries for table, _ in each.touches})

    def _noted(self, head: _Head) -> None:
        self.head, self.unsigned = head.seq, head.seq - head.signed_seq

    def _connected(self) -> Connection:
        if self._connection is None:
            self._records.unmoved()
            connection = self._records.to_write()
            if not self._records.is_sqlite:
                try:
                    self._records.lock(connection)
                except BaseException:
                    connection.close()
                    raise
            self._connection = connection
        return self._connection

    def _drop(self) -> None:
        """Give the connection up: with PostgreSQL the lock goes with it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()
            connection.close()


def _head(connection: Connection) -> _Head:
    found = connection.execute(select(ledger_head).with_for_update()).one()
    return _Head(found.seq, found.hash, found.chain, found.signed_seq, found.signed_at)


def _sign(head: _Head, at: int, key: Ed25519PrivateKey) -> dict[str, Any]:
    said = Checkpoint(head.chain, head.seq, head.hash, at, key_id(key.public_key()))
    head.signed_seq, head.signed_at = head.seq, at
    return {"seq": head.seq, "text": sign(said, key)}


def _entry(entered: Entered, seq: int) -> Entry:
    return Entry(
        seq=seq,
        at=entered.at,
        actor=entered.by.name,
        role=entered.by.role,
        origin=entered.by.origin,
        action=entered.action,
        object=entered.object,
        case_id=entered.case_id,
        customer_id=entered.customer_id,
        detail=entered.detail,
    )


def _touch(connection: Connection, entries: Sequence[Entered]) -> None:
    """Tell the rows that were touched their seq: few of one act together with those of others."""
    singly: dict[Table, list[dict[str, Any]]] = {}
    for entered in entries:
        by_table: dict[Table, list[Any]] = {}
        for table, row_id in entered.touches:
            by_table.setdefault(table, []).append(row_id)
        for table, ids in by_table.items():
            if len(ids) <= _SINGLY_MOST:
                some = singly.setdefault(table, [])
                some += [{"row": each, "to_seq": entered.seq} for each in ids]
                continue
            if before := singly.pop(table, None):  # a row of both gets the later seq
                connection.execute(_touching(table), before)
            for at in range(0, len(ids), _TOUCHED_AT_ONCE):
                part = {"ids": ids[at : at + _TOUCHED_AT_ONCE], "to_seq": entered.seq}
                connection.execute(_touching(table, at_once=True), part)
    for table, rows in singly.items():
        connection.execute(_touching(table), rows)


@cache
def _touching(table: Table, *, at_once: bool = False) -> Update:
    which = table.c.id == bindparam("row")
    if at_once:
        which = table.c.id.in_(bindparam("ids", expanding=True))
    return update(table).where(which).values(changed_seq=bindparam("to_seq"))


def _passing(error: Exception) -> bool:
    """Whether it is the state of the database, and not what it was asked."""
    return isinstance(error, OperationalError | InterfaceError | InternalError)
