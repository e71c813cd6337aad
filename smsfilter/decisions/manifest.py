"""What is known of each segment, and what of a time no segment covers.

A chain is told by its numbers and hashes, not by its times: a proxy that did not run decided
nothing, so two segments in a row leave no gap however far apart they are. Clocks of two hosts are
compared only to say where a proxy's records begin.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from smsfilter.decisions.layout import End, Footer, Header

CLOCKS_APART_US = 60_000_000
"""How far the clocks of two hosts may be apart where nothing but time can be compared."""
NOT_IN_YET = "its records were copied before that"
"""Of a gap that the next copy closes."""
FIRST = bytes(32)
"""Stands for the hash of the segment before the first one."""


class Manifest(NamedTuple):
    """One segment, without its records. Times are µs since 1970 in UTC."""

    proxy: str
    number: int
    key_id: str
    since: int
    until: int
    records: int
    lost: int
    """Messages that were decided before or in it and have no record."""
    end: End
    continues: bool
    """Nothing was decided without a record between the segment before and this one."""
    seq_least: int
    seq_most: int
    sha256: str
    """Of the whole file but for this field; '' while it is not closed."""
    prev: str
    """The same of the segment before; '' while it is not closed."""

    @property
    def id(self) -> str:
        """The proxy and the number: one segment of all."""
        return f"{self.proxy}/{self.number}"

    @property
    def clean(self) -> bool:
        """Whether every record that was written is there; one still open has lost none."""
        return self.end is not End.UNCLEAN

    @property
    def closed(self) -> bool:
        """Whether it has its hash."""
        return self.sha256 != ""


def closed(header: Header, footer: Footer, sha256: bytes) -> Manifest:
    """The manifest of a closed segment."""
    return Manifest(
        header.proxy,
        header.number,
        header.key_id.hex(),
        footer.since,
        footer.until,
        footer.records,
        footer.lost,
        footer.end,
        header.continues,
        footer.seq_least,
        footer.seq_most,
        sha256.hex(),
        footer.prev.hex(),
    )


class Expected(NamedTuple):
    """A proxy whose records must be there."""

    proxy: str
    since: int = 0
    """When it was first in service, in µs: before that it owes no records."""
    known_until: int | None = None
    """When its records were copied, in µs; None = they are read where it writes them."""
    unrecorded: bool = False
    """It says that it decides without a record at present."""


class Gap(NamedTuple):
    """A time of one proxy of which not everything is known. In µs."""

    proxy: str
    since: int
    until: int
    why: str
    lost: int = 0
    """How many messages it is known to have lost; 0 = not known."""


def gaps(
    manifests: Iterable[Manifest], expected: Iterable[Expected], since: int, until: int
) -> list[Gap]:
    """What is not covered between `since` and `until`, in µs, proxy by proxy."""
    chains: defaultdict[str, list[Manifest]] = defaultdict(list)
    for one in sorted(manifests, key=lambda one: (one.proxy, one.number)):
        chains[one.proxy].append(one)
    found: list[Gap] = []
    for owner in {Expected(proxy) for proxy in chains.keys() - {e.proxy for e in expected}}:
        found += _of_chain(owner, chains[owner.proxy], since, until)
    for owner in expected:
        found += _of_chain(owner, chains[owner.proxy], since, until)
    first = since - CLOCKS_APART_US
    return sorted(gap for gap in found if gap.until >= first and gap.since <= until)


def _of_chain(owner: Expected, chain: list[Manifest], since: int, until: int) -> Iterator[Gap]:
    begins = max(since, owner.since)
    if not chain:
        if begins < until:
            yield Gap(owner.proxy, begins, until, "no records of this proxy")
        return
    if chain[0].since > begins:
        yield Gap(owner.proxy, begins, chain[0].since, "its records begin later")
    for n, one in enumerate(chain):
        before = chain[n - 1] if n else None
        known_again = chain[n + 1].since if n + 1 < len(chain) else until
        if before is not None and (why := broken(before, one)):
            yield Gap(owner.proxy, before.until, one.since, why)
        yield from _within(one, before.until if before else one.since, known_again)
    if owner.unrecorded:
        yield Gap(owner.proxy, chain[-1].since, until, "decisions are not recorded now")
    if owner.known_until is not None and owner.known_until < until:
        yield Gap(owner.proxy, owner.known_until, until, NOT_IN_YET)


def _within(one: Manifest, lost_since: int, known_again: int) -> Iterator[Gap]:
    """What a segment itself says is missing: what was lost before or in it, and its end."""
    if one.lost:
        why = f"{one.lost} messages without a record, declared in segment {one.number}"
        yield Gap(one.proxy, min(lost_since, one.since), one.until, why, one.lost)
    if not one.clean:
        why = f"segment {one.number} has no clean end"
        yield Gap(one.proxy, one.since, max(one.until, known_again), why)


def broken(before: Manifest, after: Manifest) -> str:
    """Say why something may be missing between two segments; '' = nothing is."""
    if after.number == before.number:
        return f"segment {after.number} is there twice" if after != before else ""
    if after.number != before.number + 1:
        return f"segments {before.number + 1} to {after.number - 1} are missing"
    if not after.continues:
        return "decisions were not recorded here"
    if before.closed and after.closed and after.prev != before.sha256:
        return f"segment {after.number} does not follow the one that is there"
    return ""
