"""The most urgent case for whoever asks, with its evidence, a suggestion and the reply to it.

First what has gone wrong at the end: answers that did not reach the customer; then whatever has to
be answered first, of the own cases before those that nobody owns. The look is one row of the
ledger, written before the answer goes out; no text is opened for it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, and_, exists, or_, select

from smsfilter.cases.evidence import Gathered, gather
from smsfilter.desk.api import Asked
from smsfilter.desk.evidence import Evidence
from smsfilter.desk.office import Office
from smsfilter.flow.case import State
from smsfilter.flow.suggest import Suggestion, suggest
from smsfilter.reports import ids
from smsfilter.reports.filing import Filing
from smsfilter.reports.replies import size
from smsfilter.store.reading import reading
from smsfilter.store.schema import case_file, decision
from smsfilter.store.transaction import Transaction


@dataclass(frozen=True, slots=True)
class Found:
    """A case with all that its clerk needs to decide it."""

    case: Row[Any]
    masked: str
    evidence: Gathered
    suggestion: Suggestion | None


class Next:
    """Finds it."""

    def __init__(self, office: Office, evidence: Evidence, filing: Filing) -> None:
        self._office = office
        self._evidence = evidence
        self._filing = filing

    async def next(self, asked: Asked) -> Any:
        """The most urgent case of whoever asks: evidence, a suggested outcome, the reply to it."""
        within = self._office.seen_by(asked.known)
        staff = asked.known.staff
        found = await reading(self._office.records, lambda at: self._found(at, staff, within))
        rule = None if found is None or found.suggestion is None else found.suggestion.rule

        def enter(transaction: Transaction) -> None:
            if found is None:
                transaction.enter("next case looked for", asked.by, detail={"count": 0})
                return
            transaction.enter(
                "next case shown",
                asked.by,
                object=f"case:{found.case.id}",
                case_id=found.case.id,
                customer_id=found.case.customer,
                detail={"count": 1, "lines": len(found.evidence.lines), "rule": rule},
            )

        await self._office.writer.write(enter)
        return {"case": None} if found is None else self._told(found)

    def _found(
        self, connection: Connection, staff: str | None, within: Iterable[str] | None
    ) -> Found | None:
        row = most_urgent(connection, staff, within)
        if row is None:
            return None
        gathered = gather(connection, self._office, self._evidence, row)
        masked = self._office.vault.masked(connection, [row.customer])[row.customer]
        if gathered.source and gathered.source.startswith("#"):
            sender = gathered.source.removeprefix("#")
            gathered.source = self._office.vault.masked(connection, [sender])[sender]
        return Found(row, masked, gathered, suggest(gathered.facts))

    def _told(self, found: Found) -> dict[str, Any]:
        case, gathered, said = found.case, found.evidence, found.suggestion
        columns = ("id", "state", "round", "branch", "owner", "opened_at", "since", "due_at")
        suggestion = None
        if said is not None:
            suggestion = {
                "outcome": said.outcome.value,
                "rule": said.rule,
                "records": list(said.records),
                "why": said.why,
            }
        return {
            "case": {
                **{name: getattr(case, name) for name in columns},
                "customer": found.masked,
                "customer_id": case.customer,
                "company": gathered.company,
                "source": gathered.source,
                "report": gathered.report,
                "reply_failed": case.reply_failed,
            },
            "evidence": [line.told() for line in gathered.lines],
            "suggestion": suggestion,
            "reply": None if said is None else canned(self._filing, gathered.report, said.outcome),
        }


def canned(filing: Filing, report: int | None, outcome: str) -> dict[str, Any] | None:
    """Say what replies.yaml has for an outcome, and how much of one SMS it takes."""
    if report is None:
        return None
    text = filing.replies.result_text(outcome, ids.spell(report))
    length, most = size(text)
    return {"text": text, "characters": length, "most": most}


def most_urgent(
    connection: Connection, staff: str | None, within: Iterable[str] | None
) -> Row[Any] | None:
    """Return the case to work on next: of `staff`, else one that nobody owns in these branches.

    One that they have decided in an earlier round is for somebody else.
    """
    unowned: list[ColumnElement[bool]] = [case_file.c.owner.is_(None)]
    if within is not None:
        unowned.append(case_file.c.branch.in_(list(within)))
    if staff is not None:
        own = (decision.c.case_id == case_file.c.id, decision.c.by == f"staff:{staff}")
        unowned.append(~exists().where(*own))
    wanted = [and_(*unowned)] if staff is None else [case_file.c.owner == staff, and_(*unowned)]
    for whose in wanted:
        for state in (UNANSWERED, case_file.c.state != State.DECIDED):
            query = select(case_file).where(whose, state, case_file.c.closed_at.is_(None))
            query = query.order_by(case_file.c.due_at, case_file.c.id).limit(1)
            if (row := connection.execute(query).one_or_none()) is not None:
                return row
    return None


UNANSWERED: Final = and_(
    case_file.c.state == State.DECIDED,
    or_(case_file.c.reply_failed, case_file.c.reply_sms.is_(None)),
)
"""Decided, and no answer is on its way: it failed, or was never written."""
