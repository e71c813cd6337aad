"""The ledger asked of a desk: exported and proven, kept by a witness, read; on both databases."""

import asyncio
import contextlib
import gzip
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import pytest
import structlog
from sqlalchemy import Connection, text

from smsfilter.cli.main import main
from smsfilter.desk import audit, backup
from smsfilter.desk.api import app
from smsfilter.desk.door import Door
from smsfilter.desk.office import Office
from smsfilter.ledger.actor import system
from smsfilter.ledger.chain import GENESIS, link
from smsfilter.ledger.checkpoint import read as read_checkpoint
from smsfilter.ledger.checkpoint import split
from smsfilter.ledger.verdict import Kind, Verdict
from smsfilter.ledger.verify import verify
from smsfilter.staff.room import StaffRoom
from smsfilter.store import ledger
from smsfilter.store.records import Records
from smsfilter.store.transaction import Transaction
from tests.fakes import people
from tests.fakes.desks import At, blocked, opened

ANNA, BERT = "8613800138000", "8613800138001"


class Done(NamedTuple):
    """What became of a command."""

    returncode: int
    stdout: str
    stderr: str


class Served:
    """A desk that answers on its socket, and nothing else of it."""

    def __init__(self, desk: At, office: Office) -> None:
        self.desk = desk
        self.office = office
        self.folder = desk.folder

    async def run(self, *words: str, stdin: str = "") -> Done:
        """Run a command as an operator does, in a thread: an interpreter of its own takes long."""

        def command() -> Done:
            out, err = io.StringIO(), io.StringIO()
            with (
                contextlib.redirect_stdout(out),
                contextlib.redirect_stderr(err),
                mock.patch.object(sys, "stdin", io.StringIO(stdin)),
            ):
                status = main([*words, "-c", str(self.desk.file)])
            return Done(status, out.getvalue(), err.getvalue())

        return await asyncio.to_thread(command)

    async def run_apart(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command as a process."""
        command = [sys.executable, "-m", "smsfilter", *words]
        return await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, check=False
        )

    async def export(self, *words: str, name: str = "ledger.jsonl") -> Path:
        file = self.folder / name
        file.unlink(missing_ok=True)
        done = await self.run("audit", "export", str(file), *words)
        assert done.returncode == 0, done.stderr
        return file

    def verify(self, file: Path, witness: Path | None = None) -> Verdict:
        keys = self.office.keys
        witnesses = [] if witness is None else split(witness.read_text())
        opening = gzip.open if file.suffix == ".gz" else open
        with opening(file, "rb") as lines:
            return verify(lines, {keys.sign_id: keys.sign.public_key()}, witnesses)

    async def enter(self, action: str, *, sign: bool = False, **fields: object) -> int:
        def work(transaction: Transaction):
            if sign:
                transaction.checkpoint()
            return transaction.enter(action, system("test"), **fields)  # type: ignore[arg-type]

        return (await self.office.writer.write(work)).seq

    def forge(self, alter: list[str] | None = None, by=None) -> None:
        """Alter the ledger with its owner's rights, without its triggers."""
        records = self.desk.config.records
        owner = Records(records.owner_url or f"sqlite:///{self.office.records.path}")
        with owner.to_write() as connection, connection.begin():
            if owner.is_sqlite:
                query = text("SELECT name FROM sqlite_master WHERE type = 'trigger'")
                for name in connection.scalars(query).all():
                    connection.execute(text(f"DROP TRIGGER {name}"))
            else:
                for table in ("ledger", "checkpoint"):
                    connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
            for statement in alter or ():
                connection.execute(text(statement))
            if by is not None:
                by(connection)
        owner.close()


@pytest.fixture(params=["sqlite", "postgresql"])
async def served(request, tmp_path, monkeypatch):
    urls = None
    if request.param == "postgresql":
        urls = request.getfixturevalue("postgres").database(migrated=False)
    desk = At(tmp_path, urls)
    await asyncio.to_thread(desk.found)
    before = structlog.get_config()
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())  # stdout is the commands'
    with desk.writing() as office:
        people.hired(office.records)
        monkeypatch.setenv(people.LOGIN_ENV, str(people.login_file(tmp_path)))
        routes = [*audit.routes(office), *backup.routes(office)]
        async with opened(Door(app(routes, StaffRoom(office, None), office), desk.state)):
            yield Served(desk, office)
    structlog.configure(**before)


async def test_an_export_is_proven(served):
    for number in range(5):
        await served.enter("noted", object=f"line\u2028{number}\x85", sign=number == 2)

    file = await served.export()

    key = str(served.desk.state / "keys" / "ledger.pub")
    done = await served.run_apart("audit", "verify", str(file), "--key", key)
    assert done.returncode == 0, done.stdout
    said = served.verify(file)
    assert said.coverage is not None
    assert said.coverage.covered == said.coverage.last == 7
    rows = [json.loads(line) for line in file.read_text().split("\n") if line.startswith('{"row"')]
    assert rows[-1]["row"]["action"] == "ledger exported"
    assert file.stat().st_mode & 0o777 == 0o600
    again = await served.run("audit", "export", str(file))
    assert (again.returncode, "File exists" in again.stderr) == (1, True)


async def test_an_export_as_gzip_and_on_stdout(served):
    zipped = await served.export(name="ledger.jsonl.gz")
    assert gzip.decompress(zipped.read_bytes()).startswith(b'{"header"')
    assert served.verify(zipped).status == "ok"
    plain = await served.run_apart("audit", "export", "-", "-c", str(served.desk.file))
    assert plain.stdout.splitlines()[-1].startswith('{"end"')
    assert "chain" in plain.stderr


async def test_a_part_begins_and_ends_at_checkpoints(served):
    for number in range(2, 31):
        await served.enter("noted", sign=number % 10 == 0)

    file = await served.export("--from", "15", "--to", "17")

    said = served.verify(file)
    assert said.status == "ok"
    assert said.coverage is not None
    assert (said.coverage.first, said.coverage.last) == (11, 20)
    witnessed = served.verify(file, served.desk.state / "checkpoints.txt")
    assert (witnessed.fault, [each.gap for each in witnessed.findings]) == (
        None,
        ["witness_unused"],
    )
    for wrong in (["--from", "99"], ["--from", "9", "--to", "8"], ["--from", "0"]):
        done = await served.run("audit", "export", str(served.folder / "no"), *wrong)
        assert done.returncode == 1, done.stderr
        assert done.stderr.startswith("smsfilter: ")
    assert not (served.folder / "no").exists()


async def test_a_long_ledger_goes_out_while_others_write(served):
    def many(transaction: Transaction) -> None:
        for number in range(2_500):
            transaction.enter("noted", system("test"), object=f"number {number}")
        transaction.checkpoint()

    await served.office.writer.write(many)
    exporting = asyncio.create_task(served.export())
    while not exporting.done():
        await served.enter("noted", sign=True)
    assert served.verify(await exporting).status == "ok"
    later = served.verify(await exporting, served.desk.state / "checkpoints.txt")
    assert (later.fault, [each.gap for each in later.findings]) == (None, ["witness_unused"])


async def test_a_reader_that_goes_away_costs_nothing(served):
    def many(transaction: Transaction) -> None:
        for _ in range(3_000):
            transaction.enter("noted", system("test"), object="x" * 500)

    await served.office.writer.write(many)
    reader, writer = await asyncio.open_unix_connection(str(served.desk.state / "desk.sock"))
    writer.write(b"GET /v1/ledger/export HTTP/1.1\r\nHost: desk\r\n\r\n")
    await reader.readexactly(1000)
    writer.transport.abort()
    assert served.verify(await served.export()).status == "ok"


# --- a witness


async def test_a_witness_keeps_what_is_new(served):
    await served.enter("noted", sign=True)
    kept = served.folder / "witness.txt"
    keep = ("audit", "checkpoints", "--keep", str(kept))

    assert "2 added, 2 in all" in (await served.run(*keep)).stdout
    assert "0 added, 2 in all" in (await served.run(*keep)).stdout
    await served.enter("noted", sign=True)
    assert "1 added, 3 in all" in (await served.run(*keep)).stdout

    texts = split(kept.read_text())
    assert [read_checkpoint(each).seq for each in texts] == [1, 2, 3]
    printed = await served.run("audit", "checkpoints")
    assert printed.stdout == kept.read_text()
    some = await served.run("audit", "checkpoints", "--from", "3")
    assert some.stdout == texts[2]
    assert kept.read_text() == (served.desk.state / "checkpoints.txt").read_text()
    said = served.verify(await served.export(), kept)
    assert said.coverage is not None
    assert (said.status, said.coverage.witnesses) == ("ok", 3)


async def test_a_witness_notices_a_ledger_that_was_cut(served):
    await served.enter("noted", sign=True)
    kept = served.folder / "witness.txt"
    await served.run("audit", "checkpoints", "--keep", str(kept))
    before = kept.read_text()
    served.forge(["DELETE FROM checkpoint WHERE seq = 2"])
    done = await served.run("audit", "checkpoints", "--keep", str(kept))
    assert done.returncode == 1
    assert "the ledger has not the checkpoint of seq 2" in done.stderr
    assert kept.read_text() == before


# --- reading


async def test_what_was_done_can_be_read_and_the_look_is_entered(served):
    blocked(served.office.writer, served.office.vault, [ANNA, BERT])

    def look(transaction: Transaction) -> None:
        for number in (ANNA, BERT):
            customer = served.office.vault.customer(transaction, number)
            detail = {"purpose": f"call of {number[-4:]}"}
            transaction.enter("text shown", system("test"), customer_id=customer, detail=detail)

    await served.office.writer.write(look)

    done = await served.run("audit", "show", "--number", stdin="138 0013 8000\n")
    assert done.returncode == 0, done.stderr
    assert "text shown  138****8000  by system:test" in done.stdout
    assert "purpose: call of 8000" in done.stdout
    assert "8001" not in done.stdout
    assert ANNA[2:] not in done.stdout + done.stderr

    rows = json.loads((await served.run("audit", "show", "--json")).stdout)
    assert [row["action"] for row in rows] == [
        *("init", "blocks put", "text shown", "text shown", "ledger read")
    ]
    assert rows[-1]["detail"] == {"before": None, "rows": 1}
    assert rows[-1]["customer"] == rows[2]["customer"]
    assert rows[-1]["number"] == "138****8000"
    few = await served.run("audit", "show", "--last", "2", "--before", "4")
    assert "older ones: --before 2" in few.stderr
    assert [line.split()[2] for line in few.stdout.splitlines() if line[:2] == "20"] == ["2", "3"]


async def test_nobody_is_found_under_a_number_that_is_not_known(served):
    done = await served.run("audit", "show", "--json", "--number", stdin="8613999999999\n")
    assert json.loads(done.stdout) == []
    rows = json.loads((await served.run("audit", "show", "--json", "--last", "1")).stdout)
    assert (rows[0]["action"], rows[0]["detail"]["rows"]) == ("ledger read", 0)
    wrong = await served.run("audit", "show", "--number", stdin="anna\n")
    assert wrong.returncode == 1
    assert "anna" not in wrong.stderr


async def test_a_case_has_its_timeline(served):
    await served.enter("case opened", case_id="17", object="case:17", detail={"due": 3})
    await served.enter("noted")
    await served.enter("case closed", case_id="17", object="case:17")
    rows = json.loads((await served.run("audit", "show", "--case", "17", "--json")).stdout)
    assert [row["action"] for row in rows] == ["case opened", "case closed"]


async def test_a_record_that_was_altered_is_shown_as_such(served):
    seq = await served.enter("noted")
    served.forge([f"UPDATE ledger SET body = prev WHERE seq = {seq}"])
    done = await served.run("audit", "show")
    assert "this record is not what was entered" in done.stdout


# --- attacks, under a desk that does not know of them


def recompute(connection: Connection, start: int, old: bytes, new: bytes) -> None:
    """Another body from row `start` on, and every hash, column and the head to match."""
    prev = GENESIS
    for row in list(ledger.rows(connection)):
        body = row.body.replace(old, new) if row.seq >= start else row.body
        values = {"body": body, "prev": prev, "hash": link(prev, body), "seq": row.seq}
        prev = values["hash"]
        connection.execute(
            text("UPDATE ledger SET body = :body, prev = :prev, hash = :hash WHERE seq = :seq"),
            values,
        )
    pairs = {"old": old.decode(), "new": new.decode()}
    connection.execute(text("UPDATE ledger SET object = :new WHERE object = :old"), pairs)
    connection.execute(text("UPDATE ledger_head SET hash = :hash"), {"hash": prev})


def forget(connection: Connection, first: int) -> None:
    """Cut off everything from row `first` on, and let the head say nothing of it."""
    connection.execute(text(f"DELETE FROM ledger WHERE seq >= {first}"))
    connection.execute(text(f"DELETE FROM checkpoint WHERE seq >= {first}"))
    connection.execute(
        text(
            f"UPDATE ledger_head SET seq = {first - 1}, signed_seq = {first - 1},"
            f" hash = (SELECT hash FROM ledger WHERE seq = {first - 1})"
        )
    )


ATTACKS = {
    "a column": (["UPDATE ledger SET actor = 'mallory' WHERE seq = 7"], None, Kind.COLUMN, 7),
    "a body": (["UPDATE ledger SET body = prev WHERE seq = 7"], None, Kind.EDITED, 7),
    "one row gone": (["DELETE FROM ledger WHERE seq = 7"], None, Kind.DELETED, 7),
    "two rows exchanged": (
        [
            "UPDATE ledger SET seq = 99 WHERE seq = 7",
            "UPDATE ledger SET seq = 7 WHERE seq = 8",
            "UPDATE ledger SET seq = 8 WHERE seq = 99",
        ],
        None,
        Kind.COLUMN,
        8,
    ),
    "computed anew": (
        [],
        lambda connection: recompute(connection, 7, b"act:7", b"act:X"),
        Kind.FORKED,  # the desk has signed its export: two histories under its key
        6,
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
async def test_an_attack_is_found_without_a_witness(served, attack):
    for number in range(2, 13):
        await served.enter("noted", object=f"act:{number}", sign=number % 5 == 0)
    statements, by, kind, seq = ATTACKS[attack]
    await asyncio.to_thread(served.forge, statements, by)

    fault = served.verify(await served.export()).fault

    assert fault is not None
    assert (fault.kind, fault.seq) == (kind, seq)


@pytest.mark.parametrize(
    ("by", "kind", "seq"),
    [
        (lambda connection: forget(connection, 9), (Kind.FORKED, Kind.RECOMPUTED), 6),
        (
            lambda connection: (
                recompute(connection, 7, b"act:7", b"act:X"),
                connection.execute(text("DELETE FROM checkpoint")),
            ),
            (Kind.FORKED, Kind.RECOMPUTED),
            6,
        ),
    ],
    ids=["cut back and worked on", "computed anew, checkpoints gone"],
)
async def test_what_only_a_witness_shows(served, by, kind, seq):
    """The desk has signed what it was left with: a second history, which a witness contradicts."""
    for number in range(2, 13):
        await served.enter("noted", object=f"act:{number}", sign=number % 5 == 0)
    witness = served.folder / "witness.txt"
    await served.enter("noted", sign=True)
    await served.run("audit", "checkpoints", "--keep", str(witness))
    await asyncio.to_thread(served.forge, None, by)
    for number in range(2, 8):
        await served.enter("noted", object=f"act:{number}")
    file = await served.export()

    assert served.verify(file).status != "bad"
    fault = served.verify(file, witness).fault
    assert fault is not None
    assert fault.kind in kind
    assert fault.seq == seq
