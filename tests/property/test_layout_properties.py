"""Segments of decision records: what is written is read, of any prefix whatever is whole."""

import contextlib
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsfilter.decisions import layout
from smsfilter.decisions.layout import (
    HEADER,
    NAME_MOST,
    NOBODY,
    SLOT,
    DamagedError,
    End,
    Header,
    Kind,
    Name,
    Record,
    Table,
)
from smsfilter.decisions.sums import sum_up

u32 = st.integers(0, 2**32 - 1)
tokens = st.binary(min_size=8, max_size=8)
records = st.builds(
    Record,
    at=st.integers(0, 2**64 - 1),
    token=tokens | st.just(NOBODY),
    company=u32,
    source=u32,
    seq=u32,
    policy=st.integers(0, 2**16 - 1),
    reason=st.integers(0, 255),
    kind=st.sampled_from(sorted(layout.VERDICTS)),
)
names = st.builds(Name, st.sampled_from(Table), u32, st.text(max_size=200))
slots = st.lists(records | names, max_size=12)
headers = st.builds(
    Header,
    proxy=st.text("abc-é", max_size=20),
    key_id=st.binary(min_size=8, max_size=8),
    boot_id=st.binary(min_size=16, max_size=16),
    opened_at=st.integers(0, 2**64 - 1),
    number=u32,
    continues=st.booleans(),
)


def packed(one: Record | Name) -> bytes:
    return layout.record.pack(*one) if isinstance(one, Record) else layout.name_slots(one)


def stream_of(ones: list[Record | Name]) -> bytes:
    return b"".join(map(packed, ones))


def read(stream: bytes) -> tuple[list[Record], list[Name]]:
    return [one for _, one in layout.records(stream)], list(layout.names(stream))


@given(headers)
def test_a_header_is_read_as_it_was_written(header: Header) -> None:
    octets = layout.pack_header(header)
    assert len(octets) == HEADER
    assert layout.read_header(octets) == header
    assert layout.number_of(octets, 0) == header.number


@given(st.binary(max_size=300))
def test_anything_else_is_no_header(octets: bytes) -> None:
    with pytest.raises(DamagedError):
        layout.read_header(octets)


@given(slots)
def test_a_stream_is_read_as_it_was_written(ones: list[Record | Name]) -> None:
    stream = stream_of(ones)
    assert layout.whole(stream) == len(stream)
    assert read(stream) == (
        [one for one in ones if isinstance(one, Record)],
        [one for one in ones if isinstance(one, Name)],
    )
    assert layout.count(stream) == len(read(stream)[0])


@given(slots, st.data())
def test_of_a_stream_that_was_cut_its_whole_slots_are_there(
    ones: list[Record | Name], data: st.DataObject
) -> None:
    stream = stream_of(ones)
    cut = data.draw(st.integers(0, len(stream)))
    rest = data.draw(st.sampled_from((b"", bytes(64), b"\0\0\0")))
    size = layout.whole(stream[:cut] + rest)
    expected = 0
    for one in ones:
        if expected + len(packed(one)) > cut:
            break
        expected += len(packed(one))
    assert size == expected
    assert (
        read(stream[:size])[0]
        == [one for one in ones if isinstance(one, Record)][: layout.count(stream[:size])]
    )


@given(st.binary(max_size=400))
def test_any_octets_have_a_sound_beginning(octets: bytes) -> None:
    size = layout.whole(octets)
    assert size % SLOT == 0
    assert layout.whole(octets[:size]) == size
    with contextlib.suppress(DamagedError):  # a name of no table that this version knows
        list(layout.names(octets[:size]))


@given(slots, slots)
def test_nothing_behind_the_end_counts(
    before: list[Record | Name], behind: list[Record | Name]
) -> None:
    stream = stream_of(before) + layout.end_slot(End.RECOVERED, 77)
    assert layout.whole(stream + stream_of(behind)) == len(stream)
    assert layout.ending(stream) == (End.RECOVERED, 77)
    assert layout.ending(stream_of(before)) == (End.OPEN, 0)


@given(st.integers(0, 2**40), st.integers(0, 2**60), st.integers(0, 2**60))
def test_a_loss_is_declared_in_a_slot(count: int, first: int, last: int) -> None:
    slot = layout.lost_slot(count, first, last)
    assert layout.whole(slot) == SLOT
    assert layout.lost(slot) == min(count, 2**32 - 1)
    assert layout.count(slot) == 0


@given(slots, tokens)
def test_what_the_index_finds_is_what_is_there(ones: list[Record | Name], other: bytes) -> None:
    stream = stream_of(ones) + layout.end_slot(End.ORDERLY, 9)
    index, footer = sum_up(stream, End.ORDERLY, 1, 9, bytes(32))
    entries = list(layout.entry.iter_unpack(index))
    there = [(one.token, slot) for slot, one in layout.records(stream) if one.token != NOBODY]
    assert entries == sorted(there)
    assert footer.indexed == len(there)
    for token in ({token for token, _ in there} | {other}) - {NOBODY}:
        assert list(layout.find(stream, token)) == [slot for one, slot in there if one == token]


def test_a_name_longer_than_any_is_cut() -> None:
    octets = layout.name_slots(Name(Table.COMPANY, 1, "é" * NAME_MOST))
    assert layout.whole(octets) == len(octets)
    (name,) = layout.names(octets)
    assert name.text == "é" * (NAME_MOST // 2)


def test_the_footer_says_where_everything_is() -> None:
    one = Record(5, b"12345678", 1, 1, 7, 0, 0, Kind.FORWARD)
    stream = packed(one) + layout.end_slot(End.ORDERLY, 9)
    index, footer = sum_up(stream, End.ORDERLY, 1, 9, b"p" * 32)
    body = bytes(HEADER) + stream + index + layout.pack_footer(footer)
    whole = body + hashlib.sha256(body).digest()
    read_back, digest = layout.read_footer(whole)
    assert read_back == footer
    assert digest == hashlib.sha256(body).digest()
    assert layout.index_at(footer, len(whole)) == HEADER + len(stream)
    assert (footer.records, footer.seq_least, footer.seq_most) == (1, 7, 7)
    with pytest.raises(DamagedError):
        layout.read_footer(whole[:-1])


def test_a_proxy_has_a_name_that_fits() -> None:
    header = Header("x" * 64, bytes(8), bytes(16), 0, 1, continues=True)
    with pytest.raises(ValueError, match="63"):
        layout.pack_header(header)
