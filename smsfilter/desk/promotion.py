"""Blocks that follow what the registry learns: a source gets a company, companies become one.

Where a source is blocked because nobody knew whose it is, its company is blocked as soon as there
can be only one. It counts who owned the source since 72 hours before the first of these blocks:
whoever bought it afterwards is not the one that was reported. What is ambiguous stays as it is,
for a person. Each run begins where the records stand, so that one cut short is simply run again.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Table, func, select

from smsfilter.desk import blocks
from smsfilter.desk.company import survivor
from smsfilter.desk.office import Office
from smsfilter.desk.owners import WINDOW, Owners
from smsfilter.ledger.actor import system
from smsfilter.rules.policy import Policy
from smsfilter.store.schema import block, company
from smsfilter.store.transaction import Transaction

BY: Final = system("promotion")
AT_ONCE: Final = 500
"""Targets in one transaction: its row of the ledger names each of them."""

Opener = Callable[[Connection, Iterable[str]], dict[str, str]]
"""Opens the numbers of customers: `Vault.numbers`."""


@dataclass(frozen=True, slots=True)
class Promotion:
    """A target of live blocks, and the company that is to be blocked in its place."""

    target: str
    company: str
    reason: str
    """What ends the old blocks: `company known`, `merged`."""


@dataclass(frozen=True, slots=True)
class Promoted:
    """What a run has changed."""

    targets: int = 0
    put: int = 0
    ended: int = 0


def promotable(connection: Connection, opener: Opener, policy: Policy, now: int) -> list[Promotion]:
    """Find what is blocked under a name that a company is known for by now. Only reads."""
    found = _merged(connection)
    live = (
        select(block.c.target, func.min(block.c.created_at).label("since"))
        .where(block.c.target.startswith(blocks.SOURCE), block.c.ended_at.is_(None))
        .group_by(block.c.target)
    )
    targets = {row.target: row.since for row in connection.execute(live)}
    if not targets:
        return found
    first = min(targets.values()) - WINDOW
    zone = ZoneInfo(policy.timezone)
    owners = Owners.load(connection, zone, policy.country_code, now, since=first)
    numbers = opener(connection, filter(None, map(blocks.person, targets)))
    for target, since in targets.items():
        sender = blocks.person(target)
        source = target.removeprefix(blocks.SOURCE) if sender is None else numbers.get(sender)
        if source is None:
            continue
        owned = owners.of(source, now, since - WINDOW)
        if len(owned.companies) == 1 and not owned.look_alike:
            found.append(Promotion(target, owned.companies[0], "company known"))
    return found


def promote(transaction: Transaction, promotions: Iterable[Promotion]) -> Promoted:
    """Block the companies in place of the targets, as one act.

    A company that has left the registry meanwhile is left out: its source stays blocked.
    """
    connection = transaction.connection
    done: dict[str, str] = {}
    touched: list[tuple[Table, Any]] = []
    put = ended = 0
    for each in promotions:
        to = survivor(connection, each.company)
        active = select(company.c.id).where(company.c.id == to, company.c.state == "active")
        if connection.scalar(active) is None:
            continue
        moved = blocks.retarget(transaction, each.target, to, BY.name, each.reason)
        if moved.ended:
            done[each.target] = to
            put, ended = put + len(moved.put), ended + len(moved.ended)
            touched += moved.touched
    if done:
        detail = {"targets": done, "blocks_new": put, "blocks_ended": ended}
        transaction.enter("blocks promoted", BY, detail=detail, touches=touched)
    return Promoted(len(done), put, ended)


async def run(office: Office) -> Promoted:
    """Promote all that can be promoted now. Raises RecordsAway; to be run again then."""

    def look() -> list[Promotion]:
        with office.records.reading() as connection:
            return promotable(connection, office.vault.numbers, office.policy, office.clock())

    total = Promoted()
    found = await asyncio.to_thread(look)
    for at in range(0, len(found), AT_ONCE):
        part = await office.writer.write(partial(promote, promotions=found[at : at + AT_ONCE]))
        total = Promoted(
            total.targets + part.targets, total.put + part.put, total.ended + part.ended
        )
    return total


def _merged(connection: Connection) -> list[Promotion]:
    """Blocks of a company that was merged in the very moment when they were put."""
    query = (
        select(company.c.id, company.c.merged_into)
        .join(block, block.c.target == company.c.id)
        .where(company.c.state == "merged", block.c.ended_at.is_(None))
        .distinct()
    )
    return [Promotion(row.id, row.merged_into, "merged") for row in connection.execute(query)]
