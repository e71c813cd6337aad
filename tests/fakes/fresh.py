"""Records without a row in them for test after test, without making the tables for each.

A database for each test costs more than most of the tests that only file a report. SQLite's file is
copied from one that was migrated; PostgreSQL's tables are emptied by their owner, who may do what
the desk may not.
"""

import shutil
from pathlib import Path

import psycopg

from smsfilter.store.records import Records
from smsfilter.store.schema import metadata


class FreshFile:
    """SQLite: a file that was migrated once."""

    def __init__(self, folder: Path) -> None:
        self._template = folder / "template.db"
        records = Records(f"sqlite:///{self._template}")
        records.migrate()
        records.close()

    def copy(self, to: Path) -> str:
        """A copy; its URL."""
        shutil.copy(self._template, to)
        return f"sqlite:///{to}"


class FreshDatabase:
    """PostgreSQL: a database that is emptied for each test. `owner` may be a superuser only."""

    def __init__(self, urls: tuple[str, str]) -> None:
        self.url, self._owner = urls
        with psycopg.connect(self._owner) as connection:
            self._head = connection.execute("SELECT * FROM ledger_head").fetchone()

    def emptied(self) -> str:
        """The URL for the desk, once no row is left."""
        tables = ", ".join(table.name for table in metadata.sorted_tables)
        assert self._head is not None
        places = ", ".join(["%s"] * len(self._head))
        with psycopg.connect(self._owner) as connection:
            connection.execute("SET session_replication_role = replica")  # no trigger objects
            connection.execute(f"TRUNCATE {tables} RESTART IDENTITY CASCADE")
            connection.execute(f"INSERT INTO ledger_head VALUES ({places})", self._head)
        return self.url
