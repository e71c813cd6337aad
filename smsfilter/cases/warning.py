"""Warnings of the clock, written down: whom they go to, the SMS, and what a webhook is told.

Each is told to each person once; what one look finds for one person is one SMS with the count.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import insert, select, update

from smsfilter.desk.vault import Vault
from smsfilter.flow.clock import Warned
from smsfilter.ledger.actor import system
from smsfilter.reports.replies import Replies
from smsfilter.store.schema import hook_out, sms_out, staff, warning
from smsfilter.store.transaction import Transaction

BY: Final = system("clock")


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing that is warned of."""

    kind: Warned
    about: str
    """`case:12`, or `day:2026-11-27`."""
    round: int
    staff: Sequence[str]
    """Who is told."""
    told: Mapping[str, Any]
    """What a webhook is told: no number of anybody."""
    case: int | None = None
    customer: str | None = None
    words: Mapping[str, int] | None = None
    """What stands in the SMS, where it is not the count of cases."""


class Warnings:
    """Writes warnings down, with what is sent of them."""

    def __init__(self, vault: Vault, replies: Replies, *, hooked: bool) -> None:
        self._vault = vault
        self.replies = replies
        self._hooked = hooked

    def write(self, transaction: Transaction, notices: Iterable[Notice]) -> int:
        """Write down what was not before; how many things were warned of."""
        new: dict[tuple[Warned, str], list[Notice]] = defaultdict(list)
        fresh: list[Notice] = []
        for notice in notices:
            for person in self._untold(transaction, notice):
                new[notice.kind, person].append(notice)
                if notice not in fresh:
                    fresh.append(notice)
        for (kind, person), some in new.items():
            sms = self._sms(transaction, kind, person, some)
            rows = [
                {
                    "kind": kind.value,
                    "about": each.about,
                    "round": each.round,
                    "staff": person,
                    "at": transaction.now,
                    "sms_out": sms,
                }
                for each in some
            ]
            transaction.connection.execute(insert(warning), rows)
        for notice in fresh:
            self._enter(transaction, notice)
        return len(fresh)

    def _untold(self, transaction: Transaction, notice: Notice) -> list[str]:
        query = select(warning.c.staff).where(
            warning.c.about == notice.about,
            warning.c.kind == notice.kind.value,
            warning.c.round == notice.round,
        )
        told = set(transaction.connection.scalars(query))
        return [person for person in notice.staff if person not in told]

    def _sms(
        self, transaction: Transaction, kind: Warned, person: str, some: Sequence[Notice]
    ) -> int | None:
        """Have a person told by SMS; None where no number of theirs is known."""
        connection = transaction.connection
        if connection.scalar(select(staff.c.phone_enc).where(staff.c.id == person)) is None:
            return None
        words = some[0].words or {"count": len(some)}
        text = self.replies.staff.text(kind, case=some[0].case, **words)
        written = {
            "kind": f"staff_{kind.value}",
            "n": 1,
            "staff": person,
            "case_id": some[0].case if len(some) == 1 else None,
            "text_enc": b"",
            "state": "queued",
            "attempts": 0,
            "maybe_twice": False,
            "created_at": transaction.now,
            "next_at": transaction.now,
        }
        new: int = connection.execute(insert(sms_out).returning(sms_out.c.id), written).scalar_one()
        sealed = self._vault.close(text.encode(), "sms_out", "text_enc", new)
        connection.execute(update(sms_out).where(sms_out.c.id == new).values(text_enc=sealed))
        return new

    def _enter(self, transaction: Transaction, notice: Notice) -> None:
        if self._hooked:
            self._hook(transaction, notice)
        transaction.enter(
            "warning given",
            BY,
            object=notice.about,
            case_id=notice.case,
            customer_id=notice.customer,
            detail={"kind": notice.kind.value, "staff": list(notice.staff), "round": notice.round},
        )

    def _hook(self, transaction: Transaction, notice: Notice) -> None:
        connection = transaction.connection
        same = select(hook_out.c.id).where(
            hook_out.c.kind == notice.kind.value,
            hook_out.c.about == notice.about,
            hook_out.c.round == notice.round,
        )
        if connection.scalar(same) is not None:
            return  # told before, when somebody else was warned
        body = {"kind": notice.kind.value, "about": notice.about, "at": transaction.now}
        connection.execute(
            insert(hook_out).values(
                kind=notice.kind.value,
                about=notice.about,
                round=notice.round,
                body=json.dumps(body | dict(notice.told), ensure_ascii=False, sort_keys=True),
                state="queued",
                attempts=0,
                created_at=transaction.now,
                next_at=transaction.now,
            )
        )
