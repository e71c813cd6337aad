"""What a clerk looks at first and decides most, over the API: the next case, the day, groups.

A group is decided in portions: each call does the next cases behind `after` and says where it has
come to, so that one of ten thousand reports keeps nobody waiting and may be broken off. What is
done is not done again, so these calls need no idempotency key.
"""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import Field
from sqlalchemy import Connection, Row
from starlette.routing import Route

from smsfilter.cases import groups, work
from smsfilter.cases.groups import Source
from smsfilter.cases.next import Next, canned
from smsfilter.cases.today import Today
from smsfilter.cases.work import CaseError, Worker
from smsfilter.desk.api import PAGE, Asked, route
from smsfilter.desk.blocking import active
from smsfilter.desk.companies import CompanyError
from smsfilter.desk.evidence import Evidence
from smsfilter.desk.following import Follow
from smsfilter.desk.indexing import IndexAway
from smsfilter.desk.office import Office
from smsfilter.desk.problems import not_found, refused
from smsfilter.flow.case import NotAllowed, Outcome
from smsfilter.flow.rights import Right
from smsfilter.reports.answers import confirm
from smsfilter.reports.deciding import NotOpen, Resolved, resolve
from smsfilter.reports.filing import Filing
from smsfilter.rules.policy import Model
from smsfilter.store.reading import reading
from smsfilter.store.records import RecordsAway
from smsfilter.store.transaction import Transaction

PORTION: Final = 50
"""Cases of one call: what comes by SMS meanwhile waits for no more than so many."""
_LIMIT: Final = {"limit": PAGE["limit"]}


class _Group(Model):
    source: Annotated[str, Field(min_length=1, max_length=80)]
    """As `groups` lists it, or the number of a person."""
    apply: bool = False
    """Do it; else only say what would follow."""
    after: Annotated[int, Field(ge=0, lt=1 << 62)] = 0
    """The `next` of the call before."""


class GroupCompany(_Group):
    """Whose a source is, for all reports of it that wait."""

    company: Annotated[str, Field(min_length=1, max_length=200)]


class GroupOutcome(_Group):
    """What all reports of a source come to, of which nobody can say whose it is."""

    outcome: Literal["unresolvable", "referred"]
    reason: Annotated[str, Field(min_length=1, max_length=500)]


def routes(office: Office, follow: Follow, filing: Filing, evidence: Evidence) -> Sequence[Route]:
    """Return the paths; they have to stand before `/cases/{id}`."""
    looks, grouped, day = (
        Next(office, evidence, filing),
        Groups(office, follow, filing),
        Today(office),
    )
    return (
        route("/cases/next", looks.next, right=Right.WORK_ON_CASES, query={}),
        route("/today", day.today, right=Right.SEE_CASES, query={}),
        route("/groups", grouped.listed, right=Right.SEE_REPORTS, query=_LIMIT),
        route(
            "/groups/resolve",
            grouped.resolve,
            "POST",
            right=Right.RESOLVE_REPORTS,
            body=GroupCompany,
            keyed=False,
        ),
        route(
            "/groups/decide",
            grouped.decide,
            "POST",
            right=Right.WORK_ON_CASES,
            body=GroupOutcome,
            keyed=False,
        ),
    )


class Groups:
    """Reports that wait for a person, by their source."""

    def __init__(self, office: Office, follow: Follow, filing: Filing) -> None:
        self._office = office
        self._follow = follow
        self._filing = filing

    async def listed(self, asked: Asked) -> Any:
        """Reports that wait for a person to decide, grouped by what was reported."""
        _, limit = asked.page()
        within = self._office.seen_by(asked.known)
        found = await reading(
            self._office.records,
            lambda at: groups.listed(at, self._office.vault, within, limit),
        )
        await self._enter(asked, "report groups listed", {"count": len(found)})
        return {"items": found, "next": None}

    async def resolve(self, asked: Asked) -> Any:
        """Name the company of all reports of a source; without `apply` only what would follow."""
        wanted: GroupCompany = asked.body(GroupCompany)
        within = self._office.seen_by(asked.known)
        source = await self._source(wanted.source)
        company, reach = await self._reach(source, within, wanted.company)
        detail = {"company": company, "reports": reach.reports, "cases": reach.cases}
        said = {"company": company, "reach": reach.told()}
        if not wanted.apply:
            await self._enter(asked, "report group looked at", detail)
            return said
        portion = await self._portion(source, within, wanted.after)
        done = await asyncio.gather(
            *(self._resolved(row.report, company, asked) for row in portion)
        )
        force = await self._in_force([each for each in done if isinstance(each, Resolved)])
        return said | _summed(portion, done) | force

    async def decide(self, asked: Asked) -> Any:
        """Decide all reports of a source without a company, and reply to each customer.

        Without `apply` it is only said what would follow.
        """
        wanted: GroupOutcome = asked.body(GroupOutcome)
        within = self._office.seen_by(asked.known)
        source = await self._source(wanted.source)
        leads, staff = asked.may(Right.ASSIGN_CASES), asked.known.staff

        def look(connection: Connection) -> tuple[groups.Extent, int]:
            left = 0 if leads else groups.of_others(connection, source, within, staff)
            return groups.extent(connection, source, within), left

        reach, left = await reading(self._office.records, look)
        said = {"outcome": wanted.outcome, "reach": reach.told(), "left": left}
        if not wanted.apply:
            first = await self._portion(source, within, 0)
            report = first[0].report if first else None
            detail = {"outcome": wanted.outcome, "reports": reach.reports, "cases": reach.cases}
            await self._enter(asked, "report group looked at", detail)
            return said | {"reply": canned(self._filing, report, wanted.outcome)}
        who = Worker(asked.by, staff, within, leads)
        reason = self._office.masked(wanted.reason.strip())
        portion = await self._portion(source, within, wanted.after)
        done = await asyncio.gather(
            *(self._decided(row.case_id, Outcome(wanted.outcome), reason, who) for row in portion)
        )
        return said | _summed(portion, done)

    async def _portion(
        self, source: Source, within: frozenset[str] | None, after: int
    ) -> list[Row[Any]]:
        return await reading(
            self._office.records, lambda at: groups.portion(at, source, within, after, PORTION)
        )

    async def _decided(self, case: int, outcome: Outcome, reason: str, who: Worker) -> str | None:
        """Decide one case and answer it; why not, where that cannot be."""
        branches = self._office.branches

        def do(transaction: Transaction) -> None:
            row = work.find(transaction.connection, case, who.branches)
            if who.leads and who.staff is not None and row.owner not in (None, who.staff):
                work.assign(transaction, case, who.staff, who, branches, why=reason)
            work.take(transaction, case, who)
            work.decide(transaction, case, outcome, reason, who)
            work.reply(transaction, case, self._filing.answers, who)

        try:
            await self._office.writer.write(do)
        except (CaseError, NotAllowed, RecordsAway) as error:
            return str(error)
        return None

    async def _source(self, written: str) -> Source:
        country_code = self._office.policy.country_code

        def find(connection: Connection) -> Source | None:
            return groups.source_of(connection, self._office.vault, written, country_code)

        found = await reading(self._office.records, find)
        if found is None:
            raise not_found("report of this number")
        return found

    async def _reach(
        self, source: Source, within: frozenset[str] | None, company: str
    ) -> tuple[str, groups.Extent]:
        def look(connection: Connection) -> tuple[str, groups.Extent]:
            key = active(connection, company)
            return key, groups.extent(connection, source, within, key)

        try:
            return await reading(self._office.records, look)
        except CompanyError as error:
            raise refused(str(error)) from None

    async def _resolved(self, report: int, company: str, asked: Asked) -> Resolved | str:
        """Decide one; why not, where it cannot be."""

        def work(transaction: Transaction) -> Resolved | None:
            return resolve(self._filing, transaction, report, company, asked.by)

        try:
            done = await self._office.writer.write(work)
        except (NotOpen, CompanyError, RecordsAway) as error:
            return str(error)
        return "there is no such report" if done is None else done

    async def _in_force(self, done: Sequence[Resolved]) -> dict[str, Any]:
        """Wait until all of them are in force, then let the customers know."""
        if not done:
            return {"in_force": True}
        reports = [each.report for each in done]
        try:
            await self._follow(max(each.entered.seq for each in done))
            await self._office.writer.write(lambda into: confirm(into, reports))
        except (IndexAway, RecordsAway) as error:
            return {"in_force": False, "why": str(error)}
        return {"in_force": True}

    async def _enter(self, asked: Asked, action: str, detail: dict[str, Any]) -> None:
        await self._office.writer.write(
            lambda transaction: transaction.enter(action, asked.by, detail=detail)
        )


def _summed(portion: Sequence[Row[Any]], done: Sequence[object]) -> dict[str, Any]:
    """Say what has become of a portion: a text is why one could not be done."""
    failed = [
        {"case": row.case_id, "why": each}
        for row, each in zip(portion, done, strict=True)
        if isinstance(each, str)
    ]
    more = portion[-1].case_id if len(portion) == PORTION else None
    return {"done": len(done) - len(failed), "failed": failed, "next": more}
