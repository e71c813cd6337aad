"""The next case: the most urgent one, what is known of it, and what that suggests."""

from functools import partial
from typing import Any

from smsfilter.cases import work
from smsfilter.cases.work import Worker
from smsfilter.flow.case import Outcome
from smsfilter.ledger.actor import Actor
from smsfilter.store.transaction import Transaction
from tests.fakes.clerks import HOUR, Clerks

ANNA, BERT, CARL, DORA = "13800138000", "13900139000", "13700137000", "13600136000"
TEXT = "您中奖了，请点击链接 http://t.cn/AbC 领取"


async def reported(
    clerks: Clerks, customer: str, source: str = "10657555", text: str = TEXT, by: str = "hu"
) -> int:
    """Enter a report; the id of its case."""
    body = {"customer": customer, "source": source, "text": text}
    said = await clerks[by].post("/reports", body)
    found: int = clerks.desk.rows("report")[said["id"] - 1].case_id
    return found


def says(shown: Any, kind: str) -> list[str]:
    return [line["says"] for line in shown["evidence"] if line["kind"] == kind]


def forwarded(clerks: Clerks, customer: str, *sources: str, company: str = "acme") -> None:
    """The proxy has let these through an hour ago."""
    at = clerks.now - HOUR
    records = [
        clerks.proxy.decided(f"86{customer}", at + n, company=company, source=source)
        for n, source in enumerate(sources)
    ]
    clerks.proxy.segment(2, *records, at=at)


async def test_three_cases_that_differ_are_suggested_differently(clerks):
    at = clerks.now - HOUR
    records = [
        clerks.proxy.decided(f"86{ANNA}", at),
        clerks.proxy.decided(f"86{ANNA}", at + 1),
        clerks.proxy.decided(f"86{CARL}", at + 2, company="bravo", source="10658888"),
    ]
    clerks.proxy.segment(2, *records, at=at)
    known = await reported(clerks, DORA, "10658888", "您的快递 771 已到，请凭码 11 取件")
    clerks.change("case_file", known, state="closed", outcome="not_spam", closed_at=clerks.now)
    cases = [
        await reported(clerks, ANNA),
        await reported(clerks, BERT, "10691234", "another text that nobody knows"),
        await reported(clerks, CARL, "10658888", "您的快递 904 已到，请凭码 27 取件。"),
    ]
    found = []
    for case in cases:
        shown = await clerks["hu"].get("/cases/next")
        assert shown["case"]["id"] == case
        found.append(shown)
        clerks.change("case_file", case, owner="li", state="assigned")
    said = [each["suggestion"] for each in found]
    assert [(each["outcome"], each["rule"]) for each in said] == [
        ("upheld", "sent_by_company"),
        ("referred", "not_through_us"),
        ("not_spam", "as_decided_before"),
    ]
    assert [len(each["records"]) for each in said] == [2, 1, 1]
    assert all(record.startswith("record:p1/2/") for record in said[0]["records"])
    assert said[1]["records"] == ["report:3"]
    assert said[2]["records"] == [f"case:{known}"]
    assert says(found[0], "forwards") == [
        "2 messages of acme came to the customer in the 72 hours before the report"
    ]
    assert says(found[1], "forwards") == [
        "nothing of 10691234 came in the 72 hours before the report; all records are there"
    ]
    assert says(found[0], "block") == ["acme is blocked"]
    assert says(found[1], "block") == ["nothing is blocked"]


async def test_the_look_is_masked_and_one_row_of_the_ledger(clerks):
    await reported(clerks, ANNA)
    shown = await clerks["li"].get("/cases/next")
    assert shown["case"]["customer"] == "138****8000"
    assert shown["case"]["source"] == "10657555"
    assert TEXT not in str(shown)
    (row,) = clerks.desk.entries("next case shown")
    assert (row.actor, row.role, row.object, row.case_id) == ("staff:li", "clerk", "case:1", "1")
    assert row.detail["rule"] == shown["suggestion"]["rule"] == "not_sent_by_company"
    assert row.customer_id == shown["case"]["customer_id"]


async def test_nothing_waits(clerks):
    assert await clerks["li"].get("/cases/next") == {"case": None}
    (row,) = clerks.desk.entries("next case looked for")
    assert row.detail == {"count": 0}


async def test_the_canned_reply_comes_with_its_count(clerks):
    await reported(clerks, ANNA)
    reply = (await clerks["li"].get("/cases/next"))["reply"]
    assert reply["most"] == 70
    assert reply["characters"] == len(reply["text"]) <= 70
    assert "13" in reply["text"]  # the number of report 1


async def test_own_cases_come_before_those_that_nobody_owns(clerks):
    first, second = await reported(clerks, ANNA), await reported(clerks, ANNA, "10658888")
    clerks.change("case_file", second, owner="li", state="assigned")
    assert (await clerks["li"].get("/cases/next"))["case"]["id"] == second
    assert (await clerks["bo"].get("/cases/next"))["case"]["id"] == first


async def test_cases_of_other_branches_are_not_seen(clerks):
    case = await reported(clerks, BERT)
    assert (await clerks["li"].get("/cases/next"))["case"] is None
    assert (await clerks["ma"].get("/cases/next"))["case"]["id"] == case
    coast = await reported(clerks, CARL)
    clerks.change("case_file", case, owner="hu", state="assigned")
    assert (await clerks["ma"].get("/cases/next"))["case"]["id"] == coast


async def test_an_answer_that_failed_comes_first(clerks):
    first, second = await reported(clerks, ANNA), await reported(clerks, ANNA, "10658888")
    for case in (first, second):
        clerks.change("case_file", case, owner="li", state="investigating")
    clerks.change(
        "case_file", second, state="decided", outcome="upheld", reply_sms=9, reply_failed=True
    )
    shown = await clerks["li"].get("/cases/next")
    assert (shown["case"]["id"], shown["case"]["reply_failed"]) == (second, True)
    clerks.change("case_file", second, reply_failed=False)  # it is on its way again
    assert (await clerks["li"].get("/cases/next"))["case"]["id"] == first


def decided_and_reopened(transaction: Transaction, case: int) -> None:
    li, su = (Worker(Actor(f"staff:{name}", "clerk", "test"), name) for name in ("li", "su"))
    work.take(transaction, case, li)
    work.decide(transaction, case, Outcome.UPHELD, "sent by acme", li)
    work.reopen(transaction, case, "the customer called", su)


async def test_an_appeal_is_not_offered_to_whoever_decided(clerks):
    case = await reported(clerks, ANNA)
    clerks.do(partial(decided_and_reopened, case=case))
    assert (await clerks["li"].get("/cases/next"))["case"] is None
    shown = await clerks["bo"].get("/cases/next")
    assert shown["case"]["round"] == 2
    assert says(shown, "decision") == ["round 1 was decided upheld by staff:li"]


async def test_missing_records_suggest_nothing(clerks):
    clerks.missing()
    await reported(clerks, ANNA)
    shown = await clerks["li"].get("/cases/next")
    (line,) = says(shown, "forwards")
    assert line.startswith("nothing is known of what came in the 72 hours before the report: ")
    assert shown["suggestion"] is shown["reply"] is None


async def test_a_text_that_many_report_is_a_campaign(clerks):
    clerks.missing()
    for n in range(5):
        text = f"【某】您中奖了请点击链接 win.top/{n} 领取 {n}{n} 元！"
        await reported(clerks, f"1380013800{n}", ["10657555", "1069055512"][n % 2], text)
    shown = await clerks["li"].get("/cases/next")
    assert says(shown, "campaign") == [
        "5 customers reported the same text in 7 days, from 2 sources, of acme"
    ]
    assert says(shown, "others") == ["4 other customers reported acme in 10 days"]
    assert shown["suggestion"]["rule"] == "campaign"
    assert shown["suggestion"]["records"] == [f"report:{n}" for n in (5, 4, 3, 2, 1)]


async def test_a_text_is_decided_as_it_was_before(clerks):
    forwarded(clerks, ANNA, "10657555")
    earlier = await reported(clerks, BERT, text=TEXT + " 1234")
    clerks.change("case_file", earlier, state="decided", outcome="not_spam", reply_sms=1)
    await reported(clerks, ANNA, text=TEXT + " 5678")
    shown = await clerks["li"].get("/cases/next")
    assert shown["suggestion"]["outcome"] == "not_spam"
    assert shown["suggestion"]["rule"] == "as_decided_before"
    assert shown["suggestion"]["records"] == [f"case:{earlier}"]
    assert says(shown, "earlier") == ["1 earlier with the same text and company decided not_spam"]


async def test_a_message_of_before_may_be_reported_late(clerks):
    clerks.proxy.segment(
        2, clerks.proxy.decided(f"86{ANNA}", clerks.now - 90 * HOUR), at=clerks.now - 90 * HOUR
    )
    await reported(clerks, ANNA)
    shown = await clerks["li"].get("/cases/next")
    assert says(shown, "forwards") == [
        "nothing of acme came in the 72 hours before the report; all records are there, "
        "1 came earlier"
    ]
    assert shown["suggestion"] is None


async def test_what_was_refused_since_and_a_block_that_has_ended(clerks):
    await reported(clerks, ANNA)
    (block,) = clerks.desk.rows("block")
    refused = clerks.proxy.refused(f"86{ANNA}", clerks.now + HOUR, seq=1 << 30)
    clerks.proxy.segment(2, refused, refused, at=clerks.now + HOUR)
    shown = await clerks["li"].get("/cases/next")
    assert says(shown, "refusals") == ["2 messages refused since"]
    clerks.change("block", block.id, ended_at=clerks.now, end_reason="consent")
    shown = await clerks["li"].get("/cases/next")
    assert says(shown, "block") == ["nothing is blocked: the block of acme has ended, consent"]
    assert says(shown, "refusals") == []


async def test_companies_that_may_be_meant_are_named(clerks):
    clerks.missing()
    await reported(clerks, ANNA, "10691234")
    evidence = '{"by": "forwards", "companies": ["acme", "bravo"]}'
    clerks.change("report", 1, state="to_decide", match_kind="several", evidence=evidence)
    shown = await clerks["li"].get("/cases/next")
    (line,) = says(shown, "report")
    assert line.endswith("the source is blocked, acme or bravo may be meant")
    assert shown["suggestion"] is None


async def test_nobody_found_in_three_days_is_unresolvable(clerks):
    clerks.missing()
    await reported(clerks, ANNA, "10691234")
    assert (await clerks["li"].get("/cases/next"))["suggestion"] is None
    clerks.change("report", 1, received_at=clerks.now - 73 * HOUR)
    shown = await clerks["li"].get("/cases/next")
    assert (shown["suggestion"]["outcome"], shown["suggestion"]["rule"]) == (
        "unresolvable",
        "nobody_found",
    )


async def test_a_handset_is_shown_masked_and_referred(clerks):
    await reported(clerks, ANNA, "13700000001")
    shown = await clerks["li"].get("/cases/next")
    assert shown["case"]["source"] == "137****0001"
    assert "13700000001" not in str(shown)
    assert shown["suggestion"]["rule"] == "not_through_us"


async def test_a_report_on_whom_was_blocked_is_an_alarm_where_we_forwarded_it(clerks):
    case = await reported(clerks, ANNA)
    later = TEXT + "另一条短信"
    await reported(clerks, ANNA, text=later)
    (incident,) = clerks.desk.rows("incident")
    shown = await clerks["li"].get("/cases/next")
    (line,) = [each for each in shown["evidence"] if each["kind"] == "incident"]
    assert not line["alarm"]
    clerks.change("incident", incident.id, result="forwarded")
    shown = await clerks["li"].get("/cases/next")
    assert shown["evidence"][0]["alarm"]
    assert shown["evidence"][0]["records"] == ["incident:1", "report:2", "block:1"]
    assert shown["suggestion"]["rule"] == "forwarded_after_block"
    assert shown["case"]["id"] == case
