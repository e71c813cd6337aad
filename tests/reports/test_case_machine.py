"""Cases worked on in any order, with an SMSC that is not always well and a desk that is killed.

A model of a few lines holds what must be so: nothing happens to a case that the table does not
have, each round is decided by another person, no round is answered twice, and an answer counts for
its own round only.
"""

import asyncio
import tempfile
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from smsfilter.cases.work import CaseError
from smsfilter.flow.case import OPEN, TABLE, NotAllowed, Outcome, State
from smsfilter.reports.outbox import PAUSES_S
from smsfilter.reports.results import RECEIPT_WITHIN_US
from smsfilter.reports.sms import Answer, NoAnswer
from smsfilter.smpp.const import ESME_RINVDSTADR, ESME_ROK, ESME_RTHROTTLED
from smsfilter.store.records import Records
from smsfilter.store.schema import decision
from tests.fakes.bureau import ANNA, BERT, SECOND, Bureau
from tests.fakes.caseworkers import Caseworkers
from tests.fakes.fresh import FreshFile

NUMBERS = {1: ANNA, 2: BERT}
CASES = st.sampled_from(sorted(NUMBERS))
CLERKS = st.sampled_from(["li", "bo", "su"])
REACHED = {state: set(TABLE[state].values()) for state in TABLE}
STEPS_MOST = 2
"""Accepted, and its receipt was there already."""
_FRESH: dict[str, FreshFile] = {}


def fresh(folder: Path) -> Records:
    """Records without a row, made from a template that was migrated once."""
    if not _FRESH:
        _FRESH["file"] = FreshFile(Path(tempfile.mkdtemp()))
    return Records(_FRESH["file"].copy(folder / "records.db"))


def reachable(first: str) -> set[State]:
    """What a case may have come to by the few steps of the table that one rule can bring about."""
    found = {State(first)}
    for _ in range(STEPS_MOST):
        found |= {follows for state in found for follows in REACHED[state]}
    return found


class CaseMachine(RuleBasedStateMachine):
    """Two customers, each with one case."""

    @initialize()
    def opened(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.loop = asyncio.new_event_loop()
        self.bureau = Bureau(fresh(Path(self.folder.name)))
        self.bureau.register()
        self.workers = Caseworkers(self.bureau)
        for number in NUMBERS.values():
            self.run(self.bureau.says(number, "10657555*您中奖了"))
        self.run(self.bureau.sends())
        self.names = iter(range(1, 1 << 20))
        self.before = {each.id: each.state for each in self.bureau.cases}

    def teardown(self) -> None:
        if hasattr(self, "bureau"):
            self.bureau.close()
            self.bureau.records.close()
            self.loop.close()
            self.folder.cleanup()

    def run(self, work):
        return self.loop.run_until_complete(work)

    def tried(self, step, *given) -> bool:
        """Whether somebody could do it; where not, nothing has changed."""
        before = (self.bureau.cases, self.bureau.sms, len(self.bureau.acts()))
        try:
            step(*given)
        except (CaseError, NotAllowed):
            assert (self.bureau.cases, self.bureau.sms, len(self.bureau.acts())) == before
            return False
        return True

    # people

    @rule(case=CASES, who=CLERKS)
    def take(self, case: int, who: str) -> None:
        row = self.workers.case(case)
        own = row.owner in (None, who)
        decided = {each.by for each in self.bureau.rows(decision) if each.case_id == case}
        can = own and row.state in ("new", "assigned", "reopened") and f"staff:{who}" not in decided
        can = can or (row.owner == who and row.state == "investigating")
        assert self.tried(self.workers.take, case, who) == can

    @rule(case=CASES, who=CLERKS)
    def assign(self, case: int, who: str) -> None:
        decided = {each.by for each in self.bureau.rows(decision) if each.case_id == case}
        state = self.workers.case(case).state
        can = state in OPEN and (state == "decided" or f"staff:{who}" not in decided)
        assert self.tried(self.workers.assign, case, who) == can

    @rule(case=CASES, who=CLERKS, outcome=st.sampled_from(list(Outcome)))
    def decide(self, case: int, who: str, outcome: Outcome) -> None:
        row = self.workers.case(case)
        can = row.state == "investigating" and row.owner == who
        assert self.tried(self.workers.decide, case, who, outcome) == can

    @rule(case=CASES, who=CLERKS, phone=st.booleans())
    def reply(self, case: int, who: str, phone: bool) -> None:
        row = self.workers.case(case)
        waits = row.state == "decided" and (row.reply_sms is None or row.reply_failed)
        can = waits and who in (row.owner, "su")
        step = self.workers.tell if phone else self.workers.reply
        assert self.tried(step, case, who) == can

    @rule(case=CASES)
    def reopen(self, case: int) -> None:
        can = self.workers.case(case).state in ("decided", "replied", "closed")
        assert self.tried(self.workers.reopen, case) == can

    # the customer

    @rule(case=CASES)
    def appeal(self, case: int) -> None:
        self.run(self.bureau.says(NUMBERS[case], "申诉"))

    # the SMSC and the clock

    @rule(how=st.sampled_from(["accepted", "throttled", "refused", "silent"]))
    def sent(self, how: str) -> None:
        def answer() -> Answer | Exception:
            return {
                "accepted": Answer(ESME_ROK, f"m{next(self.names)}".encode()),
                "throttled": Answer(ESME_RTHROTTLED, b""),
                "refused": Answer(ESME_RINVDSTADR, b""),
                "silent": NoAnswer(),
            }[how]

        self.bureau.centre.answers = [answer() for _ in range(20)]
        self.run(self.bureau.sends())
        self.bureau.centre.answers = []

    @rule(data=st.data(), stat=st.sampled_from(["DELIVRD", "UNDELIV", "EXPIRED", "ENROUTE"]))
    def receipt(self, data: st.DataObject, stat: str) -> None:
        sent = [each for each in self.bureau.sms if each.message_id is not None]
        if sent:
            sms = data.draw(st.sampled_from(sent))
            numbers = {each.customer: NUMBERS[each.id] for each in self.bureau.cases}
            message = self.workers.receipt(numbers[sms.customer], sms.message_id, stat)
            self.run(self.bureau.takes(message))

    @rule(of=st.sampled_from([SECOND, PAUSES_S[-1] * SECOND, RECEIPT_WITHIN_US]))
    def later(self, of: int) -> None:
        self.bureau.later(of)
        self.workers.swept()

    # the desk

    @rule()
    def restarted(self) -> None:
        self.bureau.reopen()

    @precondition(lambda self: any(each.state == "queued" for each in self.bureau.sms))
    @rule()
    def killed_while_an_sms_was_sent(self) -> None:
        async def begun() -> None:
            never = asyncio.get_running_loop().create_future()
            self.bureau.centre.answers = [never] * 20
            await self.bureau.outbox.look()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
            await asyncio.sleep(0)
            self.bureau.centre.answers = []

        self.run(begun())
        self.bureau.reopen()

    # what must be so

    @invariant()
    def nothing_happens_that_the_table_does_not_have(self) -> None:
        if not hasattr(self, "bureau"):
            return
        for row in self.bureau.cases:
            assert row.state in reachable(self.before[row.id])
            self.before[row.id] = row.state
            assert (row.closed_at is None) == (row.state in OPEN)
            assert (row.owner is None) == (row.state in ("new", "reopened")) or row.closed_at
            assert (row.replied_at is not None) == (row.state in ("replied", "closed"))
            assert (row.outcome is not None) == (row.state in ("decided", "replied", "closed"))

    @invariant()
    def each_round_is_decided_once_by_another_person(self) -> None:
        if not hasattr(self, "bureau"):
            return
        rounds = {each.id: each.round for each in self.bureau.cases}
        rows = self.bureau.rows(decision)
        assert len({(each.case_id, each.by) for each in rows}) == len(rows)
        assert all(each.round <= rounds[each.case_id] for each in rows)

    @invariant()
    def no_round_is_answered_twice(self) -> None:
        """Each answer that left after the first of a round follows one that failed."""
        if not hasattr(self, "bureau"):
            return
        acts = self.bureau.acts()
        for case in NUMBERS:
            answered = None
            for each in acts:
                if each.case_id != str(case):
                    continue
                if each.action in ("case replied", "case replied otherwise"):
                    assert answered != each.detail["round"], "answered twice"
                    answered = each.detail["round"]
                elif each.action == "case reply undelivered":
                    answered = None


CaseMachine.TestCase.settings = settings(
    max_examples=25,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestCaseMachine = CaseMachine.TestCase
