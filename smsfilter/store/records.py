"""The records: SQLite in a file out of the box, PostgreSQL by URL; opened, checked, locked.

SQLite runs in WAL with synchronous=FULL, so that what was committed survives a power loss, and a
writer begins with BEGIN IMMEDIATE: a reader that turns into a writer fails whatever the
busy_timeout. PostgreSQL has to run with fsync and synchronous_commit on, and the role of the desk
may not own the ledger, as an owner can undo the refusal to change it.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, create_engine, event, make_url, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from smsfilter.store.schema import APPEND_ONLY

BUSY_MS: Final = 2_000
"""How long SQLite waits for another process that writes, before a write fails."""
_LOCK: Final = 0x536D73466C  # of PostgreSQL's advisory locks: "SmsFl"
_MIGRATIONS: Final = Path(__file__).parent / "migrations"


class RecordsError(Exception):
    """The records cannot be used; says why in a line, and what cures it."""


class RecordsAway(Exception):  # noqa: N818 - what happened
    """A write or read cannot be made now, and left nothing behind. It may succeed later."""


class Records:
    """The database. `url` is sqlite:///… or postgresql://…; nothing is opened before it is used."""

    def __init__(self, url: str, password: str | None = None) -> None:
        parsed = make_url(url)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        if self.is_sqlite:
            self.path = Path(parsed.database or "")
            self.engine = create_engine(parsed, connect_args={"timeout": BUSY_MS / 1000})
            event.listen(self.engine, "connect", _prepare_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)
        else:
            self.engine = create_engine(
                parsed.set(drivername="postgresql+psycopg", password=password or parsed.password),
                isolation_level="READ COMMITTED",
                pool_pre_ping=True,
                connect_args={"connect_timeout": 5},
            )
        self.place = parsed.render_as_string(hide_password=True)
        self._file: tuple[int, int] | None = None

    def close(self) -> None:
        """Close every connection that is not in use."""
        self.engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that sees one state of the records. Raises RecordsAway."""
        try:
            with self.engine.connect() as connection:
                if not self.is_sqlite:
                    connection = connection.execution_options(  # noqa: PLW2901
                        isolation_level="REPEATABLE READ", postgresql_readonly=True
                    )
                with connection.begin():
                    yield connection
        except DBAPIError as error:
            raise RecordsAway(reason(error)) from error

    def to_write(self) -> Connection:
        """Connect for writing. Raises RecordsAway."""
        try:
            return self.engine.connect().execution_options(writes=True)
        except DBAPIError as error:
            raise RecordsAway(reason(error)) from error

    def unmoved(self) -> None:
        """See that the file is still the one of the first time. Raises RecordsAway.

        What is committed into a file that has lost its name is lost with the process, and a new
        connection would go on in another ledger.
        """
        if not self.is_sqlite:
            return
        try:
            status = self.path.stat()
        except OSError as error:
            raise RecordsAway(f"{self.path}: {error.strerror}") from None
        found = status.st_dev, status.st_ino
        if self._file is None:
            self._file = found
        elif self._file != found:
            raise RecordsAway(f"{self.path} is another file now: restart the desk")

    # --- what has to be so before anything is written

    def check(self) -> None:
        """Look whether the desk may work with it. Raises RecordsError, RecordsAway."""
        if self.is_sqlite and self.path.exists() and self.path.stat().st_mode & 0o022:
            raise RecordsError(f"{self.path}: others may write it: chmod 600 {self.path}")
        with self.reading() as connection:
            here = MigrationContext.configure(connection).get_current_revision()
            newest = _script().get_current_head()
            if here is None:
                raise RecordsError(f"{self.place} holds no records: run smsfilter desk init")
            if here != newest:
                known = {each.revision for each in _script().walk_revisions()}
                cure = "smsfilter desk migrate" if here in known else "a newer smsfilter"
                raise RecordsError(f"{self.place} is of revision {here}, not {newest}: use {cure}")
            if not self.is_sqlite:
                _check_postgresql(connection)

    def migrate(self, grant_to: str | None = None, to: str = "head") -> None:
        """Bring the tables up to this version; `grant_to` is the desk's role in PostgreSQL.

        `to` is a revision before it, for tests of the ones after that. Raises RecordsError.
        """
        if self.is_sqlite:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.touch(mode=0o600)
        config = AlembicConfig()
        config.set_main_option("script_location", str(_MIGRATIONS))
        try:
            with self.to_write() as connection, self._tables_replaced(connection):
                config.attributes["connection"] = connection
                command.upgrade(config, to)
                if grant_to is not None:
                    _grant(connection, grant_to)
        except CommandError:
            raise RecordsError(f"{self.place} is of a newer smsfilter: use that") from None
        except (SQLAlchemyError, RecordsAway) as error:
            raise RecordsError(f"{self.place}: {reason(error)}") from error

    @contextmanager
    def _tables_replaced(self, connection: Connection) -> Iterator[None]:
        """A transaction in which SQLite's tables may be replaced by others of the same name.

        It changes a column by a new table; what refers to the old one is compared at the end.
        """
        if not self.is_sqlite:
            with connection.begin():
                yield
            return
        raw = connection.connection
        raw.cursor().execute("PRAGMA foreign_keys=OFF")
        try:
            with connection.begin():
                yield
                if connection.exec_driver_sql("PRAGMA foreign_key_check").first() is not None:
                    raise RecordsError(f"{self.place}: rows refer to others that are not there")
        finally:
            raw.cursor().execute("PRAGMA foreign_keys=ON")

    def role(self) -> str:
        """Return as which role PostgreSQL knows the desk. Raises RecordsAway."""
        with self.reading() as connection:
            name: str = connection.execute(text("SELECT current_user")).scalar_one()
            return name

    def revision(self) -> str | None:
        """Return the revision of the tables, None where there are none. Raises RecordsAway."""
        if self.is_sqlite and not self.path.exists():
            return None  # a look would make the file
        with self.reading() as connection:
            return MigrationContext.configure(connection).get_current_revision()

    # --- one desk

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the desk's lock. RecordsError: another desk, or a command that takes it, has it."""
        if self.is_sqlite:
            with _file_lock(self.path.with_name(self.path.name + ".lock"), self.place):
                yield
            return
        with self.to_write() as connection:
            self.lock(connection)
            try:
                yield
            finally:
                with suppress(SQLAlchemyError):
                    self.unlock(connection)
                connection.invalidate()  # in the pool it would keep a lock that was not given back

    def lock(self, connection: Connection) -> None:
        """Take the lock of PostgreSQL for as long as `connection` lives. Raises RecordsError."""
        with connection.begin():
            if not connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": _LOCK}):
                raise RecordsError(_in_use(self.place))

    def unlock(self, connection: Connection) -> None:
        """Give the lock of `connection` back at once: a server may notice its end only later."""
        if not self.is_sqlite:
            with connection.begin():
                connection.execute(text("SELECT pg_advisory_unlock_all()"))


def newest_revision() -> str:
    """Return the revision that this version works with."""
    return _script().get_current_head() or ""


def reason(error: BaseException) -> str:
    """Say in a line what the database complained of, without the statement and its values."""
    origin: Any = error.orig if isinstance(error, DBAPIError) else error
    return str(origin).strip().split("\n")[0] or type(origin).__name__


def _in_use(place: str) -> str:
    return f"{place} is in use by another desk, or by a command that needs it alone"


@contextmanager
def _file_lock(path: Path, place: str) -> Iterator[None]:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise RecordsError(f"{path}: {error.strerror}") from None
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RecordsError(_in_use(place)) from None
        yield
    finally:
        os.close(fd)


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the module's own transactions begin too late
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        f"busy_timeout={BUSY_MS}",
    ):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _script() -> ScriptDirectory:
    return ScriptDirectory(str(_MIGRATIONS))


def _check_postgresql(connection: Connection) -> None:
    for setting in ("fsync", "synchronous_commit", "full_page_writes"):
        if connection.scalar(text(f"SHOW {setting}")) == "off":
            raise RecordsError(f"PostgreSQL runs with {setting} off: what it commits can be lost")
    for table in APPEND_ONLY:
        for right in ("UPDATE", "DELETE", "TRUNCATE"):
            query = text("SELECT has_table_privilege(:table, :right)")
            if connection.scalar(query, {"table": table.name, "right": right}):
                raise RecordsError(
                    f"the desk's role may {right} the table {table.name}: let another role own the"
                    " tables (records.owner_url, then smsfilter desk migrate)"
                )


def _grant(connection: Connection, role: str) -> None:
    """Give the desk's role what it needs, and no more, on every table that there is."""
    quoted = connection.dialect.identifier_preparer.quote(role)
    fixed = {table.name for table in APPEND_ONLY}
    names = connection.scalars(
        text("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
    ).all()
    for name in names:
        rights = "SELECT, INSERT" if name in fixed else "SELECT, INSERT, UPDATE, DELETE"
        if name == "alembic_version":
            rights = "SELECT"
        connection.execute(text(f"REVOKE ALL ON {name} FROM {quoted}"))
        connection.execute(text(f"GRANT {rights} ON {name} TO {quoted}"))
    connection.execute(text(f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {quoted}"))
