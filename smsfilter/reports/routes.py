"""Reports over the API: looked at, entered for a customer, decided.

Every look is one row of the ledger, entered before the answer goes out; what a customer wrote is
opened for a purpose only, which stands in that row.
"""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, Final

from pydantic import Field
from sqlalchemy import Connection, Row
from starlette.routing import Route

from smsfilter.desk.api import PAGE, Asked, route
from smsfilter.desk.blocks import company_of
from smsfilter.desk.companies import CompanyError
from smsfilter.desk.indexing import IndexAway
from smsfilter.desk.office import Office
from smsfilter.desk.problems import invalid, not_found, refused
from smsfilter.flow.rights import Right
from smsfilter.reports import entered, ids, showing
from smsfilter.reports.bulk import CHANNEL, ROWS_MOST, Import, Taken, settled
from smsfilter.reports.deciding import NotOpen, Resolved, resolve
from smsfilter.reports.entered import Entry
from smsfilter.reports.filing import Filing, Heard
from smsfilter.reports.intake import Intake
from smsfilter.rules.policy import Model
from smsfilter.store.reading import reading
from smsfilter.store.records import RecordsAway
from smsfilter.store.transaction import Transaction

PURPOSE_MOST: Final = 200


class _Rows(Model):
    rows: Annotated[tuple[Entry, ...], Field(max_length=ROWS_MOST)]
    dry_run: bool = False


class Purpose(Model):
    """What a text is opened for."""

    purpose: Annotated[str, Field(min_length=1, max_length=PURPOSE_MOST, pattern=r"\S")]


class _Resolve(Model):
    company: Annotated[str, Field(min_length=1, max_length=200)]


def routes(office: Office, filing: Filing, intake: Intake) -> Sequence[Route]:
    """Return the paths of reports."""
    desk = _Reports(office, filing, intake)
    return (
        route(
            "/reports",
            desk.listed,
            right=Right.SEE_REPORTS,
            query=PAGE | {"state": "only these, such as to_decide", "since": "from a time on, µs"},
        ),
        route("/reports", desk.add, "POST", right=Right.ADD_REPORTS, body=Entry),
        route("/reports/import", desk.import_, "POST", right=Right.IMPORT_REPORTS, body=_Rows),
        route(
            "/reports/{id}",
            desk.show,
            right=Right.SEE_REPORTS,
            query={},
        ),
        route(
            "/reports/{id}/texts",
            desk.texts,
            "POST",
            right=Right.OPEN_TEXTS,
            body=Purpose,
            keyed=False,
        ),
        route(
            "/reports/{id}/resolve",
            desk.resolve,
            "POST",
            right=Right.RESOLVE_REPORTS,
            body=_Resolve,
        ),
    )


class _Reports:
    def __init__(self, office: Office, filing: Filing, intake: Intake) -> None:
        self._office = office
        self._filing = filing
        self._intake = intake
        self._import = Import(office, filing, intake)
        self._country_code = office.policy.country_code

    # --- looking

    async def listed(self, asked: Asked) -> Any:
        """List reports, the newest first, with masked numbers."""
        before, limit = asked.before()
        state, since = asked.query.get("state"), asked.query.get("since")
        if state is not None and state not in showing.STATES:
            raise invalid(f"state is one of {', '.join(showing.STATES)}")
        if since is not None and not (since.isdigit() and len(since) <= 18):
            raise invalid("since is a time in µs UTC")
        look = partial(
            showing.page,
            vault=self._office.vault,
            before=before,
            limit=limit,
            state=state,
            since=None if since is None else int(since),
            branches=self._office.seen_by(asked.known),
        )
        found = await reading(self._office.records, look)
        detail = {"state": state, "count": len(found)}

        def enter(transaction: Transaction) -> None:
            transaction.enter("reports listed", asked.by, detail=detail)

        await self._office.writer.write(enter)
        return {"items": found, "next": str(found[-1]["id"]) if len(found) == limit else None}

    async def show(self, asked: Asked) -> Any:
        """Show a report, its blocks, SMS and timeline."""
        wanted, branches = asked.id(), self._office.seen_by(asked.known)

        def look(connection: Connection) -> tuple[Row[Any], dict[str, Any]] | None:
            row = showing.find(connection, wanted, branches)
            return row and (row, showing.whole(connection, self._office.vault, row))

        found = await reading(self._office.records, look)
        if found is None:
            raise not_found(f"report {wanted}")
        row, shown = found

        def enter(transaction: Transaction) -> None:
            transaction.enter(
                "report shown", asked.by, object=f"report:{row.id}", customer_id=row.customer
            )

        await self._office.writer.write(enter)
        return shown

    async def texts(self, asked: Asked) -> Any:
        """Open what the customer wrote, and the note of whoever entered it, for a purpose."""
        wanted, branches = asked.id(), self._office.seen_by(asked.known)
        purpose = self._office.masked(asked.body(Purpose).purpose.strip())

        def opened(transaction: Transaction) -> dict[str, str] | None:
            row = showing.find(transaction.connection, wanted, branches)
            if row is None:
                return None
            return showing.opened(transaction, self._office.vault, row, asked.by, purpose)

        said = await self._office.writer.write(opened)
        if said is None:
            raise not_found(f"report {wanted}")
        return {"id": wanted, **said}

    # --- changing

    async def add(self, asked: Asked) -> Any:
        """Enter a report for a customer; the same one again is a copy."""
        try:
            heard = entered.heard(asked.body(Entry), "phone", asked.by, self._country_code)
        except ValueError as error:
            raise invalid(str(error)) from None
        filed = await self._intake.enter(heard)
        why = await settled(self._intake, filed)
        said = {
            "id": filed.report,
            "number": ids.spell(filed.report),
            "outcome": filed.state,
            "company": await reading(self._office.records, partial(_company, report=filed.report)),
            "copy": filed.is_copy,
        }
        return said | _force(why)

    async def import_(self, asked: Asked) -> Any:
        """Enter the rows of a file; those taken in before are known again."""
        wanted: _Rows = asked.body(_Rows)
        rows = self._heard(wanted.rows, asked)
        taken = await self._import.run(rows, asked.by, rehearse=wanted.dry_run)
        failed = [each for each in taken if each.outcome is None]
        waiting = next((each.why for each in taken if each.outcome and each.why), "")
        said = {"results": [_result(each) for each in taken], "failed": len(failed)}
        if failed:
            said["problem"] = failed[0].why
        return said | _force(waiting)

    def _heard(self, entries: Sequence[Entry], asked: Asked) -> list[Heard]:
        """Read every row, or say all that is wrong with them. Raises Problem."""
        found, problems = [], []
        for n, entry in enumerate(entries):
            try:
                found.append(entered.heard(entry, CHANNEL, asked.by, self._country_code))
            except ValueError as error:
                problems.append({"row": n, "problem": str(error)})
        if problems:
            first = problems[0]
            raise invalid(f"row {first['row']}: {first['problem']}", errors=problems)
        return found

    async def resolve(self, asked: Asked) -> Any:
        """Decide whom a report is about."""
        wanted, company = asked.id(), asked.body(_Resolve).company
        branches = self._office.seen_by(asked.known)

        def work(transaction: Transaction) -> Resolved | None:
            if showing.find(transaction.connection, wanted, branches) is None:
                return None
            return resolve(self._filing, transaction, wanted, company, asked.by)

        try:
            done = await asked.write(work)
        except (NotOpen, CompanyError) as error:
            raise refused(str(error)) from None
        if done is None:
            raise not_found(f"report {wanted}")
        why = ""
        try:
            await self._intake.again(done.report)
        except (IndexAway, RecordsAway) as error:
            why = str(error)
        said = {"id": done.report, "company": done.company, "block": done.block}
        return said | {"ended": done.ended} | _force(why)


def _company(connection: Connection, report: int) -> str | None:
    row = showing.find(connection, report)
    return None if row is None else company_of(row.target)


def _result(taken: Taken) -> dict[str, Any]:
    return {
        "mark": taken.mark,
        "outcome": taken.outcome,
        "report": taken.report,
        "new": taken.is_new,
    }


def _force(why: str) -> dict[str, Any]:
    return {"in_force": False, "why": why} if why else {"in_force": True}
