"""The records in Redis: what is committed there is in force on the path milliseconds later.

`follow(seq)` returns once everything up to that row of the ledger is in force. All who wait share
one run, and the next one takes what came meanwhile. Once a second, and with each connection, it is
looked whether the index is still the one that was written: one that was emptied, restored from an
old copy or moved to a replica that lacked something is mended (store/claim.py says how that is
known). What cannot be done now is tried until it can.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from sqlalchemy import Connection, exists, insert, select, update

from smsfilter import log, tasks
from smsfilter.desk import companies
from smsfilter.desk.compare import Comparison, Difference
from smsfilter.desk.indexing import (
    Counts,
    Identity,
    IndexAway,
    Indexing,
    Means,
    ReadRegistry,
)
from smsfilter.desk.office import Office
from smsfilter.desk.pairs import START, Pair, Pairs, unconfirmed
from smsfilter.desk.vault import Vault
from smsfilter.ledger.actor import system
from smsfilter.store import connect, ledger
from smsfilter.store.address import RedisAddress
from smsfilter.store.claim import new_desk, new_epoch
from smsfilter.store.line import dialled
from smsfilter.store.reading import reading
from smsfilter.store.records import Records, RecordsAway
from smsfilter.store.schema import block, customer, index_state
from smsfilter.store.schema import ledger as ledger_table
from smsfilter.store.transaction import Transaction
from smsfilter.store.writer import Writer

if TYPE_CHECKING:
    from redis.asyncio import Redis

LOOK_EVERY_S: Final = 1.0
RETRY_LEAST_S: Final = 0.05
RETRY_MOST_S: Final = 1.0
"""The longest pause between two tries: senders and reports wait for the index to be mended."""
_BY: Final = system("projection")


@dataclass(slots=True)
class State:
    """How the index stands to the records."""

    ready: bool = False
    """It was seen whole and up to `seq` a moment ago."""
    seq: int = 0
    """The row of the ledger up to which it is known to be in force."""
    head: int = 0
    """The newest row of the ledger, when last looked."""
    unconfirmed: int = 0
    """Live blocks that are not yet in force."""
    lag_s: float = 0.0
    """How long the oldest row that is not in force has been waiting."""
    failures: int = 0
    error: str = "not connected yet"
    """What keeps the index from following; '' where nothing does."""

    @property
    def lag(self) -> int:
        """Rows of the ledger that are not in force."""
        return max(self.head - self.seq, 0)


def identify(transaction: Transaction) -> Identity:
    """Return as whom this desk writes; the first time it gets its id and its epoch."""
    connection = transaction.connection
    found = connection.execute(select(index_state)).one_or_none()
    if found is not None:
        return Identity(found.desk, found.epoch, found.projected_seq, found.replid)
    desk = new_desk()
    me = Identity(desk, new_epoch(desk), 0, "")
    connection.execute(
        insert(index_state).values(
            id=1, desk=me.desk, epoch=me.epoch, projected_seq=0, replid=me.replid
        )
    )
    return me


class Projection:
    """Keeps the index of `address` what the records say.

    `registry` reads the registry from the records, `clock` gives µs UTC.
    With `replicas` a write counts only once so many of them have it.
    """

    def __init__(
        self,
        records: Records,
        writer: Writer,
        address: RedisAddress,
        vault: Vault,
        registry: ReadRegistry,
        *,
        prefix: str,
        country_code: str,
        clock: Callable[[], int],
        replicas: int = 0,
    ) -> None:
        self.state = State()
        self.counts = Counts()
        self._records = records
        self._writer = writer
        self._address = address
        self._prefix = prefix
        self._pairs = Pairs(vault, country_code)
        self._registry = registry
        self._clock = clock
        self._replicas = replicas
        self._me: Identity | None = None
        self._waiting: set[tuple[int, asyncio.Future[None]]] = set()
        self._wake = asyncio.Event()
        self._unmarked = asyncio.Event()
        self._marked = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False

    @classmethod
    def of(cls, office: Office, address: RedisAddress) -> Self:
        """Make the projection of a desk's records into the Redis of its configuration."""
        return cls(
            office.records,
            office.writer,
            address,
            office.vault,
            companies.load,
            prefix=office.config.redis.prefix,
            country_code=office.policy.country_code,
            clock=office.clock,
            replicas=office.config.redis.replicas,
        )

    async def start(self) -> None:
        """Begin to follow. Raises RecordsAway, RecordsError."""
        await self._identified()
        self._tasks = [
            asyncio.create_task(self._keep(), name="projection"),
            asyncio.create_task(self._keep_marking(), name="projection marks"),
        ]

    async def stop(self) -> None:
        """End; whoever waits is told so."""
        self._stopping = True
        await tasks.ended(self._tasks)
        self.state.ready, self.state.error = False, "the desk is stopping"
        for _, future in self._waiting:
            if not future.done():
                future.set_exception(IndexAway(self.state.error))

    async def follow(self, seq: int, within_s: float = 2.0) -> None:
        """Return once everything up to row `seq` of the ledger is in force.

        Raises IndexAway when that is not so in time; it is tried further nonetheless.
        """
        if self.state.ready and self.state.seq >= seq:
            return
        waiting = (seq, asyncio.get_running_loop().create_future())
        self._waiting.add(waiting)
        self._wake.set()
        try:
            async with asyncio.timeout(within_s):
                await waiting[1]
        except TimeoutError:
            raise IndexAway(self.state.error or f"not in force within {within_s:g} s") from None
        finally:
            self._waiting.discard(waiting)

    async def rebuild(self, *, take_over: bool = False) -> Counts:
        """Write everything again, whatever the index says of itself; for a desk that is down.

        `take_over`: also where the index is another desk's. Raises IndexAway, RecordsAway, and
        Unreachable where Redis is not there.
        """
        await self._identified()
        try:
            async with connect.connected(self._address) as client, dialled(client) as line:
                indexing = Indexing(self._means(client, take_over=take_over), line)
                indexing.behind = START
                while (seq := await indexing.step()) is None:
                    await indexing.fill()
                while indexing.behind is not None:
                    await indexing.again()
        except OSError as error:
            raise IndexAway(said(error)) from error
        self._arrived(seq)
        await self._writer.write(self._mark)
        return self.counts

    async def compare(self) -> Difference:
        """Hold the index against the records; changes nothing.

        Raises RecordsAway, SealError, and Unreachable where Redis is not there.
        """
        async with self._compared() as comparison:
            return await comparison.run(self._registry)

    async def unknown(self) -> AsyncIterator[list[Pair]]:
        """Give the pairs in the index that no block ever made, some at a time; raises as above."""
        async with self._compared() as comparison:
            async for some in comparison.unknown():
                yield some

    @contextlib.asynccontextmanager
    async def _compared(self) -> AsyncIterator[Comparison]:
        async with connect.connected(self._address) as client:
            yield Comparison(client, self._prefix, self._records, self._pairs)

    # --- the loop

    async def _identified(self) -> Identity:
        if self._me is None:
            self._me = await self._writer.write(identify)
            self._marked = self._me.seq
        return self._me

    def _means(self, client: "Redis", *, take_over: bool = False) -> Means:
        assert self._me is not None  # noqa: S101 - identified at the start
        return Means(
            client,
            self._prefix,
            self._records,
            self._pairs,
            self._registry,
            self._me,
            self.counts,
            self._replicas,
            take_over,
            self._renew,
        )

    @contextlib.asynccontextmanager
    async def _client(self) -> AsyncIterator["Redis"]:
        client = connect.client(self._address)
        try:
            yield client
        finally:
            await client.aclose()

    async def _keep(self) -> None:
        wait = RETRY_LEAST_S
        while not self._stopping:
            try:
                async with self._client() as client, dialled(client) as line:
                    indexing = Indexing(self._means(client), line)
                    while not self._stopping:  # redis-py may lose a cancellation
                        await self._turn(indexing)
                        wait = RETRY_LEAST_S
            except Exception as error:  # whatever it is, it must not be the last try
                self._failed(error)
            await self._measure()
            await asyncio.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            wait = min(wait * 2, RETRY_MOST_S)

    async def _turn(self, indexing: Indexing) -> None:
        """Bring the index up to the records, then wait until there is more to do."""
        self._wake.clear()
        seq = await indexing.step()
        if seq is None:
            self.state.ready = False
            await indexing.fill()
            return
        self._arrived(seq)
        if self._wake.is_set():
            return
        if indexing.behind is not None:
            await indexing.again()
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_EVERY_S):
                await self._wake.wait()

    def _arrived(self, seq: int) -> None:
        state = self.state
        if state.error:
            log.get().info("index_followed", seq=seq)
        state.ready, state.error = True, ""
        state.seq, state.head = seq, max(seq, self._writer.head)
        state.unconfirmed, state.lag_s = 0, 0.0
        if seq > self._marked:
            self._unmarked.set()
        for wanted, future in self._waiting:
            if wanted <= seq and not future.done():
                future.set_result(None)

    def _failed(self, error: Exception) -> None:
        why = said(error)
        self.state.ready = False
        self.state.failures += 1
        if why != self.state.error:
            log.get().error("index_not_followed", why=why, seq=self.state.seq)
        self.state.error = why

    async def _measure(self) -> None:
        """Look how much is waiting for the index."""
        with contextlib.suppress(RecordsAway):
            await reading(self._records, self._look_behind)

    def _look_behind(self, connection: Connection) -> None:
        state = self.state
        state.head, _, _ = ledger.head(connection)
        state.unconfirmed = unconfirmed(connection, state.seq)
        since = connection.scalar(
            select(ledger_table.c.at).where(ledger_table.c.seq == state.seq + 1)
        )
        state.lag_s = 0.0 if since is None else max(self._clock() - since, 0) / 1e6

    # --- what the records are told

    async def _renew(self, why: str, was: str) -> None:
        """Take a new epoch, as the index has had one that is not this desk's."""
        me = await self._identified()
        new = new_epoch(me.desk)

        def work(transaction: Transaction) -> None:
            transaction.connection.execute(update(index_state).values(epoch=new))
            detail = {"was": was, "why": why, "epoch": new}
            transaction.enter("index taken over", _BY, object="index", detail=detail)

        await self._writer.write(work)
        me.epoch = new

    async def _keep_marking(self) -> None:
        while True:
            await self._unmarked.wait()
            self._unmarked.clear()
            try:
                await self._writer.write(self._mark)
            except Exception as error:  # it is tried again: nothing waits for it
                log.get().error("blocks_not_marked", why=said(error))
                self._unmarked.set()
                await asyncio.sleep(RETRY_MOST_S)

    def _mark(self, transaction: Transaction) -> None:
        """Set when blocks came into force: those that changed since this was done last."""
        seq, me = self.state.seq, self._me
        assert me is not None  # noqa: S101 - identified at the start
        connection = transaction.connection
        marked: int = connection.execute(select(index_state.c.projected_seq)).scalar_one()
        named = exists().where(  # not IN: that would read every customer there is
            customer.c.id == block.c.customer, customer.c.number_enc.is_not(None)
        )
        done = connection.execute(
            update(block)
            .where(
                block.c.changed_seq > marked,
                block.c.changed_seq <= seq,
                block.c.in_force_at.is_(None),
                block.c.ended_at.is_(None),
                named,
            )
            .values(in_force_at=transaction.now)
        )
        if seq > marked:
            connection.execute(
                update(index_state).values(projected_seq=max(seq, marked), replid=me.replid)
            )
        if done.rowcount:
            detail = {"count": done.rowcount, "seq": seq}
            transaction.enter("blocks in force", _BY, detail=detail)
        self._marked = max(seq, marked)


def said(error: Exception) -> str:
    """Say in a line what keeps the index from following."""
    if isinstance(error, TimeoutError) and not str(error):
        return "no answer in time"
    return " ".join(str(error).split()) or type(error).__name__
