"""Who is of the staff, and the first two people, over the API."""

from collections.abc import Sequence
from functools import partial
from http import HTTPStatus
from typing import Any

from sqlalchemy import Connection
from starlette.routing import Route

from smsfilter.desk.api import PAGE, Asked, route
from smsfilter.desk.office import Office
from smsfilter.desk.problems import Problem, not_found, refused
from smsfilter.flow.rights import Right
from smsfilter.staff import accounts, founders
from smsfilter.staff.accounts import AccountError, NewStaff
from smsfilter.store.reading import reading
from smsfilter.store.transaction import Transaction


class Looking:
    """What is asked about people."""

    def __init__(self, office: Office) -> None:
        self._office = office

    async def list(self, asked: Asked) -> Any:
        """List the staff of the own branch and of those below it, by their ids."""
        after, limit = asked.page()
        within = self._office.seen_by(asked.known)
        found = await reading(
            self._office.records,
            partial(accounts.listed, within=within, after=after, limit=limit),
        )
        items = [each.shown() for each in found]
        return {"items": items, "next": items[-1]["id"] if len(items) == limit else None}

    async def show(self, asked: Asked) -> Any:
        """Show one person, with their number masked."""
        wanted, vault = asked.path["id"], self._office.vault

        def look(connection: Connection) -> dict[str, Any] | None:
            person = accounts.find(connection, wanted)
            if person is None or not self._office.sees(asked.known, person.branch):
                return None
            return person.shown() | {"phone": accounts.masked_phone(connection, vault, wanted)}

        shown = await reading(self._office.records, look)
        if shown is None:
            raise not_found(f"{wanted} among the staff of your branch")
        return shown

    async def bootstrap(self, asked: Asked) -> Any:
        """Invite the second person of headquarters: done once, by the first person alone."""
        wanted: NewStaff = asked.body(NewStaff)
        office, by = self._office, asked.by
        country_code = office.policy.country_code
        if asked.known.staff is None:
            raise Problem(HTTPStatus.UNAUTHORIZED, "log in first: smsfilter login")
        try:
            given = accounts.checked(wanted, office.branches, country_code)
            half = await office.writer.write(
                lambda into: founders.bootstrap(into, office.vault, given, by=by)
            )
        except AccountError as error:
            raise refused(str(error)) from None
        return {
            "staff": given.id,
            "half": half,
            "other_half": f"on the desk's machine: smsfilter desk code {given.id}",
        }

    async def code(self, asked: Asked) -> Any:
        """Give out, on the machine, what the first two people enrol by; once."""
        wanted, by = asked.path["id"], asked.by

        def work(into: Transaction) -> founders.Given:
            return founders.give_out(into, wanted, by=by)

        if asked.known.staff is not None or by.origin != "socket":
            raise Problem(HTTPStatus.FORBIDDEN, "a code is given out on the desk's machine only")
        try:
            given = await self._office.writer.write(work)
        except AccountError as error:
            raise refused(str(error)) from None
        if given.code is not None:
            return {"staff": wanted, "halves": [given.code.first, given.code.second]}
        return {"staff": wanted, "half": given.half, "first_half": given.person.added_by}


def routes(office: Office) -> Sequence[Route]:
    """Return what is asked about people."""
    looking = Looking(office)
    return (
        route("/staff", looking.list, right=Right.SEE_STAFF, query=PAGE),
        route(
            "/staff/bootstrap",
            looking.bootstrap,
            "POST",
            right=Right.CHANGE_STAFF,
            body=NewStaff,
            keyed=False,
        ),
        route("/staff/{id}", looking.show, right=Right.SEE_STAFF),
        route("/staff/{id}/code", looking.code, "POST", right=Right.GIVE_CODES, keyed=False),
    )
