import struct

import pytest

from smsfilter.smpp.const import (
    SUBMIT_SM,
    TAG_CALLBACK_NUM,
    TAG_DEST_SUBADDRESS,
    TAG_DESTINATION_PORT,
    TAG_MESSAGE_PAYLOAD,
    TAG_SAR_MSG_REF_NUM,
    TAG_SAR_SEGMENT_SEQNUM,
    TAG_SAR_TOTAL_SEGMENTS,
    TAG_SOURCE_PORT,
    TAG_USER_MESSAGE_REFERENCE,
)
from smsfilter.smpp.errors import Malformed
from smsfilter.smpp.tlv import check_tlvs, read_tlvs


def tlv(tag: int, value: bytes = b"x") -> bytes:
    return struct.pack(">HH", tag, len(value)) + value


def check(area: bytes, has_text: bool = False) -> int:
    """Check an area in the middle of other octets: nothing outside it may matter."""
    before, after = b"\0\1\2", b"\0\0\0\0\0\0"
    buffer = before + area + after
    end = len(before) + len(area)
    for octets in (buffer, bytearray(buffer), memoryview(buffer)):
        nuls = check_tlvs(octets, len(before), end, has_text, SUBMIT_SM)
    return nuls


@pytest.mark.parametrize("nuls", range(4))
@pytest.mark.parametrize("area", [b"", tlv(0x1401), tlv(0x1401) + tlv(TAG_MESSAGE_PAYLOAD)])
def test_up_to_three_nuls_trail(area: bytes, nuls: int) -> None:
    assert check(area + bytes(nuls)) == nuls


@pytest.mark.parametrize("nuls", range(4, 13))
@pytest.mark.parametrize("area", [b"", tlv(0x1401)])
def test_more_nuls_are_refused(area: bytes, nuls: int) -> None:
    with pytest.raises(Malformed, match="tag 0"):
        check(area + bytes(nuls))


@pytest.mark.parametrize("rest", [b"\1", b"\0\1", b"\1\0", b"\0\0\1", b"\1\0\0", b"\0\1\0"])
def test_other_octets_behind_are_refused(rest: bytes) -> None:
    with pytest.raises(Malformed, match="after the last TLV") as refusal:
        check(tlv(0x1401) + rest)
    assert refusal.value.command_status == 0xC0


@pytest.mark.parametrize("missing", [1, 2, 5])
def test_a_value_that_ends_too_early_is_refused(missing: int) -> None:
    with pytest.raises(Malformed, match="past the end"):
        check(tlv(0x1401, b"12345")[:-missing])


@pytest.mark.parametrize(
    "tag",
    [
        TAG_MESSAGE_PAYLOAD,
        TAG_SAR_MSG_REF_NUM,
        TAG_SAR_TOTAL_SEGMENTS,
        TAG_SAR_SEGMENT_SEQNUM,
        TAG_DEST_SUBADDRESS,
        TAG_USER_MESSAGE_REFERENCE,
        TAG_SOURCE_PORT,
        TAG_DESTINATION_PORT,
    ],
)
def test_what_has_a_meaning_stands_once(tag: int) -> None:
    assert check(tlv(tag) + tlv(0x1401)) == 0
    with pytest.raises(Malformed, match="more than once"):
        check(tlv(tag) + tlv(0x1401) + tlv(tag))
    with pytest.raises(Malformed, match="more than once"):
        check(tlv(tag, b"") + tlv(tag))


@pytest.mark.parametrize("tag", [TAG_CALLBACK_NUM, 0x1401, 0x3FFF, 0xFFFF])
def test_others_may_repeat(tag: int) -> None:
    assert check(tlv(tag) * 3) == 0


def test_text_stands_in_one_place() -> None:
    assert check(tlv(TAG_MESSAGE_PAYLOAD), has_text=False) == 0
    assert check(tlv(TAG_MESSAGE_PAYLOAD, b""), has_text=True) == 0
    with pytest.raises(Malformed, match="text in both"):
        check(tlv(TAG_MESSAGE_PAYLOAD), has_text=True)


def test_tlvs_are_read_in_their_order() -> None:
    area = tlv(2, b"b") + tlv(1, b"") + tlv(2, b"bb")
    assert read_tlvs(b"--" + area, 2, 2 + len(area)) == [(2, b"b"), (1, b""), (2, b"bb")]
