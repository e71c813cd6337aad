"""What a message says, and which part of a longer one it is (3GPP TS 23.038, 23.040).

Octets in, str out, by data_coding; the user data header (UDH) in front of the text; the pieces of
a concatenated message, told by UDH or by sar_* TLVs. Never decides whether a message may pass:
that hangs on addresses. What is not surely text raises PDUError, it is not guessed; a caller that
only wants to show something passes errors="replace".
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from smsfilter.smpp.const import (
    ESM_CLASS_UDHI,
    ESME_RINVDCS,
    TAG_SAR_MSG_REF_NUM,
    TAG_SAR_SEGMENT_SEQNUM,
    TAG_SAR_TOTAL_SEGMENTS,
)
from smsfilter.smpp.errors import Malformed, PDUError

GSM: Final = 0x00  # "SMSC default alphabet": taken as GSM 03.38, one octet a character
LATIN_1: Final = 0x03
BINARY: Final = 0x04
UCS_2: Final = 0x08
GBK: Final = 0x0F  # reserved in SMPP, GBK with Chinese operators

# data_coding → Python's codec. UCS-2 is read as UTF-16BE: handsets send emoji as surrogates.
_CODECS: Final[dict[int, str]] = {
    0x01: "ascii",
    LATIN_1: "latin-1",
    0x06: "iso8859-5",
    0x07: "iso8859-8",
    UCS_2: "utf-16-be",
    GBK: "gbk",
}

# 3GPP TS 23.038 §6.2.1. 0x1B leads to the extension table; alone it shows as a space.
_ESCAPE: Final = 0x1B
_GSM_BASIC: Final = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ ÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM_EXTENSION: Final = dict(
    zip(b"\x0a\x14\x28\x29\x2f\x3c\x3d\x3e\x40\x65", "\f^{}\\[~]|€", strict=True)
)
_TO_GSM: Final = {
    char: bytes((code,)) for code, char in enumerate(_GSM_BASIC) if code != _ESCAPE
} | {char: bytes((_ESCAPE, code)) for code, char in _GSM_EXTENSION.items()}

_IEI_CONCATENATED_8_BIT: Final = 0x00  # 3GPP TS 23.040 §9.2.3.24.1
_IEI_CONCATENATED_16_BIT: Final = 0x08  # §9.2.3.24.8
_USER_DATA_MAX: Final = 140  # octets of one SMS; as many as 160 characters of 7 bits
_CHARACTERS_MAX: Final = 160
_CONCATENATED_UDH_LENGTH: Final = 6  # 05 00 03 reference total part; 7 characters of 7 bits


class Concatenation(NamedTuple):
    """Which part (from 1) of how many this is; parts belong together by their reference."""

    reference: int
    total: int
    part: int


def alphabet(data_coding: int) -> int:
    """Return the data_coding that names the alphabet alone, without class or indication bits.

    Those are the groups of 3GPP TS 23.038 §4, which SMPP v3.4 §5.2.19 takes over in part and
    which senders use as a whole (0x10 and 0x18 are flash messages).
    """
    match data_coding >> 4:
        case 0x1:
            return data_coding & 0x0C
        case 0xC | 0xD:
            return GSM
        case 0xE:
            return UCS_2
        case 0xF:
            return data_coding & BINARY
        case _:
            return data_coding


def decode_text(data_coding: int, octets: bytes, errors: str = "strict") -> str:
    """Return the text of `octets`, which stand without UDH; raise PDUError."""
    coding = alphabet(data_coding)
    if coding == GSM:
        return _decode_gsm(octets, errors)
    try:
        return octets.decode(_codec(coding), errors)
    except UnicodeDecodeError as error:
        raise PDUError(f"not in data_coding {data_coding}: {error.reason}", ESME_RINVDCS) from None


def encode_text(data_coding: int, text: str) -> bytes:
    """Return the octets of `text`; raise PDUError where it has a character too many."""
    coding = alphabet(data_coding)
    try:
        if coding == GSM:
            return b"".join([_TO_GSM[char] for char in text])
        return text.encode(_codec(coding))
    except (KeyError, UnicodeEncodeError):
        raise PDUError(
            f"not all of the text is in data_coding {data_coding}", ESME_RINVDCS
        ) from None


def _codec(coding: int) -> str:
    try:
        return _CODECS[coding]
    except KeyError:
        raise PDUError(f"data_coding {coding} is no text known here", ESME_RINVDCS) from None


def _decode_gsm(octets: bytes, errors: str) -> str:
    chars = []
    escaped = False
    for code in octets:
        if code >= len(_GSM_BASIC):
            if errors == "strict":
                raise PDUError(f"octet 0x{code:02X} is not in GSM 03.38", ESME_RINVDCS)
            chars.append("�")
        elif escaped:
            # What the extension table does not have is shown as in the basic one (§6.2.1.1).
            chars.append(_GSM_EXTENSION.get(code, _GSM_BASIC[code]))
        elif code != _ESCAPE:
            chars.append(_GSM_BASIC[code])
        escaped = code == _ESCAPE and not escaped
    return "".join(chars) + (_GSM_BASIC[_ESCAPE] if escaped else "")


def parse_udh(octets: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """Split a message with UDHI set into its information elements and the text behind them.

    3GPP TS 23.040 §9.2.3.24: a length, then identifier, length and value of each element, which
    must fill the header exactly. Raises Malformed.
    """
    end = 1 + octets[0] if octets else 1
    if end > len(octets):
        raise Malformed("UDH goes past the end of the message")
    elements = []
    start = 1
    while start < end:
        following = start + 2 + octets[start + 1] if start + 2 <= end else end + 1
        if following > end:
            raise Malformed("element goes past the end of the UDH")
        elements.append((octets[start], octets[start + 2 : following]))
        start = following
    return elements, octets[end:]


def concatenation(
    esm_class: int, message: bytes, tlvs: Iterable[tuple[int, bytes]] = ()
) -> Concatenation | None:
    """Say which part of a longer message this is, None where it is whole; raise Malformed.

    `message` is short_message or message_payload as on the wire. A UDH decides before sar_*
    (SMPP v3.4 §5.3.2.22 wants one or the other). Impossible numbers (part 0, part 3 of 2) count
    as none, as 3GPP TS 23.040 §9.2.3.24.1 tells the handset; of repeated elements the last is used.
    """
    found = None
    if esm_class & ESM_CLASS_UDHI:
        for identifier, value in parse_udh(message)[0]:
            if identifier in (_IEI_CONCATENATED_8_BIT, _IEI_CONCATENATED_16_BIT):
                if len(value) != (3 if identifier == _IEI_CONCATENATED_8_BIT else 4):
                    raise Malformed(f"concatenation element of {len(value)} octets")
                found = _possible(int.from_bytes(value[:-2], "big"), *value[-2:]) or found
    return found or _sar(dict(tlvs))


def _sar(values: dict[int, bytes]) -> Concatenation | None:
    """Take the three sar_* parameters, which mean something only together (§5.3.2.22 to 24)."""
    reference = values.get(TAG_SAR_MSG_REF_NUM)
    total = values.get(TAG_SAR_TOTAL_SEGMENTS)
    part = values.get(TAG_SAR_SEGMENT_SEQNUM)
    if reference is None or total is None or part is None:
        return None
    if (len(reference), len(total), len(part)) != (2, 1, 1):
        raise Malformed("sar_* parameters of other lengths than 2, 1 and 1")
    return _possible(int.from_bytes(reference, "big"), total[0], part[0])


def _possible(reference: int, total: int, part: int) -> Concatenation | None:
    return Concatenation(reference, total, part) if 1 <= part <= total else None


def split_text(data_coding: int, text: str, reference: int) -> list[bytes]:
    """Return the messages that carry `text`: itself where it fits, else parts that need UDHI set.

    No character is cut in two. For those who send: simulators, tests, replies.
    """
    limit = _CHARACTERS_MAX if alphabet(data_coding) == GSM else _USER_DATA_MAX
    whole = encode_text(data_coding, text)
    if len(whole) <= limit:
        return [whole]
    limit -= 7 if limit == _CHARACTERS_MAX else _CONCATENATED_UDH_LENGTH
    parts = [b""]
    for char in text:
        octets = encode_text(data_coding, char)
        if len(parts[-1]) + len(octets) > limit:
            parts.append(b"")
        parts[-1] += octets
    if len(parts) > 255:
        raise PDUError(f"{len(parts)} parts, where 255 is the most", ESME_RINVDCS)
    head = (5, _IEI_CONCATENATED_8_BIT, 3, reference & 0xFF, len(parts))
    return [bytes((*head, number)) + part for number, part in enumerate(parts, 1)]
