"""Every verdict on record: one append for each batch, before the batch goes to the SMSC.

`write` is for the event loop and goes no further than the page cache. Once a second a thread has
the disk take what is there, sets room aside and opens the next segment; closing a full one is for
a process of its own. A file that the disk has failed once is never written to again. What
`on_full` says holds while there is none: `pass` counts what goes unrecorded, `temporary` lets
nothing go.
"""

import asyncio
import contextlib
import json
import sys
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from time import monotonic, time
from typing import NamedTuple, TypeVar

from smsfilter import log
from smsfilter.config import DecisionsConfig
from smsfilter.decisions import layout
from smsfilter.decisions.layout import HEADER, End
from smsfilter.decisions.manifest import Manifest
from smsfilter.decisions.tokens import KEY, Tokens
from smsfilter.metrics import Metrics
from smsfilter.proxy.batch import Batch
from smsfilter.proxy.book import Book
from smsfilter.proxy.session import Session
from smsfilter.rules.judge import Judge
from smsfilter.smpp.receipt import Receipt
from smsfilter.store import closing, keyfiles, segments, shelves
from smsfilter.store.segments import FOLDER, SegmentFile

KEY_FILE = Path("keys") / "decisions.key"
"""The key of the tokens, one for each host: with it and the records every number can be tried."""
LOOK_EVERY_S = 1.0
FULL = 64 << 20
"""Octets at which a segment is full."""
OLD_US = 600 * 10**6
"""The age at which it is."""
NAMES_MOST = 50_000
"""Names in one segment: who sends from ever new sources must not fill the memory."""
CLOSED_HERE_MOST = 256 << 10
"""Octets of a segment that is closed by a thread: some 10 ms of work, beside the path."""

_T = TypeVar("_T")


def now_us() -> int:
    """The time in µs."""
    return int(time() * 1e6)


class Volume(NamedTuple):
    """What is written to: a segment, and the names and numbers of its records."""

    file: SegmentFile
    book: Book
    opened_at: int


class Loss:
    """What was decided without a record since the last one that says so."""

    def __init__(self) -> None:
        self.count = self.first = self.last = 0

    def add(self, count: int, at: int) -> None:
        """Count messages, at a time in µs."""
        self.first = self.first if self.count else at
        self.count, self.last = self.count + count, at


class Recorder:
    """Writes the records of one proxy, in `state_dir/decisions`."""

    def __init__(
        self, config: DecisionsConfig, state_dir: Path, metrics: Metrics, country_code: str
    ) -> None:
        self.country_code = country_code
        """How a source that is somebody's number is told."""
        self._config = config
        self._state_dir = state_dir
        self._folder = state_dir / FOLDER
        self._metrics = metrics
        self._temporary = config.on_full == "temporary"
        self._volume: Volume | None = None
        self._tokens = Tokens(bytes(KEY))
        self._boot = b""
        self._short = False
        self._sync_due = 0.0
        self._loss = Loss()
        self._given_up: list[tuple[SegmentFile, End]] = []
        self._said = ""
        self._recovered = False
        self._gap_before = False
        self._wake = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="records")
        self._stopping = False
        self._keeper: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._stack = contextlib.ExitStack()

    @property
    def refuses(self) -> bool:
        """Whether submissions are to be put off, as the next batch may find no room."""
        if not self._temporary:
            return False
        return self._volume is None or (self._short and self._volume.file.is_short)

    # --- on the event loop

    def write(self, batch: Batch, seq: int) -> bool:
        """Append the records of a batch that had read `seq`; False: it must not be sent."""
        volume = self._volume
        if volume is None:
            return self._without(sum(len(run.numbers) for run in batch.passed) + len(batch.judged))
        octets, count = volume.book.pages(batch, int(batch.now * 1e6), seq)
        return self._append(volume.file, octets, count) or self._without(count)

    def write_receipts(
        self, session: Session, receipts: list[Receipt], judge: Judge, now: float
    ) -> None:
        """Append receipts that go to `session`, at `now` in Unix seconds."""
        volume = self._volume
        if volume is None:
            return
        book, pages = volume.book, []
        for one in receipts:
            route = session.memo.get((one.sender, ())) if session.memo_judge is judge else None
            line = route.line if route else judge.line(session.account, one.sender, now)
            crc = zlib.crc32(one.message_id)
            for reading in judge.read(one.customer):
                pages.append(book.receipt(line, reading, int(now * 1e6), crc, one.state))
        if pages:
            self._append(volume.file, b"".join(book.news(pages)), len(pages))

    def _append(self, segment: SegmentFile, octets: bytes, count: int) -> bool:
        try:
            segment.write(octets)
        except OSError as error:
            self._give_up(End.ORDERLY, error)
            return False
        self._metrics.records += count
        self._metrics.record_octets += len(octets)
        if segment.wants_room and not self._short:
            self._wake.set()
        return True

    def _without(self, count: int) -> bool:
        """What becomes of a batch that has no record."""
        if self._temporary:
            return False
        if not self._loss.count:
            self._wake.set()  # so that the disk knows of it, should this process die
        self._loss.add(count, now_us())
        self._metrics.records_lost += count
        return True

    def _give_up(self, end: End, error: OSError) -> None:
        """Write no more to the file in use."""
        self._leave(end)
        self._metrics.recording = False
        self._say_once("records_unwritable", error)
        self._wake.set()

    def _leave(self, end: End) -> None:
        """Write no more to the file in use, and have it ended."""
        if self._volume is not None:
            self._given_up.append((self._volume.file, end))
        self._volume = None

    def _say_once(self, event: str, error: OSError) -> None:
        """Say what lasts when it begins."""
        why = str(error)
        if self._said != why:
            self._said = why
            log.get().error(event, folder=str(self._folder), why=why)

    # --- start and stop

    async def start(self) -> None:
        """Open a segment. Raises OSError, KeyFileError where folder or key are of no use."""
        await self._off_loop(self._enter)
        await self._open()
        self._begin_closing()
        self._keeper = asyncio.create_task(self._keep(), name="records")

    async def stop(self) -> None:
        """End the segment in order, and close it if that is quick; else the next start does."""
        self._stopping = True  # not cancelled: what it is at with a file has to be finished
        self._wake.set()
        if self._keeper is not None:
            await self._keeper
        self._leave(End.ORDERLY)
        await self._end_given_up()
        if self._loss.count:
            await self._off_loop(partial(segments.mark_unrecorded, self._folder))
        if self._closing is not None:
            self._closing.cancel()
            await asyncio.gather(self._closing, return_exceptions=True)
        with contextlib.suppress(OSError):
            self._tell_closed(await self._off_loop(self._close_small))
        await self._off_loop(self._stack.close)
        self._thread.shutdown(wait=False)

    def _enter(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._stack.enter_context(segments.locked(self._folder, "lock", wait=False))
        path = self._state_dir / KEY_FILE
        keyfiles.make(path)
        self._tokens = Tokens(keyfiles.read(path))
        self._boot = segments.boot_id()

    async def _off_loop(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    # --- each second

    async def _keep(self) -> None:
        while not self._stopping:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._wake.wait()
            self._wake.clear()
            try:
                await self._look()
            except Exception as error:  # whatever it is, it must not be the last look
                log.get().error("unhandled", exc_info=error)

    async def _look(self) -> None:
        volume = self._volume
        if volume is None:
            await self._open()
        else:
            await self._make_room(volume.file)
            await self._sync(volume.file)
            size = volume.file.size
            is_old = size > HEADER and now_us() - volume.opened_at >= OLD_US
            if self._volume is volume and (is_old or size >= FULL or volume.book.size > NAMES_MOST):
                await self._open()
        if self._given_up:
            await self._end_given_up()
            self._begin_closing()

    async def _sync(self, segment: SegmentFile) -> None:
        """Once a second; a wake-up between is for room alone."""
        if monotonic() < self._sync_due:
            return
        self._sync_due = monotonic() + LOOK_EVERY_S
        try:
            await self._off_loop(segment.sync)
        except OSError as error:
            self._metrics.record_fsync_errors += 1
            if self._volume and self._volume.file is segment:  # what of it is on disk, nobody knows
                self._give_up(End.UNCLEAN, error)
                await self._open()

    async def _make_room(self, segment: SegmentFile) -> None:
        try:
            await self._off_loop(segment.make_room)
            if self._short:
                self._short = False
                self._written_again(segment, 0)
        except OSError as error:
            self._short = True
            self._say_once("records_short", error)

    async def _open(self) -> None:
        """Open the next segment and go over to it; what was lost stands first in it."""
        try:
            segment = await self._off_loop(self._opened)
        except OSError as error:
            self._metrics.recording = False
            self._say_once("records_unwritable", error)
            return
        self._leave(End.ORDERLY)
        self._volume = Volume(segment, Book(self._tokens, self.country_code), now_us())
        self._short = False
        self._metrics.segments += 1
        loss, self._loss = self._loss, Loss()
        if loss.count:
            slot = layout.lost_slot(loss.count, loss.first, loss.last)
            if not self._append(segment, slot, 0):
                self._loss = loss
                return
        self._metrics.recording = True
        self._written_again(segment, loss.count)
        await self._off_loop(partial(self._settle_down, segment))

    def _written_again(self, segment: SegmentFile, lost: int) -> None:
        if self._said:
            self._said = ""
            log.get().info("records_written_again", number=segment.number, lost=lost)

    def _opened(self) -> SegmentFile:
        unrecorded = self._folder / segments.UNRECORDED
        if not self._recovered:
            for one in segments.recover(self._folder, self._boot):
                end = one.end.name.lower()
                log.get().warning(
                    "segment_recovered", number=one.number, records=one.records, end=end
                )
            self._gap_before = unrecorded.exists()
            self._recovered = True
        if self._loss.count:
            segments.mark_unrecorded(self._folder)
        number = segments.last_number(self._folder) + 1
        header = layout.Header(
            self._config.name,
            self._tokens.id,
            self._boot,
            now_us(),
            number,
            continues=not self._gap_before,
        )
        segment = SegmentFile(self._folder, header)
        self._gap_before = False
        return segment

    def _settle_down(self, segment: SegmentFile) -> None:
        """Once a loss is on disk as such, nothing else has to remind of it."""
        with contextlib.suppress(OSError):
            segment.sync()
            (self._folder / segments.UNRECORDED).unlink(missing_ok=True)

    # --- what is full or broken

    async def _end_given_up(self) -> None:
        given_up, self._given_up = self._given_up, []
        for segment, end in given_up:
            try:
                await self._off_loop(partial(segment.end, end, now_us()))
            except OSError as error:
                self._say_once("records_unwritable", error)

    def _begin_closing(self) -> None:
        if self._closing is None or self._closing.done():
            self._closing = asyncio.create_task(self._close(), name="closing")

    async def _close(self) -> None:
        try:
            self._tell_closed(await self._off_loop(self._close_small))
            while await self._off_loop(self._is_work_left) and await self._close_large():
                pass
            before = now_us() - int(self._config.keep.total_seconds() * 1e6)
            for number in await self._off_loop(partial(segments.retire, self._folder, before)):
                log.get().info("segment_removed", number=number)
            await self._off_loop(partial(shelves.clear, self._folder))
        except OSError as error:
            log.get().error("segment_not_closed", why=str(error))

    def _is_work_left(self) -> bool:
        """Whether there is a large segment to close, or a shelf to fill."""
        return bool(segments.numbers(self._folder)["ended"] or shelves.due(self._folder))

    def _close_small(self) -> list[Manifest]:
        return closing.close_ended(self._folder, CLOSED_HERE_MOST)

    async def _close_large(self) -> bool:
        """Have another process close them, as it would take the event loop's time here."""
        command = (sys.executable, "-m", "smsfilter.store.closing", str(self._folder))
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
        try:
            told, wrong = await process.communicate()
        except asyncio.CancelledError:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()
            raise
        for line in told.splitlines():
            log.get().info("segment_closed", **json.loads(line))
        if process.returncode:
            log.get().error("segment_not_closed", why=wrong.decode(errors="replace")[-500:].strip())
        return process.returncode == 0

    def _tell_closed(self, closed: list[Manifest]) -> None:
        for manifest in closed:
            log.get().info("segment_closed", number=manifest.number, records=manifest.records)
