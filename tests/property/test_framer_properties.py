"""However a stream is cut into chunks, the same PDUs come out of it."""

from hypothesis import given
from hypothesis import strategies as st

from smsfilter.smpp.framer import Framer
from tests import strategies  # noqa: F401 - the profile for cores that others use
from tests.fakes import wire

LIMIT = 200

pdus = st.builds(
    wire.pack,
    st.integers(0, 0xFFFFFFFF),
    st.integers(0, 0xFFFFFFFF),
    st.binary(max_size=LIMIT - 16),
    st.integers(0, 0xFFFFFFFF),
)
broken = st.builds(
    lambda length, rest: length.to_bytes(4, "big") + rest,
    st.integers(0, 15) | st.integers(LIMIT + 1, 0xFFFFFFFF),
    st.binary(max_size=40),
)


@st.composite
def chunked(draw: st.DrawFn, octets: bytes) -> list[bytes]:
    """`octets` in pieces."""
    cuts = sorted(draw(st.lists(st.integers(0, len(octets)), max_size=30)))
    return [octets[a:b] for a, b in zip([0, *cuts], [*cuts, len(octets)], strict=True)]


def run(framer: Framer, chunks: list[bytes], most: int) -> list[tuple[bytes, tuple[int, ...]]]:
    """Every PDU with its header, taken at most `most` at a time."""
    found = []
    for chunk in chunks:
        if not framer.feed(chunk):
            continue
        while framer.ready():
            buffer, spans = framer.take(most)
            assert len(spans) <= most
            assert len(buffer) == (spans[-1][1] if spans else 0)
            found += [(buffer[start:end], header) for start, end, *header in spans]
    return [(octets, tuple(header)) for octets, header in found]


def expected(whole: list[bytes]) -> list[tuple[bytes, tuple[int, ...]]]:
    return [(octets, tuple(wire.header(octets)[1:])) for octets in whole]


@given(st.data(), st.lists(pdus, max_size=8), st.integers(1, 5))
def test_any_chunking_gives_the_same_pdus(data: st.DataObject, whole: list[bytes], most: int):
    chunks = data.draw(chunked(b"".join(whole)))
    framer = Framer(LIMIT)
    assert run(framer, chunks, most) == expected(whole)
    assert framer.size == 0
    assert framer.broken is None


@given(st.data(), st.lists(pdus, max_size=8), st.integers(1, 5))
def test_a_tail_is_kept_octet_for_octet(data: st.DataObject, whole: list[bytes], most: int):
    stream = b"".join(whole)
    end = data.draw(st.integers(0, len(stream)))
    chunks = data.draw(chunked(stream[:end]))
    framer = Framer(LIMIT)
    found = run(framer, chunks, most)
    assert found == expected(whole)[: len(found)]
    assert framer.size == end - sum(len(octets) for octets, _ in found)
    assert found + run(framer, [stream[end:]], most) == expected(whole)


@given(st.data(), st.lists(pdus, max_size=4), broken, st.integers(1, 5))
def test_a_broken_stream_breaks_at_the_same_pdu(
    data: st.DataObject, whole: list[bytes], bad: bytes, most: int
):
    chunks = data.draw(chunked(b"".join(whole) + bad))
    framer = Framer(LIMIT)
    assert run(framer, chunks, most) == expected(whole)
    assert framer.broken is not None
    assert framer.size == 0


@given(st.data(), st.binary(max_size=300))
def test_random_octets_never_give_more_than_they_hold(data: st.DataObject, octets: bytes):
    framer = Framer(LIMIT)
    found = run(framer, data.draw(chunked(octets)), 3)
    taken = b"".join(octets for octets, _ in found)
    assert octets.startswith(taken)
    assert framer.broken is not None or framer.size == len(octets) - len(taken)
