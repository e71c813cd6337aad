"""Answers to customers: written with what they tell of, released once that is in force."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import BindParameter, Connection, bindparam, func, insert, select, update

from smsfilter.desk.vault import Vault
from smsfilter.ledger.actor import system
from smsfilter.reports import ids
from smsfilter.reports.replies import Outcome, Replies
from smsfilter.store.schema import report, sms_out
from smsfilter.store.transaction import Transaction

DAY_US: Final = 24 * 3600 * 1_000_000
PER_DAY: Final = {
    Outcome.NONSENSE: 3,
    Outcome.UNKNOWN_ID: 3,
    Outcome.ASK_NUMBER: 20,
    Outcome.NEVER_BLOCK: 20,
    Outcome.REPEATED: 20,
    Outcome.APPEAL: 20,
}
"""Answers to one customer in 24 h that any message can provoke: else two machines that answer
each other would do so for ever."""

_NEW: Final = insert(sms_out).returning(sms_out.c.id)
_SEAL: Final = (
    update(sms_out).where(sms_out.c.id == bindparam("row")).values(text_enc=bindparam("sealed"))
)

_SOME: Final[BindParameter[Any]] = bindparam("some", expanding=True)
_CONFIRM: Final = (
    update(report)
    .where(report.c.id.in_(_SOME), report.c.confirmed_at.is_(None))
    .values(confirmed_at=bindparam("at"))
    .returning(report.c.id)
)
_TOLD: Final = (
    update(report)
    .where(report.c.id.in_(_SOME), report.c.told_at.is_(None))
    .values(told_at=bindparam("at"))
)
_RELEASE: Final = (
    update(sms_out)
    .where(sms_out.c.report.in_(_SOME), sms_out.c.state == "held")
    .values(state="queued", next_at=bindparam("at"))
)


class Answers:
    """Writes what customers are answered."""

    def __init__(self, vault: Vault, replies: Replies) -> None:
        self._vault = vault
        self.replies = replies

    def give(
        self,
        transaction: Transaction,
        report_id: int,
        customer: str,
        reply: Outcome,
        *,
        number: int | None = None,
        release: bool,
        is_first: bool = False,
    ) -> bool:
        """Have a reply to a report sent; one that is not released waits for `confirm`.

        `number` is the report whose number the customer is told, the same one by default;
        `is_first`: nothing was said of it before. False: nothing is sent, as enough of this kind
        was answered today.
        """
        if _had_enough(transaction, customer, reply):
            return False
        n = 1 if is_first else 1 + _count(transaction, report_id, reply)
        text = self.replies.text(reply, id=ids.spell(number or report_id))
        self._write(transaction, (report_id, reply, n), customer, text, release=release)
        return True

    def tell_result(
        self, transaction: Transaction, report_id: int, customer: str, case: int, text: str
    ) -> int:
        """Have a customer told what the case of a report has come to; the id of the SMS."""
        n = 1 + _count(transaction, report_id, Outcome.RESULT)
        which = (report_id, Outcome.RESULT, n)
        return self._write(transaction, which, customer, text, case=case, release=True)

    def _write(
        self,
        transaction: Transaction,
        which: tuple[int, Outcome, int],
        customer: str,
        text: str,
        *,
        case: int | None = None,
        release: bool,
    ) -> int:
        report_id, reply, n = which
        written = {
            "report": report_id,
            "case_id": case,
            "kind": reply.value,
            "n": n,
            "customer": customer,
            "text_enc": b"",
            "state": "queued" if release else "held",
            "attempts": 0,
            "maybe_twice": False,
            "created_at": transaction.now,
            "next_at": transaction.now if release else None,
        }
        new: int = transaction.connection.execute(_NEW, written).scalar_one()
        sealed = self._vault.close(text.encode(), "sms_out", "text_enc", new)
        transaction.connection.execute(_SEAL, {"row": new, "sealed": sealed})
        return new


def confirm(transaction: Transaction, reports: Sequence[int], *, is_told: bool = True) -> int:
    """What reports asked for is in force: release their answers. Those done before are left out.

    `is_told`: whoever brought them is told so now; else they bring them again.
    """
    now = transaction.now
    some = {"some": reports, "at": now}
    fresh = transaction.connection.scalars(_CONFIRM, some).all()
    if is_told:
        transaction.connection.execute(_TOLD, some)
    if not fresh:
        return 0
    transaction.connection.execute(_RELEASE, {"some": fresh, "at": now})
    transaction.enter("reports confirmed", system("intake"), detail={"reports": sorted(fresh)})
    return len(fresh)


def unconfirmed(connection: Connection, before: int, most: int) -> list[int]:
    """Return the oldest reports, received before then (µs), that were never confirmed."""
    query = (
        select(report.c.id)
        .where(report.c.confirmed_at.is_(None), report.c.received_at < before)
        .order_by(report.c.id)
        .limit(most)
    )
    return list(connection.scalars(query))


def take_back(transaction: Transaction, reports: Sequence[int]) -> None:
    """What reports asked for is no longer wanted: answers that were not released are not sent."""
    transaction.connection.execute(
        update(sms_out)
        .where(sms_out.c.report.in_(reports), sms_out.c.state == "held")
        .values(state="taken_back")
    )


def _had_enough(transaction: Transaction, customer: str, reply: Outcome) -> bool:
    most = PER_DAY.get(reply)
    if most is None:
        return False
    count = transaction.connection.scalar(
        select(func.count())
        .select_from(sms_out)
        .where(
            sms_out.c.customer == customer,
            sms_out.c.kind == reply.value,
            sms_out.c.created_at > transaction.now - DAY_US,
        )
    )
    return (count or 0) >= most


def _count(transaction: Transaction, report_id: int, reply: Outcome) -> int:
    """How many such replies there are to a report."""
    query = (
        select(func.count())
        .select_from(sms_out)
        .where(sms_out.c.report == report_id, sms_out.c.kind == reply.value)
    )
    return transaction.connection.scalar(query) or 0
