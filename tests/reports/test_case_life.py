"""A case from its report to the answer on the handset, and what may go wrong on the way."""

import asyncio

import pytest

from smsfilter.cases.work import CaseError, NoCase
from smsfilter.flow.case import NotAllowed, Outcome
from smsfilter.reports import ids
from smsfilter.reports.results import RECEIPT_WITHIN_US
from smsfilter.reports.sms import Answer, NoAnswer
from smsfilter.smpp.const import ESME_RINVDSTADR
from smsfilter.store.schema import decision, staff
from smsfilter.store.transaction import Transaction
from tests.fakes.bureau import ANNA, BERT, HOUR, SECOND, Bureau
from tests.fakes.caseworkers import Caseworkers

SPAM = "10657555*您中奖了，请回复"
UNKNOWN = "10691234*您中奖了，请回复"


@pytest.fixture
async def workers(bureau: Bureau) -> Caseworkers:
    """People, and a case that was reported by Anna and acknowledged."""
    people = Caseworkers(bureau)
    await bureau.says(ANNA, SPAM)
    await bureau.sends()
    await bureau.takes(people.receipt(ANNA, "00000001"))
    return people


def state(workers: Caseworkers, case: int = 1) -> str:
    found: str = workers.case(case).state
    return found


async def sends(workers: Caseworkers, message_id: str = "r-1") -> list[str]:
    """Have the answer sent; the SMSC names it so."""
    workers.bureau.centre.answers = [Answer(0, message_id.encode())]
    return await workers.bureau.sends()


async def test_a_case_is_taken_decided_answered_and_closed_by_the_receipt(workers):
    bureau = workers.bureau
    bureau.later(HOUR)
    assert workers.take(1, "li").assigned_at == bureau.now
    assert (state(workers), workers.case().owner) == ("investigating", "li")
    workers.decide(1, "li")
    workers.reply(1, "li")
    case = workers.case()
    assert (case.state, case.outcome, case.replied_at) == ("decided", "not_spam", None)
    bureau.later(SECOND)
    (text,) = await sends(workers)
    number = ids.spell(1)
    assert text == f"编号{number}处理结果：经核查不属于垃圾短信。如有异议请回复“申诉{number}”。"
    case = workers.case()
    assert (case.state, case.replied_at, case.closed_at) == ("replied", bureau.now, bureau.now)
    await bureau.takes(workers.receipt(ANNA, "r-1"))
    assert state(workers) == "closed"
    steps = [each.action for each in bureau.acts() if each.action.startswith("case ")]
    assert steps == [
        "case taken",
        "case decided",
        "case reply written",
        "case replied",
        "case closed",
    ]
    assert {each.case_id for each in bureau.acts() if each.action.startswith("case ")} == {"1"}
    assert bureau.in_force == {(ANNA, "acme")}  # no decision ends a block


async def test_the_receipt_may_come_before_the_answer_of_the_smsc(workers):
    bureau = workers.bureau
    workers.answered(1, "li")
    pending = asyncio.get_running_loop().create_future()
    bureau.centre.answers = [pending]
    await bureau.outbox.look()
    await bureau.takes(workers.receipt(ANNA, "123"))
    assert state(workers) == "decided"
    pending.set_result(Answer(0, b"00123"))
    await bureau.outbox.ended()
    assert state(workers) == "closed"


async def test_without_a_receipt_it_is_closed_after_72_hours(workers):
    workers.answered(1, "li")
    await sends(workers)
    workers.bureau.later(RECEIPT_WITHIN_US - 1)
    assert workers.swept() == 0
    workers.bureau.later(1)
    assert workers.swept() == 1
    assert state(workers) == "closed"
    assert workers.bureau.detail("case closed")["why"] == "no receipt"


@pytest.mark.parametrize("stat", ["UNDELIV", "EXPIRED", "REJECTD"])
async def test_what_did_not_reach_the_handset_is_told_in_another_way(workers, stat: str):
    bureau = workers.bureau
    workers.answered(1, "li")
    await sends(workers)
    await bureau.takes(workers.receipt(ANNA, "r-1", stat))
    case = workers.case()
    assert (case.state, case.reply_failed, case.owner) == ("decided", True, "li")
    assert (case.replied_at, case.closed_at) == (None, None)
    workers.tell(1, "li")
    case = workers.case()
    assert (case.state, case.reply_failed, case.replied_at) == ("closed", False, bureau.now)
    assert bureau.detail("case replied otherwise")["how"] == "by phone"


async def test_what_was_refused_may_be_written_anew_in_other_words(workers):
    bureau = workers.bureau
    workers.answered(1, "li")
    bureau.centre.answers = [Answer(ESME_RINVDSTADR, b"")]
    await bureau.sends()
    assert (state(workers), workers.case().reply_failed) == ("decided", True)
    workers.reply(1, "li", "looked into: no spam")
    assert not workers.case().reply_failed
    assert await sends(workers) == ["looked into: no spam"]
    assert state(workers) == "replied"


async def test_an_answer_that_may_have_gone_out_counts_once_its_receipt_comes(workers):
    bureau = workers.bureau
    workers.answered(1, "li")
    bureau.centre.answers = [NoAnswer(), NoAnswer()]
    await bureau.sends()
    await bureau.sends()
    assert (bureau.sms[-1].state, workers.case().reply_failed) == ("unknown", True)
    await bureau.takes(workers.receipt(ANNA, "r-9"))
    case = workers.case()
    assert (case.state, case.reply_failed, case.replied_at) == ("closed", False, bureau.now)


async def test_it_is_answered_once(workers):
    workers.answered(1, "li")
    with pytest.raises(CaseError, match="on its way"):
        workers.reply(1, "li")
    with pytest.raises(CaseError, match="on its way"):
        workers.tell(1, "li")
    await sends(workers)
    with pytest.raises(NotAllowed):
        workers.reply(1, "li")
    assert [each.kind for each in workers.bureau.sms] == ["blocked", "result"]


async def test_one_that_is_withdrawn_is_not_answered(workers):
    bureau = workers.bureau
    workers.answered(1, "li")
    await bureau.says(ANNA, "撤销")
    assert state(workers) == "withdrawn"
    texts = await bureau.sends()
    assert [each.state for each in bureau.sms if each.kind == "result"] == ["taken_back"]
    assert len(texts) == 1
    assert "已撤回" in texts[0]


async def test_one_whose_answer_was_being_sent_as_it_was_withdrawn_stays_withdrawn(workers):
    bureau = workers.bureau
    workers.answered(1, "li")
    pending = asyncio.get_running_loop().create_future()
    bureau.centre.answers = [pending]
    await bureau.outbox.look()
    await bureau.says(ANNA, "撤销")
    pending.set_result(Answer(0, b"9"))
    await bureau.outbox.ended()
    await bureau.takes(workers.receipt(ANNA, "9"))
    assert state(workers) == "withdrawn"


# --- appeals


async def appealed(workers: Caseworkers) -> None:
    workers.answered(1, "li")
    await sends(workers)
    await workers.bureau.takes(workers.receipt(ANNA, "r-1"))
    await workers.bureau.says(ANNA, "申诉")
    await workers.bureau.sends()


async def test_an_appeal_is_decided_by_somebody_else(workers):
    await appealed(workers)
    case = workers.case()
    assert (case.state, case.round, case.owner, case.outcome) == ("reopened", 2, None, None)
    assert case.due_at == workers.bureau.now + 48 * HOUR
    with pytest.raises(CaseError, match="decided by somebody else than li"):
        workers.take(1, "li")
    with pytest.raises(CaseError, match="decided by somebody else than li"):
        workers.assign(1, "li")
    workers.answered(1, "bo", Outcome.UPHELD)
    (text,) = await sends(workers, "r-2")
    assert "属实" in text
    await workers.bureau.takes(workers.receipt(ANNA, "r-2"))
    assert state(workers) == "closed"
    rounds = [(each.round, each.by, each.outcome) for each in workers.bureau.rows(decision)]
    assert rounds == [(1, "staff:li", "not_spam"), (2, "staff:bo", "upheld")]


async def test_a_receipt_of_the_first_answer_says_nothing_of_the_second(workers):
    bureau = workers.bureau
    workers.answered(1, "li")
    await sends(workers)
    await bureau.says(ANNA, "申诉")
    await bureau.sends()
    workers.answered(1, "bo")
    await bureau.takes(workers.receipt(ANNA, "r-1"))
    assert state(workers) == "decided"


async def test_an_appeal_takes_back_an_answer_that_has_not_left(workers):
    workers.answered(1, "li")
    await workers.bureau.says(ANNA, "申诉")
    assert state(workers) == "reopened"
    assert all("处理结果：" not in each for each in await workers.bureau.sends())


async def test_a_supervisor_has_it_looked_at_again(workers):
    workers.answered(1, "li")
    await sends(workers)
    workers.reopen(1)
    assert (state(workers), workers.case().round) == ("reopened", 2)
    with pytest.raises(CaseError, match="somebody else"):
        workers.take(1, "li")


async def test_one_is_not_opened_again_beside_a_newer_one(workers):
    workers.answered(1, "li")
    await sends(workers)
    await workers.bureau.says(ANNA, "10657555*又中奖了")
    assert [each.state for each in workers.bureau.cases] == ["replied", "new"]
    with pytest.raises(CaseError, match="a newer case"):
        workers.reopen(1)


async def test_one_that_was_not_delivered_is_closed_where_a_newer_one_is_open(workers):
    workers.answered(1, "li")
    await sends(workers)
    await workers.bureau.says(ANNA, "10657555*又中奖了")
    await workers.bureau.takes(workers.receipt(ANNA, "r-1", "UNDELIV"))
    assert [each.state for each in workers.bureau.cases] == ["closed", "new"]


# --- merged


async def test_another_report_joins_while_it_is_open_and_is_a_new_case_afterwards(workers):
    bureau = workers.bureau
    workers.take(1, "li")
    await bureau.says(ANNA, "10657555*又中奖了")
    assert len(bureau.cases) == 1
    workers.decide(1, "li")
    workers.reply(1, "li")
    await sends(workers)
    await bureau.says(ANNA, "10657555*还是中奖了")
    assert [each.state for each in bureau.cases] == ["replied", "new"]


async def test_whom_it_is_about_has_to_be_known_before_it_is_upheld(workers):
    workers.bureau.forwards = None
    await workers.bureau.says(BERT, UNKNOWN)
    workers.take(2, "li")
    with pytest.raises(CaseError, match=f"smsfilter report resolve {ids.spell(2)} --company ID"):
        workers.decide(2, "li", Outcome.UPHELD)
    workers.decide(2, "li", Outcome.UNRESOLVABLE)


# --- whose it is


async def test_another_clerk_s_case_is_left_alone(workers):
    workers.take(1, "li")
    with pytest.raises(CaseError, match="case 1 is li's"):
        workers.take(1, "bo")
    with pytest.raises(CaseError, match="case 1 is li's"):
        workers.decide(1, "bo")
    workers.assign(1, "bo")
    assert (state(workers), workers.case().owner) == ("assigned", "bo")
    workers.take(1, "bo")
    with pytest.raises(CaseError, match="case 1 is bo's"):
        workers.decide(1, "li")
    assert workers.take(1, "bo").state == "investigating"
    assert len(workers.bureau.acts("case taken")) == 2  # nothing was done the third time


async def test_a_supervisor_answers_for_an_owner_who_is_away(workers):
    workers.take(1, "li")
    workers.decide(1, "li")
    with pytest.raises(CaseError, match="li's"):
        workers.reply(1, "bo")
    workers.assign(1, "bo")
    assert state(workers) == "decided"
    workers.reply(1, "su")


def _leaves(transaction: Transaction) -> None:
    transaction.connection.execute(
        staff.update().where(staff.c.id == "bo").values(state="suspended")
    )


async def test_nobody_is_given_what_they_cannot_work_on(workers):
    workers.moved(1, "coast")
    for who, why in (("xx", "nobody"), ("au", "does not work on cases")):
        with pytest.raises(CaseError, match=why):
            workers.assign(1, who)
    workers.do(_leaves)
    with pytest.raises(CaseError, match="bo is suspended"):
        workers.assign(1, "bo")
    assert workers.assign(1, "co").owner == "co"
    assert workers.assign(1, "ma").owner == "ma"
    workers.moved(1, "hq")
    with pytest.raises(CaseError, match="does not see the cases of hq"):
        workers.assign(1, "ma")


async def test_a_case_of_another_branch_is_not_there(workers):
    with pytest.raises(NoCase):
        workers.take(1, "ma")
    workers.moved(1, "coast")
    assert workers.take(1, "ma").owner == "ma"
    workers.moved(1, "north")
    with pytest.raises(NoCase):
        workers.take(1, "co")


# --- the desk ends


async def test_a_desk_that_is_killed_as_the_answer_is_sent_loses_no_step(workers):
    bureau = workers.bureau
    workers.answered(1, "li")
    bureau.centre.answers = [asyncio.get_running_loop().create_future()]
    await bureau.outbox.look()
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    await asyncio.sleep(0)
    bureau.reopen()
    assert state(workers) == "decided"
    assert len(await sends(workers)) == 1
    assert state(workers) == "replied"
    assert bureau.sms[-1].maybe_twice


async def test_one_that_is_killed_twice_leaves_it_to_its_owner(workers):
    bureau = workers.bureau
    workers.answered(1, "li")
    for _ in range(2):
        bureau.centre.answers = [asyncio.get_running_loop().create_future()]
        await bureau.outbox.look()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(0)
        bureau.reopen()
    await bureau.sends()
    assert (bureau.sms[-1].state, state(workers)) == ("unknown", "decided")
    assert workers.case().reply_failed
