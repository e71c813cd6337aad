"""Parts of a report: in any order, doubled, any of them missing."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsfilter.reports.octets import delivered_by
from smsfilter.reports.parse import Report
from smsfilter.reports.parts import (
    MISSING,
    WAIT_US,
    Held,
    Part,
    first_part_names,
    gather,
    joined,
    part_of,
)
from smsfilter.smpp import const as c
from smsfilter.smpp.pdu import decode
from smsfilter.smpp.text import GBK, GSM, UCS_2, split_text
from tests.fakes import wire
from tests.fakes.wire import Tlv

UDHI = c.ESM_CLASS_UDHI
S = 1_000_000


def part(
    message: bytes, *, esm_class: int = 0, data_coding: int = 0, tlvs: Sequence[Tlv] = ()
) -> Part:
    octets = wire.deliver_sm(
        1,
        "13800138000",
        "10086999",
        message,
        esm_class=esm_class,
        data_coding=data_coding,
        tlvs=tlvs,
    )
    return part_of(delivered_by(decode(octets), 0))


def split(text: str, data_coding: int = UCS_2, reference: int = 7) -> list[Part]:
    messages = split_text(data_coding, text, reference)
    assert len(messages) > 1
    return [part(one, esm_class=UDHI, data_coding=data_coding) for one in messages]


def sar(reference: int, total: int, number: int) -> list[Tlv]:
    return [
        (c.TAG_SAR_MSG_REF_NUM, reference.to_bytes(2)),
        (c.TAG_SAR_TOTAL_SEGMENTS, bytes([total])),
        (c.TAG_SAR_SEGMENT_SEQNUM, bytes([number])),
    ]


@pytest.mark.parametrize(
    ("message", "options", "expected"),
    [
        (b"106*x", {}, Part(0, 1, 1, 0, b"106*x")),
        (b"\5\0\3\xcc\2\x01106", {"esm_class": UDHI}, Part(0xCC, 2, 1, 0, b"106")),
        (b"\6\x08\4\x12\x34\3\x02106", {"esm_class": UDHI}, Part(0x1234, 3, 2, 0, b"106")),
        (b"106", {"tlvs": sar(0x1234, 3, 2)}, Part(0x1234, 3, 2, 0, b"106")),
        (b"106", {"tlvs": sar(0x1234, 3, 2)[:2]}, Part(0, 1, 1, 0, b"106")),
        (b"", {"tlvs": [(c.TAG_MESSAGE_PAYLOAD, b"106*x")]}, Part(0, 1, 1, 0, b"106*x")),
        (
            b"",
            {"esm_class": UDHI, "tlvs": [(c.TAG_MESSAGE_PAYLOAD, b"\5\0\3\1\2\2x")]},
            Part(1, 2, 2, 0, b"x"),
        ),
        (b"\5\0\3\xcc\0\x00106", {"esm_class": UDHI}, Part(0, 1, 1, 0, b"106")),
        (b"\5\0\3\xcc\2\x03106", {"esm_class": UDHI}, Part(0, 1, 1, 0, b"106")),
        (b"\5\0\3\xcc\1\x01106", {"esm_class": UDHI}, Part(0, 1, 1, 0, b"106")),
        (b"\6\5\4\x0b\x84\x0b\x84106", {"esm_class": UDHI}, Part(0, 1, 1, 0, b"106")),
        (b"\xff\0\3106", {"esm_class": UDHI}, Part(0, 1, 1, 0, b"\xff\0\3106")),
        (b"\xc4\xfa", {"data_coding": GBK}, Part(0, 1, 1, GBK, b"\xc4\xfa")),
    ],
)
def test_a_pdu_is_a_part_or_whole(message: bytes, options: dict, expected: Part) -> None:
    found = part(message, **options)
    assert found == expected
    assert found.is_whole is (expected.total == 1)


@pytest.mark.parametrize(
    ("data_coding", "text"),
    [
        (GSM, "106575550001*€" + "you owe {5} " * 40),
        (UCS_2, "106*您好😀" * 60),
        (GBK, "106*您好" * 80),
    ],
)
@given(data=st.data())
def test_parts_are_joined_in_any_order(data_coding: int, text: str, data: st.DataObject) -> None:
    parts = split(text, data_coding)
    mixed = data.draw(st.permutations(parts + data.draw(st.lists(st.sampled_from(parts)))))
    found = joined(mixed)
    assert found.is_complete
    assert found.text().text == text
    assert not found.text().is_damaged


@given(st.binary(min_size=3, max_size=600), st.data())
def test_octets_may_be_cut_anywhere(octets: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(octets)), min_size=1, max_size=6)))
    pieces = [octets[a:b] for a, b in zip([0, *cuts], [*cuts, len(octets)], strict=True)]
    parts = [Part(1, len(pieces), n, UCS_2, piece) for n, piece in enumerate(pieces, 1)]
    [run] = joined(data.draw(st.permutations(parts))).runs
    assert run is not None
    assert run.octets == octets


@given(st.data())
def test_what_is_there_is_read_with_marks_where_parts_are_missing(data: st.DataObject) -> None:
    parts = split("106575550001*您好，低息贷款" * 20)
    there = data.draw(st.lists(st.sampled_from(parts), min_size=1, unique=True))
    found = joined(there)
    text = found.text()
    numbers = {one.number for one in there}
    assert set(found.missing) == {one.number for one in parts} - numbers
    assert found.is_complete is (len(there) == len(parts))
    assert text.is_damaged is not found.is_complete
    for one in there:
        assert one.octets.decode("utf-16-be") in text.text
    gaps = sum(n not in numbers and (n - 1 in numbers or n == 1) for n in range(1, len(parts) + 1))
    assert text.text.count(MISSING) == gaps


def test_a_change_of_alphabet_between_parts_is_followed() -> None:
    parts = [Part(1, 2, 1, GSM, b"106*"), Part(1, 2, 2, UCS_2, "您好".encode("utf-16-be"))]
    assert joined(parts).text().text == "106*您好"
    assert joined(parts).text().encoding == "gsm+ucs-2"


def test_255_parts_are_one_message() -> None:
    parts = split("您" * (67 * 255))
    assert len(parts) == 255
    held = [Held(one, n * 50 * S) for n, one in enumerate(reversed(parts))]
    [one] = gather(held)
    assert one.is_due(one.latest_at)
    assert joined(one.parts).text().text == "您" * (67 * 255)


def test_nothing_is_not_joined() -> None:
    with pytest.raises(ValueError, match="no part"):
        joined([])


# which parts are one message, and when it is taken


def test_a_message_with_a_part_missing_is_taken_after_a_minute() -> None:
    first, second, _ = split("您" * 150)
    [one] = gather([Held(second, 5 * S), Held(first, 9 * S)])
    assert (one.first_at, one.latest_at) == (5 * S, 9 * S)
    assert not one.is_due(9 * S + WAIT_US - 1)
    assert one.is_due(9 * S + WAIT_US)


def test_a_whole_message_is_taken_at_once_and_doubles_do_not_make_it_wait() -> None:
    first, second = split("您" * 100)
    [one] = gather([Held(first, 0), Held(first, 30 * S)])
    assert one.is_due(WAIT_US)
    [one] = gather([Held(first, 0), Held(first, 1 * S), Held(second, 2 * S), Held(first, 3 * S)])
    assert one.is_due(2 * S)
    assert one.parts == (first, second)
    [one] = gather([Held(part(b"106*x"), 0)])
    assert one.is_due(0)


def test_a_reference_that_is_used_again_is_another_message() -> None:
    one, other = split("您" * 100), split("好" * 100)
    day = 24 * 3600 * S
    later = gather([Held(one[0], 0), Held(other[1], day)])
    assert [found.parts for found in later] == [(one[0],), (other[1],)]
    soon = gather(
        [Held(one[0], 0), Held(one[1], 1), Held(other[0], 2), Held(other[1], 3)],
    )
    assert [found.parts for found in soon] == [tuple(one), tuple(other)]
    longer = split("您" * 150)
    mixed = gather([Held(one[0], 0), Held(longer[0], 1), Held(one[1], 2), Held(longer[1], 3)])
    assert [found.parts for found in mixed] == [tuple(one), tuple(longer[:2])]


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 200), st.binary(max_size=1))))
def test_no_part_is_lost_or_in_two_messages(rows: list[tuple[int, int, bytes]]) -> None:
    held = [Held(Part(1, 3, number, 0, octets), at * S) for number, at, octets in rows]
    found = gather(held)
    assert {part for one in found for part in one.parts} == {one.part for one in held}
    assert sum(len(one.parts) for one in found) <= len(held)
    for one in found:
        assert len({part.number for part in one.parts}) == len(one.parts)
        assert one.first_at <= one.latest_at


# a first part that says enough


def test_a_first_part_that_names_the_number_is_enough() -> None:
    parts = split("106575550001*" + "您" * 150)
    found = first_part_names(parts[:1])
    assert isinstance(found, Report)
    assert found.source.normalised == "106575550001"
    assert found.text == "您" * 54
    header = first_part_names(split("ACME*" + "x" * 200, GSM)[:1])
    assert header is not None
    assert header.source.normalised == "acme"


@pytest.mark.parametrize("text", ["您" * 150, "【某公司】" + "您" * 150, "撤销101 " + "您" * 150])
def test_a_first_part_that_names_nobody_waits(text: str) -> None:
    assert first_part_names(split(text)[:1]) is None


def test_a_later_part_names_nobody() -> None:
    parts = split("您" * 67 + "106575550001*" + "您" * 100)
    assert first_part_names(parts[1:]) is None


def test_a_number_that_may_go_on_in_the_next_part_waits() -> None:
    first, second = Part(1, 2, 1, GSM, b"1065755"), Part(1, 2, 2, GSM, b"50001*loans")
    assert first_part_names([first]) is None
    found = first_part_names([second, first])
    assert found is not None
    assert found.source.normalised == "106575550001"


@given(st.integers(0, 255), st.binary(max_size=200), st.integers(1, 3))
def test_any_part_is_read(data_coding: int, octets: bytes, number: int) -> None:
    one = Part(1, 3, number, data_coding, octets)
    assert number == 1 or first_part_names([one]) is None
    assert joined([one]).text().is_damaged
