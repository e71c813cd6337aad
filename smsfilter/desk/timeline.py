"""What the ledger says of one report or block: who did what to it, and when."""

from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import Connection, and_, or_, select

from smsfilter.ledger.chain import parse
from smsfilter.store.schema import ledger

SHOWN_MOST: Final = 500
"""Rows that are shown: the newest."""


def timeline(
    connection: Connection,
    customer: str,
    objects: Iterable[str],
    case: int | None = None,
    most: int = SHOWN_MOST,
) -> list[dict[str, Any]]:
    """Return the acts of a case, and those on `objects` of this customer, the oldest first."""
    wanted = and_(ledger.c.customer_id == customer, ledger.c.object.in_(list(objects)))
    if case is not None:
        wanted = or_(wanted, ledger.c.case_id == str(case))
    query = select(ledger.c.body).where(wanted).order_by(ledger.c.seq.desc()).limit(most)
    entries = [parse(body) for body in connection.scalars(query)]
    return [
        {
            "seq": each.seq,
            "at": each.at,
            "actor": each.actor,
            "action": each.action,
            "object": each.object,
            "detail": each.detail,
        }
        for each in reversed(entries)
    ]
