"""The key of a proxy's decision records: random, made at the first start, one for each host.

It stands under `state_dir/keys`, apart from the records, and is of no use to anyone but who may
ask about customers: with it and the records every number can be tried.
"""

import contextlib
import os
import secrets
import stat
from pathlib import Path

from smsfilter.decisions.tokens import KEY

KEY_FILE = Path("keys") / "decisions.key"


class KeyRefusedError(OSError):
    """The key file cannot be used as it is."""


def record_key(state_dir: Path) -> bytes:
    """Read the key, and make it where there is none. Raises OSError."""
    path = state_dir / KEY_FILE
    with contextlib.suppress(FileNotFoundError):
        return read_key(path)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = secrets.token_bytes(KEY)
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    fd = os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    with open(fd, "w", encoding="ascii") as file:
        file.write(f"{key.hex()}\n")
        file.flush()
        os.fsync(file.fileno())
    os.link(new, path)  # never over one that is there
    new.unlink()
    return key


def read_key(path: Path) -> bytes:
    """Read a key that others may not read. Raises OSError, KeyRefusedError where it is not so."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    with open(fd, encoding="ascii", errors="replace") as file:
        if stat.S_IMODE(os.fstat(fd).st_mode) & 0o077:
            raise KeyRefusedError(f"{path} may be read by others: chmod 600 it")
        text = file.read(2 * KEY + 2).strip()
    with contextlib.suppress(ValueError):
        key = bytes.fromhex(text)
        if len(key) == KEY:
            return key
    raise KeyRefusedError(f"{path} holds no key: {2 * KEY} hexadecimal digits on a line")
