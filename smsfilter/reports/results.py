"""What becomes of the answer to a case: on its way, at the SMSC, on the handset, or none of these.

A case is answered once the SMSC has accepted the SMS, and closed once the receipt says that it was
delivered, or when none came in 72 hours. What could not be sent or delivered is told in another
way: the case stays with its owner, marked. Only the SMS that a case names as its answer counts.
"""

from typing import Any, Final

from sqlalchemy import Row, select
from sqlalchemy.exc import IntegrityError

from smsfilter.flow.case import Event, State, after
from smsfilter.ledger.actor import Actor, system
from smsfilter.reports import cases
from smsfilter.store.schema import case_file, sms_out
from smsfilter.store.transaction import Transaction

RECEIPT_WITHIN_US: Final = 72 * 3600 * 1_000_000
"""A case whose answer has no receipt by then is closed: many networks send none."""
_OUTBOX: Final = system("outbox")
_RECEIPTS: Final = system("receipts")
_FAILED: Final = ("refused", "given_up", "unknown")


def ended(transaction: Transaction, sms: int, state: str) -> None:
    """Sending an SMS has come to an end, whatever it is: `state` is that of the SMS."""
    row = _answered_by(transaction, sms)
    if row is None or row.state != State.DECIDED:
        return
    if state == "sent":
        _replied(transaction, row, _OUTBOX)
    elif state in _FAILED:
        _note(transaction, row, "case reply failed", _OUTBOX, {"sms": state}, reply_failed=True)


def received(transaction: Transaction, sms: int, state: str) -> None:
    """A receipt says what became of an SMS: `delivered` or `undelivered`."""
    row = _answered_by(transaction, sms)
    if row is None:
        return
    if state == "delivered":
        if row.state == State.DECIDED:  # the SMSC had it, though it never said so
            row = _replied(transaction, row, _RECEIPTS)
        if row.state == State.REPLIED:
            _close(transaction, row, "delivered", _RECEIPTS)
    elif row.state == State.REPLIED:
        _undelivered(transaction, row)


def close_unreceipted(transaction: Transaction, most: int) -> int:
    """Close cases that were answered 72 hours ago and whose receipt never came; how many."""
    due = transaction.connection.execute(
        select(case_file)
        .where(
            case_file.c.state == State.REPLIED,
            case_file.c.replied_at <= transaction.now - RECEIPT_WITHIN_US,
        )
        .order_by(case_file.c.replied_at)
        .limit(most)
    ).all()
    for row in due:
        _close(transaction, row, "no receipt", system("cases"))
    return len(due)


def _answered_by(transaction: Transaction, sms: int) -> Row[Any] | None:
    """The case whose answer an SMS is; none for one that was taken back or written anew."""
    query = (
        select(case_file)
        .join(sms_out, sms_out.c.case_id == case_file.c.id)
        .where(sms_out.c.id == sms, case_file.c.reply_sms == sms)
    )
    return transaction.connection.execute(query).one_or_none()


def _replied(transaction: Transaction, row: Row[Any], by: Actor) -> Row[Any]:
    return _note(
        transaction,
        row,
        "case replied",
        by,
        {"late": transaction.now > row.due_at},
        state=after(row.state, Event.REPLY),
        reply_failed=False,
        replied_at=transaction.now,
        closed_at=transaction.now,
    )


def _close(transaction: Transaction, row: Row[Any], why: str, by: Actor) -> None:
    state = after(row.state, Event.CLOSE)
    _note(transaction, row, "case closed", by, {"why": why}, state=state)


def _undelivered(transaction: Transaction, row: Row[Any]) -> None:
    """The case is open again, unless a newer one of the same pair is: then that one is answered."""
    nested = transaction.connection.begin_nested()
    try:
        _note(
            transaction,
            row,
            "case reply undelivered",
            _RECEIPTS,
            {},
            state=after(row.state, Event.UNDELIVERED),
            reply_failed=True,
            replied_at=None,
            closed_at=None,
        )
        nested.commit()
    except IntegrityError:
        nested.rollback()
        detail = {"why": "undelivered, and a newer case is open"}
        state = after(row.state, Event.CLOSE)
        _note(transaction, row, "case closed", _RECEIPTS, detail, state=state)


def _note(
    transaction: Transaction,
    row: Row[Any],
    action: str,
    by: Actor,
    detail: dict[str, Any],
    **values: Any,
) -> Row[Any]:
    said = {"answer": row.reply_sms, "round": row.round, **detail}
    return cases.changed(transaction, row, action, by, said, **values)
