"""The parts of longer reports, put together again.

Reports quote what they complain of, so many come in parts, told by UDH (3GPP TS 23.040
§9.2.3.24.1) or sar_* (SMPP v3.4 §5.3.2.22): out of order, doubled, with one missing for ever.
Parts are joined as octets, since a character or an escape may be cut in two; where one is missing,
what is there is read piece by piece with a mark between. Keeps nothing and knows no clock: whoever
stores the parts asks with what is stored and with the time, in µs.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from smsfilter.reports.parse import Report, parse
from smsfilter.reports.sms import Delivered
from smsfilter.reports.source import Kind
from smsfilter.reports.text import Text, read_text
from smsfilter.rules.signatures import without_udh

WAIT_US: Final = 60_000_000
"""How long after its latest part a message waits for the others."""

PARTS_MAX: Final = 255
"""Of one message: its total is an octet."""

HELD_MAX_PER_CUSTOMER: Final = 2 * PARTS_MAX
"""Parts that wait for others: a customer who sends two messages at once may have as many."""

HELD_MAX: Final = 100_000
"""Parts that wait, of all customers: 5,000 reports in that minute, each of 20 parts; some 14 MB."""

MISSING: Final = "[…]"
"""Stands in the text where parts are missing."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a message; a message that came whole is part 1 of 1."""

    reference: int
    total: int
    number: int
    """From 1 to `total`."""
    data_coding: int
    octets: bytes
    """The text, without UDH."""

    @property
    def is_whole(self) -> bool:
        """Whether there is nothing to wait for."""
        return self.total == 1


@dataclass(frozen=True, slots=True)
class Held:
    """A part that is stored, and when it came, in µs."""

    part: Part
    at: int
    row: int = 0
    """Where it is stored."""


@dataclass(frozen=True, slots=True)
class Run:
    """Parts that follow one another in one alphabet, joined."""

    data_coding: int
    octets: bytes


@dataclass(frozen=True, slots=True)
class Joined:
    """What is there of one message."""

    runs: tuple[Run | None, ...]
    """In order; None where parts are missing."""
    missing: tuple[int, ...]
    """Their numbers."""

    @property
    def is_complete(self) -> bool:
        """Whether no part is missing."""
        return not self.missing

    def text(self) -> Text:
        """Read it; damaged where a part is missing."""
        texts = [
            None if run is None else read_text(run.data_coding, run.octets) for run in self.runs
        ]
        there = [one for one in texts if one is not None]
        return Text(
            "".join(MISSING if one is None else one.text for one in texts),
            "+".join(dict.fromkeys(one.encoding for one in there)),
            len(there) < len(texts) or any(one.is_damaged for one in there),
        )


@dataclass(frozen=True, slots=True)
class Gathered:
    """The parts of one customer that are one message, doubles left out."""

    held: tuple[Held, ...]
    """In the order in which they came."""

    @property
    def parts(self) -> tuple[Part, ...]:
        """What is there."""
        return tuple(one.part for one in self.held)

    @property
    def rows(self) -> tuple[int, ...]:
        """Where they are stored."""
        return tuple(one.row for one in self.held)

    @property
    def first_at(self) -> int:
        """When the first of them came, in µs."""
        return self.held[0].at

    @property
    def latest_at(self) -> int:
        """When the latest of them came, in µs."""
        return self.held[-1].at

    def is_due(self, now: int) -> bool:
        """Whether to take what is there: it is all, or the rest has been waited for."""
        return len(self.held) == self.held[0].part.total or now - self.latest_at >= WAIT_US


def part_of(sms: Delivered) -> Part:
    """Return what the SMSC has brought, without UDH.

    A part that cannot be one (0 of 0, 3 of 2, a UDH that goes past its end) is a whole message.
    """
    place, octets = without_udh(sms.esm_class, sms.octets, list(sms.tlvs.items()))
    if place is None or place.total == 1:
        return Part(0, 1, 1, sms.data_coding, octets)
    return Part(place.reference, place.total, place.part, sms.data_coding, octets)


def gather(held: Iterable[Held]) -> list[Gathered]:
    """Tell which of one customer's parts are one message, in the order in which they began.

    References are octets that handsets use again. A part of the same reference begins another
    message if it comes 60 s after the latest, or says something else in the place of one that is
    there.
    """
    found: list[dict[int, Held]] = []
    latest: dict[tuple[int, int], int] = {}
    for one in sorted(held, key=lambda one: one.at):
        part = one.part
        key = part.reference, part.total
        if key in latest:
            group = found[latest[key]]
            there = group.get(part.number)
            latest_at = next(reversed(group.values())).at
            if one.at - latest_at < WAIT_US and (there is None or there.part == part):
                group.setdefault(part.number, one)
                continue
        latest[key] = len(found)
        found.append({part.number: one})
    return [Gathered(tuple(group.values())) for group in found]


def joined(parts: Iterable[Part]) -> Joined:
    """Join parts of one message, in whatever order, doubled or not; raise ValueError for none."""
    there = {part.number: part for part in parts}
    if not there:
        raise ValueError("no part to join")
    total = next(iter(there.values())).total
    row = [there.get(number) for number in range(1, total + 1)]
    runs: list[Run | None] = []
    for coding, group in groupby(row, lambda part: None if part is None else part.data_coding):
        octets = b"".join(part.octets for part in group if part is not None)
        runs.append(None if coding is None else Run(coding, octets))
    missing = tuple(number for number, part in enumerate(row, 1) if part is None)
    return Joined(tuple(runs), missing)


def first_part_names(parts: Iterable[Part], country_code: str = "86") -> Report | None:
    """Read the report as far as its beginning is there, if that names a number or a header.

    Then a block need not wait for the rest. A number that ends with the first part may go on in
    the next one, and a name in brackets is only a hint: neither counts.
    """
    run = joined(parts).runs[0]
    if run is None:
        return None
    found = parse(read_text(run.data_coding, run.octets).text, country_code)
    if isinstance(found, Report) and found.source.kind is not Kind.SIGNATURE:
        return found
    return None
