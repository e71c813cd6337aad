"""Filing of what a customer sent: one transaction with report, case, block, answer and ledger row.

The steps run in the writer's thread, so nothing can come between them. A block that was put here
is not in force yet: `confirm` follows once the index has it, and only then is the answer to the
customer released and the SMSC told ESME_ROK. What needs no block is confirmed in the same step.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Row, Table, bindparam, select, update

from smsfilter.desk import blocks
from smsfilter.desk.company import survivor
from smsfilter.desk.office import Office
from smsfilter.desk.vault import Vault
from smsfilter.ledger.actor import by_sms, system
from smsfilter.reports import cases
from smsfilter.reports.answers import DAY_US, Answers, confirm, unconfirmed
from smsfilter.reports.cases import WITHOUT_CASE
from smsfilter.reports.heard import Decided, Filed, Heard
from smsfilter.reports.replies import Outcome, Replies, load_replies
from smsfilter.reports.report_rows import ReportRows
from smsfilter.store.schema import case_file, report
from smsfilter.store.transaction import Entered, Transaction

__all__ = ["DAY_US", "Decided", "Filed", "Filing", "Heard", "confirm", "unconfirmed"]

REDELIVERY_US: Final = 5 * 60 * 1_000_000
"""A copy within so long of our ROK is the SMSC's own; a later one the customer has sent."""
DONE_WITH: Final = ("withdrawn", "lifted")
"""States in which a report has no effect any more: the same text is a new one."""
_SAID_AGAIN: Final = {
    "needs_info": Outcome.ASK_NUMBER,
    "never_block": Outcome.NEVER_BLOCK,
    "nonsense": Outcome.NONSENSE,
}
"""What a customer is told who sends the same once more; REPEATED where there is a case."""

_KNOWN: Final = (
    select(report)
    .where(
        report.c.fingerprint == bindparam("fingerprint"),
        report.c.customer == bindparam("of"),
        report.c.received_at > bindparam("since"),
        report.c.state.not_in(DONE_WITH),
    )
    .order_by(report.c.id.desc())
    .limit(1)
)
_DONE: Final = (
    update(report)
    .where(report.c.id == bindparam("row"))
    .values(case_id=bindparam("of"), confirmed_at=bindparam("at"), told_at=bindparam("at"))
)


@dataclass(frozen=True, slots=True)
class _Acted:
    """What was done about the sender that a report names."""

    case: int | None
    put: Sequence[blocks.Put] = ()
    is_merged: bool = False
    """The case was open before."""

    @property
    def blocks(self) -> list[int]:
        """The blocks that were not there before."""
        return [each.id for each in self.put if each.is_new]

    @property
    def touched(self) -> list[tuple[Table, Any]]:
        """The rows that were changed."""
        touched: list[tuple[Table, Any]] = [] if self.case is None else [(case_file, self.case)]
        for each in self.put:
            touched += each.touched
        return touched


class Filing:
    """Files reports with the means of the desk."""

    def __init__(
        self,
        vault: Vault,
        replies: Replies,
        country_code: str,
        answer_within_us: int = cases.ANSWER_WITHIN_US,
    ) -> None:
        self._vault = vault
        self._answer_within_us = answer_within_us
        self._country_code = country_code
        self.rows = ReportRows(vault, country_code)
        self.answers = Answers(vault, replies)
        self.answer = self.answers.give
        self.fingerprint = self.rows.fingerprint

    @classmethod
    def of(cls, office: Office) -> "Filing":
        """Return what files with the means of a desk. Raises ConfigError."""
        desk = office.config.desk
        assert desk is not None  # noqa: S101 - the desk does not start without it
        return cls(
            office.vault,
            load_replies(desk.replies),
            office.policy.country_code,
            desk.deadlines.reply // timedelta(microseconds=1),
        )

    @property
    def replies(self) -> Replies:
        """The texts of the answers; those that are not written yet follow a change."""
        return self.answers.replies

    @replies.setter
    def replies(self, replies: Replies) -> None:
        self.answers.replies = replies

    def file(self, transaction: Transaction, heard: Heard, decided: Decided) -> Filed:
        """Take a report in, or find it as one that was taken in before."""
        customer = self.customer(transaction, heard)
        known = self._known(transaction, customer, heard)
        if known is not None and not (
            decided.completes
            and _is_late(transaction, known)
            and _asked(transaction, customer) is not None  # the number to another text
        ):
            return self._copied(transaction, known, heard)
        return self.new(transaction, customer, heard, decided)

    def redelivered(self, transaction: Transaction, customer: str, heard: Heard) -> Filed | None:
        """Find an order as one that was kept before: later ones are orders of their own."""
        known = self._known(transaction, customer, heard)
        if known is None or _is_late(transaction, known):
            return None
        return self._copied(transaction, known, heard)

    def customer(self, transaction: Transaction, heard: Heard) -> str:
        """Return the id of whoever sent a message."""
        return self._vault.customer(transaction, heard.reporter)

    # --- the same again

    def _known(self, transaction: Transaction, customer: str, heard: Heard) -> Row[Any] | None:
        """The same report within 24 h, unless it is done with."""
        asked = {
            "of": customer,
            "fingerprint": self.fingerprint(customer, heard),
            "since": transaction.now - DAY_US,
        }
        return transaction.connection.execute(_KNOWN, asked).first()

    def _copied(self, transaction: Transaction, known: Row[Any], heard: Heard) -> Filed:
        """The same again: counted as a copy; nothing but an answer comes of what was sent again."""
        copies = known.copies + 1
        is_confirmed = known.confirmed_at is not None
        told_at = known.told_at or (transaction.now if is_confirmed else None)
        transaction.connection.execute(
            update(report).where(report.c.id == known.id).values(copies=copies, told_at=told_at)
        )
        self.rows.add_parts(transaction, known, heard)
        target = cases.target_of(transaction, known.case_id)
        live = None if target is None else blocks.live(transaction, known.customer, target)
        is_late = _is_late(transaction, known)
        reply = self._say_again(transaction, known) if is_late else None
        entered = transaction.enter(
            "report copied",
            heard.by or by_sms(known.customer),
            object=f"report:{known.id}",
            case_id=known.case_id,
            customer_id=known.customer,
            detail={"copies": copies, "late": is_late, "reply": reply},
            touches=[(report, known.id)],
        )
        return Filed(
            report=known.id,
            customer=known.customer,
            state=known.state,
            target=target,
            is_copy=True,
            must_follow=not is_confirmed and known.state not in cases.ORDERS,
            was_blocked=live is not None and is_late,
            is_confirmed=is_confirmed,
            entered=entered,
        )

    def _say_again(self, transaction: Transaction, known: Row[Any]) -> str | None:
        reply = _SAID_AGAIN.get(known.state, Outcome.REPEATED)
        number = None
        if reply is Outcome.REPEATED and known.case_id is not None:
            number = cases.first_report(transaction, known.case_id)
        is_told = self.answer(
            transaction, known.id, known.customer, reply, number=number, release=True
        )
        return reply.value if is_told else None

    # --- something new

    def new(self, transaction: Transaction, customer: str, heard: Heard, decided: Decided) -> Filed:
        """Take a report in."""
        asked = _asked(transaction, customer) if decided.completes else None
        text = decided.text
        if asked is not None:
            text = self._vault.open(asked.text_enc, "report", "text_enc", asked.id).decode()
        new = self.rows.insert(transaction, customer, heard, replace(decided, text=text))
        acted = self._act(transaction, customer, new, decided, asked and asked.case_id)
        done_at = None if acted.put else transaction.now
        transaction.connection.execute(_DONE, {"row": new, "of": acted.case, "at": done_at})
        if asked is not None:
            transaction.connection.execute(
                update(report)
                .where(report.c.id == asked.id)
                .values(state="joined", case_id=acted.case)
            )
        reply = self._answer(
            transaction,
            new,
            customer,
            decided,
            acted,
            told=new if asked is None else asked.id,
            is_first=True,
        )
        entered = transaction.enter(
            "report taken",
            heard.by or by_sms(customer),
            object=f"report:{new}",
            case_id=acted.case,
            customer_id=customer,
            detail={
                "channel": heard.channel,
                "complete": heard.complete,
                "joined": asked and asked.id,
                **_told(decided, acted),
                "reply": reply,
            },
            touches=[
                (report, new),
                *([(report, asked.id)] if asked is not None else []),
                *acted.touched,
            ],
        )
        return _filed(new, customer, decided, acted, entered)

    def matched(self, transaction: Transaction, report_id: int, decided: Decided) -> Filed | None:
        """It is known by now whom a report names; None where it was withdrawn, or known before."""
        query = select(report).where(report.c.id == report_id, report.c.state == "unmatched")
        found = transaction.connection.execute(query).one_or_none()
        if found is None:
            return None
        acted = self._act(transaction, found.customer, found.id, decided, found.case_id)
        transaction.connection.execute(
            update(report)
            .where(report.c.id == found.id)
            .values(
                state=decided.state,
                match_kind=decided.match_kind,
                evidence=decided.evidence,
                case_id=acted.case,
                confirmed_at=None if acted.put else found.confirmed_at,
            )
        )
        reply = self._answer(transaction, found.id, found.customer, decided, acted, told=found.id)
        entered = transaction.enter(
            "report matched",
            system("matching"),
            object=f"report:{found.id}",
            case_id=acted.case,
            customer_id=found.customer,
            detail={**_told(decided, acted), "reply": reply},
            touches=[(report, found.id), *acted.touched],
        )
        return _filed(found.id, found.customer, decided, acted, entered)

    def _act(
        self,
        transaction: Transaction,
        customer: str,
        report_id: int,
        decided: Decided,
        own: int | None,
    ) -> _Acted:
        """Put the blocks that a report asks for, and find the case that it belongs to."""
        if decided.state in WITHOUT_CASE:
            return _Acted(None)
        targets = self._targets(transaction, decided)
        about = (*targets, *self._about(transaction, decided))
        case, is_merged = cases.take(
            transaction, customer, about, own, within_us=self._answer_within_us
        )
        put = [
            blocks.put(transaction, customer, target, "report", report=report_id, case_id=case)
            for target in targets
        ]
        if is_merged and any(each.is_new for each in put):
            cases.point(transaction, case, about)
        return _Acted(case, put, is_merged)

    def _targets(self, transaction: Transaction, decided: Decided) -> tuple[str, ...]:
        """What is to be blocked."""
        if decided.company is not None:
            return (survivor(transaction.connection, decided.company),)
        return tuple(
            blocks.source_target(transaction, self._vault, source, self._country_code)
            for source in decided.sources
        )

    def _about(self, transaction: Transaction, decided: Decided) -> tuple[str, ...]:
        """What was reported, as a target: two reports of it belong together."""
        if decided.source_customer is not None:
            return (blocks.SUBSCRIBER + self._vault.customer(transaction, decided.source_customer),)
        return () if decided.source is None else (blocks.SOURCE + decided.source,)

    def _answer(
        self,
        transaction: Transaction,
        report_id: int,
        customer: str,
        decided: Decided,
        acted: _Acted,
        *,
        told: int,
        is_first: bool = False,
    ) -> str | None:
        """Tell the customer what was done, by the number `told`; what kind of answer it is."""
        reply, number = decided.reply, told
        if acted.case is not None and acted.is_merged and not acted.blocks:
            reply, number = Outcome.REPEATED, cases.first_report(transaction, acted.case) or number
        is_told = self.answer(
            transaction,
            report_id,
            customer,
            reply,
            number=number,
            release=not acted.put,
            is_first=is_first,
        )
        return reply.value if is_told else None


def _filed(
    report_id: int, customer: str, decided: Decided, acted: _Acted, entered: Entered
) -> Filed:
    return Filed(
        report=report_id,
        customer=customer,
        state=decided.state,
        target=acted.put[0].target if acted.put else None,
        is_copy=False,
        must_follow=bool(acted.put),
        was_blocked=bool(acted.put) and not acted.blocks,
        is_confirmed=not acted.put,
        entered=entered,
    )


def _told(decided: Decided, acted: _Acted) -> dict[str, Any]:
    """What the ledger says of a report.

    A source that is not blocked is whatever the customer wrote, and may be about somebody.
    """
    return {
        "state": decided.state,
        "match": decided.match_kind,
        "source": decided.source if acted.put else None,
        "targets": [each.target for each in acted.put],
        "blocks": acted.blocks,
        "merged": acted.is_merged,
    }


def _is_late(transaction: Transaction, known: Row[Any]) -> bool:
    """Whether the SMSC was told so long ago that the customer must have sent it again."""
    return known.told_at is not None and transaction.now - known.told_at > REDELIVERY_US


def _asked(transaction: Transaction, customer: str) -> Row[Any] | None:
    """The text for which this customer was asked for the number, within 24 h."""
    return transaction.connection.execute(
        select(report)
        .where(
            report.c.customer == customer,
            report.c.state == "needs_info",
            report.c.received_at > transaction.now - DAY_US,
        )
        .order_by(report.c.id.desc())
        .limit(1)
    ).first()
