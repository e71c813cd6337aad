"""SMPP octets put together and taken apart by hand, for the fakes and for tests.

Deliberately not written on `smsfilter.smpp`: what a test sends and what it finds at the other end
must not agree merely because both went through the same codec. Every builder takes each field as
an argument, so that a test can also say what no codec would: a wrong length, a field too long, a
text twice. Nothing here checks anything (SMPP v3.4 §3.2, §4).
"""

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from smsfilter.smpp.const import (
    DATA_SM,
    DELIVER_SM,
    RESPONSE_BIT,
    SUBMIT_MULTI,
    SUBMIT_SM,
)

HEADER = struct.Struct(">IIII")

Tlv = tuple[int, bytes]


class Header(NamedTuple):
    """The first 16 octets of a PDU."""

    command_length: int
    command_id: int
    command_status: int
    sequence_number: int


def header(pdu: bytes) -> Header:
    """The header of `pdu`."""
    return Header(*HEADER.unpack_from(pdu))


def cut(buffer: bytearray) -> Iterator[bytes]:
    """Take whole PDUs off the front of `buffer`; what is not framed at all comes as one piece."""
    while len(buffer) >= HEADER.size:
        length = int.from_bytes(buffer[:4], "big")
        if length < HEADER.size:
            yield bytes(buffer)
            buffer.clear()
            return
        if len(buffer) < length:
            return
        yield bytes(buffer[:length])
        del buffer[:length]


def split(octets: bytes) -> list[bytes]:
    """All whole PDUs in `octets`."""
    return list(cut(bytearray(octets)))


def pack(
    command_id: int, sequence_number: int, body: bytes = b"", command_status: int = 0
) -> bytes:
    """One PDU with the right command_length."""
    return HEADER.pack(HEADER.size + len(body), command_id, command_status, sequence_number) + body


def response(request: bytes, command_status: int = 0, body: bytes = b"") -> bytes:
    """The response to `request`."""
    asked = header(request)
    return pack(asked.command_id | RESPONSE_BIT, asked.sequence_number, body, command_status)


def octets_of(value: bytes | str) -> bytes:
    """Text as UTF-8, octets as they are."""
    return value.encode() if isinstance(value, str) else value


def cstring(value: bytes | str) -> bytes:
    """A C-octet string (SMPP v3.4 §3.1)."""
    return octets_of(value) + b"\0"


def tlv(tag: int, value: bytes) -> bytes:
    """One optional parameter (SMPP v3.4 §3.2.4.1)."""
    return struct.pack(">HH", tag, len(value)) + value


def bind(
    command_id: int,
    sequence_number: int,
    system_id: bytes | str,
    password: bytes | str = "secret",
    *,
    system_type: bytes | str = "",
    interface_version: int = 0x34,
    addr_ton: int = 0,
    addr_npi: int = 0,
    address_range: bytes | str = "",
) -> bytes:
    """A bind of any kind (SMPP v3.4 §4.1)."""
    return pack(
        command_id,
        sequence_number,
        cstring(system_id)
        + cstring(password)
        + cstring(system_type)
        + bytes((interface_version, addr_ton, addr_npi))
        + cstring(address_range),
    )


def submit_sm(
    sequence_number: int,
    source: bytes | str,
    destination: bytes | str,
    text: bytes | str = b"hi",
    *,
    command_id: int = SUBMIT_SM,
    command_status: int = 0,
    service_type: bytes | str = "",
    source_addr_ton: int = 0,
    source_addr_npi: int = 1,
    dest_addr_ton: int = 1,
    dest_addr_npi: int = 1,
    esm_class: int = 0,
    protocol_id: int = 0,
    priority_flag: int = 0,
    schedule_delivery_time: bytes | str = "",
    validity_period: bytes | str = "",
    registered_delivery: int = 0,
    replace_if_present_flag: int = 0,
    data_coding: int = 0,
    sm_default_msg_id: int = 0,
    sm_length: int | None = None,
    tlvs: Sequence[Tlv] = (),
    trailing: bytes = b"",
) -> bytes:
    """A submit_sm, or with its command_id a deliver_sm, built alike (§4.4.1, §4.6.1)."""
    message = octets_of(text)
    body = (
        cstring(service_type)
        + bytes((source_addr_ton, source_addr_npi))
        + cstring(source)
        + bytes((dest_addr_ton, dest_addr_npi))
        + cstring(destination)
        + bytes((esm_class, protocol_id, priority_flag))
        + cstring(schedule_delivery_time)
        + cstring(validity_period)
        + bytes((registered_delivery, replace_if_present_flag, data_coding, sm_default_msg_id))
        + bytes((len(message) if sm_length is None else sm_length,))
        + message
        + b"".join(tlv(*pair) for pair in tlvs)
        + trailing
    )
    return pack(command_id, sequence_number, body, command_status)


def deliver_sm(
    sequence_number: int,
    source: bytes | str,
    destination: bytes | str,
    text: bytes | str = b"hi",
    *,
    esm_class: int = 0,
    data_coding: int = 0,
    tlvs: Sequence[Tlv] = (),
) -> bytes:
    """A deliver_sm (SMPP v3.4 §4.6.1)."""
    return submit_sm(
        sequence_number,
        source,
        destination,
        text,
        command_id=DELIVER_SM,
        esm_class=esm_class,
        data_coding=data_coding,
        tlvs=tlvs,
    )


def data_sm(
    sequence_number: int,
    source: bytes | str,
    destination: bytes | str,
    *,
    service_type: bytes | str = "",
    source_addr_ton: int = 0,
    source_addr_npi: int = 1,
    dest_addr_ton: int = 1,
    dest_addr_npi: int = 1,
    esm_class: int = 0,
    registered_delivery: int = 0,
    data_coding: int = 0,
    tlvs: Sequence[Tlv] = ((0x0424, b"hi"),),
    trailing: bytes = b"",
) -> bytes:
    """A data_sm (SMPP v3.4 §4.7.1)."""
    return pack(
        DATA_SM,
        sequence_number,
        cstring(service_type)
        + bytes((source_addr_ton, source_addr_npi))
        + cstring(source)
        + bytes((dest_addr_ton, dest_addr_npi))
        + cstring(destination)
        + bytes((esm_class, registered_delivery, data_coding))
        + b"".join(tlv(*pair) for pair in tlvs)
        + trailing,
    )


def submit_multi(
    sequence_number: int,
    source: bytes | str,
    entries: Sequence[bytes],
    text: bytes | str = b"hi",
    *,
    number_of_dests: int | None = None,
    esm_class: int = 0,
    schedule_delivery_time: bytes | str = "",
    data_coding: int = 0,
    tlvs: Sequence[Tlv] = (),
) -> bytes:
    """A submit_multi (SMPP v3.4 §4.5.1); its entries are made by `sme` and `dl`."""
    message = octets_of(text)
    return pack(
        SUBMIT_MULTI,
        sequence_number,
        b"\0\0\1"
        + cstring(source)
        + bytes((len(entries) if number_of_dests is None else number_of_dests,))
        + b"".join(entries)
        + bytes((esm_class, 0, 0))
        + cstring(schedule_delivery_time)
        + b"\0"
        + bytes((0, 0, data_coding, 0, len(message)))
        + message
        + b"".join(tlv(*pair) for pair in tlvs),
    )


def sme(address: bytes | str, ton: int = 1, npi: int = 1) -> bytes:
    """A subscriber among the destinations of a submit_multi (SMPP v3.4 §4.5.1.1)."""
    return bytes((1, ton, npi)) + cstring(address)


def dl(name: bytes | str) -> bytes:
    """A distribution list among them (SMPP v3.4 §4.5.1.2)."""
    return b"\2" + cstring(name)


def submit_multi_resp(
    sequence_number: int,
    command_status: int,
    unsuccess: Sequence[tuple[bytes | str, int]] = (),
    message_id: bytes | str = "",
) -> bytes:
    """A submit_multi_resp that names addresses and their statuses (SMPP v3.4 §4.5.2)."""
    entries = b"".join(
        b"\1\1" + cstring(address) + status.to_bytes(4, "big") for address, status in unsuccess
    )
    body = cstring(message_id) + bytes((len(unsuccess),)) + entries
    return pack(SUBMIT_MULTI | RESPONSE_BIT, sequence_number, body, command_status)


def receipt_text(message_id: str, state: str = "DELIVRD") -> bytes:
    """The short_message of a delivery receipt (SMPP v3.4 appendix B)."""
    return (
        f"id:{message_id} sub:001 dlvrd:001 submit date:2601010000 done date:2601010001"
        f" stat:{state} err:000 text:"
    ).encode()


class Submitted(NamedTuple):
    """What an SMSC needs of a submit_sm to answer and to report on it."""

    source: bytes
    destination: bytes
    registered_delivery: int
    text: bytes
    esm_class: int
    data_coding: int


def read_submit_sm(pdu: bytes) -> Submitted:
    """Read a well-formed submit_sm."""
    at = pdu.index(b"\0", HEADER.size) + 3
    end = pdu.index(b"\0", at)
    source = pdu[at:end]
    at = end + 3
    end = pdu.index(b"\0", at)
    destination = pdu[at:end]
    esm_class = pdu[end + 1]
    at = pdu.index(b"\0", pdu.index(b"\0", end + 4) + 1) + 1
    length = pdu[at + 4]
    text = pdu[at + 5 : at + 5 + length]
    return Submitted(source, destination, pdu[at], text, esm_class, pdu[at + 2])


class Multi(NamedTuple):
    """A submit_multi in three pieces; its command_length and number_of_dests are in none."""

    before: bytes
    entries: list[bytes]
    after: bytes


def read_submit_multi(pdu: bytes) -> Multi:
    """Take a well-formed submit_multi apart (SMPP v3.4 §4.5.1)."""
    count_at = pdu.index(b"\0", pdu.index(b"\0", HEADER.size) + 3) + 1
    at = count_at + 1
    entries = []
    for _ in range(pdu[count_at]):
        end = pdu.index(b"\0", at + (3 if pdu[at] == 1 else 1)) + 1
        entries.append(pdu[at:end])
        at = end
    return Multi(pdu[4:count_at], entries, pdu[at:])


def customers(pdu: bytes) -> list[bytes]:
    """Every destination_addr of a submit_sm, data_sm or submit_multi."""
    command_id = header(pdu).command_id
    if command_id == SUBMIT_MULTI:
        return [one[3:-1] for one in read_submit_multi(pdu).entries if one[0] == 1]
    if command_id not in (SUBMIT_SM, DATA_SM):
        return []
    at = pdu.index(b"\0", pdu.index(b"\0", HEADER.size) + 3) + 3
    return [pdu[at : pdu.index(b"\0", at)]]


def destinations(pdus: Sequence[bytes]) -> list[str]:
    """The destination_addr of each submit_sm, as text."""
    return [read_submit_sm(pdu).destination.decode("latin-1") for pdu in pdus]
