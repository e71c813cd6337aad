"""Delivery receipts of our own SMS: matched to the SMS, whatever the SMSC makes of its ids.

The id of submit_sm_resp and that of the receipt (SMPP v3.4 Appendix B) may differ in leading zeros,
and one may be hexadecimal where the other is decimal. A receipt may come before the
submit_sm_resp; it is stored before it is answered, and claimed once the id is known. A receipt
whose id is nobody's belongs to the only SMS to that handset that has none yet, else to nothing.
"""

import contextlib
import re
from typing import Final

from sqlalchemy import and_, insert, or_, select, update

from smsfilter.ledger.actor import system
from smsfilter.reports import results
from smsfilter.reports.sms import Delivered
from smsfilter.smpp.const import TAG_RECEIPTED_MESSAGE_ID
from smsfilter.store.schema import receipt, sms_out
from smsfilter.store.transaction import Transaction

KNOWN_FOR_US: Final = 7 * 24 * 3600 * 1_000_000
"""How old an SMS may be that a receipt is for."""
_BY: Final = system("receipts")
_FIELD: Final = re.compile(rb"(?i)\b(id|stat|err):([^\s]{1,64})")
_TYPE: Final = 0x3C  # SMPP v3.4 §5.2.12
_RECEIPTS: Final = (0x04, 0x20)
"""Of the SMSC: a delivery receipt, and one on the way. 0x08 and 0x10 a handset has sent."""
_FINAL: Final = {
    "DELIVRD": "delivered",
    "EXPIRED": "undelivered",
    "DELETED": "undelivered",
    "UNDELIV": "undelivered",
    "REJECTD": "undelivered",
}


def is_receipt(message: Delivered) -> bool:
    """Whether it is about one of our SMS, and not a customer's message."""
    return message.esm_class & _TYPE in _RECEIPTS or TAG_RECEIPTED_MESSAGE_ID in message.tlvs


def spelled(message_id: bytes) -> str:
    """Give an id as the records have it."""
    return message_id.decode("latin-1").strip("\0 ")


def take(
    transaction: Transaction, message: Delivered, customer: str | None, *, anybody: bool = False
) -> bool:
    """Store a receipt, and say what it means for its SMS; False where it is nobody's, so far.

    `customer` is whom it comes from, None where no SMS was ever sent to that number; `anybody`:
    the number cannot be read, so that only the id counts.
    """
    said: dict[bytes, bytes] = {}
    for name, value in _FIELD.findall(message.octets):
        said.setdefault(name.lower(), value)  # the text of the SMS stands behind the fields
    message_id = spelled(message.tlvs.get(TAG_RECEIPTED_MESSAGE_ID) or said.get(b"id") or b"")
    stat = said.get(b"stat", b"").decode("latin-1").upper()
    known = transaction.connection.execute(
        select(receipt.c.sms_out).where(
            receipt.c.message_id == message_id,
            receipt.c.stat == stat,
            receipt.c.customer == customer,
            receipt.c.at > transaction.now - KNOWN_FOR_US,
        )
    ).first()
    if known is not None:  # the SMSC has brought it again
        return known.sms_out is not None
    sms = None
    if customer is not None or anybody:
        sms = _named(transaction, message_id, customer) or _only(transaction, customer)
    if sms is None:
        sms = _of_staff(transaction, message_id)
    transaction.connection.execute(
        insert(receipt).values(
            message_id=message_id,
            at=transaction.now,
            stat=stat,
            err=said.get(b"err", b"").decode("latin-1") or None,
            customer=customer,
            sms_out=sms,
        )
    )
    if sms is not None:
        _apply(transaction, sms, stat)
    transaction.enter(
        "receipt taken",
        _BY,
        object="" if sms is None else f"sms:{sms}",
        customer_id=customer,
        detail={"stat": stat},
    )
    return sms is not None


def claim(transaction: Transaction, sms: int, customer: str | None, message_id: str) -> None:
    """An SMS has its id: take the receipts that came before it, if any did.

    To whom of the staff one was (`customer` None) is told by the id alone, as it was written.
    """
    mine = receipt.c.customer == customer if customer else receipt.c.message_id == message_id
    early = transaction.connection.execute(
        select(receipt.c.id, receipt.c.message_id, receipt.c.stat)
        .where(
            mine,
            receipt.c.sms_out.is_(None),
            receipt.c.at > transaction.now - KNOWN_FOR_US,
        )
        .order_by(receipt.c.id)
    ).all()
    for each in early:
        if likeness(each.message_id, message_id) is not None:
            transaction.connection.execute(
                update(receipt).where(receipt.c.id == each.id).values(sms_out=sms)
            )
            _apply(transaction, sms, each.stat)


def likeness(one: str, other: str) -> int | None:
    """How alike two spellings of an id are, 0 the most; None where they are two ids."""
    if not one or not other:
        return None
    if one == other:
        return 0
    if one.lstrip("0").lower() == other.lstrip("0").lower():
        return 1
    for decimal, hexadecimal in ((one, other), (other, one)):
        with contextlib.suppress(ValueError):
            if int(decimal) == int(hexadecimal, 16):
                return 2
    return None


def _apply(transaction: Transaction, sms: int, stat: str) -> None:
    state = _FINAL.get(stat)
    if state is not None:
        transaction.connection.execute(
            update(sms_out).where(sms_out.c.id == sms).values(state=state)
        )
        results.received(transaction, sms, state)


def _named(transaction: Transaction, message_id: str, customer: str | None) -> int | None:
    """The SMS with this id, the likest one; never one to another handset."""
    query = select(sms_out.c.id, sms_out.c.message_id).where(
        sms_out.c.message_id.is_not(None), sms_out.c.sent_at > transaction.now - KNOWN_FOR_US
    )
    if customer is None:
        query = query.where(sms_out.c.message_id == message_id)
    else:
        query = query.where(sms_out.c.customer == customer)
    found: list[tuple[int, int]] = []
    for row in transaction.connection.execute(query):
        alike = likeness(message_id, row.message_id)
        if alike is not None:
            found.append((alike, -row.id))
    return -min(found)[1] if found else None


def _of_staff(transaction: Transaction, message_id: str) -> int | None:
    """The SMS to one of the staff with this id; their handset need not be a customer's."""
    query = select(sms_out.c.id, sms_out.c.message_id).where(
        sms_out.c.staff.is_not(None), sms_out.c.sent_at > transaction.now - KNOWN_FOR_US
    )
    found = [
        (alike, -row.id)
        for row in transaction.connection.execute(query)
        if (alike := likeness(message_id, row.message_id or "")) is not None
    ]
    return -min(found)[1] if found else None


def _only(transaction: Transaction, customer: str | None) -> int | None:
    """The SMS to a handset that is without a receipt, where there is but one.

    One that is being sent will get its id in a moment: then none can be told apart.
    """
    if customer is None:
        return None
    open_ones = transaction.connection.execute(
        select(sms_out.c.id, sms_out.c.state)
        .where(
            sms_out.c.customer == customer,
            or_(
                sms_out.c.state == "sending",
                and_(
                    sms_out.c.state.in_(("sent", "unknown")),
                    sms_out.c.created_at > transaction.now - KNOWN_FOR_US,
                ),
            ),
        )
        .limit(2)
    ).all()
    if len(open_ones) != 1 or open_ones[0].state == "sending":
        return None
    return int(open_ones[0].id)
