"""Gives every open case an owner, and those of whoever is away to somebody who is there.

It follows the rota: a clerk on duty, else a supervisor, else headquarters (flow/duty.py), and never
somebody who has decided the case before. What people assign by hand stays until its owner is away.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection, Row, func, select

from smsfilter import log
from smsfilter.cases import work
from smsfilter.cases.work import CaseError, Worker
from smsfilter.desk.office import Office
from smsfilter.flow.case import NotAllowed
from smsfilter.flow.duty import Duty, choose
from smsfilter.ledger.actor import system
from smsfilter.staff.roster import Roster, Rosters
from smsfilter.store.reading import reading
from smsfilter.store.schema import case_file, staff
from smsfilter.store.schema import duty as duty_table
from smsfilter.store.transaction import Transaction

PORTION: Final = 50
"""Cases of one transaction: reports wait for it."""
ROTA: Final = Worker(by=system("rota"), staff=None, leads=True)
_AT_ONCE: Final = 500


class Assigning:
    """Looks for cases that nobody is there for."""

    def __init__(self, office: Office, rosters: Rosters) -> None:
        self._office = office
        self._rosters = rosters
        self._nobody = False
        self._settled: object = None
        """How things stood when there was nothing to be done."""

    async def look(self) -> int:
        """Assign what has to be; how many cases that were. Raises RecordsAway."""
        roster = await self._rosters.now()
        now = roster.duty(self._office.clock())
        stands = self._office.writer.touched(case_file, staff, duty_table), now.on, now.absent
        if stands == self._settled:
            return 0
        given = await self._give_away(roster, now)
        self._settled = None if given else stands
        return given

    async def _give_away(self, roster: Roster, duty: Duty) -> int:
        loads = await reading(self._office.records, _loads)
        away = [owner for owner in loads if owner and not _is_there(owner, roster, duty)]
        if None not in loads and not away:
            return 0
        if not any(person.works for person in roster.people):
            self._say_nobody(loads.get(None, 0))
            return 0
        self._nobody = False
        given = 0
        for owner in ([None] if None in loads else []) + away:
            after = 0
            while rows := await reading(
                self._office.records, partial(_of, owner=owner, after=after)
            ):
                after = rows[-1].id
                for at in range(0, len(rows), PORTION):
                    some = [row.id for row in rows[at : at + PORTION]]
                    given += await self._office.writer.write(
                        partial(self._give, some=some, was=owner, roster=roster, loads=loads)
                    )
        return given

    def _give(
        self,
        transaction: Transaction,
        some: Sequence[int],
        was: str | None,
        roster: Roster,
        loads: dict[str | None, int],
    ) -> int:
        """Give these cases away, unless somebody has done so meanwhile."""
        connection, branches = transaction.connection, self._office.branches
        duty = roster.duty(transaction.now)
        given = 0
        for case in some:
            row = work.find(connection, case, None)
            if row.owner != was or row.closed_at is not None:
                continue
            known = {each: count for each, count in loads.items() if each is not None}
            before = work.deciders(connection, case)
            cover = None if was is None else duty.stand_in(was)
            chosen = choose(row.branch, roster.people, duty, branches, loads=known, without=before)
            for owner, why in _candidates(cover, was, chosen):
                if owner == was or owner in before:
                    continue
                try:
                    work.assign(transaction, case, owner, ROTA, branches, why=why)
                except (CaseError, NotAllowed):
                    continue  # a cover who does not work on cases, or not on those
                loads[owner] = loads.get(owner, 0) + 1
                given += 1
                break
        return given

    def _say_nobody(self, waiting: int) -> None:
        if not self._nobody and waiting:
            log.get().warning("cases_unowned", cases=waiting, cure="smsfilter staff add")
        self._nobody = bool(waiting)


def _candidates(
    cover: str | None, was: str | None, chosen: tuple[str, str] | None
) -> list[tuple[str, str]]:
    found = [] if cover is None or cover == was else [(cover, f"covers for {was}")]
    return found if chosen is None else [*found, chosen]


def _is_there(owner: str, roster: Roster, duty: Duty) -> bool:
    """Whether somebody can work on their cases; also where nobody else could."""
    known = next((person for person in roster.people if person.id == owner), None)
    if known is None or not known.works:
        return False
    if not duty.is_absent(owner):
        return True
    return not any(
        person.works and person.id != owner and not duty.is_absent(person.id)
        for person in roster.people
    )


def _loads(connection: Connection) -> dict[str | None, int]:
    """How many open cases are whose."""
    query = select(case_file.c.owner, func.count()).where(case_file.c.closed_at.is_(None))
    found: Mapping[Any, Any] = dict(
        tuple(row) for row in connection.execute(query.group_by(case_file.c.owner))
    )
    return dict(found)


def _of(connection: Connection, owner: str | None, after: int) -> Sequence[Row[Any]]:
    query = select(case_file.c.id).where(
        case_file.c.closed_at.is_(None),
        case_file.c.owner == owner,  # IS NULL for nobody
        case_file.c.id > after,
    )
    return connection.execute(query.order_by(case_file.c.id).limit(_AT_ONCE)).all()
