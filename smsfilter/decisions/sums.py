"""What is made of a stream when its segment is closed: the index by token, and the footer."""

from smsfilter.decisions.layout import NOBODY, VERDICTS, End, Footer, Kind, entry, record


def sum_up(
    stream: bytes | memoryview, how: End, since: int, until: int, prev: bytes
) -> tuple[bytes, Footer]:
    """The index of a sound stream and its footer, but for the names.

    By the first octet of the token first: many short sorts are faster than a long one, and take
    a fraction of its memory.
    """
    buckets = [bytearray() for _ in range(256)]
    pack = entry.pack
    records, lost, seqs = 0, 0, set[int]()
    for slot, (_, token, _, _, seq, _, _, kind) in enumerate(record.iter_unpack(stream)):
        if kind in VERDICTS:
            records += 1
            if kind != Kind.RECEIPT:
                seqs.add(seq)
            if token != NOBODY:
                buckets[token[0]] += pack(token, slot)
        elif kind == Kind.LOST:
            lost += seq
    seqs.discard(0)
    index = b"".join(map(_sorted, buckets))
    return index, Footer(
        how,
        len(index) // entry.size,
        0,
        min(seqs, default=0),
        max(seqs, default=0),
        records,
        lost,
        since,
        until,
        prev,
    )


def _sorted(bucket: bytearray) -> bytes:
    """The entries of a bucket in order."""
    width = entry.size
    return b"".join(sorted(bytes(bucket[at : at + width]) for at in range(0, len(bucket), width)))
