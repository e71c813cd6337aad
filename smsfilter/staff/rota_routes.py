"""The rota over the API: planned, looked at, and asked for the hours that nobody covers."""

from collections.abc import Sequence
from datetime import date, time
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

from pydantic import Field
from starlette.routing import Route

from smsfilter.desk.api import Asked, route
from smsfilter.desk.office import Office
from smsfilter.desk.problems import Problem, invalid, not_found, refused
from smsfilter.flow.duty import ABSENT, ON, Span, weekly
from smsfilter.flow.rights import Right
from smsfilter.peopleconfig import StaffId
from smsfilter.rules.policy import Model
from smsfilter.staff import rota
from smsfilter.staff.rota import RotaError
from smsfilter.store.reading import reading

DAY_US: Final = 86_400_000_000
DAYS_MOST: Final = 366
_Time = Annotated[int, Field(ge=0, lt=1 << 62)]


class Shift(Model):
    """Somebody is on duty from one moment to another, µs UTC."""

    staff: StaffId
    from_at: _Time
    to_at: _Time


class Shifts(Model):
    """Shifts that are planned together."""

    shifts: Annotated[tuple[Shift, ...], Field(min_length=1, max_length=rota.SPANS_MOST)]


class Weekly(Model):
    """Somebody is on duty on the same days of each week, by the clock on the policy's wall."""

    staff: StaffId
    days: Annotated[tuple[Annotated[int, Field(ge=0, le=6)], ...], Field(min_length=1)]
    """0 is Monday."""
    begins: time
    ends: time
    first: date
    last: date


class Absence(Model):
    """Somebody is away, and another one does their work."""

    staff: StaffId
    from_at: _Time
    to_at: _Time
    cover: StaffId | None = None


def routes(office: Office) -> Sequence[Route]:
    """Return the paths of the rota."""
    desk = _Rota(office)
    between = {"from": "µs UTC", "to": "µs UTC", "staff": "only of this person"}
    paged = {"after": "`next` of the page before", "limit": "how many"}
    return (
        route("/rota", desk.listed, right=Right.SEE_ROTA, query=between | paged),
        route("/rota", desk.plan, "POST", right=Right.SET_ROTA, body=Shifts),
        route("/rota/weekly", desk.weekly, "POST", right=Right.SET_ROTA, body=Weekly),
        route("/rota/check", desk.check, right=Right.SEE_ROTA, query={"days": "1 to 366"}),
        route("/rota/absences", desk.absent, "POST", right=Right.LOGGED_IN, body=Absence),
        route("/rota/{id}/end", desk.end, "POST", right=Right.LOGGED_IN),
    )


class _Rota:
    def __init__(self, office: Office) -> None:
        self._office = office
        self._zone = ZoneInfo(office.policy.timezone)

    async def listed(self, asked: Asked) -> Any:
        """List shifts and absences, the newest entered first."""
        before, limit = asked.before()
        now = self._office.clock()
        look = partial(
            rota.listed,
            start=_moment(asked, "from", now),
            end=_moment(asked, "to", now + DAYS_MOST * DAY_US),
            staff=asked.query.get("staff"),
            within=self._office.seen_by(asked.known),
            before=before,
            limit=limit,
        )
        found = await reading(self._office.records, look)
        return {"items": found, "next": str(found[-1]["id"]) if len(found) == limit else None}

    async def check(self, asked: Asked) -> Any:
        """Name the hours of the coming days in which a branch has nobody on duty."""
        days = asked.query.get("days", "14")
        if not days.isdigit() or not 1 <= int(days[:4]) <= DAYS_MOST:
            raise invalid(f"days is a number from 1 to {DAYS_MOST}")
        now = self._office.clock()
        look = partial(
            rota.checked,
            branches=self._office.branches,
            start=now,
            end=now + int(days) * DAY_US,
            within=self._office.seen_by(asked.known),
        )
        found = await reading(self._office.records, look)
        return {"days": int(days), "uncovered": found}

    async def plan(self, asked: Asked) -> Any:
        """Plan shifts; what is there already stays as it is."""
        wanted: Shifts = asked.body(Shifts)
        spans = [Span(each.staff, ON, each.from_at, each.to_at) for each in wanted.shifts]
        return await self._planned(asked, spans)

    async def weekly(self, asked: Asked) -> Any:
        """Plan shifts that come back each week."""
        wanted: Weekly = asked.body(Weekly)
        try:
            spans = weekly(
                wanted.staff,
                wanted.days,
                (wanted.begins, wanted.ends),
                first=wanted.first,
                last=wanted.last,
                zone=self._zone,
            )
        except ValueError as error:
            raise invalid(str(error)) from None
        return await self._planned(asked, spans)

    async def absent(self, asked: Asked) -> Any:
        """Say that somebody is away, and who stands in: oneself, or by whoever sets the rota."""
        wanted: Absence = asked.body(Absence)
        self._refuse_others(asked, wanted.staff)
        span = Span(wanted.staff, ABSENT, wanted.from_at, wanted.to_at, wanted.cover)
        return await self._planned(asked, [span])

    async def end(self, asked: Asked) -> Any:
        """Take a shift or an absence out: all of it, or what is left of it."""
        wanted = asked.id()
        own = asked.known.staff
        within = self._office.seen_by(asked.known) if asked.may(Right.SET_ROTA) else frozenset()
        try:
            row = await asked.write(
                lambda transaction: rota.end(transaction, wanted, asked.by, within, own)
            )
        except RotaError as error:
            raise refused(str(error)) from None
        if row is None:
            raise not_found(f"shift or absence {wanted} that you may end")
        return {"id": wanted, "staff": row.staff, "kind": row.kind}

    def _refuse_others(self, asked: Asked, staff: str) -> None:
        if staff != asked.known.staff and not asked.may(Right.SET_ROTA):
            raise Problem(
                HTTPStatus.FORBIDDEN, f"only whoever may {Right.SET_ROTA} says so of others"
            )

    async def _planned(self, asked: Asked, spans: Sequence[Span]) -> Any:
        if any(span.to_at <= self._office.clock() for span in spans):
            raise invalid("it is over already: a rota is of what comes")
        within = self._office.seen_by(asked.known)
        try:
            ids = await asked.write(
                lambda transaction: rota.plan(transaction, spans, asked.by, within)
            )
        except RotaError as error:
            raise refused(str(error)) from None
        return {"ids": ids, "count": len(ids)}


def _moment(asked: Asked, name: str, otherwise: int) -> int:
    text = asked.query.get(name)
    if text is None:
        return otherwise
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise invalid(f"{name} is a time in µs UTC")
    return int(text)
