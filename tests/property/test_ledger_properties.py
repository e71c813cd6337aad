"""Any ledger that is clean is proven; any one thing done to it is found, by its name and place."""

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from smsfilter.ledger.chain import Entry, Row, chain_id, link, parse, row
from smsfilter.ledger.verdict import Fault, Kind
from smsfilter.ledger.verify import verify
from tests.fakes.ledger import KEYS, SECOND, START, Book, chained, entry, rechain, rewritten, signed

NAMES = [name for name in Entry.__slots__ if name not in ("seq", "detail")]
LATER = START + 3600 * SECOND
acts = st.tuples(st.integers(-2, 9), st.text('a公\n"', max_size=3), st.integers(0, 9) | st.none())
few = settings(max_examples=40, deadline=None)


@st.composite
def books(draw: st.DrawFn, least: int = 1) -> Book:
    """A ledger with checkpoints here and there, and one of its last record.

    Its acts are some seconds apart at most; the clock may go back.
    """
    at, entries = START, []
    for seq, (seconds, text, number) in enumerate(
        draw(st.lists(acts, min_size=least, max_size=9)), 1
    ):
        at += seconds * SECOND
        entries.append(
            entry(seq, at=at, object=text, case_id=text or None, detail={text: [number]})
        )
    rows = chained(entries)
    seqs = sorted({*draw(st.sets(st.integers(1, len(rows)), max_size=3)), len(rows)})
    return Book(rows, [(seq, signed(rows, seq)) for seq in seqs])


def covered(book: Book, seq: int) -> int:
    """The last record before `seq` that a checkpoint proves."""
    return max((at for at, _ in book.checkpoints if at < seq), default=0)


def next_signed(book: Book, seq: int) -> int:
    """The first checkpoint at `seq` or behind it."""
    return min(at for at, _ in book.checkpoints if at >= seq)


def fault_of(rows: Sequence[Row], book: Book) -> Fault:
    """What is found in the desk's export of these rows with the checkpoints of the book."""
    chain = chain_id(book.rows[0].hash)
    lines = Book(list(rows), book.checkpoints).export(exported_at=LATER, chain=chain)
    found = verify(lines, KEYS).fault
    assert found is not None
    return found


def another(text: str) -> str:
    return text + "x"


@few
@given(books(), st.data())
def test_a_clean_ledger_is_proven_whole_and_in_part(book: Book, data: st.DataObject):
    seqs = st.sets(st.integers(1, len(book.rows)), max_size=3)
    witnesses = [signed(book.rows, seq) for seq in sorted(data.draw(seqs))]
    assert verify(book.export(), KEYS, witnesses).status == "ok"
    first = data.draw(st.integers(1, len(book.rows)))
    assert verify(book.export(first), KEYS).status == "ok"


@few
@given(books(), st.data())
def test_any_octet_changed_in_the_file_is_found(book: Book, data: st.DataObject):
    octets = bytearray(b"".join(book.export()))
    octets[data.draw(st.integers(0, len(octets) - 1))] ^= data.draw(st.integers(1, 255))
    lines = bytes(octets).splitlines(keepends=True)
    assert verify(lines, KEYS).status == "bad"


@few
@given(books(), st.data())
def test_a_file_cut_anywhere_is_found(book: Book, data: st.DataObject):
    octets = b"".join(book.export())
    lines = octets[: data.draw(st.integers(0, len(octets) - 1))].splitlines(keepends=True)
    fault = verify(lines, KEYS).fault
    assert fault is not None
    assert fault.kind is (Kind.CUT if lines and lines[0].endswith(b"\n") else Kind.UNREADABLE)


@few
@given(books(), st.data())
def test_an_edited_record_is_named(book: Book, data: st.DataObject):
    rows = list(book.rows)
    index = data.draw(st.integers(0, len(rows) - 1))
    part = data.draw(st.sampled_from(["body", "octet", "hash", "prev"]))
    each = rows[index]
    if part == "body":
        rows[index] = rewritten(each, object=another(each.object))
    elif part == "octet":
        place = data.draw(st.integers(0, len(each.body) - 1))
        octet = bytes([each.body[place] ^ data.draw(st.integers(1, 255))])
        rows[index] = replace(each, body=each.body[:place] + octet + each.body[place + 1 :])
    else:
        rows[index] = replace(each, **{part: bytes([0xEE]) * 32})
    fault = fault_of(rows, book)
    assert (fault.kind, fault.seq, fault.until) == (Kind.EDITED, index + 1, index + 1)


@few
@given(books(), st.data())
def test_a_false_column_is_named(book: Book, data: st.DataObject):
    rows = list(book.rows)
    index = data.draw(st.integers(0, len(rows) - 1))
    name = data.draw(st.sampled_from(NAMES))
    value = getattr(rows[index], name)
    false = value + 1 if isinstance(value, int) else another(value or "")
    rows[index] = replace(rows[index], **{name: false})
    fault = fault_of(rows, book)
    assert (fault.kind, fault.seq, fault.until) == (Kind.COLUMN, index + 1, index + 1)


@few
@given(books(least=3), st.data())
def test_deleted_records_are_named(book: Book, data: st.DataObject):
    first = data.draw(st.integers(2, len(book.rows) - 1))
    last = data.draw(st.integers(first, len(book.rows) - 1))
    kept = [each for each in book.rows if not first <= each.seq <= last]
    fault = fault_of(kept, book)
    assert (fault.kind, fault.seq) == (Kind.DELETED, first)
    assert fault.until in range(first, last + 1)


@few
@given(books(least=3), st.data())
def test_records_that_changed_places_are_named(book: Book, data: st.DataObject):
    """In the file: a database returns them by seq."""
    lines = book.export()
    places = [number for number, line in enumerate(lines) if line.startswith(b'{"row"')]
    one, two = sorted(data.draw(st.sets(st.integers(0, len(places) - 1), min_size=2, max_size=2)))
    lines[places[one]], lines[places[two]] = lines[places[two]], lines[places[one]]
    fault = verify(lines, KEYS).fault
    assert fault is not None
    assert (fault.kind, fault.seq) == (Kind.REORDERED, one + 1)


@few
@given(books(least=2), st.data())
def test_a_cut_tail_is_named(book: Book, data: st.DataObject):
    left = data.draw(st.integers(1, len(book.rows) - 1))
    fault = fault_of(book.rows[:left], book)
    assert (fault.kind, fault.seq) == (Kind.CUT, left + 1)
    dropped = [each for each in book.checkpoints if each[0] <= left]
    lines = Book(book.rows[:left], dropped).export(exported_at=LATER)
    witnessed = verify(lines, KEYS, [signed(book.rows, len(book.rows))]).fault
    assert witnessed is not None
    assert (witnessed.kind, witnessed.seq) == (Kind.CUT, left + 1)


@few
@given(books(), st.data())
def test_a_chain_computed_anew_is_named_with_its_range(book: Book, data: st.DataObject):
    rows = list(book.rows)
    index = data.draw(st.integers(0, len(rows) - 1))
    rows[index] = rewritten(rows[index], object=another(rows[index].object))
    fault = fault_of(rechain(rows, index), book)
    assert fault.kind is Kind.RECOMPUTED
    assert fault.seq is not None
    assert fault.until is not None
    assert fault.seq <= index + 1 <= fault.until
    if index:
        assert fault.seq == covered(book, index + 1) + 1
        assert fault.until == next_signed(book, index + 1)


@few
@given(books(least=2), st.data())
def test_hashes_computed_anew_up_to_a_record_are_named(book: Book, data: st.DataObject):
    """The forger stops at `stop`: the one behind it still hangs on the true record."""
    rows = list(book.rows)
    index = data.draw(st.integers(1, len(rows) - 1))
    stop = data.draw(st.integers(index, len(rows) - 1))
    rows[index] = rewritten(rows[index], object=another(rows[index].object))
    rows = [*rechain(rows[: stop + 1], index), *rows[stop + 1 :]]
    fault = fault_of(rows, book)
    assert fault.kind in (Kind.RECOMPUTED, Kind.FORKED)
    assert fault.seq == covered(book, index + 1) + 1
    assert fault.until is not None
    assert index + 1 <= fault.until <= max(stop + 1, next_signed(book, index + 1))


@few
@given(books(least=2), st.data())
def test_a_second_history_is_named(book: Book, data: st.DataObject):
    index = data.draw(st.integers(1, len(book.rows) - 1))
    before = book.rows[index - 1]
    other = replace(parse(book.rows[index].body), object="another history")
    rows = [*book.rows[: index + 1], row(other, before.hash), *book.rows[index + 1 :]]
    fault = fault_of(rows, book)
    assert (fault.kind, fault.seq) == (Kind.FORKED, index + 1)


@few
@given(books(least=2), st.data())
def test_a_second_history_that_is_signed_is_named(book: Book, data: st.DataObject):
    index = data.draw(st.integers(1, len(book.rows) - 1))
    rows = list(book.rows)
    rows[index] = rewritten(rows[index], object=another(rows[index].object))
    forged = rechain(rows, index)
    kept = [each for each in book.checkpoints if each[0] <= index]
    lines = Book(forged, [*kept, (len(rows), signed(forged, len(rows)))]).export()
    seq = data.draw(st.integers(index + 1, len(rows)))
    fault = verify(lines, KEYS, [signed(book.rows, seq)]).fault
    assert fault is not None
    assert (fault.kind, fault.seq, fault.until) == (Kind.FORKED, covered(book, index + 1) + 1, seq)


@few
@given(books(), st.data())
def test_a_record_in_another_spelling_is_named(book: Book, data: st.DataObject):
    rows = list(book.rows)
    index = data.draw(st.integers(0, len(rows) - 1))
    body = rows[index].body
    other = data.draw(st.sampled_from([b" " + body, body[:-1] + b',"a":1}', b"{}", b"\xff", b""]))
    prev = rows[index].prev
    rows[index] = replace(rows[index], body=other, hash=link(prev, other))
    fault = fault_of(rechain(rows, index), book)
    assert (fault.kind, fault.seq) == (Kind.NOT_CANONICAL, index + 1)
