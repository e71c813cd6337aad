"""Numbers of reports survive a thumb: no slip of one leads to another report."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsfilter.reports.ids import WIDTH_MAX, read, spell

COUNTERS = st.integers(1, 10 ** (WIDTH_MAX - 1) - 1)


@given(COUNTERS)
def test_a_number_is_read_as_it_is_spelled(n: int) -> None:
    assert read(spell(n)) == n
    assert spell(n).isdigit()
    assert len(spell(n)) <= WIDTH_MAX


@given(COUNTERS, st.data())
def test_no_wrong_digit_gives_another_number(n: int, data: st.DataObject) -> None:
    digits = spell(n)
    place = data.draw(st.integers(0, len(digits) - 1))
    wrong = digits[:place] + data.draw(st.sampled_from("0123456789")) + digits[place + 1 :]
    assert wrong == digits or read(wrong) is None


@given(COUNTERS, st.data())
def test_no_neighbours_in_the_wrong_order_give_another_number(n: int, data: st.DataObject) -> None:
    digits = spell(n)
    place = data.draw(st.integers(0, len(digits) - 2))
    wrong = digits[:place] + digits[place + 1] + digits[place] + digits[place + 2 :]
    assert wrong == digits or read(wrong) is None


@pytest.mark.parametrize(
    "text", ["101", " 101 ", "1 0 1", "1-01", "１０１", "１　０１", "\u200b101\u200f", "1️⃣0️⃣1️⃣", "①⓪①"]
)
def test_a_number_may_be_typed_in_many_ways(text: str) -> None:
    assert read(text) == 10


@pytest.mark.parametrize(
    "text", ["", "0", "1", "10", "102", "0101", "00", "1o1", "101x", "#101", "+101", "1" * 13, "百"]
)
def test_anything_else_is_no_number(text: str) -> None:
    assert read(text) is None


@pytest.mark.parametrize("n", [0, -1, 10**11])
def test_a_counter_has_its_bounds(n: int) -> None:
    with pytest.raises(ValueError, match="counter"):
        spell(n)


@given(st.text())
def test_any_text_is_read_or_not(text: str) -> None:
    n = read(text)
    assert n is None or spell(n)
