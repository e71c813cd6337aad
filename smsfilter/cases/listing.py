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
    Column,
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

from smsfilter.desk.blocks import company_of
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
    ranged = connection.dialect.name == "postgresql"
    query = (by_due if wanted.by_due else newest)(wanted, found, limit, ranged=ranged)
    rows = list(connection.execute(query))
    if len(rows) < limit:
        return rows, None
    last = rows[-1]
    return rows, f"{last.due_at}.{last.id}" if wanted.by_due else str(last.id)


def by_due(
    wanted: Wanted, after: "re.Match[str] | None", limit: int, *, ranged: bool
) -> Select[Any]:
    """Return the query of open cases, the most urgent first."""
    c = case_file.c
    where: list[ColumnElement[bool]] = [c.closed_at.is_(None)]
    if wanted.state is not None:
        where.append(c.state == wanted.state)
    if wanted.late_at is not None:
        where.append(c.due_at < wanted.late_at)
    if wanted.unowned:
        where.append(c.owner.is_(None))
    at = None if after is None else (int(after[1]), int(after[2]))
    owner = None if wanted.owner is None else (c.owner, wanted.owner)
    return _merged(wanted, _Walk(where, (c.due_at, c.id), at, owner, ranged=ranged), limit)


def newest(
    wanted: Wanted, after: "re.Match[str] | None", limit: int, *, ranged: bool
) -> Select[Any]:
    """Return the query of cases by state or company, the newest first."""
    c = case_file.c
    where: list[ColumnElement[bool]] = []
    lead = None
    if wanted.target is not None:
        lead = (c.target, wanted.target)
        if wanted.state is not None:
            where.append(c.state == wanted.state)
    elif wanted.state is not None:
        lead = (c.state, str(wanted.state))
    at = None if after is None else (int(after[2]),)
    return _merged(wanted, _Walk(where, (c.id,), at, lead, backward=True, ranged=ranged), limit)


@dataclass(frozen=True, slots=True)
class _Walk:
    """A walk along one index, from where a page begins.

    `ranged`, for PostgreSQL: the column that leads the index is a part of the order, and its value
    a range. Where it reads `=` it takes any index for the order, also that of all cases, on which
    those that are wanted may be a million rows away. SQLite takes the index that `=` names, and of
    a range the first column alone.
    """

    where: list[ColumnElement[bool]]
    order: tuple[Column[Any], ...]
    at: tuple[int, ...] | None
    lead: tuple[Column[Any], str] | None
    backward: bool = False
    ranged: bool = False

    def query(self, limit: int, branch: str | None = None) -> Select[Any]:
        """Return the first rows, of one branch if it is named."""
        where, order, lead = [*self.where], [*self.order], self.lead
        if branch is not None:
            if lead is None:
                lead = (case_file.c.branch, branch)
            else:
                where.append(case_file.c.branch == branch)
        at = self.at and [literal(n, each.type) for n, each in zip(self.at, order, strict=True)]
        if lead is not None and not self.ranged:
            where.append(lead[0] == lead[1])
        elif lead is not None:
            column, value = lead
            where += [column >= value, column <= value]
            order.insert(0, column)
            at = at and [literal(value, column.type), *at]
        if at:
            here, there = (tuple_(*order), tuple_(*at)) if len(at) > 1 else (order[0], at[0])
            where.append(here < there if self.backward else here > there)
        by = [each.desc() if self.backward else each.asc() for each in order]
        return select(case_file).where(*where).order_by(*by).limit(limit)


def _merged(wanted: Wanted, walk: _Walk, limit: int) -> Select[Any]:
    """Take the first rows of each branch, then the first of these.

    What a person owns, or nobody, is little: there the branch is only looked at.
    """
    if wanted.branches is None:
        return walk.query(limit)
    if wanted.owner is not None or wanted.unowned:
        return walk.query(limit).where(case_file.c.branch.in_(wanted.branches))
    each = [select(walk.query(limit, one).subquery()) for one in sorted(wanted.branches)]
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
    return {
        "id": row.id,
        "report": None if number is None else ids.spell(number),
        "customer": masked[row.customer],
        "customer_id": row.customer,
        "branch": row.branch,
        "state": row.state,
        "owner": row.owner,
        "company": company_of(row.target),
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
