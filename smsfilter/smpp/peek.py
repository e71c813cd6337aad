"""Read from a submission just what the rules need, in one pass over the original octets.

A bounded regular expression scans the mandatory fields at C speed; every quantifier is capped by
the field's maximum in SMPP v3.4 §4, and no alternative can match the same octet twice, so the
cost is linear whatever comes. What the scanner does not accept is Malformed: as strict as the
full decode of `pdu`, which is written from the field tables and never called here; the tests hold
that the two agree. Addresses are returned as octets, without their NUL.
"""

import re
from typing import NamedTuple

from smsfilter.smpp.const import (
    DATA_SM,
    DELIVER_SM,
    REPLACE_SM,
    SUBMIT_MULTI,
    SUBMIT_SM,
    TAG_MESSAGE_PAYLOAD,
)
from smsfilter.smpp.errors import Malformed
from smsfilter.smpp.tlv import check_tlvs, read_tlvs

# Pieces of the layouts of SMPP v3.4 §4.4 to §4.10. `S` is DOTALL: an octet is any octet.
_SERVICE_TYPE = rb"[^\0]{0,5}\0"
_ADDRESS = rb"..([^\0]{0,20})\0"  # ton, npi, at most 20 octets and a NUL
_LONG_ADDRESS = rb"..([^\0]{0,64})\0"  # data_sm allows 65 with the NUL
_TIME = rb"(?:\0|[^\0]{16}\0)"
_SCHEDULE = rb"(?:\0|([^\0]{16})\0)"


def _scanner(*pieces: bytes) -> re.Pattern[bytes]:
    return re.compile(b"".join(pieces), re.DOTALL)


scan_submit_sm = _scanner(
    _SERVICE_TYPE, _ADDRESS, _ADDRESS, rb"...", _SCHEDULE, _TIME, rb"....."
).match
"""Mandatory fields of submit_sm and deliver_sm up to sm_length: source, destination, schedule."""

_scan_data_sm = _scanner(_SERVICE_TYPE, _LONG_ADDRESS, _LONG_ADDRESS, rb"...").match
_scan_multi_head = _scanner(_SERVICE_TYPE, _ADDRESS, rb"(.)").match
_scan_multi_address = _scanner(rb"\x01", _ADDRESS).match
_scan_multi_list = re.compile(rb"\x02[^\0]{0,20}\0", re.DOTALL).match
_scan_multi_tail = _scanner(rb"...", _SCHEDULE, _TIME, rb".....").match
_scan_replace_sm = _scanner(rb"[^\0]{0,64}\0", _ADDRESS, _SCHEDULE, _TIME, rb"...").match
_scan_bind = _scanner(
    rb"([^\0]{0,15})\0([^\0]{0,64})\0[^\0]{0,12}\0(.)..[^\0]{0,40}\0", rb"\0{0,3}"
).match


class Peek(NamedTuple):
    """What the rules need of one submission."""

    source: bytes
    destinations: tuple[bytes, ...]
    schedule: bytes | None
    """schedule_delivery_time without its NUL; None when it is empty (SMPP v3.4 §5.2.22)."""
    trailing_nuls: int = 0
    """NULs behind the last TLV, at most three."""


class Multi(NamedTuple):
    """What the rules need of one submit_multi, and where its entries stand."""

    source: bytes
    destinations: tuple[bytes | None, ...]
    """The address of each entry; None = a distribution list."""
    schedule: bytes | None
    trailing_nuls: int
    entries: tuple[tuple[int, int], ...]
    """Where each entry begins and ends. The octet before the first one is number_of_dests."""


class Content(NamedTuple):
    """The text of a submission, and how it is to be read."""

    esm_class: int
    data_coding: int
    message: bytes
    """short_message or message_payload, with its UDH."""
    tlvs: list[tuple[int, bytes]]


class Bind(NamedTuple):
    """What the path needs of a bind_transmitter, bind_receiver or bind_transceiver."""

    system_id: bytes
    password: bytes
    interface_version: int


def _text(octets: bytes, command_id: int, at: int, end: int) -> int:
    """The end of short_message, whose sm_length stands before `at`; count of trailing NULs."""
    length = octets[at - 1]
    text_end = at + length
    if text_end == end:
        return 0
    if text_end > end:
        raise Malformed("sm_length points past the end of the PDU")
    return check_tlvs(octets, text_end, end, has_text=length > 0, command_id=command_id)


def peek_submit_sm(octets: bytes, start: int, end: int, command_id: int = SUBMIT_SM) -> Peek:
    """Peek at a submit_sm or deliver_sm (SMPP v3.4 §4.4.1, §4.6.1). Raises Malformed."""
    found = scan_submit_sm(octets, start + 16, end)
    if found is None:
        raise Malformed("a mandatory field is too long, not terminated or missing")
    source, destination, schedule = found.groups()
    nuls = _text(octets, command_id, found.end(), end)
    return Peek(source, (destination,), schedule, nuls)


def peek_data_sm(octets: bytes, start: int, end: int) -> Peek:
    """Peek at a data_sm (SMPP v3.4 §4.7.1). Raises Malformed."""
    found = _scan_data_sm(octets, start + 16, end)
    if found is None:
        raise Malformed("a mandatory field is too long, not terminated or missing")
    at = found.end()
    nuls = check_tlvs(octets, at, end, has_text=False, command_id=DATA_SM) if at < end else 0
    return Peek(found[1], (found[2],), None, nuls)


def peek_submit_multi(octets: bytes, start: int, end: int) -> Multi:
    """Peek at a submit_multi, whose number_of_dests must agree (SMPP v3.4 §4.5.1).

    Raises Malformed.
    """
    found = _scan_multi_head(octets, start + 16, end)
    if found is None:
        raise Malformed("a mandatory field is too long, not terminated or missing")
    destinations: list[bytes | None] = []
    entries = []
    at = found.end()
    for _ in range(found[2][0]):
        entry = _scan_multi_address(octets, at, end)
        if entry is not None:
            destinations.append(entry[1])
        else:
            entry = _scan_multi_list(octets, at, end)
            if entry is None:
                raise Malformed("number_of_dests does not agree with the entries")
            destinations.append(None)
        entries.append(entry.span())
        at = entry.end()
    tail = _scan_multi_tail(octets, at, end)
    if not entries or tail is None:
        raise Malformed("number_of_dests does not agree with the entries")
    nuls = _text(octets, SUBMIT_MULTI, tail.end(), end)
    return Multi(found[1], tuple(destinations), tail[1], nuls, tuple(entries))


def peek_replace_sm(octets: bytes, start: int, end: int) -> Peek:
    """Peek at a replace_sm, which names no destination (SMPP v3.4 §4.10.1). Raises Malformed."""
    found = _scan_replace_sm(octets, start + 16, end)
    if found is None:
        raise Malformed("a mandatory field is too long, not terminated or missing")
    nuls = _text(octets, REPLACE_SM, found.end(), end)
    return Peek(found[1], (), found[2], nuls)


def peek_bind(octets: bytes, start: int, end: int) -> Bind:
    """Peek at a bind (SMPP v3.4 §4.1). Raises Malformed.

    A password longer than the specification's 8 octets is read all the same: how long it may be
    is the operator's choice.
    """
    found = _scan_bind(octets, start + 16, end)
    if found is None or found.end() != end:
        raise Malformed("a mandatory field is too long, not terminated or missing")
    return Bind(found[1], found[2], found[3][0])


def content(octets: bytes, start: int, end: int, command_id: int, trailing_nuls: int) -> Content:
    """The text of a submit_sm, data_sm or submit_multi that was peeked at (SMPP v3.4 §5.2.19)."""
    if command_id == DATA_SM:
        found = _scan_data_sm(octets, start + 16, end)
        assert found is not None  # noqa: S101 - the peek has scanned the same octets
        at, short = found.end(), b""
        esm_class, data_coding = octets[at - 3], octets[at - 1]
    else:
        if command_id == SUBMIT_MULTI:
            multi = peek_submit_multi(octets, start, end)
            at = multi.entries[-1][1]
            found = _scan_multi_tail(octets, at, end)
        else:
            found = scan_submit_sm(octets, start + 16, end)
            at = found.end(2) + 1 if found else 0
        assert found is not None  # noqa: S101 - likewise
        esm_class, data_coding = octets[at], octets[found.end() - 3]
        at = found.end() + octets[found.end() - 1]
        short = octets[found.end() : at]
    tlvs = read_tlvs(octets, at, end - trailing_nuls)
    payload = next((value for tag, value in tlvs if tag == TAG_MESSAGE_PAYLOAD), b"")
    return Content(esm_class, data_coding, short or payload, tlvs)


def peek(octets: bytes, start: int, end: int, command_id: int) -> Peek | Multi:
    """Peek at any PDU that carries or changes a message. Raises Malformed."""
    if command_id in (SUBMIT_SM, DELIVER_SM):
        return peek_submit_sm(octets, start, end, command_id)
    if command_id == DATA_SM:
        return peek_data_sm(octets, start, end)
    if command_id == SUBMIT_MULTI:
        return peek_submit_multi(octets, start, end)
    if command_id == REPLACE_SM:
        return peek_replace_sm(octets, start, end)
    raise Malformed(f"command_id 0x{command_id:08X} carries no message")
