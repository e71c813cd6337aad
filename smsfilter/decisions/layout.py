"""The form of a segment of decision records: a header, a stream of slots, and what closes it.

A slot has 32 octets and its last one says what it is, so that any prefix of a stream can be read:
a segment whose writer died is whole up to its last whole slot. Strings (companies, sources,
policies, reasons) stand in the stream as slots of names, before the first record that uses them;
a record has their numbers. All integers are big-endian, times are µs since 1970 in UTC.

    header | stream of slots, the last one END | index | names | footer

The index, the names once more, and the footer are added when a segment is closed; the footer's
last 32 octets are the SHA-256 of everything before them. docs/decision-records.md is for auditors.
"""

import re
from collections.abc import Iterator
from enum import IntEnum
from struct import Struct
from typing import NamedTuple

SLOT = 32
"""Octets of a slot."""
NOBODY = bytes(8)
"""The token where the destination cannot be read, or was not looked at."""
SEQ_MOST = 0xFFFFFFFF
OCTETS_KEPT = 56
"""What a message takes on disk: a slot, its entry in the segment's index, and one on the shelf."""
NAME_MOST = 2000
"""Octets of a name that are kept: more than any that the registry allows."""

HEADER_MAGIC = b"SMSFDEC1"
FOOTER_MAGIC = b"SMSFEND1"

_header = Struct(">8s8s16sQIBB63s19x")
HEADER = _header.size
_number = Struct(">I")
_NUMBER_AT = 40
_footer = Struct(">8sB3xIIII4xQQQQ32s")
FOOTER = _footer.size + 32
record = Struct(">Q8sIIIHBB")
"""at, token, company, source, seq, policy, reason, kind."""
tail = Struct(">IIIHBB").pack
"""What follows time and token in a record: the same for a whole run of messages."""
entry = Struct(">8sI")
"""One entry of the index: a token and the number of the slot that has it."""
_name = Struct(">IHB24sB")
_more = Struct(">31sB")


class Kind(IntEnum):
    """What a slot is."""

    NOTHING = 0
    """Room that was not written to: the stream ends here."""
    FORWARD = 1
    UNCHECKED = 2
    """Forwarded though the block look-up gave no answer, as the policy says."""
    REFUSED = 3
    PUT_OFF = 4
    """Refused for now: the sender may send it again."""
    RECEIPT = 5
    """A delivery receipt of the SMSC: seq is the CRC-32 of the message id, reason its stat."""
    NAME = 16
    MORE = 17
    """The rest of a name."""
    LOST = 18
    """`seq` messages were decided without a record, from `at` to the time in the token's place."""
    END = 19
    """The stream ends here, at this time; reason says how (`End`)."""


VERDICTS = frozenset({Kind.FORWARD, Kind.UNCHECKED, Kind.REFUSED, Kind.PUT_OFF, Kind.RECEIPT})
"""The kinds that are records."""
_sound = re.compile(rb"(?:[\x01-\x05\x12]++|\x10\x11*+)*+\x13?").match
"""The kinds of a sound stream: records and losses, names with their rest, an end."""


class End(IntEnum):
    """How a segment came to its end."""

    OPEN = 0
    """It has none yet."""
    ORDERLY = 1
    RECOVERED = 2
    """Its process died and the machine went on: every whole record is there."""
    UNCLEAN = 3
    """The machine or the disk failed: records at its end may be missing."""


class Table(IntEnum):
    """What a name is the name of."""

    COMPANY = 1
    SOURCE = 2
    POLICY = 3
    REASON = 4


class DamagedError(ValueError):
    """What is no segment, or not the one that was written."""


class Header(NamedTuple):
    """Who writes a segment, and where it stands in that proxy's chain."""

    proxy: str
    key_id: bytes
    """Of the key that the tokens are made with: 8 octets."""
    boot_id: bytes
    """Of the machine's run that it is written in: 16 octets."""
    opened_at: int
    number: int
    """From 1 on, by one each."""
    continues: bool
    """Nothing was decided without a record since the segment before."""


class Footer(NamedTuple):
    """What is known of a closed segment."""

    end: End
    indexed: int
    """Entries of the index."""
    names: int
    """Slots of the names behind it."""
    seq_least: int
    seq_most: int
    """Of its records that have one; 0 where none has."""
    records: int
    lost: int
    """Messages that have no record, counted."""
    since: int
    until: int
    prev: bytes
    """The SHA-256 of the segment before; zeros for the first one."""


class Record(NamedTuple):
    """One verdict on one reading of one destination, or a receipt, with numbers for names."""

    at: int
    token: bytes
    company: int
    source: int
    seq: int
    policy: int
    reason: int
    kind: int


class Name(NamedTuple):
    """What a number in records stands for."""

    table: Table
    number: int
    text: str


def pack_header(header: Header) -> bytes:
    """The head of a segment. Raises ValueError where the proxy's name has over 63 octets."""
    name = header.proxy.encode()
    if len(name) > 63:
        raise ValueError("a proxy's name has at most 63 octets")
    return _header.pack(
        HEADER_MAGIC,
        header.key_id,
        header.boot_id,
        header.opened_at,
        header.number,
        header.continues,
        len(name),
        name,
    )


def read_header(octets: bytes | memoryview) -> Header:
    """Read the head of a segment. Raises DamagedError."""
    if len(octets) < HEADER:
        raise DamagedError("shorter than a header")
    magic, key_id, boot_id, opened_at, number, continues, size, name = _header.unpack_from(octets)
    if magic != HEADER_MAGIC or size > 63 or continues > 1:
        raise DamagedError("no header of decision records")
    try:
        proxy = name[:size].decode()
    except UnicodeDecodeError:
        raise DamagedError("no header of decision records") from None
    return Header(proxy, key_id, boot_id, opened_at, number, bool(continues))


def number_of(octets: bytes | memoryview, at: int) -> int:
    """The number in the header that begins at `at`."""
    number: int = _number.unpack_from(octets, at + _NUMBER_AT)[0]
    return number


def pack_footer(footer: Footer) -> bytes:
    """The foot of a segment without its last field, the SHA-256."""
    end, *rest = footer
    return _footer.pack(FOOTER_MAGIC, end, *rest)


def read_footer(octets: bytes | memoryview) -> tuple[Footer, bytes]:
    """The foot of a closed segment, and the SHA-256 that it states. Raises DamagedError."""
    at = len(octets) - FOOTER
    if at < HEADER:
        raise DamagedError("no closed segment")
    magic, end, *rest = _footer.unpack_from(octets, at)
    if magic != FOOTER_MAGIC or end not in iter(End):
        raise DamagedError("no closed segment")
    return Footer(End(end), *rest), bytes(octets[-32:])


def index_at(footer: Footer, size: int) -> int:
    """Where the index of a closed segment of `size` octets begins, and its stream ends."""
    return size - FOOTER - footer.names * SLOT - footer.indexed * entry.size


def name_slots(name: Name) -> bytes:
    """The slots of a name; what is longer than NAME_MOST is cut."""
    octets = name.text.encode("utf-8", "replace")[:NAME_MOST]
    slots = [_name.pack(name.number, len(octets), name.table, octets[:24], Kind.NAME)]
    slots += [_more.pack(octets[at : at + 31], Kind.MORE) for at in range(24, len(octets), 31)]
    return b"".join(slots)


def lost_slot(count: int, first: int, last: int) -> bytes:
    """The slot that declares a loss; times in µs."""
    return record.pack(first, last.to_bytes(8), 0, 0, min(count, SEQ_MOST), 0, 0, Kind.LOST)


def end_slot(end: End, at: int) -> bytes:
    """The last slot of a stream."""
    return record.pack(at, NOBODY, 0, 0, 0, 0, end, Kind.END)


def whole(octets: bytes | memoryview) -> int:
    """How many octets of a stream are whole slots, all of their names with them.

    END is among them; nothing behind it is.
    """
    kinds = bytes(octets[SLOT - 1 : len(octets) // SLOT * SLOT : SLOT])
    found = _sound(kinds)
    end = found.end() if found else 0
    at = kinds.find(Kind.NAME, 0, end)
    while at >= 0:
        following = at + _slots_of_name(_name.unpack_from(octets, at * SLOT)[1])
        if kinds[at + 1 : following] != bytes((Kind.MORE,)) * (following - at - 1):
            return at * SLOT
        if kinds[following : following + 1] == bytes((Kind.MORE,)):
            return at * SLOT
        at = kinds.find(Kind.NAME, following, end)
    return end * SLOT


def _slots_of_name(length: int) -> int:
    return 1 + max(0, -(-(length - 24) // 31))


def names(octets: bytes | memoryview) -> Iterator[Name]:
    """Every name of a sound stream."""
    at, kinds = 0, bytes(octets[SLOT - 1 :: SLOT])
    while (at := kinds.find(Kind.NAME, at)) >= 0:
        number, length, table, text, _ = _name.unpack_from(octets, at * SLOT)
        size = _slots_of_name(length)
        more = (_more.unpack_from(octets, n * SLOT)[0] for n in range(at + 1, at + size))
        at += size
        try:
            found = Table(table)
        except ValueError:
            raise DamagedError(f"a name of table {table}") from None
        yield Name(found, number, b"".join((text, *more))[:length].decode("utf-8", "replace"))


def slots(octets: bytes | memoryview) -> Iterator[Record]:
    """Every slot of a sound stream as if it were a record; `kind` says which are."""
    return map(Record._make, record.iter_unpack(octets))


def records(octets: bytes | memoryview) -> Iterator[tuple[int, Record]]:
    """Every record of a stream, with the number of its slot."""
    return ((n, one) for n, one in enumerate(slots(octets)) if one.kind in VERDICTS)


def ending(octets: bytes | memoryview) -> tuple[End, int]:
    """How a sound stream ends, and when; OPEN and 0 where it has no END."""
    if len(octets) >= SLOT:
        at, *_, how, kind = record.unpack_from(octets, len(octets) - SLOT)
        if kind == Kind.END and how in iter(End):
            return End(how), at
    return End.OPEN, 0


def count(octets: bytes | memoryview) -> int:
    """How many records a sound stream has."""
    kinds = bytes(octets[SLOT - 1 :: SLOT])
    return sum(kinds.count(kind) for kind in VERDICTS)


def lost(octets: bytes | memoryview) -> int:
    """How many messages its slots of LOST declare."""
    kinds, at, found = bytes(octets[SLOT - 1 :: SLOT]), -1, 0
    while (at := kinds.find(Kind.LOST, at + 1)) >= 0:
        found += record.unpack_from(octets, at * SLOT)[4]
    return found


def find(octets: bytes | memoryview, token: bytes) -> Iterator[int]:
    """The slots of the records with this token, from a stream without an index."""
    whole_stream, at = bytes(octets), 0
    while (at := whole_stream.find(token, at)) >= 0:
        slot, where = divmod(at, SLOT)
        if where == 8 and whole_stream[slot * SLOT + SLOT - 1] in VERDICTS:
            yield slot
        at += 1
