"""Who the customer is: every number that a destination_addr may be read as.

A block is asked for under each reading, so that no spelling of a number slips past it: whatever an
SMSC might do with a prefix, a trunk 0 or a doubled country code is done here first. TON and NPI
are hints that senders set at will, so they play no part. What cannot surely be read gives no
reading at all, and the caller refuses it; nothing is ever cut or padded to fit. The octets on the
wire stay as they are.

`Reader` is on the hot path: a plain international number of the own country is recognised by
three look-ups and is its own only reading.
"""

import re
import unicodedata
from functools import cache

SEPARATORS = b" -.()"
"""What people write between digits. Tabs, line ends and everything else make it no number."""

_DIGITS_MAX = 15  # E.164; anything longer carries a carrier's dial prefix or is no number
_LOCAL_MAX = 6  # up to here digits are a short code, never a subscriber of some small country

_WRITTEN_MAX = _DIGITS_MAX + 3  # with 00 or a trunk 0 before it
_GROUP = re.compile(r"[+\uff0b]?\d+")
_RUN = re.compile(r"[+\uff0b]?\d(?:[\s\-.()\u2010-\u2015\uff0d/·]{0,2}\d){6,}")
"""Digits, with what people write between those of one number."""

_PLANS: dict[str, tuple[str, int, int]] = {
    "1": ("[2-9]", 10, 10),
    "7": ("[3-9]", 10, 10),
    "45": ("[1-9]", 8, 8),
    "47": ("[1-9]", 8, 8),
    "53": ("[1-9]", 8, 10),
    "55": ("[1-9]", 10, 11),
    "64": ("[1-9]", 8, 10),
    "65": ("[1-9]", 8, 8),
    "86": ("(?!86)[1-9]", 10, 11),
    "91": ("[1-9]", 10, 10),
    "95": ("[1-9]", 8, 10),
}
"""Country code → how a national number begins (without its trunk 0), its least and most digits.

Only where the defaults below would take a number for a short code, or one for another.
"""

_MOBILE: dict[str, str] = {"55": r"\d{10,11}", "86": r"1[3-9]\d{9}"}
"""Country code → bare digits that are meant as national ones, rather than as another country's."""

_DIALLED: dict[str, str] = {"86": r"1\d{13,14}"}
"""Country code → bare digits that can only be a number behind a carrier's dial prefix.

With 86: 193 and a mobile number, 17951 and one of a fixed line. No country that begins with 1 has
numbers as long, and a network that strips the prefix would reach a customer nobody has asked for.
"""


class Reader:
    """`readings` for one country code, prepared: keep it, and call it with each destination."""

    __slots__ = (
        "_all_plain",
        "_code",
        "_dialled",
        "_head",
        "_heads",
        "_lengths",
        "_mobile",
        "_national",
    )

    def __init__(self, country_code: str) -> None:
        default = ("[1-9]", 7, 11) if len(country_code) == 3 else ("[1-9]", 9, 12)
        begin, shortest, longest = _PLANS.get(country_code, default)
        national = rf"{begin}\d{{{shortest - 1},{longest - 1}}}"
        self._code = code = country_code.encode("ascii")
        self._national = re.compile(national.encode()).fullmatch
        self._dialled = re.compile(_DIALLED.get(country_code, "(?!)").encode()).fullmatch
        self._mobile = re.compile(_MOBILE.get(country_code, r"\d{1,10}").encode()).fullmatch
        # What a plain international number of this country begins with: the code and as many digits
        # again. Where lengths differ by as much as a code, one behind another may be a doubling.
        doubled = country_code if longest - shortest >= len(code) else ""
        following = (str(n) for n in range(10 ** (len(code) - 1), 10 ** len(code)))
        self._heads = frozenset(
            code + tail.encode() for tail in following if re.match(begin, tail) and tail != doubled
        )
        self._head = 2 * len(code)
        self._lengths = frozenset(range(len(code) + shortest, len(code) + longest + 1))
        plain = code + (rb"(?!%b)" % doubled.encode() if doubled else b"") + begin.encode()
        self._all_plain = {
            size: re.compile(rb"(?:%b\d{%d}(?: |\Z))+" % (plain, size - len(code) - 1)).fullmatch
            for size in self._lengths
        }

    def __call__(self, destination: bytes) -> tuple[bytes, ...]:
        """Every number that `destination` may be read as: see `readings`."""
        if (
            destination[: self._head] in self._heads
            and len(destination) in self._lengths
            and destination.isdigit()
        ):
            return (destination,)
        return self._read(destination)

    def are_plain(self, destinations: list[bytes]) -> bool:
        """Whether all are plain international numbers of the own country, and of one length."""
        size, together = len(destinations[0]), b" ".join(destinations)
        if len(together) != len(destinations) * (size + 1) - 1:
            return False  # one is longer or shorter, if only by a blank
        fits = self._all_plain.get(size)
        return fits is not None and fits(together) is not None

    def subscriber(self, source: bytes) -> bytes | None:
        """The number of a person whom `source` names: see `subscriber`."""
        found = self._read(source)
        if not found or len(found[0]) <= _LOCAL_MAX:
            return None
        canonical, code = found[0], self._code
        if not canonical.startswith(code):
            written = source.translate(None, SEPARATORS)
            return canonical if written.startswith((b"+", b"00")) else None
        rest = canonical[len(code) :]
        own = self._mobile if code.decode() in _MOBILE else self._national
        return canonical if own(rest) else None

    def _read(self, destination: bytes) -> tuple[bytes, ...]:
        digits = destination.translate(None, SEPARATORS)
        international = True
        if digits[:1] == b"+":
            digits = digits[1:]
        elif digits[:2] == b"00":
            digits = digits[2:]
        else:
            international = False
        if not digits.isdigit() or len(digits) > _DIGITS_MAX:
            return ()
        if digits[:1] != b"0":
            found = self._international(digits) if international else self._plain(digits)
        elif international or digits == b"0":
            return ()
        else:
            found = self._after_trunk(digits[1:])
        return tuple(dict.fromkeys(number for number in found if len(number) <= _DIGITS_MAX))

    def _international(self, digits: bytes) -> list[bytes]:
        """Digits with a country code; the own one may be doubled or followed by a trunk 0."""
        code = self._code
        if not digits.startswith(code):
            return [digits]
        rest = digits[len(code) :].lstrip(b"0")
        found = []
        if self._national(rest):
            found.append(code + rest)
            if self._is_domestic(rest):
                found += self._international(rest)
        elif rest.startswith(code):
            found += self._international(rest)
        elif rest:
            found.append(rest)  # a short code, or a machine's number, is keyed without the code
        return [*found, digits]

    def _plain(self, digits: bytes) -> list[bytes]:
        """Bare digits: international, national, another country's, or a short code."""
        code = self._code
        if self._dialled(digits):
            return []
        if self._is_domestic(digits):
            return self._international(digits)
        if self._national(digits):
            both = [code + digits, digits]
            return both if self._mobile(digits) else both[::-1]
        if digits.startswith(code):
            return self._international(digits)
        return [digits] if len(digits) <= _LOCAL_MAX else [digits, code + digits]

    def _after_trunk(self, rest: bytes) -> list[bytes]:
        """Read what follows one 0: national, or international that lost a 0 of its prefix 00."""
        if not self._national(rest):
            return self._plain(rest)
        found = [self._code + rest, self._code + b"0" + rest]  # some countries keep the 0
        return found + self._international(rest) if self._is_domestic(rest) else found

    def _is_domestic(self, digits: bytes) -> bool:
        """Whether this is the own country code and, zeros aside, a number of this country."""
        if not digits.startswith(self._code):
            return False
        rest = digits[len(self._code) :].lstrip(b"0")
        return self._national(rest) is not None or self._is_domestic(rest)


_reader = cache(Reader)


def readings(destination: bytes, country_code: str) -> tuple[bytes, ...]:
    """Every number that `destination` may be read as, as ASCII digits; () where it is none.

    The first is the canonical one, as the keys of blocks are written. A number written with + or
    00 is never taken for a national one; bare digits are asked as both.
    """
    return _reader(country_code)(destination)


def subscriber(source: bytes, country_code: str) -> bytes | None:
    """The key of the customer that a source_addr names, where it is a person's number; else None.

    Service numbers have no other form than people's in most countries: whoever owns a source by the
    registry is asked for first. Where mobile numbers are told by their digits, only these count.
    """
    return _reader(country_code).subscriber(source)


def customer_key(written: str, country_code: str) -> str | None:
    """The key of a customer's blocks, from a number as people write it; None where it is none.

    Short codes have no customer.
    """
    found = readings(unicodedata.normalize("NFKC", written).strip().encode(), country_code)
    return found[0].decode() if found and len(found[0]) > _LOCAL_MAX else None


def masked_in(text: str, country_code: str) -> str:
    """Mask the numbers of persons in what somebody wrote, however; numbers of tickets stay.

    Digits of any alphabet count, also with a sign or two between them: a number that is written as
    138-0013-8000, or behind that of a ticket, is found as well.
    """

    def shown(run: re.Match[str]) -> str:
        groups = list(_GROUP.finditer(run[0]))
        said, at, first = "", 0, 0
        while first < len(groups):
            start = groups[first].start()
            last, masked = _person(groups[first:], country_code)
            if last:
                said += run[0][at:start] + masked
                at = groups[first + last - 1].end()
            first += max(last, 1)
        return said + run[0][at:]

    return _RUN.sub(shown, text)


def _person(groups: list[re.Match[str]], country_code: str) -> tuple[int, str]:
    """How many of these groups of digits are one person's number, masked; 0: none of them."""
    for count in range(len(groups), 0, -1):
        written = "".join(unicodedata.normalize("NFKC", each[0]) for each in groups[:count])
        plus, digits = written[:1] == "+", written.replace("+", "")
        ascii_digits = "".join(str(unicodedata.digit(each)) for each in digits)
        if len(ascii_digits) <= _LOCAL_MAX:
            break
        if len(ascii_digits) <= _WRITTEN_MAX and subscriber(
            (b"+" if plus else b"") + ascii_digits.encode(), country_code
        ):
            return count, "+" * plus + mask(ascii_digits)
    return 0, ""


def mask(digits: str) -> str:
    """Shorten a number for logs: `138****8000`, with or without 86, and never more of it."""
    if not (digits.isascii() and digits.isdigit()) or len(digits) <= _LOCAL_MAX:
        return "*" * len(digits)
    if len(digits) == 13 and digits.startswith("861"):
        digits = digits[2:]
    if len(digits) < 11:
        return "*" * (len(digits) - 2) + digits[-2:]
    return digits[:3] + "*" * (len(digits) - 7) + digits[-4:]
