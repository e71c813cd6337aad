"""Segments of decision records on disk: written, recovered, closed, and removed when they are old.

`NNNNNNNNNN.open` is one that is written to, or whose writer has died; `.ended` has its last slot;
`.seg` is closed: it has its index, its footer and its hash, and never changes again. `write` goes
to the page cache and is for the event loop; everything else may wait for the disk and is for a
thread or a process of its own.
"""

import contextlib
import errno
import fcntl
import mmap
import os
import secrets
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from smsfilter.decisions import layout
from smsfilter.decisions.layout import HEADER, SLOT, DamagedError, End, Header
from smsfilter.store.durable import sync_folder

FOLDER = "decisions"
"""In a proxy's state_dir: its segments."""
ROOM = 4 << 20
"""Octets that are set aside on disk ahead of the writer: so a full disk is met in time."""
RESERVE = 256 << 10
"""What must be left of them for the next batch: twice the records that one can have."""
SUFFIXES = ("damaged", "open", "ended", "seg")
"""Of the files of a segment, in the order of its life."""
SHELF = "shelf"
"""Of the files that say which of many segments has what."""
UNRECORDED = "unrecorded"
"""A file that is there while decisions are made without a record, and that outlives a crash."""
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_UNSUPPORTED = frozenset({errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})


class InUseError(OSError):
    """Another process writes to this folder."""


class SegmentFile:
    """One open segment. `size` is where the next slot goes. Raises OSError."""

    def __init__(self, folder: Path, header: Header) -> None:
        self.number = header.number
        self.path = path_of(folder, header.number, "open")
        self.size = HEADER
        self._room = 0
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
        self._fd = os.open(self.path, flags, 0o600)
        try:
            self.make_room()
            _write(self._fd, layout.pack_header(header), 0)
            os.fsync(self._fd)
            sync_folder(folder)
        except OSError:
            os.close(self._fd)
            with contextlib.suppress(OSError):
                self.path.unlink()
            raise

    @property
    def is_short(self) -> bool:
        """Whether the next batch may find no room."""
        return self._room - self.size < RESERVE

    @property
    def wants_room(self) -> bool:
        """Whether half of it is used."""
        return self._room - self.size <= ROOM // 2

    def make_room(self) -> None:
        """Set room aside, where less than half of it is left."""
        if not self.wants_room:
            return
        end = self.size + ROOM
        try:
            os.posix_fallocate(self._fd, 0, end)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
        self._room = end

    def write(self, octets: bytes) -> None:
        """Append whole slots; if that fails, none of them counts."""
        _write(self._fd, octets, self.size)
        self.size += len(octets)

    def sync(self) -> None:
        """Have the disk take what was written."""
        os.fdatasync(self._fd)

    def end(self, how: End, at: int) -> None:
        """Write the last slot, `at` in µs, and give the file up, also where that fails.

        One whose end is not clean and cannot be written is put aside: its absence is a gap.
        """
        try:
            _end(self._fd, self.path, self.size, layout.end_slot(how, at))
        except OSError:
            if how is End.UNCLEAN:
                self.path.rename(self.path.with_suffix(".damaged"))
            raise
        finally:
            os.close(self._fd)


def _end(fd: int, path: Path, size: int, slot: bytes) -> None:
    _write(fd, slot, size)
    os.ftruncate(fd, size + SLOT)
    os.fsync(fd)
    path.rename(path.with_suffix(".ended"))
    sync_folder(path.parent)


def _write(fd: int, octets: bytes, at: int) -> None:
    written = os.pwrite(fd, octets, at)
    if written != len(octets):  # the disk was full in the middle of it
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def mark_unrecorded(folder: Path) -> None:
    """Leave word that decisions are made without a record, as far as the disk lets it."""
    with contextlib.suppress(OSError):
        (folder / UNRECORDED).touch(0o600)


def boot_id() -> bytes:
    """Which run of the machine this is: 16 octets, another one after each boot.

    Where /proc is hidden the service manager tells it (BOOT_ID); where nobody does, it is like no
    other, so that a crash of the process counts as one of the machine.
    """
    try:
        text = _BOOT_ID.read_text(encoding="ascii")
    except OSError:
        text = os.environ.get("BOOT_ID", "")
    with contextlib.suppress(ValueError):
        found = bytes.fromhex(text.strip().replace("-", ""))
        if len(found) == 16:
            return found
    return secrets.token_bytes(16)


@contextlib.contextmanager
def locked(folder: Path, name: str, *, wait: bool) -> Iterator[None]:
    """Hold a lock of the folder. Raises InUseError where another one does and `wait` is False."""
    fd = os.open(folder / name, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise InUseError(errno.EBUSY, f"another process writes to {folder}") from None
        yield
    finally:
        os.close(fd)


def path_of(folder: Path, number: int, suffix: str) -> Path:
    """Where a segment stands in one state of its life."""
    return folder / f"{number:010d}.{suffix}"


def numbers(folder: Path) -> dict[str, list[int]]:
    """The segments of a folder: numbers in order, by suffix. Raises OSError."""
    found: dict[str, list[int]] = {suffix: [] for suffix in (*SUFFIXES, SHELF)}
    for name in os.listdir(folder):
        stem, _, suffix = name.partition(".")
        if suffix in found and stem.isascii() and stem.isdigit():
            found[suffix].append(int(stem))
    for those in found.values():
        those.sort()
    return found


def last_number(folder: Path) -> int:
    """The number of the last segment; 0 where there is none."""
    found = numbers(folder)
    return max((found[suffix][-1] for suffix in SUFFIXES if found[suffix]), default=0)


# --- after a crash


class Recovered(NamedTuple):
    """A segment that had no end."""

    number: int
    end: End
    records: int
    why: str = ""


def recover(folder: Path, boot: bytes) -> list[Recovered]:
    """Give every segment an end that has none: its writer has died. Raises OSError.

    What the dead process wrote in this run of the machine is in the page cache at least, and its
    whole slots are all there were; of another run some may be missing.
    """
    found = []
    for number in numbers(folder)["open"]:
        path = path_of(folder, number, "open")
        try:
            recovered = _recover(number, path, boot)
        except DamagedError as error:  # it died before it had written the header
            path.rename(path.with_suffix(".damaged"))
            recovered = Recovered(number, End.UNCLEAN, 0, str(error))
        found.append(recovered)
    return found


def _recover(number: int, path: Path, boot: bytes) -> Recovered:
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        octets = os.pread(fd, HEADER, 0)
        header = layout.read_header(octets)
        with mmap.mmap(fd, 0, access=mmap.ACCESS_READ) as held, memoryview(held) as view:
            size = layout.whole(view[HEADER:])
            with view[HEADER : HEADER + size] as stream:
                end, ended_at = layout.ending(stream)
                count, last = 0, header.opened_at
                for _, one in layout.records(stream):
                    count, last = count + 1, one.at
        if end is End.OPEN:
            end = End.RECOVERED if header.boot_id == boot else End.UNCLEAN
        else:  # it died in the middle of ending it
            size, last = size - SLOT, ended_at
        _end(fd, path, HEADER + size, layout.end_slot(end, last))
    finally:
        os.close(fd)
    return Recovered(number, end, count)


# --- retention


def retire(folder: Path, before: int) -> list[int]:
    """Remove the oldest segments, all of whose records are older than `before` (µs).

    From the oldest on, so that what is left is a chain without a hole.
    """
    removed = []
    for number in numbers(folder)["seg"]:
        path = path_of(folder, number, "seg")
        try:
            with path.open("rb") as file:
                file.seek(-layout.FOOTER, os.SEEK_END)
                footer, _ = layout.read_footer(bytes(HEADER) + file.read())
        except (DamagedError, OSError, struct.error):
            break  # not one of ours to throw away
        if footer.until >= before:
            break
        path.unlink()
        removed.append(number)
    return removed
