"""submit_multi: refused destinations taken out of the PDU, and named in its response.

Each destination is a message of its own. Where some are refused, the PDU loses their entries, and
nothing else of it changes but command_length and number_of_dests; the SMSC's response then gets
them added to its unsuccess_sme, as if the SMSC had refused them (SMPP v3.4 §4.5). No I/O.
"""

import re
from struct import Struct
from typing import NamedTuple

from smsfilter.proxy.octets import Edit, respond
from smsfilter.rules.judge import Decision
from smsfilter.rules.verdict import ANSWERS, Kind, Reason
from smsfilter.smpp.const import ESME_RX_R_APPN, HEADER_LENGTH, SUBMIT_MULTI
from smsfilter.smpp.framer import Span
from smsfilter.smpp.peek import Multi, peek_submit_multi

COUNT_MOST = 255
"""no_unsuccess has one octet (SMPP v3.4 §4.5.2)."""

_u32 = Struct(">I").pack
_scan_message_id = re.compile(rb"[^\0]{0,64}\0").match
_scan_unsuccess = re.compile(rb"..[^\0]{0,20}\0....", re.DOTALL).match  # §4.5.2.1


class Settled(NamedTuple):
    """What becomes of one submit_multi."""

    edits: tuple[Edit, ...] = ()
    """What does not go to the SMSC as it came."""
    refused: tuple[Decision, ...] = ()
    """One for each destination that is refused."""
    answer: bytes = b""
    """The response, where nothing of it is forwarded."""
    missing: tuple[bytes, ...] = ()
    """Entries of unsuccess_sme that the SMSC's response has to have besides its own."""


def settle_multi(
    buffer: bytes, span: Span, decisions: list[Decision], *, is_open: bool, is_merged: bool
) -> Settled:
    """Take the refused out of the submit_multi at `span`; a decision for each of its entries.

    `is_open`: another one with this sequence_number waits for its response; `is_merged`: and that
    response is to be changed. Which response belongs to which could not be told then, so this one
    is put off. A list that is refused refuses all, as a response cannot name it (§4.5.2.1).
    """
    start, end, _, _, sequence_number = span
    peek = peek_submit_multi(buffer, start, end)
    refused = [n for n, decision in enumerate(decisions) if decision.kind is not Kind.FORWARD]
    whole = next((decisions[n] for n in refused if peek.destinations[n] is None), None)
    if is_merged or (is_open and refused):
        kind, status = ANSWERS[Reason.WINDOW]
        whole = Decision(kind, Reason.WINDOW, "", status, ())
    if whole is not None:
        answer = respond(SUBMIT_MULTI, sequence_number, whole.command_status, b"\0\0")
        return Settled(((start, end, b""),), (whole,) * len(decisions), answer)
    if not refused:
        return Settled()
    those = tuple(decisions[n] for n in refused)
    missing = tuple(
        buffer[peek.entries[n][0] + 1 : peek.entries[n][1]] + _u32(decisions[n].command_status)
        for n in refused
    )
    if len(refused) == len(decisions):
        alike = len({decision.reason for decision in those}) == 1
        status = those[0].command_status if alike else ESME_RX_R_APPN
        body = b"\0" + bytes((len(missing),)) + b"".join(missing)
        answer = respond(SUBMIT_MULTI, sequence_number, status, body)
        return Settled(((start, end, b""),), those, answer)
    return Settled(_shortened(start, end, peek, refused), those, b"", missing)


def _shortened(start: int, end: int, peek: Multi, refused: list[int]) -> tuple[Edit, ...]:
    spans = [peek.entries[n] for n in refused]
    length = end - start - sum(to - at for at, to in spans)
    count = peek.entries[0][0] - 1
    left = len(peek.entries) - len(refused)
    return (
        (start, start + 4, _u32(length)),
        (count, count + 1, bytes((left,))),
        *((at, to, b"") for at, to in spans),
    )


def merged(response: bytes, missing: tuple[bytes, ...]) -> bytes | None:
    """The SMSC's response of ESME_ROK with `missing` added to it; None where it cannot be read.

    What does not fit into one octet of number is left out, the proxy's own entries last.
    """
    message_id, count, at = b"\0", 0, HEADER_LENGTH
    if len(response) > HEADER_LENGTH:
        found = _scan_message_id(response, at)
        if found is None:
            return None
        message_id, at = found[0], found.end()
    if at < len(response):
        count, at = response[at], at + 1
    first = at
    for _ in range(count):
        found = _scan_unsuccess(response, at)
        if found is None:
            return None
        at = found.end()
    own = missing[: COUNT_MOST - count]
    number = bytes((count + len(own),))
    body = b"".join((message_id, number, response[first:at], *own, response[at:]))
    return _u32(HEADER_LENGTH + len(body)) + response[4:HEADER_LENGTH] + body
