"""Blocks over the API: looked at, put, ended; numbers that belong to somebody else by now.

Every look at customers' blocks is one row of the ledger, entered before the answer goes out.
"""

from collections.abc import Sequence
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any, Literal

from pydantic import Field
from sqlalchemy import Connection
from starlette.routing import Route

from smsfilter.desk import blocking
from smsfilter.desk.adoption import adopt_all
from smsfilter.desk.api import PAGE, Asked, route
from smsfilter.desk.companies import CompanyError
from smsfilter.desk.ending import Ends, Recycle, Recycles
from smsfilter.desk.following import in_force
from smsfilter.desk.office import Office
from smsfilter.desk.problems import Problem, invalid, not_found, refused
from smsfilter.desk.projection import Projection
from smsfilter.desk.timeline import timeline
from smsfilter.desk.written import Number, digits_of
from smsfilter.flow.rights import Right
from smsfilter.rules.policy import Model
from smsfilter.store.connect import Unreachable
from smsfilter.store.reading import reading
from smsfilter.store.transaction import Entered

Reason = Annotated[str, Field(pattern=r"^[a-z][a-z -]{0,39}$")]
"""A few words without digits: it stands in the ledger, where no number may."""
Target = Annotated[str, Field(min_length=1, max_length=200)]


class _Add(Model):
    customer: Number
    target: Target
    reason: Reason = "by hand"


class _Of(Model):
    customer: Number
    state: Literal["live", "ended", "all"] = "live"


class _Remove(Model):
    reason: Literal["withdrawal", "consent", "correction", "recycled"]


class _Adopt(Model):
    dry_run: bool = False


def routes(
    office: Office, projection: Projection, ends: Ends, recycles: Recycles
) -> Sequence[Route]:
    """Return the paths of blocks."""
    desk = _Blocks(office, projection, ends)
    return (
        route(
            "/blocks",
            desk.listed,
            right=Right.SEE_BLOCKS,
            query=PAGE | {"state": "live (the default), ended or all", "target": "of whom"},
        ),
        route("/blocks", desk.add, "POST", right=Right.ADD_BLOCKS, body=_Add),
        route("/blocks/adopt", desk.adopt, "POST", right=Right.ADOPT_BLOCKS, body=_Adopt),
        route(
            "/blocks/of",
            desk.of,
            "POST",
            right=Right.SEE_BLOCKS,
            body=_Of,
            query=PAGE,
            keyed=False,
        ),
        route("/blocks/recycle", recycles.ask, "POST", right=Right.END_BLOCKS, body=Recycle),
        route("/blocks/{id}", desk.show, right=Right.SEE_BLOCKS),
        route("/blocks/{id}/remove", desk.remove, "POST", right=Right.END_BLOCKS, body=_Remove),
    )


class _Blocks:
    def __init__(self, office: Office, projection: Projection, ends: Ends) -> None:
        self._office = office
        self._ends = ends
        self._projection = projection
        self._country_code = office.policy.country_code

    def _sees(self, connection: Connection, customer: str, asked: Asked) -> bool:
        return self._office.sees(asked.known, blocking.branch_of(connection, customer))

    # --- looking

    async def listed(self, asked: Asked) -> Any:
        """List blocks, the newest first, with masked numbers."""
        before, limit = asked.before()
        state, target = asked.query.get("state", "live"), asked.query.get("target")
        if state not in blocking.STATES:
            raise invalid("state is live, ended or all")

        def look(connection: Connection) -> list[dict[str, Any]]:
            rows = blocking.page(
                connection,
                before=before,
                limit=limit,
                state=state,
                target=target,
                branches=self._office.seen_by(asked.known),
            )
            return blocking.told(connection, self._office.vault, rows)

        found = await reading(self._office.records, look)
        known = target if found else None  # else it may be anything, a number too
        await self._looked(asked, {"state": state, "target": known, "count": len(found)})
        return {"items": found, "next": str(found[-1]["id"]) if len(found) == limit else None}

    async def of(self, asked: Asked) -> Any:
        """List the blocks of one customer: the number stands in the body, not in the path."""
        wanted: _Of = asked.body(_Of)
        digits = digits_of(wanted.customer, self._country_code)
        vault = self._office.vault
        before, limit = asked.before()

        def look(connection: Connection) -> tuple[str | None, list[dict[str, Any]]]:
            customer = vault.find(connection, digits)
            if customer is None:
                return None, []
            rows = blocking.page(
                connection,
                before=before,
                limit=limit,
                state=wanted.state,
                customer=customer,
                branches=self._office.seen_by(asked.known),
            )
            return customer, blocking.told(connection, vault, rows)

        customer, found = await reading(self._office.records, look)
        await self._looked(asked, {"state": wanted.state, "count": len(found)}, customer)
        return {"items": found, "next": str(found[-1]["id"]) if len(found) == limit else None}

    async def show(self, asked: Asked) -> Any:
        """Show a block, and who did what to it."""
        vault, wanted = self._office.vault, asked.id()

        def look(connection: Connection) -> tuple[str, dict[str, Any]] | None:
            row = blocking.find(connection, wanted)
            if row is None or not self._sees(connection, row.customer, asked):
                return None
            name = f"block:{row.id}"
            objects = [name] if row.report is None else [name, f"report:{row.report}"]
            (said,) = blocking.told(connection, vault, [row])
            did = timeline(connection, row.customer, objects, row.case_id)
            return row.customer, said | {"timeline": did}

        found = await reading(self._office.records, look)
        if found is None:
            raise not_found(f"block {wanted}")
        customer, shown = found
        await self._office.writer.write(
            lambda transaction: transaction.enter(
                "block shown", asked.by, object=f"block:{wanted}", customer_id=customer
            )
        )
        return shown

    async def _looked(
        self, asked: Asked, detail: dict[str, Any], customer: str | None = None
    ) -> None:
        await self._office.writer.write(
            lambda transaction: transaction.enter(
                "blocks listed", asked.by, customer_id=customer, detail=detail
            )
        )

    # --- changing

    async def add(self, asked: Asked) -> Any:
        """Block a customer for a company, a source, or everybody."""
        wanted: _Add = asked.body(_Add)
        work = partial(
            blocking.add,
            vault=self._office.vault,
            digits=digits_of(wanted.customer, self._country_code),
            target=wanted.target,
            reason=wanted.reason,
            by=asked.by,
            country_code=self._country_code,
        )
        try:
            added = await asked.write(work)
        except CompanyError as error:
            raise refused(str(error)) from None
        said = {"id": added.id, "changed": added.entered is not None}
        return said | await self._in_force(added.entered)

    async def remove(self, asked: Asked) -> Any:
        """Ask that a block ends, for a reason: another person releases it."""
        return await self._ends.ask(asked, asked.id(), asked.body(_Remove).reason)

    async def adopt(self, asked: Asked) -> Any:
        """Take what an operator put into Redis by hand into the records, or only name it."""
        wanted: _Adopt = asked.body(_Adopt)
        try:
            if wanted.dry_run:
                found = (await self._projection.compare()).unknown
                await self._looked(asked, {"unknown": found.count})
                return {"unknown": found.count, "first": found.first}
            office = self._office
            adopted = await adopt_all(
                self._projection, office.writer, office.vault, asked.by, self._country_code
            )
        except Unreachable as error:
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error)) from None
        return {"adopted": adopted} | await self._in_force(None)

    async def _in_force(self, entered: Entered | None) -> dict[str, Any]:
        if entered is None:  # what is there already is being followed already
            return await in_force(self._projection.follow, self._office.writer.head)
        return await in_force(self._projection.follow, entered.seq)
