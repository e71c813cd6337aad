"""The decision records of one or more proxies, read: who was forwarded what, and the proof of it.

A folder is the one that a proxy writes to, or a copy of it. Closed segments are asked by their
index, one that is open from its beginning to its end. Everything is read through mmap, and a file
is taken at its word unless `verify` is asked for: that reads all of it.
"""

import hashlib
import mmap
import os
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from time import time
from typing import NamedTuple

from smsfilter.decisions import layout, manifest
from smsfilter.decisions.layout import (
    FOOTER,
    HEADER,
    NOBODY,
    SLOT,
    DamagedError,
    Footer,
    Kind,
    Record,
    Table,
)
from smsfilter.decisions.manifest import Expected, Manifest
from smsfilter.decisions.proof import Decided, Pair, Proof, prove
from smsfilter.decisions.tokens import Tokens
from smsfilter.store import segments

_FORWARDED = frozenset({Kind.FORWARD, Kind.UNCHECKED})
_REFUSED = frozenset({Kind.REFUSED, Kind.PUT_OFF})


class Refusals(NamedTuple):
    """Refusals of one segment that are alike."""

    segment: str
    token: str
    """The customer's, in hexadecimal."""
    companies: tuple[str, ...]
    source: str
    refused: int
    """How many times."""
    first: int
    last: int
    """In µs."""


class Segment:
    """One segment, open or closed, while it is read. Raises DamagedError."""

    def __init__(self, view: memoryview, *, is_closed: bool, read_at: int) -> None:
        self._view = view
        self.header = layout.read_header(view)
        self.footer: Footer | None = None
        if is_closed:
            self.footer, digest = layout.read_footer(view)
            self._index_at = layout.index_at(self.footer, len(view))
            if self._index_at < HEADER or (self._index_at - HEADER) % SLOT:
                raise DamagedError("its parts do not fit into it")
            self.stream = view[HEADER : self._index_at]
            self.manifest = manifest.closed(self.header, self.footer, digest)
        else:
            self.stream = view[HEADER : HEADER + layout.whole(view[HEADER:])]
            self.manifest = self._so_far(read_at)

    def _so_far(self, read_at: int) -> Manifest:
        """The manifest of an open segment."""
        end, until = layout.ending(self.stream)
        stream = list(layout.slots(self.stream))
        found = [one for one in stream if one.kind in layout.VERDICTS]
        seqs = {one.seq for one in found if one.kind != Kind.RECEIPT} - {0}
        lost = sum(one.seq for one in stream if one.kind == Kind.LOST)
        since = self.header.opened_at
        footer = Footer(
            end,
            indexed=0,
            names=0,
            seq_least=min(seqs, default=0),
            seq_most=max(seqs, default=0),
            records=len(found),
            lost=lost,
            since=since,
            until=until or max(read_at, since),
            prev=b"",
        )
        return manifest.closed(self.header, footer, b"")

    @cached_property
    def names(self) -> dict[tuple[Table, int], str]:
        """What the numbers in its records stand for."""
        where = self.stream
        if self.footer is not None:
            end = len(self._view) - FOOTER
            where = self._view[end - self.footer.names * SLOT : end]
        return {(one.table, one.number): one.text for one in layout.names(where)}

    def slots_of(self, token: bytes) -> Iterator[tuple[int, Record]]:
        """The records with this token, in the order in which they were written."""
        if self.footer is None:
            for slot, one in layout.records(self.stream):
                if one.token == token:
                    yield slot, one
            return
        first = bisect_left(range(self.footer.indexed), token, key=self._token_at)
        for place in range(first, self.footer.indexed):
            found, slot = layout.entry.unpack_from(self._view, self._entry_at(place))
            if found != token:
                return
            if slot >= len(self.stream) // SLOT:
                raise DamagedError("its index points past its records")
            yield slot, Record(*layout.record.unpack_from(self.stream, slot * SLOT))

    def _entry_at(self, place: int) -> int:
        return self._index_at + place * layout.entry.size

    def _token_at(self, place: int) -> bytes:
        at = self._entry_at(place)
        return bytes(self._view[at : at + len(NOBODY)])

    def told(self, slot: int, one: Record) -> Decided:
        """A record with its names."""
        names = self.names
        return Decided(
            one.at,
            self.header.proxy,
            self.header.number,
            slot,
            Kind(one.kind),
            tuple(names.get((Table.COMPANY, one.company), "").split(" ")),
            names.get((Table.SOURCE, one.source), ""),
            one.seq,
            names.get((Table.POLICY, one.policy), ""),
            names.get((Table.REASON, one.reason), ""),
        )

    def everything(self) -> Iterator[tuple[bytes, Decided]]:
        """All records in the order in which they were written, with their tokens."""
        return ((one.token, self.told(slot, one)) for slot, one in layout.records(self.stream))

    def refusals(self, reason: str) -> list[Refusals]:
        """What was refused for `reason`, by customer, company and source."""
        times: defaultdict[tuple[bytes, tuple[str, ...], str], list[int]] = defaultdict(list)
        for token, one in self.everything():
            if one.kind in _REFUSED and one.reason == reason:
                times[token, one.companies, one.source].append(one.at)
        return [
            Refusals(self.manifest.id, token.hex(), companies, source, len(at), min(at), max(at))
            for (token, companies, source), at in times.items()
        ]

    def verify(self) -> None:
        """Read all of it. Raises DamagedError where it is not what was written.

        The hash covers the file; that the index names every record is looked at as well, as an
        index without one would hide it.
        """
        footer = self.footer
        if footer is None:
            return
        if hashlib.sha256(self._view[: -len(manifest.FIRST)]).digest() != self._view[-32:]:
            raise DamagedError("its hash is not the one that it states")
        if layout.whole(self.stream) != len(self.stream):
            raise DamagedError("its stream is not sound")
        expected, records = [], 0
        for slot, one in layout.records(self.stream):
            records += 1
            if one.token != NOBODY:
                expected.append((one.token, slot))
        index = self._view[self._index_at : self._entry_at(footer.indexed)]
        if sorted(expected) != list(layout.entry.iter_unpack(index)) or records != footer.records:
            raise DamagedError("its index does not agree with its records")


@dataclass(frozen=True, slots=True)
class Folder:
    """The records of one proxy, or a copy of them, and the key of their tokens."""

    path: Path
    tokens: Tokens
    proxy: str = ""
    """Its name in the records; '' = whatever they say."""
    in_service_since: int = 0
    """Before that, in µs, the proxy owes no records."""
    copied_at: int | None = None
    """When the copy was made, in µs; None = the proxy itself writes here."""

    def until(self, now: int) -> int:
        """Up to when its open segment is known, in µs."""
        return now if self.copied_at is None else self.copied_at

    def files(self) -> list[Path]:
        """Its segments by number, each in the last state of its life."""
        found: dict[int, Path] = {}
        for suffix in segments.SUFFIXES[1:]:
            found |= dict(segments.numbered(self.path, suffix))
        return [path for _, path in sorted(found.items())]


def open_segment(path: Path, read_at: int) -> Segment:
    """Open a segment, or what has become of it meanwhile. Raises DamagedError, OSError.

    Only a closed one is mapped: another one may yet be cut short.
    """
    at = segments.SUFFIXES.index(path.suffix[1:])
    for suffix in segments.SUFFIXES[at:]:
        try:
            with path.with_suffix(f".{suffix}").open("rb") as file:
                if suffix != "seg":
                    view = memoryview(file.read())
                elif os.fstat(file.fileno()).st_size:
                    view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
                else:
                    raise DamagedError("it is empty")
        except FileNotFoundError:
            continue
        return Segment(view, is_closed=suffix == "seg", read_at=read_at)
    raise FileNotFoundError(path)


class Records:
    """The records of all proxies that could have let a message through.

    `now` is in µs. What is damaged counts as missing, and is named in `damaged`; with `verify`
    all closed segments are read from end to end to find it.
    """

    def __init__(
        self, folders: Iterable[Folder], now: int | None = None, *, verify: bool = False
    ) -> None:
        self.now = int(time() * 1e6) if now is None else now
        self.folders = tuple(folders)
        self.damaged: dict[Path, str] = {}
        self._verify = verify

    def segments(self, folder: Folder) -> Iterator[Segment]:
        """The segments of a folder, by number, less the damaged ones."""
        for path in folder.files():
            if path in self.damaged:
                continue
            try:
                found = open_segment(path, folder.until(self.now))
                if self._verify:
                    found.verify()
                if found.header.key_id != folder.tokens.id:
                    raise DamagedError("its tokens are made with another key")
            except (DamagedError, OSError) as error:
                self.damaged[path] = str(error)
            else:
                yield found

    def manifests(self) -> list[Manifest]:
        """What is known of all segments."""
        return [one.manifest for folder in self.folders for one in self.segments(folder)]

    def of(self, digits: str, since: int = 0) -> list[Decided]:
        """All that was decided about a customer since then, in µs; `digits` as in E.164."""
        return [one for _, found in self._read(digits, since) for one in found]

    def forwards(self, digits: str, since: int = 0) -> list[Decided]:
        """What was forwarded to a customer since then, in µs."""
        return [one for one in self.of(digits, since) if one.kind in _FORWARDED]

    def _read(self, digits: str, since: int) -> Iterator[tuple[Manifest, list[Decided]]]:
        for folder in self.folders:
            token = folder.tokens(digits.encode("ascii"))
            for segment in self.segments(folder):
                found = []
                if segment.manifest.until >= since:
                    found = [segment.told(*one) for one in segment.slots_of(token)]
                yield segment.manifest, [one for one in found if one.at >= since]

    def prove(
        self,
        digits: str,
        companies: Collection[str],
        sources: Collection[str],
        changed_seq: int,
        created_at: int,
    ) -> Proof:
        """What there is of a block: of the customer `digits`, set at `created_at` (µs).

        `companies` are ids, `sources` as the blocks of the index have them, without `source:`;
        `changed_seq` is the seq with which the block came to the index.
        """
        manifests, decided = [], []
        for one, found in self._read(digits, 0):
            manifests.append(one)
            decided += found
        told = {folder.tokens.handset(source) for folder in self.folders for source in sources}
        pair = Pair(frozenset(companies), frozenset(told.union(sources)), changed_seq, created_at)
        expected = [
            Expected(folder.proxy, folder.in_service_since)
            for folder in self.folders
            if folder.proxy
        ]
        return prove(pair, decided, manifests, expected, self.now)
