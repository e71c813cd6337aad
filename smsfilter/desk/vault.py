"""The one door to customers' numbers and to what they wrote.

A person who opens something is entered into the ledger in the same transaction, before the answer:
no row, no data. A job of the desk opens what it needs by `numbers` and enters one row for the run
with the count. Everywhere else a customer is an id and a masked number.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from sqlalchemy import Connection, bindparam, select

from smsfilter.flow.branches import Branches
from smsfilter.ledger.actor import Actor
from smsfilter.rules.numbers import mask
from smsfilter.store import customers
from smsfilter.store.schema import customer
from smsfilter.store.seal import Seal, place
from smsfilter.store.transaction import Transaction

ERASED: Final = "erased"
"""Shown in place of a number that is no longer kept."""
_AT_ONCE: Final = 500
_ONE_BRANCH: Final = Branches().of
_NUMBERS: Final = select(customer.c.id, customer.c.number_enc).where(
    customer.c.id.in_(bindparam("ids", expanding=True)), customer.c.number_enc.is_not(None)
)


class Vault:
    """Seals and opens for the desk, under the keys of `seal`; `branch` tells that of a number."""

    def __init__(self, seal: Seal, branch: Callable[[str], str] = _ONE_BRANCH) -> None:
        self._seal = seal
        self._branch = branch

    # --- on the way in

    def customer(self, transaction: Transaction, digits: str) -> str:
        """Return the id of a number's customer (E.164 digits), a new one where it was unknown."""
        return customers.find_or_add(
            transaction.connection, self._seal, digits, transaction.now, self._branch
        )

    def find(self, connection: Connection, digits: str) -> str | None:
        """Return the id of a number's customer (E.164 digits), None where it is unknown."""
        return customers.find(connection, self._seal, digits)

    def holders(self, connection: Connection, digits: str) -> tuple[str | None, int, int | None]:
        """Return who has a number, since when, and when it was last taken from somebody before.

        Times in µs UTC; 0 where nobody has it.
        """
        return customers.holders(connection, self._seal, digits)

    def close(self, plain: bytes, table: str, column: str, row: object) -> bytes:
        """Seal what will stand in one column of one row."""
        return self._seal.close(plain, place(table, column, row))

    def fingerprint(self, octets: bytes) -> str:
        """Return a keyed hash, by which the same octets are known again and nothing else is."""
        return self._seal.fingerprint(octets)

    # --- for the desk's own work

    def numbers(self, connection: Connection, ids: Iterable[str]) -> dict[str, str]:
        """Open the numbers of customers for a job, which enters one row with their count.

        Customers whose number was erased are left out. Raises SealError.
        """
        wanted = list(dict.fromkeys(ids))
        found: dict[str, str] = {}
        for at in range(0, len(wanted), _AT_ONCE):
            for row in connection.execute(_NUMBERS, {"ids": wanted[at : at + _AT_ONCE]}):
                found[row.id] = customers.opened(self._seal, row.id, row.number_enc)
        return found

    def open(self, sealed: bytes, table: str, column: str, row: object) -> bytes:
        """Open one column of one row for a job. Raises SealError."""
        return self._seal.open(sealed, place(table, column, row))

    def masked(self, connection: Connection, ids: Iterable[str]) -> dict[str, str]:
        """Return what may be shown of customers' numbers: 138****8000."""
        wanted = list(ids)
        return masked(self.numbers(connection, wanted), wanted)

    # --- for people: entered, then opened

    def show_text(
        self,
        transaction: Transaction,
        sealed: bytes,
        where: tuple[str, str, object],
        by: Actor,
        *,
        customer_id: str,
        purpose: str,
    ) -> str:
        """Open a text that stands at `where` (table, column, row) for a person."""
        table, column, row = where
        transaction.enter(
            "text shown",
            by,
            object=f"{table}:{row}",
            customer_id=customer_id,
            detail={"column": column, "purpose": purpose},
        )
        return self._seal.open(sealed, place(table, column, row)).decode()


def masked(numbers: Mapping[str, str], ids: Iterable[str]) -> dict[str, str]:
    """Return what may be shown of numbers that were opened; those that are missing are erased."""
    return {each: mask(numbers[each]) if each in numbers else ERASED for each in ids}
