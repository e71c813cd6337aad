"""The database of the desk: made, checked and locked, on SQLite and on PostgreSQL alike."""

import sqlite3
import stat

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text

from smsfilter.store.records import Records, RecordsAway, RecordsError
from smsfilter.store.schema import metadata


def test_the_migrations_make_the_tables_of_the_schema(records):
    with records.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"target_metadata": metadata})
        assert compare_metadata(context, metadata) == []


def test_records_that_are_there_may_be_used(records):
    records.check()


def test_a_second_migration_changes_nothing(tmp_path):
    records = Records(f"sqlite:///{tmp_path}/records.db")
    records.migrate()
    records.migrate()
    records.check()
    records.close()


def test_an_empty_database_names_the_command_that_fills_it(tmp_path):
    with pytest.raises(RecordsError, match="smsfilter desk init"):
        Records(f"sqlite:///{tmp_path}/records.db").check()


def test_a_file_that_others_can_write_is_refused(tmp_path):
    records = Records(f"sqlite:///{tmp_path}/records.db")
    records.migrate()
    records.path.chmod(0o660)
    with pytest.raises(RecordsError, match="chmod 600"):
        records.check()
    records.close()


def test_records_of_a_newer_version_are_refused(records, records_urls):
    owner = Records(records_urls[1] or records_urls[0])
    with owner.to_write() as connection, connection.begin():
        connection.execute(text("UPDATE alembic_version SET version_num = 'later'"))
    owner.close()
    with pytest.raises(RecordsError, match="a newer smsfilter"):
        records.check()


def test_nobody_else_may_read_the_file(tmp_path):
    records = Records(f"sqlite:///{tmp_path}/records.db")
    records.migrate()
    records.close()
    for file in tmp_path.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0, file


def test_what_sqlite_commits_survives_a_power_loss(tmp_path):
    records = Records(f"sqlite:///{tmp_path}/records.db")
    records.migrate()
    with records.reading() as connection:
        assert connection.scalar(text("PRAGMA synchronous")) == 2  # FULL
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(text("PRAGMA foreign_keys")) == 1
    records.close()


def test_two_cannot_have_the_lock(records, records_urls):
    again = Records(records_urls[0])
    with records.locked(), pytest.raises(RecordsError, match="another desk"), again.locked():
        pass
    with again.locked():
        pass
    again.close()


def test_the_lock_is_given_back_at_once(postgres):
    url = postgres.database()[0]
    records, again = Records(url), Records(url)
    with again.to_write() as waiting:
        for _ in range(20):  # a server notices only later that whoever had it is gone
            with records.locked():
                pass
            again.lock(waiting)
            again.unlock(waiting)
    records.close()
    again.close()


def test_a_role_that_can_change_the_ledger_is_refused(postgres):
    owner = Records(postgres.database()[1])
    with pytest.raises(RecordsError, match="may UPDATE the table ledger"):
        owner.check()
    owner.close()


def test_a_database_that_may_lose_what_it_commits_is_refused(postgres):
    url, _ = postgres.database()
    with postgres.connect() as connection:
        connection.execute("ALTER ROLE desk SET synchronous_commit = off")
    records = Records(url)
    try:
        with pytest.raises(RecordsError, match="synchronous_commit off"):
            records.check()
    finally:
        records.close()
        with postgres.connect() as connection:
            connection.execute("ALTER ROLE desk RESET synchronous_commit")


def test_a_server_that_is_not_there_is_no_traceback(tmp_path):
    with pytest.raises(RecordsAway, match="No such file"):
        Records(f"postgresql://desk@/nothing?host={tmp_path}").check()


def test_a_file_that_is_no_database_is_no_traceback(tmp_path):
    (tmp_path / "records.db").write_bytes(b"something else entirely" * 100)
    with pytest.raises(RecordsAway, match="not a database"):
        Records(f"sqlite:///{tmp_path}/records.db").check()


def test_the_password_is_in_no_error(tmp_path):
    records = Records("postgresql://desk@127.0.0.1:1/nothing", password="s3cret")
    assert "s3cret" not in records.place
    with pytest.raises(RecordsAway) as failure:
        records.check()
    assert "s3cret" not in str(failure.value)


@pytest.mark.parametrize("table", ["ledger", "checkpoint"])
@pytest.mark.parametrize("verb", ["UPDATE {} SET seq = 9", "DELETE FROM {}"])
def test_the_database_refuses_to_change_the_ledger(records, records_urls, table, verb):
    """Also its owner is refused, as long as the triggers are there."""
    owner = Records(records_urls[1] or records_urls[0])
    rows = {
        "ledger": "(seq, at, actor, role, origin, action, object, body, prev, hash)"
        " VALUES (1, 1, '', '', '', '', '', '', '', '')",
        "checkpoint": "(seq, text) VALUES (1, '')",
    }
    with owner.to_write() as connection, connection.begin():
        connection.execute(text(f"INSERT INTO {table} {rows[table]}"))
    for who in (owner, records):
        with pytest.raises(Exception, match=r"append-only|permission denied"), who.to_write() as c:  # noqa: SIM117
            with c.begin():
                c.execute(text(verb.format(table)))
    owner.close()


def test_a_reader_sees_one_state(records):
    """Also while somebody writes; and it does not keep the writer waiting."""
    with records.reading() as reading:
        before = reading.scalar(text("SELECT seq FROM ledger_head"))
        with records.to_write() as writing, writing.begin():
            writing.execute(text("UPDATE ledger_head SET seq = 7"))
        assert reading.scalar(text("SELECT seq FROM ledger_head")) == before
    with records.reading() as reading:
        assert reading.scalar(text("SELECT seq FROM ledger_head")) == 7


def test_sqlite3_of_another_process_waits_or_is_told(tmp_path):
    records = Records(f"sqlite:///{tmp_path}/records.db")
    records.migrate()
    with records.to_write() as writing, writing.begin():
        other = sqlite3.connect(records.path, timeout=0, isolation_level=None)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        other.close()
    records.close()
