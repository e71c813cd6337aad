"""A shelf: the manifests of many closed segments in a row, and which of them has which token.

To look into each of 26,000 segments would take seconds; a shelf answers for 128 of them with one
binary search. It holds nothing that the segments do not, so it can be made anew at any time.

    head | header and footer of each segment | index: token and number | SHA-256
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from struct import Struct

from smsfilter.decisions.layout import (
    FOOTER,
    HEADER,
    DamagedError,
    entry,
    number_of,
    read_footer,
    read_header,
)
from smsfilter.decisions.manifest import Manifest, closed

SEGMENTS = 128
"""Segments of one shelf: a day of them where each lasts for ten minutes."""
MAGIC = b"SMSFSHL1"
_head = Struct(">8s8sI12x")
_ENTRIES_AT_ONCE = 1 << 16
_END = b"\xff" * entry.size


class Index:
    """A sorted index in memory: entries of a token and a number."""

    __slots__ = ("_octets", "size")

    def __init__(self, octets: memoryview) -> None:
        self._octets = octets
        self.size = len(octets) // entry.size

    def __getitem__(self, place: int) -> bytes:
        at = place * entry.size
        return bytes(self._octets[at : at + entry.size])

    def find(self, wanted: bytes, first: int = 0) -> int:
        """The place of the first entry that is not below `wanted`."""
        return bisect_left(range(self.size), wanted, first, key=self.__getitem__)

    def of(self, token: bytes) -> Iterator[int]:
        """The numbers that stand beside a token."""
        for place in range(self.find(token), self.size):
            found, number = entry.unpack(self[place])
            if found != token:
                return
            yield number

    def tokens(self, first: int, end: int) -> Iterator[bytes]:
        """The tokens of some of its places."""
        octets = self._octets[first * entry.size : end * entry.size]
        return (token for token, _ in entry.iter_unpack(octets))


def pack_head(segments: int, key_id: bytes) -> bytes:
    """The head of a shelf of so many segments, whose tokens are made with one key."""
    return _head.pack(MAGIC, key_id, segments)


def merged(indexes: Sequence[tuple[int, Index]]) -> Iterator[bytes]:
    """The index of a shelf, piece by piece, from those of its segments and their numbers."""
    total = sum(index.size for _, index in indexes)
    pieces = max(1, min(1 << 16, total // _ENTRIES_AT_ONCE))
    begins = [0] * len(indexes)
    for piece in range(1, pieces + 1):
        border = (piece << 64) // pieces
        until = border.to_bytes(8) if border < 1 << 64 else _END
        found: set[bytes] = set()
        for n, (number, index) in enumerate(indexes):
            end = index.find(until, begins[n])
            found.update(entry.pack(token, number) for token in index.tokens(begins[n], end))
            begins[n] = end
        yield b"".join(sorted(found))


class Shelf:
    """A shelf that is read. Raises DamagedError."""

    def __init__(self, view: memoryview) -> None:
        if len(view) < _head.size + len(_END):
            raise DamagedError("shorter than a shelf")
        magic, key_id, segments = _head.unpack_from(view)
        index_at = _head.size + segments * (HEADER + FOOTER)
        self.key_id: bytes = key_id
        if magic != MAGIC or index_at > len(view) - 32:
            raise DamagedError("no shelf of decision records")
        self._pairs = view[_head.size : index_at]
        self._index = Index(view[index_at:-32])

    def manifests(self) -> Iterator[Manifest]:
        """Those of its segments. Raises DamagedError."""
        width = HEADER + FOOTER
        for at in range(0, len(self._pairs), width):
            both = self._pairs[at : at + width]
            yield closed(read_header(both), *read_footer(both))

    def numbers(self) -> Iterator[int]:
        """Those of its segments."""
        pairs = self._pairs
        return (number_of(pairs, at) for at in range(0, len(pairs), HEADER + FOOTER))

    @property
    def until(self) -> int:
        """When its last segment ends, in µs; 0 where it has none. Raises DamagedError."""
        return read_footer(self._pairs)[0].until if len(self._pairs) else 0

    def segments_of(self, token: bytes) -> set[int]:
        """The numbers of the segments that have records with this token."""
        return set(self._index.of(token))
