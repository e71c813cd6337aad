"""Where one PDU ends and the next begins, by nothing but command_length."""

import pytest

from smsfilter.smpp.framer import Framer
from tests.fakes import wire

ENQUIRE = wire.pack(0x15, 7)
SUBMIT = wire.submit_sm(8, "10657555", "8613800138000")
ALL = 1 << 30


def test_whole_pdus_come_as_spans_of_one_buffer() -> None:
    framer = Framer(70_000)
    assert framer.feed(ENQUIRE + SUBMIT)
    buffer, spans = framer.take(ALL)
    assert buffer == ENQUIRE + SUBMIT
    assert spans == [(0, 16, 0x15, 0, 7), (16, 16 + len(SUBMIT), 4, 0, 8)]
    assert framer.size == 0
    assert not framer.ready()


def test_the_tail_is_kept_and_its_rest_awaited() -> None:
    framer = Framer(70_000)
    assert framer.feed(ENQUIRE + SUBMIT[:20])
    assert framer.take(ALL) == (ENQUIRE, [(0, 16, 0x15, 0, 7)])
    assert framer.size == 20
    assert not framer.feed(SUBMIT[20:-1]), "nothing whole, so nobody needs to look"
    assert not framer.ready()
    assert framer.feed(SUBMIT[-1:] + ENQUIRE[:3])
    assert framer.take(ALL) == (SUBMIT, [(0, len(SUBMIT), 4, 0, 8)])
    assert framer.feed(ENQUIRE[3:])
    assert framer.take(ALL)[0] == ENQUIRE


def test_no_more_are_taken_than_asked_for() -> None:
    framer = Framer(70_000)
    framer.feed(ENQUIRE * 3)
    assert framer.take(2)[0] == ENQUIRE * 2
    assert framer.ready()
    buffer, spans = framer.take(2)
    assert buffer == ENQUIRE
    assert spans == [(0, 16, 0x15, 0, 7)]


def test_a_number_and_a_status_of_any_value_are_read_as_they_are() -> None:
    framer = Framer(70_000)
    framer.feed(wire.pack(0xFFFFFFFF, 0xFFFFFFFF, b"", 0x80000001) + wire.pack(0, 0))
    assert framer.take(ALL)[1] == [
        (0, 16, 0xFFFFFFFF, 0x80000001, 0xFFFFFFFF),
        (16, 32, 0, 0, 0),
    ]


@pytest.mark.parametrize("length", [0, 1, 15, 1001, 0x7FFFFFFF, 0xFFFFFFFF, 0x48545450])
def test_a_length_that_is_none_breaks_the_stream(length: int) -> None:
    framer = Framer(1000)
    bad = length.to_bytes(4, "big") + (0x15).to_bytes(4, "big") + bytes(4) + b"\0\0\0\x2a"
    framer.feed(ENQUIRE + bad + ENQUIRE)
    assert framer.take(ALL) == (ENQUIRE, [(0, 16, 0x15, 0, 7)]), "what came before it counts"
    assert framer.broken is not None
    assert framer.broken.sequence_number == 0x2A
    assert framer.broken.command_status == 2
    assert not framer.feed(ENQUIRE), "where a PDU begins is unknown from here on"
    assert not framer.ready()
    assert framer.size == 0


def test_four_octets_are_enough_to_see_that_it_is_no_pdu() -> None:
    framer = Framer(1000)
    assert framer.feed(b"GET ")
    assert framer.take(ALL) == (b"", [])
    assert framer.broken is not None
    assert framer.broken.sequence_number == 0, "it was not read"


def test_the_longest_and_the_shortest_pdu() -> None:
    framer = Framer(1000)
    longest = wire.pack(4, 1, bytes(984))
    assert len(longest) == 1000
    framer.feed(longest + ENQUIRE)
    assert len(framer.take(ALL)[1]) == 2
    assert framer.broken is None


def test_the_limit_may_be_raised_between_two_pdus() -> None:
    framer = Framer(64)
    framer.feed(ENQUIRE)
    framer.take(ALL)
    framer.limit = 70_000
    framer.feed(SUBMIT)
    assert framer.take(ALL)[0] == SUBMIT


def test_a_large_pdu_in_single_octets_is_joined_once() -> None:
    """Looking at each octet would make 70,000 of them cost billions of steps."""
    framer = Framer(70_000)
    large = wire.pack(4, 1, bytes(69_984))
    looks = 0
    for at in range(len(large)):
        if framer.feed(large[at : at + 1]):
            looks += 1
            framer.take(ALL)
    assert looks == 2, "once for its length, once for the whole"
    assert framer.size == 0
