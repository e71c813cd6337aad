"""Records with a writer and a vault, for tests of what the desk does to companies and blocks.

Time stands still unless a test moves it, so that 72 hours take no longer than one line.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection, Table, func, select

from smsfilter.desk import blocks, companies
from smsfilter.desk.vault import Vault
from smsfilter.ledger.actor import local
from smsfilter.ledger.chain import Entry, parse
from smsfilter.rules.registry import RegistryFile
from smsfilter.store import ledger
from smsfilter.store.records import Records
from smsfilter.store.schema import block
from smsfilter.store.seal import Seal
from smsfilter.store.transaction import Transaction
from smsfilter.store.writer import Writer

T = TypeVar("T")

BY = local("wang")
HOUR = 3_600_000_000
"""µs."""
START = 1_767_225_600_000_000
"""2026-01-01T00:00Z in µs."""


def registry(**content: Any) -> RegistryFile:
    """A registry file."""
    return RegistryFile.model_validate({"companies": {}} | content)


def live(connection: Connection, vault: Vault) -> set[tuple[str, str]]:
    """Numbers and targets of the live blocks."""
    query = select(block.c.customer, block.c.target).where(block.c.ended_at.is_(None))
    rows = connection.execute(query).all()
    numbers = vault.numbers(connection, [row.customer for row in rows])
    return {(numbers[row.customer], row.target) for row in rows}


class Registrar:
    """What changes companies, and looks at them. `now` is µs UTC."""

    def __init__(self, records: Records) -> None:
        self.now = START
        self.records = records
        self.writer = Writer(records, lambda: self.now)
        self.vault = Vault(Seal({"k1": bytes(32)}, {"k1": bytes(32)}))

    def __enter__(self) -> "Registrar":
        self.writer.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.writer.stop()

    def do(self, work: Callable[..., T], *arguments: Any) -> T:
        """Have something done in a transaction, by the operator wang where it asks who."""
        return self.writer.submit(lambda transaction: work(transaction, *arguments)).result()

    def look(self, work: Callable[..., T], *arguments: Any, **options: Any) -> T:
        """Read something."""
        with self.records.reading() as connection:
            return work(connection, *arguments, **options)

    def take_in(self, content: RegistryFile) -> companies.Changes:
        """Import a file."""
        return self.do(companies.import_, content, BY)

    def load(self) -> RegistryFile:
        """The registry in force."""
        return self.look(companies.load)

    def block(self, target: str, number: str = "8613800138000") -> int:
        """Block a company or source for a customer; the id of the block."""

        def work(transaction: Transaction) -> int:
            customer = self.vault.customer(transaction, number)
            put = blocks.put(transaction, customer, target, "report")
            transaction.enter("block put", BY, customer_id=customer, touches=put.touched)
            return put.id

        return self.do(work)

    def block_source(self, source: str, number: str = "8613800138000") -> int:
        """Block a source, as an intake does it."""
        return self.block(
            self.do(blocks.source_target, self.vault, source, "86"),
            number,
        )

    def unblock(self, block_id: int) -> None:
        """End a block."""

        def work(transaction: Transaction) -> None:
            blocks.end(transaction, block_id, BY.name, "withdrawn")
            transaction.enter("block ended", BY, touches=[(block, block_id)])

        self.do(work)

    def live(self) -> set[tuple[str, str]]:
        """Numbers and targets of the live blocks."""
        return self.look(live, self.vault)

    def rows(self, table: Table) -> list[Any]:
        """Every row of a table, in the order of their first column."""
        key = next(iter(table.c))
        return self.look(lambda connection: connection.execute(select(table).order_by(key)).all())

    def count(self, table: Table) -> int:
        """How many rows a table has."""
        query = select(func.count()).select_from(table)
        found: int = self.look(lambda connection: connection.execute(query).scalar_one())
        return found

    def acts(self) -> list[Entry]:
        """What the ledger says, the oldest first."""
        with self.records.reading() as connection:
            return [parse(row.body) for row in ledger.rows(connection)]
