"""Backups of a desk that works, and records made of them on another host (SQLite)."""

import asyncio
import contextlib
import json
import re
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from sqlalchemy import select

from smsfilter.cli.main import main
from smsfilter.desk import keybox, manifest
from smsfilter.desk.backup import Backups
from smsfilter.desk.office import Office, check
from smsfilter.desk.problems import Problem
from smsfilter.desk.restore import Restore
from smsfilter.ledger.actor import system
from smsfilter.ledger.checkpoint import read as read_checkpoint
from smsfilter.ledger.checkpoint import split
from smsfilter.store import ledger
from smsfilter.store.keyfiles import KeyFileError
from smsfilter.store.records import Records, RecordsError
from smsfilter.store.schema import block, index_state
from smsfilter.store.transaction import Transaction
from tests.fakes.desks import BY, At, blocked, exported

NUMBERS = [f"861380013{number:04}" for number in range(50)]


@pytest.fixture
def desk(tmp_path):
    """A desk with fifty blocks, which is not running."""
    desk = At(tmp_path / "old")
    desk.found()
    with desk.writing() as office:
        blocked(office.writer, office.vault, NUMBERS)
    return desk


@pytest.fixture
def other(desk, tmp_path):
    """Another host, to which the keys were brought."""
    other = At(tmp_path / "new")
    keybox.bring_back(other.state, keybox.collect(desk.state))
    return other


@pytest.fixture
def copy(desk, tmp_path, capsys):
    file = tmp_path / "copy.db"
    assert main(["desk", "backup", str(file), "-c", str(desk.file)]) == 0
    capsys.readouterr()
    return file


def tail(office: Office) -> list[tuple[str, dict]]:
    with office.records.reading() as connection:
        rows = list(ledger.rows(connection))
    return [(row.action, json.loads(row.body)["detail"]) for row in rows]


def test_a_backup_is_one_file_without_a_key_and_its_manifest(desk, copy, tmp_path):
    said = manifest.read(
        (tmp_path / "copy.db.manifest").read_text(),
        {desk.keys.sign_id: desk.keys.sign.public_key()},
    )
    octets = copy.read_bytes()

    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.glob("copy*")) == ["copy.db", "copy.db.manifest"]
    assert said.octets == len(octets)
    for key in keybox.collect(desk.state).values():
        assert key not in octets
        assert key.hex().encode() not in octets
    assert not any(number.encode() in octets for number in NUMBERS)
    with desk.writing() as office:
        assert tail(office)[-1][0] == "backup"
        with office.records.reading() as connection:
            assert ledger.head(connection) == (said.seq, said.hash, said.chain)
    assert not (desk.state / "backup.part").exists()


def test_a_backup_overwrites_nothing(desk, copy, capsys):
    before = copy.read_bytes()
    assert main(["desk", "backup", str(copy), "-c", str(desk.file)]) == 1
    assert "File exists" in capsys.readouterr().err
    assert copy.read_bytes() == before


def noise(transaction: Transaction) -> None:
    transaction.enter("noise", system("test"), object="x" * 900)
    transaction.checkpoint()


async def test_the_desk_writes_on_while_it_is_copied(desk, other):
    """The copy is one state of the records, and is made though they change at every moment."""
    with desk.writing() as office:
        stop = threading.Event()

        def work() -> None:
            while not stop.is_set():
                office.writer.submit(noise).result()

        writing = asyncio.create_task(asyncio.to_thread(work))
        received = b""
        async for chunk in await Backups(office).begin(BY):
            received += chunk
        stop.set()
        await writing
        with office.records.reading() as connection:
            head, _, _ = ledger.head(connection)
    lines, octets = received.split(b"SQLite format 3\0", 1)
    text = json.loads(lines.splitlines()[-1])["manifest"]
    said = manifest.read(text, {desk.keys.sign_id: desk.keys.sign.public_key()})
    assert len(octets) + 16 == said.octets
    assert 2 < said.seq < head
    path = desk.folder / "copy.db"
    path.write_bytes(b"SQLite format 3\0" + octets)
    path.with_name("copy.db.manifest").write_text(text)
    witnesses = split((desk.state / "checkpoints.txt").read_text())  # also of rows behind the copy
    restored = Restore(other.config, BY, witnesses).from_file(path)
    assert (restored.seq, restored.verdict.fault) == (said.seq, None)
    records = Records(f"sqlite:///{path}")
    with records.reading() as connection:
        assert ledger.head(connection)[:2] == (said.seq, said.hash)
        *_, (_, text) = ledger.checkpoints(connection)
    records.close()
    signed = read_checkpoint(text)
    assert (signed.seq, signed.hash) == (said.seq, said.hash)


async def test_one_backup_at_a_time_and_one_that_nobody_takes_is_forgotten(desk):
    with desk.writing() as office:
        backups = Backups(office)
        first, second = await backups.begin(BY), await backups.begin(BY)
        assert b"copied" in await anext(first)
        assert b"a backup is being made" in await anext(second)
        await first.aclose()
        lines: list[bytes] = []
        async with asyncio.timeout(10):
            while not lines:  # until the first copy is made, for nobody
                with contextlib.suppress(Problem):
                    lines = [line async for line in await backups.begin(BY)]
                await asyncio.to_thread(office.writer.submit(lambda _: None).result)
        assert any(b"SQLite format 3" in line for line in lines)
    assert not (desk.state / "backup.part").exists()


def test_a_full_disk_is_told_and_leaves_nothing(desk, tmp_path):
    done = subprocess.run(
        [
            *("prlimit", "--fsize=200000", sys.executable, "-m", "smsfilter", "desk", "backup"),
            *(str(tmp_path / "copy.db"), "-c", str(desk.file)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert re.search(r"backup\.part: (disk I/O error|database or disk is full)", done.stderr)
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("copy*"))
    assert not (desk.state / "backup.part").exists()


# --- restore


def test_records_come_back_on_another_host(desk, other, copy, capsys):
    assert main(["desk", "restore", str(copy), "-c", str(other.file)]) == 0
    said = capsys.readouterr().out
    assert "all of it is proven" in said

    check_all(desk, other)
    assert not list(other.state.glob("*.restoring*"))
    assert stat.S_IMODE((other.state / "records.db").stat().st_mode) == 0o600


def check_all(desk: At, other: At) -> None:
    with desk.writing() as old, other.writing() as new:
        check(new.records, new.keys)
        before, after = tail(old), tail(new)
        assert after[:-1] == before
        action, detail = after[-1]
        assert action == "restore"
        with new.records.reading() as connection:
            live = connection.execute(select(block.c.customer)).scalars().all()
            numbers = new.vault.numbers(connection, live)
            state = connection.execute(select(index_state)).one()
        with old.records.reading() as connection:
            was = connection.execute(select(index_state)).one()
            seq, last, chain = ledger.head(connection)
    assert sorted(numbers.values()) == NUMBERS
    assert (detail["seq"], detail["hash"], detail["chain"]) == (seq, last.hex(), chain)
    assert state.desk == was.desk
    assert state.epoch == detail["epoch"] != was.epoch
    assert state.adopts
    assert not was.adopts


def test_a_restore_is_a_declared_gap(desk, other, copy, tmp_path):
    Restore(other.config, BY).from_file(copy)
    verdict = exported(other)
    assert (verdict.status, [each.gap for each in verdict.findings]) == ("unproven", ["restore"])
    later = (desk.state / "checkpoints.txt").read_text()
    with desk.writing() as office:  # the old desk had worked on after the backup
        blocked(office.writer, office.vault, ["8613900139000"])
        office.writer.submit(lambda transaction: transaction.checkpoint()).result()
    later = split((desk.state / "checkpoints.txt").read_text())[-1]
    assert exported(other, [later]).status == "bad"  # signed after the restore: two histories


def test_a_backup_of_a_restored_desk_can_be_restored(other, copy, tmp_path, capsys):
    Restore(other.config, BY).from_file(copy)
    second = tmp_path / "second.db"
    third = At(tmp_path / "third")
    keybox.bring_back(third.state, keybox.collect(other.state))
    assert main(["desk", "backup", str(second), "-c", str(other.file)]) == 0
    assert main(["desk", "restore", str(second), "-c", str(third.file)]) == 0
    assert "not all of it can be proven (seq 4: restore)" in capsys.readouterr().out


def test_records_are_not_overwritten(desk, other, copy):
    Restore(other.config, BY).from_file(copy)
    before = (other.state / "records.db").read_bytes()
    with pytest.raises(RecordsError, match=r"records\.db is there already"):
        Restore(other.config, BY).from_file(copy)
    assert (other.state / "records.db").read_bytes() == before
    (other.state / "records.db").rename(other.state / "records.db-wal")
    with pytest.raises(RecordsError, match=r"records\.db-wal is there already"):
        Restore(other.config, BY).from_file(copy)


def test_keys_come_first(copy, tmp_path):
    with pytest.raises(KeyFileError, match=r"token\.key"):
        Restore(At(tmp_path / "new").config, BY)
    stranger = At(tmp_path / "stranger")
    stranger.found()
    (stranger.state / "records.db").unlink()
    with pytest.raises(RecordsError, match="with the keys of the desk that made it"):
        Restore(stranger.config, BY).from_file(copy)
    assert not (stranger.state / "records.db").exists()


def test_what_is_not_what_was_copied_is_refused(other, copy, tmp_path):
    text = (tmp_path / "copy.db.manifest").read_text()
    octets = copy.read_bytes()
    for altered, said in (
        (octets[:-1] + bytes([octets[-1] ^ 1]), "is not the copy that its manifest was signed for"),
        (octets[:-4096], r"octets, its manifest says"),
    ):
        copy.write_bytes(altered)
        with pytest.raises(RecordsError, match=said):
            Restore(other.config, BY).from_file(copy)
    copy.write_bytes(octets)
    (tmp_path / "copy.db.manifest").write_text(text.replace("seq: 3", "seq: 2"))
    with pytest.raises(RecordsError, match="signature is not that of the key"):
        Restore(other.config, BY).from_file(copy)
    (tmp_path / "copy.db.manifest").unlink()
    with pytest.raises(RecordsError, match=r"copy\.db\.manifest: No such file"):
        Restore(other.config, BY).from_file(copy)
    assert [path.name for path in other.state.iterdir() if path.is_file()] == ["records.db.lock"]


def test_a_bad_ledger_is_not_restored(desk, other, tmp_path, capsys):
    """Somebody altered the records before the backup: it is signed, and bad all the same."""
    database = sqlite3.connect(desk.state / "records.db")
    for name in ("ledger_no_update", "ledger_no_delete"):
        database.execute(f"DROP TRIGGER {name}")
    database.execute("UPDATE ledger SET actor = 'mallory' WHERE seq = 2")
    database.commit()
    database.close()
    copy = tmp_path / "copy.db"
    assert main(["desk", "backup", str(copy), "-c", str(desk.file)]) == 0
    assert main(["desk", "restore", str(copy), "-c", str(other.file)]) == 1
    assert "its ledger is bad at seq 2: column" in capsys.readouterr().err
    assert not (other.state / "records.db").exists()


def test_a_witness_is_asked(desk, other, copy, tmp_path, capsys):
    """The chain was computed anew and signed by the desk; a checkpoint kept elsewhere tells."""
    witness = tmp_path / "witness"
    shutil.copy(desk.state / "checkpoints.txt", witness)
    restoring = ["desk", "restore", str(copy), "--witness", str(witness), "-c", str(other.file)]
    stranger = At(tmp_path / "stranger")
    keybox.bring_back(stranger.state, keybox.collect(desk.state))
    stranger.found()
    wrong = ["--witness", str(stranger.state / "checkpoints.txt")]
    assert main([*restoring, *wrong]) == 1
    assert "its ledger is bad" in capsys.readouterr().err
    assert main(restoring) == 0
    witness.write_text("nonsense")
    assert main(restoring) == 1
    assert "no checkpoint" in capsys.readouterr().err


def test_a_restore_waits_for_no_desk(other, copy):
    records = Records(f"sqlite:///{other.state}/records.db")
    with records.locked(), pytest.raises(RecordsError, match="in use by another desk"):
        Restore(other.config, BY).from_file(copy)


def test_a_restore_that_was_killed_is_done_again(other, copy):
    (other.state / "records.db.restoring").write_bytes(b"half")
    (other.state / "records.db.restoring-wal").write_bytes(b"half")
    Restore(other.config, BY).from_file(copy)
    assert not list(other.state.glob("*.restoring*"))


# --- PostgreSQL


def test_postgresql_has_a_tool_of_its_own(postgres, tmp_path, capsys):
    url, owner = postgres.database(migrated=False)
    desk = At(tmp_path / "old", (url, owner))
    desk.found()
    capsys.readouterr()
    assert main(["desk", "backup", str(tmp_path / "copy"), "-c", str(desk.file)]) == 1
    said = capsys.readouterr()
    assert said.out == f"pg_dump --format=custom --file={tmp_path}/copy '{owner}'\n"
    assert "a tool of its own" in said.err
    assert not (tmp_path / "copy").exists()
    with pytest.raises(RecordsError, match=r"use pg_restore, then .* --declare"):
        Restore(desk.config, BY).from_file(Path("copy"))


def test_a_restore_by_pg_restore_is_declared(postgres, tmp_path, capsys):
    old = At(tmp_path / "old", postgres.database(migrated=False))
    old.found()
    with old.writing() as office:
        blocked(office.writer, office.vault, NUMBERS)
    url, owner = postgres.database(migrated=False)
    postgres.copied(old.config.records.owner_url or "", owner)
    new = At(tmp_path / "new", (url, owner))
    keybox.bring_back(new.state, keybox.collect(old.state))
    assert main(["desk", "restore", "--declare", "-c", str(new.file)]) == 0
    assert "entered as seq 3" in capsys.readouterr().out
    check_all(old, new)
