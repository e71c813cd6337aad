"""Lists of cases that page in constant time, however many there are.

Open ones are listed by the time when they are due, all others from the newest on. Whoever sees
some of the branches gets the lists of each of these merged: an index serves each, and at most as
many rows as are asked for, from each branch, are ever sorted.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    bindparam,
    func,
    literal,
    select,
    tuple_,
    union_all,
)

from smsfilter.desk.vault import Vault
from smsfilter.flow.case import State
from smsfilter.reports import ids
from smsfilter.reports.cases import ORDERS
from smsfilter.store.schema import case_file, report

_CURSOR: Final = re.compile(r"(?:(\d{1,18})\.)?(\d{1,18})")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which cases a list has."""

    branches: frozenset[str] | None = None
    """Of these branches alone; None: of all."""
    owner: str | None = None
    unowned: bool = False
    late_at: int | None = None
    """Open cases that were due before (µs UTC)."""
    state: State | None = None
    """None: those that are open, by the time when they are due."""
    target: str | None = None
    every: bool = False
    """Open or not, the newest first."""

    @property
    def by_due(self) -> bool:
        """Whether they are listed by the time when they are due, and not the newest first."""
        if self.owner is not None or self.unowned or self.late_at is not None:
            return True
        return self.state is None and self.target is None and not self.every


def page(
    connection: Connection, wanted: Wanted, after: str, limit: int
) -> tuple[list[Row[Any]], str | None]:
    """Return cases from where a list was left, and where it goes on. Raises ValueError."""
    found = _CURSOR.fullmatch(after) if after else None
    if after and (found is None or (found[1] is not None) != wanted.by_due):
        raise ValueError("after is the `next` of the page before")
    query = by_due(wanted, found, limit) if wanted.by_due else newest(wanted, found, limit)
    rows = list(connection.execute(query))
    if len(rows) < limit:
        return rows, None
    last = rows[-1]
    return rows, f"{last.due_at}.{last.id}" if wanted.by_due else str(last.id)


def by_due(wanted: Wanted, after: "re.Match[str] | None", limit: int) -> Select[Any]:
    """Return the query of open cases, the most urgent first."""
    c = case_file.c
    where: list[ColumnElement[bool]] = [c.closed_at.is_(None)]
    if after is not None:
        due, last = literal(int(after[1]), c.due_at.type), literal(int(after[2]), c.id.type)
        where.append(tuple_(c.due_at, c.id) > tuple_(due, last))
    if wanted.state is not None:
        where.append(c.state == wanted.state)
    if wanted.owner is not None:
        where.append(c.owner == wanted.owner)
    elif wanted.unowned:
        where.append(c.owner.is_(None))
    if wanted.late_at is not None:
        where.append(c.due_at < wanted.late_at)
    return _merged(wanted, where, (c.due_at.asc(), c.id.asc()), limit)


def newest(wanted: Wanted, after: "re.Match[str] | None", limit: int) -> Select[Any]:
    """Return the query of cases by state or company, the newest first."""
    c = case_file.c
    where: list[ColumnElement[bool]] = []
    if after is not None:
        where.append(c.id < int(after[2]))
    if wanted.state is not None:
        where.append(c.state == wanted.state)
    if wanted.target is not None:
        where.append(c.target == wanted.target)
    return _merged(wanted, where, (c.id.desc(),), limit)


def _merged(
    wanted: Wanted,
    where: list[ColumnElement[bool]],
    order: tuple[ColumnElement[Any], ...],
    limit: int,
) -> Select[Any]:
    """Take the first rows of each branch, then the first of these.

    What a person owns, or nobody, is little: there the branch is only looked at.
    """
    if wanted.branches is None or wanted.owner is not None or wanted.unowned:
        inside = [] if wanted.branches is None else [case_file.c.branch.in_(wanted.branches)]
        return select(case_file).where(*where, *inside).order_by(*order).limit(limit)
    each = [
        select(
            select(case_file)
            .where(case_file.c.branch == literal(branch), *where)
            .order_by(*order)
            .limit(limit)
            .subquery()
        )
        for branch in sorted(wanted.branches)
    ]
    first = union_all(*each).subquery()  # whole rows: a join may be planned as a walk over all
    by = (first.c.due_at.asc(), first.c.id.asc()) if wanted.by_due else (first.c.id.desc(),)
    return select(first).order_by(*by).limit(limit)


def told(connection: Connection, vault: Vault, rows: Iterable[Row[Any]]) -> list[dict[str, Any]]:
    """Say cases as a list has them, with masked numbers."""
    found = list(rows)
    masked = vault.masked(connection, {each.customer for each in found})
    numbers = _numbers(connection, [each.id for each in found])
    return [as_listed(each, masked, numbers.get(each.id)) for each in found]


def as_listed(row: Row[Any], masked: dict[str, str], number: int | None) -> dict[str, Any]:
    """Say a case as a list has it; `number` is the id of its first report."""
    target: str | None = row.target
    return {
        "id": row.id,
        "report": None if number is None else ids.spell(number),
        "customer": masked[row.customer],
        "customer_id": row.customer,
        "branch": row.branch,
        "state": row.state,
        "owner": row.owner,
        "company": None if target is None or target.startswith("source:") else target,
        "round": row.round,
        "opened_at": row.opened_at,
        "due_at": row.due_at,
        "assigned_at": row.assigned_at,
        "outcome": row.outcome,
        "replied_at": row.replied_at,
        "closed_at": row.closed_at,
        "reply_failed": row.reply_failed,
    }


_NUMBERS: Final = (
    select(report.c.case_id, func.min(report.c.id))
    .where(report.c.case_id.in_(bindparam("cases", expanding=True)), report.c.state.not_in(ORDERS))
    .group_by(report.c.case_id)
)


def _numbers(connection: Connection, cases: list[int]) -> dict[int, int]:
    """The first report of each case: its number is the one that the customer knows."""
    return {row[0]: row[1] for row in connection.execute(_NUMBERS, {"cases": cases})}
