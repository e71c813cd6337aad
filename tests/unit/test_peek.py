"""What the rules need of a submission, and the shapes that are refused rather than guessed at."""

import time

import pytest

from smsfilter.smpp.const import (
    BIND_TRANSCEIVER,
    DATA_SM,
    DELIVER_SM,
    QUERY_SM,
    REPLACE_SM,
    SUBMIT_MULTI,
    SUBMIT_SM,
    TAG_MESSAGE_PAYLOAD,
)
from smsfilter.smpp.errors import Malformed
from smsfilter.smpp.peek import (
    Bind,
    Peek,
    peek,
    peek_bind,
    peek_data_sm,
    peek_replace_sm,
    peek_submit_multi,
    peek_submit_sm,
)
from tests.fakes import wire

FROM, TO = "10657555", "8613800138000"
SOON = "261124120000000R"


def inside(pdu: bytes) -> tuple[bytes, int, int]:
    """The PDU between others, so that nothing depends on the ends of the buffer."""
    before, after = wire.submit_sm(1, "1", "2"), b"\0" * 40
    return before + pdu + after, len(before), len(before) + len(pdu)


def multi(number_of_dests: int, *entries: bytes, tail: bytes | None = None) -> bytes:
    rest = b"\0\0\0\0\0\1\0\0\0\2hi" if tail is None else tail
    body = b"\0\0\1" + wire.cstring(FROM) + bytes((number_of_dests,)) + b"".join(entries) + rest
    return wire.pack(SUBMIT_MULTI, 1, body)


def sme(number: str) -> bytes:
    return b"\1\1\1" + wire.cstring(number)


def dl(name: str) -> bytes:
    return b"\2" + wire.cstring(name)


# what is read


def test_source_destination_and_schedule_of_a_submit_sm() -> None:
    pdu = wire.submit_sm(1, FROM, TO, "hi", service_type="CMT", schedule_delivery_time=SOON)
    assert peek_submit_sm(*inside(pdu)) == Peek(FROM.encode(), (TO.encode(),), SOON.encode())


def test_an_empty_schedule_is_none() -> None:
    assert peek_submit_sm(*inside(wire.submit_sm(1, FROM, TO))).schedule is None


def test_empty_addresses_are_read_as_such() -> None:
    assert peek_submit_sm(*inside(wire.submit_sm(1, "", ""))) == Peek(b"", (b"",), None)


def test_addresses_of_any_octet_but_nul_line_ends_included() -> None:
    pdu = wire.submit_sm(1, b"\xff\n\r", b"8613\n800\xc3\x28")
    assert peek_submit_sm(*inside(pdu)).destinations == (b"8613\n800\xc3\x28",)


def test_a_data_sm_has_room_for_longer_addresses() -> None:
    pdu = wire.data_sm(1, "s" * 64, "d" * 64)
    assert peek_data_sm(*inside(pdu)) == Peek(b"s" * 64, (b"d" * 64,), None)
    with pytest.raises(Malformed):
        peek_data_sm(*inside(wire.data_sm(1, FROM, "d" * 65)))


def test_a_data_sm_without_any_tlv() -> None:
    assert peek_data_sm(*inside(wire.data_sm(1, FROM, TO, tlvs=()))).trailing_nuls == 0


def test_every_entry_of_a_submit_multi() -> None:
    entries = (sme(TO), dl("friends"), sme("1380"))
    buffer, start, end = inside(multi(3, *entries))
    found = peek_submit_multi(buffer, start, end)
    assert found[:4] == (FROM.encode(), (TO.encode(), None, b"1380"), None, 0)
    assert tuple(buffer[at:to] for at, to in found.entries) == entries


@pytest.mark.parametrize("number_of_dests", [0, 1, 3, 255])
def test_number_of_dests_must_agree(number_of_dests: int) -> None:
    with pytest.raises(Malformed):
        peek_submit_multi(*inside(multi(number_of_dests, sme(TO), sme(TO))))


def test_an_entry_that_is_neither_number_nor_list() -> None:
    with pytest.raises(Malformed):
        peek_submit_multi(*inside(multi(1, b"\3\1\1" + wire.cstring(TO))))


def test_a_replace_sm_names_no_destination() -> None:
    body = wire.cstring("id1") + b"\0\1" + wire.cstring(FROM) + b"\0\0\0\0\2hi"
    assert peek_replace_sm(*inside(wire.pack(REPLACE_SM, 1, body))) == Peek(FROM.encode(), (), None)


def test_a_bind() -> None:
    pdu = wire.bind(BIND_TRANSCEIVER, 1, "acme", "secret", system_type="x", address_range="^1")
    assert peek_bind(*inside(pdu)) == Bind(b"acme", b"secret", 0x34)


def test_a_bind_has_nothing_behind_it_but_padding() -> None:
    pdu = wire.bind(BIND_TRANSCEIVER, 1, "acme")
    padded = wire.pack(BIND_TRANSCEIVER, 1, pdu[16:] + b"\0\0\0")
    assert peek_bind(*inside(padded)).system_id == b"acme"
    for more in (b"\0\0\0\0", b"x", wire.tlv(0x0210, b"\x34")):
        with pytest.raises(Malformed):
            peek_bind(*inside(wire.pack(BIND_TRANSCEIVER, 1, pdu[16:] + more)))


@pytest.mark.parametrize(
    "fields",
    [
        {"system_id": "a" * 16},
        {"system_id": "acme", "password": "p" * 65},
        {"system_id": "acme", "system_type": "t" * 13},
        {"system_id": "acme", "address_range": "r" * 41},
    ],
)
def test_a_bind_with_a_field_too_long(fields: dict[str, str]) -> None:
    with pytest.raises(Malformed):
        peek_bind(*inside(wire.bind(BIND_TRANSCEIVER, 1, **fields)))


def test_one_door_for_every_pdu_that_carries_a_message() -> None:
    assert peek(*inside(wire.submit_sm(1, FROM, TO)), SUBMIT_SM).source == FROM.encode()
    assert peek(*inside(wire.deliver_sm(1, TO, FROM)), DELIVER_SM).source == TO.encode()
    assert peek(*inside(wire.data_sm(1, FROM, TO)), DATA_SM).source == FROM.encode()
    assert peek(*inside(multi(1, sme(TO))), SUBMIT_MULTI).destinations == (TO.encode(),)
    with pytest.raises(Malformed):
        peek(*inside(wire.pack(QUERY_SM, 1)), QUERY_SM)


# what is refused


@pytest.mark.parametrize(
    "fields",
    [
        {"service_type": "SIXSIX"},
        {"source": "1" * 21},
        {"destination": "1" * 21},
        {"schedule_delivery_time": "2" * 15},
        {"schedule_delivery_time": "2" * 17},
        {"validity_period": "2" * 15},
        {"sm_length": 3},
        {"sm_length": 255},
    ],
)
def test_fields_that_are_too_long_or_point_past_the_end(fields: dict[str, object]) -> None:
    arguments: dict[str, object] = {"source": FROM, "destination": TO, **fields}
    with pytest.raises(Malformed) as refusal:
        peek_submit_sm(*inside(wire.submit_sm(1, **arguments)))  # type: ignore[arg-type]
    assert refusal.value.command_status == 0x01


@pytest.mark.parametrize("length", range(16, 16 + 34))
def test_a_submit_sm_cut_short_anywhere(length: int) -> None:
    """What follows in the buffer must never be taken for its missing rest."""
    whole = wire.submit_sm(1, FROM, TO, b"")
    assert len(whole) > 49
    short = length.to_bytes(4, "big") + whole[4:length]
    with pytest.raises(Malformed):
        peek_submit_sm(*inside(short))


@pytest.mark.parametrize(("trailing", "nuls"), [(b"", 0), (b"\0", 1), (b"\0\0", 2), (b"\0\0\0", 3)])
def test_up_to_three_nuls_may_trail(trailing: bytes, nuls: int) -> None:
    pdu = wire.submit_sm(1, FROM, TO, trailing=trailing)
    assert peek_submit_sm(*inside(pdu)).trailing_nuls == nuls
    pdu = wire.submit_sm(1, FROM, TO, tlvs=[(0x0204, b"\0\1")], trailing=trailing)
    assert peek_submit_sm(*inside(pdu)).trailing_nuls == nuls


@pytest.mark.parametrize(
    ("tlvs", "trailing"),
    [
        ((), b"\0\0\0\0"),
        ((), b"\1"),
        ((), b"\0\0\1"),
        (((TAG_MESSAGE_PAYLOAD, b"text"),), b""),  # beside a short_message
        (((0x0204, b"\0\1"), (0x0204, b"\0\1")), b""),  # user_message_reference twice
        (((0x020C, b"\0\1"), (0x020C, b"\0\1")), b""),  # sar_msg_ref_num twice
        (((0x0203, b"\xa0"), (0x0203, b"\xa0")), b""),  # dest_subaddress twice
        ((), b"\x02\x04\x00\x03\x00\x01"),  # its length goes past the end
    ],
)
def test_a_tlv_area_that_two_readers_could_read_differently(
    tlvs: list[tuple[int, bytes]], trailing: bytes
) -> None:
    with pytest.raises(Malformed) as refusal:
        peek_submit_sm(*inside(wire.submit_sm(1, FROM, TO, tlvs=tlvs, trailing=trailing)))
    assert refusal.value.command_status == 0xC0


def test_one_text_in_message_payload_and_callback_numbers_may_repeat() -> None:
    payload = [(TAG_MESSAGE_PAYLOAD, b"x" * 60_000)]
    assert peek_submit_sm(*inside(wire.submit_sm(1, FROM, TO, b"", tlvs=payload)))
    callbacks = [(0x0381, b"\1\0\x31"), (0x0381, b"\1\0\x32")]
    assert peek_submit_sm(*inside(wire.submit_sm(1, FROM, TO, tlvs=callbacks)))


def test_the_cost_is_linear_whatever_comes() -> None:
    """A scanner that tried every split of a long run of the same octet would take for ever."""
    hostile = [wire.pack(SUBMIT_SM, 1, octet * 60_000) for octet in (b"\0", b"1", b"\0\1")]
    started = time.process_time()
    for pdu in hostile * 20:
        with pytest.raises(Malformed):
            peek_submit_sm(pdu, 0, len(pdu))
    assert time.process_time() - started < 2
