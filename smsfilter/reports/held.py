"""Parts of longer messages on the records, until they are a message.

Each part is answered once it is durable. A message is taken when its last part comes, when its
first part names a number (the rest is added as it comes), or 60 s after its latest part.
"""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, func, insert, or_, select, update

from smsfilter.desk.office import Office
from smsfilter.ledger.actor import by_sms, system
from smsfilter.reports import parts
from smsfilter.reports.filing import DAY_US, DONE_WITH, REDELIVERY_US, Filing
from smsfilter.reports.heard import Heard
from smsfilter.reports.parts import HELD_MAX, HELD_MAX_PER_CUSTOMER, WAIT_US, Gathered, Part
from smsfilter.reports.sms import Delivered
from smsfilter.reports.text import read_text
from smsfilter.store.records import RecordsAway
from smsfilter.store.schema import mo_part, report
from smsfilter.store.transaction import Transaction

SWEEP_MOST: Final = 200
"""Messages taken up in one sweep."""


@dataclass(frozen=True, slots=True)
class Added:
    """A part that belongs to a report which was filed before."""

    report: int
    is_confirmed: bool
    """What that asked for is in force."""


class Held:
    """Keeps parts, and tells what they have become."""

    def __init__(self, office: Office, filing: Filing) -> None:
        self._office = office
        self._filing = filing

    async def heard(self, message: Delivered, reporter: str) -> Heard | Added | None:
        """Read a message; None for a part that has to wait. Raises RecordsAway."""
        part = parts.part_of(message)
        if part.is_whole:
            key = bytes((message.esm_class, message.data_coding)) + message.octets
            text = read_text(part.data_coding, part.octets).text
            return Heard("sms", reporter, key, message.octets, text)
        return await self._office.writer.write(
            lambda transaction: self._keep(transaction, part, reporter)
        )

    async def due(self) -> list[Heard]:
        """Return what has waited for its missing parts long enough."""
        return await self._office.writer.write(self._due)

    # --- in the writer's thread

    def _keep(self, transaction: Transaction, part: Part, reporter: str) -> Heard | Added | None:
        vault = self._office.vault
        customer = vault.customer(transaction, reporter)
        mine = self._mine(transaction, customer, part)
        if mine is None or part not in mine.parts:
            _refuse_too_many(transaction.connection, customer)
            self._insert(transaction, customer, part)
            mine = self._mine(transaction, customer, part)
        assert mine is not None  # noqa: S101 - it was put there
        filed = transaction.connection.execute(
            select(report)
            .join(mo_part, mo_part.c.report == report.c.id)
            .where(mo_part.c.id.in_(mine.rows))
            .limit(1)
        ).first()
        if filed is not None:
            self._filing.rows.add_parts(transaction, filed, self._heard(mine, reporter))
            return Added(filed.id, filed.confirmed_at is not None)
        if mine.is_due(transaction.now):
            return self._heard(mine, reporter)
        named = parts.first_part_names(mine.parts, self._office.policy.country_code)
        return None if named is None else self._heard(mine, reporter)

    def _insert(self, transaction: Transaction, customer: str, part: Part) -> None:
        new: int = transaction.connection.execute(
            insert(mo_part)
            .values(
                customer=customer,
                ref=str(part.reference),
                total=part.total,
                n=part.number,
                data_coding=part.data_coding,
                octets_enc=b"",
                at=transaction.now,
            )
            .returning(mo_part.c.id)
        ).scalar_one()
        sealed = self._office.vault.close(part.octets, "mo_part", "octets_enc", new)
        transaction.connection.execute(
            update(mo_part).where(mo_part.c.id == new).values(octets_enc=sealed)
        )
        transaction.enter(
            "part taken",
            by_sms(customer),
            customer_id=customer,
            detail={"n": part.number, "total": part.total},
        )

    def _mine(self, transaction: Transaction, customer: str, part: Part) -> Gathered | None:
        """What is there of the message that a part belongs to.

        What was withdrawn is over: the same parts are a new report, once they cannot be the SMSC's.
        """
        rows = transaction.connection.execute(
            select(mo_part)
            .outerjoin(report, report.c.id == mo_part.c.report)
            .where(
                mo_part.c.customer == customer,
                mo_part.c.ref == str(part.reference),
                mo_part.c.total == part.total,
                mo_part.c.at > transaction.now - DAY_US,
                or_(
                    report.c.id.is_(None),
                    report.c.state.not_in(DONE_WITH),
                    mo_part.c.at > transaction.now - REDELIVERY_US,
                ),
            )
        ).all()
        for group in reversed(parts.gather(self._kept(row) for row in rows)):
            if part in group.parts:  # the same again, however late
                return group
            free = all(there.number != part.number for there in group.parts)
            if free and transaction.now - group.latest_at < WAIT_US:
                return group
        return None

    def _kept(self, row: Row[Any]) -> parts.Held:
        octets = self._office.vault.open(row.octets_enc, "mo_part", "octets_enc", row.id)
        part = Part(int(row.ref), row.total, row.n, row.data_coding, octets)
        return parts.Held(part, row.at, row.id)

    def _due(self, transaction: Transaction) -> list[Heard]:
        waiting = (
            select(mo_part.c.customer)
            .where(mo_part.c.report.is_(None), mo_part.c.at <= transaction.now - WAIT_US)
            .distinct()
            .limit(SWEEP_MOST)
        )
        rows = transaction.connection.execute(
            select(mo_part)
            .where(mo_part.c.customer.in_(waiting), mo_part.c.report.is_(None))
            .order_by(mo_part.c.id)
        ).all()
        by_customer: dict[str, list[parts.Held]] = {}
        for row in rows:
            by_customer.setdefault(row.customer, []).append(self._kept(row))
        numbers = self._office.vault.numbers(transaction.connection, by_customer)
        found = [
            self._heard(group, numbers[customer])
            for customer, some in by_customer.items()
            for group in parts.gather(some)
            if customer in numbers and group.is_due(transaction.now)
        ]
        if found:
            detail = {"messages": len(found), "numbers": len(by_customer)}
            transaction.enter("parts taken up", system("parts"), detail=detail)
        return found

    def _heard(self, group: Gathered, reporter: str) -> Heard:
        """What is there of a message as one; its first part tells it from others."""
        joined = parts.joined(group.parts)
        first = min(group.parts, key=lambda part: part.number)
        key = b"%d/%d|%d|" % (first.number, first.total, first.data_coding) + first.octets
        return Heard(
            "sms",
            reporter,
            key,
            b"".join(run.octets for run in joined.runs if run is not None),
            joined.text().text,
            complete=joined.is_complete,
            parts=group.rows,
        )


def _refuse_too_many(connection: Connection, customer: str) -> None:
    """Raise RecordsAway where no more parts may wait: the SMSC brings this one again."""
    waiting = select(func.count()).select_from(mo_part).where(mo_part.c.report.is_(None))
    if (connection.scalar(waiting.where(mo_part.c.customer == customer)) or 0) >= (
        HELD_MAX_PER_CUSTOMER
    ):
        raise RecordsAway("too many parts of one customer wait for others")
    if (connection.scalar(waiting) or 0) >= HELD_MAX:
        raise RecordsAway("too many parts wait for others")
