"""Duty: who is there, who stands in, whose a case is, and which hours nobody covers."""

import itertools
from datetime import date, time
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsfilter.flow.branches import Branch, Branches
from smsfilter.flow.duty import ABSENT, ON, Duty, Person, Span, choose, uncovered, weekly

TREE = Branches([Branch("sd", "Shandong"), Branch("jn", "Jinan", parent="sd")])
HOUR = 3_600_000_000
SHANGHAI = ZoneInfo("Asia/Shanghai")


def person(name: str, role: str, branch: str = "jn", **more: bool) -> Person:
    return Person(name, branch, frozenset([role]), **more)


LI, BO = person("li", "clerk"), person("bo", "clerk")
SU, TOP = person("su", "supervisor"), person("top", "supervisor", "sd")
HU, HO = person("hu", "headquarters", "hq"), person("ho", "headquarters", "hq")
EVERYBODY = (LI, BO, SU, TOP, HU, HO)


def on(*names: str) -> list[Span]:
    return [Span(name, ON, 0, 10) for name in names]


def away(name: str, cover: str | None = None) -> Span:
    return Span(name, ABSENT, 0, 10, cover)


def chosen(*spans: Span, people=EVERYBODY, **more):
    return choose("jn", people, Duty(spans, 5), TREE, loads=more.pop("loads", {}), **more)


def test_the_clerk_on_duty_with_the_least_to_do_has_it():
    assert chosen(*on("li", "bo"), loads={"li": 3, "bo": 2}) == ("bo", "on duty")
    assert chosen(*on("li", "bo")) == ("bo", "on duty")  # by name where they have as much


def test_a_cover_is_on_duty_in_place_of_whoever_is_away():
    assert chosen(*on("li"), away("li", "bo")) == ("bo", "on duty")
    assert Duty([*on("li"), away("li", "bo"), away("bo", "su")], 5).on == {"su"}


def test_nobody_on_duty_is_the_supervisor_s_then_headquarters():
    why = "nobody on duty"
    assert chosen() == ("su", f"{why}: supervisor")
    assert chosen(*on("li"), away("li")) == ("su", f"{why}: supervisor")
    assert chosen(away("su")) == ("top", f"{why}: supervisor")
    assert chosen(away("su"), away("top")) == ("ho", f"{why}: headquarters")
    assert chosen(away("su"), away("top"), away("ho")) == ("hu", f"{why}: headquarters")


def test_it_is_never_nobody_s_while_there_is_anybody():
    everybody = [away(each.id) for each in EVERYBODY]
    assert chosen(*everybody) is not None
    assert chosen(people=[LI]) == ("li", "nobody else there is")
    assert chosen(people=[person("li", "clerk", is_active=False)]) is None
    assert chosen(people=[person("au", "auditor"), person("far", "clerk", "gd")]) is None


def test_whoever_has_decided_it_does_not_get_it_again():
    assert chosen(*on("li", "bo"), without={"bo"}) == ("li", "on duty")
    assert chosen(*on("li"), without={"li"}) == ("su", "nobody on duty: supervisor")


def test_two_absences_at_once_say_the_same_in_any_order():
    spans = [*on("li"), away("li", "bo"), away("li", "su"), away("li")]
    assert {Duty(some, 5).stand_in("li") for some in itertools.permutations(spans)} == {"bo"}


def test_a_circle_of_covers_ends_with_nobody():
    duty = Duty([*on("li"), away("li", "bo"), away("bo", "li")], 5)
    assert duty.stand_in("li") is None
    assert duty.on == frozenset()


def test_the_uncovered_hours_are_named():
    spans = [Span("li", ON, 2, 6), Span("li", ABSENT, 4, 5), Span("bo", ON, 8, 20)]
    assert list(uncovered(spans, EVERYBODY, ["jn"], 0, 12)) == [
        ("jn", 0, 2),
        ("jn", 4, 5),
        ("jn", 6, 8),
    ]
    covered = [*spans, Span("li", ABSENT, 4, 5, "bo")]
    assert ("jn", 4, 5) not in list(uncovered(covered, EVERYBODY, ["jn"], 0, 12))
    assert list(uncovered([], EVERYBODY, ["jn", "sd"], 0, 1)) == [("jn", 0, 1), ("sd", 0, 1)]


SPANS = st.lists(
    st.builds(
        lambda who, kind, at, length, cover: Span(
            who, kind, at, at + length, cover if kind == ABSENT and cover != who else None
        ),
        st.sampled_from(["li", "bo", "su", "hu"]),
        st.sampled_from([ON, ABSENT]),
        st.integers(0, 50),
        st.integers(1, 30),
        st.sampled_from([None, "li", "bo", "su"]),
    ),
    max_size=12,
)


@given(SPANS)
def test_uncovered_is_what_the_duty_of_each_moment_says(spans):
    own = {"li", "bo", "su"}
    named = list(uncovered(spans, EVERYBODY, ["jn"], 0, 60))
    for at in range(60):
        nobody = not Duty(spans, at).on & own
        assert nobody == any(begin <= at < end for _, begin, end in named)
    for one, two in itertools.pairwise(named):
        assert one[2] < two[1]


@given(SPANS, st.integers(0, 60))
def test_nobody_absent_is_on_duty(spans, at):
    duty = Duty(spans, at)
    assert not any(duty.is_absent(each) for each in duty.on)


def test_a_weekly_pattern_is_of_the_clock_on_the_wall():
    shifts = weekly(
        "li",
        [0, 1, 2, 3, 4],
        (time(8), time(20)),
        first=date(2026, 11, 27),
        last=date(2026, 12, 1),
        zone=SHANGHAI,
    )
    assert [
        (each.from_at // HOUR % 24, (each.to_at - each.from_at) // HOUR) for each in shifts
    ] == [(0, 12)] * 3  # Friday, Monday, Tuesday; 08:00 in Shanghai is midnight UTC


def test_a_night_shift_ends_on_the_next_day_and_summer_time_counts():
    berlin = ZoneInfo("Europe/Berlin")
    (shift,) = weekly(
        "li", [5], (time(22), time(6)), first=date(2026, 3, 28), last=date(2026, 3, 28), zone=berlin
    )
    assert shift.to_at - shift.from_at == 7 * HOUR


@pytest.mark.parametrize(
    ("first", "last"),
    [
        (date(2026, 1, 2), date(2026, 1, 1)),
        (date(2026, 1, 1), date(2028, 1, 1)),
        (date(2026, 1, 3), date(2026, 1, 3)),
    ],
)
def test_a_pattern_without_a_day_in_it_is_refused(first, last):
    with pytest.raises(ValueError, match=r"day|spans"):
        weekly("li", [0], (time(8), time(20)), first=first, last=last, zone=SHANGHAI)
