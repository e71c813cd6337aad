"""One request to the writer: what it reads and writes goes through here, and what it enters.

Whoever has something written is given a Transaction by store/writer.py, and ends with it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, NestedTransaction, Table

from smsfilter.ledger.actor import Actor


@dataclass(slots=True)
class Entered:
    """A row of the ledger that is about to be; `seq` holds once the write has returned."""

    action: str
    by: Actor
    object: str
    case_id: str | None
    customer_id: str | None
    detail: Mapping[str, Any]
    touches: Sequence[tuple[Table, Any]]
    at: int = 0
    seq: int = 0


@dataclass(slots=True)
class Transaction:
    """One request at work: what it reads and writes goes over `connection`; `now` is µs UTC."""

    _group: Connection
    now: int
    entries: list[Entered] = field(default_factory=list)
    sign: bool = False
    nested: NestedTransaction | None = None
    """Its savepoint, once there is one."""

    @property
    def connection(self) -> Connection:
        """Its savepoint begins here: a look, which only enters, needs none."""
        if self.nested is None:
            self.nested = self._group.begin_nested()
        return self._group

    def enter(
        self,
        action: str,
        by: Actor,
        *,
        object: str = "",
        case_id: int | str | None = None,
        customer_id: str | None = None,
        detail: Mapping[str, Any] | None = None,
        touches: Sequence[tuple[Table, Any]] = (),
    ) -> Entered:
        """Enter one act into the ledger; the rows it `touches` get its seq as changed_seq.

        The detail holds strings, integers, lists and mappings of them, and no customer's number.
        """
        case = None if case_id is None else str(case_id)
        entered = Entered(action, by, object, case, customer_id, detail or {}, touches, self.now)
        self.entries.append(entered)
        return entered

    def checkpoint(self) -> None:
        """Have the end of this group signed, however little is new since the last checkpoint."""
        self.sign = True
