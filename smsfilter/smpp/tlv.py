"""The optional parameters (TLVs) at the end of a PDU: whether the area holds together.

`check_tlvs` is the one place where that is decided; the peek of the message path and the full
decode both call it, so they cannot come to differ. It refuses what two readers could read
differently: lengths that do not add up to the end of the PDU, the reserved tag 0 (what padding
looks like to a TLV reader), a text in two places, and twice the same parameter where it says who
gets the message or what belongs together. It builds no object; `read_tlvs` does.
"""

from struct import Struct
from typing import Final

from smsfilter.smpp.const import (
    COMMAND_NAMES,
    ESME_RINVOPTPARSTREAM,
    TAG_DEST_SUBADDRESS,
    TAG_DESTINATION_PORT,
    TAG_MESSAGE_PAYLOAD,
    TAG_NAMES,
    TAG_SAR_MSG_REF_NUM,
    TAG_SAR_SEGMENT_SEQNUM,
    TAG_SAR_TOTAL_SEGMENTS,
    TAG_SOURCE_PORT,
    TAG_USER_MESSAGE_REFERENCE,
)
from smsfilter.smpp.errors import Malformed

TLV_HEADER: Final = Struct(">HH")  # tag, length of the value (SMPP v3.4 §3.2.4.1)

# One bit each. Others may come twice: callback_num does so by the specification (§5.3.2.36),
# broadcast_area_identifier too (v5.0 §4.4.1), and of vendors' own we cannot know.
ONCE: Final[dict[int, int]] = {
    tag: 1 << bit
    for bit, tag in enumerate(
        (
            TAG_MESSAGE_PAYLOAD,
            TAG_SAR_MSG_REF_NUM,
            TAG_SAR_TOTAL_SEGMENTS,
            TAG_SAR_SEGMENT_SEQNUM,
            TAG_DEST_SUBADDRESS,
            TAG_USER_MESSAGE_REFERENCE,
            TAG_SOURCE_PORT,
            TAG_DESTINATION_PORT,
        )
    )
}


def check_tlvs(
    octets: bytes | bytearray | memoryview, start: int, end: int, has_text: bool, command_id: int
) -> int:
    """Return how many NULs (0 to 3) trail the TLVs in octets[start:end]; raise Malformed.

    `has_text` says that short_message is not empty, so that no message_payload may be there.
    Up to three NULs are let pass because real senders pad with them, and because three octets
    can be no TLV for any reader. The command has no part in the decision; errors name it.
    """
    seen = 0
    read = TLV_HEADER.unpack_from
    while end - start >= 4:
        tag, length = read(octets, start)
        start += 4 + length
        if start > end:
            raise _malformed(command_id, f"TLV 0x{tag:04X} goes past the end")
        bit = ONCE.get(tag)
        if bit is not None:
            if seen & bit:
                raise _malformed(command_id, f"{TAG_NAMES[tag]} more than once")
            seen |= bit
            if has_text and length and tag == TAG_MESSAGE_PAYLOAD:
                raise _malformed(command_id, "text in both short_message and message_payload")
        elif not tag:
            raise _malformed(command_id, "TLV tag 0 is reserved")
    if any(octets[start:end]):
        raise _malformed(command_id, f"{end - start} octets after the last TLV")
    return end - start


def _malformed(command_id: int, message: str) -> Malformed:
    return Malformed(f"{COMMAND_NAMES[command_id]}: {message}", ESME_RINVOPTPARSTREAM)


def read_tlvs(octets: bytes, start: int, end: int) -> list[tuple[int, bytes]]:
    """Return (tag, value) in the order on the wire, of an area that `check_tlvs` has passed."""
    tlvs = []
    while start < end:
        tag, length = TLV_HEADER.unpack_from(octets, start)
        tlvs.append((tag, octets[start + 4 : start + 4 + length]))
        start += 4 + length
    return tlvs
