"""Blocks on the records: put once, ended with a reason, never deleted.

These are the steps that other acts are made of; whoever takes them enters the act into the ledger
and lists what `touched` gives, so that the projection puts it into the index.
"""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import BigInteger, Table, bindparam, exists, insert, literal, select, update

from smsfilter.desk.vault import Vault
from smsfilter.rules.numbers import subscriber
from smsfilter.store.schema import block
from smsfilter.store.transaction import Transaction

SOURCE: Final = "source:"
SUBSCRIBER: Final = "source:#"
"""Before a customer's id: the source is a person's number."""
_LIVE: Final = select(block.c.id).where(
    block.c.customer == bindparam("of"),
    block.c.target == bindparam("against"),
    block.c.ended_at.is_(None),
)
_NEW: Final = insert(block).returning(block.c.id)


@dataclass(frozen=True, slots=True)
class Put:
    """A live block of a customer against a company, a source (`source:…`) or all (`*`)."""

    id: int
    customer: str
    target: str
    is_new: bool

    @property
    def touched(self) -> tuple[tuple[Table, Any], ...]:
        """What the act that put it has changed."""
        return ((block, self.id),) if self.is_new else ()


def put(
    transaction: Transaction,
    customer_id: str,
    target: str,
    reason: str,
    *,
    report: int | None = None,
    case_id: int | None = None,
) -> Put:
    """Have a customer blocked for `target`: the block that is there already, or a new one."""
    known = live(transaction, customer_id, target)
    if known is not None:
        return Put(known, customer_id, target, is_new=False)
    written = {
        "customer": customer_id,
        "target": target,
        "report": report,
        "case_id": case_id,
        "reason": reason,
        "created_at": transaction.now,
        "changed_seq": 0,
    }
    new: int = transaction.connection.execute(_NEW, written).scalar_one()
    return Put(new, customer_id, target, is_new=True)


def end(transaction: Transaction, block_id: int, by: str, reason: str) -> bool:
    """End a block; False where it has ended before."""
    done = transaction.connection.execute(
        update(block)
        .where(block.c.id == block_id, block.c.ended_at.is_(None))
        .values(ended_at=transaction.now, ended_by=by, end_reason=reason)
    )
    return done.rowcount == 1


def live(transaction: Transaction, customer_id: str, target: str) -> int | None:
    """Return the id of the live block of a pair, None where there is none."""
    found: int | None = transaction.connection.scalar(_LIVE, {"of": customer_id, "against": target})
    return found


def source_target(transaction: Transaction, vault: Vault, source: str, country_code: str) -> str:
    """Return the target that stands for a source; a person's number becomes a customer's id."""
    digits = subscriber(source.encode(), country_code)
    if digits is None:
        return SOURCE + source
    return SUBSCRIBER + vault.customer(transaction, digits.decode())


def person(target: str) -> str | None:
    """Return the id of the customer whose own number a target stands for; None for all others."""
    return target.removeprefix(SUBSCRIBER) if target.startswith(SUBSCRIBER) else None


def company_of(target: str | None) -> str | None:
    """Return the company that a target is; None where it is a source, or nobody is known."""
    return None if target is None or target.startswith(SOURCE) else target


@dataclass(frozen=True, slots=True)
class Retargeted:
    """Blocks that were put in the place of others."""

    put: tuple[int, ...]
    ended: tuple[int, ...]

    @property
    def touched(self) -> tuple[tuple[Table, Any], ...]:
        """What the act has changed."""
        return tuple((block, each) for each in (*self.put, *self.ended))


def retarget(
    transaction: Transaction, target: str, to: str, by: str, end_reason: str
) -> Retargeted:
    """End every live block of `target`, once its customer has a live one of `to`.

    New ones keep report, case and reason of the old. Two statements, however many there are.
    """
    connection, known = transaction.connection, block.alias("known")
    there = exists().where(
        known.c.customer == block.c.customer, known.c.target == to, known.c.ended_at.is_(None)
    )
    old = (block.c.target == target, block.c.ended_at.is_(None))
    kept = ("customer", "report", "case_id", "reason")
    new = select(
        *(block.c[name] for name in kept),
        literal(to),
        literal(transaction.now, BigInteger),
        literal(0, BigInteger),
    ).where(*old, ~there)
    columns = [*kept, "target", "created_at", "changed_seq"]
    put = connection.scalars(insert(block).from_select(columns, new).returning(block.c.id)).all()
    ended = connection.scalars(
        update(block)
        .where(*old)
        .values(ended_at=transaction.now, ended_by=by, end_reason=end_reason)
        .returning(block.c.id)
    ).all()
    return Retargeted(tuple(put), tuple(ended))
