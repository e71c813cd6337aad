"""What one record of the ledger is, how it is spelled, and how it hangs on the one before it.

A record has exactly one spelling, its canonical body: JSON with sorted keys and without blanks.
The hash covers these octets and the hash before them, never the columns of a database, which are
copies for searching. So the body is what was done, and a column that differs from it is a lie.

Numbers are integers only: a float has more than one spelling. The octets are the contract of
docs/ledger.md, which an independent verifier is written from: never change them for an old chain.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TypeAlias

Detail: TypeAlias = str | int | Sequence["Detail"] | Mapping[str, "Detail"] | None
"""What may stand in the detail of a record; a float may not."""

GENESIS = bytes(32)
"""What the first record of a chain has for the hash before it."""
RESTORE = "restore"
"""The action of the record that declares a restore: what was entered since the backup is gone."""
MAX_BODY = 1 << 20
"""Octets of a body: an import that names some ten thousand things fits, a runaway does not."""
MAX_DEPTH = 16
"""Levels of a detail; deeper ones would let a forged body exhaust the stack of its reader."""

_DOMAIN = b"smsfilter ledger record 1\n"
_INTEGERS = range(-(2**63), 2**63)
_TEXTS = ("actor", "role", "origin", "action", "object")
_REFERENCES = ("case_id", "customer_id")
_FIELDS = frozenset(("seq", "at", "detail", *_TEXTS, *_REFERENCES))


@dataclass(frozen=True, slots=True)
class Entry:
    """One act: who did what to what, and when."""

    seq: int
    """Its place in the chain, from 1, without gaps."""
    at: int
    """When, in microseconds of Unix time (UTC)."""
    actor: str
    role: str
    origin: str
    action: str
    object: str
    case_id: str | None
    customer_id: str | None
    """The random id of a customer, never the number."""
    detail: Mapping[str, Detail]


@dataclass(frozen=True, slots=True)
class Row:
    """A record as the database has it: columns to search by, the body, and the two hashes."""

    seq: int
    at: int
    actor: str
    role: str
    origin: str
    action: str
    object: str
    case_id: str | None
    customer_id: str | None
    body: bytes
    prev: bytes
    hash: bytes


def canonical(entry: Entry) -> bytes:
    """Spell an entry in its one way.

    ValueError if it has none: a float, a lone surrogate, an integer beyond 64 bits, a NUL in a
    text that is a column (PostgreSQL has none), more than MAX_DEPTH levels or MAX_BODY octets.
    """
    if type(entry.seq) is not int or entry.seq < 1 or type(entry.at) is not int or entry.at < 0:
        raise ValueError("seq counts from 1 and at from 0")
    fields: dict[str, object] = {"seq": _plain(entry.seq, 0), "at": _plain(entry.at, 0)}
    for name in _TEXTS:
        fields[name] = _column(name, getattr(entry, name))
    for name in _REFERENCES:
        value = getattr(entry, name)
        fields[name] = None if value is None else _column(name, value)
    if not isinstance(entry.detail, Mapping):
        raise ValueError("the detail is no mapping")
    fields["detail"] = _plain(entry.detail, 0)
    text = json.dumps(fields, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    body = text.encode()
    if len(body) > MAX_BODY:
        raise ValueError(f"the body has {len(body)} octets, more than {MAX_BODY}")
    return body


def parse(body: bytes) -> Entry:
    """Read a canonical body. ValueError for any other: there is no second spelling to accept."""
    if len(body) > MAX_BODY:
        raise ValueError(f"the body has more than {MAX_BODY} octets")
    try:
        fields = json.loads(body.decode())
    except RecursionError:
        raise ValueError(f"the body has more than {MAX_DEPTH} levels") from None
    if not isinstance(fields, dict) or fields.keys() != _FIELDS:
        raise ValueError("the body does not have the fields of a record")
    entry = Entry(**fields)
    if canonical(entry) != body:
        raise ValueError("the body is not canonical")
    return entry


def link(prev: bytes, body: bytes) -> bytes:
    """Return the hash of a record, 32 octets: SHA-256 over a domain, the hash before and the body.

    The domain and `prev` have fixed lengths, so that no other pair gives the same octets.
    """
    if len(prev) != len(GENESIS):
        raise ValueError("the hash before has not 32 octets")
    return sha256(_DOMAIN + prev + body).digest()


def row(entry: Entry, prev: bytes) -> Row:
    """Build the row of an entry that follows the record whose hash is `prev`.

    ValueError as from `canonical`.
    """
    body = canonical(entry)
    return Row(
        seq=entry.seq,
        at=entry.at,
        actor=entry.actor,
        role=entry.role,
        origin=entry.origin,
        action=entry.action,
        object=entry.object,
        case_id=entry.case_id,
        customer_id=entry.customer_id,
        body=body,
        prev=prev,
        hash=link(prev, body),
    )


def chain_id(first: bytes) -> str:
    """Name a chain by the hash of its first record: the first 32 of its hexadecimal digits."""
    return first.hex()[:32]


def _column(name: str, value: object) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise ValueError(f"{name} is no text without NUL")
    return value


def _plain(value: object, depth: int) -> object:
    """Copy a value as JSON has it; ValueError for what has no one spelling."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        if value not in _INTEGERS:
            raise ValueError("an integer has more than 64 bits")
        return value
    if depth == MAX_DEPTH:
        raise ValueError(f"the detail has more than {MAX_DEPTH} levels")
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise ValueError("a key in the detail is no text")
        return {key: _plain(held, depth + 1) for key, held in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(held, depth + 1) for held in value]
    raise ValueError(f"a {type(value).__name__} has no place in the detail")
