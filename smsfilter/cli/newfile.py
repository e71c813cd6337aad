"""A file that a command makes: whole or not at all, over no other, and for nobody else to read."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from smsfilter.store.durable import sync_folder


class FileError(Exception):
    """The file cannot be made; says which and why in a line."""


def refuse_existing(path: Path) -> None:
    """Say so early where a file is there already. Raises FileError."""
    if os.path.lexists(path):
        raise FileError(f"{path}: File exists")


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Give a file to write to, which gets its name if no exception ends this. Raises FileError."""
    refuse_existing(path)
    part = path.with_name(path.name + ".part")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        with open(os.open(part, flags, 0o600), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.link(part, path)
        sync_folder(path.parent)
    except OSError as error:
        raise FileError(f"{path}: {error.strerror or error}") from None
    finally:
        with suppress(OSError):
            part.unlink()
