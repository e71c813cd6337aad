"""PDUs that the proxy writes itself, and what it takes out of, or puts into, those that pass.

Answers for what is not forwarded, the one request of its own (unbind), and edits of a buffer: a
list of places in the original octets, never a message built anew. No I/O.
"""

from collections.abc import Iterable
from struct import Struct

from smsfilter.smpp.const import GENERIC_NACK, HEADER_LENGTH, RESPONSE_BIT

Edit = tuple[int, int, bytes]
"""From and to which octet of a buffer, and what stands there instead."""

_header = Struct(">IIII").pack


def respond(command_id: int, sequence_number: int, status: int, body: bytes = b"") -> bytes:
    """The response to `command_id`."""
    length = HEADER_LENGTH + len(body)
    return _header(length, command_id | RESPONSE_BIT, status, sequence_number) + body


def nack(sequence_number: int, status: int) -> bytes:
    """A generic_nack (SMPP v3.4 §4.3.1)."""
    return _header(HEADER_LENGTH, GENERIC_NACK, status, sequence_number)


def request(command_id: int, sequence_number: int) -> bytes:
    """A request that is nothing but a header, such as unbind."""
    return _header(HEADER_LENGTH, command_id, 0, sequence_number)


def edited(buffer: bytes, edits: Iterable[Edit]) -> bytes:
    """`buffer` with every edit done; they may come in any order, but not overlap."""
    pieces: list[bytes] = []
    at = 0
    for start, end, instead in sorted(edits):
        pieces += (buffer[at:start], instead)
        at = end
    pieces.append(buffer[at:])
    return b"".join(pieces)
