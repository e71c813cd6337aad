"""The ledger of real records, exported and verified, and what its database's owner can do to it."""

import itertools
from collections.abc import Callable

import pytest
from sqlalchemy import Connection, text

from smsfilter.ledger.actor import system
from smsfilter.ledger.chain import GENESIS, link
from smsfilter.ledger.export import Header, export
from smsfilter.ledger.verdict import Kind, Verdict
from smsfilter.ledger.verify import verify
from smsfilter.store import ledger
from smsfilter.store.records import Records
from smsfilter.store.transaction import Transaction
from smsfilter.store.writer import Writer
from tests.fakes.ledger import KEY, KEYS

Alter = Callable[[Connection], object]


@pytest.fixture
def filled(records: Records) -> Records:
    """Records with 20 rows in the ledger, and a checkpoint behind the first and every fifth."""
    clock = itertools.count(1_700_000_000_000_000, 1_000)
    writer = Writer(records, lambda: next(clock), KEY)
    writer.start()

    def work(transaction: Transaction, number: int) -> None:
        transaction.enter("block added", system("test"), object=f"block:{number}")
        if number % 5 == 0:
            transaction.checkpoint()

    for number in range(1, 21):
        writer.submit(lambda transaction, number=number: work(transaction, number)).result()
    writer.stop()
    return records


def verdict(records: Records, witnesses: list[str] | None = None) -> Verdict:
    """What is said of the desk's export."""
    with records.reading() as connection:
        seq, _, chain = ledger.head(connection)
        header = Header(chain, 1_700_000_001_000_000, 1, seq)
        lines = export(header, ledger.rows(connection), ledger.checkpoints(connection), KEY)
        return verify(lines, KEYS, witnesses or [])


def forge(records_urls: tuple[str, str | None], alter: Alter) -> None:
    """Alter the ledger with the rights of its owner, without its triggers."""
    owner = Records(records_urls[1] or records_urls[0])
    with owner.to_write() as connection, connection.begin():
        if owner.is_sqlite:
            names = connection.scalars(
                text("SELECT name FROM sqlite_master WHERE type = 'trigger'")
            ).all()
            for name in names:
                connection.execute(text(f"DROP TRIGGER {name}"))
        else:
            for table in ("ledger", "checkpoint"):
                connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
        alter(connection)
    owner.close()


def compute_anew(connection: Connection) -> None:
    """Another object in seq 7, and all hashes from there on to match."""
    rows = list(ledger.rows(connection))
    prev = GENESIS
    for row in rows:
        body = row.body.replace(b"block:7", b"block:X")
        values = {"body": body, "prev": prev, "hash": link(prev, body), "seq": row.seq}
        connection.execute(
            text("UPDATE ledger SET body = :body, prev = :prev, hash = :hash WHERE seq = :seq"),
            values,
        )
        prev = values["hash"]
    connection.execute(text("UPDATE ledger SET object = 'block:X' WHERE seq = 7"))
    connection.execute(text("UPDATE ledger_head SET hash = :hash"), {"hash": prev})


def test_the_desks_own_ledger_is_proven(filled: Records):
    said = verdict(filled)
    assert (said.status, said.fault, said.findings) == ("ok", None, ())
    assert said.coverage is not None
    assert (said.coverage.covered, said.coverage.checkpoints) == (20, 5)


@pytest.mark.parametrize(
    ("statement", "kind", "seq"),
    [
        ("UPDATE ledger SET actor = 'mallory' WHERE seq = 7", Kind.COLUMN, 7),
        ("UPDATE ledger SET body = prev WHERE seq = 7", Kind.EDITED, 7),
        ("DELETE FROM ledger WHERE seq = 7", Kind.DELETED, 7),
        ("DELETE FROM ledger WHERE seq > 17", Kind.CUT, 18),
        ("DELETE FROM checkpoint", None, 1),
    ],
    ids=["column", "body", "row", "tail", "checkpoints"],
)
def test_what_the_owner_does_is_found(
    filled: Records,
    records_urls: tuple[str, str | None],
    statement: str,
    kind: Kind | None,
    seq: int,
):
    forge(records_urls, lambda connection: connection.execute(text(statement)))
    said = verdict(filled)
    if kind is None:
        assert (said.status, said.findings[0].seq) == ("unproven", seq)
    else:
        assert said.fault is not None
        assert (said.fault.kind, said.fault.seq) == (kind, seq)


def test_a_chain_computed_anew_is_found(filled: Records, records_urls: tuple[str, str | None]):
    with filled.reading() as connection:
        *_, (_, witness) = ledger.checkpoints(connection)
    forge(records_urls, compute_anew)
    said = verdict(filled)
    assert said.fault is not None
    assert (said.fault.kind, said.fault.seq, said.fault.until) == (Kind.RECOMPUTED, 6, 10)
    forge(records_urls, lambda connection: connection.execute(text("DELETE FROM checkpoint")))
    assert verdict(filled).status == "unproven"
    witnessed = verdict(filled, [witness])
    assert witnessed.fault is not None
    assert (witnessed.fault.kind, witnessed.fault.until) == (Kind.RECOMPUTED, 20)
