"""The records of a desk and their projection, without the desk around them.

Blocks and companies are changed by the desk's own acts. What ought to be in the index the tests
count themselves, so that a fault of the projection cannot hide in the question.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import redis
from sqlalchemy import select, update

from smsfilter.desk import blocking, blocks, companies, company
from smsfilter.desk.office import now_us
from smsfilter.desk.projection import Projection
from smsfilter.desk.vault import Vault
from smsfilter.ledger.actor import system
from smsfilter.rules.registry import Company
from smsfilter.store.address import parse_url
from smsfilter.store.records import Records, RecordsError
from smsfilter.store.schema import block, customer, index_state, ledger
from smsfilter.store.seal import Seal
from smsfilter.store.transaction import Entered, Transaction
from smsfilter.store.writer import Writer

BY = system("test")
KEY = bytes(range(32))


class Books:
    """Records with a writer, and a projection of them that can be stopped and made anew."""

    def __init__(self, records: Records, url: str, **options: Any) -> None:
        self.records = records
        self.vault = Vault(Seal({"k1": KEY}, {"k1": KEY}))
        self.writer = Writer(records, now_us)
        self.url = url
        self.options = options
        self._projection: Projection | None = None

    # the desk's process

    @property
    def projection(self) -> Projection:
        """The projection that runs."""
        assert self._projection is not None, "it was not opened"
        return self._projection

    def made(self) -> Projection:
        """A projection of these records that does not run."""
        return Projection(
            self.records,
            self.writer,
            parse_url(self.url, Path()),
            self.vault,
            companies.load,
            country_code="86",
            clock=now_us,
            **({"prefix": ""} | self.options),
        )

    async def open(self) -> "Books":
        """Start the writer and the projection."""
        self.writer = await self._started_writer()
        self._projection = self.made()
        await self._projection.start()
        return self

    async def _started_writer(self) -> Writer:
        async with asyncio.timeout(10):
            while True:  # PostgreSQL gives a lock back when it has noticed that its holder is gone
                writer = Writer(self.records, now_us)
                try:
                    writer.start()
                except RecordsError:
                    await asyncio.sleep(0.02)
                else:
                    return writer

    @contextlib.asynccontextmanager
    async def alone(self) -> AsyncIterator[Projection]:
        """A projection for a command that has the records to itself: the desk is down."""
        await self.close()
        self.writer = await self._started_writer()
        try:
            yield self.made()
        finally:
            self.writer.stop()

    async def close(self) -> None:
        """Stop both; a desk that is down."""
        if self._projection is not None:
            await self._projection.stop()
            self._projection = None
            self.writer.stop()

    async def reopen(self) -> None:
        """Take the desk down and up again."""
        await self.close()
        await self.open()

    async def follow(self, seq: int | None = None, within_s: float = 10.0) -> None:
        """Wait until a row of the ledger is in force, the last one if none is named."""
        await self.projection.follow(self.writer.head if seq is None else seq, within_s)

    # acts

    async def put(self, number: str, *targets: str) -> int:
        """Block targets for a customer; the seq of it."""

        def work(transaction: Transaction) -> Entered:
            owner = self.vault.customer(transaction, number)
            put = [blocks.put(transaction, owner, target, "test") for target in targets]
            touched = [row for each in put for row in each.touched]
            return transaction.enter("block put", BY, customer_id=owner, touches=touched)

        return (await self.writer.write(work)).seq

    async def look(self) -> int:
        """Enter a row that changes nothing; the seq of it."""

        def work(transaction: Transaction) -> Entered:
            return transaction.enter("look", BY)

        return (await self.writer.write(work)).seq

    async def end(self, number: str, *targets: str) -> int:
        """End blocks of a customer; the seq of it."""

        def work(transaction: Transaction) -> Entered:
            owner = self.vault.customer(transaction, number)
            ended = []
            for target in targets:
                known = blocks.live(transaction, owner, target)
                if known is not None and blocks.end(transaction, known, "test", "test"):
                    ended.append((block, known))
            return transaction.enter("block ended", BY, customer_id=owner, touches=ended)

        return (await self.writer.write(work)).seq

    async def recycle(self, number: str) -> int:
        """Give a number to somebody else: its blocks end, its customer is retired."""

        def work(transaction: Transaction) -> None:
            blocking.recycle(transaction, self.vault, number, transaction.now, BY)

        await self.writer.write(work)
        return self.writer.head

    async def add_company(self, name: str, *sources: str, account: str = "") -> int:
        """Put a company into the registry of the records."""
        own = Company.model_validate({"sources": sources, "accounts": [account] if account else []})
        entered = await self.writer.write(lambda into: company.add(into, name, own, BY))
        return entered.seq

    async def merge(self, name: str, into: str) -> int:
        """Let a company go on as another."""
        merged = await self.writer.write(lambda within: company.merge(within, name, into, BY))
        return merged.entered.seq

    async def retarget(self, target: str, to: str) -> int:
        """Block one target in the place of another, as mergers and promotions do."""

        def work(transaction: Transaction) -> Entered:
            moved = blocks.retarget(transaction, target, to, BY.name, "merged")
            return transaction.enter("blocks moved", BY, touches=moved.touched)

        return (await self.writer.write(work)).seq

    # what the records say

    def numbered(self, number: str) -> str:
        """The id of a number's customer."""
        with self.records.reading() as connection:
            found = self.vault.find(connection, number)
        assert found is not None
        return found

    def in_force(self) -> dict[int, bool]:
        """Which live blocks are marked as in force."""
        with self.records.reading() as connection:
            query = select(block.c.id, block.c.in_force_at).where(block.c.ended_at.is_(None))
            return {each.id: each.in_force_at is not None for each in connection.execute(query)}

    async def marked(self) -> None:
        """Wait until every live block is marked as in force."""
        await until(lambda: all(self.in_force().values()))

    def entered(self, action: str) -> list[Any]:
        """The rows of the ledger of one kind."""
        with self.records.reading() as connection:
            query = select(ledger).where(ledger.c.action == action).order_by(ledger.c.seq)
            return list(connection.execute(query))

    def epoch(self) -> str:
        """The epoch that the records have for the index."""
        with self.records.reading() as connection:
            return connection.scalar(select(index_state.c.epoch)) or ""

    def forget(self, number: str) -> None:
        """Erase a number, as the desk does long after its last block."""
        with self.records.to_write() as connection, connection.begin():
            connection.execute(
                update(customer)
                .where(customer.c.id == self.numbered(number))
                .values(number_enc=None)
            )


async def until(found: Callable[[], Any], within_s: float = 15.0) -> Any:
    """Wait until something is so that nobody tells of; what it is."""
    async with asyncio.timeout(within_s):
        while not (result := found()):  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.02)
    return result


def pairs(client: redis.Redis, prefix: str = "") -> set[tuple[str, str]]:
    """Every pair in Redis."""
    found = set()
    for key in map(bytes, client.scan_iter(f"{prefix}block:*", 1000, "SET")):
        number = key.decode().removeprefix(prefix).removeprefix("block:{").removesuffix("}")
        members: Any = client.smembers(key)
        found |= {(number, member.decode()) for member in members}
    return found
