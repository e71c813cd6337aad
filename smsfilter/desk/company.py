"""One company: added, given more of its own, merged into another, looked at.

A merged company is gone for good and its blocks are the survivor's: what customers refused was the
sender, whatever it is called by now.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError
from sqlalchemy import Connection, bindparam, func, insert, select

from smsfilter.desk import blocks
from smsfilter.desk.companies import CompanyError, grant_row, insert_all, source_row, update_all
from smsfilter.desk.holdings import Item, chunks, company_of, in_force, items, sharing
from smsfilter.ledger.actor import Actor
from smsfilter.rules.registry import Company, RegistryFile, Reseller
from smsfilter.store.schema import block, company, company_source, reseller_grant
from smsfilter.store.transaction import Entered, Transaction

PAST_MOST: Final = 1_000
"""Ended rows of a company that are shown: the newest."""
_LISTED_MOST: Final = 500
_RAW_MOST: Final = 64


# --- added


def add(transaction: Transaction, key: str, own: Company, by: Actor) -> Entered:
    """Add a company with what is its own. Raises CompanyError: it is there, or others own it."""
    row = _row(transaction.connection, key)
    if row is not None and row.state != "ended":
        raise CompanyError(_gone(row) if row.state == "merged" else f"{key} is a company already")
    _checked(transaction.connection, key, own)
    if row is None:
        values = {"id": key, "name": own.name, "state": "active", "changed_seq": 0}
        transaction.connection.execute(insert(company).values(values))
    else:
        update_all(transaction.connection, company, [key], state="active", name=own.name)
    wanted = list(items(own))
    added = _begin(transaction, key, wanted)
    detail = {"name": own.name, **_listed(wanted)}
    touched = [(company, key), *((company_source, each) for each in added)]
    return transaction.enter("company added", by, object=key, detail=detail, touches=touched)


def extend(transaction: Transaction, key: str, more: Company, by: Actor) -> Entered | None:
    """Give a company more of its own; its name stays unless `more` has one.

    None where it has all of it already. Raises CompanyError.
    """
    row = _active(transaction.connection, key)
    _checked(transaction.connection, key, more)
    there = {
        Item(each.kind, each.raw, each.valid_from, each.valid_to)
        for each in transaction.connection.execute(in_force(key))
    }
    new = [item for item in dict.fromkeys(items(more)) if item not in there]
    touched: list[Any] = [(company_source, each) for each in _begin(transaction, key, new)]
    detail: dict[str, Any] = _listed(new)
    if more.name is not None and more.name != row.name:
        update_all(transaction.connection, company, [key], name=more.name)
        touched.append((company, key))
        detail["name"] = more.name
    if not touched:
        return None
    return transaction.enter("company extended", by, object=key, detail=detail, touches=touched)


def _begin(transaction: Transaction, key: str, new: Sequence[Item]) -> list[int]:
    """Write rows at the end of the company's lists, and return their ids."""
    highest = (
        select(company_source.c.kind, func.max(company_source.c.position).label("last"))
        .where(company_source.c.company == key, company_source.c.ended_at.is_(None))
        .group_by(company_source.c.kind)
    )
    last = {row.kind: row.last for row in transaction.connection.execute(highest)}
    rows = []
    for item in new:
        last[item.kind] = last.get(item.kind, -1) + 1
        rows.append(source_row(key, item, last[item.kind], transaction.now))
    return insert_all(transaction.connection, company_source, rows)


def _checked(connection: Connection, key: str, own: Company) -> None:
    """Hold what is new against all that shares a name with it, as a file of both would be."""
    wanted = list(items(own))
    others: dict[str, list[Any]] = {}
    for row in sharing(connection, wanted):
        if row.company != key:
            others.setdefault(row.company, []).append(row)
    companies = {other: company_of(None, rows) for other, rows in others.items()}
    resellers = {}
    for accounts in chunks(own.accounts):
        held = select(reseller_grant.c.account).where(
            reseller_grant.c.account.in_(accounts), reseller_grant.c.ended_at.is_(None)
        )
        for account in connection.scalars(held):
            resellers[account] = Reseller(may_send_for=())
    try:
        RegistryFile(companies={**companies, key: own}, resellers=resellers)
    except ValidationError as error:
        said = error.errors(include_url=False, include_input=False)
        raise CompanyError("; ".join(_plainly(each["msg"]) for each in said)) from None


def _plainly(message: str) -> str:
    return message.removeprefix("Value error, ")


def _listed(new: Sequence[Item]) -> dict[str, Any]:
    """Name what was added, as far as a row of the ledger has room for it."""
    named = [[item.kind, item.raw[:_RAW_MOST]] for item in new[:_LISTED_MOST]]
    return {"added": len(new), "items": named}


# --- merged


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merger has moved to the survivor."""

    items: int
    grants: int
    blocks: int
    """Customers who had the merged company blocked."""
    entered: Entered


def merge(transaction: Transaction, from_id: str, into_id: str, by: Actor) -> Merged:
    """Let one company go on as another: what it has, who may send for it, who blocked it.

    Raises CompanyError: one of them is not there, or was merged itself.
    """
    connection = transaction.connection
    if from_id == into_id:
        raise CompanyError(f"{from_id} cannot be merged into itself")
    row = _known(connection, from_id)
    if row.state == "merged":
        raise CompanyError(_gone(row))
    _active(connection, into_id)
    ended, begun = _move_items(transaction, from_id, into_id)
    grants, granted = _move_grants(transaction, from_id, into_id)
    moved = blocks.retarget(transaction, from_id, into_id, by.name, "merged")
    update_all(connection, company, [from_id], state="merged", merged_into=into_id)
    detail = {
        "into": into_id,
        "items": len(ended),
        "grants": len(grants),
        "blocks": len(moved.ended),
        "blocks_new": len(moved.put),
    }
    touched = [
        *((company, each) for each in (from_id, into_id)),
        *((company_source, each) for each in (*ended, *begun)),
        *((reseller_grant, each) for each in (*grants, *granted)),
        *moved.touched,
    ]
    entered = transaction.enter(
        "companies merged", by, object=from_id, detail=detail, touches=touched
    )
    return Merged(len(ended), len(grants), len(moved.ended), entered)


def _move_items(
    transaction: Transaction, from_id: str, into_id: str
) -> tuple[list[int], list[int]]:
    """End what one has and begin it with the other; return the ids of both kinds of rows."""
    connection = transaction.connection
    theirs = list(connection.execute(in_force(from_id)))
    there = {
        Item(each.kind, each.raw, each.valid_from, each.valid_to)
        for each in connection.execute(in_force(into_id))
    }
    held = [Item(each.kind, each.raw, each.valid_from, each.valid_to) for each in theirs]
    ended = [each.id for each in theirs]
    update_all(connection, company_source, ended, ended_at=transaction.now)
    return ended, _begin(transaction, into_id, [item for item in held if item not in there])


def _move_grants(
    transaction: Transaction, from_id: str, into_id: str
) -> tuple[list[int], list[int]]:
    """Let whoever may send for one send for the other; return the ids of both kinds of rows."""
    connection = transaction.connection
    live = (reseller_grant.c.ended_at.is_(None),)
    theirs = list(
        connection.execute(select(reseller_grant).where(*live, reseller_grant.c.company == from_id))
    )
    allowed = set(
        connection.scalars(
            select(reseller_grant.c.account).where(*live, reseller_grant.c.company == into_id)
        )
    )
    ended = [each.id for each in theirs]
    update_all(connection, reseller_grant, ended, ended_at=transaction.now)
    new = {
        each.account: grant_row(each.account, into_id, each.position, transaction.now)
        for each in theirs
        if each.account not in allowed
    }
    return ended, insert_all(connection, reseller_grant, list(new.values()))


def survivor(connection: Connection, key: str) -> str:
    """Name the company that goes on where this one was merged, else this one.

    Asked within the transaction that puts a block: a merger may have come in between.
    """
    row = _row(connection, key)
    while row is not None and row.state == "merged":
        key = row.merged_into
        row = _row(connection, key)
    return key


# --- looked at


@dataclass(frozen=True, slots=True)
class Listed:
    """A company in a list."""

    id: str
    name: str | None
    state: str
    merged_into: str | None
    blocks: int
    """Customers who have it blocked now."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A company with all that is known of it."""

    listed: Listed
    own: Company
    """What is its own by the registry now."""
    resellers: tuple[str, ...]
    """Accounts of resellers that may send for it."""
    merged: tuple[str, ...]
    """The companies that it goes on for."""
    past: tuple[Any, ...]
    """Rows of company_source that have ended, the newest first."""


def list_(
    connection: Connection, after: str = "", limit: int = 50, state: str | None = None
) -> list[Listed]:
    """List companies by id, from the one behind `after` on."""
    query = select(company).where(company.c.id > after).order_by(company.c.id).limit(limit)
    if state is not None:
        query = query.where(company.c.state == state)
    rows = list(connection.execute(query))
    counted = _live_blocks(connection, [row.id for row in rows])
    return [
        Listed(row.id, row.name, row.state, row.merged_into, counted.get(row.id, 0)) for row in rows
    ]


def show(connection: Connection, key: str) -> Shown | None:
    """Show one company, whatever has become of it; None where there never was one."""
    row = _row(connection, key)
    if row is None:
        return None
    grants = select(reseller_grant.c.account).where(
        reseller_grant.c.company == key, reseller_grant.c.ended_at.is_(None)
    )
    past = (
        select(company_source)
        .where(company_source.c.company == key, company_source.c.ended_at.is_not(None))
        .order_by(company_source.c.ended_at.desc(), company_source.c.id.desc())
        .limit(PAST_MOST)
    )
    blocked = _live_blocks(connection, [key]).get(key, 0)
    merged = connection.scalars(select(company.c.id).where(company.c.merged_into == key))
    return Shown(
        Listed(row.id, row.name, row.state, row.merged_into, blocked),
        company_of(row.name, connection.execute(in_force(key))),
        tuple(sorted(set(connection.scalars(grants)))),
        tuple(sorted(merged)),
        tuple(connection.execute(past)),
    )


def _live_blocks(connection: Connection, keys: Sequence[str]) -> dict[str, int]:
    query = (
        select(block.c.target, func.count().label("customers"))
        .where(block.c.target.in_(keys), block.c.ended_at.is_(None))
        .group_by(block.c.target)
    )
    return {row.target: row.customers for row in connection.execute(query)}


_ROW: Final = select(company).where(company.c.id == bindparam("key"))


def _row(connection: Connection, key: str) -> Any:
    return connection.execute(_ROW, {"key": key}).one_or_none()


def _known(connection: Connection, key: str) -> Any:
    row = _row(connection, key)
    if row is None:
        raise CompanyError(f"there is no company {key}")
    return row


def _active(connection: Connection, key: str) -> Any:
    row = _known(connection, key)
    if row.state != "active":
        gone = _gone(row) if row.state == "merged" else f"{key} has left the registry: add it again"
        raise CompanyError(gone)
    return row


def _gone(row: Any) -> str:
    return f"{row.id} was merged into {row.merged_into}: use {row.merged_into}"
