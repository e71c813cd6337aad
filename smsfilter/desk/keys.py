"""The desk's keys: three files under state_dir/keys, made once, never in the records.

`token.key` finds customers, `data.key` opens what was sealed, `ledger-sign.key` signs
checkpoints; `ledger.pub` beside it is for whoever verifies.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from smsfilter.ledger.checkpoint import key_id, public_pem
from smsfilter.store import keyfiles
from smsfilter.store.seal import Seal

FILES: Final = {"token": "token.key", "data": "data.key", "sign": "ledger-sign.key"}
PUBLIC: Final = "ledger.pub"
FIRST: Final = "k1"
"""The id of the first token key and of the first data key."""


@dataclass(frozen=True, slots=True)
class Keys:
    """What the desk seals, finds and signs with."""

    seal: Seal
    sign: Ed25519PrivateKey

    @classmethod
    def read(cls, state_dir: Path) -> Self:
        """Read the keys. KeyFileError: one is missing, or others may read it."""
        folder = state_dir / "keys"
        token, data, sign = (keyfiles.read(folder / name) for name in FILES.values())
        private = Ed25519PrivateKey.from_private_bytes(sign)
        return cls(Seal({FIRST: token}, {FIRST: data}), private)

    @property
    def sign_id(self) -> str:
        """The id of the public key, as checkpoints name it."""
        return key_id(self.sign.public_key())


def make(state_dir: Path) -> list[Path]:
    """Make the keys that are missing, and return their files. KeyFileError."""
    folder = state_dir / "keys"
    made = [folder / name for name in FILES.values() if keyfiles.make(folder / name)]
    private = Ed25519PrivateKey.from_private_bytes(keyfiles.read(folder / FILES["sign"]))
    try:
        (folder / PUBLIC).write_text(public_pem(private.public_key()), encoding="ascii")
    except OSError as error:
        raise keyfiles.KeyFileError(f"{folder / PUBLIC}: {error.strerror}") from None
    return made
