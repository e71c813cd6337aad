"""What a source_addr may be read as: the digits of a service number, or the text of a header.

Two foldings, both pure. `fold` levels what senders vary without meaning anything by it (case,
width, spaces, characters without a width): equal folds are the same header. `shapes` goes on to
what only the eye takes for the same (letters of other scripts, accents, dots and dashes between
letters): equal shapes with unequal folds are a look-alike, which finds the company that is
imitated but never counts as its header. Digits in place of letters are left alone, as `A1` and
`AL` are honest names of two companies.
"""

import unicodedata
from dataclasses import dataclass

from smsfilter.rules.numbers import SEPARATORS

CODED_FROM = 7
"""Bare digits fewer than this do not start with a country code: it is a short service code."""

_UNSEEN = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0") | {
    chr(code) for code in (*range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))
}
"""Characters without a shape that are no format characters (category Cf) by their category."""

_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Format characters that reorder what is seen: a header holding one may read as another."""

_GAPS = frozenset(("Zs", "Zl", "Zp", "Cf", "Cc", "Pd", "Pc", "Me"))
_DOTS = frozenset(".,:;'\"`\u00b4\u00b7\u2018\u2019\u201c\u201d\u2022\u30fb")

_LOOK_ALIKES = {
    # Cyrillic, Greek, Armenian, Coptic, Cherokee, Lisu, Canadian syllabics; Latin beyond ASCII
    "a": "Аа" "Αα" "Ⲁ" "Ꭺ" "ꓮ" "ᗅ" "ɑᴀ",
    "b": "ВвЬь" "Ββ" "Ⲃ" "ᏴᏏ" "ꓐ" "ᗷ" "ʙɓƀ",
    "c": "Сс" "Ⲥⲥ" "Ꮯꮯ" "ꓚ" "ᴄƈ",
    "d": "Ԁԁ" "ᎠᏧ" "ꓓ" "ᗪ" "ᴅđĐɖɗ",
    "e": "ЕеҽЄє" "Εε" "Ⲉ" "Ꭼ" "ꓰ" "ᴇꬲ℮",
    "f": "Ϝ" "ք" "ꓝ" "ꜰƒꬵ",
    "g": "Ԍ" "ց" "ᏀᏳ" "ꓖ" "ɡɢ",
    "h": "НнҺһ" "Η" "հ" "Ⲏ" "ᎻᏂ" "ꓧ" "ᕼ" "ʜħĦ",
    "i": "ІіӀ" "Ιι" "Ⲓ" "Ꭵ" "ꓲ" "ıɪɩƖ",
    "j": "Јј" "Ϳϳ" "Ꭻ" "ꓙ" "ᒍ" "ᴊȷ",
    "k": "Кк" "Κκ" "Ⲕⲕ" "Ꮶ" "ꓗ" "ᴋƙ",
    "l": "ӏ" "Լ" "Ⳑ" "Ꮮ" "ꓡ" "ᒪ" "ʟłŁƚǀ",
    "m": "Мм" "ΜϺ" "Ⲙ" "Ꮇ" "ꓟ" "ᗰ" "ᴍ",
    "n": "пП" "Νη" "ոռ" "Ⲛ" "ꓠ" "ɴƞ",
    "o": "Оо" "Οοσ" "Օօ" "Ⲟⲟ" "Ჿჿ" "ꓳ" "ᴏøØɵ",
    "p": "Рр" "Ρρ" "Ⲣⲣ" "Ꮲ" "ꓑ" "ᑭ" "ᴘþ",
    "q": "Ԛԛ" "գզ" "ɋ",
    "r": "г" "ᎡᏒ" "ꓣ" "ᖇ" "ʀƦᴦ",
    "s": "Ѕѕ" "Տ" "ᏕᏚꮪ" "ꓢ" "ꜱ",
    "t": "Тт" "Ττ" "Ⲧ" "Ꭲ" "ꓔ" "ᴛŧŦ",
    "u": "υ" "Սս" "ꓴ" "ᑌ" "ᴜʋ",
    "v": "Ѵѵ" "ν" "Ꮩꮩ" "ꓦ" "ᐯ" "ᴠ",
    "w": "Ԝԝѡ" "ω" "ա" "ᎳᏔꮃ" "ꓪ" "ᴡɯ",
    "x": "Хх" "Χχ" "Ⲭ" "ꓫ" "╳" "ᕁ",
    "y": "УуҮү" "Υγ" "Ⲩ" "ᎩᎽ" "ꓬ" "ʏɣ",
    "z": "Ζ" "Ꮓꮓ" "ꓜ" "ᴢƶƵ",
    # Katakana in place of Chinese characters
    "口": "ロ", "二": "ニ", "一": "ー", "工": "エ", "力": "カ", "夕": "タ", "卜": "ト", "八": "ハ",
}  # fmt: skip
"""What the eye takes for what, after the confusables of Unicode TS #39; both cases where needed."""

_LUNATE = str.maketrans("\u03f9\u03f2", "Cc")
"""Sigmas shaped like a C, which NFKC would turn into common ones."""

_TO_SEEN = str.maketrans({alike: seen for seen, row in _LOOK_ALIKES.items() for alike in row})


@dataclass(frozen=True, slots=True)
class SourceForms:
    """A source_addr as read for one country."""

    normalised: str
    """How logs, approvals and `source:…` members of a block name it; one name for all spellings."""
    digits: str | None
    """National digits, without a country code of our own; None = it is not a number."""
    international: bool
    """The country code stood before `digits`."""
    texts: tuple[str, ...]
    """Every reading of the octets as text, the likeliest first; empty for a number."""


def source_digits(text: str) -> tuple[str, bool] | None:
    """Strip a number's separators and one leading + or 00; None where that leaves no number.

    The second value tells whether there was a + or 00.
    """
    if not text.isascii():
        return None
    bare = text.encode("ascii").translate(None, SEPARATORS).decode("ascii")
    digits = bare[1:] if bare.startswith("+") else bare.removeprefix("00")
    prefixed = digits != bare
    if not digits.isdigit() or (prefixed and digits.startswith("0")):
        return None
    return digits, prefixed


def source_forms(source: bytes, country_code: str) -> SourceForms:
    """Read a source_addr in every way that its octets allow."""
    found = source_digits(source.decode("latin-1"))
    if found is not None:
        digits, prefixed = found
        national = digits.removeprefix(country_code)
        if national in ("", digits) or not (prefixed or len(digits) >= CODED_FROM):
            return SourceForms(digits, digits, False, ())
        return SourceForms(national, national, True, ())
    utf8, gbk = _decoded(source, "utf-8"), _decoded(source, "gbk")
    texts = (utf8, gbk) if utf8 is not None else (gbk, source.decode("latin-1"))
    unique = dict.fromkeys(text for text in texts if text is not None)
    name = gbk if utf8 is None else utf8
    if name is None or has_controls(name):
        return SourceForms(f"0x{source.hex()}", None, False, tuple(unique))
    return SourceForms(fold(name), None, False, tuple(unique))


def _decoded(octets: bytes, encoding: str) -> str | None:
    try:
        return octets.decode(encoding)
    except UnicodeDecodeError:
        return None


def has_controls(text: str) -> bool:
    """Whether anything in `text` controls a line or its direction: no registered header has any."""
    return any(
        char in _TURNING or unicodedata.category(char) in ("Cc", "Zl", "Zp") for char in text
    )


def fold(text: str) -> str:
    """Level case, width, spaces and characters without a width."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    kept = "".join(
        char
        for char in folded
        if char in _TURNING or not (unicodedata.category(char) in ("Zs", "Cf") or char in _UNSEEN)
    )
    return unicodedata.normalize("NFKC", kept)


def shapes(text: str) -> tuple[str, ...]:
    """Reduce a text to what the eye sees of it, in capitals and in small letters.

    Both, because a letter may look like one of another script in one case only. Digits of any
    script become ASCII digits.
    """
    wide = unicodedata.normalize("NFKC", text.translate(_LUNATE))
    return tuple(dict.fromkeys(_shape(cased) for cased in (wide.upper(), wide.lower())))


def _shape(text: str) -> str:
    seen = unicodedata.normalize("NFD", text).translate(_TO_SEEN)
    return "".join(_seen(char) for char in seen.casefold())


def _seen(char: str) -> str:
    category = unicodedata.category(char)
    if category in _GAPS or char in _DOTS or char in _UNSEEN:
        return ""
    placed = unicodedata.combining(char)
    if placed == 1 or placed >= 200:  # accents; vowel signs of Asian scripts are told apart
        return ""
    return str(unicodedata.decimal(char)) if category == "Nd" else char
