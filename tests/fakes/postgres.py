"""A PostgreSQL cluster of the tests' own: in a folder, on a UNIX socket, as an ordinary user.

fsync stays on. The tables belong to `owner`, the desk comes as `desk`, as an operator would set it
up. A database costs a copy of a template that was migrated once.
"""

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Self

import psycopg

from smsfilter.store.records import Records
from tests.fakes.peer import PeerMissingError
from tests.fakes.process import STOP_TIMEOUT_S, tethered, wait_until

PROGRAMS = "/usr/lib/postgresql"
USER = "nobody"
"""Whom the server runs as where the tests run as root: PostgreSQL refuses root."""
START_TIMEOUT_S = 30.0


def programs() -> Path:
    """The folder of initdb and postgres: of the newest version that is installed."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    versions = sorted(Path(PROGRAMS).glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not versions:
        raise PeerMissingError("postgresql is not installed")
    return versions[-1].parent


class Postgres:
    """One cluster. `start`, then a database for each test by `database()`."""

    def __init__(self) -> None:
        self._programs = programs()
        self.folder = Path(tempfile.mkdtemp(prefix="pg"))  # short: it holds a UNIX socket
        self._numbers = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def started(cls) -> Self:
        """A cluster with the roles, and a template that has the tables."""
        server = cls()
        if os.geteuid() == 0:
            user = pwd.getpwnam(USER)
            os.chown(server.folder, user.pw_uid, user.pw_gid)
        options = ("-U", "owner", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8")
        subprocess.run(
            server._as_user("initdb", "-D", str(server.folder / "data"), *options),
            cwd=server.folder,
            check=True,
            capture_output=True,
        )
        server.start()
        with server.connect() as connection:
            connection.execute("CREATE ROLE desk LOGIN")
            connection.execute("CREATE DATABASE migrated TEMPLATE template0")
        records = Records(server.url("owner", "migrated"))
        records.migrate(grant_to="desk")
        records.close()
        return server

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        settings = ("listen_addresses=", "shared_buffers=32MB", "max_connections=60")
        options = [word for setting in settings for word in ("-c", setting)]
        command = self._as_user(
            "postgres", "-D", str(self.folder / "data"), "-k", str(self.folder), *options
        )
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                tethered(command), cwd=self.folder, stdout=log, stderr=log
            )
        wait_until(self._answers, f"PostgreSQL: see {self.folder / 'log'}", START_TIMEOUT_S)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT cuts sessions off and ends cleanly; SIGQUIT is a crash."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(STOP_TIMEOUT_S)
            self._process = None

    def close(self) -> None:
        """Stop it and forget everything."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def database(self, *, migrated: bool = True) -> tuple[str, str]:
        """A new database: its URL for the desk, and for the owner of the tables."""
        name = f"t{next(self._numbers)}"
        template = "migrated" if migrated else "template0"
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url("desk", name), self.url("owner", name)

    def copied(self, source: str, target: str) -> None:
        """Dump one database and restore it into another, as an operator does."""
        dump = subprocess.run(
            [self._programs / "pg_dump", "--format=custom", source], check=True, capture_output=True
        )
        subprocess.run(
            [self._programs / "pg_restore", "--exit-on-error", f"--dbname={target}"],
            input=dump.stdout,
            check=True,
            capture_output=True,
        )

    def url(self, role: str, name: str) -> str:
        """The URL of a database."""
        return f"postgresql://{role}@/{name}?host={self.folder}"

    def connect(self) -> psycopg.Connection[tuple[object, ...]]:
        """A connection for whoever runs the server."""
        return psycopg.connect(
            host=str(self.folder), user="owner", dbname="postgres", autocommit=True
        )

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "log").read_text()
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def _as_user(self, program: str, *arguments: str) -> list[str]:
        command = [str(self._programs / program), *arguments]
        if os.geteuid() != 0:
            return command
        user = pwd.getpwnam(USER)
        ids = (f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups")
        return ["setpriv", *ids, *command]
