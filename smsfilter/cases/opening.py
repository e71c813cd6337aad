"""What is sealed in a case, opened over the API: what the customer wrote, and their number.

Each is opened for a purpose, which comes in a body. It stands, without any number in it, in the row
of the ledger that is committed before the answer goes out.
"""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Any

from pydantic import Field
from sqlalchemy import Connection, select
from starlette.routing import Route

from smsfilter.cases import timeline, work
from smsfilter.cases.work import NoCase, Words
from smsfilter.desk.api import Asked, route
from smsfilter.desk.office import Office
from smsfilter.desk.problems import Problem, invalid, not_found
from smsfilter.flow.branches import HEADQUARTERS
from smsfilter.flow.rights import Right
from smsfilter.reports import ids, showing
from smsfilter.rules.policy import Model
from smsfilter.store.schema import case_file, customer
from smsfilter.store.transaction import Transaction


class Purpose(Model):
    """What something is opened for."""

    purpose: Words


class NumberPurpose(Purpose):
    """What a customer's number is opened for, and in which case."""

    case: Annotated[int, Field(ge=1, lt=1 << 63)] | None = None


def routes(office: Office) -> Sequence[Route]:
    """Return the paths by which something is opened."""
    desk = _Opening(office)
    return (
        route(
            "/cases/{id}/texts",
            desk.texts,
            "POST",
            right=Right.OPEN_TEXTS,
            body=Purpose,
            keyed=False,
        ),
        route(
            "/customers/{id}/number",
            desk.number,
            "POST",
            right=Right.OPEN_NUMBERS,
            body=NumberPurpose,
            keyed=False,
        ),
    )


class _Opening:
    def __init__(self, office: Office) -> None:
        self._office = office

    async def texts(self, asked: Asked) -> Any:
        """Open what the customer wrote in the reports of a case, for a purpose."""
        case, branches = asked.id(), self._office.seen_by(asked.known)
        purpose = self._office.masked(asked.body(Purpose).purpose.strip())

        def opened(transaction: Transaction) -> list[dict[str, Any]]:
            row = work.find(transaction.connection, case, branches)
            reports = showing.of_case(transaction.connection, row.id, timeline.SEEN_MOST)
            return [
                {"report": ids.spell(each.id), "id": each.id, "at": each.received_at}
                | showing.opened(transaction, self._office.vault, each, asked.by, purpose)
                for each in reports
            ]

        try:
            return {"id": case, "texts": await self._office.writer.write(opened)}
        except NoCase as error:
            raise not_found(str(error)) from None

    async def number(self, asked: Asked) -> Any:
        """Open a customer's number, for a purpose."""
        wanted: NumberPurpose = asked.body(NumberPurpose)
        of, branches = str(asked.path["id"]), self._office.seen_by(asked.known)
        purpose = self._office.masked(wanted.purpose.strip())

        def opened(transaction: Transaction) -> str | None:
            connection = transaction.connection
            row = connection.execute(select(customer).where(customer.c.id == of)).one_or_none()
            if row is None or (
                branches is not None and (row.branch or HEADQUARTERS) not in branches
            ):
                raise not_found("such customer that you see")
            if wanted.case is not None:
                self._of_customer(connection, wanted.case, of)
            transaction.enter(
                "number shown",
                asked.by,
                object=f"customer:{of}",
                case_id=wanted.case,
                customer_id=of,
                detail={"purpose": purpose},
            )
            return self._office.vault.numbers(connection, [of]).get(of)

        digits = await self._office.writer.write(opened)
        if digits is None:
            raise Problem(HTTPStatus.GONE, "this number is no longer kept: it was erased")
        return {"customer_id": of, "number": f"+{digits}"}

    def _of_customer(self, connection: Connection, case: int, of: str) -> None:
        query = select(case_file.c.customer).where(case_file.c.id == case)
        if connection.scalar(query) != of:
            raise invalid(f"case {case} is not one of this customer")
