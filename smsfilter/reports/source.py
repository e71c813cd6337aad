"""The numbers that customers report: found in a text, and spelled as the keys of blocks are.

A reported source may be a service number of up to 20 digits, a short code, a handset, a land line
or a header. `number_at` reads a number as people write it, `is_likely` says whether digits at the
head of a text are a number at all: texts begin with prices, dates and one-time codes too.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Final, NamedTuple

from smsfilter.rules.headers import has_controls, source_forms
from smsfilter.rules.numbers import readings

SOURCE_MAX: Final = 20  # digits; source_addr holds no more (SMPP v3.4 §4.4.1)
SOURCE_MIN: Final = 3


class Kind(StrEnum):
    """How a source was named."""

    NUMBER = "number"
    HEADER = "header"
    SIGNATURE = "signature"
    """Only by the name in brackets in the text itself, which anybody may write: a hint."""


@dataclass(frozen=True, slots=True)
class Source:
    """Whom a customer names."""

    written: str
    """As the customer wrote it; a slice of the text."""
    normalised: str
    """As in the members `source:…` of the blocks."""
    kind: Kind

    @property
    def member(self) -> str:
        """What stands for it in the block of a customer, where no company is known."""
        return f"source:{self.normalised}"


class Number(NamedTuple):
    """A number found in a text."""

    digits: str
    """Normalised."""
    end: int
    """Where in the characters it ends."""
    is_bare: bool
    """Nothing but digits, country code aside."""
    is_international: bool
    """Written with + or 00."""


class _Plan(NamedTuple):
    """How numbers are written in one country, and which digits are likely to be one."""

    number: re.Pattern[str]
    likely: re.Pattern[str]
    glued: re.Pattern[str]
    """So surely a number that no separator is needed behind it."""
    handset: re.Pattern[str]


# Hyphens and dots may stand between all digits, blanks only where a number is commonly grouped:
# a blank is also what separates the number from the text. A group that goes on as a word is text.
_TIGHT: Final = r"\d+(?:[.-]\d+(?!\w))*+"
_FOREIGN: Final = r"(?:\+|00)[1-9]\d{0,14}(?:\)?[ .(-]{1,2}\d{2,14}(?!\w)){0,5}"
_GROUPED: Final = {
    "86": (
        r"0?1[3-9]\d(?:[ .-]\d{4}[ .-]?\d{4}|[ .-]\d{8}|[ .-]\d{3}[ .-]\d{5}|\d{4}[ .-]\d{4}"
        r"|\d[ .-]\d{3}[ .-]\d{4})",
        r"106\d?(?: \d{3,8}(?!\w)){1,5}",
        r"\(?0\d{2,3}\)?[ -]?\d{7,8}(?:-\d{1,6}(?!\w))?",
        r"[48]00[ -]\d{3,4}[ -]\d{3,4}",
    )
}
_LIKELY: Final = {
    "86": r"1[12]\d|1[0-2]\d{3,18}|9[56]\d{3,18}|1[3-9]\d{9}|14\d{11}|0[1-9]\d{8,17}|[48]00\d{7}"
}
_GLUED: Final = {"86": r"106\d{5,17}|1[3-9]\d{9}"}
_HANDSET: Final = {"86": r"0?(1[3-9]\d{9})"}
_HANDSET_WITHIN: Final = {"86": r"1[3-9]\d{9}"}
_NUMBER_WITHIN: Final = r"\d{9}"
_DIGIT_LIKE: Final = str.maketrans("OoIl|", "00111")
_ELSEWHERE: Final = r"\d{5,6}|[1-9]\d{8,19}|0\d{8,11}"

_DATE: Final = re.compile(
    r"(?:19|20)\d\d([-.])\d{1,2}\1\d{1,2}|\d{1,2}([-.])\d{1,2}\2(?:19|20)\d\d"
)

_QUANTITY: Final = re.compile(
    r"[ ]?(?:元|块|亿|折|万(?=[元块人\W]|$)|积分|金币|RMB|%|个(?![人体])|条(?!件)|名(?!额)"
    r"|[GM]B\b|[是为]您|is\b|as\b)",
    re.IGNORECASE,
)
_ONE_TIME: Final = re.compile(
    r"[^。\n]{0,16}(?:[验校]证?[码碼]|校验码|动态[码密]|驗證碼)|[^.\n]{0,30}\b(?:code|otp|password)\b",
    re.IGNORECASE,
)
_CODE_MAX: Final = 8  # digits; one-time codes and amounts have no more
_NEVER_A_CODE: Final = ("10", "95", "96")  # how short codes of operators and banks begin


@cache
def _plan(country_code: str) -> _Plan:
    code = re.escape(country_code)
    prefix = rf"(?:\(?(?:\+|00){code}\)?[ .-]?|\({code}\)[ .-]?|{code}[ -](?=\d))?"
    grouped = _GROUPED.get(country_code, ())
    own = "|".join((*grouped, _TIGHT))
    # With + and no known groups of its own, a national number is grouped like a foreign one.
    foreign = rf"(?!\(?(?:\+|00){code})\(?{_FOREIGN}" if grouped else rf"\(?{_FOREIGN}"
    return _Plan(
        re.compile(rf"(?:{foreign}|{prefix}(?P<own>{own}))(?!\d)"),
        re.compile(_LIKELY.get(country_code, _ELSEWHERE)),
        re.compile(_GLUED.get(country_code, "(?!)")),
        re.compile(_HANDSET.get(country_code, "(?!)")),
    )


def number_at(chars: str, index: int, country_code: str) -> Number | None:
    """Read the number that begins at `index`; None where there is none of 3 to 20 digits."""
    plan = _plan(country_code)
    found = plan.number.match(chars, index)
    if found is None or _DATE.fullmatch(found[0]):
        return None
    forms = source_forms(found[0].encode(), country_code)
    if forms.digits is None or not SOURCE_MIN <= len(forms.digits) <= SOURCE_MAX:
        return None
    handset = plan.handset.fullmatch(forms.digits)
    return Number(
        handset[1] if handset else forms.digits,
        found.end(),
        (found["own"] or "").isdigit(),
        found[0].lstrip("(").startswith(("+", "00")),
    )


def is_likely(number: Number, following: str, country_code: str, *, announced: bool) -> bool:
    """Whether digits before a blank, a comma or the like are a number, going by what follows.

    `announced`: something before said so, such as "举报号码".
    """
    digits = number.digits
    if len(digits) <= _CODE_MAX:
        if _QUANTITY.match(following):
            return False
        if not announced and _ONE_TIME.match(following) and digits[:2] not in _NEVER_A_CODE:
            return False
    if announced or number.is_international:
        return True
    if not number.is_bare and len(digits) <= _CODE_MAX:
        return False
    return _plan(country_code).likely.fullmatch(digits) is not None


def is_glued(number: Number, country_code: str, *, announced: bool) -> bool:
    """Whether digits that run into the text without a separator are a number."""
    plan = _plan(country_code)
    return (plan.likely if announced else plan.glued).fullmatch(number.digits) is not None


def named_number(written: str, digits: str) -> Source:
    """Build the source of a number, from its digits as normalised."""
    return Source(written, digits, Kind.NUMBER)


def named_text(written: str, kind: Kind, country_code: str) -> Source:
    """Build the source of a header or of a signature."""
    return Source(written, source_forms(written.encode(), country_code).normalised, kind)


def is_name(text: str, country_code: str) -> bool:
    """Whether a text can be a header: nothing in it controls a line, or is somebody's number.

    A number with a word to it is a person, and would stand in clear as the name of a sender.
    """
    digits = re.sub(r"\D", "", text.translate(_DIGIT_LIKE))
    within = _HANDSET_WITHIN.get(country_code, _NUMBER_WITHIN)
    return not has_controls(text) and re.search(within, digits) is None


def is_never_block(source: str, never_block: Collection[str], country_code: str) -> bool:
    """Whether a normalised source is on the list, exactly, country code and trunk 0 aside."""
    if source in never_block:
        return True
    if not (source.isascii() and source.isdigit()):
        return False
    found = {number.decode() for number in readings(source.encode(), country_code)}
    return not found.isdisjoint(never_block)
