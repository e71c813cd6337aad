"""Reports that named nobody when they came are looked at again, for 72 hours."""

from smsfilter.desk import blocking
from smsfilter.desk.matching import Forward
from smsfilter.ledger.actor import system
from smsfilter.reports import ids
from tests.fakes.bureau import ANNA, BERT, HOUR, MINUTE, Bureau
from tests.fakes.handset import GSM


async def test_a_company_that_becomes_known_is_blocked_and_said(bureau: Bureau):
    await bureau.says(ANNA, "10661234", GSM)
    assert (bureau.states, bureau.answers) == (["unmatched"], ["unmatched"])
    bureau.register(delta={"sources": ["10661234"]})
    bureau.later(MINUTE)
    assert await bureau.unmatched.look() == 1
    assert (bureau.states, bureau.answers) == (["blocked"], ["unmatched", "blocked"])
    assert bureau.in_force == {(ANNA, "delta")}
    (row,), (case,) = bureau.reports, bureau.cases
    assert (case.target, case.state) == ("delta", "new")
    assert (row.match_kind, row.confirmed_at) == ("company", bureau.now)
    assert row.told_at == bureau.now - MINUTE
    assert bureau.sms[1].state == "queued"
    assert ids.spell(row.id) in bureau.reply(bureau.sms[1])
    (entry,) = bureau.acts("report matched")
    assert (entry.actor, entry.detail["targets"]) == ("system:matching", ["delta"])
    assert row.changed_seq == entry.seq
    assert await bureau.unmatched.look() == 0


async def test_forwards_that_arrive_late_name_the_company(bureau: Bureau):
    await bureau.says(ANNA, "10661234", GSM)
    bureau.forwards = [Forward("bravo", "106612349", bureau.now - HOUR)]
    assert await bureau.unmatched.look() == 0  # its first turn is a minute after it came
    bureau.later(MINUTE)
    assert await bureau.unmatched.look() == 1
    assert bureau.in_force == {(ANNA, "bravo")}


async def test_forwards_of_nobody_block_the_source(bureau: Bureau):
    await bureau.says(ANNA, "10661234", GSM)
    bureau.forwards = [Forward(None, "10661234", bureau.now - HOUR)]
    bureau.later(MINUTE)
    assert await bureau.unmatched.look() == 1
    assert (bureau.states, bureau.answers) == (["to_decide"], ["unmatched", "source_only"])
    assert bureau.in_force == {(ANNA, "source:10661234")}


async def test_turns_come_at_twice_the_age_each_time(bureau: Bureau):
    await bureau.says(ANNA, "10661234", GSM)
    turns = []
    for minute in range(1, 40):
        bureau.later(MINUTE)
        before = len(bureau.acts("reports looked at again"))
        await bureau.unmatched.look()
        if len(bureau.acts("reports looked at again")) > before:
            turns.append(minute)
    assert turns == [1, 2, 4, 8, 16, 32]
    assert bureau.detail("reports looked at again") == {"numbers": 1}


async def test_after_72_hours_nobody_looks_any_more(bureau: Bureau):
    await bureau.says(ANNA, "10661234", GSM)
    bureau.register(delta={"sources": ["10661234"]})
    bureau.later(72 * HOUR)
    assert await bureau.unmatched.look() == 0
    assert bureau.states == ["unmatched"]


async def test_records_that_were_away_decide_once_they_are_read(bureau: Bureau):
    bureau.forwards = None
    await bureau.says(ANNA, "10661234*贷款")
    assert bureau.states == ["unmatched"]
    bureau.later(MINUTE)
    assert await bureau.unmatched.look() == 0
    bureau.forwards = []
    bureau.later(MINUTE)
    assert await bureau.unmatched.look() == 1
    assert (bureau.states, bureau.answers) == (["referred"], ["unmatched", "referred"])
    assert bureau.live == set()


async def test_a_handset_that_was_reported_meanwhile_stays_a_customer(bureau: Bureau):
    bureau.forwards = None
    await bureau.says(ANNA, "13912345678*贷款")
    bureau.forwards = [Forward(None, "13912345678", bureau.now - HOUR)]
    bureau.later(MINUTE)
    assert await bureau.unmatched.look() == 1
    (row,) = bureau.reports
    assert bureau.in_force == {(ANNA, f"source:#{row.reported_customer}")}
    assert "13912345678" not in bureau.dump()


async def test_a_withdrawn_report_is_not_looked_for(bureau: Bureau):
    await bureau.says(ANNA, "10661234", GSM)
    await bureau.says(ANNA, "撤销")
    bureau.register(delta={"sources": ["10661234"]})
    bureau.later(MINUTE)
    assert await bureau.unmatched.look() == 0
    assert bureau.live == set()


async def test_one_whose_sender_is_blocked_by_now_joins_its_case(bureau: Bureau):
    await bureau.says(ANNA, "10661234", GSM)
    bureau.register(delta={"sources": ["10661234", "10669999"]})
    await bureau.says(ANNA, "10669999*贷款")
    bureau.later(MINUTE)
    assert await bureau.unmatched.look() == 1
    assert bureau.states == ["blocked", "blocked"]
    assert {each.case_id for each in bureau.reports} == {2}
    assert [each.state for each in bureau.cases] == ["joined", "new"]
    assert bureau.answers == ["unmatched", "blocked", "repeated"]


async def test_an_index_that_is_away_leaves_the_answer_to_the_sweep(bureau: Bureau):
    for number in (ANNA, BERT):
        await bureau.says(number, "10661234", GSM)
    bureau.register(delta={"sources": ["10661234"]})
    bureau.fake_index.away = "OOM"
    bureau.later(MINUTE)
    assert await bureau.unmatched.look() == 2
    assert [each.state for each in bureau.sms] == ["queued", "queued", "held", "held"]
    bureau.fake_index.away = ""
    await bureau.intake.sweep()
    assert [each.state for each in bureau.sms[2:]] == ["queued", "queued"]
    assert bureau.in_force == {(ANNA, "delta"), (BERT, "delta")}


async def test_whoever_gets_the_number_inherits_no_report(bureau: Bureau):
    await bureau.says(ANNA, "10661234", GSM)
    await bureau.writer.write(
        lambda at: blocking.recycle(at, bureau.vault, ANNA, None, system("test"))
    )
    bureau.register(delta={"sources": ["10661234"]})
    bureau.later(MINUTE)
    assert await bureau.unmatched.look() == 0
    assert bureau.live == set()
    assert bureau.states == ["lifted"]
    assert bureau.answers == ["unmatched"]
    assert bureau.acts("number recycled")[0].detail["reports"] == [bureau.reports[0].id]
