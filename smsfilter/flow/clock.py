"""The clock of a case: what is due when, whether it may be believed, whom a warning goes to.

Times are µs UTC. A wall clock that ran away from the monotonic one by more than a minute says
nothing of how long anybody has waited: warnings are held for an hour, or until it is set back.
What blocks never asks it.
"""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from smsfilter.flow.branches import HEADQUARTERS, Branches
from smsfilter.flow.duty import Duty, Person
from smsfilter.flow.rights import Role

SECOND_US: Final = 1_000_000
JUMP_US: Final = 60 * SECOND_US
HOLD_US: Final = 3600 * SECOND_US


class Warned(StrEnum):
    """What somebody is warned of."""

    UNASSIGNED = "unassigned"
    """Nobody owns the case."""
    DUE_SOON = "due_soon"
    """The customer is not answered, and has to be soon."""
    BREACH = "breach"
    """The customer was not answered in time."""
    DAILY = "daily"
    """What was late yesterday, and what is due today."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a case may wait, each from when its clock began."""

    assign_us: int
    warn_us: int
    reply_us: int

    def due(self, kind: Warned, now: int) -> tuple[int, int]:
        """Return what is to be warned of: open cases whose `due_at` is in (after, until]."""
        if kind is Warned.UNASSIGNED:
            return 0, now + self.reply_us - self.assign_us
        if kind is Warned.DUE_SOON:
            return now, now + self.reply_us - self.warn_us
        return 0, now


class Clocks:
    """Compares the wall clock with the monotonic one; both in µs."""

    def __init__(self, wall: int, monotonic: int) -> None:
        self._ahead = wall - monotonic
        self._seen = self._ahead
        self._held_until: int | None = None

    def holds(self, wall: int, monotonic: int) -> bool:
        """Whether the wall clock has jumped lately, so that it is not to be believed."""
        ahead = wall - monotonic
        if abs(ahead - self._seen) > JUMP_US:
            back = abs(ahead - self._ahead) <= JUMP_US
            self._held_until = None if back else monotonic + HOLD_US
        self._seen = ahead
        if self._held_until is not None and monotonic >= self._held_until:
            self._held_until = None
        if self._held_until is None:
            self._ahead = ahead
        return self._held_until is not None


def told(
    kind: Warned, branch: str, people: Collection[Person], duty: Duty, branches: Branches
) -> list[str]:
    """Return the ids of whoever a warning about a case of `branch` goes to.

    A breach goes to the head of the branch, or of the next one above that has a head; where
    somebody is away, to their cover. Whatever finds nobody goes to headquarters.
    """
    active = {person.id: person for person in people if person.is_active}
    heads = sorted(
        each.id
        for each in active.values()
        if each.branch == HEADQUARTERS and Role.HEADQUARTERS in each.roles
    )
    there = [each for each in heads if not duty.is_absent(each)] or heads
    if kind is Warned.DAILY:
        return there
    if kind is Warned.BREACH:
        for above in branches.upwards(branch):
            known = branches.by_id.get(above)
            head = None if known is None or known.head is None else duty.stand_in(known.head)
            if head in active:
                return [head]
        return there
    found = _leads(branch, active.values(), duty, branches)
    if kind is Warned.UNASSIGNED:
        return sorted({*found, *there})
    return found or there


def _leads(branch: str, people: Collection[Person], duty: Duty, branches: Branches) -> list[str]:
    """The supervisors of a branch, or of the next one above: those on duty, else who is there."""
    for above in branches.upwards(branch):
        leads = [
            each.id
            for each in people
            if each.branch == above
            and Role.SUPERVISOR in each.roles
            and not duty.is_absent(each.id)
        ]
        if leads:
            return sorted([each for each in leads if each in duty.on] or leads)
    return []
