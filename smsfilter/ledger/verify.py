"""The offline proof: one pass over an export, in memory that does not grow with it.

Trusts the public keys and nothing else. Whoever wrote the file may have had the database with its
owner's rights: triggers dropped, columns adjusted, all hashes computed anew, checkpoints deleted.
What he has not is the key. So the hashes show what was done without computing them anew
(this file), and the signed checkpoints show the rest (signatures.py).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from smsfilter.ledger.chain import GENESIS, Entry, Row, chain_id, link, parse
from smsfilter.ledger.export import MAX_LINE, Header, SignedLine, decode, read_end
from smsfilter.ledger.faults import Faults, Pending
from smsfilter.ledger.signatures import Signatures
from smsfilter.ledger.signed import UnknownKeyError, UnsignedError
from smsfilter.ledger.verdict import Coverage, Fault, Gap, Kind, Verdict, limits

_COLUMNS = tuple(field.name for field in fields(Entry) if field.name != "detail")


def verify(
    lines: Iterable[bytes], keys: Mapping[str, Ed25519PublicKey], witnesses: Sequence[str] = ()
) -> Verdict:
    """Say whether an export is what was entered. `keys` are by `key_id`.

    Each line has its newline; one longer than MAX_LINE may be cut off there. ValueError if a
    witness is no checkpoint or its signature does not hold under `keys`: then what was brought
    along is wrong, which says nothing of the ledger.
    """
    reading = iter(lines)
    first = next(reading, b"")
    header: object = None
    with suppress(ValueError):
        header = decode(first)
    if not isinstance(header, Header):
        what = "the file does not begin with the header of an export"
        return Verdict(Fault(Kind.UNREADABLE, None, None, what, 1), (), None, ())
    faults = Faults()
    signatures = Signatures(header, keys, witnesses, faults)
    return _Pass(header, keys, signatures, faults).run(first, reading)


class _Pass:
    """Walks along the records. Holds the last one only."""

    def __init__(
        self,
        header: Header,
        keys: Mapping[str, Ed25519PublicKey],
        signatures: Signatures,
        faults: Faults,
    ) -> None:
        self._header = header
        self._keys = keys
        self._signatures = signatures
        self._faults = faults
        self._digest = sha256()
        self._rows = 0
        self._seq = header.first - 1
        self._hash: bytes | None = GENESIS if header.first == 1 else None
        """The hash of the last record; None until the first record of a later part names it."""
        self._chain = header.chain
        """The chain that the first record makes; that of the header where the file lacks it."""
        self._first_at: int | None = None
        self._last_at: int | None = None

    def run(self, first: bytes, lines: Iterator[bytes]) -> Verdict:
        """Read everything and conclude."""
        faults = self._faults
        self._digest.update(first)
        self._signatures.passed(self._seq, None)
        end: str | None = None
        for line in lines:
            faults.line += 1
            if end is not None:
                faults.blame(Kind.EDITED, None, "there are lines behind the end")
                break
            end = self._read(line)
            if end is None:
                self._digest.update(line)
        self._signatures.settle(self._seq, self._hash or b"")
        faults.end_of_records(self._seq)
        if end is None:
            faults.blame(Kind.CUT, self._seq + 1, "the file does not reach its end")
        else:
            self._check_end(end)
        self._signatures.beyond(self._seq)
        return self._verdict()

    def _read(self, line: bytes) -> str | None:
        """Take in a line; return the text of the end where it is that."""
        faults, following = self._faults, self._seq + 1
        if len(line) > MAX_LINE:
            faults.blame(Kind.EDITED, following, f"the line has more than {MAX_LINE} octets")
            return None
        if not line.endswith(b"\n"):
            faults.blame(Kind.CUT, following, "the file ends in the middle of a line")
            return None
        try:
            content = decode(line)
        except ValueError as error:
            faults.blame(Kind.EDITED, following, f"the line cannot be read: {error}")
            return None
        if isinstance(content, Row):
            self._row(content)
        elif isinstance(content, SignedLine):
            if content.kind == "end":
                return content.text
            self._signatures.add(content.text, self._seq)
        else:
            faults.blame(Kind.EDITED, following, "a second header")
        return None

    def _row(self, row: Row) -> None:
        self._rows += 1
        if self._hash is None:
            self._hash = row.prev
        self._signatures.settle(self._seq, self._hash)
        if not _fits(row.prev, row):
            self._unfit(row)
            return
        try:
            entry = parse(row.body)
        except ValueError as error:
            self._faults.blame(Kind.NOT_CANONICAL, self._seq + 1, str(error))
            self._advance(self._seq + 1, row.hash, None)
            return
        differing = [name for name in _COLUMNS if not _same(getattr(row, name), entry, name)]
        if differing:
            what = f"columns that differ from the record: {', '.join(differing)}"
            self._faults.blame(Kind.COLUMN, entry.seq, what)
        if self._place(entry.seq, row) and row.prev != self._hash:
            what = (
                f"the record with seq {entry.seq} hangs on another one than the one before it; "
                "hashes up to there were computed anew"
            )
            first = min(self._signatures.covered + 1, entry.seq)
            self._faults.blame(Kind.RECOMPUTED, first, what, entry.seq, Pending.LINK)
        self._advance(entry.seq, row.hash, entry)

    def _unfit(self, row: Row) -> None:
        """A record whose hash is not that of its body and of the hash before."""
        expected = self._seq + 1
        seq = row.seq if type(row.seq) is int else expected
        if seq == expected or row.prev == self._hash:
            seq = expected
            has_false_prev = self._hash is not None and _fits(self._hash, row)
            what = "its copy of the hash before" if has_false_prev else "its body or its hash"
            self._faults.blame(Kind.EDITED, seq, f"{what} is not what was entered")
        else:
            self._place(seq, row)
        self._advance(seq, row.hash, None)

    def _place(self, seq: int, row: Row) -> bool:
        """Return whether a record has the seq that is next; if not, blame what that means."""
        faults, expected = self._faults, self._seq + 1
        if faults.turned_up(seq):
            return seq == expected
        if seq > expected:
            what = f"after seq {self._seq} comes seq {seq}"
            faults.blame(Kind.DELETED, expected, what, seq - 1, Pending.MISSING)
        elif seq == self._seq and row.hash == self._hash:
            faults.blame(Kind.REORDERED, seq, "the same record stands there twice")
        elif seq < expected:
            what = f"after seq {self._seq} comes another record with seq {seq}"
            faults.blame(Kind.FORKED, seq, what)
        return seq == expected

    def _advance(self, seq: int, hash_: bytes, entry: Entry | None) -> None:
        """Go on behind a record; `entry` is None where it could not be read."""
        if self._rows == 1 and self._header.first == 1:
            self._chain = chain_id(hash_)
            if self._chain != self._header.chain:
                what = "the first record does not make the chain that the header names"
                self._faults.blame(Kind.RECOMPUTED, 1, what, pending=Pending.HEADER)
        self._seq, self._hash = max(self._seq, seq), hash_
        self._signatures.passed(self._seq, entry)
        if entry is not None:
            self._last_at = entry.at
            if self._first_at is None:
                self._first_at = entry.at

    def _check_end(self, text: str) -> None:
        faults, header = self._faults, self._header
        try:
            end = read_end(text, self._keys)
        except UnsignedError as error:
            is_unknown = isinstance(error, UnknownKeyError)
            kind = Kind.UNKNOWN_KEY if is_unknown else Kind.BAD_SIGNATURE
            faults.blame(kind, None, f"the end: {error}")
            return
        except ValueError as error:
            faults.blame(Kind.EDITED, None, f"the end is none: {error}")
            return
        if end.header.chain == self._chain:
            faults.header_is_wrong()
        if end.header != header:
            faults.blame(Kind.EDITED, None, "the header is not the one that was exported")
        if self._seq < header.last:
            what = f"the file ends at seq {self._seq} and was exported up to {header.last}"
            faults.blame(Kind.CUT, self._seq + 1, what, header.last)
        here = self._signatures.checkpoints
        if here < end.checkpoints:
            what = f"{end.checkpoints} checkpoints were exported and {here} are here"
            faults.blame(Kind.DELETED, None, what)
        if end.digest != self._digest.hexdigest() or end.rows != self._rows:
            faults.blame(Kind.EDITED, None, "the lines are not those that were exported")

    def _verdict(self) -> Verdict:
        header, signatures, faults = self._header, self._signatures, self._faults
        if self._rows == 0:
            faults.find(Gap.EMPTY, header.first, "there is no record in the file")
        elif faults.first is None and signatures.covered < self._seq:
            what = "no checkpoint covers these records"
            faults.find(Gap.UNCOVERED, signatures.covered + 1, what, self._seq)
        coverage = Coverage(
            chain=header.chain,
            rows=self._rows,
            first=header.first,
            last=self._seq,
            first_at=self._first_at,
            last_at=self._last_at,
            exported_at=header.exported_at,
            checkpoints=signatures.checkpoints,
            witnesses=signatures.agreeing,
            covered=signatures.covered,
        )
        said = limits(header.first, signatures.is_based, signatures.newest)
        return Verdict(faults.first, faults.findings, coverage, said)


def _fits(prev: bytes, row: Row) -> bool:
    return len(prev) == len(GENESIS) and link(prev, row.body) == row.hash


def _same(column: object, entry: Entry, name: str) -> bool:
    """Whether a column has the value of the entry, and its type: 1, 1.0 and true differ."""
    value = getattr(entry, name)
    return column == value and type(column) is type(value)
