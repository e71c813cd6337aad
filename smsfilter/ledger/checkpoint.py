"""Checkpoints: "this chain had this hash at this record", signed, as text that a person can read.

Whoever holds one can prove later that no record up to it was cut or rewritten, even by someone
with the database and without the key. It is worth most in other hands than the ledger's: such a
copy is called a witness.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from smsfilter.ledger.signed import (
    BadSignatureError,
    UnknownKeyError,
    check_seal,
    key_id,
    public_pem,
    read_public_pem,
    read_time,
    seal,
    unseal,
    write_time,
)

__all__ = [
    "ROWS_BETWEEN",
    "SECONDS_BETWEEN",
    "BadSignatureError",
    "Checkpoint",
    "UnknownKeyError",
    "check",
    "key_id",
    "public_pem",
    "read",
    "read_public_pem",
    "sign",
    "split",
]

ROWS_BETWEEN = 1_000
"""So many records without a checkpoint call for one."""
SECONDS_BETWEEN = 60
"""So long a record waits for a checkpoint at most."""

_DOMAIN = "smsfilter ledger checkpoint 1"
_NAMES = ("chain", "seq", "hash", "at", "key")
CHAIN_ID = re.compile(r"[0-9a-f]{32}")
SEQ = re.compile(r"[1-9][0-9]{0,18}")
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a checkpoint says."""

    chain: str
    """The id of the chain, see `chain.chain_id`."""
    seq: int
    hash: bytes
    """The hash of the record with this seq, 32 octets."""
    at: int
    """When it was signed, in microseconds of Unix time (UTC)."""
    key_id: str


def sign(checkpoint: Checkpoint, private: Ed25519PrivateKey) -> str:
    """Write a checkpoint as signed text.

    ValueError if a value has no place in one, or `key_id` is not that of the key.
    """
    fields = {
        "chain": checkpoint.chain,
        "seq": str(checkpoint.seq),
        "hash": checkpoint.hash.hex(),
        "at": write_time(checkpoint.at),
        "key": checkpoint.key_id,
    }
    _from(fields)
    return seal(_DOMAIN, fields, private)


def read(text: str) -> Checkpoint:
    """Read a checkpoint without looking at its signature. ValueError if it is none."""
    return _from(unseal(_DOMAIN, _NAMES, text))


def split(text: str) -> list[str]:
    """Take apart a text of one checkpoint after the other, as a file that they are added to."""
    head, *rest = re.split(rf"^(?={_DOMAIN}$)", text, flags=re.MULTILINE)
    return [head, *rest] if head or not rest else rest


def check(text: str, public_keys: Mapping[str, Ed25519PublicKey]) -> Checkpoint:
    """Read a checkpoint whose signature holds; `public_keys` are by `key_id`.

    ValueError if it is no checkpoint, UnknownKeyError or BadSignatureError (ValueErrors too) if it
    is not to be trusted.
    """
    signed = read(text)
    check_seal(_DOMAIN, _NAMES, text, public_keys)
    return signed


def _from(fields: Mapping[str, str]) -> Checkpoint:
    for name, form in (("chain", CHAIN_ID), ("seq", SEQ), ("hash", _HASH)):
        if not form.fullmatch(fields[name]):
            raise ValueError(f"its {name} is not spelled as one")
    return Checkpoint(
        chain=fields["chain"],
        seq=int(fields["seq"]),
        hash=bytes.fromhex(fields["hash"]),
        at=read_time(fields["at"]),
        key_id=fields["key"],
    )
