"""Octets are read as what they are, whatever data_coding says; and always read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsfilter.reports.text import Text, read_text

CHINESE = "106575550001*您好"


@pytest.mark.parametrize(
    ("data_coding", "octets", "text", "encoding"),
    [
        (0x00, b"106*you @ me".replace(b"@", b"\0"), "106*you @ me", "gsm"),
        (0x00, b"10657555*\x1be 5", "10657555*€ 5", "gsm"),
        (0x00, CHINESE.encode("gbk"), CHINESE, "gbk"),
        (0x00, CHINESE.encode(), CHINESE, "utf-8"),
        (0x00, CHINESE.encode("utf-16-be"), CHINESE, "ucs-2"),
        (0x00, "106*😀".encode("gb18030"), "106*😀", "gb18030"),
        (0x10, b"flash", "flash", "gsm"),
        (0xF0, b"flash", "flash", "gsm"),
        (0x01, b"106@[x]", "106@[x]", "ascii"),
        (0x01, CHINESE.encode("gbk"), CHINESE, "gbk"),
        (0x03, "106*café".encode("latin-1"), "106*café", "latin-1"),
        (0x03, "106*café".encode(), "106*café", "utf-8"),
        (0x03, "106*créée, größer, ¡Él!".encode("latin-1"), "106*créée, größer, ¡Él!", "latin-1"),
        (0x03, "106*ÄÖ £50 ²".encode("latin-1"), "106*ÄÖ £50 ²", "latin-1"),
        (0x03, "106＊低息贷款，点击".encode("gbk"), "106＊低息贷款，点击", "gbk"),
        (0x03, "106*亖亗".encode("gbk"), "106*亖亗", "gbk"),
        (0x08, CHINESE.encode("utf-16-be"), CHINESE, "ucs-2"),
        (0x08, "106*😀".encode("utf-16-be"), "106*😀", "ucs-2"),
        (0x08, b"\xff\xfe" + CHINESE.encode("utf-16-le"), CHINESE, "utf-16-le"),
        (0x18, "您好".encode("utf-16-be"), "您好", "ucs-2"),
        (0x0F, CHINESE.encode("gbk"), CHINESE, "gbk"),
        (0x0F, "106*😀".encode("gb18030"), "106*😀", "gb18030"),
        (0x0F, "106*您".encode(), "106*您", "utf-8"),
        (0x06, "106*Ю".encode("iso8859-5"), "106*Ю", "data_coding 6"),
        (0x04, CHINESE.encode(), CHINESE, "utf-8"),
        (0x00, b"", "", "gsm"),
    ],
)
def test_a_text_is_read_by_what_fits(
    data_coding: int, octets: bytes, text: str, encoding: str
) -> None:
    assert read_text(data_coding, octets) == Text(text, encoding, False)


@pytest.mark.parametrize(
    ("data_coding", "octets", "text"),
    [
        (0x00, b"106*\xff\xff", "106*\ufffd\ufffd"),
        (0x08, CHINESE.encode("utf-16-be")[:-1], CHINESE[:-1] + "\ufffd"),
        (0x08, "106*😀".encode("utf-16-be")[:-2], "106*\ufffd"),
        (0x0F, "106*您".encode("gbk")[:-1], "106*\ufffd"),
        (0x04, b"\xff\xfe106", "\ufffd\ufffd106"),
        (0x0C, b"106\xff", "106\ufffd"),
    ],
)
def test_what_cannot_be_read_is_marked(data_coding: int, octets: bytes, text: str) -> None:
    found = read_text(data_coding, octets)
    assert found.text == text
    assert found.is_damaged


@given(st.integers(0, 255), st.binary(max_size=300))
def test_any_octets_are_read(data_coding: int, octets: bytes) -> None:
    found = read_text(data_coding, octets)
    assert found.is_damaged <= ("\ufffd" in found.text)


@given(st.sampled_from([(0x00, "utf-8"), (0x01, "utf-8"), (0x08, "utf-16-be"), (0x0F, "gbk")]))
def test_digits_and_star_survive_every_coding(coding: tuple[int, str]) -> None:
    assert read_text(coding[0], CHINESE.encode(coding[1])).text == CHINESE
