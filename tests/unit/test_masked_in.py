"""Numbers of persons in what somebody wrote: masked however they are written."""

import re

import hypothesis.strategies as st
import pytest
from hypothesis import given

from smsfilter.rules.numbers import masked_in

SHOWN = [
    ("13800138000 has called", "138****8000 has called"),
    ("+8613800138000", "+138****8000"),
    ("008613800138000", "008********8000"),
    ("138-0013-8000", "138****8000"),
    ("138 0013 8000", "138****8000"),
    ("１３８００１３８０００", "138****8000"),
    ("(138) 0013.8000", "(138****8000"),
    ("ticket 20261127001: 8613800138000 asks", "ticket 20261127001: 138****8000 asks"),
    ("20261127001 13800138000", "20261127001 138****8000"),
    ("20261127001 138 0013 8000 x", "20261127001 138****8000 x"),
    ("13800138000 13900139000", "138****8000 139****9000"),
    ("+44 7911 123456", "+447*****3456"),
]
LEFT = [
    "ticket 20261127001",
    "2026-11-27 12:30",
    "10657555 and 1065755501",
    "12 others reported it",
    "case 12, round 2",
    "",
]


@pytest.mark.parametrize(("written", "shown"), SHOWN)
def test_a_person_s_number_is_masked(written: str, shown: str):
    assert masked_in(written, "86") == shown


@pytest.mark.parametrize("written", LEFT)
def test_other_numbers_stay(written: str):
    assert masked_in(written, "86") == written


@given(
    st.text("ab ,:x(+", max_size=8),
    st.lists(st.sampled_from(["", " ", "-", ".", "--"]), min_size=10, max_size=10),
    st.text("ab ,:x)+", max_size=8),
)
def test_no_way_to_write_it_shows_it(before: str, between: list[str], after: str):
    number = "".join(
        digit + sign for digit, sign in zip("13800138000", [*between, ""], strict=True)
    )
    shown = masked_in(before + number + after, "86")
    assert "13800138000" not in re.sub(r"\D", "", shown)
    assert masked_in(shown, "86") == shown
