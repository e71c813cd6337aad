"""People who work on the cases of a bureau, and what the SMSC says of the answers.

They act by the transactions of cases/work.py, as the API has them do.
"""

from collections.abc import Callable
from typing import Any

from sqlalchemy import insert, update

from smsfilter.cases import work
from smsfilter.cases.work import Worker
from smsfilter.flow.branches import Branch, Branches
from smsfilter.flow.case import Outcome
from smsfilter.ledger.actor import Actor, system
from smsfilter.reports.answers import Answers
from smsfilter.reports.replies import Replies
from smsfilter.reports.results import close_unreceipted
from smsfilter.reports.sms import Delivered
from smsfilter.store.schema import case_file, staff
from smsfilter.store.transaction import Transaction
from tests.fakes.bureau import Bureau
from tests.fakes.handset import GSM

TREE = Branches([Branch("north", "North"), Branch("coast", "Coast", parent="north")])
PEOPLE = {
    "li": ("clerk", "hq"),
    "bo": ("clerk", "hq"),
    "ma": ("clerk", "north"),
    "co": ("clerk", "coast"),
    "su": ("supervisor", "hq"),
    "au": ("auditor", "hq"),
}
"""Who they are, and where."""


class Caseworkers:
    """The people of a bureau."""

    def __init__(self, bureau: Bureau) -> None:
        self.bureau = bureau
        self.answers = Answers(bureau.vault, Replies.model_validate({}))
        self.do(_hire)

    def worker(self, name: str) -> Worker:
        """Somebody, as the API knows them."""
        role, branch = PEOPLE[name]
        by = Actor(f"staff:{name}", role, "socket")
        leads = role in ("supervisor", "headquarters")
        return Worker(by, name, TREE.within(branch), leads)

    def do(self, step: Callable[[Transaction], Any]) -> Any:
        """Do something in one transaction."""
        return self.bureau.writer.submit(step).result()

    def take(self, case: int, who: str) -> Any:
        """Somebody begins to work on a case."""
        return self.do(lambda into: work.take(into, case, self.worker(who)))

    def assign(self, case: int, to: str, by: str = "su") -> Any:
        """A case is given to somebody."""
        return self.do(lambda into: work.assign(into, case, to, self.worker(by), TREE))

    def decide(self, case: int, who: str, outcome: Outcome = Outcome.NOT_SPAM) -> Any:
        """Somebody says what it has come to."""
        return self.do(lambda into: work.decide(into, case, outcome, "looked", self.worker(who)))

    def reply(self, case: int, who: str, text: str | None = None) -> Any:
        """Somebody has the customer told."""
        return self.do(lambda into: work.reply(into, case, self.answers, self.worker(who), text))

    def tell(self, case: int, who: str) -> Any:
        """Somebody has told the customer by phone."""
        return self.do(lambda into: work.tell_otherwise(into, case, "by phone", self.worker(who)))

    def reopen(self, case: int, who: str = "su") -> Any:
        """A case is to be looked at again."""
        return self.do(lambda into: work.reopen(into, case, "wrong", self.worker(who)))

    def swept(self) -> int:
        """Have cases closed whose receipt never came."""
        done: int = self.do(lambda into: close_unreceipted(into, 100))
        return done

    def answered(self, case: int, who: str, outcome: Outcome = Outcome.NOT_SPAM) -> None:
        """Somebody takes a case, decides it and has the customer told."""
        self.take(case, who)
        self.decide(case, who, outcome)
        self.reply(case, who)

    def moved(self, case: int, branch: str) -> None:
        """A case is of another branch."""

        def step(transaction: Transaction) -> None:
            which = case_file.c.id == case
            transaction.connection.execute(update(case_file).where(which).values(branch=branch))

        self.do(step)

    def case(self, case: int = 1) -> Any:
        """The case as it is."""
        return next(each for each in self.bureau.cases if each.id == case)

    def receipt(self, number: str, message_id: str, stat: str = "DELIVRD") -> Delivered:
        """What the SMSC says of an SMS."""
        text = f"id:{message_id} sub:001 dlvrd:001 stat:{stat} err:000 text:"
        return self.bureau.message(number, text.encode(), GSM, esm_class=0x04)


def _hire(transaction: Transaction) -> None:
    for name, (role, branch) in PEOPLE.items():
        transaction.connection.execute(
            insert(staff).values(
                id=name,
                person=f"p-{name}",
                name=name,
                branch=branch,
                roles=role,
                state="active",
                added_by="test",
                added_at=transaction.now,
                changed_seq=0,
            )
        )
    transaction.enter("staff hired", system("test"))
