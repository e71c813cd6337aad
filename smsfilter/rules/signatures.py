"""The name that a sender writes into a text: 【某公司】 or [ACME], at its head or at its tail.

Finds what a customer reads as the sender's name, for the registry to say whose it is. Whether a
text can have one at all is told by its first and last octets, as most have none. A text is read
in every way that its octets allow, because data_coding is the sender's word; what cannot be read
has no signature, and is judged by its addresses alone.
"""

import re
from collections.abc import Iterator
from contextlib import suppress

from smsfilter.smpp.const import ESM_CLASS_UDHI
from smsfilter.smpp.errors import Malformed, PDUError
from smsfilter.smpp.text import Concatenation, concatenation, decode_text, parse_udh

SIGNATURE_MOST = 40
"""Characters of a name in brackets, at most; longer ones are text."""

_PAIRS = {"【": "】", "[": "]", "［": "］"}
BRACKETS = "".join((*_PAIRS, *_PAIRS.values()))
"""All that a name may stand in; no part of a name."""
_BLANK = " \t\r\n\f\v\u00a0\u3000\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"
"""What may stand before or behind the brackets without being seen."""
_ENCODINGS = ("utf-16-be", "utf-8", "gbk", "latin-1")


def _edges(characters: str, edge: slice) -> Iterator[bytes]:
    """The two octets at the edge of every text that has one of these characters there."""
    for encoding in _ENCODINGS:
        for char in characters:
            for other in map(chr, range(256)):  # where one octet is a character
                pair = char + other if edge.start is None else other + char
                yield pair.encode(encoding, "ignore")[edge]


_HEAD, _TAIL = slice(None, 2), slice(-2, None)
_HEADS = frozenset((*_edges("".join(_PAIRS) + _BLANK, _HEAD), b"\x1b\x3c"))
_TAILS = frozenset((*_edges("".join(_PAIRS.values()) + _BLANK, _TAIL), b"\x1b\x3e"))
"""0x1B3C and 0x1B3E are the square brackets of GSM 03.38."""

_common = re.compile(
    rb"\x30\x10(?:..){1,40}?\x30\x11|\[[^\]]{1,40}\]"
    rb"|\xa1\xbe.{1,80}?\xa1\xbf|\xe3\x80\x90.{1,120}?\xe3\x80\x91",
    re.DOTALL,
).match
"""A name in brackets at the very head: in UCS-2, ASCII, GBK or UTF-8."""
_MEMO_MOST = 1024


def may_be_signed(message: bytes) -> bool:
    """Whether a text can have a signature: False is certain, True is not. UDH does not count."""
    return message[_HEAD] in _HEADS or message[_TAIL] in _TAILS


def without_udh(
    esm_class: int, message: bytes, tlvs: list[tuple[int, bytes]]
) -> tuple[Concatenation | None, bytes]:
    """Which part of a longer text this is, None where it is whole, and what it says."""
    try:
        part = concatenation(esm_class, message, tlvs)
        return part, parse_udh(message)[1] if esm_class & ESM_CLASS_UDHI else message
    except Malformed:
        return None, message


class SignatureReader:
    """`signatures` for one session; knows again the heads that its texts begin with."""

    __slots__ = ("_memo",)

    def __init__(self) -> None:
        self._memo: dict[tuple[int, bytes], tuple[str, ...]] = {}

    def __call__(self, data_coding: int, message: bytes) -> tuple[str, ...]:
        """See `signatures`."""
        head = _common(message)
        if head is None or message[_TAIL] in _TAILS:
            return signatures(data_coding, message)
        key = data_coding, head[0]
        names = self._memo.get(key)
        if names is None:
            if len(self._memo) >= _MEMO_MOST:
                self._memo.clear()
            names = self._memo[key] = signatures(*key)
        return names


def signatures(data_coding: int, message: bytes) -> tuple[str, ...]:
    """The names in brackets at the head and at the tail of a text."""
    if not may_be_signed(message):
        return ()
    found: dict[str, None] = {}
    for text in _texts(data_coding, message):
        bare = text.strip(_BLANK)
        for opening, closing in _PAIRS.items():
            if bare.startswith(opening) and closing in bare:
                found[bare[1:].partition(closing)[0]] = None
            if bare.endswith(closing) and opening in bare:
                found[bare[:-1].rpartition(opening)[2]] = None
    return tuple(name for name in found if 0 < len(name) <= SIGNATURE_MOST)


def _texts(data_coding: int, message: bytes) -> Iterator[str]:
    with suppress(PDUError):
        yield decode_text(data_coding, message, "replace")
    for encoding in _ENCODINGS[:-1]:
        with suppress(UnicodeDecodeError):
            yield message.decode(encoding)
