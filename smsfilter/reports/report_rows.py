"""Reports as rows: what was heard, sealed, known again by a fingerprint, joined from parts."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Row, bindparam, func, insert, select, update

from smsfilter.desk.vault import Vault
from smsfilter.ledger.actor import by_sms
from smsfilter.reports import fold
from smsfilter.reports.answers import DAY_US
from smsfilter.reports.heard import Decided, Heard
from smsfilter.reports.parse import Report, TextOnly, parse
from smsfilter.store.schema import mo_part, report
from smsfilter.store.transaction import Transaction

COUNTED_PER_DAY: Final = 20
"""Reports of one customer in 24 h that count against companies; all others are kept as well."""
_NAMES_SOMEBODY: Final = ("blocked", "to_decide", "referred", "unmatched")

_NEW: Final = insert(report).returning(report.c.id)
_SEAL: Final = (
    update(report)
    .where(report.c.id == bindparam("row"))
    .values(raw_enc=bindparam("raw"), text_enc=bindparam("text"), text_fold=bindparam("fold"))
)
_COUNTED: Final = (
    select(func.count())
    .select_from(report)
    .where(
        report.c.customer == bindparam("of"),
        report.c.received_at > bindparam("since"),
        report.c.counted,
    )
)


class ReportRows:
    """Writes reports down."""

    def __init__(self, vault: Vault, country_code: str) -> None:
        self._vault = vault
        self._country_code = country_code

    def fingerprint(self, customer: str, heard: Heard) -> str:
        """Return what tells a customer's message from others, and says nothing of it."""
        return self._vault.fingerprint(customer.encode() + b"|" + heard.key)

    def insert(
        self, transaction: Transaction, customer: str, heard: Heard, decided: Decided
    ) -> int:
        """Write down a message with what was made of it; its id."""
        source_customer = None
        if decided.source_customer is not None:
            source_customer = self._vault.customer(transaction, decided.source_customer)
        written = {
            "channel": heard.channel,
            "customer": customer,
            "fingerprint": self.fingerprint(customer, heard),
            "copies": 1,
            "received_at": transaction.now,
            "reported_norm": decided.source,
            "reported_customer": source_customer,
            "complete": heard.complete,
            "counted": decided.state in _NAMES_SOMEBODY and _counts(transaction, customer),
            "state": decided.state,
            "match_kind": decided.match_kind,
            "evidence": decided.evidence,
            "changed_seq": 0,
        }
        new: int = transaction.connection.execute(_NEW, written).scalar_one()
        self._write_text(transaction, new, heard.raw, decided.text)
        _join(transaction, heard.parts, new)
        return new

    def add_parts(self, transaction: Transaction, known: Row[Any], heard: Heard) -> None:
        """A report was taken before all of it was there: write down what there is of it by now."""
        connection = transaction.connection
        there = connection.scalar(
            select(func.count()).select_from(mo_part).where(mo_part.c.report == known.id)
        )
        _join(transaction, heard.parts, known.id)
        if known.complete or not (heard.complete or len(heard.parts) > (there or 0)):
            return
        found = parse(heard.text, self._country_code)
        text = found.text if isinstance(found, Report | TextOnly) else heard.text
        self._write_text(transaction, known.id, heard.raw, text)
        if not heard.complete:
            return
        connection.execute(update(report).where(report.c.id == known.id).values(complete=True))
        transaction.enter(
            "report completed",
            by_sms(known.customer),
            object=f"report:{known.id}",
            case_id=known.case_id,
            customer_id=known.customer,
            detail={"parts": len(heard.parts)},
            touches=[(report, known.id)],
        )

    def fold(self, text: str) -> str | None:
        """Return what texts have in common that differ in digits, links and blanks only.

        None where there is too little of it to be known again.
        """
        letters = fold.mark(text)
        return None if letters is None else self._vault.fingerprint(b"text|" + letters.encode())

    def _write_text(self, transaction: Transaction, report_id: int, raw: bytes, text: str) -> None:
        close = self._vault.close
        sealed = {
            "row": report_id,
            "raw": close(raw, "report", "raw_enc", report_id),
            "text": close(text.encode(), "report", "text_enc", report_id),
            "fold": self.fold(text),
        }
        transaction.connection.execute(_SEAL, sealed)


def _join(transaction: Transaction, parts: Sequence[int], report_id: int) -> None:
    if parts:
        transaction.connection.execute(
            update(mo_part).where(mo_part.c.id.in_(parts)).values(report=report_id)
        )


def _counts(transaction: Transaction, customer: str) -> bool:
    """Whether one more report of this customer counts."""
    lately = {"of": customer, "since": transaction.now - DAY_US}
    counted = transaction.connection.scalar(_COUNTED, lately)
    return (counted or 0) < COUNTED_PER_DAY
