"""What the records say of one customer and one company: what was forwarded, and when.

A violation is a forward whose batch had read a seq not below the block's: the block was in the
index by then. Clocks of several hosts are shown and never decide; only where a record has no seq
to go by does time count, and then it makes doubt and not a finding. Pure: records and manifests
are arguments.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from smsfilter.decisions.layout import Kind
from smsfilter.decisions.manifest import CLOCKS_APART_US, Expected, Gap, Manifest, gaps

EVERYBODY = "*"
"""In place of a company: the customer is not to be reached by any."""
_FORWARDED = frozenset({Kind.FORWARD, Kind.UNCHECKED})
_REFUSED = frozenset({Kind.REFUSED, Kind.PUT_OFF})


class Decided(NamedTuple):
    """One record with its names: a verdict, or a receipt."""

    at: int
    """µs since 1970, by the clock of the proxy."""
    proxy: str
    segment: int
    slot: int
    kind: Kind
    companies: tuple[str, ...]
    """The one that sends first ('' where none is known), then others whose blocks were asked."""
    source: str
    seq: int
    """What its batch had read of the index; of a receipt the CRC-32 of its message id."""
    policy: str
    reason: str
    """Of a refusal; of a forward what a rule in shadow had against it; of a receipt its stat."""


class Pair(NamedTuple):
    """A block: one customer, whom the records know by a token, and whom she does not hear."""

    companies: frozenset[str]
    """All ids of the company, those that were merged into it as well."""
    sources: frozenset[str]
    """Sources that are blocked themselves, as the records spell them, whoever sends from them."""
    changed_seq: int
    """The seq with which the block came to the index."""
    created_at: int
    """µs since 1970, by the clock of the desk."""
    unnamed: frozenset[str] = frozenset()
    """Sources that are the company's by now, where the record knows of no company."""

    def names(self, one: Decided) -> bool:
        """Whether a record is of this pair."""
        if EVERYBODY in self.companies or one.source in self.sources:
            return True
        if not any(one.companies):
            return one.source in self.unnamed
        return not self.companies.isdisjoint(one.companies)


class Result(Enum):
    """What is shown; the value is the exit status of a command that says it."""

    PROVEN = 0
    """Nothing was forwarded since the block, and nothing is missing."""
    FORWARDED = 1
    NOT_PROVABLE = 3
    """No forward is known, but not everything is."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What the records show of a pair."""

    pair: Pair
    until: int
    """Up to when, in µs."""
    violations: tuple[Decided, ...]
    """Forwarded by a batch that had read the block."""
    doubtful: tuple[Decided, ...]
    """Forwarded about then or later, and no seq tells whether the block was in the index."""
    refused: tuple[Decided, ...]
    """Submissions refused since, for this block or something else."""
    before: tuple[Decided, ...]
    """Forwarded before the block was in the index."""
    delivered_after: tuple[Decided, ...]
    """Receipts that came after the block, of what the SMSC had accepted before it."""
    gaps: tuple[Gap, ...]

    @property
    def result(self) -> Result:
        """What is shown."""
        if self.violations:
            return Result.FORWARDED
        return Result.NOT_PROVABLE if self.gaps or self.doubtful else Result.PROVEN


def prove(
    pair: Pair,
    records: Iterable[Decided],
    manifests: Iterable[Manifest],
    expected: Iterable[Expected],
    until: int,
    *,
    known: Iterable[Manifest] = (),
) -> Proof:
    """Judge a pair by all `records` of its customer, of all proxies; `until` in µs.

    `manifests` are of all segments that there are, `expected` the proxies that must have some,
    `known` manifests that were seen before: a segment that is gone, or another one now, is a gap
    as well, also at the end of a chain.
    """
    there = list(manifests)
    mine = sorted(one for one in records if pair.names(one))
    forwarded = [(_standing(one, pair), one) for one in mine if one.kind in _FORWARDED]
    return Proof(
        pair,
        until,
        tuple(one for standing, one in forwarded if standing is _Standing.AFTER),
        tuple(one for standing, one in forwarded if standing is _Standing.UNKNOWN),
        tuple(one for one in mine if one.kind in _REFUSED and _is_later(one, pair)),
        tuple(one for standing, one in forwarded if standing is _Standing.BEFORE),
        tuple(one for one in mine if one.kind is Kind.RECEIPT and one.at >= pair.created_at),
        (
            *gaps(there, tuple(expected), pair.created_at, until),
            *_gone(there, known, pair.created_at),
        ),
    )


class _Standing(Enum):
    """Where a forward stands to the block."""

    BEFORE = "before"
    UNKNOWN = "unknown"
    AFTER = "after"


def _standing(one: Decided, pair: Pair) -> _Standing:
    if one.seq >= max(pair.changed_seq, 1):
        return _Standing.AFTER
    unsure = one.kind is Kind.UNCHECKED or one.seq == 0
    if unsure and one.at >= pair.created_at - CLOCKS_APART_US:
        return _Standing.UNKNOWN
    return _Standing.BEFORE


def _gone(there: list[Manifest], known: Iterable[Manifest], since: int) -> Iterator[Gap]:
    found = {one.id: one for one in there}
    gone: list[Manifest] = []
    for one in sorted(known, key=lambda one: (one.proxy, one.number)):
        now = found.get(one.id)
        if one.until < since - CLOCKS_APART_US:
            continue
        if now is None:
            if gone and (one.proxy, one.number) != (gone[-1].proxy, gone[-1].number + 1):
                yield _all_gone(gone)
                gone = []
            gone.append(one)
        elif now.closed and one.closed and now.sha256 != one.sha256:
            yield Gap(one.proxy, one.since, one.until, f"segment {one.number} is another one now")
    if gone:
        yield _all_gone(gone)


def _all_gone(ones: list[Manifest]) -> Gap:
    first, last = ones[0], ones[-1]
    which = f"segment {first.number} is"
    if first is not last:
        which = f"segments {first.number} to {last.number} are"
    return Gap(first.proxy, first.since, last.until, f"{which} gone")


def _is_later(one: Decided, pair: Pair) -> bool:
    return one.seq >= pair.changed_seq or one.at >= pair.created_at
