"""Keys, each in a file of its own that only its owner may read; never in the records or a backup.

A key is 32 random octets, written as one line of hexadecimal digits. The file that others can
read, or that is not whole, is refused: a key that may have leaked is no key.
"""

import os
import secrets
import stat
from pathlib import Path

from smsfilter.store.durable import sync_folder

KEY_SIZE = 32
"""Octets of a key: AES-256, HMAC-SHA-256, BLAKE2b and Ed25519 all take so many."""


class KeyFileError(ValueError):
    """A key file that cannot be used; says which, why, and what to do."""


def read(path: Path) -> bytes:
    """Read a key. KeyFileError: not there, readable by others, or no key."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}") from None
    try:
        status = os.fstat(fd)
        folder = path.parent.stat()
        if folder.st_mode & 0o022 and not folder.st_mode & stat.S_ISVTX:
            mode = stat.S_IMODE(folder.st_mode)
            raise KeyFileError(
                f"{path.parent}: others may put another key there (mode {mode:04o}): "
                f"chmod 700 {path.parent}"
            )
        if not stat.S_ISREG(status.st_mode):
            raise KeyFileError(f"{path}: not a file")
        if status.st_mode & 0o077:
            mode = stat.S_IMODE(status.st_mode)
            raise KeyFileError(f"{path}: others may read it (mode {mode:04o}): chmod 600 {path}")
        if status.st_uid not in (os.geteuid(), 0):
            raise KeyFileError(f"{path}: it belongs to another user (uid {status.st_uid})")
        text = os.read(fd, 4 * KEY_SIZE)
    finally:
        os.close(fd)
    try:
        key = bytes.fromhex(text.decode("ascii").strip())
    except ValueError:
        key = b""
    if len(key) != KEY_SIZE:
        raise KeyFileError(f"{path}: not a key: it must hold {2 * KEY_SIZE} hexadecimal digits")
    return key


def write(path: Path, key: bytes) -> None:
    """Write a key into a new file, durably. KeyFileError: there is one already, or no room."""
    put(path, key.hex().encode() + b"\n")


def put(path: Path, octets: bytes) -> None:
    """Write a new file that nobody else may read, durably. KeyFileError as from `write`."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(fd, "wb") as file:
            file.write(octets)
            file.flush()
            os.fsync(fd)
        sync_folder(path.parent)
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}") from None


def make(path: Path) -> bool:
    """Make a random key where there is none. True when it is new; an old one is checked."""
    if os.path.lexists(path):
        read(path)
        return False
    write(path, secrets.token_bytes(KEY_SIZE))
    return True
