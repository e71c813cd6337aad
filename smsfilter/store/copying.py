"""A copy of the records as one file, made while they are written to (SQLite).

A read transaction is held from the first page to the last: the copy is one state of the records,
whoever writes meanwhile, and is never begun anew. The file is never opened in another way by this
process: closing it would give up SQLite's locks (POSIX).
"""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import quote

from smsfilter.store.records import RecordsError

PAGES: Final = 1_000
"""Pages of one step: 4 MiB, some milliseconds."""


def copy(source: Path, target: Path, told: Callable[[int, int], None]) -> None:
    """Copy the records of `source` into a new file that nobody else may read.

    `told(done, of)` hears of each step. Raises RecordsError; `target` may be there in part then.
    """
    try:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with closing(_opened(source, "ro")) as reading, closing(_opened(target, "rw")) as writing:
            reading.execute("BEGIN")
            reading.execute("SELECT seq FROM ledger_head").fetchall()
            reading.backup(
                writing, pages=PAGES, progress=lambda _status, left, of: told(of - left, of)
            )
    except (OSError, sqlite3.Error) as error:
        raise RecordsError(f"{target}: {_said(error)}") from error


def close(path: Path) -> None:
    """Make one file of a copy that nobody has open: without its WAL. Raises RecordsError."""
    try:
        with closing(_opened(path, "rw")) as writing:
            writing.execute("PRAGMA journal_mode=DELETE").fetchall()
    except sqlite3.Error as error:
        raise RecordsError(f"{path}: {_said(error)}") from error


def examine(path: Path) -> None:
    """Look whether a copy is whole. Raises RecordsError."""
    try:
        with closing(_opened(path, "ro")) as reading:
            found = [row[0] for row in reading.execute("PRAGMA integrity_check(1)")]
            stray = reading.execute("PRAGMA foreign_key_check").fetchone()
    except sqlite3.Error as error:
        raise RecordsError(f"{path}: {_said(error)}") from error
    if found != ["ok"]:
        raise RecordsError(f"{path} is damaged: {found[0]}")
    if stray is not None:
        raise RecordsError(f"{path} is damaged: the table {stray[0]} refers to what is not there")


def _opened(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"file:{quote(str(path.absolute()))}?mode={mode}"
    return sqlite3.connect(uri, uri=True, isolation_level=None)


def _said(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
