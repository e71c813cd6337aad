"""What customers send, and what becomes of it: rows, blocks, answers, the ledger."""

from typing import Any

import pytest

from smsfilter.desk import company
from smsfilter.desk.matching import Forward
from smsfilter.ledger.actor import system
from smsfilter.reports import ids
from smsfilter.reports.report_rows import COUNTED_PER_DAY
from smsfilter.reports.sms import Delivered
from smsfilter.smpp.const import ESME_ROK, ESME_RX_T_APPN
from tests.fakes.bureau import ANNA, BERT, HOUR, MINUTE, SECOND, Bureau
from tests.fakes.handset import GSM, UCS_2

SPAM = "10657555*您中奖了，请回复"
HANDSET = "13912345678"


def acted(bureau: Bureau) -> list[tuple[str, str]]:
    """What reports did to the ledger: act and its actor's kind."""
    acts = [each for each in bureau.acts() if each.action != "registry imported"]
    return [(each.action, each.actor.partition(":")[0]) for each in acts]


# one report


async def test_a_report_blocks_its_company_once_it_is_in_force(bureau: Bureau):
    await bureau.says(ANNA, SPAM)
    assert bureau.live == bureau.in_force == {(ANNA, "acme")}
    (row,) = bureau.reports
    assert (row.channel, row.state, row.match_kind, row.reported_norm) == (
        *("sms", "blocked", "company"),
        "10657555",
    )
    assert (row.copies, row.counted, row.complete) == (1, True, True)
    assert row.confirmed_at == row.told_at == bureau.now
    assert bureau.text(row) == "您中奖了，请回复"
    (case,) = bureau.cases
    assert (case.target, case.state, case.due_at - case.opened_at) == ("acme", "new", 48 * HOUR)
    (sms,) = bureau.sms
    assert (sms.kind, sms.state, sms.n) == ("blocked", "queued", 1)
    assert ids.spell(row.id) in bureau.reply(sms)


async def test_a_report_is_two_rows_of_the_ledger(bureau: Bureau):
    await bureau.says(ANNA, SPAM)
    taken, confirmed = bureau.acts()[-2:]
    (row,), (case,) = bureau.reports, bureau.cases
    assert (taken.action, taken.actor, taken.object) == (
        "report taken",
        f"sms:{row.customer}",
        f"report:{row.id}",
    )
    assert (taken.case_id, taken.customer_id) == (str(case.id), row.customer)
    assert taken.detail == {
        "channel": "sms",
        "complete": True,
        "joined": None,
        "state": "blocked",
        "match": "company",
        "source": "10657555",
        "targets": ["acme"],
        "blocks": [1],
        "merged": False,
        "reply": "blocked",
    }
    assert (confirmed.action, confirmed.actor) == ("reports confirmed", "system:intake")
    assert confirmed.detail == {"reports": [row.id]}
    assert row.changed_seq == case.changed_seq == taken.seq


@pytest.mark.parametrize(
    ("text", "state", "reply", "blocked"),
    [
        ("106905551234*贷款", "blocked", "blocked", {"acme"}),
        ("ACME*sale", "blocked", "blocked", {"acme"}),
        ("１０６５８８８８＊贷款", "blocked", "blocked", {"bravo"}),
        ("10661234*贷款", "referred", "referred", set()),
        (f"{HANDSET}*贷款", "referred", "referred", set()),
        ("10661234", "unmatched", "unmatched", set()),
        ("您中奖了，请回复领取", "needs_info", "ask_number", set()),
        ("110*抓人", "never_block", "never_block", set()),
        ("10086999*骚扰", "never_block", "never_block", set()),
        ("?!", "nonsense", "nonsense", set()),
    ],
)
async def test_every_outcome(bureau: Bureau, text: str, state: str, reply: str, blocked: set[str]):
    await bureau.says(ANNA, text)
    assert (bureau.states, bureau.answers) == ([state], [reply])
    assert bureau.live == bureau.in_force == {(ANNA, target) for target in blocked}
    (row,), (sms,) = bureau.reports, bureau.sms
    assert row.confirmed_at is not None
    assert sms.state == "queued"
    assert bool(bureau.cases) == (state not in ("never_block", "nonsense"))
    assert row.counted == (state in ("blocked", "referred", "unmatched"))
    assert [each[0] for each in acted(bureau)] == (
        ["report taken", "reports confirmed"] if blocked else ["report taken"]
    )


async def test_where_two_are_possible_the_source_is_blocked_and_a_person_decides(bureau: Bureau):
    bureau.forwards = [
        Forward("acme", "10661234", bureau.now - HOUR),
        Forward("bravo", "106612345", bureau.now - HOUR),
    ]
    await bureau.says(ANNA, "1066123*贷款")
    assert bureau.states == ["to_decide"]
    assert bureau.in_force == {(ANNA, f"source:{n}") for n in ("1066123", "10661234", "106612345")}
    assert bureau.answers == ["source_only"]


async def test_what_was_forwarded_names_the_company(bureau: Bureau):
    bureau.forwards = [Forward("bravo", "10661234", bureau.now - HOUR)]
    await bureau.says(ANNA, "10661234*贷款")
    assert bureau.in_force == {(ANNA, "bravo")}


async def test_a_company_that_was_merged_meanwhile_is_blocked_as_what_goes_on(bureau: Bureau):
    """The report was decided on before the merger, and filed after it."""
    decide = bureau.intake.decide

    async def late(parsed: Any, heard: Any) -> Any:
        decided = await decide(parsed, heard)
        await bureau.writer.write(lambda at: company.merge(at, "acme", "bravo", system("test")))
        return decided

    bureau.intake.decide = late
    await bureau.says(ANNA, SPAM)
    assert bureau.in_force == {(ANNA, "bravo")}
    assert bureau.cases[0].target == "bravo"


async def test_a_source_that_must_reach_everybody_is_not_blocked_by_how_it_begins(bureau: Bureau):
    bureau.forwards = [Forward(None, each, bureau.now) for each in ("10086999", "1008690")]
    await bureau.says(ANNA, "100869*贷款")
    assert bureau.in_force == {(ANNA, "source:100869"), (ANNA, "source:1008690")}


@pytest.mark.parametrize("written", ["+49 151 23456789", "004915123456789"])
async def test_another_country_s_handset_is_blocked_as_a_customer(bureau: Bureau, written: str):
    bureau.forwards = [Forward(None, "4915123456789", bureau.now - HOUR)]
    await bureau.says(ANNA, f"{written}*贷款")
    assert bureau.states == ["to_decide"]
    ((_, target),) = bureau.in_force
    assert target == f"source:#{bureau.reports[0].reported_customer}"
    assert "15123456789" not in bureau.dump()


async def test_the_ledger_has_no_words_of_a_customer(bureau: Bureau):
    await bureau.says(ANNA, "张三欠钱不还*还钱")
    assert bureau.states == ["referred"]
    assert all("张三" not in str(each) for each in bureau.acts())


async def test_a_handset_is_a_customer_and_never_a_number(bureau: Bureau):
    await bureau.says(ANNA, f"{HANDSET}*贷款")
    (row,) = bureau.reports
    assert row.reported_norm is None
    assert row.reported_customer not in (None, row.customer)
    assert bureau.cases[0].target == f"source:#{row.reported_customer}"


async def test_nothing_of_a_customer_is_in_clear(bureau: Bureau, capfd):
    bureau.fake_index.away = "READONLY"
    secret = "这是绝密的短信内容"
    for part in bureau.parts(ANNA, f"10657555*{secret}" + "长" * 80):
        await bureau.takes(part)
    bureau.fake_index.away = ""
    await bureau.says(BERT, f"{HANDSET}*{secret}")
    await bureau.says(BERT, secret)
    await bureau.says(BERT, "撤销")
    await bureau.sends()
    dump = bureau.dump() + "".join(capfd.readouterr())
    for word in (ANNA[2:], BERT[2:], HANDSET, secret, "绝密"):
        assert word not in dump
        assert word.encode("utf-16-be").decode("latin-1") not in dump


# the same again


async def test_a_copy_of_the_smsc_is_counted_and_nothing_else(bureau: Bureau):
    parts = bureau.parts(ANNA, SPAM)
    await bureau.takes(*parts)
    bureau.later(5 * MINUTE)
    await bureau.takes(*parts)
    (row,) = bureau.reports
    assert row.copies == 2
    assert bureau.answers == ["blocked"]
    assert len(bureau.cases) == len(bureau.live) == 1
    assert bureau.suspected == []
    assert bureau.detail("report copied") == {"copies": 2, "late": False, "reply": None}


async def test_a_copy_that_the_customer_sent_is_answered_and_looked_into(bureau: Bureau):
    await bureau.says(ANNA, SPAM)
    bureau.later(5 * MINUTE + SECOND)
    await bureau.says(ANNA, SPAM)
    (row,) = bureau.reports
    assert (row.copies, bureau.answers) == (2, ["blocked", "repeated"])
    assert len(bureau.cases) == len(bureau.live) == 1
    (filed,) = bureau.suspected
    assert (filed.report, filed.target, filed.was_blocked) == (row.id, "acme", True)


@pytest.mark.parametrize("was_blocked_before", [False, True])
async def test_a_copy_is_looked_into_whatever_its_block_has_become(
    bureau: Bureau, was_blocked_before: bool
):
    await bureau.says(ANNA, SPAM)
    if was_blocked_before:
        await bureau.says(ANNA, "10658888*贷款")
    await bureau.writer.write(lambda at: company.merge(at, "acme", "bravo", system("test")))
    bureau.later(6 * MINUTE)
    await bureau.says(ANNA, SPAM)
    (filed,) = bureau.suspected
    assert (filed.target, filed.was_blocked) == ("bravo", True)


async def test_after_a_merger_nobody_is_told_before_it_is_in_force(bureau: Bureau):
    bureau.fake_index.away = "OOM"
    parts = bureau.parts(ANNA, SPAM)
    assert await bureau.takes(*parts) == [ESME_RX_T_APPN]
    await bureau.writer.write(lambda at: company.merge(at, "acme", "bravo", system("test")))
    assert await bureau.takes(*parts) == [ESME_RX_T_APPN]
    bureau.fake_index.away = ""
    assert await bureau.takes(*parts) == [ESME_ROK]
    assert bureau.in_force == {(ANNA, "bravo")}


async def test_after_a_day_the_same_is_another_report_of_the_open_case(bureau: Bureau):
    await bureau.says(ANNA, SPAM)
    bureau.later(24 * HOUR)
    await bureau.says(ANNA, SPAM)
    assert [each.copies for each in bureau.reports] == [1, 1]
    assert bureau.answers == ["blocked", "repeated"]
    assert len({each.case_id for each in bureau.reports}) == 1
    assert len(bureau.suspected) == 1


async def test_what_was_put_off_for_long_is_no_copy_of_the_customer_s(bureau: Bureau):
    """The sweep has it in force long before the SMSC brings it again."""
    parts = bureau.parts(ANNA, SPAM)
    bureau.fake_index.away = "OOM"
    assert await bureau.takes(*parts) == [ESME_RX_T_APPN]
    assert (bureau.states, bureau.sms[0].state) == (["blocked"], "held")
    bureau.fake_index.away = ""
    bureau.later(6 * SECOND)
    await bureau.intake.sweep()
    assert bureau.sms[0].state == "queued"
    assert bureau.in_force == {(ANNA, "acme")}
    bureau.later(20 * MINUTE)
    assert await bureau.takes(*parts) == [ESME_ROK]
    assert (bureau.answers, bureau.suspected) == (["blocked"], [])
    bureau.later(6 * MINUTE)
    assert await bureau.takes(*parts) == [ESME_ROK]
    assert (bureau.answers, len(bureau.suspected)) == (["blocked", "repeated"], 1)


async def test_what_could_not_be_written_leaves_nothing(bureau: Bureau, monkeypatch):
    parts = bureau.parts(ANNA, SPAM)
    bureau.writer.stop()
    assert await bureau.takes(*parts) == [ESME_RX_T_APPN]
    bureau.reopen()
    assert bureau.states == []
    assert await bureau.takes(*parts) == [ESME_ROK]
    assert (bureau.states, bureau.reports[0].copies) == (["blocked"], 1)


async def test_another_report_on_the_same_company_is_merged(bureau: Bureau):
    await bureau.says(ANNA, SPAM)
    bureau.later(MINUTE)
    await bureau.says(ANNA, "106905551234*又来了")
    first, second = bureau.reports
    assert first.case_id == second.case_id
    assert bureau.answers == ["blocked", "repeated"]
    assert ids.spell(first.id) in bureau.reply(bureau.sms[1])
    assert len(bureau.suspected) == 1
    assert bureau.detail("report taken")["merged"] is True


async def test_two_reports_on_one_unknown_source_are_one_case(bureau: Bureau):
    await bureau.says(ANNA, "10661234*贷款")
    await bureau.says(ANNA, "10661234*再贷")
    await bureau.says(BERT, "10661234*贷款")
    assert [each.case_id for each in bureau.reports] == [1, 1, 2]
    assert bureau.answers == ["referred", "repeated", "referred"]


async def test_a_case_of_a_source_becomes_its_company_s(bureau: Bureau):
    await bureau.says(ANNA, "10661234*贷款")
    bureau.register(delta={"sources": ["10661234"]})
    await bureau.says(ANNA, "10661234*再贷")
    (case,) = bureau.cases
    assert (case.target, case.state) == ("delta", "new")
    assert bureau.answers == ["referred", "blocked"]


async def test_only_so_many_reports_of_a_day_count_and_all_are_kept(bureau: Bureau):
    for n in range(COUNTED_PER_DAY + 2):
        await bureau.says(ANNA, f"10657555*第{n}条", UCS_2)
    assert sum(each.counted for each in bureau.reports) == COUNTED_PER_DAY
    assert len(bureau.reports) == COUNTED_PER_DAY + 2
    bureau.later(24 * HOUR)
    await bureau.says(ANNA, "10657555*明天")
    assert bureau.reports[-1].counted


async def test_nonsense_is_answered_three_times_a_day(bureau: Bureau):
    for n in range(5):
        await bureau.says(ANNA, "!" * (n + 1))
    assert bureau.answers == ["nonsense"] * 3
    assert bureau.states == ["nonsense"] * 5
    bureau.later(24 * HOUR)
    await bureau.says(ANNA, "?")
    assert bureau.answers == ["nonsense"] * 4


async def test_machines_are_not_asked_for_ever(bureau: Bureau):
    """An answering machine whose text changes each time."""
    for n in range(25):
        await bureau.says(ANNA, f"我在开车，稍后回电，第{'一二三四五'[n % 5] * (n + 1)}次")
    assert len(bureau.answers) == 20


# a text, then its number


async def test_a_number_completes_the_text_that_it_was_asked_for(bureau: Bureau):
    await bureau.says(ANNA, "您中奖了，请回复领取")
    bureau.later(23 * HOUR)
    await bureau.says(ANNA, "10657555", GSM)
    asked, number = bureau.reports
    assert (asked.state, number.state) == ("joined", "blocked")
    assert bureau.text(number) == "您中奖了，请回复领取"
    assert asked.case_id == number.case_id
    (case,) = bureau.cases
    assert (case.target, case.state) == ("acme", "new")
    assert ids.spell(asked.id) in bureau.reply(bureau.sms[1])
    assert bureau.detail("report taken")["joined"] == asked.id
    assert bureau.reports[0].changed_seq == number.changed_seq


async def test_after_a_day_a_number_stands_alone(bureau: Bureau):
    await bureau.says(ANNA, "您中奖了，请回复领取")
    bureau.later(24 * HOUR)
    await bureau.says(ANNA, "10657555", GSM)
    assert bureau.states == ["needs_info", "blocked"]
    assert bureau.text(bureau.reports[1]) == ""


async def test_the_same_number_may_belong_to_two_texts(bureau: Bureau):
    await bureau.says(ANNA, "您中奖了，请回复领取")
    await bureau.says(ANNA, "10657555", GSM)
    bureau.later(6 * MINUTE)
    await bureau.says(ANNA, "您又中奖了，请再来领取")
    await bureau.says(ANNA, "10657555", GSM)
    assert bureau.states == ["joined", "blocked", "joined", "blocked"]
    assert bureau.text(bureau.reports[3]) == "您又中奖了，请再来领取"
    first, second = bureau.cases  # the text's own was merged into the one that was open
    assert (first.state, second.state) == ("new", "joined")
    assert {each.case_id for each in bureau.reports} == {first.id}
    assert bureau.answers == ["ask_number", "blocked", "ask_number", "repeated"]


async def test_a_redelivered_number_joins_nothing_twice(bureau: Bureau):
    await bureau.says(ANNA, "您中奖了，请回复领取")
    number = bureau.parts(ANNA, "10657555", GSM)
    await bureau.takes(*number)
    await bureau.takes(*number)
    assert bureau.states == ["joined", "blocked"]


# other ways than by SMS


async def test_a_report_by_phone_is_one_by_sms_but_for_who_entered_it(bureau: Bureau):
    filed = await bureau.enters(ANNA, SPAM)
    assert (filed.state, filed.target, filed.must_follow) == ("blocked", "acme", True)
    assert bureau.in_force == {(ANNA, "acme")}
    assert bureau.acts("report taken")[0].actor == "system:test"
    assert bureau.reports[0].channel == "phone"


# whoever is no customer


HANDSETS = (("13800138000", 2), ("8613800138000", 1), ("+8613800138000", 0), ("85291234567", 1))
MACHINES = (
    *(("85291234567", 0), ("10086999", 0), ("10657555", 0), ("106905551234", 0)),
    *(("95588", 0), ("ACME", 5), ("8613800138000", 5), ("", 0)),
)


async def test_only_people_report(bureau: Bureau):
    def message(source: str, ton: int) -> Delivered:
        return bureau.message(source, b"10657555*win", source_ton=ton)

    assert set(await bureau.takes(*(message(*each) for each in MACHINES))) == {ESME_ROK}
    assert bureau.states == []
    assert bureau.metrics.filed["no_handset"] == len(MACHINES)
    assert set(await bureau.takes(*(message(*each) for each in HANDSETS))) == {ESME_ROK}
    assert [(each.state, each.copies) for each in bureau.reports] == [
        ("blocked", 3),
        ("blocked", 1),
    ]
