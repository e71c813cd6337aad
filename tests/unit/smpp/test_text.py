from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smsfilter.smpp import const as c
from smsfilter.smpp.errors import Malformed, PDUError
from smsfilter.smpp.text import (
    BINARY,
    GBK,
    GSM,
    LATIN_1,
    UCS_2,
    Concatenation,
    alphabet,
    concatenation,
    decode_text,
    encode_text,
    parse_udh,
    split_text,
)

UDHI = c.ESM_CLASS_UDHI


@pytest.mark.parametrize(
    ("data_coding", "text", "octets"),
    [
        (GSM, "hello @£$ ΔÑé", b"hello \0\1\2 \x10\x5d\5"),
        (GSM, "[€] {~}", b"\x1b\x3c\x1be\x1b\x3e \x1b\x28\x1b\x3d\x1b\x29"),
        (0x01, "plain", b"plain"),
        (LATIN_1, "café", b"caf\xe9"),
        (UCS_2, "您好", b"\x60\xa8\x59\x7d"),
        (UCS_2, "😀", b"\xd8\x3d\xde\x00"),
        (GBK, "您好 10086", b"\xc4\xfa\xba\xc3 10086"),
    ],
)
def test_texts_in_their_alphabets(data_coding: int, text: str, octets: bytes) -> None:
    assert decode_text(data_coding, octets) == text
    assert encode_text(data_coding, text) == octets


def test_every_gsm_octet_but_the_escape_is_one_character() -> None:
    octets = bytes(code for code in range(128) if code != 0x1B)
    text = decode_text(GSM, octets)
    assert len(set(text)) == len(octets)
    assert encode_text(GSM, text) == octets


def test_an_escape_to_nowhere_shows_the_basic_character() -> None:
    assert decode_text(GSM, b"\x1ba\x1b") == "a "
    assert decode_text(GSM, b"\x1b\x1bA") == " A"


@pytest.mark.parametrize(
    ("data_coding", "octets"),
    [
        (GSM, b"\x80"),
        (0x01, b"\xe9"),
        (UCS_2, b"\x60"),
        (UCS_2, b"\xd8\x3d"),
        (GBK, b"\xc4"),
        (0x02, b"binary"),
        (BINARY, b"binary"),
        (0x0C, b"reserved"),
        (0xF4, b"binary"),
    ],
)
def test_what_is_not_surely_text_is_refused(data_coding: int, octets: bytes) -> None:
    with pytest.raises(PDUError) as refusal:
        decode_text(data_coding, octets)
    assert refusal.value.command_status == c.ESME_RINVDCS


def test_something_is_shown_where_that_is_wanted() -> None:
    assert decode_text(GSM, b"a\x80b", errors="replace") == "a�b"
    assert decode_text(UCS_2, b"\0a\xd8\x3d", errors="replace") == "a�"


@pytest.mark.parametrize(
    ("data_coding", "text"), [(GSM, "您"), (GSM, "\x1b"), (LATIN_1, "您"), (GBK, "😀"), (4, "x")]
)
def test_a_text_that_does_not_fit_its_alphabet_is_refused(data_coding: int, text: str) -> None:
    with pytest.raises(PDUError):
        encode_text(data_coding, text)


@pytest.mark.parametrize(
    ("data_coding", "expected"),
    [
        (0x00, GSM),
        (0x08, UCS_2),
        (0x10, GSM),
        (0x18, UCS_2),
        (0x14, BINARY),
        (0xC8, GSM),
        (0xD0, GSM),
        (0xE0, UCS_2),
        (0xF0, GSM),
        (0xF5, BINARY),
        (0x0F, GBK),
    ],
)
def test_class_and_indication_bits_leave_the_alphabet(data_coding: int, expected: int) -> None:
    assert alphabet(data_coding) == expected


def test_udh_is_cut_off_the_text() -> None:
    elements, text = parse_udh(b"\x0b\0\3\xcc\2\1\x05\4\x0b\x84\x0b\x84rest")
    assert elements == [(0x00, b"\xcc\2\1"), (0x05, b"\x0b\x84\x0b\x84")]
    assert text == b"rest"
    assert parse_udh(b"\0text") == ([], b"text")


@pytest.mark.parametrize(
    "octets",
    [b"", b"\5\0\3\1\2", b"\1\0", b"\4\0\3\1\2\1", b"\6\0\3\1\2\1\0", b"\xff"],
    ids=["empty", "past the text", "no length", "past the header", "half an element", "far past"],
)
def test_an_incoherent_udh_is_malformed(octets: bytes) -> None:
    with pytest.raises(Malformed):
        parse_udh(octets)
    with pytest.raises(Malformed):
        concatenation(UDHI, octets)


SAR = [
    (c.TAG_SAR_MSG_REF_NUM, b"\x12\x34"),
    (c.TAG_SAR_TOTAL_SEGMENTS, b"\3"),
    (c.TAG_SAR_SEGMENT_SEQNUM, b"\2"),
]


@pytest.mark.parametrize(
    ("esm_class", "message", "tlvs", "expected"),
    [
        (0, b"\5\0\3\xcc\2\1text", [], None),
        (UDHI, b"\5\0\3\xcc\2\1text", [], Concatenation(0xCC, 2, 1)),
        (UDHI, b"\6\x08\4\x12\x34\3\2text", [], Concatenation(0x1234, 3, 2)),
        (UDHI, b"\x0a\0\3\1\2\1\0\3\2\2\2", [], Concatenation(2, 2, 2)),
        (UDHI, b"\5\0\3\xcc\2\0text", [], None),
        (UDHI, b"\5\0\3\xcc\2\3text", [], None),
        (UDHI, b"\6\5\4\x0b\x84\x0b\x84text", [], None),
        (0, b"text", SAR, Concatenation(0x1234, 3, 2)),
        (0, b"text", SAR[:2], None),
        (0, b"text", [*SAR[:2], (c.TAG_SAR_SEGMENT_SEQNUM, b"\4")], None),
        (UDHI, b"\5\0\3\xcc\2\1text", SAR, Concatenation(0xCC, 2, 1)),
    ],
)
def test_parts_of_a_longer_message(
    esm_class: int, message: bytes, tlvs: list[tuple[int, bytes]], expected: Concatenation | None
) -> None:
    assert concatenation(esm_class, message, tlvs) == expected


def test_concatenation_of_wrong_lengths_is_malformed() -> None:
    with pytest.raises(Malformed):
        concatenation(UDHI, b"\4\0\2\xcc\2text")
    with pytest.raises(Malformed):
        concatenation(0, b"", [(c.TAG_SAR_MSG_REF_NUM, b"\1"), *SAR[1:]])


@pytest.mark.parametrize(
    ("data_coding", "char", "whole", "part"),
    [(GSM, "a", 160, 153), (GSM, "€", 80, 76), (UCS_2, "您", 70, 67), (GBK, "您", 70, 67)],
)
def test_a_long_text_is_split(data_coding: int, char: str, whole: int, part: int) -> None:
    assert split_text(data_coding, char * whole, 1) == [encode_text(data_coding, char * whole)]
    parts = split_text(data_coding, char * (whole + 1), 0x1CC)
    assert [concatenation(UDHI, one) for one in parts] == [
        Concatenation(0xCC, 2, 1),
        Concatenation(0xCC, 2, 2),
    ]
    assert [len(decode_text(data_coding, one[6:])) for one in parts] == [part, whole + 1 - part]


def test_256_parts_are_too_many() -> None:
    assert len(split_text(UCS_2, "您" * 67 * 255, 1)) == 255
    with pytest.raises(PDUError):
        split_text(UCS_2, "您" * (67 * 255 + 1), 1)


@settings(deadline=None)
@given(st.text(st.sampled_from("aé€[]{}您😀 \n"), max_size=400))
def test_parts_joined_are_the_text(text: str) -> None:
    parts = split_text(UCS_2, text, 7)
    joined = parts[0] if len(parts) == 1 else b"".join(parse_udh(one)[1] for one in parts)
    assert decode_text(UCS_2, joined) == text
    assert all(len(one) <= 140 for one in parts)


@settings(deadline=None)
@given(st.integers(0, 255), st.binary(max_size=60))
def test_random_octets_raise_nothing_but_pdu_errors(data_coding: int, octets: bytes) -> None:
    for read in (
        lambda: decode_text(data_coding, octets),
        lambda: parse_udh(octets),
        lambda: concatenation(UDHI, octets, [(tag, octets) for tag, _ in SAR]),
    ):
        with suppress(PDUError):
            read()
