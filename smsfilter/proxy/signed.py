"""With which names the texts of a session are signed, the later parts of a text like its first.

A text in parts shows its signature in the first one, so that is remembered for those that follow:
by source, destinations, reference and number of parts, and for a bounded number of texts.
"""

from smsfilter.rules.signatures import SignatureReader, without_udh
from smsfilter.smpp.framer import Span
from smsfilter.smpp.peek import content

PARTS_MOST = 1024
"""Texts in parts that are remembered of one session; the oldest are forgotten first."""

Destinations = tuple[bytes | None, ...]


class Signed:
    """What a session's texts say of who sends them."""

    __slots__ = ("_first_parts", "read")

    def __init__(self) -> None:
        self.read = SignatureReader()
        """For a text that is whole: from data_coding and its octets to the names."""
        self._first_parts: dict[tuple[object, ...], tuple[str, ...]] = {}

    def names(
        self, buffer: bytes, span: Span, source: bytes, destinations: Destinations, nuls: int
    ) -> tuple[str, ...]:
        """The names that any submission is signed with; `nuls` trail its TLVs."""
        start, end, command_id, _, _ = span
        found = content(buffer, start, end, command_id, nuls)
        part, text = without_udh(found.esm_class, found.message, found.tlvs)
        names = self.read(found.data_coding, text)
        if part is None or part.total == 1:
            return names
        parts = self._first_parts
        key = (source, destinations, part.reference, part.total)
        if part.part > 1:
            return (*parts.get(key, ()), *names)
        parts.pop(key, None)  # the reference is used again
        if names:
            parts[key] = names
            if len(parts) > PARTS_MOST:
                del parts[next(iter(parts))]
        return names
