"""What a customer orders about an earlier report: take it back, or have it looked at again.

Only whoever reported can do so: the number of a report is no secret. A withdrawal ends every block
of the case, whatever it was turned into since.
"""

from typing import Any

from sqlalchemy import Row, Table, select, update
from sqlalchemy.exc import IntegrityError

from smsfilter.desk import blocks
from smsfilter.ledger.actor import by_sms
from smsfilter.reports.filing import Decided, Filed, Filing, Heard
from smsfilter.reports.replies import Outcome
from smsfilter.store.schema import block, case_file, report
from smsfilter.store.writer import Transaction


def withdraw(filing: Filing, transaction: Transaction, heard: Heard, number: int | None) -> Filed:
    """Take a report back: its blocks end, and the same text is a new report from now on."""
    known = filing.copy(transaction, heard)
    if known is not None:
        return known
    meant = _meant(filing, transaction, heard, number)
    if meant is None:
        return filing.file(transaction, heard, Decided("withdrawal", Outcome.UNKNOWN_ID))
    by = heard.by or by_sms(meant.customer)
    connection = transaction.connection
    ended = connection.scalars(
        select(block.c.id).where(block.c.case_id == meant.case_id, block.c.ended_at.is_(None))
    ).all()
    for each in ended:
        blocks.end(transaction, each, by.name, "withdrawn")
    reports = connection.scalars(
        update(report)
        .where(report.c.case_id == meant.case_id)
        .values(state="withdrawn")
        .returning(report.c.id)
    ).all()
    connection.execute(
        update(case_file)
        .where(case_file.c.id == meant.case_id)
        .values(state="withdrawn", closed_at=transaction.now)
    )
    touches: list[tuple[Table, Any]] = [
        *((block, each) for each in ended),
        *((report, each) for each in reports),
        (case_file, meant.case_id),
    ]
    return filing.ordered(
        transaction,
        heard,
        Decided("withdrawal", Outcome.WITHDRAWN),
        action="report withdrawn",
        about=meant,
        touches=touches,
        detail={"blocks": list(ended), "reports": sorted(reports)},
    )


def appeal(filing: Filing, transaction: Transaction, heard: Heard, number: int | None) -> Filed:
    """Have somebody else look at a case again; a closed one is open once more."""
    known = filing.copy(transaction, heard)
    if known is not None:
        return known
    meant = _meant(filing, transaction, heard, number)
    if meant is None:
        return filing.file(transaction, heard, Decided("appeal", Outcome.UNKNOWN_ID))
    nested = transaction.connection.begin_nested()
    try:
        transaction.connection.execute(
            update(case_file)
            .where(case_file.c.id == meant.case_id)
            .values(state="appealed", closed_at=None)
        )
        nested.commit()
    except IntegrityError:  # a newer case of the same pair is open, and is looked at anyhow
        nested.rollback()
    return filing.ordered(
        transaction,
        heard,
        Decided("appeal", Outcome.APPEAL),
        action="report appealed",
        about=meant,
        touches=[(case_file, meant.case_id)],
        detail={},
    )


def _meant(
    filing: Filing, transaction: Transaction, heard: Heard, number: int | None
) -> Row[Any] | None:
    """The report that is meant, if it is this customer's; without a number the latest one."""
    customer = filing.customer(transaction, heard)
    query = select(report).where(report.c.customer == customer, report.c.case_id.is_not(None))
    if number is not None:
        query = query.where(report.c.id == number)
    return transaction.connection.execute(query.order_by(report.c.id.desc()).limit(1)).first()
