"""What customers order about their reports: withdrawals and appeals."""

import pytest

from smsfilter.desk import blocking, blocks
from smsfilter.ledger.actor import system
from smsfilter.reports import ids
from smsfilter.smpp.const import ESME_ROK
from smsfilter.store.transaction import Transaction
from tests.fakes.bureau import ANNA, BERT, MINUTE, SECOND, Bureau

SPAM = "10657555*您中奖了，请回复"


def number_of(bureau: Bureau, index: int = 0) -> str:
    """The number of a report as the customer was told it."""
    return ids.spell(bureau.reports[index].id)


def _closed(transaction: Transaction) -> None:
    """All cases were decided."""
    transaction.connection.exec_driver_sql("UPDATE case_file SET closed_at = 1")
    transaction.enter("case closed", system("test"))


@pytest.mark.parametrize("order", ["撤销{}", "{} 撤销", "撤销", "CX{}", "撤销编号 {}，谢谢"])
async def test_a_withdrawal_ends_the_block(bureau: Bureau, order: str):
    await bureau.says(ANNA, SPAM)
    await bureau.says(ANNA, order.format(number_of(bureau)))
    assert bureau.live == bureau.in_force == set()
    assert bureau.states == ["withdrawn", "withdrawal"]
    assert bureau.answers == ["blocked", "withdrawn"]
    assert number_of(bureau) in bureau.reply(bureau.sms[1])
    (case,) = bureau.cases
    assert (case.state, case.closed_at) == ("withdrawn", bureau.now)
    assert not bureau.reports[0].counted
    (entry,) = bureau.acts("report withdrawn")
    assert entry.object == f"report:{bureau.reports[0].id}"
    assert entry.actor == f"sms:{bureau.reports[0].customer}"
    assert entry.detail == {"message": 2, "blocks": [1], "reports": [1], "reply": "withdrawn"}


async def test_nobody_else_can_withdraw(bureau: Bureau):
    await bureau.says(ANNA, SPAM)
    await bureau.says(BERT, f"撤销{number_of(bureau)}")
    assert bureau.in_force == {(ANNA, "acme")}
    assert bureau.states == ["blocked", "withdrawal"]
    assert bureau.answers == ["blocked", "unknown_id"]


@pytest.mark.parametrize("order", ["撤销", "撤销1012", "申诉"])
async def test_an_order_about_nothing(bureau: Bureau, order: str):
    await bureau.says(ANNA, order)
    assert bureau.answers == ["unknown_id"]
    assert bureau.cases == []
    assert not bureau.reports[0].counted


async def test_the_same_after_a_withdrawal_is_a_new_report(bureau: Bureau):
    await bureau.says(ANNA, SPAM)
    await bureau.says(ANNA, "撤销")
    await bureau.says(ANNA, SPAM)
    assert bureau.states == ["withdrawn", "withdrawal", "blocked"]
    assert bureau.in_force == {(ANNA, "acme")}
    assert bureau.answers == ["blocked", "withdrawn", "blocked"]
    assert [each.state for each in bureau.cases] == ["withdrawn", "new"]


async def test_the_same_order_is_another_one_once_the_smsc_cannot_have_brought_it_again(
    bureau: Bureau,
):
    await bureau.says(ANNA, SPAM)
    await bureau.says(ANNA, "撤销")
    await bureau.says(ANNA, SPAM)
    await bureau.says(ANNA, "撤销")  # may be the SMSC's own copy: the block stands
    assert bureau.in_force == {(ANNA, "acme")}
    bureau.later(5 * MINUTE + SECOND)
    await bureau.says(ANNA, "撤销")
    assert bureau.in_force == set()
    assert bureau.states == ["withdrawn", "withdrawal", "withdrawn", "withdrawal"]
    assert [each.copies for each in bureau.reports] == [1, 2, 1, 1]


async def test_a_second_withdrawal_ends_no_other_report(bureau: Bureau):
    await bureau.says(ANNA, "10658888*贷款")
    await bureau.says(ANNA, SPAM)
    await bureau.says(ANNA, "撤销")
    bureau.later(6 * MINUTE)
    await bureau.says(ANNA, "撤销")
    assert bureau.in_force == {(ANNA, "bravo")}
    assert number_of(bureau, 1) in bureau.reply(bureau.sms[-1])


async def test_every_block_of_the_case_ends_whatever_it_was_turned_into(bureau: Bureau):
    await bureau.says(ANNA, SPAM)
    case = bureau.cases[0].id

    def promoted(transaction: Transaction) -> None:
        moved = blocks.retarget(transaction, "acme", "delta", "system:test", "merged")
        transaction.enter("blocks promoted", system("test"), touches=moved.touched)

    await bureau.writer.write(promoted)
    assert bureau.live == {(ANNA, "delta")}
    await bureau.says(ANNA, SPAM + "又来")
    await bureau.says(ANNA, f"撤销{number_of(bureau)}")
    assert bureau.in_force == set()
    assert bureau.states == ["withdrawn", "withdrawn", "withdrawal"]
    assert {each.case_id for each in bureau.reports} == {case}


async def test_a_block_of_an_earlier_case_ends_with_the_one_that_goes_on(bureau: Bureau):
    """The first case was decided; the block stayed, and the customer wants it gone."""
    await bureau.says(ANNA, SPAM)
    await bureau.writer.write(_closed)
    await bureau.says(ANNA, SPAM + "又来")
    assert len(bureau.cases) == 2
    await bureau.says(ANNA, "撤销")
    assert bureau.in_force == set()
    assert bureau.states == ["blocked", "withdrawn", "withdrawal"]


async def test_a_withdrawal_does_not_wait_for_the_index_and_its_answer_does(bureau: Bureau):
    await bureau.says(ANNA, SPAM)
    bureau.fake_index.away = "OOM"
    assert await bureau.takes(*bureau.parts(ANNA, "撤销")) == [ESME_ROK]
    assert bureau.live == set()
    assert (bureau.answers, bureau.sms[1].state) == (["blocked", "withdrawn"], "held")
    bureau.fake_index.away = ""
    bureau.later(6 * SECOND)
    await bureau.intake.sweep()
    assert (bureau.sms[1].state, bureau.in_force) == ("queued", set())


async def test_nobody_is_told_of_a_block_that_has_ended_before_it_was_in_force(bureau: Bureau):
    bureau.fake_index.away = "OOM"
    await bureau.takes(*bureau.parts(ANNA, SPAM))
    await bureau.takes(*bureau.parts(ANNA, "撤销"))
    bureau.fake_index.away = ""
    bureau.later(6 * SECOND)
    await bureau.intake.sweep()
    assert [each.state for each in bureau.sms] == ["taken_back", "queued"]
    assert len(await bureau.sends()) == 1


async def test_an_appeal_opens_the_case_again(bureau: Bureau):
    await bureau.says(ANNA, SPAM)
    await bureau.says(ANNA, f"申诉{number_of(bureau)} 我没有同意")
    assert bureau.states == ["blocked", "appeal"]
    assert bureau.answers == ["blocked", "appeal"]
    assert bureau.cases[0].state == "new"  # nothing was decided yet
    assert bureau.in_force == {(ANNA, "acme")}
    (entry,) = bureau.acts("report appealed")
    assert (entry.case_id, entry.detail["message"]) == (str(bureau.cases[0].id), 2)


async def test_an_order_after_an_order_is_about_the_report(bureau: Bureau):
    await bureau.says(ANNA, SPAM)
    await bureau.says(ANNA, "申诉")
    await bureau.says(ANNA, "撤销")
    assert bureau.states == ["withdrawn", "appeal", "withdrawal"]
    assert number_of(bureau) in bureau.reply(bureau.sms[2])


async def test_an_appeal_beside_a_newer_case_of_the_same_sender(bureau: Bureau):
    await bureau.says(ANNA, SPAM)
    await bureau.writer.write(_closed)
    await bureau.says(ANNA, SPAM + "又来")
    await bureau.says(ANNA, f"申诉{number_of(bureau)}")
    assert bureau.answers[-1] == "appeal"
    assert [each.closed_at is None for each in bureau.cases] == [False, True]


async def test_what_was_withdrawn_has_no_result_to_appeal_against(bureau: Bureau):
    await bureau.says(ANNA, SPAM)
    await bureau.says(ANNA, "撤销")
    await bureau.says(ANNA, "申诉")
    assert bureau.answers == ["blocked", "withdrawn", "unknown_id"]
    assert [each.state for each in bureau.cases] == ["withdrawn"]


async def test_an_old_withdrawal_does_not_end_what_was_reported_since(bureau: Bureau):
    """However late the order is brought again."""
    await bureau.says(ANNA, SPAM)
    order = f"撤销{number_of(bureau)}"
    await bureau.says(ANNA, order)
    await bureau.says(ANNA, SPAM)
    bureau.later(6 * MINUTE)
    await bureau.says(ANNA, order)
    assert bureau.in_force == {(ANNA, "acme")}
    assert bureau.answers[-1] == "withdrawn"
    assert [each.state for each in bureau.cases] == ["withdrawn", "new"]
    assert bureau.acts("report withdrawn")[-1].detail["blocks"] == []


async def test_the_number_of_a_text_that_was_joined_withdraws_it(bureau: Bureau):
    await bureau.says(ANNA, "您中奖了，请回复领取")
    await bureau.says(ANNA, "10657555")
    await bureau.says(ANNA, f"撤销{number_of(bureau)}")
    assert bureau.in_force == set()
    assert bureau.states == ["withdrawn", "withdrawn", "withdrawal"]


async def test_an_order_stays_one_when_somebody_else_lifts_the_block(bureau: Bureau):
    await bureau.says(ANNA, SPAM)
    await bureau.says(ANNA, "申诉")
    await bureau.writer.write(lambda at: blocking.remove(at, 1, "correction", system("test")))
    assert bureau.states == ["lifted", "appeal"]
    await bureau.says(ANNA, "撤销")
    assert number_of(bureau) in bureau.reply(bureau.sms[-1])
