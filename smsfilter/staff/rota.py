"""The rota: who is on duty when, who is away and who stands in. Each change is one act."""

from collections.abc import Collection, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Row, insert, or_, select, update

from smsfilter.flow.branches import Branches
from smsfilter.flow.duty import ABSENT, Person, Span, uncovered
from smsfilter.ledger.actor import Actor
from smsfilter.staff import accounts
from smsfilter.staff.roster import load
from smsfilter.store.schema import duty
from smsfilter.store.transaction import Transaction

SPANS_MOST: Final = 5_000
"""Of one request: a branch for a year."""
SPAN_US_MOST: Final = 400 * 86_400 * 1_000_000
_NAMED_MOST: Final = 200
"""Spans that a row of the ledger names; it has the count of all."""


class RotaError(ValueError):
    """It cannot be planned like this; says why."""


def plan(
    transaction: Transaction,
    spans: Sequence[Span],
    by: Actor,
    within: Collection[str] | None,
) -> list[int]:
    """Enter spans for people of some branches (None: all); their ids. Raises RotaError.

    What is there already, to the microsecond, is left as it is.
    """
    connection = transaction.connection
    for span in spans:
        _check(connection, span, within)
    ids = [_entered(transaction, span, by) for span in spans]
    new = [each for each, is_new in ids if is_new]
    if new:
        first = spans[0]
        detail: dict[str, Any] = {
            "kind": first.kind,
            "staff": sorted({span.staff for span in spans}),
            "count": len(new),
            "spans": [[s.staff, s.from_at, s.to_at, s.cover or ""] for s in spans[:_NAMED_MOST]],
        }
        transaction.enter(
            "absence planned" if first.kind == ABSENT else "duty planned",
            by,
            object=f"staff:{first.staff}",
            detail=detail,
            touches=[(duty, each) for each in new],
        )
    return [each for each, _ in ids]


def end(
    transaction: Transaction, id: int, by: Actor, within: Collection[str] | None, own: str | None
) -> Row[Any] | None:
    """Take a span out: all of it, or what is left of it; None where there is none to be seen.

    `within` are the branches whose rota whoever asks may set, `own` their id: an absence of their
    own they may end as well. Raises RotaError where it is over.
    """
    connection, now = transaction.connection, transaction.now
    row = connection.execute(select(duty).where(duty.c.id == id)).one_or_none()
    person = None if row is None else accounts.find(connection, row.staff)
    if row is None or person is None:
        return None
    is_own = row.kind == ABSENT and row.staff == own
    if not is_own and within is not None and person.branch not in within:
        return None
    if row.ended_at is not None or row.to_at <= now:
        raise RotaError(f"{id} is over already")
    values = {"ended_at": now} if row.from_at >= now else {"to_at": now}
    connection.execute(update(duty).where(duty.c.id == id).values(values))
    transaction.enter(
        "absence ended" if row.kind == ABSENT else "duty ended",
        by,
        object=f"staff:{row.staff}",
        detail={"span": id, "from": row.from_at, "to": row.to_at},
        touches=[(duty, id)],
    )
    return row


def listed(
    connection: Connection,
    start: int,
    end: int,
    *,
    staff: str | None,
    within: Collection[str] | None,
    before: int | None,
    limit: int,
) -> list[dict[str, Any]]:
    """Return spans that touch an interval (µs), the newest entered first."""
    people = {each.id: each for each in accounts.people(connection)}
    query = select(duty).where(duty.c.ended_at.is_(None), duty.c.to_at > start)
    query = query.where(duty.c.from_at < end)
    if staff is not None:
        query = query.where(or_(duty.c.staff == staff, duty.c.cover == staff))
    if within is not None:
        some = [each.id for each in people.values() if each.branch in within]
        query = query.where(or_(duty.c.staff.in_(some), duty.c.cover.in_(some)))
    if before is not None:
        query = query.where(duty.c.id < before)
    rows = connection.execute(query.order_by(duty.c.id.desc()).limit(limit)).all()
    return [
        {
            "id": row.id,
            "staff": row.staff,
            "branch": people[row.staff].branch,
            "kind": row.kind,
            "from_at": row.from_at,
            "to_at": row.to_at,
            "cover": row.cover,
            "by": row.by,
        }
        for row in rows
    ]


def checked(
    connection: Connection,
    branches: Branches,
    start: int,
    end: int,
    within: Collection[str] | None,
) -> list[dict[str, Any]]:
    """Return the hours (µs) in which no clerk and no supervisor of a branch is on duty.

    Asked for are the branches that have customers of their own, by their prefixes, or staff.
    """
    roster = load(connection, start)
    wanted = {each.id for each in branches.by_id.values() if each.prefixes}
    wanted |= {each.branch for each in roster.people if _clerks(each)}
    if within is not None:
        wanted &= set(within)
    return [
        {"branch": branch, "from_at": since, "to_at": until}
        for branch, since, until in uncovered(
            roster.spans, roster.people, sorted(wanted), start, end
        )
    ]


def _clerks(person: Person) -> bool:
    return person.works and bool(person.roles & {"clerk", "supervisor"})


def _check(connection: Connection, span: Span, within: Collection[str] | None) -> None:
    person = accounts.find(connection, span.staff)
    if person is None or (within is not None and person.branch not in within):
        raise RotaError(f"there is no {span.staff} among the staff of your branch")
    if person.state in ("suspended", "left"):
        raise RotaError(f"{span.staff} is {person.state}")
    if not 0 < span.to_at - span.from_at <= SPAN_US_MOST:
        raise RotaError(f"{span.staff}: it has to end after it begins, within 400 days")
    if span.cover is None:
        return
    cover = accounts.find(connection, span.cover)
    if cover is None or not cover.is_active:
        raise RotaError(f"{span.cover} cannot stand in: no active account of the staff")
    if span.cover == span.staff:
        raise RotaError(f"{span.staff} cannot stand in for themselves")


def _entered(transaction: Transaction, span: Span, by: Actor) -> tuple[int, bool]:
    connection = transaction.connection
    same = select(duty.c.id).where(
        duty.c.staff == span.staff,
        duty.c.kind == span.kind,
        duty.c.from_at == span.from_at,
        duty.c.to_at == span.to_at,
        duty.c.cover == span.cover,
        duty.c.ended_at.is_(None),
    )
    known: int | None = connection.scalar(same)
    if known is not None:
        return known, False
    new: int = connection.execute(
        insert(duty).returning(duty.c.id),
        {
            "staff": span.staff,
            "kind": span.kind,
            "from_at": span.from_at,
            "to_at": span.to_at,
            "cover": span.cover,
            "by": by.name,
            "changed_seq": 0,
        },
    ).scalar_one()
    return new, True
