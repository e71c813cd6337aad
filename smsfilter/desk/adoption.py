"""Blocks that an operator put into Redis by hand, taken into the records, where they survive.

Each becomes a block like any other, with the reason `adopted` and a row of its own in the ledger.
"""

from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Final

from smsfilter.desk import blocks
from smsfilter.desk.pairs import Pair
from smsfilter.desk.projection import Projection
from smsfilter.desk.vault import Vault
from smsfilter.ledger.actor import Actor
from smsfilter.store.transaction import Transaction
from smsfilter.store.writer import Writer

REASON: Final = "adopted"
_TOGETHER: Final = 100
"""Adoptions of one transaction: reports wait for it."""


def adopt(transaction: Transaction, vault: Vault, pair: Pair, by: Actor, country_code: str) -> bool:
    """Make a pair in Redis a block of the records; False where there is one already."""
    owner = vault.customer(transaction, pair.number)
    target = pair.member
    if target.startswith(blocks.SOURCE):
        source = target.removeprefix(blocks.SOURCE)
        target = blocks.source_target(transaction, vault, source, country_code)
    put = blocks.put(transaction, owner, target, REASON)
    if put.is_new:
        transaction.enter(
            "block adopted",
            by,
            object=f"block:{put.id}",
            customer_id=owner,
            detail={"target": target},
            touches=put.touched,
        )
    return put.is_new


async def adopt_all(
    projection: Projection, writer: Writer, vault: Vault, by: Actor, country_code: str
) -> int:
    """Adopt every pair in Redis that no block ever made, and return how many there were.

    Raises RecordsAway, and Unreachable where Redis is not there; what was adopted stays so.
    """
    return await adopt_these(projection.unknown(), writer, vault, by, country_code)


async def adopt_these(
    found: AsyncIterator[list[Pair]], writer: Writer, vault: Vault, by: Actor, country_code: str
) -> int:
    """Adopt pairs as they come, and return how many were new to the records."""
    adopted = 0
    async for some in found:
        for at in range(0, len(some), _TOGETHER):
            work = partial(_adopt_some, vault, some[at : at + _TOGETHER], by, country_code)
            adopted += await writer.write(work)
    return adopted


def _adopt_some(
    vault: Vault, found: Sequence[Pair], by: Actor, country_code: str, transaction: Transaction
) -> int:
    return sum(adopt(transaction, vault, pair, by, country_code) for pair in found)
