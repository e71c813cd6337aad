from typing import Any

import pytest

from smsfilter.smpp import const as c
from smsfilter.smpp.errors import Malformed, PDUError
from smsfilter.smpp.pdu import PDU, build, decode
from smsfilter.smpp.spec import DistributionList, SMEAddress, Unsuccessful

SUBMIT = PDU(
    c.SUBMIT_SM,
    sequence_number=7,
    fields={
        "source_addr": b"10657555",
        "dest_addr_ton": 1,
        "destination_addr": b"8613800138000",
        "validity_period": b"000007000000000R",
        "short_message": b"hi",
    },
)
# SMPP v3.4 §4.4.1, written out field by field.
SUBMIT_OCTETS = bytes.fromhex(
    "00000048 00000004 00000000 00000007"
    "00 00 00 313036353735353500 01 00 3836313338303031333830303000 00 00 00"
    "00 3030303030373030303030303030305200 00 00 00 00 02 6869"
)


def test_build_writes_the_specification() -> None:
    assert build(SUBMIT) == SUBMIT_OCTETS


def test_decode_names_every_field() -> None:
    pdu = decode(SUBMIT_OCTETS)
    assert (pdu.name, pdu.command_status, pdu.sequence_number) == ("submit_sm", 0, 7)
    assert pdu.fields == {
        "service_type": b"",
        "source_addr_ton": 0,
        "source_addr_npi": 0,
        "source_addr": b"10657555",
        "dest_addr_ton": 1,
        "dest_addr_npi": 0,
        "destination_addr": b"8613800138000",
        "esm_class": 0,
        "protocol_id": 0,
        "priority_flag": 0,
        "schedule_delivery_time": b"",
        "validity_period": b"000007000000000R",
        "registered_delivery": 0,
        "replace_if_present_flag": 0,
        "data_coding": 0,
        "sm_default_msg_id": 0,
        "short_message": b"hi",
    }


def test_every_cut_of_a_submit_sm_is_refused_with_rinvmsglen() -> None:
    for end in range(16, len(SUBMIT_OCTETS)):
        octets = end.to_bytes(4, "big") + SUBMIT_OCTETS[4:end]
        with pytest.raises(Malformed) as refusal:
            decode(octets)
        assert refusal.value.command_status == c.ESME_RINVMSGLEN


def test_a_wrong_command_length_is_refused_with_rinvcmdlen() -> None:
    for octets in (SUBMIT_OCTETS[:-1], SUBMIT_OCTETS + b"\0", SUBMIT_OCTETS[:15], b""):
        with pytest.raises(Malformed) as refusal:
            decode(octets)
        assert refusal.value.command_status == c.ESME_RINVCMDLEN


def test_an_unknown_command_is_refused_with_rinvcmdid() -> None:
    for command_id in (0, 0x0A, 0x00010200, 0x80000099):
        with pytest.raises(PDUError) as refusal:
            decode(b"\0\0\0\x10" + command_id.to_bytes(4, "big") + bytes(8))
        assert refusal.value.command_status == c.ESME_RINVCMDID
    with pytest.raises(PDUError) as refusal:
        build(PDU(0x99))
    assert refusal.value.command_status == c.ESME_RINVCMDID
    assert PDU(0x99).name == "0x00000099"


def test_tlvs_stay_raw_in_their_order() -> None:
    tlvs = [
        (0x1401, b"\0"),
        (c.TAG_CALLBACK_NUM, b"\1"),
        (0x1401, b""),
        (c.TAG_CALLBACK_NUM, b"\2"),
    ]
    pdu = decode(build(PDU(c.SUBMIT_SM, fields=SUBMIT.fields, tlvs=tlvs, trailing_nuls=3)))
    assert pdu.tlvs == tlvs
    assert pdu.trailing_nuls == 3
    assert pdu.tlv(0x1401) == b"\0"
    assert pdu.tlv(c.TAG_MESSAGE_PAYLOAD) is None


def test_a_text_is_found_where_it_stands() -> None:
    assert SUBMIT.message == b"hi"
    assert PDU(c.DATA_SM, tlvs=[(c.TAG_MESSAGE_PAYLOAD, b"long")]).message == b"long"
    assert PDU(c.DATA_SM).message == b""


def test_submit_multi_holds_addresses_and_lists() -> None:
    destinations = (SMEAddress(1, 1, b"8613800138000"), DistributionList(b"friends"))
    octets = build(PDU(c.SUBMIT_MULTI, fields={"dest_address": destinations}))
    assert b"\2\1\1\1" + b"8613800138000\0\2friends\0" in octets
    assert decode(octets).fields["dest_address"] == destinations


def test_submit_multi_resp_holds_what_was_not_reached() -> None:
    unsuccessful = (Unsuccessful(1, 1, b"8613800138000", 0x66),)
    octets = build(
        PDU(c.SUBMIT_MULTI_RESP, fields={"message_id": b"1", "unsuccess_sme": unsuccessful})
    )
    assert octets.endswith(b"1\0\1\1\1" + b"8613800138000\0\0\0\0\x66")
    assert decode(octets).fields["unsuccess_sme"] == unsuccessful


@pytest.mark.parametrize(
    ("command_id", "status", "fields", "body"),
    [
        (c.SUBMIT_SM_RESP, c.ESME_RX_R_APPN, {}, b""),
        (c.SUBMIT_SM_RESP, c.ESME_RX_R_APPN, {"message_id": b""}, b"\0"),
        (c.BIND_TRANSCEIVER_RESP, c.ESME_RBINDFAIL, {}, b""),
        (c.QUERY_SM_RESP, c.ESME_RQUERYFAIL, {"message_id": b"1", "final_date": b""}, b"1\0\0"),
        (c.SUBMIT_MULTI_RESP, c.ESME_RSYSERR, {"message_id": b""}, b"\0"),
        (c.DELIVER_SM_RESP, c.ESME_ROK, {}, b""),
        (c.DELIVER_SM_RESP, c.ESME_ROK, {"message_id": b""}, b"\0"),
    ],
)
def test_a_response_may_end_early(
    command_id: int, status: int, fields: dict[str, Any], body: bytes
) -> None:
    pdu = PDU(command_id, status, 1, fields)
    assert build(pdu)[16:] == body
    assert decode(build(pdu)) == pdu


def test_no_field_is_left_out_in_the_middle() -> None:
    skipped = PDU(c.QUERY_SM_RESP, c.ESME_RQUERYFAIL, fields={"message_state": 8})
    assert build(skipped)[16:] == b"\0\0\x08"
    followed = PDU(c.SUBMIT_SM_RESP, c.ESME_RX_R_APPN, tlvs=[(0x1401, b"x")])
    assert build(followed)[16:] == b"\0\x14\1\0\1x"


@pytest.mark.parametrize(
    "command_id", [c.SUBMIT_SM_RESP, c.BIND_RECEIVER_RESP, c.DATA_SM_RESP, c.SUBMIT_MULTI_RESP]
)
def test_an_accepting_response_is_whole(command_id: int) -> None:
    with pytest.raises(Malformed):
        decode(b"\0\0\0\x10" + command_id.to_bytes(4, "big") + bytes(8))


@pytest.mark.parametrize(
    ("pdu", "wrong"),
    [
        (PDU(c.SUBMIT_SM, fields={"destination_address": b""}), "destination_address"),
        (PDU(c.SUBMIT_SM, fields={"destination_addr": b"8" * 21}), "more than 21"),
        (PDU(c.SUBMIT_SM, fields={"destination_addr": b"86\0"}), "NUL"),
        (PDU(c.SUBMIT_SM, fields={"schedule_delivery_time": b"0"}), "neither 1 nor 17"),
        (PDU(c.SUBMIT_SM, fields={"short_message": b"x" * 256}), "sm_length"),
        (PDU(c.SUBMIT_SM, fields={"esm_class": 256}), "esm_class"),
        (PDU(c.SUBMIT_SM, fields={"esm_class": -1}), "esm_class"),
        (PDU(c.SUBMIT_MULTI), "number_of_dests is 0"),
        (PDU(c.SUBMIT_MULTI, fields={"dest_address": [DistributionList(b"")] * 256}), "number_of"),
        (PDU(c.ENQUIRE_LINK, command_status=-1), "header"),
        (PDU(c.ENQUIRE_LINK, sequence_number=1 << 32), "header"),
        (PDU(c.ENQUIRE_LINK, trailing_nuls=4), "tag 0"),
        (PDU(c.ENQUIRE_LINK, tlvs=[(0, b"")]), "TLV 0x0000"),
        (PDU(c.ENQUIRE_LINK, tlvs=[(0x10000, b"")]), "TLV 0x10000"),
        (PDU(c.ENQUIRE_LINK, tlvs=[(0x1401, bytes(65536))]), "TLV 0x1401"),
        (
            PDU(
                c.SUBMIT_SM,
                fields={"short_message": b"x"},
                tlvs=[(c.TAG_MESSAGE_PAYLOAD, b"y")],
            ),
            "text in both",
        ),
    ],
)
def test_what_cannot_be_read_cannot_be_built(pdu: PDU, wrong: str) -> None:
    with pytest.raises(Malformed, match=wrong):
        build(pdu)
