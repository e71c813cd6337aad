"""The clock of a case: when it is held, what is due, whom it tells."""

from hypothesis import given
from hypothesis import strategies as st

from smsfilter.flow.branches import Branch, Branches
from smsfilter.flow.clock import HOLD_US, JUMP_US, Clocks, Limits, Warned, told
from smsfilter.flow.duty import ABSENT, ON, Duty, Person, Span

HOUR = 3_600_000_000
LIMITS = Limits(2 * HOUR, 36 * HOUR, 48 * HOUR)
TREE = Branches(
    [
        Branch("sd", "Shandong", head="boss"),
        Branch("jn", "Jinan", parent="sd"),
        Branch("gd", "Guangdong"),
    ]
)


def person(name: str, role: str, branch: str) -> Person:
    return Person(name, branch, frozenset([role]))


PEOPLE = (
    person("li", "clerk", "jn"),
    person("su", "supervisor", "jn"),
    person("sa", "supervisor", "jn"),
    person("boss", "supervisor", "sd"),
    person("hu", "headquarters", "hq"),
)


def tells(kind: Warned, branch: str = "jn", *spans: Span) -> list[str]:
    return told(kind, branch, PEOPLE, Duty(spans, 5), TREE)


def test_each_deadline_counts_from_when_the_case_began():
    opened = 1_000 * HOUR
    due_at = opened + 48 * HOUR
    for kind, hours in ((Warned.UNASSIGNED, 2), (Warned.DUE_SOON, 36), (Warned.BREACH, 48)):
        for moment, is_due in ((opened + hours * HOUR - 1, False), (opened + hours * HOUR, True)):
            after, until = LIMITS.due(kind, moment)
            assert (after < due_at <= until) is is_due, (kind, moment)


def test_what_is_late_is_no_longer_due_soon():
    after, _ = LIMITS.due(Warned.DUE_SOON, 5 * HOUR)
    assert after == 5 * HOUR


def test_a_jump_holds_for_an_hour_and_no_longer():
    clocks = Clocks(0, 0)
    assert not clocks.holds(10, 10)
    assert clocks.holds(49 * HOUR, 20)
    assert clocks.holds(49 * HOUR + HOLD_US - 1, 20 + HOLD_US - 1)
    assert not clocks.holds(49 * HOUR + HOLD_US, 20 + HOLD_US)
    assert not clocks.holds(50 * HOUR + HOLD_US, 20 + HOUR + HOLD_US)


def test_a_jump_that_is_undone_holds_no_longer():
    clocks = Clocks(0, 0)
    assert clocks.holds(HOUR, 1)
    assert not clocks.holds(2, 2)
    assert clocks.holds(-HOUR, 3)


def test_a_second_jump_holds_for_an_hour_of_its_own():
    clocks = Clocks(0, 0)
    assert clocks.holds(HOUR, 0)
    assert clocks.holds(3 * HOUR, HOLD_US // 2)
    assert clocks.holds(3 * HOUR + HOLD_US // 2 + 1, HOLD_US + 1)


@given(st.lists(st.integers(-JUMP_US // 4, JUMP_US // 4), max_size=30))
def test_a_clock_that_drifts_or_is_slewed_holds_nothing(drifts):
    clocks, wall = Clocks(0, 0), 0
    for n, drift in enumerate(drifts, 1):
        wall += HOUR + drift
        assert not clocks.holds(wall, n * HOUR)


def test_the_supervisor_on_duty_is_warned_else_whoever_is_there():
    assert tells(Warned.DUE_SOON) == ["sa", "su"]
    assert tells(Warned.DUE_SOON, "jn", Span("su", ON, 0, 9)) == ["su"]
    assert tells(Warned.DUE_SOON, "jn", Span("su", ABSENT, 0, 9)) == ["sa"]
    gone = [Span(name, ABSENT, 0, 9) for name in ("su", "sa")]
    assert tells(Warned.DUE_SOON, "jn", *gone) == ["boss"]
    assert tells(Warned.DUE_SOON, "gd") == ["hu"]


def test_a_breach_is_told_to_the_head_of_the_branch():
    assert tells(Warned.BREACH) == ["boss"]
    assert tells(Warned.BREACH, "jn", Span("boss", ABSENT, 0, 9, "su")) == ["su"]
    assert tells(Warned.BREACH, "jn", Span("boss", ABSENT, 0, 9)) == ["hu"]
    assert tells(Warned.BREACH, "gd") == ["hu"]


def test_what_nobody_owns_and_the_day_are_headquarters_too():
    assert tells(Warned.UNASSIGNED) == ["hu", "sa", "su"]
    assert tells(Warned.DAILY, "") == ["hu"]
