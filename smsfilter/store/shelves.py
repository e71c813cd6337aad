"""Shelves on disk: `NNNNNNNNNN.shelf`, named by the first segment that it can have."""

import contextlib
import hashlib
import mmap
import os
from itertools import chain
from pathlib import Path

from smsfilter.decisions import layout, shelf
from smsfilter.decisions.layout import FOOTER, HEADER, DamagedError
from smsfilter.decisions.shelf import SEGMENTS, Index, Shelf
from smsfilter.store import segments
from smsfilter.store.durable import sync_folder


def due(folder: Path) -> list[int]:
    """The first segments of the shelves that can be made: all of theirs are closed."""
    found = segments.numbers(folder)
    end = min((*found["open"], *found["ended"], *(n + 1 for n in found["seg"][-1:])), default=0)
    firsts = {(number - 1) // SEGMENTS * SEGMENTS + 1 for number in found["seg"]}
    missing = firsts - set(found[segments.SHELF])
    return sorted(first for first in missing if first + SEGMENTS <= end)


def fill(folder: Path) -> None:
    """Make the shelves that are due. Raises OSError."""
    closed = segments.numbers(folder)["seg"]
    for first in due(folder):
        mine = [number for number in closed if first <= number < first + SEGMENTS]
        paths = [segments.path_of(folder, number, "seg") for number in mine]
        _make(segments.path_of(folder, first, segments.SHELF), paths)


def _make(path: Path, closed: list[Path]) -> None:
    parts: list[bytes | memoryview] = []
    indexes, key_id = [], b""
    for segment in closed:
        with contextlib.suppress(DamagedError):
            view = mapped(segment)
            header = layout.read_header(view)
            footer, _ = layout.read_footer(view)
            key_id = key_id or header.key_id
            if header.key_id != key_id:
                continue  # of another key: it is looked into by itself
            at = layout.index_at(footer, len(view))
            end = at + footer.indexed * layout.entry.size
            indexes.append((header.number, Index(view[at:end])))
            parts += [view[:HEADER], view[-FOOTER:]]
    new = path.with_suffix(".new")
    digest = hashlib.sha256()
    head = (shelf.pack_head(len(indexes), key_id),)
    with open(new, "wb", opener=_private) as file:
        for part in chain(head, parts, shelf.merged(indexes)):
            digest.update(part)
            file.write(part)
        file.write(digest.digest())
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    sync_folder(path.parent)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def mapped(path: Path) -> memoryview:
    """A file that never changes again. Raises OSError, DamagedError where it is empty."""
    with path.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            raise DamagedError("it is empty")
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def clear(folder: Path) -> None:
    """Remove the shelves none of whose segments are there any more. Raises OSError."""
    found = segments.numbers(folder)
    for first in found[segments.SHELF]:
        if found["seg"] and first + SEGMENTS <= found["seg"][0]:
            segments.path_of(folder, first, segments.SHELF).unlink()


def read(path: Path, key_id: bytes) -> Shelf:
    """Read a shelf of segments with this key. Raises OSError, DamagedError."""
    found = Shelf(mapped(path))
    if found.key_id != key_id:
        raise DamagedError("its tokens are made with another key")
    return found
