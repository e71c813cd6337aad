"""Customers in the records: found by the token of their number, referred to by a random id.

Whoever wants to see a clear number goes through desk/vault, which enters it into the ledger.
"""

import secrets
from collections.abc import Callable
from typing import Final

from sqlalchemy import Connection, bindparam, insert, select, update

from smsfilter.store.schema import customer
from smsfilter.store.seal import Seal, SealError, place

_FIND: Final = select(customer.c.id).where(
    customer.c.token.in_(bindparam("tokens", expanding=True)), customer.c.retired_at.is_(None)
)


def find(connection: Connection, seal: Seal, digits: str) -> str | None:
    """Return the id of whoever has this number (E.164 digits) now; None = not known."""
    found: str | None = connection.scalar(_FIND, {"tokens": seal.tokens(digits)})
    return found


def find_or_add(
    connection: Connection,
    seal: Seal,
    digits: str,
    now: int,
    branch: Callable[[str], str] = lambda _digits: "hq",
) -> str:
    """Return the id of whoever has this number now, a new one where it was not known.

    `branch` tells the branch of a number.
    Only the one writer calls it: two would add the same number twice, and the second would fail.
    """
    known = find(connection, seal, digits)
    if known is not None:
        return known
    new = new_id()
    connection.execute(
        insert(customer).values(
            id=new,
            token=seal.token(digits),
            number_enc=seal.close(digits.encode(), place("customer", "number_enc", new)),
            branch=branch(digits),
            first_at=now,
        )
    )
    return new


def holders(connection: Connection, seal: Seal, digits: str) -> tuple[str | None, int, int | None]:
    """Return who has a number and since when (0: nobody), and when somebody before lost it."""
    query = select(customer.c.id, customer.c.first_at, customer.c.retired_at).where(
        customer.c.token.in_(seal.tokens(digits))
    )
    rows = connection.execute(query).all()
    now = next((each for each in rows if each.retired_at is None), None)
    before = max((each.retired_at for each in rows if each.retired_at is not None), default=None)
    return (None, 0, before) if now is None else (now.id, now.first_at, before)


def number(connection: Connection, seal: Seal, customer_id: str) -> str | None:
    """Open a customer's number (E.164 digits); None where it was erased. Raises SealError."""
    sealed = connection.scalar(select(customer.c.number_enc).where(customer.c.id == customer_id))
    return None if sealed is None else opened(seal, customer_id, sealed)


def opened(seal: Seal, customer_id: str, sealed: bytes) -> str:
    """Open the number of one row. Raises SealError."""
    plain = seal.open(sealed, place("customer", "number_enc", customer_id)).decode("ascii")
    if not plain.isdigit():
        raise SealError(f"customer {customer_id}: no number")
    return plain


def retire(connection: Connection, customer_id: str, now: int) -> None:
    """The number belongs to somebody else from now on, who is a customer of their own."""
    connection.execute(update(customer).where(customer.c.id == customer_id).values(retired_at=now))


def new_id() -> str:
    """Return a random id, which says nothing of the number."""
    return f"c{secrets.token_hex(10)}"
