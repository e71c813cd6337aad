"""The one writer: groups in one commit, a ledger without a gap, failures that stay their own."""

import itertools
import random
import signal
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import insert, select, text

from smsfilter.ledger.actor import system
from smsfilter.ledger.chain import GENESIS, link, parse
from smsfilter.ledger.checkpoint import check, key_id
from smsfilter.store import ledger
from smsfilter.store.records import Records, RecordsAway, RecordsError
from smsfilter.store.schema import company
from smsfilter.store.transaction import Transaction
from smsfilter.store.writer import Writer

BY = system("test")


class Clock:
    """µs, a millisecond later each time it is read."""

    def __init__(self) -> None:
        self._times = itertools.count(1_700_000_000_000_000, 1_000)

    def __call__(self) -> int:
        return next(self._times)


@pytest.fixture
def key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


@pytest.fixture
def writer(records, key):
    writer = Writer(records, Clock(), key)
    writer.start()
    yield writer
    writer.stop()


def add(name: str):
    """A piece of work: one company and its row in the ledger."""

    def work(transaction: Transaction) -> str:
        values = {"id": name, "state": "active", "changed_seq": 0}
        transaction.connection.execute(insert(company).values(values))
        transaction.enter("company added", BY, object=name, touches=[(company, name)])
        return name

    return work


def chained(records: Records) -> list:
    """The ledger, after a look at each of its links."""
    with records.reading() as connection:
        rows = list(ledger.rows(connection))
        seq, last, chain = ledger.head(connection)
    prev = GENESIS
    for number, row in enumerate(rows, 1):
        assert (row.seq, row.prev) == (number, prev)
        entry = parse(row.body)
        assert (entry.seq, entry.at, entry.action) == (row.seq, row.at, row.action)
        prev = link(row.prev, row.body)
        assert row.hash == prev
    assert (seq, last) == (len(rows), prev)
    assert chain == (rows[0].hash.hex()[:32] if rows else "")
    return rows


def seqs(records: Records) -> dict[str, int]:
    with records.reading() as connection:
        return dict(connection.execute(select(company.c.id, company.c.changed_seq)).all())


def test_a_change_and_its_row_of_the_ledger_are_one(records, writer):
    assert writer.submit(add("acme")).result() == "acme"
    assert seqs(records) == {"acme": 1}
    assert [row.object for row in chained(records)] == ["acme"]
    assert writer.head == 1


def test_work_that_fails_leaves_nothing_and_takes_nobody_with_it(records, writer):
    def fail(transaction: Transaction) -> None:
        add("half")(transaction)
        raise LookupError("no such thing")

    gate = threading.Event()
    first = writer.submit(lambda _transaction: gate.wait(10))
    futures = [writer.submit(work) for work in (add("a"), fail, add("a"), add("b"))]
    gate.set()  # the four are one group
    first.result()
    assert futures[0].result() == "a"
    with pytest.raises(LookupError):
        futures[1].result()
    with pytest.raises(Exception, match=r"(?i)unique"):
        futures[2].result()
    assert futures[3].result() == "b"
    assert seqs(records) == {"a": 1, "b": 2}
    assert [row.object for row in chained(records)] == ["a", "b"]


@pytest.mark.parametrize("detail", [{"rate": 0.5}, {"name": "\ud800"}, {"n": 1 << 70}])
def test_what_has_no_canonical_form_is_refused_alone(records, writer, detail):
    def work(transaction: Transaction) -> None:
        add("bad")(transaction)
        transaction.enter("odd", BY, detail=detail)

    with pytest.raises(ValueError, match=r"."):
        writer.submit(work).result()
    writer.submit(add("good")).result()
    assert seqs(records) == {"good": 1}
    assert len(chained(records)) == 1


def test_fifty_at_once_with_failures_leave_a_gapless_chain(records, writer):
    chance = random.Random(7)
    plans = [[chance.random() < 0.3 for _ in range(20)] for _ in range(50)]

    def write(number: int) -> int:
        done = 0
        for turn, fails in enumerate(plans[number]):

            def work(
                transaction: Transaction, name: str = f"{number}-{turn}", fails: bool = fails
            ) -> None:
                add(name)(transaction)
                if fails:
                    raise LookupError

            try:
                writer.submit(work).result()
            except LookupError:
                continue
            done += 1
        return done

    with ThreadPoolExecutor(50) as pool:
        done = sum(pool.map(write, range(50)))
    assert done == sum(plan.count(False) for plan in plans)
    rows = chained(records)
    assert len(rows) == done
    assert seqs(records) == {row.object: row.seq for row in rows}


def test_checkpoints_are_signed_in_time_and_on_demand(records, writer, key):
    public = {key_id(key.public_key()): key.public_key()}

    def enter(count: int, at: int):
        def work(transaction: Transaction) -> None:
            transaction.now = at
            for _ in range(count):
                transaction.enter("look", BY)

        return writer.submit(work).result()

    start = 1_700_000_000_000_000
    enter(1, start)
    enter(1, start + 59_000_000)  # not yet
    enter(2_500, start + 59_000_000)  # each 1,000 rows
    enter(1, start + 120_000_000)  # or 60 s
    assert writer.unsigned == 0
    writer.submit(lambda transaction: transaction.checkpoint()).result()  # nothing is new
    enter(1, start + 120_000_001)
    assert writer.unsigned == 1
    writer.submit(lambda transaction: transaction.checkpoint()).result()
    rows = chained(records)
    with records.reading() as connection:
        signed = dict(ledger.checkpoints(connection))
    assert list(signed) == [1, 1_001, 2_001, 2_503, 2_504]
    for seq, said in signed.items():
        checkpoint = check(said, public)
        assert (checkpoint.seq, checkpoint.hash) == (seq, rows[seq - 1].hash)
        assert checkpoint.chain == rows[0].hash.hex()[:32]


def test_rows_come_a_thousand_at_a_time(records, writer):
    def work(transaction: Transaction) -> None:
        for _ in range(2_345):
            transaction.enter("look", BY)

    writer.submit(work).result()
    with records.reading() as connection:
        assert [row.seq for row in ledger.rows(connection)] == list(range(1, 2_346))
        assert [row.seq for row in ledger.rows(connection, 999, 2_001)] == list(range(999, 2_002))


def test_a_second_desk_does_not_start(records, records_urls, writer):
    again = Records(records_urls[0])
    with pytest.raises(RecordsError, match="another desk"):
        Writer(again, Clock()).start()
    again.close()


def test_after_the_stop_nothing_is_written(records, key):
    writer = Writer(records, Clock(), key)
    writer.start()
    last = writer.submit(add("last"))
    writer.stop()
    assert last.result() == "last"
    assert len(chained(records)) == 1


def test_a_locked_database_is_a_fault_that_passes(tmp_path):
    records = Records(f"sqlite:///{tmp_path}/records.db")
    records.migrate()
    writer = Writer(records, Clock())
    writer.start()
    writer.submit(add("before")).result()
    with sqlite3.connect(records.path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(RecordsAway, match="locked"):
            writer.submit(add("during")).result()
        other.execute("ROLLBACK")
    other.close()
    writer.submit(add("after")).result()
    assert seqs(records) == {"before": 1, "after": 2}
    chained(records)
    writer.stop()
    records.close()


@pytest.mark.parametrize("how", ["replaced", "gone"])
def test_a_file_that_was_taken_away_is_written_no_more(tmp_path, how):
    """Whoever is told that it is done would find nothing of it after a restart."""
    records = Records(f"sqlite:///{tmp_path}/records.db")
    records.migrate()
    writer = Writer(records, Clock())
    writer.start()
    writer.submit(add("before")).result()
    own = records.path.rename(tmp_path / "own.db")
    if how == "replaced":
        records.path.write_bytes(own.read_bytes())
    for name in ("during", "once more, on another connection"):
        with pytest.raises(RecordsAway, match=r"another file now|No such file"):
            writer.submit(add(name)).result()
    own.rename(records.path)
    writer.submit(add("after")).result()
    assert seqs(records) == {"before": 1, "after": 2}
    writer.stop()
    records.close()


def test_a_disk_that_is_full_is_a_fault_that_passes(tmp_path):
    records = Records(f"sqlite:///{tmp_path}/records.db")
    records.migrate()
    writer = Writer(records, Clock())
    writer.start()

    def limit(pages: int):
        return lambda t: t.connection.execute(text(f"PRAGMA max_page_count = {pages}"))

    def fill(transaction: Transaction) -> None:
        values = {"id": "big", "name": "x" * 2_000_000, "state": "active", "changed_seq": 0}
        transaction.connection.execute(insert(company).values(values))
        transaction.enter("company added", BY, object="big")

    writer.submit(limit(1)).result()
    with pytest.raises(RecordsAway, match="full"):
        writer.submit(fill).result()
    writer.submit(limit(1_000_000)).result()
    writer.submit(fill).result()
    assert [row.object for row in chained(records)] == ["big"]
    writer.stop()
    records.close()


def test_a_postgresql_that_crashes_is_a_fault_that_passes():
    from tests.fakes.peer import needed  # noqa: PLC0415
    from tests.fakes.postgres import Postgres  # noqa: PLC0415

    with needed():
        server = Postgres.started()
    records = Records(server.database()[0])
    writer = Writer(records, Clock())
    writer.start()
    try:
        writer.submit(add("before")).result()
        server.stop(signal.SIGQUIT)
        with pytest.raises(RecordsAway):
            writer.submit(add("during")).result()
        server.start()
        writer.submit(add("after")).result()
        assert seqs(records) == {"before": 1, "after": 2}
        chained(records)
    finally:
        writer.stop()
        records.close()
        server.close()


def test_a_desk_that_lost_the_lock_does_not_write(postgres):
    """Its session was cut off, and another desk took the records over meanwhile."""
    url, _ = postgres.database()
    records, other = Records(url), Records(url)
    writer = Writer(records, Clock())
    writer.start()
    writer.submit(add("before")).result()
    with postgres.connect() as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
        )
    with pytest.raises(RecordsAway):
        writer.submit(add("during")).result()
    with other.locked(), pytest.raises(RecordsError, match="another desk"):
        writer.submit(add("after")).result()
    assert seqs(records) == {"before": 1}
    writer.stop()
    records.close()
    other.close()


def test_what_comes_after_the_stop_fails_at_once(records):
    writer = Writer(records, Clock())
    writer.start()
    before = writer.submit(add("before"))
    writer.stop()
    after = writer.submit(add("after"))
    assert before.result() == "before"
    with pytest.raises(RecordsAway, match="stopping"):
        after.result(timeout=5)
    assert seqs(records) == {"before": 1}


def test_a_row_of_two_acts_of_a_group_gets_the_later_seq(writer, records):
    """Whether few or many rows were touched: what follows the records must not miss one."""
    names = [f"c{n}" for n in range(50)]
    for name in names:
        writer.submit(add(name)).result()
    gate = threading.Event()
    held = writer.submit(lambda _transaction: gate.wait(10))

    def touching(some: list[str]):
        return lambda t: t.enter("touched", BY, touches=[(company, name) for name in some])

    acts = [writer.submit(touching(some)) for some in (names[:1], names, names[:2], names[:1])]
    gate.set()
    held.result()
    seq_of = [act.result().seq for act in acts]
    with records.reading() as connection:
        found = dict(connection.execute(select(company.c.id, company.c.changed_seq)).all())
    assert (found["c0"], found["c1"], found["c2"]) == (seq_of[3], seq_of[2], seq_of[1])
