"""Blocks as people handle them: put by hand, ended for a reason, ended with their customer.

Each act is one row of the ledger. The steps that acts are made of are in blocks.py.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Row,
    Table,
    and_,
    func,
    or_,
    select,
    update,
)

from smsfilter.desk import blocks
from smsfilter.desk.companies import CompanyError
from smsfilter.desk.company import survivor
from smsfilter.desk.silence import silence
from smsfilter.desk.vault import Vault
from smsfilter.flow.branches import HEADQUARTERS
from smsfilter.flow.case import TABLE, Event, State
from smsfilter.ledger.actor import Actor
from smsfilter.rules.headers import source_forms
from smsfilter.rules.numbers import subscriber
from smsfilter.store import customers
from smsfilter.store.schema import block, case_file, company, report, sms_out
from smsfilter.store.schema import customer as customer_table
from smsfilter.store.transaction import Entered, Transaction

EVERYBODY: Final = "*"
"""The target that stands for all senders."""
RECYCLED: Final = "recycled"
END_REASONS: Final = ("withdrawal", "consent", "correction", RECYCLED)
"""Why a person ends a block: the customer took it back or has agreed since, it was wrong, or the
number is somebody else's by now."""
_FINAL: Final = ("withdrawal", RECYCLED)
"""Reasons that leave nothing to be decided."""

_OPEN: Final = ("blocked", "to_decide", "unmatched", "referred", "needs_info")
"""States of reports of which a block has come, or may still come."""

Touched = list[tuple[Table, Any]]


# --- put


@dataclass(frozen=True, slots=True)
class Added:
    """A block that is there now."""

    id: int
    target: str
    entered: Entered | None
    """None where it was there before."""


def add(
    transaction: Transaction,
    vault: Vault,
    digits: str,
    target: str,
    *,
    reason: str,
    by: Actor,
    country_code: str,
) -> Added:
    """Block a customer (E.164 digits) for a company, `source:…` or `*`. Raises CompanyError."""
    meant = _target(transaction, vault, target, country_code)
    customer = vault.customer(transaction, digits)
    put = blocks.put(transaction, customer, meant, reason)
    if not put.is_new:
        return Added(put.id, meant, None)
    entered = transaction.enter(
        "block added",
        by,
        object=f"block:{put.id}",
        customer_id=customer,
        detail={"target": meant, "reason": reason},
        touches=put.touched,
    )
    return Added(put.id, meant, entered)


def _target(transaction: Transaction, vault: Vault, written: str, country_code: str) -> str:
    if written == EVERYBODY:
        return EVERYBODY
    if written.startswith(blocks.SOURCE):
        source = written.removeprefix(blocks.SOURCE)
        if subscriber(source.encode(), country_code) is None:
            source = source_forms(source.encode(), country_code).normalised
        return blocks.source_target(transaction, vault, source, country_code)
    return active(transaction.connection, written)


def active(connection: Connection, written: str) -> str:
    """Return the company that is meant, the one that goes on where it was merged. CompanyError."""
    key = survivor(connection, written)
    known = select(company.c.id).where(company.c.id == key, company.c.state == "active")
    if connection.scalar(known) is None:
        raise CompanyError(f"there is no company {written}: smsfilter company list")
    return key


# --- ended


@dataclass(frozen=True, slots=True)
class Removed:
    """A block that has ended."""

    ended_at: int
    entered: Entered | None
    """None where it had ended before."""


def remove(
    transaction: Transaction, block_id: int, reason: str, by: Actor, *, asked_by: str | None = None
) -> Removed | None:
    """End a block; None where there is no such block. `asked_by` is who asked `by` to.

    The reports that put it are done with once no block of their case is left, so that the same
    text is a new report from then on.
    """
    row = transaction.connection.execute(select(block).where(block.c.id == block_id)).one_or_none()
    if row is None:
        return None
    if not blocks.end(transaction, block_id, by.name, reason):
        return Removed(row.ended_at, None)
    reports, touched = _done_with(transaction, row, reason)
    entered = transaction.enter(
        "block removed",
        by,
        object=f"block:{block_id}",
        case_id=row.case_id,
        customer_id=row.customer,
        detail={"target": row.target, "reason": reason, "reports": reports} | _asked(asked_by),
        touches=[(block, block_id), *touched],
    )
    return Removed(transaction.now, entered)


def _asked(asked_by: str | None) -> dict[str, str]:
    return {} if asked_by is None else {"asked_by": asked_by}


def _done_with(transaction: Transaction, ended: Row[Any], reason: str) -> tuple[list[int], Touched]:
    """Close what belongs to a block that has ended, if nothing else of its case is in force."""
    case, connection = ended.case_id, transaction.connection
    left = (
        select(block.c.id)
        .where(
            block.c.customer == ended.customer,
            block.c.case_id == case,
            block.c.ended_at.is_(None),
        )
        .limit(1)
    )
    if case is None or connection.scalar(left) is not None:
        return [], []
    state = "withdrawn" if reason == "withdrawal" else "lifted"
    reports = connection.scalars(
        update(report)
        .where(report.c.case_id == case, report.c.state.in_((*_OPEN, "joined")))
        .values(state=state)
        .returning(report.c.id)
    ).all()
    standing = connection.scalar(select(case_file.c.state).where(case_file.c.id == case))
    if reason in _FINAL and Event.WITHDRAW in TABLE[State(standing or "")]:
        silence(transaction, case)
        connection.execute(
            update(case_file)
            .where(case_file.c.id == case)
            .values(state=State.WITHDRAWN, outcome=reason, closed_at=transaction.now)
        )
    return sorted(reports), [*((report, each) for each in reports), (case_file, case)]


class Recycling(StrEnum):
    """What recycling a number has come to."""

    DONE = "recycled"
    UNKNOWN = "unknown"
    """Nobody with this number is known: there is nothing to inherit."""
    NEWER = "newer"
    """Whoever has it now came after the day when it was recycled."""
    UNCLEAR = "unclear"
    """It was recycled before, somebody has it since, and no day tells which of the two is meant."""


@dataclass(frozen=True, slots=True)
class Recycled:
    """One number."""

    outcome: Recycling
    blocks: int = 0
    entered: Entered | None = None


def recycle(
    transaction: Transaction,
    vault: Vault,
    digits: str,
    at: int | None,
    by: Actor,
    *,
    asked_by: str | None = None,
) -> Recycled:
    """The number belongs to nobody from `at` on (µs UTC; None: now): nothing of it is inherited.

    Its customer's blocks end, blocks of that person as a sender too, cases are closed, reports name
    nobody any more, and what was to be sent is not. The same again changes nothing, also once
    somebody else has the number.
    """
    customer, since, before = vault.holders(transaction.connection, digits)
    if customer is None:
        return Recycled(Recycling.UNKNOWN)
    if at is not None and since > at:
        return Recycled(Recycling.NEWER)
    if at is None and before is not None:
        return Recycled(Recycling.UNCLEAR)
    connection = transaction.connection
    person = blocks.SUBSCRIBER + customer
    ended = connection.scalars(
        update(block)
        .where(or_(block.c.customer == customer, block.c.target == person))
        .where(block.c.ended_at.is_(None))
        .values(ended_at=transaction.now, ended_by=by.name, end_reason=RECYCLED)
        .returning(block.c.id)
    ).all()
    closed = connection.scalars(
        update(case_file)
        .where(case_file.c.customer == customer, case_file.c.closed_at.is_(None))
        .values(state=State.WITHDRAWN, outcome=RECYCLED, closed_at=transaction.now)
        .returning(case_file.c.id)
    ).all()
    reports = connection.scalars(
        update(report)
        .where(report.c.customer == customer, report.c.state.in_(_OPEN))
        .values(state="lifted")
        .returning(report.c.id)
    ).all()
    unsent = connection.scalars(
        update(sms_out)
        .where(sms_out.c.customer == customer, sms_out.c.state.in_(("held", "queued")))
        .values(state="given_up", next_at=None)
        .returning(sms_out.c.id)
    ).all()
    customers.retire(connection, customer, transaction.now)
    entered = transaction.enter(
        "number recycled",
        by,
        customer_id=customer,
        detail={
            "blocks": sorted(ended),
            "cases": sorted(closed),
            "reports": sorted(reports),
            "sms": sorted(unsent),
        }
        | _asked(asked_by),
        touches=[
            *((block, each) for each in ended),
            *((case_file, each) for each in closed),
            *((report, each) for each in reports),
        ],
    )
    return Recycled(Recycling.DONE, len(ended), entered)


# --- looked at

STATES: Final = ("live", "ended", "all")


def page(
    connection: Connection,
    *,
    before: int | None,
    limit: int,
    state: str,
    target: str | None = None,
    customer: str | None = None,
    branches: frozenset[str] | None = None,
) -> list[Row[Any]]:
    """Return blocks, the newest first, with ids below `before`.

    `branches`: only of their customers; None: of all.
    """
    wanted: list[ColumnElement[bool]] = []
    if branches is not None:
        wanted.append(of_branches(block.c.customer, branches))
    if state != "all":
        is_live = block.c.ended_at.is_(None)
        wanted.append(is_live if state == "live" else ~is_live)
    if before is not None:
        wanted.append(block.c.id < before)
    if target is not None:
        wanted.append(block.c.target == target)
    if customer is not None:
        wanted.append(block.c.customer == customer)
    query = select(block).where(and_(True, *wanted)).order_by(block.c.id.desc()).limit(limit)
    return list(connection.execute(query))


def of_branches(whose: Column[Any], branches: frozenset[str]) -> ColumnElement[bool]:
    """Whether a column names a customer of these branches; who is of none is headquarters'."""
    of = select(func.coalesce(customer_table.c.branch, HEADQUARTERS)).where(
        customer_table.c.id == whose
    )
    return of.scalar_subquery().in_(sorted(branches))


def branch_of(connection: Connection, customer_id: str) -> str:
    """Return the branch of a customer."""
    query = select(customer_table.c.branch).where(customer_table.c.id == customer_id)
    return connection.scalar(query) or HEADQUARTERS


def find(connection: Connection, block_id: int) -> Row[Any] | None:
    """Return one block."""
    return connection.execute(select(block).where(block.c.id == block_id)).one_or_none()


def told(connection: Connection, vault: Vault, rows: Iterable[Row[Any]]) -> list[dict[str, Any]]:
    """Say blocks as they may be shown: numbers are masked, a person's as a sender too."""
    found = list(rows)
    masked = vault.masked(connection, people(found))
    return [as_listed(each, masked) for each in found]


def people(rows: Iterable[Row[Any]]) -> set[str]:
    """Return the customers whose numbers, masked, these blocks show."""
    found = [(each.customer, blocks.person(each.target)) for each in rows]
    return {each for both in found for each in both if each is not None}


def as_listed(row: Row[Any], masked: dict[str, str]) -> dict[str, Any]:
    """Say a block as a list has it."""
    sender = blocks.person(row.target)
    return {
        "id": row.id,
        "customer": masked[row.customer],
        "customer_id": row.customer,
        "target": row.target if sender is None else blocks.SOURCE + masked[sender],
        "reason": row.reason,
        "report": row.report,
        "case": row.case_id,
        "created_at": row.created_at,
        "in_force_at": row.in_force_at,
        "ended_at": row.ended_at,
        "ended_by": row.ended_by,
        "end_reason": row.end_reason,
    }
