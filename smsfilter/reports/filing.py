"""Filing of what a customer sent: one transaction with report, case, block, answer and ledger row.

The steps run in the writer's thread, so nothing can come between them. A block that was put here
is not in force yet: `confirm` follows once the index has it, and only then is the answer to the
customer released and the SMSC told ESME_ROK. What needs no block is confirmed in the same step.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import Connection, Row, Table, func, insert, select, update

from smsfilter.desk import blocks
from smsfilter.desk.vault import Vault
from smsfilter.ledger.actor import Actor, by_sms, system
from smsfilter.reports import ids
from smsfilter.reports.replies import Outcome, Replies
from smsfilter.store.schema import case_file, mo_part, report, sms_out
from smsfilter.store.writer import Entered, Transaction

DAY_US: Final = 24 * 3600 * 1_000_000
REDELIVERY_US: Final = 5 * 60 * 1_000_000
"""A copy within so long of our ROK is the SMSC's own; a later one the customer has sent."""
ANSWER_WITHIN_US: Final = 2 * DAY_US
COUNTED_PER_DAY: Final = 20
"""Reports of one customer in 24 h that count against companies; all others are kept as well."""
WITHOUT_CASE: Final = ("nonsense", "never_block", "withdrawal", "appeal")
"""What is answered at once and needs nobody."""
DONE_WITH: Final = ("withdrawn", "lifted")
"""States in which a report has no effect any more: the same text is a new one."""
NONSENSE_ANSWERS_PER_DAY: Final = 3
"""So that two machines do not answer each other for ever."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A message as it came, whatever it says."""

    channel: str
    """sms, phone or import."""
    reporter: str
    """E.164 digits."""
    key: bytes
    """What makes two messages the same: esm_class, data_coding and the exact octets."""
    raw: bytes
    text: str
    complete: bool = True
    parts: tuple[int, ...] = ()
    """The rows that it was joined from."""
    by: Actor | None = None
    """Who entered it; None = the customer, by SMS."""
    at: int | None = None
    """When the customer said it (µs UTC), where that was before it was entered."""


@dataclass(frozen=True, slots=True)
class Decided:
    """What is to be done about it."""

    state: str
    reply: Outcome
    company: str | None = None
    """The company that is to be blocked."""
    sources: tuple[str, ...] = ()
    """The sources that are to be blocked, normalised, where no one company is known."""
    source: str | None = None
    """The reported source, normalised, where it is a service's."""
    source_customer: str | None = None
    """Its number (E.164 digits), where it is a handset's."""
    text: str = ""
    """The offending text, verbatim."""
    completes: bool = False
    """It is the number to a text that was sent before without one."""
    match_kind: str | None = None
    evidence: str | None = None


@dataclass(frozen=True, slots=True)
class Filed:
    """What was filed."""

    report: int
    customer: str
    state: str
    """What has become of it."""
    target: str | None
    is_copy: bool
    """It was there before."""
    must_follow: bool
    """The index has to follow before anybody is told."""
    was_blocked: bool
    """The pair was blocked already when it came: something got through, or came another way."""
    is_confirmed: bool
    entered: Entered
    """Its row of the ledger: the index has to follow up to there."""


class Filing:
    """Files reports with the means of the desk, and answers them by `replies`."""

    def __init__(self, vault: Vault, replies: Replies, country_code: str) -> None:
        self._vault = vault
        self.replies = replies
        self._country_code = country_code

    def file(self, transaction: Transaction, heard: Heard, decided: Decided) -> Filed:
        """Take a report in, or find it as one that was taken in before."""
        return self.copy(transaction, heard) or self._new(transaction, heard, decided)

    def copy(self, transaction: Transaction, heard: Heard) -> Filed | None:
        """Find a message as one that was taken in before, and count the copy."""
        customer = self.customer(transaction, heard)
        known = _known(transaction, customer, self.fingerprint(customer, heard))
        return None if known is None else self._copied(transaction, known, heard)

    def fingerprint(self, customer: str, heard: Heard) -> str:
        """Return what tells a customer's message from others, and says nothing of it."""
        return self._vault.fingerprint(customer.encode() + b"|" + heard.key)

    def _copied(self, transaction: Transaction, known: Row[Any], heard: Heard) -> Filed:
        """The same again: counted as a copy, and nothing else happens to it."""
        transaction.connection.execute(
            update(report).where(report.c.id == known.id).values(copies=known.copies + 1)
        )
        _join(transaction, heard.parts, known.id)
        is_late = (
            known.confirmed_at is not None and transaction.now - known.confirmed_at > REDELIVERY_US
        )
        target = _target(transaction, known)
        is_blocked = target is not None and (
            blocks.live(transaction, known.customer, target) is not None
        )
        entered = transaction.enter(
            "report copied",
            heard.by or by_sms(known.customer),
            object=f"report:{known.id}",
            case_id=_said(known.case_id),
            customer_id=known.customer,
            detail={"copies": known.copies + 1},
            touches=[(report, known.id)],
        )
        return Filed(
            report=known.id,
            customer=known.customer,
            state=known.state,
            target=target,
            is_copy=True,
            must_follow=True,
            was_blocked=is_blocked and is_late,
            is_confirmed=known.confirmed_at is not None,
            entered=entered,
        )

    def _new(
        self,
        transaction: Transaction,
        heard: Heard,
        decided: Decided,
    ) -> Filed:
        customer = self.customer(transaction, heard)
        asked = _asked(transaction, customer) if decided.completes else None
        text = decided.text if asked is None else self._text(asked)
        new = self._insert(transaction, customer, heard, replace(decided, text=text))
        _join(transaction, heard.parts, new)
        targets = self._targets(transaction, decided)
        case, is_merged = _case(transaction, customer, decided.state, targets, asked)
        put = [
            blocks.put(transaction, customer, target, "report", report=new, case_id=case)
            for target in targets
        ]
        is_confirmed = not put
        transaction.connection.execute(
            update(report)
            .where(report.c.id == new)
            .values(case_id=case, confirmed_at=transaction.now if is_confirmed else None)
        )
        reply = Outcome.REPEATED if is_merged else decided.reply
        told = new if asked is None else asked.id
        is_answered = self.answer(
            transaction, new, customer, reply, number=told, release=is_confirmed
        )
        touches: list[tuple[Table, Any]] = [(report, new)]
        if case is not None:
            touches.append((case_file, case))
        for each in put:
            touches += each.touched
        detail = {
            "channel": heard.channel,
            "state": decided.state,
            "match": decided.match_kind,
            "targets": list(targets),
            "source": decided.source,
            "blocks": [each.id for each in put if each.is_new],
            "reply": reply.value if is_answered else None,
            "complete": heard.complete,
            "merged": is_merged,
        }
        entered = transaction.enter(
            "report taken",
            heard.by or by_sms(customer),
            object=f"report:{new}",
            case_id=_said(case),
            customer_id=customer,
            detail=detail,
            touches=touches,
        )
        return Filed(
            report=new,
            customer=customer,
            state=decided.state,
            target=targets[0] if targets else None,
            is_copy=False,
            must_follow=bool(put),
            was_blocked=bool(put) and not any(each.is_new for each in put),
            is_confirmed=is_confirmed,
            entered=entered,
        )

    def customer(self, transaction: Transaction, heard: Heard) -> str:
        """Return the id of whoever sent a message."""
        return self._vault.customer(transaction, heard.reporter)

    def ordered(
        self,
        transaction: Transaction,
        heard: Heard,
        decided: Decided,
        *,
        action: str,
        about: Row[Any],
        touches: list[tuple[Table, Any]],
        detail: dict[str, Any],
    ) -> Filed:
        """Keep an order about an earlier report; its answer waits until the index has followed."""
        customer = self.customer(transaction, heard)
        new = self._insert(transaction, customer, heard, decided)
        _join(transaction, heard.parts, new)
        transaction.connection.execute(
            update(report).where(report.c.id == new).values(case_id=about.case_id)
        )
        self.answer(transaction, new, customer, decided.reply, number=about.id, release=False)
        entered = transaction.enter(
            action,
            heard.by or by_sms(customer),
            object=f"report:{about.id}",
            case_id=_said(about.case_id),
            customer_id=customer,
            detail={"message": new, **detail},
            touches=[(report, new), *touches],
        )
        return Filed(
            report=new,
            customer=customer,
            state=decided.state,
            target=None,
            is_copy=False,
            must_follow=True,
            was_blocked=False,
            is_confirmed=False,
            entered=entered,
        )

    def _insert(
        self,
        transaction: Transaction,
        customer: str,
        heard: Heard,
        decided: Decided,
    ) -> int:
        source_customer = None
        if decided.source_customer is not None:
            source_customer = self._vault.customer(transaction, decided.source_customer)
        new: int = transaction.connection.execute(
            insert(report)
            .values(
                channel=heard.channel,
                customer=customer,
                fingerprint=self.fingerprint(customer, heard),
                copies=1,
                received_at=transaction.now,
                reported_norm=decided.source,
                reported_customer=source_customer,
                complete=heard.complete,
                counted=_counts(transaction, customer),
                state=decided.state,
                match_kind=decided.match_kind,
                evidence=decided.evidence,
                changed_seq=0,
            )
            .returning(report.c.id)
        ).scalar_one()
        transaction.connection.execute(
            update(report)
            .where(report.c.id == new)
            .values(
                raw_enc=self._vault.close(heard.raw, "report", "raw_enc", new),
                text_enc=self._vault.close(decided.text.encode(), "report", "text_enc", new),
            )
        )
        return new

    def _targets(self, transaction: Transaction, decided: Decided) -> tuple[str, ...]:
        if decided.company is not None:
            return (decided.company,)
        return tuple(
            blocks.source_target(transaction, self._vault, source, self._country_code)
            for source in decided.sources
        )

    def _text(self, asked: Row[Any]) -> str:
        return self._vault.open(asked.text_enc, "report", "text_enc", asked.id).decode()

    def answer(
        self,
        transaction: Transaction,
        report_id: int,
        customer: str,
        reply: Outcome,
        *,
        number: int | None = None,
        result: str = "",
        release: bool,
    ) -> bool:
        """Have a reply sent; one that is not released waits for `confirm`.

        `number` is the report whose number the customer is told; the same one by default. False:
        nothing is sent, as enough nonsense was answered today.
        """
        if reply is Outcome.NONSENSE and _answered(transaction, customer, reply):
            return False
        text = self.replies.text(reply, id=ids.spell(number or report_id), result=result)
        new: int = transaction.connection.execute(
            insert(sms_out)
            .values(
                report=report_id,
                kind=reply.value,
                n=1 + _count(transaction, report_id, reply),
                customer=customer,
                text_enc=b"",
                state="queued" if release else "held",
                attempts=0,
                maybe_twice=False,
                created_at=transaction.now,
                next_at=transaction.now if release else None,
            )
            .returning(sms_out.c.id)
        ).scalar_one()
        transaction.connection.execute(
            update(sms_out)
            .where(sms_out.c.id == new)
            .values(text_enc=self._vault.close(text.encode(), "sms_out", "text_enc", new))
        )
        return True


def confirm(transaction: Transaction, reports: Sequence[int]) -> int:
    """What reports asked for is in force: release their answers. Those done before are left out."""
    fresh = transaction.connection.scalars(
        update(report)
        .where(report.c.id.in_(reports), report.c.confirmed_at.is_(None))
        .values(confirmed_at=transaction.now)
        .returning(report.c.id)
    ).all()
    if not fresh:
        return 0
    transaction.connection.execute(
        update(sms_out)
        .where(sms_out.c.report.in_(fresh), sms_out.c.state == "held")
        .values(state="queued", next_at=transaction.now)
    )
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


def _known(transaction: Transaction, customer: str, fingerprint: str) -> Row[Any] | None:
    """The same report within 24 h, unless it is done with."""
    return transaction.connection.execute(
        select(report)
        .where(
            report.c.fingerprint == fingerprint,
            report.c.customer == customer,
            report.c.received_at > transaction.now - DAY_US,
            report.c.state.not_in(DONE_WITH),
        )
        .order_by(report.c.id.desc())
        .limit(1)
    ).first()


def _asked(transaction: Transaction, customer: str) -> Row[Any] | None:
    """The text for which this customer was asked for the number, within 24 h."""
    found = transaction.connection.execute(
        select(report)
        .where(
            report.c.customer == customer,
            report.c.state == "needs_info",
            report.c.received_at > transaction.now - DAY_US,
        )
        .order_by(report.c.id.desc())
        .limit(1)
    ).first()
    if found is not None:
        transaction.connection.execute(
            update(report).where(report.c.id == found.id).values(state="joined")
        )
    return found


def _case(
    transaction: Transaction,
    customer: str,
    state: str,
    targets: Sequence[str],
    asked: Row[Any] | None,
) -> tuple[int | None, bool]:
    """The case of a report, and whether it was open before for the same sender."""
    if state in WITHOUT_CASE:
        return None, False
    connection = transaction.connection
    target = targets[0] if targets else None
    if target is not None:
        known: int | None = connection.scalar(
            select(case_file.c.id).where(
                case_file.c.customer == customer,
                case_file.c.target == target,
                case_file.c.closed_at.is_(None),
            )
        )
        if known is not None:
            return known, True
    if asked is not None and asked.case_id is not None:
        connection.execute(
            update(case_file)
            .where(case_file.c.id == asked.case_id)
            .values(target=target, state=state)
        )
        return asked.case_id, False
    new: int = connection.execute(
        insert(case_file)
        .values(
            customer=customer,
            target=target,
            state=state,
            opened_at=transaction.now,
            due_at=transaction.now + ANSWER_WITHIN_US,
            changed_seq=0,
        )
        .returning(case_file.c.id)
    ).scalar_one()
    return new, False


def _target(transaction: Transaction, known: Row[Any]) -> str | None:
    if known.case_id is None:
        return None
    found: str | None = transaction.connection.scalar(
        select(case_file.c.target).where(case_file.c.id == known.case_id)
    )
    return found


def _join(transaction: Transaction, parts: Sequence[int], report_id: int) -> None:
    if parts:
        transaction.connection.execute(
            update(mo_part).where(mo_part.c.id.in_(parts)).values(report=report_id)
        )


def _counts(transaction: Transaction, customer: str) -> bool:
    """Whether one more report of this customer counts."""
    counted = transaction.connection.scalar(
        select(func.count())
        .select_from(report)
        .where(
            report.c.customer == customer,
            report.c.received_at > transaction.now - DAY_US,
            report.c.counted,
        )
    )
    return (counted or 0) < COUNTED_PER_DAY


def _answered(transaction: Transaction, customer: str, reply: Outcome) -> bool:
    """Whether nonsense was answered often enough today."""
    count = transaction.connection.scalar(
        select(func.count())
        .select_from(sms_out)
        .where(
            sms_out.c.customer == customer,
            sms_out.c.kind == reply.value,
            sms_out.c.created_at > transaction.now - DAY_US,
        )
    )
    return (count or 0) >= NONSENSE_ANSWERS_PER_DAY


def _count(transaction: Transaction, report_id: int, reply: Outcome) -> int:
    """How many such replies there are to a report."""
    query = (
        select(func.count())
        .select_from(sms_out)
        .where(sms_out.c.report == report_id, sms_out.c.kind == reply.value)
    )
    return transaction.connection.scalar(query) or 0


def _said(case: int | None) -> str | None:
    return None if case is None else str(case)
