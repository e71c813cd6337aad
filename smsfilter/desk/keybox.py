"""All keys of a desk in one file, wrapped by a passphrase: the copy that is kept apart.

The head of the file can be read by anyone and says what is in it; it is bound to the rest, so that
nothing in it can be changed. The passphrase is stretched by scrypt (128 MiB, about half a second a
try), and the keys are sealed with AES-256-GCM under what comes of it.
"""

import json
import os
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import wrap
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from smsfilter.desk.keys import FILES, FOLDER, missing, publish
from smsfilter.ledger.signed import write_time
from smsfilter.store import keyfiles
from smsfilter.store.keyfiles import KEY_SIZE, KeyFileError

PASSPHRASE_LEAST: Final = 12
"""Characters: the file is meant to lie elsewhere, where it can be tried for years."""
FILE_MOST: Final = 1 << 20
"""Octets of such a file: the keys of some thousand proxies."""
PROXIES: Final = "decisions"
"""The folder in keys/ with the keys of other hosts' decision records, one for each proxy."""
OWN_PROXY: Final = "decisions.key"
"""The key of a proxy that runs in the same state_dir."""

_FORMAT: Final = "smsfilter keys 1"
_N, _R, _P = 1 << 17, 8, 1
_HEAD: Final = re.compile(
    rf"{_FORMAT}\nmade: (?P<made>\S+)\nholds: (?P<holds>[^\n]+)\n"
    rf"scrypt: n={_N} r={_R} p={_P} salt=(?P<salt>[0-9a-f]{{32}})\n"
    r"AES-256-GCM: nonce=(?P<nonce>[0-9a-f]{24})\n"
)
_PROXY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NAME: Final = re.compile(rf"[a-z-]+\.key|{PROXIES}/{_PROXY.pattern}\.key")


@dataclass(slots=True)
class Brought:
    """What an import did: files written, and those that were there and stay as they are."""

    written: list[Path] = field(default_factory=list)
    same: list[Path] = field(default_factory=list)
    other: list[Path] = field(default_factory=list)
    """Of another content: the key of this host's own proxy, which belongs to its records."""


def seal(keys: Mapping[str, bytes], passphrase: str, at: int) -> str:
    """Wrap keys, by the names of their files, at the time `at` (µs UTC). Raises KeyFileError."""
    if len(passphrase) < PASSPHRASE_LEAST:
        raise KeyFileError(f"a passphrase has at least {PASSPHRASE_LEAST} characters")
    salt, nonce = os.urandom(16), os.urandom(12)
    head = (
        f"{_FORMAT}\nmade: {write_time(at)}\nholds: {' '.join(sorted(keys))}\n"
        f"scrypt: n={_N} r={_R} p={_P} salt={salt.hex()}\nAES-256-GCM: nonce={nonce.hex()}\n"
    )
    plain = json.dumps({name: key.hex() for name, key in sorted(keys.items())}).encode()
    sealed = AESGCM(_stretched(passphrase, salt)).encrypt(nonce, plain, head.encode())
    return head + "\n" + "\n".join(wrap(b64encode(sealed).decode(), 76)) + "\n"


def open_box(text: str, passphrase: str) -> dict[str, bytes]:
    """Unwrap. KeyFileError: no such file, another passphrase, or altered."""
    head, _, rest = text.partition("\n\n")
    head += "\n"
    found = _HEAD.fullmatch(head)
    if found is None:
        raise KeyFileError("not a file of smsfilter desk key export, or of a newer version")
    cipher = AESGCM(_stretched(passphrase, bytes.fromhex(found["salt"])))
    try:
        sealed = b64decode("".join(rest.split()), validate=True)
        plain = cipher.decrypt(bytes.fromhex(found["nonce"]), sealed, head.encode())
    except (InvalidTag, ValueError):
        raise KeyFileError("the passphrase is another one, or the file was altered") from None
    keys = {name: bytes.fromhex(key) for name, key in json.loads(plain).items()}
    if not all(_NAME.fullmatch(name) and len(key) == KEY_SIZE for name, key in keys.items()):
        raise KeyFileError("it holds what is no key")
    return keys


def collect(state_dir: Path) -> dict[str, bytes]:
    """Read all keys of a desk, by the names of their files. Raises KeyFileError."""
    folder = state_dir / FOLDER
    files = [folder / name for name in FILES.values()]
    files += sorted((folder / PROXIES).glob("*.key"))
    if (folder / OWN_PROXY).exists():
        files.append(folder / OWN_PROXY)
    return {str(file.relative_to(folder)): keyfiles.read(file) for file in files}


def bring_back(state_dir: Path, keys: Mapping[str, bytes]) -> Brought:
    """Write keys to where they belong, and none over another. Raises KeyFileError."""
    folder, brought = state_dir / FOLDER, Brought()
    new: dict[Path, bytes] = {}
    for name, key in keys.items():
        path = folder / name
        if not os.path.lexists(path):
            new[path] = key
        elif keyfiles.read(path) == key:
            brought.same.append(path)
        elif name == OWN_PROXY:
            brought.other.append(path)
        else:
            raise KeyFileError(f"{path} is another key: nothing was written")
    for path, key in new.items():
        keyfiles.write(path, key)
        brought.written.append(path)
    if not missing(state_dir):
        publish(state_dir)
    return brought


def take_in(state_dir: Path, proxy: str, key: bytes) -> Brought:
    """Keep the key of a proxy's decision records, under the proxy's name. Raises KeyFileError."""
    if not _PROXY.fullmatch(proxy):
        raise KeyFileError(
            f"{proxy!r} is no name of a proxy: letters, digits and ._- are, 64 of them at most"
        )
    return bring_back(state_dir, {f"{PROXIES}/{proxy}.key": key})


def _stretched(passphrase: str, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=KEY_SIZE, n=_N, r=_R, p=_P).derive(passphrase.encode())
