"""What closes a segment: its index by token, its names once more, its footer and its hash.

To sort a full segment takes seconds, so that is for a process of its own at the lowest priority:
`python -m smsfilter.store.closing FOLDER` closes what has an end and prints a line of JSON for
each, and fills the shelves. It can die at any time: what it did not finish is done again by the
next one.
"""

import contextlib
import hashlib
import json
import mmap
import os
import sys
from pathlib import Path

from smsfilter.decisions import layout
from smsfilter.decisions.layout import HEADER, SLOT, DamagedError, End
from smsfilter.decisions.manifest import FIRST, Manifest, closed
from smsfilter.decisions.sums import sum_up
from smsfilter.store import segments, shelves
from smsfilter.store.durable import sync_folder

CLOSING_LOCK = "closing.lock"


def close_ended(folder: Path, most: int | None = None) -> list[Manifest]:
    """Close the segments that have an end, in order; stops at one of more than `most` octets."""
    found = []
    with segments.locked(folder, CLOSING_LOCK, wait=True):
        for number in segments.numbers(folder)["ended"]:
            path = segments.path_of(folder, number, "ended")
            if most is not None and path.stat().st_size > most:
                break
            try:
                found.append(_close(path, _hash_of(folder, number - 1)))
            except DamagedError:
                path.rename(path.with_suffix(".damaged"))  # it shows as a gap
    return found


def _hash_of(folder: Path, number: int) -> bytes:
    """The hash that a closed segment states of itself."""
    try:
        with segments.path_of(folder, number, "seg").open("rb") as file:
            file.seek(-len(FIRST), os.SEEK_END)
            return file.read()
    except OSError:
        return FIRST


def _close(path: Path, prev: bytes) -> Manifest:
    """Close one segment that has an end. Raises OSError, DamagedError."""
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        with mmap.mmap(fd, 0, access=mmap.ACCESS_READ) as held, memoryview(held) as view:
            header = layout.read_header(view)
            end = HEADER + layout.whole(view[HEADER:])
            with view[HEADER:end] as stream:
                how, until = layout.ending(stream)
                if how is End.OPEN:
                    raise DamagedError("it has lost its end")
                index, footer = sum_up(stream, how, header.opened_at, until, prev)
                names = b"".join(map(layout.name_slots, layout.names(stream)))
            digest = hashlib.sha256(view[:end])
        foot = layout.pack_footer(footer._replace(names=len(names) // SLOT))
        rest = b"".join((index, names, foot))
        digest.update(rest)
        os.ftruncate(fd, end)
        with open(fd, "wb", closefd=False) as file:
            file.seek(end)
            file.write(rest + digest.digest())
        os.fsync(fd)
    finally:
        os.close(fd)
    path.rename(path.with_suffix(".seg"))
    sync_folder(path.parent)
    return closed(header, footer, digest.digest())


def main() -> int:
    """Close what has an end in the folder that the command line names."""
    os.nice(19)
    try:
        for manifest in close_ended(Path(sys.argv[1])):
            print(json.dumps({"number": manifest.number, "records": manifest.records}))
        with segments.locked(Path(sys.argv[1]), CLOSING_LOCK, wait=True):
            shelves.fill(Path(sys.argv[1]))
    except OSError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
