"""What a delivery receipt of the SMSC says: of which message, and what became of it.

SMPP v3.4 §5.2.12 marks a receipt in esm_class; which message it is of stands in a TLV (§5.3.2.12,
§5.3.2.35) or in the text, as Appendix B has it.
"""

import re
from typing import NamedTuple

from smsfilter.smpp.const import (
    DELIVER_SM,
    ESM_CLASS_DELIVERY_RECEIPT,
    TAG_MESSAGE_STATE,
    TAG_RECEIPTED_MESSAGE_ID,
)
from smsfilter.smpp.peek import Peek, content, scan_submit_sm

_TYPE_BITS = 0x3C
_read_id = re.compile(rb"(?:^|\s)id:([^\s]{1,64})", re.IGNORECASE).search
_read_stat = re.compile(rb"\bstat:([A-Za-z]{1,7})", re.IGNORECASE).search

STATES = ("ENROUTE", "DELIVRD", "EXPIRED", "DELETED", "UNDELIV", "ACCEPTD", "UNKNOWN", "REJECTD")
"""message_state from 1 on (SMPP v3.4 §5.2.28), as Appendix B spells them."""


class Receipt(NamedTuple):
    """A receipt: who got the message, who sent it, its message_id, one of STATES."""

    customer: bytes
    sender: bytes
    message_id: bytes
    state: str


def read_receipt(
    octets: bytes, start: int, end: int, command_id: int, peek: Peek
) -> Receipt | None:
    """Read a deliver_sm or data_sm that was peeked at; None where it is no receipt."""
    if command_id == DELIVER_SM:
        found = scan_submit_sm(octets, start + 16, end)
        if found is None or octets[found.end(2) + 1] & _TYPE_BITS != ESM_CLASS_DELIVERY_RECEIPT:
            return None
    whole = content(octets, start, end, command_id, peek.trailing_nuls)
    if whole.esm_class & _TYPE_BITS != ESM_CLASS_DELIVERY_RECEIPT:
        return None
    tlvs = dict(whole.tlvs)
    message_id = tlvs.get(TAG_RECEIPTED_MESSAGE_ID, b"").rstrip(b"\0")
    if not message_id:
        told = _read_id(whole.message)
        message_id = told[1] if told else b""
    state = tlvs.get(TAG_MESSAGE_STATE, b"")
    if len(state) == 1 and 1 <= state[0] <= len(STATES):
        name = STATES[state[0] - 1]
    else:
        stat = _read_stat(whole.message)
        name = stat[1].decode("ascii").upper() if stat else ""
    known = name if name in STATES else "UNKNOWN"
    return Receipt(peek.source, peek.destinations[0], message_id, known)
