"""What a customer orders about an earlier report: take it back, or have it looked at again.

Only whoever reported can do so: the number of a report is no secret. A withdrawal ends every block
of the case, whatever it was turned into since. Neither waits for the index: the SMSC is told
ESME_ROK once the order is durable, and the customer once it is in force.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, Table, or_, select, update

from smsfilter.desk import blocks
from smsfilter.flow.case import Event
from smsfilter.ledger.actor import Actor, by_sms
from smsfilter.reports import answers, cases
from smsfilter.reports.cases import ORDERS, target_of
from smsfilter.reports.filing import Filing
from smsfilter.reports.heard import Decided, Filed, Heard
from smsfilter.reports.replies import Outcome
from smsfilter.store.schema import block, case_file, report
from smsfilter.store.transaction import Transaction


def withdraw(filing: Filing, transaction: Transaction, heard: Heard, number: int | None) -> Filed:
    """Take a report back: its blocks end, and the same text is a new report from now on."""
    customer = filing.customer(transaction, heard)
    known = filing.redelivered(transaction, customer, heard)
    if known is not None:
        return known
    meant = _meant(transaction, customer, number)
    if meant is None:
        return filing.new(transaction, customer, heard, Decided("withdrawal", Outcome.UNKNOWN_ID))
    ended: Sequence[int] = ()
    reports: Sequence[int] = ()
    if meant.state != "withdrawn":  # else it may have been reported anew, which stands
        ended, reports = _taken_back(transaction, meant, heard.by or by_sms(customer))
    return _kept(
        filing,
        transaction,
        heard,
        Decided("withdrawal", Outcome.WITHDRAWN),
        action="report withdrawn",
        about=meant,
        waits=bool(ended),
        touches=[*((block, each) for each in ended), *((report, each) for each in reports)],
        detail={"blocks": list(ended), "reports": sorted(reports)},
    )


def appeal(filing: Filing, transaction: Transaction, heard: Heard, number: int | None) -> Filed:
    """Have somebody else look at a case again; a closed one is open once more."""
    customer = filing.customer(transaction, heard)
    known = filing.redelivered(transaction, customer, heard)
    if known is not None:
        return known
    meant = _meant(transaction, customer, number)
    if meant is None or meant.state == "withdrawn":  # it has no result to appeal against
        return filing.new(transaction, customer, heard, Decided("appeal", Outcome.UNKNOWN_ID))
    cases.appealed(transaction, meant.case_id)
    return _kept(
        filing,
        transaction,
        heard,
        Decided("appeal", Outcome.APPEAL, text=heard.text),
        action="report appealed",
        about=meant,
        waits=False,
        touches=[],
        detail={},
    )


def _meant(transaction: Transaction, customer: str, number: int | None) -> Row[Any] | None:
    """The report that is meant, if it is this customer's; without a number the latest one."""
    query = select(report).where(
        report.c.customer == customer,
        report.c.case_id.is_not(None),
        report.c.state.not_in(ORDERS),
    )
    if number is not None:
        query = query.where(report.c.id == number)
    return transaction.connection.execute(query.order_by(report.c.id.desc()).limit(1)).first()


def _taken_back(
    transaction: Transaction, meant: Row[Any], by: Actor
) -> tuple[Sequence[int], Sequence[int]]:
    """End the blocks of a report's case and close it; the blocks and the reports in it."""
    connection = transaction.connection
    ended = _blocks(transaction, meant)
    for each in ended:
        blocks.end(transaction, each, by.name, "withdrawn")
    reports = connection.scalars(
        update(report)
        .where(report.c.case_id == meant.case_id, report.c.state.not_in(ORDERS))
        .values(state="withdrawn", counted=False)
        .returning(report.c.id)
    ).all()
    answers.take_back(transaction, reports)
    cases.close(transaction, meant.case_id, Event.WITHDRAW)
    return ended, reports


def _blocks(transaction: Transaction, meant: Row[Any]) -> Sequence[int]:
    """The live blocks of a case: those that it has put, and any other of whom it is about."""
    target = target_of(transaction, meant.case_id)
    return transaction.connection.scalars(
        select(block.c.id).where(
            block.c.customer == meant.customer,
            block.c.ended_at.is_(None),
            or_(block.c.case_id == meant.case_id, block.c.target == target),
        )
    ).all()


def _kept(
    filing: Filing,
    transaction: Transaction,
    heard: Heard,
    decided: Decided,
    *,
    action: str,
    about: Row[Any],
    waits: bool,
    touches: list[tuple[Table, Any]],
    detail: dict[str, Any],
) -> Filed:
    """Write an order down; where it `waits`, its answer is released once the index has followed."""
    customer: str = about.customer
    new = filing.rows.insert(transaction, customer, heard, decided)
    done_at = None if waits else transaction.now
    transaction.connection.execute(
        update(report)
        .where(report.c.id == new)
        .values(case_id=about.case_id, confirmed_at=done_at, told_at=transaction.now)
    )
    is_told = filing.answer(
        transaction, new, customer, decided.reply, number=about.id, release=not waits
    )
    entered = transaction.enter(
        action,
        heard.by or by_sms(customer),
        object=f"report:{about.id}",
        case_id=about.case_id,
        customer_id=customer,
        detail={"message": new, **detail, "reply": decided.reply.value if is_told else None},
        touches=[(report, new), (case_file, about.case_id), *touches],
    )
    return Filed(
        report=new,
        customer=customer,
        state=decided.state,
        target=None,
        is_copy=False,
        must_follow=False,
        was_blocked=False,
        is_confirmed=not waits,
        entered=entered,
    )
