"""Working on a case: taken, assigned, decided, answered, opened again. Each is one transaction.

What may follow what is the table of flow/case.py. A case is worked on by its owner; only whoever
may assign cases gives it to another one. Each round is decided by another person. No decision puts
or ends a block.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import Field
from sqlalchemy import Connection, Row, bindparam, insert, select
from sqlalchemy.exc import IntegrityError

from smsfilter.desk.blocks import company_of
from smsfilter.flow.branches import Branches
from smsfilter.flow.case import Event, Outcome, State, after
from smsfilter.flow.rights import Right, by_role
from smsfilter.ledger.actor import Actor
from smsfilter.reports import cases, ids
from smsfilter.reports.answers import Answers
from smsfilter.store.schema import case_file, decision, report, staff
from smsfilter.store.transaction import Transaction

WORDS_MOST: Final = 500
Words = Annotated[str, Field(min_length=1, max_length=WORDS_MOST, pattern=r"\S")]
"""What somebody says in their own words, as a body has it."""
_PERSON: Final = "staff:"
"""Before the id of a person, in the ledger and in `decision.by`."""
_NOBODY_KNOWN: Final = ("to_decide", "unmatched")
"""States of reports of which nobody has said yet whom they are about."""


class CaseError(ValueError):
    """It cannot be done to this case; says why, and what can."""


class NoCase(CaseError):  # noqa: N818 - what is so
    """There is no such case, or none that whoever asks may see."""


@dataclass(frozen=True, slots=True)
class Worker:
    """Whoever works on a case."""

    by: Actor
    staff: str | None
    """The id of the person; None for a user of the machine, who owns no case."""
    branches: frozenset[str] | None = None
    """The branches whose cases they see; None: all."""
    leads: bool = False
    """They may assign cases, and so answer in the owner's place."""


_FIND: Final = select(case_file).where(case_file.c.id == bindparam("case"))


def find(connection: Connection, case: int, branches: frozenset[str] | None) -> Row[Any]:
    """Return a case that is seen from `branches` (None: all). Raises NoCase."""
    row = connection.execute(_FIND, {"case": case}).one_or_none()
    if row is None or (branches is not None and row.branch not in branches):
        raise NoCase(f"case {case}")
    return row


def deciders(connection: Connection, case: int) -> frozenset[str]:
    """Return the ids of the staff who have decided a case before: none of them does so again."""
    query = select(decision.c.by).where(decision.c.case_id == case)
    return frozenset(each.removeprefix(_PERSON) for each in connection.scalars(query))


def take(transaction: Transaction, case: int, who: Worker) -> Row[Any]:
    """Begin to work on a case: one's own, or one that nobody owns. Raises CaseError, NotAllowed."""
    row = find(transaction.connection, case, who.branches)
    own = _person(who)
    if row.owner not in (None, own):
        raise CaseError(
            f"case {case} is {row.owner}'s: whoever may assign cases can give it to you"
        )
    if row.state == State.INVESTIGATING and row.owner == own:
        return row
    state = after(row.state, Event.TAKE)
    _refuse_decider(transaction, case, own)
    assigned_at = transaction.now if row.owner is None else row.assigned_at
    return cases.changed(
        transaction,
        row,
        "case taken",
        who.by,
        {"round": row.round},
        state=state,
        owner=own,
        assigned_at=assigned_at,
    )


def assign(
    transaction: Transaction,
    case: int,
    owner: str,
    who: Worker,
    branches: Branches,
    *,
    why: str = "",
) -> Row[Any]:
    """Give a case to a person who can work on it. Raises CaseError, NotAllowed."""
    row = find(transaction.connection, case, who.branches)
    state = State(row.state) if row.state == State.DECIDED else after(row.state, Event.ASSIGN)
    person = transaction.connection.execute(
        select(staff.c.state, staff.c.branch, staff.c.roles).where(staff.c.id == owner)
    ).one_or_none()
    if person is None:
        raise CaseError(f"there is nobody of the staff called {owner}")
    if person.state != "active":
        raise CaseError(f"{owner} is {person.state}: only whoever is active can own a case")
    if by_role(person.roles.split(), Right.WORK_ON_CASES) is None:
        raise CaseError(f"{owner} is {person.roles}, which does not work on cases")
    if not branches.covers(person.branch, row.branch):
        raise CaseError(f"{owner} is of {person.branch} and does not see the cases of {row.branch}")
    if state is not State.DECIDED:
        _refuse_decider(transaction, case, owner)
    return cases.changed(
        transaction,
        row,
        "case assigned",
        who.by,
        {"owner": owner, "was": row.owner or "", "why": why, "round": row.round},
        state=state,
        owner=owner,
        assigned_at=transaction.now,
    )


def decide(
    transaction: Transaction, case: int, outcome: Outcome, reason: str, who: Worker
) -> Row[Any]:
    """Say what a case has come to; `reason` has no number in it. Raises CaseError, NotAllowed."""
    connection = transaction.connection
    row = find(connection, case, who.branches)
    own = _owner(row, who)
    state = after(row.state, Event.DECIDE)
    _refuse_decider(transaction, case, own)
    if outcome is Outcome.UPHELD:
        _refuse_unknown(connection, row)
    decided = {
        "case_id": case,
        "round": row.round,
        "outcome": outcome.value,
        "by": who.by.name,
        "at": transaction.now,
    }
    connection.execute(insert(decision).values(decided))
    return cases.changed(
        transaction,
        row,
        "case decided",
        who.by,
        {"outcome": outcome.value, "reason": reason, "round": row.round},
        state=state,
        outcome=outcome.value,
    )


def reply(
    transaction: Transaction, case: int, answers: Answers, who: Worker, text: str | None = None
) -> Row[Any]:
    """Have the customer told what the case has come to, in `text` or in the words of replies.yaml.

    It is answered once the SMSC has the SMS (reports/results.py). Raises CaseError, NotAllowed.
    """
    row = _answerable(transaction, case, who)
    number = cases.first_report(transaction, case)
    if number is None:
        raise CaseError(f"case {case} has no report that could be answered")
    said = canned(answers, number, row.outcome) if text is None else text
    sms = answers.tell_result(transaction, number, row.customer, case, said)
    return cases.changed(
        transaction,
        row,
        "case reply written",
        who.by,
        {"sms": sms, "words": "canned" if text is None else "own", "round": row.round},
        reply_sms=sms,
        reply_failed=False,
    )


def tell_otherwise(transaction: Transaction, case: int, how: str, who: Worker) -> Row[Any]:
    """The customer was told in another way than by SMS. Raises CaseError, NotAllowed."""
    row = _answerable(transaction, case, who)
    return cases.changed(
        transaction,
        row,
        "case replied otherwise",
        who.by,
        {"how": how, "round": row.round},
        state=after(after(row.state, Event.REPLY), Event.CLOSE),
        reply_sms=None,
        reply_failed=False,
        replied_at=transaction.now,
        closed_at=transaction.now,
    )


def reopen(transaction: Transaction, case: int, reason: str, who: Worker) -> Row[Any]:
    """Have a decided case looked at again, by another person. Raises CaseError, NotAllowed."""
    connection = transaction.connection
    row = find(connection, case, who.branches)
    state = after(row.state, Event.REOPEN)
    nested = connection.begin_nested()
    try:
        cases.reopen(transaction, row, state)
        nested.commit()
    except IntegrityError:
        nested.rollback()
        raise CaseError(
            f"a newer case of this customer about the same sender is open: it is not {case} that"
            " has to be looked at"
        ) from None
    detail = {"reason": reason, "round": row.round + 1}
    return cases.changed(transaction, row, "case reopened", who.by, detail)


def canned(answers: Answers, number: int, outcome: str) -> str:
    """Return what replies.yaml has the customer told; `number` is the report's."""
    return answers.replies.result_text(outcome, ids.spell(number))


def _answerable(transaction: Transaction, case: int, who: Worker) -> Row[Any]:
    """Return a decided case whose answer is not on its way."""
    row = find(transaction.connection, case, who.branches)
    after(row.state, Event.REPLY)
    if not who.leads:
        _owner(row, who)
    if row.reply_sms is not None and not row.reply_failed:
        raise CaseError(f"the answer of case {case} is on its way already")
    return row


def _person(who: Worker) -> str:
    if who.staff is None:
        raise CaseError("cases are worked on by staff: log in first")
    return who.staff


def _owner(row: Row[Any], who: Worker) -> str:
    own = _person(who)
    if row.owner != own:
        whose = f"{row.owner}'s" if row.owner else "nobody's"
        raise CaseError(f"case {row.id} is {whose}: take it first, or have it assigned to you")
    return own


def _refuse_decider(transaction: Transaction, case: int, person: str) -> None:
    if person in deciders(transaction.connection, case):
        raise CaseError(f"an appeal is decided by somebody else than {person}, who did so before")


def _refuse_unknown(connection: Connection, row: Row[Any]) -> None:
    """Nobody is upheld to have sent it before somebody has said who that is."""
    if company_of(row.target) is not None:
        return
    query = select(report.c.id).where(report.c.case_id == row.id, report.c.state.in_(_NOBODY_KNOWN))
    open_one = connection.scalar(query.order_by(report.c.id).limit(1))
    if open_one is not None:
        raise CaseError(
            f"whose it is has to be known first: smsfilter report resolve {ids.spell(open_one)}"
            " --company ID"
        )
