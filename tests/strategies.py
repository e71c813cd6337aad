"""Hypothesis strategies for PDUs: any that the codec may build, and broken ones next to them."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from smsfilter.smpp.const import COMMAND_NAMES, RESPONSE_BIT, TAG_NAMES
from smsfilter.smpp.pdu import HEADER, PDU, build
from smsfilter.smpp.spec import (
    FIELDS,
    COctetString,
    Destinations,
    DistributionList,
    Field,
    Integer,
    ShortMessage,
    SMEAddress,
    Time,
    Unsuccessful,
    UnsuccessfulList,
)
from smsfilter.smpp.tlv import ONCE

# Cores are shared with servers and other workers: how long one example takes says nothing.
settings.register_profile("shared_cores", deadline=None)
settings.load_profile("shared_cores")

uint8 = st.integers(0, 0xFF)
uint32 = st.integers(0, 0xFFFFFFFF)


def c_octet_strings(size: int) -> st.SearchStrategy[bytes]:
    """Up to `size` octets with their NUL; plain digits often, any octet at times."""
    digits = st.text("0123456789+", max_size=size - 1).map(str.encode)
    return digits | st.binary(max_size=size - 1).map(lambda octets: octets.replace(b"\0", b"\1"))


addresses = c_octet_strings(21)
destinations = st.builds(SMEAddress, uint8, uint8, addresses) | st.builds(
    DistributionList, addresses
)
unsuccessful = st.builds(Unsuccessful, uint8, uint8, addresses, uint32)


def values(field: Field) -> st.SearchStrategy[Any]:
    """Anything that this field can hold."""
    match field:
        case Integer():
            return st.integers(0, 256**field.size - 1)
        case Time():
            return st.just(b"") | c_octet_strings(17).map(lambda octets: octets.ljust(16, b"0"))
        case COctetString():
            return c_octet_strings(field.size)
        case ShortMessage():
            return st.binary(max_size=20) | st.binary(max_size=255)
        case Destinations():
            return st.lists(destinations, min_size=1, max_size=4).map(tuple)
        case UnsuccessfulList():
            return st.lists(unsuccessful, max_size=4).map(tuple)
    raise AssertionError(f"no strategy for {field.name}")


@st.composite
def tlv_lists(draw: st.DrawFn, has_text: bool) -> list[tuple[int, bytes]]:
    """TLVs known, vendors' and unheard of, that may stand together."""
    tags = st.sampled_from(sorted(TAG_NAMES)) | st.integers(1, 0xFFFF)
    found = draw(st.lists(st.tuples(tags, st.binary(max_size=12)), max_size=4))
    once = set[int]()
    kept = []
    for tag, value in found:
        if tag in ONCE:
            if tag in once:
                continue
            once.add(tag)
        kept.append((tag, b"" if has_text and TAG_NAMES.get(tag) == "message_payload" else value))
    return kept


@st.composite
def pdus(draw: st.DrawFn, commands: tuple[int, ...] = tuple(FIELDS)) -> PDU:
    """Any PDU of these commands that the codec may build, responses with and without body."""
    command_id = draw(st.sampled_from(commands))
    status = draw(st.sampled_from((0, 0, 0x58, 0xFFFFFFFF)))
    fields = {one.name: draw(values(one), label=one.name) for one in FIELDS[command_id]}
    sequence_number = draw(uint32)
    if status and command_id & RESPONSE_BIT and draw(st.booleans()):
        kept = list(fields)[: draw(st.integers(0, len(fields)))]
        return PDU(command_id, status, sequence_number, {name: fields[name] for name in kept})
    tlvs = draw(tlv_lists(bool(fields.get("short_message"))))
    return PDU(command_id, status, sequence_number, fields, tlvs, draw(st.integers(0, 3)))


@st.composite
def mutated(draw: st.DrawFn, commands: tuple[int, ...] = tuple(FIELDS)) -> bytes:
    """A PDU after one to three accidents: octets changed, lost, added, doubled.

    command_length is set right again most of the time, so that the accident is found inside.
    """
    octets = bytearray(build(draw(pdus(commands))))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(16, len(octets)))
        to = draw(st.integers(at, min(len(octets), at + 8)))
        octets[at:to] = draw(
            st.sampled_from((b"", bytes(octets[at:to]) * 2)) | st.binary(max_size=8)
        )
    if draw(st.integers(0, 9)):
        octets[:4] = len(octets).to_bytes(4, "big")
    return bytes(octets)


def framed(
    command_ids: st.SearchStrategy[int], bodies: st.SearchStrategy[bytes]
) -> st.SearchStrategy[bytes]:
    """Any body behind a right header."""
    return st.builds(
        lambda command_id, body, status: HEADER.pack(16 + len(body), command_id, status, 1) + body,
        command_ids,
        bodies,
        st.sampled_from((0, 0x58)),
    )


known_commands = st.sampled_from(sorted(COMMAND_NAMES))
