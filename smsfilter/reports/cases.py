"""Cases: what is being done about one sender for one customer, open once at a time.

A case is about a company (`acme`), about a source (`source:…`), or about nobody yet. It follows
its blocks: where a source was blocked and its company is known by now, a report on the company
still belongs to the case of the source.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Row, and_, bindparam, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from smsfilter.desk.company import survivor
from smsfilter.desk.silence import silence
from smsfilter.flow.branches import HEADQUARTERS
from smsfilter.flow.case import Event, State, after
from smsfilter.ledger.actor import Actor
from smsfilter.reports.answers import DAY_US
from smsfilter.store.schema import block, case_file, report
from smsfilter.store.schema import customer as customer_table
from smsfilter.store.transaction import Transaction

ANSWER_WITHIN_US: Final = 2 * DAY_US
ORDERS: Final = ("withdrawal", "appeal")
"""States of messages that are about a report and none themselves."""
WITHOUT_CASE: Final = ("nonsense", "never_block", *ORDERS)
"""What is answered at once and needs nobody."""

_OPEN: Final = select(case_file.c.id, case_file.c.target).where(
    case_file.c.customer == bindparam("of"), case_file.c.closed_at.is_(None)
)
_BLOCKED: Final = select(block.c.target, block.c.case_id).where(
    block.c.customer == bindparam("of"), block.c.ended_at.is_(None)
)
_BRANCH: Final = select(customer_table.c.branch).where(customer_table.c.id == bindparam("of"))
_NEW: Final = insert(case_file).returning(case_file.c.id)


def take(
    transaction: Transaction,
    customer: str,
    about: Sequence[str],
    own: int | None = None,
    *,
    within_us: int = ANSWER_WITHIN_US,
) -> tuple[int, bool]:
    """Return the case for a report, and whether it was open before for the same sender.

    `about` is whom the report names, what is to be blocked first; `own` a case that it has already
    while nobody was known: that one is taken, or merged into the one that is open. A new one is to
    be answered `within_us`.
    """
    known = _open(transaction, customer, about)
    if known is not None and known != own:
        if own is not None:
            _merge(transaction, own, known)
        return known, True
    if own is not None:
        point(transaction, own, about)
        return own, False
    opened = {
        "customer": customer,
        "target": about[0] if about else None,
        "state": State.NEW,
        "branch": transaction.connection.scalar(_BRANCH, {"of": customer}) or HEADQUARTERS,
        "opened_at": transaction.now,
        "since": transaction.now,
        "due_at": transaction.now + within_us,
        "changed_seq": 0,
    }
    new: int = transaction.connection.execute(_NEW, opened).scalar_one()
    return new, False


def point(transaction: Transaction, case: int, about: Sequence[str]) -> None:
    """More is known about a case: whom it is about."""
    transaction.connection.execute(
        update(case_file).where(case_file.c.id == case).values(target=about[0] if about else None)
    )


def close(transaction: Transaction, case: int, event: Event) -> None:
    """A case ends without an answer of its own. Raises NotAllowed."""
    connection = transaction.connection
    silence(transaction, case)
    state = connection.scalar(select(case_file.c.state).where(case_file.c.id == case))
    connection.execute(
        update(case_file)
        .where(case_file.c.id == case)
        .values(state=after(state or "", event), closed_at=transaction.now)
    )


def appealed(transaction: Transaction, case: int) -> None:
    """The customer wants it looked at again: one that was decided is open once more.

    Its clock begins anew, and another person decides it. Where a newer case of the same pair is
    open, that one is looked at anyhow.
    """
    connection = transaction.connection
    row = connection.execute(select(case_file).where(case_file.c.id == case)).one()
    state = after(row.state, Event.APPEAL)
    if state is not State.REOPENED or row.state == State.REOPENED:
        return
    nested = connection.begin_nested()
    try:
        reopen(transaction, row, state)
        nested.commit()
    except IntegrityError:
        nested.rollback()


def reopen(transaction: Transaction, row: Row[Any], state: State) -> None:
    """Open a case once more. Raises IntegrityError where a newer one of the same pair is open."""
    now = transaction.now
    silence(transaction, row.id)
    transaction.connection.execute(
        update(case_file)
        .where(case_file.c.id == row.id)
        .values(
            state=state,
            round=row.round + 1,
            since=now,
            due_at=now + row.due_at - row.since,
            owner=None,
            assigned_at=None,
            outcome=None,
            replied_at=None,
            closed_at=None,
        )
    )


def changed(
    transaction: Transaction,
    row: Row[Any],
    action: str,
    by: Actor,
    detail: Mapping[str, Any],
    **values: Any,
) -> Row[Any]:
    """Enter what was done to a case, give it these values, and return it as it is then."""
    connection, this = transaction.connection, case_file.c.id == row.id
    if values:
        connection.execute(update(case_file).where(this).values(values))
    transaction.enter(
        action,
        by,
        object=f"case:{row.id}",
        case_id=row.id,
        customer_id=row.customer,
        detail=detail,
        touches=[(case_file, row.id)],
    )
    return connection.execute(select(case_file).where(this)).one()


def first_report(transaction: Transaction, case: int) -> int | None:
    """Return the report that opened a case: its number is the one that the customer knows."""
    found: int | None = transaction.connection.scalar(
        select(func.min(report.c.id)).where(report.c.case_id == case, report.c.state.not_in(ORDERS))
    )
    return found


def target_of(transaction: Transaction, case: int | None) -> str | None:
    """Return whom a case is about by now: see `target`."""
    return None if case is None else target(transaction.connection, case)


_TARGET: Final = (
    select(case_file.c.target, block.c.target.label("blocked"))
    .outerjoin(
        block,
        and_(
            block.c.customer == case_file.c.customer,
            block.c.case_id == case_file.c.id,
            block.c.ended_at.is_(None),
        ),
    )
    .where(case_file.c.id == bindparam("case"))
    .order_by(block.c.target != case_file.c.target, block.c.id)
    .limit(1)
)


def target(connection: Connection, case: int) -> str | None:
    """Return whom a case is about by now: its blocks may have become another's since."""
    found = connection.execute(_TARGET, {"case": case}).one_or_none()
    if found is None or found.target is None:
        return None
    by_now: str = found.blocked or survivor(connection, found.target)
    return by_now


def _open(transaction: Transaction, customer: str, about: Sequence[str]) -> int | None:
    """The open case about one of these, or the one whose live block stands for one of them."""
    found = transaction.connection.execute(_OPEN, {"of": customer}).all()
    if not found:
        return None
    cases = {row.target: row.id for row in found}
    blocked = {
        row.target: row.case_id
        for row in transaction.connection.execute(_BLOCKED, {"of": customer})
        if row.case_id in cases.values()
    }
    known = (cases.get(each, blocked.get(each)) for each in about)
    return next((case for case in known if case is not None), None)


def _merge(transaction: Transaction, case: int, into: int) -> None:
    connection = transaction.connection
    connection.execute(update(report).where(report.c.case_id == case).values(case_id=into))
    close(transaction, case, Event.JOIN)
