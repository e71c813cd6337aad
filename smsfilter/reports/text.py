"""What the octets of a deliver_sm say, whatever its data_coding claims.

`smpp.text` reads an alphabet strictly. Handsets and SMSCs in between label texts wrongly, most of
all with data_coding 0, the SMSC's own default. So the alphabet that is claimed is tried first,
strictly, and others after it only where they read everything without an error and the claim does
not. What nobody can read is shown with U+FFFD in it and marked as damaged. Never raises.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from smsfilter.smpp.errors import PDUError
from smsfilter.smpp.text import GBK, GSM, LATIN_1, UCS_2, alphabet, decode_text

_UTF_8: Final = "utf-8"
_CHINESE: Final = ("gbk", "gb18030")
_NO_LATIN_1: Final = re.compile(
    rb"[\x80-\x9f]|^(?=.*[\xb0-\xd7][\xa1-\xfe])(?:[\0-\x7f]|[\xa1\xa3\xb0-\xd7][\xa1-\xfe])+$",
    re.DOTALL,
)
"""Control characters, which no text has; or letters beyond ASCII in twos only, each two of them a
common Chinese character (GB 2312, level 1) or its punctuation."""

_ELSE: Final[dict[int, tuple[str, ...]]] = {
    GSM: (_UTF_8, *_CHINESE),
    0x01: (_UTF_8, *_CHINESE),
    LATIN_1: _CHINESE,
    UCS_2: (),  # most octets are some character of UCS-2, but few texts of others are UCS-2
    GBK: ("gb18030", _UTF_8),
}
"""data_coding → what else to try, in this order. UTF-8 hardly ever fits by chance; GBK may."""


@dataclass(frozen=True, slots=True)
class Text:
    """A text as it was read."""

    text: str
    encoding: str
    """What it was read as; for the record."""
    is_damaged: bool
    """Something could not be read, or was not there: U+FFFD stands in its place."""


def read_text(data_coding: int, octets: bytes) -> Text:
    """Read the octets of a whole message, without UDH (SMPP v3.4 §5.2.19)."""
    coding = alphabet(data_coding)
    for encoding, read in _readings(coding, octets):
        try:
            return Text(read(), encoding, False)
        except (PDUError, UnicodeDecodeError):
            continue
    try:
        return Text(decode_text(coding, octets, "replace"), _name(coding), True)
    except PDUError:  # binary or reserved: whatever of it is text
        return Text(octets.decode(_UTF_8, "replace"), _UTF_8, True)


def _readings(coding: int, octets: bytes) -> Iterator[tuple[str, Callable[[], str]]]:
    """Give what is tried, the likeliest first."""
    if coding == GSM and _looks_like_ucs_2(octets):
        yield _name(UCS_2), lambda: octets.decode("utf-16-be")
    if coding == UCS_2 and octets.startswith(b"\xff\xfe"):
        yield "utf-16-le", lambda: octets[2:].decode("utf-16-le")
    if coding == LATIN_1 and not octets.isascii():
        yield _UTF_8, lambda: octets.decode(_UTF_8)
        if _NO_LATIN_1.search(octets):
            for encoding in _CHINESE:
                yield encoding, _decoder(octets, encoding)
    yield _name(coding), lambda: decode_text(coding, octets)
    for encoding in _ELSE.get(coding, (_UTF_8,)):
        yield encoding, _decoder(octets, encoding)


def _decoder(octets: bytes, encoding: str) -> Callable[[], str]:
    return lambda: octets.decode(encoding)


def _looks_like_ucs_2(octets: bytes) -> bool:
    """Whether two characters of ASCII in UCS-2 stand first: in GSM 03.38 they would be `@1@0`."""
    return len(octets) % 2 == 0 and octets[0:1] == octets[2:3] == b"\0"


def _name(coding: int) -> str:
    names = {GSM: "gsm", 0x01: "ascii", LATIN_1: "latin-1", UCS_2: "ucs-2", GBK: "gbk"}
    return names.get(coding, f"data_coding {coding}")
