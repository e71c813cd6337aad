"""The folder of a proxy that has recorded what a test says it has, without the proxy."""

from pathlib import Path
from typing import Any

from smsfilter.decisions import layout
from smsfilter.decisions.layout import End, Header, Kind, Name, Table
from smsfilter.decisions.tokens import Tokens
from smsfilter.store import closing, keyfiles, segments
from smsfilter.store.segments import SegmentFile

SECOND = 1_000_000
BOOT = b"b" * 16


class Recorded:
    """Segments of one proxy, in `folder`; its key is made at `key`."""

    def __init__(self, folder: Path, key: Path, proxy: str = "p1") -> None:
        self.folder = folder
        self.proxy = proxy
        folder.mkdir(parents=True, exist_ok=True)
        keyfiles.make(key)
        self.tokens = Tokens(keyfiles.read(key))

    def path(self, number: int, suffix: str = "seg") -> Path:
        """Where a segment stands."""
        return segments.path_of(self.folder, number, suffix)

    def begin(self, number: int, *records: bytes, at: int, **more: Any) -> SegmentFile:
        """A segment that is written to since `at` (µs)."""
        known = Header(self.proxy, self.tokens.id, BOOT, at, number, continues=True)
        file = SegmentFile(self.folder, known._replace(**more))
        file.write(b"".join(records))
        return file

    def segment(
        self, number: int, *records: bytes, at: int, end: End = End.ORDERLY, **more: Any
    ) -> Path:
        """A closed segment that lasted for a second from `at` (µs) on."""
        self.begin(number, *records, at=at, **more).end(end, at + SECOND)
        closing.close_ended(self.folder)
        return self.path(number)

    def decided(
        self,
        to: str,
        at: int,
        *,
        seq: int = 5,
        kind: Kind = Kind.FORWARD,
        company: str = "acme",
        source: str = "10657555",
        reason: str = "",
    ) -> bytes:
        """A record (or a receipt, with its stat for a reason) and the names in it."""
        told = [(Table.COMPANY, company), (Table.SOURCE, source), (Table.POLICY, "v1")]
        if reason:
            told.append((Table.REASON, reason))
        numbers = {name: abs(hash(name)) % 60_000 + 1 for name in told}
        numbers = {
            name: n % 250 + 1 if name[0] is Table.REASON else n for name, n in numbers.items()
        }
        names = [layout.name_slots(Name(table, numbers[table, text], text)) for table, text in told]
        record = layout.record.pack(
            at,
            self.tokens(to.encode()),
            numbers[told[0]],
            numbers[told[1]],
            seq,
            numbers[told[2]],
            numbers[told[3]] if reason else 0,
            kind,
        )
        return b"".join(names) + record

    def refused(self, to: str, at: int, **more: Any) -> bytes:
        """A record of a submission that was refused for a report."""
        return self.decided(to, at, kind=Kind.REFUSED, reason="blocked_by_report", **more)


def flip(path: Path, at: int = -200) -> None:
    """Change one bit of a file."""
    octets = bytearray(path.read_bytes())
    octets[at] ^= 1
    path.write_bytes(octets)
