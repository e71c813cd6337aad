"""Which name a text is signed with, however it is encoded."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smsfilter.rules.signatures import (
    SIGNATURE_MOST,
    SignatureReader,
    may_be_signed,
    signatures,
    without_udh,
)
from smsfilter.smpp.text import encode_text


@pytest.mark.parametrize(
    ("data_coding", "message", "names"),
    [
        (8, "【某公司】你好".encode("utf-16-be"), ("某公司",)),
        (8, "你好【某公司】".encode("utf-16-be"), ("某公司",)),
        (8, "【甲】你好[乙]".encode("utf-16-be"), ("甲", "乙")),
        (8, "［ACME］hi".encode("utf-16-be"), ("ACME",)),
        (8, "\u200b \u3000【某公司】\n".encode("utf-16-be"), ("某公司",)),
        (15, "【某公司】你好".encode("gbk"), ("某公司",)),
        (0, encode_text(0, "[ACME] hi"), ("ACME",)),
        (0, encode_text(0, "hi [ACME]"), ("ACME",)),
        (0, b"[ACME] hi", ("ACME",)),  # ASCII, whatever the SMSC calls its default
        (0, "【某公司】hi".encode(), ("某公司",)),
        (3, b"[ACME] hi", ("ACME",)),
        (4, "【某公司】你好".encode("utf-16-be"), ("某公司",)),
        (8, "你好".encode("utf-16-be"), ()),
        (8, "你【某公司】好".encode("utf-16-be"), ()),
        (8, "【】你好".encode("utf-16-be"), ()),
        (8, b"", ()),
        (8, b"\x30", ()),
        (0, b"[" * 160, ()),
        (0, b"[" + b"x" * (SIGNATURE_MOST + 1) + b"] hi", ()),
    ],
)
def test_names(data_coding: int, message: bytes, names: tuple[str, ...]) -> None:
    assert set(signatures(data_coding, message)) >= set(names)
    if not names:
        assert signatures(data_coding, message) == ()
    reader = SignatureReader()
    for _ in range(2):
        assert set(reader(data_coding, message)) >= set(names)


def test_an_unclosed_bracket_signs_nothing() -> None:
    for text in ("【某公司 hello", "hello 某公司】", "【某公司"):
        assert "某公司" not in signatures(8, text.encode("utf-16-be"))


LETTERS = st.characters(codec="gbk", exclude_characters="【】[]［］")
NAMES = st.text(LETTERS, min_size=1, max_size=20)


@given(NAMES.map(str.strip).filter(bool), NAMES, st.sampled_from(["utf-16-be", "utf-8", "gbk"]))
@example("某公司", "你好", "gbk")
def test_a_signed_text_is_found_in_every_encoding(name: str, text: str, encoding: str) -> None:
    coding = {"utf-16-be": 8, "gbk": 15, "utf-8": 0}[encoding]
    for signed in (f"【{name}】{text}x", f"x{text}【{name}】"):
        octets = signed.encode(encoding)
        assert may_be_signed(octets)
        assert name in signatures(coding, octets)
        assert name in SignatureReader()(coding, octets)


@given(st.integers(0, 255), st.binary(max_size=160))
def test_random_octets_never_raise(data_coding: int, message: bytes) -> None:
    found = signatures(data_coding, message)
    assert all(0 < len(name) <= SIGNATURE_MOST for name in found)
    assert may_be_signed(message) or not found
    SignatureReader()(data_coding, message)


def test_the_text_behind_a_udh() -> None:
    part, text = without_udh(0x40, b"\5\0\3\7\2\1hi", [])
    assert part is not None
    assert (part.reference, part.total, part.part, text) == (7, 2, 1, b"hi")
    assert without_udh(0, b"\5\0\3\7\2\1hi", []) == (None, b"\5\0\3\7\2\1hi")
    assert without_udh(0x40, b"\xff\0", []) == (None, b"\xff\0")
