"""Cut an octet stream into PDUs by their command_length, and nothing else (SMPP v3.4 §3.2).

A span is the tuple (start, end, command_id, command_status, sequence_number) into a buffer; the
octets themselves are never copied per PDU. `Framer` keeps what is not whole yet and joins chunks
only once a whole PDU can be there, so that a large PDU in single octets costs linear time.
A length that cannot be a PDU breaks the stream: what stood before it is still handed out.
"""

from itertools import repeat
from struct import Struct

from smsfilter.smpp.const import HEADER_LENGTH
from smsfilter.smpp.errors import FramingError

Span = tuple[int, int, int, int, int]

_header = Struct(">IIII").unpack_from
_length = Struct(">I").unpack_from


class Framer:
    """The undecided octets of one direction of one session.

    `limit` is the longest PDU accepted, in octets. `broken` is set once the stream cannot be
    framed any more; later octets are thrown away.
    """

    __slots__ = ("_chunks", "_need", "broken", "limit", "size")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = 0
        self.broken: FramingError | None = None
        self._chunks: list[bytes] = []
        self._need = 4

    def feed(self, chunk: bytes) -> bool:
        """Keep `chunk`; True when `take` may find something new."""
        if self.broken is not None:
            return False
        self._chunks.append(chunk)
        self.size += len(chunk)
        return self.size >= self._need

    def ready(self) -> bool:
        """Whether `take` may find something new in what is kept."""
        return self.broken is None and self.size >= self._need

    def take(self, most: int) -> tuple[bytes, list[Span]]:
        """The whole PDUs that are there, at most `most`: their octets and their spans.

        The buffer ends with the last span. May set `broken`.
        """
        chunks = self._chunks
        if len(chunks) == 1 and self.size >= HEADER_LENGTH and most:
            buffer = chunks[0]
            length, command_id, command_status, sequence_number = _header(buffer)
            if length == self.size <= self.limit:  # one PDU in one piece: the commonest by far
                chunks.clear()
                self.size, self._need = 0, 4
                return buffer, [(0, length, command_id, command_status, sequence_number)]
        buffer = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        spans: list[Span] = []
        add = spans.append
        limit, size, at = self.limit, len(buffer), 0
        need = 4
        for _ in repeat(None, most):
            if size - at < HEADER_LENGTH:
                if size - at >= 4:
                    need = self._checked(_length(buffer, at)[0], 0)
                break
            length, command_id, command_status, sequence_number = _header(buffer, at)
            end = at + length
            if length < HEADER_LENGTH or end > size or length > limit:
                need = self._checked(length, sequence_number)
                break
            add((at, end, command_id, command_status, sequence_number))
            at = end
        if at == size or self.broken is not None:
            chunks.clear()
            self.size = 0
            self._need = 4
            return (buffer if at == size else buffer[:at]), spans
        self._chunks = [buffer[at:]]
        self.size = size - at
        self._need = need
        return buffer[:at], spans

    def give_back(self, octets: bytes) -> None:
        """Keep what `take` has handed out last and nobody has used: whole PDUs."""
        self._chunks.insert(0, octets)
        self.size += len(octets)
        self._need = 4

    def _checked(self, length: int, sequence_number: int) -> int:
        if not HEADER_LENGTH <= length <= self.limit:
            self.broken = FramingError(
                f"command_length {length} is not from {HEADER_LENGTH} to {self.limit}",
                sequence_number=sequence_number,
            )
        return length
