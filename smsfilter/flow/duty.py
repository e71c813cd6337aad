"""Who is on duty, who stands in for whom, and which hours nobody covers. Times are µs UTC.

A span says that somebody is on duty, or absent; who covers an absence is on duty wherever the
absent one would be, and does their work. Covers may be covered in turn; a circle ends with nobody.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from smsfilter.flow.branches import Branches
from smsfilter.flow.rights import Right, Role, by_role

ON: Final = "on"
ABSENT: Final = "absent"
DAYS_MOST: Final = 400
"""Days that one weekly pattern may span: a year, and a month to plan the next."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Span:
    """Somebody is on duty, or absent, from one moment until another."""

    staff: str
    kind: str
    from_at: int
    to_at: int
    cover: str | None = None
    """Who does the work of somebody absent."""

    def holds(self, at: int) -> bool:
        """Whether it is so at a moment."""
        return self.from_at <= at < self.to_at


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody of the staff, as far as work is given to them."""

    id: str
    branch: str
    roles: frozenset[str]
    is_active: bool = True

    @property
    def works(self) -> bool:
        """Whether cases may be theirs."""
        return self.is_active and by_role(self.roles, Right.WORK_ON_CASES) is not None


class Duty:
    """The duty of a moment: who is there, and who stands in for whom."""

    def __init__(self, spans: Iterable[Span], at: int) -> None:
        holding = [span for span in spans if span.holds(at)]
        self.absent: dict[str, str | None] = {}
        """Who is away, and who covers them."""
        for span in sorted(holding, key=_order):
            if span.kind == ABSENT:  # of two at once, the first that has a cover counts
                self.absent[span.staff] = self.absent.get(span.staff) or span.cover
        planned = {span.staff for span in holding if span.kind == ON}
        stands_in = (self.stand_in(staff) for staff in planned)
        self.on: frozenset[str] = frozenset(each for each in stands_in if each is not None)

    def is_absent(self, staff: str) -> bool:
        """Whether somebody is away."""
        return staff in self.absent

    def stand_in(self, staff: str) -> str | None:
        """Return who does somebody's work: they themselves while they are there; None = nobody."""
        seen: set[str] = set()
        now: str | None = staff
        while now is not None and now in self.absent:
            if now in seen:
                return None
            seen.add(now)
            now = self.absent[now]
        return now


def _order(span: Span) -> tuple[int, int, str]:
    """So that the same spans say the same, in whatever order they are read."""
    return span.from_at, span.to_at, span.cover or ""


def choose(
    branch: str,
    people: Collection[Person],
    duty: Duty,
    branches: Branches,
    *,
    loads: Mapping[str, int],
    without: Collection[str] = (),
) -> tuple[str, str] | None:
    """Return whose a case of `branch` is, and why; None where there is nobody at all.

    A clerk on duty, with the least open cases (`loads`); else a supervisor of the branch, or of
    those above it; else headquarters; else whoever there is. `without` may not have it, as they
    have decided it before.
    """
    known = [person for person in people if person.works and person.id not in without]
    seen = [person for person in known if branches.covers(person.branch, branch)]
    there = [person for person in seen if not duty.is_absent(person.id)]

    def least(some: Iterable[Person]) -> str | None:
        found = min(some, key=lambda person: (loads.get(person.id, 0), person.id), default=None)
        return None if found is None else found.id

    on_duty = [person for person in there if person.id in duty.on]
    chosen = least(each for each in on_duty if each.branch == branch and Role.CLERK in each.roles)
    if chosen is not None:
        return chosen, "on duty"
    for above in branches.upwards(branch):
        leads = [each for each in there if each.branch == above and Role.SUPERVISOR in each.roles]
        chosen = least([each for each in leads if each.id in duty.on] or leads)
        if chosen is not None:
            return chosen, "nobody on duty: supervisor"
    heads = [each for each in there if Role.HEADQUARTERS in each.roles]
    chosen = least([each for each in heads if each.id in duty.on] or heads)
    if chosen is not None:
        return chosen, "nobody on duty: headquarters"
    chosen = least(there) or least(seen)
    return None if chosen is None else (chosen, "nobody else there is")


def uncovered(
    spans: Sequence[Span], people: Collection[Person], wanted: Iterable[str], start: int, end: int
) -> Iterator[tuple[str, int, int]]:
    """Give the hours (branch, from, to) in which no clerk or supervisor of a branch is on duty."""
    on = list(_watches(spans, start, end))
    for branch in wanted:
        own = {
            each.id
            for each in people
            if each.works and each.branch == branch and each.roles & {Role.CLERK, Role.SUPERVISOR}
        }
        since: int | None = None
        for at, there in on:
            if there & own:
                if since is not None:
                    yield branch, since, at
                since = None
            elif since is None:
                since = at
        if since is not None:
            yield branch, since, end


def _watches(spans: Sequence[Span], start: int, end: int) -> Iterator[tuple[int, frozenset[str]]]:
    """Give each moment at which it may change who is on duty, and who is from then on."""
    edges = {start}
    for span in spans:
        edges |= {at for at in (span.from_at, span.to_at) if start < at < end}
    coming = sorted(spans, key=lambda span: span.from_at, reverse=True)
    running: list[Span] = []
    for at in sorted(edges):
        running = [span for span in running if span.to_at > at]
        while coming and coming[-1].from_at <= at:
            running.append(coming.pop())
        yield at, Duty(running, at).on


def weekly(
    staff: str,
    days: Collection[int],
    hours: tuple[time, time],
    *,
    first: date,
    last: date,
    zone: ZoneInfo,
) -> list[Span]:
    """Return the shifts of a weekly pattern: `days` are 0 (Monday) to 6, `last` is one of them.

    Hours are of the clock on the wall in `zone`; a shift that ends at or before it begins ends on
    the next day. Raises ValueError for more than DAYS_MOST days, or none.
    """
    length = (last - first).days + 1
    if not 1 <= length <= DAYS_MOST:
        raise ValueError(f"a pattern spans 1 to {DAYS_MOST} days, the last not before the first")
    spans = []
    for n in range(length):
        day = first + timedelta(days=n)
        if day.weekday() not in days:
            continue
        until = day if hours[1] > hours[0] else day + timedelta(days=1)
        begin, end = _at(day, hours[0], zone), _at(until, hours[1], zone)
        if begin < end:  # else the clock was put forward over all of it
            spans.append(Span(staff, ON, begin, end))
    if not spans:
        raise ValueError("no day of the pattern lies between its first and its last")
    return spans


def _at(day: date, hour: time, zone: ZoneInfo) -> int:
    return (datetime.combine(day, hour, tzinfo=zone) - _EPOCH) // timedelta(microseconds=1)
