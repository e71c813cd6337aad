"""The desk's keys: three files under state_dir/keys, made once, never in the records.

`token.key` finds customers, `data.key` opens what was sealed, `ledger-sign.key` signs
checkpoints; `ledger.pub` beside it is for whoever verifies. The records hold a mark of each key, so
that keys and records of different desks are told apart before anything is written.
"""

import hmac
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from smsfilter.ledger.checkpoint import key_id, public_pem
from smsfilter.store import keyfiles
from smsfilter.store.seal import Seal

FOLDER: Final = "keys"
"""In state_dir."""
FILES: Final = {"token": "token.key", "data": "data.key", "sign": "ledger-sign.key"}
PUBLIC: Final = "ledger.pub"
FIRST: Final = "k1"
"""The id of the first token key and of the first data key."""
_MARK: Final = 32
"""Hexadecimal digits of a mark: 128 bits, so that no two keys share one."""


class Mark(NamedTuple):
    """By what the records know a key; it says nothing of the key."""

    id: str
    kind: str
    mark: str


@dataclass(frozen=True, slots=True)
class Keys:
    """What the desk seals, finds and signs with."""

    seal: Seal
    sign: Ed25519PrivateKey
    marks: tuple[Mark, ...]

    @classmethod
    def read(cls, state_dir: Path) -> Self:
        """Read the keys. KeyFileError: one is missing, or others may read it."""
        folder = state_dir / FOLDER
        return cls.of({kind: keyfiles.read(folder / name) for kind, name in FILES.items()})

    @classmethod
    def of(cls, octets: dict[str, bytes]) -> Self:
        """Take the keys by their kinds, as in FILES."""
        private = Ed25519PrivateKey.from_private_bytes(octets["sign"])
        names = {"token": FIRST, "data": FIRST, "sign": key_id(private.public_key())}
        marks = tuple(
            Mark(f"{kind}:{name}", kind, _mark(kind, octets[kind])) for kind, name in names.items()
        )
        return cls(Seal({FIRST: octets["token"]}, {FIRST: octets["data"]}), private, marks)

    @property
    def sign_id(self) -> str:
        """The id of the public key, as checkpoints name it."""
        return key_id(self.sign.public_key())


def missing(state_dir: Path) -> list[Path]:
    """Give the files of keys that are not there."""
    folder = state_dir / FOLDER
    return [folder / name for name in FILES.values() if not os.path.lexists(folder / name)]


def make(state_dir: Path) -> list[Path]:
    """Make the keys that are missing, and return their files. KeyFileError."""
    folder = state_dir / FOLDER
    made = [folder / name for name in FILES.values() if keyfiles.make(folder / name)]
    publish(state_dir)
    return made


def publish(state_dir: Path) -> Path:
    """Write the public key, which goes to whoever verifies. KeyFileError."""
    folder = state_dir / FOLDER
    private = Ed25519PrivateKey.from_private_bytes(keyfiles.read(folder / FILES["sign"]))
    try:
        (folder / PUBLIC).write_text(public_pem(private.public_key()), encoding="ascii")
    except OSError as error:
        raise keyfiles.KeyFileError(f"{folder / PUBLIC}: {error.strerror}") from None
    return folder / PUBLIC


def _mark(kind: str, key: bytes) -> str:
    """Make the mark of a key: an HMAC of words that are used for nothing else."""
    return hmac.digest(key, f"smsfilter mark of a {kind} key".encode(), "sha256").hex()[:_MARK]
