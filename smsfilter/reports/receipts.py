"""Delivery receipts of our own SMS: matched to the SMS, whatever the SMSC makes of its ids.

The id of submit_sm_resp and that of the receipt (SMPP v3.4 Appendix B) may differ in leading zeros,
and one may be hexadecimal where the other is decimal. A receipt may come before the
submit_sm_resp; it is stored before it is answered, and claimed once the id is known. A receipt
whose id is nobody's belongs to the only SMS to that handset that has none yet, else to nothing.
"""

import contextlib
import re
from typing import Any, Final

from sqlalchemy import insert, select, update

from smsfilter.ledger.actor import system
from smsfilter.reports.sms import Delivered
from smsfilter.smpp.const import TAG_RECEIPTED_MESSAGE_ID
from smsfilter.store.schema import receipt, sms_out
from smsfilter.store.writer import Transaction

KNOWN_FOR_US: Final = 7 * 24 * 3600 * 1_000_000
"""How old an SMS may be that a receipt is for."""
_BY: Final = system("receipts")
_FIELD: Final = re.compile(rb"(?i)\b(id|stat|err):([^\s]{1,64})")
_RECEIPT: Final = 0x04
_TYPE: Final = 0x3C  # SMPP v3.4 §5.2.12
_FINAL: Final = {
    "DELIVRD": "delivered",
    "EXPIRED": "undelivered",
    "DELETED": "undelivered",
    "UNDELIV": "undelivered",
    "REJECTD": "undelivered",
}


def is_receipt(message: Delivered) -> bool:
    """Whether it is about one of our SMS, and not a customer's message."""
    return message.esm_class & _TYPE == _RECEIPT or TAG_RECEIPTED_MESSAGE_ID in message.tlvs


def spelled(message_id: bytes) -> str:
    """Give an id as the records have it."""
    return message_id.decode("latin-1").strip("\0 ")


def take(transaction: Transaction, message: Delivered, customer: str | None) -> bool:
    """Store a receipt, and say what it means for its SMS; False where it is nobody's."""
    said = {name.lower(): value for name, value in _FIELD.findall(message.octets)}
    named = message.tlvs.get(TAG_RECEIPTED_MESSAGE_ID) or said.get(b"id") or b""
    message_id = spelled(named)
    stat = said.get(b"stat", b"").decode("latin-1").upper()
    sms = _sms_of(transaction, message_id, customer)
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


def claim(transaction: Transaction, sms: int, message_id: str) -> None:
    """An SMS has its id: take the receipt that came before it, if one did."""
    found = transaction.connection.execute(
        select(receipt.c.id, receipt.c.stat)
        .where(
            receipt.c.message_id.in_(_spellings(message_id)),
            receipt.c.sms_out.is_(None),
            receipt.c.at > transaction.now - KNOWN_FOR_US,
        )
        .order_by(receipt.c.id)
        .limit(1)
    ).first()
    if found is None or not message_id:
        return
    transaction.connection.execute(
        update(receipt).where(receipt.c.id == found.id).values(sms_out=sms)
    )
    _apply(transaction, sms, found.stat)


def _apply(transaction: Transaction, sms: int, stat: str) -> None:
    state = _FINAL.get(stat)
    if state is not None:
        transaction.connection.execute(
            update(sms_out).where(sms_out.c.id == sms).values(state=state)
        )


def _sms_of(transaction: Transaction, message_id: str, customer: str | None) -> int | None:
    since = transaction.now - KNOWN_FOR_US
    connection = transaction.connection
    found: Any = None
    if message_id:
        found = connection.scalar(
            select(sms_out.c.id)
            .where(sms_out.c.message_id.in_(_spellings(message_id)), sms_out.c.sent_at > since)
            .order_by(sms_out.c.id.desc())
            .limit(1)
        )
    if found is None and customer is not None:
        waiting = connection.scalars(
            select(sms_out.c.id)
            .where(
                sms_out.c.customer == customer,
                sms_out.c.state == "sent",
                sms_out.c.sent_at > since,
            )
            .limit(2)
        ).all()
        found = waiting[0] if len(waiting) == 1 else None
    return None if found is None else int(found)


def _spellings(message_id: str) -> list[str]:
    """The id as it is, without leading zeros, and as the same number to another base."""
    found = {message_id, message_id.lstrip("0"), message_id.lower(), message_id.upper()}
    with contextlib.suppress(ValueError):
        found.add(str(int(message_id, 16)))
    with contextlib.suppress(ValueError):
        number = int(message_id)
        found |= {f"{number:x}", f"{number:X}", f"{number:08x}", f"{number:08X}"}
    return sorted(found - {""})
