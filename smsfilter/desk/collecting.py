"""The job that takes closed segments in, each minute, and looks whether those of before are there.

Every new segment is read from its first octet to its last. What does not fit is said once: in the
log, in the ledger and as a count. A hole is believed when it is there twice, as a file can be on
its way from one name to the next while the folder is read.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from smsfilter import log
from smsfilter.decisions import manifest
from smsfilter.decisions.layout import FOOTER, HEADER, DamagedError, read_footer
from smsfilter.decisions.manifest import Manifest
from smsfilter.desk import segments as kept
from smsfilter.desk.evidence import Evidence
from smsfilter.desk.office import Office
from smsfilter.desk.segments import Known, Taken
from smsfilter.deskmetrics import ProofMetrics
from smsfilter.rules.verdict import Reason
from smsfilter.store import segments
from smsfilter.store.decisions import Folder, open_segment
from smsfilter.store.reading import reading
from smsfilter.store.records import RecordsAway, RecordsError

EVERY_S: Final = 60.0
COMPARE_EVERY_US: Final = 3600 * 1_000_000
"""How often it is looked whether segments that were taken in are still the same."""
GONE: Final = "it is gone"
EXCHANGED: Final = "it is another one now"


class Collecting:
    """Takes segments in. `known` is what the records have, by proxy and number."""

    def __init__(self, office: Office, evidence: Evidence, metrics: ProofMetrics) -> None:
        self._office = office
        self._evidence = evidence
        self._metrics = metrics
        self._known: dict[str, dict[int, Known]] = {}
        self._holes: set[tuple[str, int]] = set()
        self._compared_at: dict[str, int] = {}

    async def run(self) -> None:
        """Collect each minute, for ever."""
        while True:
            try:
                await self.once()
            except (RecordsAway, RecordsError, OSError) as error:
                log.get().warning("segments_wait", error=str(error))
            except Exception as error:  # it must not be the last time
                log.get().error("unhandled", where="segments", exc_info=error)
            await asyncio.sleep(EVERY_S)

    async def once(self) -> None:
        """Take in all that is new. Raises RecordsAway, RecordsError."""
        records = await asyncio.to_thread(self._evidence.records)
        now = self._office.clock()
        for one in records.absent:
            self._metrics.behind_s[one.proxy] = float("inf")
        for folder in records.folders:
            age = 0.0 if folder.copied_at is None else max(now - folder.copied_at, 0) / 1e6
            self._metrics.behind_s[folder.proxy] = age
            try:
                await self._folder(folder, now)
            except OSError as error:
                self._metrics.behind_s[folder.proxy] = float("inf")
                why = error.strerror
                log.get().warning("segments_unreadable", proxy=folder.proxy, why=why)

    async def _folder(self, folder: Folder, now: int) -> None:
        there = self._known.get(folder.proxy)
        if there is None:
            there = await reading(self._office.records, lambda c: kept.known(c, folder.proxy))
            self._known[folder.proxy] = there
        numbers = await asyncio.to_thread(segments.numbers, folder.path)
        for taken in self._missing(folder.proxy, numbers, there):
            await self._take(taken)
        if now - self._compared_at.get(folder.proxy, 0) >= COMPARE_EVERY_US:
            self._compared_at[folder.proxy] = now
            for taken in await asyncio.to_thread(_exchanged, folder, numbers, dict(there)):
                await self._take(taken)
        for number in self._ready(folder.proxy, numbers, there):
            await self._take(await asyncio.to_thread(self._read, folder, number))

    async def _take(self, taken: Taken) -> None:
        before = self._known[taken.proxy].get(taken.number)
        if taken.manifest is None and before is not None and before.fault == taken.fault:
            return  # said before
        await self._office.writer.write(lambda transaction: kept.take(transaction, taken))
        sha256 = before.sha256 if before is not None else ""
        if taken.manifest is not None and not sha256:
            self._metrics.segments["taken"] += 1
            sha256 = taken.manifest.sha256
        self._known[taken.proxy][taken.number] = Known(sha256, taken.fault)
        where = {"proxy": taken.proxy, "segment": taken.number}
        if taken.fault:
            self._metrics.segments["at_fault"] += 1
            log.get().error("segment_at_fault", **where, why=taken.fault)
        elif taken.manifest is not None:
            log.get().info("segment_taken_in", **where, records=taken.manifest.records)

    # --- what is to be done

    def _ready(
        self, proxy: str, numbers: dict[str, list[int]], there: dict[int, Known]
    ) -> Iterator[int]:
        """The segments that can be taken in now, in their order: none before the one ahead of it.

        One that could not be read is looked at again, as a copy may have been under way.
        """
        unfinished = {*numbers["open"], *numbers["ended"]} - set(numbers["seg"])
        first_unfinished = min(unfinished, default=1 << 32)
        listed = [n for n in sorted({*numbers["seg"], *numbers["damaged"]}) if n < first_unfinished]
        for number in listed:
            known = there.get(number)
            if known is not None and (known.sha256 or number not in numbers["seg"]):
                continue
            is_hole = bool(there) and number > min(there) and number - 1 not in there
            if is_hole and (proxy, number) not in self._holes:
                self._holes.add((proxy, number))
                return
            yield number

    def _missing(
        self, proxy: str, numbers: dict[str, list[int]], there: dict[int, Known]
    ) -> Iterator[Taken]:
        """The segments that are gone and were not the oldest; and those that are there again."""
        listed = {n for suffix in segments.SUFFIXES for n in numbers[suffix]}
        oldest = min(listed, default=None)
        for number, known in list(there.items()):
            if known.fault == GONE and number in listed:
                yield Taken(proxy, number)
            if oldest is None or number < oldest or number in listed or known.fault == GONE:
                continue
            if (proxy, number) in self._holes:
                yield Taken(proxy, number, fault=GONE)
            self._holes.add((proxy, number))

    def _read(self, folder: Folder, number: int) -> Taken:
        """Read one segment from end to end, and compare it with the one before."""
        path = segments.path_of(folder.path, number, "seg")
        try:
            if not path.exists():
                raise DamagedError("it was put aside as damaged")
            found = open_segment(path, 0)
            if found.header.key_id != folder.tokens.id:
                raise DamagedError("its tokens are made with another key")
            if (found.header.proxy, found.header.number) != (folder.proxy, number):
                header = found.header
                raise DamagedError(f"it is segment {header.number} of {header.proxy}")
            found.verify()
        except (DamagedError, OSError) as error:
            return Taken(folder.proxy, number, fault=str(error))
        refusals = tuple(found.refusals(Reason.BLOCKED_BY_REPORT))
        fault = self._gap(found.manifest)
        return Taken(folder.proxy, number, found.manifest, refusals, fault)

    def _gap(self, one: Manifest) -> str | None:
        """Say what is missing in a segment, or between it and the one before."""
        there = self._known[one.proxy]
        before = there.get(one.number - 1)
        why = ""
        if before is None:
            if there and one.number > min(there):
                why = f"segment {one.number - 1} is missing"
        elif before.sha256:
            last = one._replace(number=one.number - 1, sha256=before.sha256)
            why = manifest.broken(last, one)
        if not why and one.lost:
            why = f"{one.lost} messages without a record"
        if not why and not one.clean:
            why = "it has no clean end"
        return why or None


def _exchanged(
    folder: Folder, numbers: dict[str, list[int]], there: dict[int, Known]
) -> list[Taken]:
    """Compare the hashes that segments state with those that the records have of them."""
    found = []
    for number in numbers["seg"]:
        known = there.get(number)
        if known is None or not known.sha256:
            continue
        is_same = _stated(segments.path_of(folder.path, number, "seg")) == known.sha256
        if is_same == (known.fault == EXCHANGED):
            found.append(Taken(folder.proxy, number, fault=None if is_same else EXCHANGED))
    return found


def _stated(path: Path) -> str:
    """The hash that a segment states of itself; '' where it is no segment."""
    try:
        with path.open("rb") as file:
            file.seek(-FOOTER, 2)
            return read_footer(bytes(HEADER) + file.read())[1].hex()
    except (OSError, DamagedError):
        return ""
