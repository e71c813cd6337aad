"""What holds of the codec for every PDU, and of decode and peek for every octet string."""

from collections.abc import Callable
from typing import TypeVar

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smsfilter.smpp.const import (
    BINDS,
    COMMAND_NAMES,
    DATA_SM,
    DELIVER_SM,
    REPLACE_SM,
    SUBMIT_MULTI,
    SUBMIT_SM,
    TAG_MESSAGE_PAYLOAD,
)
from smsfilter.smpp.errors import Malformed, PDUError
from smsfilter.smpp.pdu import HEADER, PDU, build, decode
from smsfilter.smpp.peek import Content, Multi, Peek, content, peek, peek_bind
from smsfilter.smpp.spec import FIELDS, COctetString, SMEAddress, Time
from smsfilter.smpp.tlv import check_tlvs, read_tlvs
from tests.strategies import framed, known_commands, mutated, pdus

T = TypeVar("T")
CARRIERS = (SUBMIT_SM, DATA_SM, SUBMIT_MULTI, REPLACE_SM, DELIVER_SM)


@given(pdus())
def test_decode_gives_back_what_was_built(pdu: PDU) -> None:
    assert decode(build(pdu)) == pdu


def outcome(read: Callable[[], T]) -> T | int:
    """What was read, or the command_status of the refusal; any other exception is a failure."""
    try:
        return read()
    except PDUError as refusal:
        return refusal.command_status


def refused_or_exact(octets: bytes) -> None:
    """Whatever decode accepts, build gives back; what it refuses, it refuses with a status."""
    pdu = outcome(lambda: decode(octets))
    if isinstance(pdu, PDU):
        assert build(pdu) == octets
    else:
        assert pdu > 0


@given(st.binary(max_size=200))
def test_random_octets(octets: bytes) -> None:
    refused_or_exact(octets)


@given(framed(known_commands, st.binary(max_size=120)))
def test_random_bodies(octets: bytes) -> None:
    refused_or_exact(octets)


@given(framed(known_commands, st.lists(st.sampled_from((b"\0", b"\0\1", b"1"))).map(b"".join)))
def test_bodies_of_mostly_nuls(octets: bytes) -> None:
    refused_or_exact(octets)


@given(mutated())
def test_mutated_pdus(octets: bytes) -> None:
    refused_or_exact(octets)


def same_verdict(octets: bytes) -> None:
    """Peek and decode read the same, or refuse with the same status."""
    command_id = HEADER.unpack_from(octets)[1]
    buffer = b"before" + octets + b"\0after"
    pdu = outcome(lambda: decode(octets))
    found = outcome(lambda: peek(buffer, 6, 6 + len(octets), command_id))
    if not isinstance(pdu, PDU):
        assert found == pdu
        return
    assert isinstance(found, Peek | Multi)
    assert found[:4] == seen(pdu)
    if isinstance(found, Multi):
        entries = b"".join(buffer[start:end] for start, end in found.entries)
        assert bytes((len(found.entries),)) + entries in octets
        assert buffer[found.entries[0][0] - 1] == len(pdu.fields["dest_address"])
    if command_id != REPLACE_SM:
        text = content(buffer, 6, 6 + len(octets), command_id, found.trailing_nuls)
        fields = (pdu.fields["esm_class"], pdu.fields["data_coding"])
        assert text == Content(*fields, pdu.message, pdu.tlvs)


def seen(pdu: PDU) -> tuple[bytes, tuple[bytes | None, ...], bytes | None, int]:
    """What a peek ought to find, taken from the full decode."""
    destinations: tuple[bytes | None, ...] = ()
    if "destination_addr" in pdu.fields:
        destinations = (pdu.fields["destination_addr"],)
    for one in pdu.fields.get("dest_address", ()):
        destinations += (one.address if isinstance(one, SMEAddress) else None,)
    schedule = pdu.fields.get("schedule_delivery_time") or None
    return pdu.fields["source_addr"], destinations, schedule, pdu.trailing_nuls


@given(pdus(CARRIERS).map(build))
def test_peek_reads_what_decode_reads(octets: bytes) -> None:
    same_verdict(octets)


@given(mutated(CARRIERS).filter(lambda octets: int.from_bytes(octets[:4], "big") == len(octets)))
def test_peek_and_decode_agree_on_mutated_pdus(octets: bytes) -> None:
    same_verdict(octets)


@given(framed(st.sampled_from(CARRIERS), st.binary(max_size=120)))
def test_peek_and_decode_agree_on_random_bodies(octets: bytes) -> None:
    same_verdict(octets)


@given(
    framed(
        st.sampled_from(CARRIERS),
        st.lists(st.sampled_from((b"\0", b"\0\1", b"\2", b"1", b"1" * 16, b"\0" * 9))).map(
            b"".join
        ),
    )
)
def test_peek_and_decode_agree_on_bodies_of_mostly_nuls(octets: bytes) -> None:
    same_verdict(octets)


STRINGS = [
    pytest.param(command_id, one, id=f"{COMMAND_NAMES[command_id]}-{one.name}")
    for command_id in CARRIERS
    for one in FIELDS[command_id]
    if isinstance(one, COctetString)
]


@pytest.mark.parametrize(("command_id", "long"), STRINGS)
def test_every_string_has_the_same_limits_for_both(command_id: int, long: COctetString) -> None:
    """Exhaustive, because a random string is seldom one octet too long."""
    some = {"dest_address": (SMEAddress(1, 1, b"8613800138000"),)}
    for length in range(long.size + 3):
        body = b"".join(
            b"x" * length + b"\0" if one is long else one.write(some.get(one.name, one.empty))
            for one in FIELDS[command_id]
        )
        octets = HEADER.pack(16 + len(body), command_id, 0, 1) + body
        same_verdict(octets)
        legal = (0, 16) if isinstance(long, Time) else range(long.size)
        assert isinstance(outcome(lambda whole=octets: decode(whole)), PDU) == (length in legal)


@given(pdus(tuple(BINDS)).map(build) | mutated(tuple(BINDS)))
def test_what_peek_reads_of_a_bind_is_what_decode_reads(octets: bytes) -> None:
    """The peek is stricter: it takes no TLVs in a bind."""
    try:
        found = peek_bind(octets, 0, len(octets))
    except Malformed:
        return
    if int.from_bytes(octets[:4], "big") == len(octets):
        fields = decode(octets).fields
        assert found == tuple(
            fields[name] for name in ("system_id", "password", "interface_version")
        )


@given(st.lists(st.sampled_from((b"\0", b"\0\0\0\1", b"\4\x24\0\1x", b"\x14\1\0\0")), max_size=8))
@example([b"\0"] * 3)
@example([b"\0"] * 4)
def test_a_coherent_tlv_area_is_told_apart_by_its_parts(pieces: list[bytes]) -> None:
    """Read independently: cut TLVs off the front until none is left."""
    area = b"".join(pieces)
    rest, tags = area, []
    while len(rest) >= 4 and len(rest) >= (size := 4 + rest[2] * 256 + rest[3]):
        tags.append(int.from_bytes(rest[:2], "big"))
        rest = rest[size:]
    coherent = rest in (b"", b"\0", b"\0\0", b"\0\0\0")
    coherent = coherent and 0 not in tags and tags.count(TAG_MESSAGE_PAYLOAD) < 2
    found = outcome(lambda: check_tlvs(area, 0, len(area), has_text=False, command_id=SUBMIT_SM))
    assert found == (len(rest) if coherent else 0xC0)
    if coherent:
        assert [tag for tag, _ in read_tlvs(area, 0, len(area) - len(rest))] == tags
