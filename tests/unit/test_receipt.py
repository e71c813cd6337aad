"""Delivery receipts: whose, of which message, and what became of it; and what is none."""

import pytest
from hypothesis import given

from smsfilter.smpp.const import DATA_SM, DELIVER_SM, TAG_MESSAGE_STATE, TAG_RECEIPTED_MESSAGE_ID
from smsfilter.smpp.pdu import PDU, build
from smsfilter.smpp.peek import Peek, peek
from smsfilter.smpp.receipt import STATES, Receipt, read_receipt
from tests.fakes import wire
from tests.strategies import pdus

CUSTOMER, SENDER = "8613800138000", "10657555"


def read(pdu: bytes, command_id: int = DELIVER_SM) -> Receipt | None:
    peeked = peek(pdu, 0, len(pdu), command_id)
    assert isinstance(peeked, Peek)
    return read_receipt(pdu, 0, len(pdu), command_id, peeked)


def receipt(text: bytes, esm_class: int = 0x04, tlvs: bytes = b"") -> bytes:
    pdu = wire.deliver_sm(1, CUSTOMER, SENDER, text, esm_class=esm_class) + tlvs
    return len(pdu).to_bytes(4, "big") + pdu[4:]


def test_a_receipt_as_appendix_b_has_it() -> None:
    found = read(receipt(wire.receipt_text("0A1B", "DELIVRD")))
    assert found == Receipt(CUSTOMER.encode(), SENDER.encode(), b"0A1B", "DELIVRD")


@pytest.mark.parametrize("number", range(1, len(STATES) + 1))
def test_tlvs_have_the_first_word(number: int) -> None:
    tlvs = wire.tlv(TAG_RECEIPTED_MESSAGE_ID, b"42\0") + wire.tlv(
        TAG_MESSAGE_STATE, bytes((number,))
    )
    found = read(receipt(wire.receipt_text("0A1B", "UNDELIV"), tlvs=tlvs))
    assert found is not None
    assert (found.message_id, found.state) == (b"42", STATES[number - 1])


@pytest.mark.parametrize(
    ("text", "message_id", "state"),
    [
        (b"", b"", "UNKNOWN"),
        (b"stat:WHATEVER", b"", "UNKNOWN"),
        (b"ID:7 Stat:undeliv", b"7", "UNDELIV"),
        (b"valid:9 stat:EXPIRED", b"", "EXPIRED"),
    ],
)
def test_texts_that_say_less_or_otherwise(text: bytes, message_id: bytes, state: str) -> None:
    found = read(receipt(text))
    assert found is not None
    assert (found.message_id, found.state) == (message_id, state)


@pytest.mark.parametrize("esm_class", [0x00, 0x08, 0x10, 0x20, 0x40])
def test_a_customers_message_is_none(esm_class: int) -> None:
    assert read(receipt(wire.receipt_text("1"), esm_class)) is None


def test_modes_and_features_beside_it_do_not_matter() -> None:
    assert read(receipt(wire.receipt_text("1"), 0x04 | 0x03 | 0x80)) is not None


def test_a_data_sm_may_be_one() -> None:
    tlvs = [(TAG_RECEIPTED_MESSAGE_ID, b"42"), (TAG_MESSAGE_STATE, b"\2")]
    for esm_class, expected in ((0x04, "DELIVRD"), (0x00, None)):
        fields = {"source_addr": CUSTOMER.encode(), "destination_addr": SENDER.encode()}
        fields |= {"esm_class": esm_class}  # type: ignore[dict-item]
        found = read(build(PDU(DATA_SM, 0, 1, fields, tlvs)), DATA_SM)
        assert (found.state if found else None) == expected


@given(pdus((DELIVER_SM, DATA_SM)))
def test_any_message_of_the_smsc_can_be_asked(pdu: PDU) -> None:
    octets = build(pdu)
    found = read(octets, pdu.command_id)
    assert (found is not None) == (pdu.fields["esm_class"] & 0x3C == 0x04)
    assert found is None or found.state in STATES
