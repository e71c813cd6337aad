"""Ledgers to be verified, and what somebody without the key can do to them.

`book` makes one as the desk does: records each a second apart, a checkpoint behind every few.
`rechain` computes the hashes anew, as the owner of the database can; only `KEY` can sign.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from smsfilter.ledger.chain import GENESIS, Entry, Row, chain_id, link, parse, row
from smsfilter.ledger.checkpoint import Checkpoint, key_id, sign
from smsfilter.ledger.export import (
    End,
    Header,
    encode_checkpoint,
    encode_end,
    encode_header,
    encode_row,
    export,
)

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
KEYS = {key_id(KEY.public_key()): KEY.public_key()}
START = 1_764_221_894_000_000
"""2025-11-27T05:38:14Z."""
SECOND = 1_000_000


def entry(seq: int, action: str = "block.add", **fields: object) -> Entry:
    """One act; the first of a chain is `init`."""
    values: dict[str, object] = {
        "seq": seq,
        "at": START + seq * SECOND,
        "actor": "sms:c0ffee",
        "role": "reporter",
        "origin": "smsc",
        "action": "init" if seq == 1 else action,
        "object": f"block:{seq}",
        "case_id": f"case-{seq}" if seq % 2 else None,
        "customer_id": "c0ffee",
        "detail": {"company": "某公司", "n": seq, "sources": ["1065755501"]},
    }
    return Entry(**(values | fields))  # type: ignore[arg-type]


def chained(entries: Sequence[Entry]) -> list[Row]:
    """The rows of these entries."""
    rows: list[Row] = []
    for each in entries:
        rows.append(row(each, rows[-1].hash if rows else GENESIS))
    return rows


def rechain(rows: Sequence[Row], start: int = 0) -> list[Row]:
    """The same bodies with all hashes from index `start` on computed anew."""
    made = list(rows[:start])
    for each in rows[start:]:
        prev = made[-1].hash if made else GENESIS
        made.append(replace(each, prev=prev, hash=link(prev, each.body)))
    return made


def rewritten(each: Row, **fields: object) -> Row:
    """A row with another body and columns to match; the hashes stay."""
    changed = row(replace(parse(each.body), **fields), GENESIS)  # type: ignore[arg-type]
    return replace(changed, prev=each.prev, hash=each.hash)


def signed(
    rows: Sequence[Row], seq: int, at: int | None = None, key: Ed25519PrivateKey = KEY
) -> str:
    """A checkpoint of the row with this seq, signed a second after it was entered."""
    head = next(each for each in rows if each.seq == seq)
    return sign(
        Checkpoint(
            chain=chain_id(rows[0].hash),
            seq=seq,
            hash=head.hash,
            at=head.at + SECOND if at is None else at,
            key_id=key_id(key.public_key()),
        ),
        key,
    )


@dataclass(frozen=True)
class Book:
    """A ledger: its rows and its checkpoints by seq."""

    rows: list[Row]
    checkpoints: list[tuple[int, str]]

    def export(
        self, first: int = 1, exported_at: int | None = None, chain: str | None = None
    ) -> list[bytes]:
        """The lines of an export by the desk, from `first` on."""
        rows = [each for each in self.rows if each.seq >= first]
        header = Header(
            chain=chain or chain_id(self.rows[0].hash),
            exported_at=START + 10**6 * SECOND if exported_at is None else exported_at,
            first=first,
            last=self.rows[-1].seq,
        )
        checkpoints = [each for each in self.checkpoints if each[0] >= first - 1]
        return list(export(header, rows, checkpoints, KEY))


def book(count: int, every: int = 4, entries: Sequence[Entry] | None = None) -> Book:
    """A ledger of so many records, with a checkpoint behind every few and behind the last."""
    rows = chained(entries or [entry(seq) for seq in range(1, count + 1)])
    seqs = sorted({*range(every, len(rows) + 1, every), len(rows)})
    return Book(rows, [(seq, signed(rows, seq)) for seq in seqs])


def stream(count: int, every: int = 1_000) -> Iterator[bytes]:
    """The export of a long ledger, made line by line and never held as a whole."""
    prev, checkpoints, digest = GENESIS, 0, sha256()
    chain = chain_id(row(entry(1, at=START), GENESIS).hash)
    header = Header(chain, START + count * SECOND, 1, count)

    def lines() -> Iterator[bytes]:
        nonlocal prev, checkpoints
        yield encode_header(header)
        for seq in range(1, count + 1):
            made = row(entry(seq, at=START + (seq - 1) * 1_000), prev)
            prev = made.hash
            yield encode_row(made)
            if seq % every == 0 or seq == count:
                checkpoints += 1
                said = Checkpoint(chain, seq, prev, made.at, key_id(KEY.public_key()))
                yield encode_checkpoint(sign(said, KEY))

    for line in lines():
        digest.update(line)
        yield line
    yield encode_end(End(header, count, checkpoints, digest.hexdigest()), KEY)
