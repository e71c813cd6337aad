"""The staff and their duty as the records have them, read anew only where they have changed."""

from dataclasses import dataclass

from sqlalchemy import Connection, select

from smsfilter.desk.office import Office
from smsfilter.flow.duty import Duty, Person, Span
from smsfilter.staff import accounts
from smsfilter.store.reading import reading
from smsfilter.store.schema import duty, staff


@dataclass(frozen=True, slots=True)
class Roster:
    """Everybody, and when they are on duty or absent, from some moment on."""

    people: tuple[Person, ...]
    spans: tuple[Span, ...]

    def duty(self, at: int) -> Duty:
        """Return who is there at a moment, µs UTC."""
        return Duty(self.spans, at)


def load(connection: Connection, since: int) -> Roster:
    """Read the staff, and every span that ends after `since` (µs UTC)."""
    people = (
        Person(each.id, each.branch, frozenset(each.roles), each.is_active)
        for each in accounts.people(connection)
    )
    query = select(duty).where(duty.c.to_at > since, duty.c.ended_at.is_(None))
    spans = (
        Span(row.staff, row.kind, row.from_at, row.to_at, row.cover)
        for row in connection.execute(query.order_by(duty.c.id))
    )
    return Roster(tuple(people), tuple(spans))


class Rosters:
    """Keeps the roster for as long as nobody has changed it."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._changes = -1
        self._roster = Roster((), ())

    async def now(self) -> Roster:
        """Return the roster as it is."""
        changes = self._office.writer.touched(staff, duty)
        if changes != self._changes:
            since = self._office.clock()
            self._roster = await reading(self._office.records, lambda at: load(at, since))
            self._changes = changes
        return self._roster
