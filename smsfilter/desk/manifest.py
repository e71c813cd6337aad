"""What a backup says of itself: a signed text beside the copy, over the copy's octets.

Without it a copy is not restored: whoever can write where backups lie could put blocks into it, or
take them out, and no ledger would show it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from smsfilter.ledger.signed import check_seal, key_id, read_time, seal, write_time

SUFFIX: Final = ".manifest"
"""What the name of the copy gets for that of its manifest."""
_DOMAIN: Final = "smsfilter backup 1"
_NAMES: Final = (*("chain", "seq", "hash", "at", "revision", "version", "octets", "digest", "key"),)
_FORMS: Final = (
    ("seq", re.compile(r"[1-9][0-9]{0,18}")),
    ("octets", re.compile(r"[1-9][0-9]{0,18}")),
    ("hash", re.compile(r"[0-9a-f]{64}")),
    ("digest", re.compile(r"[0-9a-f]{64}")),
)


@dataclass(frozen=True, slots=True)
class Manifest:
    """One copy of the records."""

    chain: str
    seq: int
    """The last row of the ledger in it."""
    hash: bytes
    """The hash of that row."""
    at: int
    """When the backup was entered, µs UTC: what was signed later need not be in the copy."""
    revision: str
    """Of the tables."""
    version: str
    """Of smsfilter."""
    octets: int
    digest: str
    """SHA-256 of the copy, in hexadecimal digits."""

    def signed(self, private: Ed25519PrivateKey) -> str:
        """Write it. ValueError if a value has no place in signed text."""
        fields = {
            "chain": self.chain,
            "seq": str(self.seq),
            "hash": self.hash.hex(),
            "at": write_time(self.at),
            "revision": self.revision,
            "version": self.version,
            "octets": str(self.octets),
            "digest": self.digest,
            "key": key_id(private.public_key()),
        }
        return seal(_DOMAIN, fields, private)


def read(text: str, keys: Mapping[str, Ed25519PublicKey]) -> Manifest:
    """Read one whose signature holds. ValueError says what is wrong, also with the signature."""
    fields = check_seal(_DOMAIN, _NAMES, text, keys)
    for name, form in _FORMS:
        if not form.fullmatch(fields[name]):
            raise ValueError(f"its {name} is not spelled as one")
    return Manifest(
        chain=fields["chain"],
        seq=int(fields["seq"]),
        hash=bytes.fromhex(fields["hash"]),
        at=read_time(fields["at"]),
        revision=fields["revision"],
        version=fields["version"],
        octets=int(fields["octets"]),
        digest=fields["digest"],
    )
