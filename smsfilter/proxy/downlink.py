"""The SMSC's PDUs on their way to the ESME: what passes, what is dropped, what is answered.

Responses pass when they answer something open; requests that an SMSC has no business to send are
nacked to it; nothing that cannot be read reaches the ESME. The original octets pass unchanged,
in one piece where nothing is taken out; only the response to a submit_multi that lost refused
destinations has these added. No I/O.
"""

from smsfilter.metrics import Metrics
from smsfilter.proxy.multi import merged
from smsfilter.proxy.octets import Edit, edited, nack, respond
from smsfilter.proxy.session import Session
from smsfilter.smpp.const import (
    ALERT_NOTIFICATION,
    DATA_SM,
    DELIVER_SM,
    ENQUIRE_LINK,
    ESME_RINVCMDID,
    ESME_ROK,
    ESME_RX_P_APPN,
    RESPONSE_BIT,
    SUBMIT_MULTI_RESP,
    SUBMIT_SM_RESP,
    UNBIND,
    UNBIND_RESP,
)
from smsfilter.smpp.errors import PDUError
from smsfilter.smpp.framer import Span
from smsfilter.smpp.pdu import decode
from smsfilter.smpp.peek import Peek, peek
from smsfilter.smpp.receipt import Receipt, read_receipt

_MESSAGES = frozenset({DELIVER_SM, DATA_SM})
_OTHERS = frozenset({ENQUIRE_LINK, UNBIND, ALERT_NOTIFICATION})


def pass_down(
    session: Session, buffer: bytes, spans: list[Span], metrics: Metrics, receipts: list[Receipt]
) -> tuple[bytes, bytes]:
    """What of the SMSC's `buffer` goes to the ESME, and what goes back to the SMSC.

    Receipts that pass are also put into `receipts`.
    """
    edits: list[Edit] = []
    back: list[bytes] = []
    close = session.open_submits.pop
    for span in spans:
        start, end, command_id, status, sequence_number = span
        if command_id == SUBMIT_SM_RESP and not session.repeated:
            if close(sequence_number, None) is None:
                edits.append((start, end, b""))
                metrics.pdus_dropped["smsc", "unexpected_response"] += 1
        elif command_id & RESPONSE_BIT:
            if command_id == UNBIND_RESP and sequence_number == session.own_unbind:
                edits.append((start, end, b""))
                session.parted = True
            elif not session.answered(command_id, sequence_number):
                edits.append((start, end, b""))
                metrics.pdus_dropped["smsc", "unexpected_response"] += 1
            elif command_id == SUBMIT_MULTI_RESP and sequence_number in session.merges:
                entries = session.merges.pop(sequence_number)
                whole = merged(buffer[start:end], entries) if status == ESME_ROK else None
                if whole is not None:
                    edits.append((start, end, whole))
        else:
            answer = _request(buffer, span, metrics, receipts)
            if answer is not None:
                edits.append((start, end, b""))
                back.append(answer)
    return (edited(buffer, edits) if edits else buffer), b"".join(back)


def _request(buffer: bytes, span: Span, metrics: Metrics, receipts: list[Receipt]) -> bytes | None:
    """The answer to a request of the SMSC that does not pass; None = it passes."""
    start, end, command_id, _, sequence_number = span
    try:
        if command_id in _MESSAGES:
            peeked = peek(buffer, start, end, command_id)
            assert isinstance(peeked, Peek)  # noqa: S101 - only a submit_multi gives another
            receipt = read_receipt(buffer, start, end, command_id, peeked)
            if receipt is not None:
                receipts.append(receipt)
            return None
        if command_id in _OTHERS:
            decode(buffer[start:end])
            return None
    except PDUError as error:
        metrics.pdus_dropped["smsc", "malformed"] += 1
        if command_id in _MESSAGES:
            return respond(command_id, sequence_number, ESME_RX_P_APPN, b"\0")
        return nack(sequence_number, error.command_status)
    metrics.pdus_dropped["smsc", "unexpected_request"] += 1
    return nack(sequence_number, ESME_RINVCMDID)
