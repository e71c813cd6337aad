"""What the proxies recorded of a case: what came to the customer before the report, and since.

Reads the decision records, and is for a thread.
"""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, select

from smsfilter.cases.line import Line, recorded, shown
from smsfilter.decisions.proof import Decided
from smsfilter.desk import proving
from smsfilter.desk.blocks import SOURCE
from smsfilter.desk.evidence import Evidence
from smsfilter.desk.matching import WINDOW
from smsfilter.desk.office import Office
from smsfilter.desk.proving import Subject, UnprovableError
from smsfilter.store.schema import block
from smsfilter.store.seal import SealError

_NEVER: Final = 1 << 62
"""A seq that no batch has read: all that was forwarded is before it."""
_SPAN: Final = "in the 72 hours before the report"


@dataclass(frozen=True, slots=True)
class Sent:
    """What was forwarded to the customer before the report."""

    forwards: tuple[Decided, ...] = ()
    earlier: tuple[Decided, ...] = ()
    """What came before those 72 h, as far back as records go."""
    is_complete: bool = False
    """The records of that time are all there."""
    why: str = ""
    """Why they are not."""

    def line(self, whom: str) -> Line:
        """Say it of a company or source."""
        if self.forwards:
            count = len(self.forwards)
            says = f"{count} message{'s' if count > 1 else ''} of {whom} came to the customer"
            last = self.forwards[-1].at
            return Line("forwards", f"{says} {_SPAN}", recorded(self.forwards), last)
        if not self.is_complete:
            return Line("forwards", f"nothing is known of what came {_SPAN}: {self.why}", ())
        says = f"nothing of {whom} came {_SPAN}; all records are there"
        if self.earlier:
            count, last = len(self.earlier), self.earlier[-1].at
            return Line("forwards", f"{says}, {count} came earlier", recorded(self.earlier), last)
        return Line("forwards", says, ())


class Recorded:
    """The decision records of one case; `target` is whom it is about by now."""

    def __init__(
        self,
        office: Office,
        evidence: Evidence,
        connection: Connection,
        case: Row[Any],
        target: str | None,
    ) -> None:
        self._office = office
        self._evidence = evidence
        self._connection = connection
        self._case = case
        self._target = target

    def before(self, first: Row[Any] | None) -> Sent:
        """Return what came of the company, or the source, in the 72 h before the first report."""
        if first is None or self._target is None:
            return Sent(why="nobody is known whose it could be")
        customer, target = self._case.customer, self._target
        digits = self._office.vault.numbers(self._connection, [customer]).get(customer)
        if digits is None:
            return Sent(why="the number was erased")
        since, until = first.received_at - WINDOW, first.received_at
        subject = Subject(0, customer, digits, target, self._case.id, first.id, since, None, _NEVER)
        try:
            given = proving.prove(self._connection, self._office, self._evidence, subject, until)
        except (UnprovableError, SealError, OSError) as error:
            return Sent(why=str(error))
        proof = given.proof
        forwards = sorted({*proof.before, *proof.doubtful, *self._beyond(digits)})
        return Sent(
            tuple(one for one in forwards if since <= one.at <= until),
            tuple(one for one in forwards if one.at < since),
            is_complete=not proof.gaps,
            why="" if not proof.gaps else proof.gaps[0].why,
        )

    def _beyond(self, digits: str) -> list[Decided]:
        """Forwards whose sources begin with the reported one: customers leave sub-codes off."""
        target = self._target or ""
        head = target.removeprefix(SOURCE)
        if not target.startswith(SOURCE) or not (head.isascii() and head.isdigit()):
            return []
        found = self._evidence.records().forwards(digits)
        return [one for one in found if one.source.startswith(head) and one.source.isdigit()]

    def since(self) -> list[Line]:
        """Return the block in force, and what was refused because of it."""
        row = self._block()
        if row is None:
            return [self._ended()]
        name, whom = f"block:{row.id}", shown(row.target)
        if row.in_force_at is None:
            return [Line("block", f"{whom} is to be blocked; it is not in force yet", (name,))]
        line = Line("block", f"{whom} is blocked", (name,), row.in_force_at)
        return [line, self._refused(row)]

    def _block(self) -> Row[Any] | None:
        query = (
            select(block)
            .where(
                block.c.customer == self._case.customer,
                block.c.ended_at.is_(None),
                block.c.target.in_([self._target or "", "*"]),
            )
            .order_by(block.c.target.desc())  # the one that names somebody, before that of all
            .limit(1)
        )
        return self._connection.execute(query).one_or_none()

    def _ended(self) -> Line:
        """Nothing is blocked: perhaps no more."""
        query = select(block).where(
            block.c.customer == self._case.customer, block.c.case_id == self._case.id
        )
        row = self._connection.execute(query.order_by(block.c.id.desc()).limit(1)).one_or_none()
        if row is None:
            return Line("block", "nothing is blocked", ())
        says = f"nothing is blocked: the block of {shown(row.target)} has ended, {row.end_reason}"
        return Line("block", says, (f"block:{row.id}",), row.ended_at)

    def _refused(self, row: Row[Any]) -> Line:
        name = f"block:{row.id}"
        try:
            subject = proving.by_id(self._connection, self._office, row.id)
            given = proving.prove(self._connection, self._office, self._evidence, subject)
        except (UnprovableError, SealError, OSError) as error:
            return Line("refusals", f"what was refused since is not known: {error}", (name,))
        refused, summed = given.proof.refused, given.summed
        count = len(refused) + sum(each.count for each in summed)
        if not count:
            return Line("refusals", "nothing was refused since", (name,))
        last = max([*(one.at for one in refused), *(each.last for each in summed)])
        says = f"{count} message{'s' if count > 1 else ''} refused since"
        return Line("refusals", says, recorded(refused) or (name,), last)
