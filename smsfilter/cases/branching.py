"""Customers and their open cases are sorted into branches anew, when the branches have changed.

The branch of a customer is told by the beginning of their number, so every number is opened once:
by the desk, which enters each portion with its count. What is done is known by a mark of the
branches that is kept with the last portion; broken off, it begins again and changes nothing twice.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

from smsfilter.desk.office import Office
from smsfilter.flow.branches import Branches
from smsfilter.ledger.actor import system
from smsfilter.store.reading import reading
from smsfilter.store.schema import case_file, customer, kept
from smsfilter.store.transaction import Transaction

PORTION: Final = 500
KEPT: Final = "branches"
_BY: Final = system("branches")
_MOVE: Final = update(customer).where(customer.c.id == bindparam("of"))


def mark(branches: Branches) -> str:
    """Return what tells these branches and prefixes from others."""
    known = {each.id: sorted(each.prefixes) for each in branches.by_id.values()}
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


async def run(office: Office) -> int:
    """Sort all customers where the branches have changed; how many went to another branch.

    Raises RecordsAway, RecordsError, SealError.
    """
    now = mark(office.branches)
    kept_before = await reading(office.records, _kept)
    if kept_before == now:
        return 0
    after: str | None = ""
    moved = 0
    while after is not None:
        portion = await reading(office.records, partial(_portion, office=office, after=after))
        after = portion.last
        done = now if after is None else None
        await office.writer.write(partial(_move, portion=portion, done=done))
        moved += len(portion.fresh)
    return moved


def _kept(connection: Connection) -> str | None:
    found: str | None = connection.scalar(select(kept.c.value).where(kept.c.name == KEPT))
    return found


@dataclass(frozen=True, slots=True)
class _Portion:
    last: str | None
    """The last customer that was looked at; None where there are no more."""
    opened: int
    fresh: dict[str, str]
    """Who goes to which branch."""


def _portion(connection: Connection, office: Office, after: str) -> _Portion:
    """Look at the next customers."""
    query = select(customer.c.id, customer.c.branch).where(customer.c.id > after)
    rows: list[Row[Any]] = list(connection.execute(query.order_by(customer.c.id).limit(PORTION)))
    numbers = office.vault.numbers(connection, [row.id for row in rows])
    fresh = {
        row.id: branch
        for row in rows
        if row.id in numbers and (branch := office.branches.of(numbers[row.id])) != row.branch
    }
    return _Portion(rows[-1].id if len(rows) == PORTION else None, len(numbers), fresh)


def _move(transaction: Transaction, portion: _Portion, done: str | None) -> None:
    """Write down the branches of customers, and of their cases that are open.

    `done` is the mark of the branches, where this is the last portion.
    """
    connection, fresh = transaction.connection, portion.fresh
    if done is not None:
        connection.execute(delete(kept).where(kept.c.name == KEPT))
        connection.execute(insert(kept).values(name=KEPT, value=done))
    if not portion.opened:
        return
    if fresh:
        values = [{"of": each, "to": branch} for each, branch in fresh.items()]
        connection.execute(_MOVE.values(branch=bindparam("to")), values)
    cases = connection.execute(
        select(case_file.c.id, case_file.c.customer, case_file.c.branch).where(
            case_file.c.customer.in_(list(fresh)), case_file.c.closed_at.is_(None)
        )
    ).all()
    moved = [row for row in cases if row.branch != fresh[row.customer]]
    for row in moved:
        connection.execute(
            update(case_file).where(case_file.c.id == row.id).values(branch=fresh[row.customer])
        )
    transaction.enter(
        "customers sorted by branch",
        _BY,
        detail={
            "opened": portion.opened,
            "moved": len(fresh),
            "cases": sorted(row.id for row in moved),
        },
        touches=[(case_file, row.id) for row in moved],
    )
