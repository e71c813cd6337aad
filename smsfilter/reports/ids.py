"""Numbers of reports as customers see and type them: a counter and a check digit behind it.

Digits only, as every keypad has them. The check digit is that of Damm: one wrong digit, or two
neighbours in the wrong order, never give another report's number, so that a slip of the thumb
withdraws nothing. It is no secret: whose report it is has to be asked of the records.
"""

from functools import reduce
from typing import Final

from smsfilter.reports.seen import Seen

WIDTH_MAX: Final = 12
"""Characters of the longest number: what the texts of the replies leave room for."""

_MOST: Final = 10 ** (WIDTH_MAX - 1) - 1

_SKIPPED: Final = str.maketrans("", "", " \n-")

# H. M. Damm 2004, a totally anti-symmetric quasigroup of order 10: row of the digit before,
# column of this one.
_QUASIGROUP: Final = tuple(
    tuple(map(int, row))
    for row in (
        *("0317598642", "7092154863", "4206871359", "1750983426", "6123045978"),
        *("3674209581", "5869720134", "8945362017", "9438617205", "2581436790"),
    )
)


def spell(n: int) -> str:
    """Return the number of the n-th report, n from 1 to 99,999,999,999; raise ValueError."""
    if not 1 <= n <= _MOST:
        raise ValueError(f"a report's counter is 1 to {_MOST}, not {n}")
    return f"{n}{_check(str(n))}"


def read(text: str) -> int | None:
    """Return n of a number as somebody typed it; None where there is no such number.

    Digits of any width or script; blanks, hyphens and what is not seen are skipped.
    """
    digits = Seen(text).chars.translate(_SKIPPED)
    if not (digits.isascii() and digits.isdigit()) or not 2 <= len(digits) <= WIDTH_MAX:
        return None
    if digits[0] == "0" or _check(digits):
        return None
    return int(digits[:-1])


def _check(digits: str) -> int:
    """Return the check digit of `digits`; 0 where the last of them is right."""
    return reduce(lambda row, digit: _QUASIGROUP[row][int(digit)], digits, 0)
