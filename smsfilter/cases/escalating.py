"""What the clock says of open cases: nobody owns it, it is due soon, it is late; and each morning.

A wall clock that has jumped holds all of it (flow/clock.py). What was warned of stands in the
records, so that a restart neither forgets nor repeats it.
"""

import time
from collections.abc import Callable, Collection, Sequence
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Row, Text, cast, func, literal, or_, select, true

from smsfilter import log
from smsfilter.cases.figures import CaseMetrics
from smsfilter.cases.warning import BY, Notice, Warnings
from smsfilter.desk.office import Office
from smsfilter.flow.clock import Clocks, Limits, Warned, told
from smsfilter.flow.duty import Duty
from smsfilter.peopleconfig import Deadlines
from smsfilter.staff.roster import Roster, Rosters
from smsfilter.store.reading import reading
from smsfilter.store.schema import case_file, warning
from smsfilter.store.transaction import Transaction

PORTION: Final = 50
DAILY_HOUR: Final = 8
"""Of the day in the policy's time zone, at which headquarters gets its list."""
LISTED_MOST: Final = 500
"""Cases of one list that a webhook is told of."""


def limits(deadlines: Deadlines) -> Limits:
    """Return the deadlines in µs."""
    us = timedelta(microseconds=1)
    return Limits(deadlines.assign // us, deadlines.warn // us, deadlines.reply // us)


class Escalating:
    """Looks at the clock of every open case."""

    def __init__(
        self,
        office: Office,
        rosters: Rosters,
        warnings: Warnings,
        metrics: CaseMetrics,
        monotonic: Callable[[], int] = lambda: time.monotonic_ns() // 1_000,
    ) -> None:
        desk = office.config.desk
        self._office = office
        self._rosters = rosters
        self._warnings = warnings
        self._metrics = metrics
        self._limits = limits(Deadlines() if desk is None else desk.deadlines)
        self._zone = ZoneInfo(office.policy.timezone)
        self._monotonic = monotonic
        self._clocks = Clocks(office.clock(), monotonic())

    async def look(self) -> int:
        """Warn of what is due; how many things that were. Raises RecordsAway."""
        now = self._office.clock()
        held = self._clocks.holds(now, self._monotonic())
        if held is not self._metrics.held:
            self._metrics.held = held
            await self._say_held(held)
        if held:
            return 0
        roster = await self._rosters.now()
        if not any(person.is_active for person in roster.people):
            return 0
        warned = 0
        for kind in (Warned.UNASSIGNED, Warned.DUE_SOON, Warned.BREACH):
            warned += await self._cases(kind, now, roster)
        return warned + await self._daily(now, roster)

    async def _say_held(self, held: bool) -> None:
        if held:
            log.get().warning("escalations_held", cure="set the clock right, or wait an hour")
        else:
            log.get().info("escalations_resumed")
        action = "escalations held" if held else "escalations resumed"
        await self._office.writer.write(lambda into: into.enter(action, BY))

    async def _cases(self, kind: Warned, now: int, roster: Roster) -> int:
        """Warn of all open cases that are due in this way."""
        due, warned = self._limits.due(kind, now), 0
        while True:
            rows = await reading(self._office.records, partial(_unwarned, kind=kind, due=due))
            done = await self._warn(kind, rows, roster, now)
            warned += done
            if len(rows) < PORTION or not done:  # none: there is nobody to be told
                return warned

    async def _warn(self, kind: Warned, rows: Sequence[Row[Any]], roster: Roster, now: int) -> int:
        if not rows:
            return 0
        duty = roster.duty(now)
        notices = [self._notice(kind, row, roster, duty) for row in rows]
        warned = await self._office.writer.write(
            lambda transaction: self._warnings.write(transaction, _still(transaction, notices))
        )
        self._metrics.warnings[kind] += warned
        if warned:
            log.get().warning("cases_warned", kind=kind.value, cases=warned)
        return warned

    def _notice(self, kind: Warned, row: Row[Any], roster: Roster, duty: Duty) -> Notice:
        whom = told(kind, row.branch, roster.people, duty, self._office.branches)
        return Notice(
            kind,
            f"case:{row.id}",
            row.round,
            whom,
            {
                "case": row.id,
                "branch": row.branch,
                "owner": row.owner,
                "state": row.state,
                "due_at": row.due_at,
                "told": whom,
            },
            case=row.id,
            customer=row.customer,
        )

    async def _daily(self, now: int, roster: Roster) -> int:
        """Tell headquarters each morning what was late yesterday, and what is due today."""
        today = datetime.fromtimestamp(now / 1e6, self._zone)
        about = f"day:{today.date().isoformat()}"
        if today.hour < DAILY_HOUR:
            return 0
        told_before = select(func.count()).select_from(warning).where(warning.c.about == about)
        if await reading(self._office.records, lambda at: at.scalar(told_before)):
            return 0
        found = await reading(self._office.records, lambda at: daily(at, today.date(), self._zone))
        whom = told(Warned.DAILY, "", roster.people, roster.duty(now), self._office.branches)
        words = {"count": found["late"], "due": found["due"]}
        notice = Notice(Warned.DAILY, about, 1, whom, found, words=words)
        warned = await self._office.writer.write(
            lambda transaction: self._warnings.write(transaction, [notice])
        )
        self._metrics.warnings[Warned.DAILY] += warned
        return warned


def daily(
    connection: Connection,
    day: date,
    zone: ZoneInfo,
    within: Collection[str] | None = None,
) -> dict[str, Any]:
    """Return what headquarters reads in the morning of a day: late the day before, due on it.

    Late is a case whose customer had not been answered when it was due. `within`: only of these
    branches.
    """
    begin = datetime.combine(day, datetime.min.time(), tzinfo=zone)
    edges = [int((begin + timedelta(days=n)).timestamp()) * 1_000_000 for n in (-1, 0, 1)]
    was_late = or_(case_file.c.closed_at.is_(None), case_file.c.replied_at > case_file.c.due_at)
    ours = true() if within is None else case_file.c.branch.in_(sorted(within))
    columns = (case_file.c.id, case_file.c.branch, case_file.c.owner, case_file.c.due_at)
    late = select(*columns).where(
        case_file.c.due_at >= edges[0], case_file.c.due_at < edges[1], was_late, ours
    )
    rows = connection.execute(late.order_by(case_file.c.due_at, case_file.c.id)).all()
    due = connection.scalar(
        select(func.count())
        .select_from(case_file)
        .where(
            case_file.c.closed_at.is_(None),
            case_file.c.due_at >= edges[1],
            case_file.c.due_at < edges[2],
            ours,
        )
    )
    branches: dict[str, int] = {}
    for row in rows:
        branches[row.branch] = branches.get(row.branch, 0) + 1
    return {
        "day": day.isoformat(),
        "late": len(rows),
        "due": due or 0,
        "branches": branches,
        "cases": [
            {"case": row.id, "branch": row.branch, "owner": row.owner, "due_at": row.due_at}
            for row in rows[:LISTED_MOST]
        ],
    }


def _unwarned(connection: Connection, kind: Warned, due: tuple[int, int]) -> Sequence[Row[Any]]:
    """Open cases that are due between two moments and that nobody was warned of in this way."""
    about = literal("case:") + cast(case_file.c.id, Text)
    before = (
        select(warning.c.id)
        .where(
            warning.c.about == about,
            warning.c.kind == kind.value,
            warning.c.round == case_file.c.round,
        )
        .exists()
    )
    query = select(case_file).where(
        case_file.c.closed_at.is_(None),
        case_file.c.due_at > due[0],
        case_file.c.due_at <= due[1],
        ~before,
    )
    if kind is Warned.UNASSIGNED:
        query = query.where(case_file.c.owner.is_(None))
    query = query.order_by(case_file.c.due_at, case_file.c.id).limit(PORTION)
    return connection.execute(query).all()


def _still(transaction: Transaction, notices: Sequence[Notice]) -> list[Notice]:
    """Those whose case is still open, in the same round."""
    rows = {
        row.id: row.round
        for row in transaction.connection.execute(
            select(case_file.c.id, case_file.c.round).where(
                case_file.c.id.in_([each.case for each in notices]),
                case_file.c.closed_at.is_(None),
            )
        )
    }
    return [each for each in notices if each.case in rows and rows[each.case] == each.round]
