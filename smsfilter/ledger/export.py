"""The file of an export: one JSON object a line, so that millions of records pass one by one.

A header, the records in order with the checkpoints among them, each behind the record that it
signs, and an end, signed, over the SHA-256 of all lines before it. A body is written as the text
that was hashed. What a database holds is written as it is, however wrong: to refuse here would
hide from the verifier what it is there to find.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from typing import Any, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from smsfilter.ledger.chain import Row
from smsfilter.ledger.checkpoint import CHAIN_ID
from smsfilter.ledger.signed import check_seal, key_id, read_time, seal, write_time

MAX_LINE = 8 << 20
"""Octets of a line: a body of the greatest size, each of its octets escaped."""

_FORMAT = "smsfilter ledger export 1"
_END = "smsfilter ledger export end 1"
_END_NAMES = ("chain", "first", "last", "at", "rows", "checkpoints", "digest", "key")
_HASHES = ("prev", "hash")
_COLUMNS = tuple(field.name for field in fields(Row))
_COUNT = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class Header:
    """What an export is of."""

    chain: str
    """The id of the chain, see `chain.chain_id`."""
    exported_at: int
    """Microseconds of Unix time (UTC)."""
    first: int
    """The seq that it begins with; from 2 on it shows nothing of what is before."""
    last: int
    """The last seq of the chain when it was exported."""


@dataclass(frozen=True, slots=True)
class SignedLine:
    """A checkpoint or the end, as signed text."""

    kind: Literal["checkpoint", "end"]
    text: str


@dataclass(frozen=True, slots=True)
class End:
    """What the end of an export signs."""

    header: Header
    rows: int
    checkpoints: int
    digest: str
    """SHA-256 over all lines before, in hexadecimal digits."""


Line = Header | Row | SignedLine


def export(
    header: Header,
    rows: Iterable[Row],
    checkpoints: Iterable[tuple[int, str]],
    private: Ed25519PrivateKey,
) -> Iterator[bytes]:
    """Yield the lines of an export; both sources are read as it goes.

    `checkpoints` are (seq, text) by rising seq, none before `header.first - 1`, of which one there
    proves where the first record hangs on, and the last at `header.last`: what no checkpoint
    covers cannot be proven. ValueError if the header has no place in an end.
    """
    digest, counts = sha256(), {"row": 0, "checkpoint": 0}

    def count(kind: str, line: bytes) -> bytes:
        counts[kind] += 1
        digest.update(line)
        return line

    first = encode_header(header)
    digest.update(first)
    yield first
    waiting = iter(checkpoints)
    signed = next(waiting, None)
    for row in rows:
        while signed is not None and signed[0] < row.seq:
            yield count("checkpoint", encode_checkpoint(signed[1]))
            signed = next(waiting, None)
        yield count("row", encode_row(row))
    while signed is not None:
        yield count("checkpoint", encode_checkpoint(signed[1]))
        signed = next(waiting, None)
    yield encode_end(End(header, counts["row"], counts["checkpoint"], digest.hexdigest()), private)


def encode_header(header: Header) -> bytes:
    """Write the first line."""
    return _line("header", {"format": _FORMAT, **asdict(header)})


def encode_row(row: Row) -> bytes:
    """Write a record, with `body_hex` for `body` where the body is not UTF-8."""
    columns: dict[str, Any] = {name: getattr(row, name) for name in _COLUMNS}
    try:
        columns["body"] = row.body.decode()
    except UnicodeDecodeError:
        columns["body_hex"] = columns.pop("body").hex()
    for name in _HASHES:
        columns[name] = columns[name].hex()
    return _line("row", columns)


def encode_checkpoint(text: str) -> bytes:
    """Write a checkpoint."""
    return _line("checkpoint", text)


def encode_end(end: End, private: Ed25519PrivateKey) -> bytes:
    """Write the last line. ValueError if a value has no place in signed text."""
    values = {
        "chain": end.header.chain,
        "first": str(end.header.first),
        "last": str(end.header.last),
        "at": write_time(end.header.exported_at),
        "rows": str(end.rows),
        "checkpoints": str(end.checkpoints),
        "digest": end.digest,
        "key": key_id(private.public_key()),
    }
    return _line("end", seal(_END, values, private))


def decode(line: bytes) -> Line:
    """Read one line. ValueError if it is none of an export.

    The columns of a row are whatever they were: they are for the verifier to compare.
    """
    try:
        content = json.loads(line.decode())
    except RecursionError:
        raise ValueError("too many levels") from None
    if not isinstance(content, dict) or len(content) != 1:
        raise ValueError("not an object with one key")
    kind, value = next(iter(content.items()))
    if kind in ("checkpoint", "end") and isinstance(value, str):
        return SignedLine(kind, value)
    if kind == "row" and isinstance(value, dict):
        return _row(value)
    if kind == "header" and isinstance(value, dict):
        return _header(value)
    raise ValueError("no such kind of line")


def read_end(text: str, keys: Mapping[str, Ed25519PublicKey]) -> End:
    """Read an end whose signature holds; errors as from `checkpoint.check`."""
    values = check_seal(_END, _END_NAMES, text, keys)
    counts = [values[name] for name in ("first", "last", "rows", "checkpoints")]
    if not all(map(_COUNT.fullmatch, counts)):
        raise ValueError("a count is not spelled as one")
    first, last, rows, checkpoints = map(int, counts)
    header = Header(values["chain"], read_time(values["at"]), first, last)
    return End(header, rows, checkpoints, values["digest"])


def _line(kind: str, value: object) -> bytes:
    text = json.dumps({kind: value}, ensure_ascii=False, separators=(",", ":"), default=repr)
    return text.encode() + b"\n"


def _row(columns: dict[str, Any]) -> Row:
    if isinstance(columns.get("body_hex"), str):
        columns["body"] = bytes.fromhex(columns.pop("body_hex"))
    elif isinstance(columns.get("body"), str):
        columns["body"] = columns["body"].encode()
    else:
        raise ValueError("a record without a body")
    for name in _HASHES:
        if not isinstance(columns.get(name), str):
            raise ValueError(f"a record without {name}")
        columns[name] = bytes.fromhex(columns[name])
    if columns.keys() != set(_COLUMNS):
        raise ValueError("a record without the columns of one")
    return Row(**columns)


def _header(values: dict[str, Any]) -> Header:
    if values.pop("format", None) != _FORMAT:
        raise ValueError(f"its format is not '{_FORMAT}'")
    if values.keys() != {field.name for field in fields(Header)}:
        raise ValueError("a header without the fields of one")
    header = Header(**values)
    numbers = (header.exported_at, header.first, header.last)
    if not isinstance(header.chain, str) or not CHAIN_ID.fullmatch(header.chain):
        raise ValueError("the header names no chain")
    if any(type(number) is not int for number in numbers) or header.first < 1:
        raise ValueError("a number of the header is none")
    return header
