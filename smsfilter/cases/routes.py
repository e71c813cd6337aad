"""Cases over the API: listed, looked at, worked on.

Every look is one row of the ledger, written before the answer goes out; lists show masked numbers
and are one row for the query with its count. What a customer wrote and their number are opened for
a purpose only, which comes in a body and stands in that row, without any number in it.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, Self

from pydantic import Field, model_validator
from sqlalchemy import Connection, Row
from starlette.routing import Route

from smsfilter.cases import listing, timeline, work
from smsfilter.cases.listing import Wanted
from smsfilter.cases.work import WORDS_MOST, CaseError, NoCase, Words, Worker
from smsfilter.desk.api import PAGE, Asked, route
from smsfilter.desk.companies import CompanyError
from smsfilter.desk.company import survivor
from smsfilter.desk.evidence import Evidence
from smsfilter.desk.office import Office
from smsfilter.desk.problems import invalid, not_found, refused
from smsfilter.flow.branches import HEADQUARTERS
from smsfilter.flow.case import OPEN, NotAllowed, Outcome, State
from smsfilter.flow.rights import Right
from smsfilter.peopleconfig import StaffId
from smsfilter.reports.answers import Answers
from smsfilter.reports.replies import excess, size
from smsfilter.rules.policy import Model
from smsfilter.store.reading import reading
from smsfilter.store.transaction import Transaction

_LIST: Final = {
    **PAGE,
    "mine": "1: those of whoever asks",
    "unowned": "1: those that nobody owns",
    "late": "1: those that are overdue",
    "owner": "those of this person",
    "branch": "those of this branch and of the branches below it",
    "state": "those in this state",
    "company": "those about this company, open or not, the newest first",
    "all": "1: open or not, the newest first; without it only open ones, the most urgent first",
}


class Assignment(Model):
    """Who is to work on a case from now on."""

    owner: StaffId
    why: Annotated[str, Field(max_length=WORDS_MOST)] = ""


class Decision(Model):
    """What a case has come to, and why."""

    outcome: Outcome
    reason: Words
    reply: bool = False
    """Have the customer told at once, in the words of replies.yaml."""


class Reply(Model):
    """How the customer is told; in the words of replies.yaml where neither is given."""

    text: Annotated[str, Field(min_length=1, max_length=400, pattern=r"\S")] | None = None
    """An SMS in one's own words."""
    otherwise: Words | None = None
    """They were told in another way: by phone, say."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.text is not None and self.otherwise is not None:
            raise ValueError("either a text to be sent, or otherwise, as it was told")
        return self


class Reason(Model):
    """Why a case is opened again."""

    reason: Words


def routes(office: Office, evidence: Evidence, answers: Callable[[], Answers]) -> Sequence[Route]:
    """Return the paths of cases; `answers` gives what writes the replies as they are now."""
    desk = _Cases(office, evidence, answers)
    on, lead = Right.WORK_ON_CASES, Right.ASSIGN_CASES
    return (
        route("/cases", desk.listed, right=Right.SEE_CASES, query=_LIST),
        route("/cases/{id}", desk.show, right=Right.SEE_CASES, query={}),
        route("/cases/{id}/take", desk.take, "POST", right=on),
        route("/cases/{id}/assign", desk.assign, "POST", right=lead, body=Assignment),
        route("/cases/{id}/decide", desk.decide, "POST", right=on, body=Decision),
        route("/cases/{id}/reply", desk.reply, "POST", right=on, body=Reply),
        route("/cases/{id}/reopen", desk.reopen, "POST", right=lead, body=Reason),
    )


class _Cases:
    def __init__(self, office: Office, evidence: Evidence, answers: Callable[[], Answers]) -> None:
        self._office = office
        self._evidence = evidence
        self._answers = answers

    # --- looking

    async def listed(self, asked: Asked) -> Any:
        """Cases: the open ones, the most urgent first, or others, the newest first."""
        after, limit = asked.page()
        wanted = self._wanted(asked)

        def look(connection: Connection) -> tuple[list[dict[str, Any]], str | None]:
            by_now = wanted(connection)
            try:
                rows, more = listing.page(connection, by_now, after, limit)
            except ValueError as error:
                raise invalid(str(error)) from None
            return listing.told(connection, self._office.vault, rows), more

        found, more = await reading(self._office.records, look)
        detail = {"count": len(found)} | {
            name: self._office.masked(value.strip())
            for name, value in asked.query.items()
            if name not in PAGE
        }
        await self._office.writer.write(
            lambda into: into.enter("cases listed", asked.by, detail=detail)
        )
        return {"items": found, "next": more}

    def _wanted(self, asked: Asked) -> Callable[[Connection], Wanted]:
        """Read the query; the company as it is by now is looked up later. Raises Problem."""
        query = asked.query
        flags = {name: query.get(name) == "1" for name in ("mine", "unowned", "late", "all")}
        owner = asked.known.staff if flags["mine"] else query.get("owner")
        if flags["mine"] and owner is None:
            raise invalid("only a person has cases: log in first")
        if owner is not None and flags["unowned"]:
            raise invalid("either those of a person, or those that nobody owns")
        state = self._state(query.get("state"))
        of_people = owner is not None or flags["unowned"] or flags["late"]
        company = query.get("company")
        is_urgent = company is None and not flags["all"] and (state is None or state in OPEN)
        if of_people and not is_urgent:
            raise invalid(
                "mine, owner, unowned and late are about open cases: leave company and all out"
            )
        if company is not None and state is not None:
            raise invalid("either those in a state, or those about a company")
        branches = self._branches(asked, query.get("branch"))
        late_at = self._office.clock() if flags["late"] else None

        def wanted(connection: Connection) -> Wanted:
            target = None if company is None else survivor(connection, company)
            return Wanted(
                branches=branches,
                owner=owner,
                unowned=flags["unowned"],
                late_at=late_at,
                state=state,
                target=target,
                every=flags["all"],
            )

        return wanted

    def _state(self, written: str | None) -> State | None:
        if written is None:
            return None
        try:
            return State(written)
        except ValueError:
            raise invalid(f"state is one of {', '.join(State)}") from None

    def _branches(self, asked: Asked, wanted: str | None) -> frozenset[str] | None:
        """Return the branches whose cases are wanted and seen. Raises Problem."""
        tree = self._office.branches
        seen = self._office.seen_by(asked.known)
        if wanted is None:
            return seen
        if wanted not in tree.by_id or (seen is not None and wanted not in seen):
            raise not_found(f"branch {wanted} that you see")
        return frozenset((HEADQUARTERS,)) if wanted == HEADQUARTERS else tree.within(wanted)

    async def show(self, asked: Asked) -> Any:
        """One case: its reports, blocks, SMS and decisions, and all that happened, in order."""
        case, branches = asked.id(), self._office.seen_by(asked.known)

        def look(connection: Connection) -> tuple[Row[Any], dict[str, Any]]:
            row = work.find(connection, case, branches)
            return row, timeline.whole(connection, self._office, self._evidence, row)

        row, said = await self._read(look)

        def enter(transaction: Transaction) -> None:
            transaction.enter(
                "case shown",
                asked.by,
                object=f"case:{row.id}",
                case_id=row.id,
                customer_id=row.customer,
            )

        await self._office.writer.write(enter)
        return said

    # --- working

    async def take(self, asked: Asked) -> Any:
        """Begin to work on a case: one's own, or one that nobody owns."""
        case, who = asked.id(), self._worker(asked)
        return await self._done(asked, lambda into: work.take(into, case, who))

    async def assign(self, asked: Asked) -> Any:
        """Give a case to somebody who can work on it."""
        case, who = asked.id(), self._worker(asked)
        wanted: Assignment = asked.body(Assignment)
        why = self._office.masked(wanted.why.strip())
        tree = self._office.branches
        return await self._done(
            asked, lambda into: work.assign(into, case, wanted.owner, who, tree, why=why)
        )

    async def decide(self, asked: Asked) -> Any:
        """Say what a case has come to, and why; with `reply` the customer is told at once."""
        case, who = asked.id(), self._worker(asked)
        wanted: Decision = asked.body(Decision)
        reason = self._office.masked(wanted.reason.strip())

        def done(transaction: Transaction) -> Row[Any]:
            row = work.decide(transaction, case, wanted.outcome, reason, who)
            if not wanted.reply:
                return row
            return work.reply(transaction, case, self._answers(), who)

        return await self._done(asked, done)

    async def reply(self, asked: Asked) -> Any:
        """Have the customer told what a case has come to, or note how they were told otherwise."""
        case, who = asked.id(), self._worker(asked)
        wanted: Reply = asked.body(Reply)
        text = wanted.text
        if text is not None and (over := excess(text)):
            _, most = size(text)
            raise invalid(
                f"text: does not fit one SMS of {most} characters: {over} too many",
                cure="shorten it, or leave it out: then the words of replies.yaml are sent",
            )
        how = None if wanted.otherwise is None else self._office.masked(wanted.otherwise.strip())

        def done(transaction: Transaction) -> Row[Any]:
            if how is not None:
                return work.tell_otherwise(transaction, case, how, who)
            return work.reply(transaction, case, self._answers(), who, text)

        return await self._done(asked, done)

    async def reopen(self, asked: Asked) -> Any:
        """Have a case looked at again, by another person than before."""
        case, who = asked.id(), self._worker(asked)
        reason = self._office.masked(asked.body(Reason).reason.strip())
        return await self._done(asked, lambda into: work.reopen(into, case, reason, who))

    # ---

    def _worker(self, asked: Asked) -> Worker:
        return Worker(
            asked.by,
            asked.known.staff,
            self._office.seen_by(asked.known),
            leads=asked.may(Right.ASSIGN_CASES),
        )

    async def _done(self, asked: Asked, step: Callable[[Transaction], Row[Any]]) -> Any:
        """Do one step, and say how the case stands then."""

        def done(transaction: Transaction) -> dict[str, Any]:
            row = step(transaction)
            (said,) = listing.told(transaction.connection, self._office.vault, [row])
            return said

        return await self._do(asked, done)

    async def _do(self, asked: Asked, step: Callable[[Transaction], Any]) -> Any:
        try:
            return await asked.write(step)
        except NoCase as error:
            raise not_found(str(error)) from None
        except (CaseError, NotAllowed, CompanyError) as error:
            raise refused(str(error)) from None

    async def _read(self, look: Callable[[Connection], Any]) -> Any:
        try:
            return await reading(self._office.records, look)
        except NoCase as error:
            raise not_found(str(error)) from None
