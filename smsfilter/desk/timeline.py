"""What the ledger says of one report or block: who did what to it, and when."""

from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import Connection, and_, bindparam, or_, select

from smsfilter.ledger.chain import parse
from smsfilter.store.schema import ledger

SHOWN_MOST: Final = 500
"""Rows that are shown: the newest."""

_BODIES: Final = select(ledger.c.body).order_by(ledger.c.seq.desc()).limit(bindparam("most"))
_ON_OBJECTS: Final = and_(
    ledger.c.customer_id == bindparam("customer"),
    ledger.c.object.in_(bindparam("objects", expanding=True)),
)
_OF_CUSTOMER: Final = _BODIES.where(_ON_OBJECTS)
_OF_CASE: Final = _BODIES.where(or_(_ON_OBJECTS, ledger.c.case_id == bindparam("case")))


def timeline(
    connection: Connection,
    customer: str,
    objects: Iterable[str],
    case: int | None = None,
    most: int = SHOWN_MOST,
) -> list[dict[str, Any]]:
    """Return the acts of a case, and those on `objects` of this customer, the oldest first."""
    given = {"customer": customer, "objects": list(objects), "most": most}
    query = _OF_CUSTOMER
    if case is not None:
        query, given["case"] = _OF_CASE, str(case)
    entries = [parse(body) for body in connection.scalars(query, given)]
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
