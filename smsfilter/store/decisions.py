"""The decision records of one or more proxies, read: who was forwarded what, and the proof of it.

A folder is the one that a proxy writes to, or a copy of it. Closed segments are asked by their
index, one that is open from its beginning to its end. Everything is read through mmap, and a file
is taken at its word unless `verify` is asked for: that reads all of it.
"""

import contextlib
import hashlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from time import time
from typing import NamedTuple

from smsfilter.decisions import layout, manifest
from smsfilter.decisions.layout import (
    FOOTER,
    HEADER,
    SLOT,
    DamagedError,
    Footer,
    Kind,
    Record,
    Table,
)
from smsfilter.decisions.manifest import Expected, Gap, Manifest
from smsfilter.decisions.proof import Decided, Pair, Proof, prove
from smsfilter.decisions.shelf import Index, Shelf
from smsfilter.decisions.sums import sum_up
from smsfilter.decisions.tokens import Tokens
from smsfilter.store import segments, shelves

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
        self._index: Index | None = None
        if is_closed:
            self.footer, digest = layout.read_footer(view)
            at = layout.index_at(self.footer, len(view))
            if at < HEADER or (at - HEADER) % SLOT:
                raise DamagedError("its parts do not fit into it")
            self.stream = view[HEADER:at]
            self._index = Index(view[at : at + self.footer.indexed * layout.entry.size])
            self.manifest = manifest.closed(self.header, self.footer, digest)
        else:
            self.stream = view[HEADER : HEADER + layout.whole(view[HEADER:])]
            self.manifest = self._so_far(read_at)

    def _so_far(self, read_at: int) -> Manifest:
        """The manifest of a segment that is not closed; without its seqs."""
        end, until = layout.ending(self.stream)
        since = self.header.opened_at
        footer = Footer(
            end,
            indexed=0,
            names=0,
            seq_least=0,
            seq_most=0,
            records=layout.count(self.stream),
            lost=layout.lost(self.stream),
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
        if self._index is not None:
            found: Iterable[int] = self._index.of(token)
        else:
            found = layout.find(self.stream, token)
        for slot in found:
            if slot >= len(self.stream) // SLOT:
                raise DamagedError("its index points past its records")
            yield slot, Record(*layout.record.unpack_from(self.stream, slot * SLOT))

    def told(self, slot: int, one: Record) -> Decided:
        """A record with its names."""
        names = self.names
        return Decided(
            one.at,
            self.header.proxy,
            self.header.number,
            slot,
            Kind(one.kind),
            self._companies(one.company),
            names.get((Table.SOURCE, one.source), ""),
            one.seq,
            names.get((Table.POLICY, one.policy), ""),
            names.get((Table.REASON, one.reason), ""),
        )

    def _companies(self, number: int) -> tuple[str, ...]:
        return tuple(self.names.get((Table.COMPANY, number), "").split(" "))

    def refusals(self, reason: str) -> list[Refusals]:
        """What was refused for `reason`, by customer, company and source."""
        names = self.names
        wanted = {
            n for (table, n), text in names.items() if (table, text) == (Table.REASON, reason)
        }
        times: defaultdict[tuple[bytes, int, int], list[int]] = defaultdict(list)
        for at, token, company, source, _, _, said, kind in layout.record.iter_unpack(self.stream):
            if said in wanted and kind in _REFUSED:
                times[token, company, source].append(at)
        return [
            Refusals(
                self.manifest.id,
                token.hex(),
                self._companies(company),
                names.get((Table.SOURCE, source), ""),
                len(at),
                min(at),
                max(at),
            )
            for (token, company, source), at in times.items()
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
        how, until = layout.ending(self.stream)
        index, summed = sum_up(self.stream, how, self.header.opened_at, until, footer.prev)
        names = b"".join(map(layout.name_slots, layout.names(self.stream)))
        at = HEADER + len(self.stream)
        if self._view[at:-FOOTER] != index + names or summed != footer._replace(names=0):
            raise DamagedError("its index or its footer does not agree with its records")


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


def open_segment(path: Path, read_at: int) -> Segment:
    """Open a segment, or what has become of it meanwhile. Raises DamagedError, OSError.

    Only a closed one is mapped: another one may yet be cut short.
    """
    at = segments.SUFFIXES.index(path.suffix[1:])
    for suffix in segments.SUFFIXES[at:]:
        try:
            where = path.with_suffix(f".{suffix}")
            view = shelves.mapped(where) if suffix == "seg" else memoryview(where.read_bytes())
        except FileNotFoundError:
            continue
        return Segment(view, is_closed=suffix == "seg", read_at=read_at)
    raise FileNotFoundError(path)


class Records:
    """The records of all proxies that could have let a message through.

    `now` is in µs. What is damaged, or a folder that cannot be read, counts as missing, and is
    named in `damaged`; with `verify` all closed segments are read from end to end to find it.
    `absent` are proxies that must have records, too, and for which there is no folder or no key.
    """

    def __init__(
        self,
        folders: Iterable[Folder],
        now: int | None = None,
        *,
        verify: bool = False,
        absent: Iterable[Expected] = (),
    ) -> None:
        self.now = int(time() * 1e6) if now is None else now
        self.folders = tuple(folders)
        self.absent = tuple(absent)
        self.damaged: dict[Path, str] = {}
        self._verify = verify
        self._verified: set[Path] = set()
        self._shelves: dict[Path, dict[int, Shelf]] = {}
        self._loose: dict[Path, dict[int, str]] = {}
        for folder in self.folders:
            self._list(folder)

    def _list(self, folder: Folder) -> None:
        """See which segments there are, and which of them stand on a shelf that can be used."""
        self._shelves[folder.path], self._loose[folder.path] = {}, {}
        try:
            numbers = segments.numbers(folder.path)
        except OSError as error:
            self.damaged[folder.path] = error.strerror or str(error)
            return
        found = {n: suffix for suffix in segments.SUFFIXES[1:] for n in numbers[suffix]}
        shelved: dict[int, Shelf] = {}
        for first in () if self._verify else numbers[segments.SHELF]:
            with contextlib.suppress(DamagedError, OSError):
                path = segments.path_of(folder.path, first, segments.SHELF)
                shelf = shelves.read(path, folder.tokens.id)
                shelved |= {n: shelf for n in shelf.numbers() if found.get(n) == "seg"}
        self._shelves[folder.path] = shelved
        self._loose[folder.path] = {n: found[n] for n in sorted(found.keys() - shelved.keys())}

    def _open(self, folder: Folder, number: int, suffix: str) -> Segment | None:
        """A segment, where it is not damaged."""
        path = segments.path_of(folder.path, number, suffix)
        if path in self.damaged:
            return None
        try:
            found = open_segment(path, folder.until(self.now))
            if found.header.key_id != folder.tokens.id:
                raise DamagedError("its tokens are made with another key")
            if self._verify and path not in self._verified:
                found.verify()
                self._verified.add(path)
        except (DamagedError, OSError) as error:
            self.damaged[path] = str(error)
            return None
        return found

    def segments(self, folder: Folder) -> Iterator[Segment]:
        """The segments of a folder, less the damaged ones."""
        shelved = dict.fromkeys(self._shelves[folder.path], "seg")
        for number, suffix in (shelved | self._loose[folder.path]).items():
            segment = self._open(folder, number, suffix)
            if segment is not None:
                yield segment

    def manifests(self) -> list[Manifest]:
        """What is known of all segments, less the damaged ones."""
        found = []
        for folder in self.folders:
            shelved = self._shelves[folder.path]
            for shelf in set(shelved.values()):
                found += [one for one in shelf.manifests() if self._is_sound(folder, one)]
            loose = (self._open(folder, *both) for both in self._loose[folder.path].items())
            found += [segment.manifest for segment in loose if segment is not None]
        return found

    def _is_sound(self, folder: Folder, one: Manifest) -> bool:
        path = segments.path_of(folder.path, one.number, "seg")
        return one.number in self._shelves[folder.path] and path not in self.damaged

    def of(self, digits: str, since: int = 0) -> list[Decided]:
        """All that was decided about a customer since then, in µs; `digits` as in E.164."""
        found: list[Decided] = []
        for folder in self.folders:
            token = folder.tokens(digits.encode("ascii"))
            for segment in self._having(folder, token, since):
                if segment.manifest.until >= since:
                    found += [segment.told(*one) for one in segment.slots_of(token)]
        return [one for one in found if one.at >= since]

    def forwards(self, digits: str, since: int = 0) -> list[Decided]:
        """What was forwarded to a customer since then, in µs."""
        return [one for one in self.of(digits, since) if one.kind in _FORWARDED]

    def names(self, source: str) -> set[str]:
        """What stands for a source in records: itself, or a token where it may be a person's."""
        return {source, *(folder.tokens.handset(source) for folder in self.folders)}

    def _having(self, folder: Folder, token: bytes, since: int) -> Iterator[Segment]:
        """The segments that may have this token, those before `since` left out where it is easy."""
        shelved = self._shelves[folder.path]
        recent = (shelf for shelf in set(shelved.values()) if shelf.until >= since)
        numbers = (n for shelf in recent for n in shelf.segments_of(token))
        wanted = dict.fromkeys(sorted(n for n in numbers if n in shelved), "seg")
        for number, suffix in (wanted | self._loose[folder.path]).items():
            segment = self._open(folder, number, suffix)
            if segment is not None:
                yield segment

    def prove(
        self,
        digits: str,
        companies: Collection[str],
        sources: Collection[str],
        *,
        changed_seq: int,
        created_at: int,
        unnamed: Callable[[str], bool] = lambda _source: False,
        known: Iterable[Manifest] = (),
        until: int | None = None,
    ) -> Proof:
        """What there is of a block: of the customer `digits`, set at `created_at` (µs).

        `companies` are ids, `sources` as the blocks of the index have them, without `source:`, and
        `unnamed` says whether a source is the company's by now that no company was known for then;
        `changed_seq` is the seq with which the block came to the index; `known` are manifests that
        were imported before. The records must be there up to `until`, in µs; by default, up to now.
        """
        decided = self.of(digits)
        nameless = {one.source for one in decided if not any(one.companies)}
        pair = Pair(
            frozenset(companies),
            frozenset(name for source in sources for name in self.names(source)),
            changed_seq,
            created_at,
            frozenset(source for source in nameless if source and unnamed(source)),
        )
        until = self.now if until is None else until
        manifests = self.manifests()
        found = prove(pair, decided, manifests, self._expected(), until, known=known)
        return replace(found, gaps=(*found.gaps, *self._unread(manifests, until)))

    def _unread(self, manifests: Iterable[Manifest], until: int) -> Iterator[Gap]:
        """The damaged segments behind the last one that can be read: no hole tells of them."""
        for folder in self.folders:
            mine = [one for one in manifests if one.proxy == folder.proxy]
            last = max((one.number for one in mine), default=0)
            since = max((one.until for one in mine), default=0)
            for path, why in self.damaged.items():
                if path.parent == folder.path and int(path.stem) > last:
                    yield Gap(folder.proxy, min(since, until), until, f"{path.name}: {why}")

    def _expected(self) -> Iterator[Expected]:
        yield from self.absent
        for folder in self.folders:
            if folder.proxy:
                unrecorded = (folder.path / segments.UNRECORDED).exists()
                since, copied_at = folder.in_service_since, folder.copied_at
                yield Expected(folder.proxy, since, copied_at, unrecorded)
