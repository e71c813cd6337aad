"""Cases over the API: who sees which, what is entered, what is opened, and how lists page."""

import contextlib
from dataclasses import replace
from typing import Any

from sqlalchemy import insert

from smsfilter.cases import branching
from smsfilter.desk.evidence import Evidence
from smsfilter.flow.branches import Branch, Branches
from smsfilter.ledger.actor import system
from smsfilter.reports import ids
from smsfilter.store.schema import metadata
from smsfilter.store.transaction import Transaction
from tests.fakes.clerks import HOUR, Clerks

ANNA, BERT, CARL = "13800138000", "13900139000", "13700137000"
TEXT = "您中奖了，请点击链接 http://t.cn/AbC 领取"


async def reported(
    clerks: Clerks, customer: str, source: str = "10657555", text: str = TEXT
) -> int:
    """Enter a report; the id of its case."""
    body = {"customer": customer, "source": source, "text": text, "note": "by phone"}
    said = await clerks["hu"].post("/reports", body)
    found: int = clerks.desk.rows("report")[said["id"] - 1].case_id
    return found


async def listed(clerks: Clerks, who: str, **query: Any) -> list[int]:
    """The ids of a whole list, read in pages of two."""
    found: list[int] = []
    after = None
    while True:
        page = {"limit": 2} | ({} if after is None else {"after": after})
        said = await clerks[who].get("/cases", **query, **page)
        found += [each["id"] for each in said["items"]]
        after = said["next"]
        if after is None:
            return found


async def three(clerks: Clerks) -> None:
    """A case of each branch; the second is the most urgent."""
    for n, customer in enumerate((ANNA, BERT, CARL), 1):
        await reported(clerks, customer)
        clerks.change("case_file", n, due_at=clerks.now + (10 - n % 2 * 5 + n) * HOUR)
    clerks.change("case_file", 2, due_at=clerks.now - HOUR)


async def test_everybody_sees_the_cases_of_their_branches(clerks):
    await three(clerks)
    branches = [row.branch for row in clerks.desk.rows("case_file")]
    assert branches == ["north", "south", "coast"]
    assert await listed(clerks, "hu") == [2, 1, 3]
    assert await listed(clerks, "li") == [1]
    assert await listed(clerks, "ma") == [2, 3]
    for who, case, status in (("li", 2, 404), ("ma", 3, 200), ("ma", 1, 404), ("hu", 1, 200)):
        await clerks[who].get(f"/cases/{case}", status)
    assert await listed(clerks, "hu", branch="south") == [2, 3]
    await clerks["li"].get("/cases", 404, branch="south")
    await clerks["hu"].get("/cases", 404, branch="west")


async def test_a_list_is_masked_and_one_row_of_the_ledger_with_its_count(clerks):
    await three(clerks)
    said = await clerks["ma"].get("/cases", late="1")
    (one,) = said["items"]
    assert (one["customer"], one["company"], one["report"]) == ("139****9000", "acme", ids.spell(2))
    (row,) = clerks.desk.entries("cases listed")
    assert (row.actor, row.detail) == ("staff:ma", {"count": 1, "late": "1"})
    assert BERT not in str(said)


async def test_lists_by_owner_state_company_and_all(clerks):
    await three(clerks)
    await reported(clerks, ANNA, "10658888")
    await clerks["li"].post("/cases/1/take")
    assert await listed(clerks, "li", mine="1") == [1]
    assert await listed(clerks, "hu", owner="li") == [1]
    assert await listed(clerks, "hu", unowned="1") == [2, 3, 4]
    assert await listed(clerks, "hu", unowned="1", state="new") == [2, 3, 4]
    assert await listed(clerks, "ma", unowned="1") == [2, 3]
    assert await listed(clerks, "hu", company="acme") == [3, 2, 1]
    assert await listed(clerks, "ma", company="acme") == [3, 2]
    assert await listed(clerks, "hu", state="new") == [4, 3, 2]
    assert await listed(clerks, "ma", state="new") == [3, 2]
    assert await listed(clerks, "hu", all="1") == [4, 3, 2, 1]
    assert await listed(clerks, "ma", all="1") == [3, 2]
    assert await listed(clerks, "hu", state="closed") == []


NO_LISTS = [
    {"state": "open"},
    {"mine": "1", "unowned": "1"},
    {"mine": "1", "company": "acme"},
    {"late": "1", "state": "closed"},
    {"company": "acme", "state": "new"},
    {"after": "7"},
    {"after": "x.y"},
    {"all": "1", "after": "7.8"},
    {"stat": "new"},
]


async def test_what_cannot_be_listed_is_said(clerks):
    for query in NO_LISTS:
        await clerks["li"].get("/cases", 422, **query)
    assert clerks.desk.entries("cases listed") == []


async def test_cases_that_are_due_at_the_same_time_are_all_listed_once(clerks):
    for n in range(7):
        await reported(clerks, f"1380013800{n}")
        clerks.change("case_file", n + 1, due_at=clerks.now)
    assert await listed(clerks, "li") == [1, 2, 3, 4, 5, 6, 7]
    assert await listed(clerks, "hu") == [1, 2, 3, 4, 5, 6, 7]


async def test_reports_are_those_of_the_branches_as_well(clerks):
    await three(clerks)
    for who, seen in (("hu", [3, 2, 1]), ("li", [1]), ("ma", [3, 2])):
        assert [each["id"] for each in (await clerks[who].get("/reports"))["items"]] == seen
    await clerks["li"].get("/reports/2", 404)
    await clerks["li"].post("/reports/2/texts", {"purpose": "x"}, 404)
    await clerks["li"].post("/reports/2/resolve", {"company": "bravo"}, 404)
    await clerks["ma"].get("/reports/3")


# --- shown


async def test_a_case_is_shown_with_all_that_happened(clerks):
    await reported(clerks, ANNA)
    await clerks["li"].post("/cases/1/take")
    await clerks["li"].post(
        "/cases/1/decide",
        {"outcome": "upheld", "reason": "seen by 8613800138000", "reply": True},
    )
    said = await clerks["li"].get("/cases/1")
    assert (said["customer"], said["company"], said["source"]) == (
        "138****8000",
        "acme",
        "10657555",
    )
    assert [each["match"] for each in said["reports"]] == ["company"]
    assert [each["outcome"] for each in said["decisions"]] == ["upheld"]
    assert [(each["kind"], each["state"]) for each in said["sms"]] == [
        ("blocked", "queued"),
        ("result", "queued"),
    ]
    steps = [each["action"] for each in said["timeline"]]
    assert steps[0] == "report taken"
    assert steps.index("block in force") < steps.index("case taken")
    assert steps[-3:] == ["case taken", "case decided", "case reply written"]
    decided = next(each for each in said["timeline"] if each["action"] == "case decided")
    assert decided["detail"]["reason"] == "seen by 138****8000"
    assert ANNA not in str(said)
    assert TEXT not in str(said)
    again = await clerks["su"].get("/cases/1")
    (look,) = [each for each in again["timeline"] if each["action"] == "case shown"]
    assert look["actor"] == "staff:li"


async def test_texts_and_the_number_are_opened_for_a_purpose_and_entered_before(clerks):
    await reported(clerks, ANNA)
    said = await clerks["li"].post("/cases/1/texts", {"purpose": "8613800138000 has called"})
    (one,) = said["texts"]
    assert (one["text"], one["note"], one["report"]) == (TEXT, "by phone", ids.spell(1))
    assert {each.detail["purpose"] for each in clerks.desk.entries("text shown")} == {
        "138****8000 has called"
    }
    customer = clerks.desk.rows("customer")[0].id
    path = f"/customers/{customer}/number"
    said = await clerks["li"].post(path, {"purpose": "to call back", "case": 1})
    assert said["number"] == "+8613800138000"
    (row,) = clerks.desk.entries("number shown")
    assert (row.actor, row.case_id, row.customer_id) == ("staff:li", "1", customer)
    assert row.detail == {"purpose": "to call back"}
    await clerks["li"].post(path, {"purpose": " "}, 422)
    await clerks["li"].post(path, {"purpose": "x", "case": 9}, 422)
    await clerks["ma"].post(path, {"purpose": "x"}, 404)
    await clerks["ma"].post("/cases/1/texts", {"purpose": "x"}, 404)
    await clerks["li"].post("/customers/c0/number", {"purpose": "x"}, 404)
    assert len(clerks.desk.entries("number shown")) == 1
    clerks.change("customer", customer, number_enc=None)
    await clerks["li"].post(path, {"purpose": "x"}, 410)


# --- worked on


async def test_a_clerk_answers_in_other_words_or_in_another_way(clerks):
    await reported(clerks, ANNA)
    await clerks["li"].post("/cases/1/take")
    await clerks["li"].post("/cases/1/reply", {}, 409)
    await clerks["li"].post("/cases/1/decide", {"outcome": "referred", "reason": "x"})
    said = await clerks["li"].post("/cases/1/reply", {"text": "字" * 71}, 422)
    assert said["detail"] == "text: does not fit one SMS of 70 characters: 1 too many"
    await clerks["li"].post("/cases/1/reply", {"text": "a", "otherwise": "b"}, 422)
    said = await clerks["li"].post("/cases/1/reply", {"otherwise": "by phone"})
    assert (said["state"], said["reply_failed"]) == ("closed", False)
    await clerks["li"].post("/cases/1/reply", {}, 409)
    assert [each.kind for each in clerks.desk.rows("sms_out")] == ["blocked"]


async def test_only_who_leads_assigns_and_opens_again(clerks):
    await reported(clerks, ANNA)
    await clerks["li"].post("/cases/1/assign", {"owner": "bo"}, 403)
    said = await clerks["su"].post("/cases/1/assign", {"owner": "bo", "why": "li is ill"})
    assert (said["state"], said["owner"]) == ("assigned", "bo")
    said = await clerks["li"].post("/cases/1/take", status=409)
    assert said["detail"].startswith("case 1 is bo's")
    said = await clerks["su"].post("/cases/1/assign", {"owner": "ma"}, 409)
    assert said["detail"] == "ma is of south and does not see the cases of north"
    await clerks["bo"].post("/cases/1/take")
    await clerks["bo"].post("/cases/1/decide", {"outcome": "not_spam", "reason": "x"})
    await clerks["bo"].post("/cases/1/reopen", {"reason": "x"}, 403)
    said = await clerks["su"].post("/cases/1/reopen", {"reason": "the wrong text"})
    assert (said["state"], said["round"], said["owner"]) == ("reopened", 2, None)
    said = await clerks["bo"].post("/cases/1/take", status=409)
    assert said["detail"] == "an appeal is decided by somebody else than bo, who did so before"


async def test_a_case_that_is_not_there(clerks):
    for path in ("/cases/9", "/cases/x"):
        await clerks["li"].get(path, 404)
    await clerks["li"].post("/cases/9/take", status=404)
    assert clerks.desk.entries("case shown") == []


# --- branches


async def test_customers_go_to_the_branches_that_the_configuration_has_now(clerks):
    await three(clerks)
    office = clerks.desk.office
    assert await branching.run(office) == 0
    office = replace(office, branches=Branches([Branch("north", "North", prefixes=("86139",))]))
    assert await branching.run(office) == 3
    assert [row.branch for row in clerks.desk.rows("case_file")] == ["hq", "north", "hq"]
    assert {row.branch for row in clerks.desk.rows("customer")} == {"hq", "north"}
    assert await branching.run(office) == 0
    entries = clerks.desk.entries("customers sorted by branch")
    assert [each.detail["moved"] for each in entries] == [0, 3]
    assert entries[-1].detail == {"opened": 3, "moved": 3, "cases": [1, 2, 3]}


async def test_sorting_that_was_broken_off_goes_on(clerks, monkeypatch):
    await three(clerks)
    monkeypatch.setattr(branching, "PORTION", 1)
    office = replace(clerks.desk.office, branches=Branches([]))
    real, count = office.writer.write, 0

    async def write(work):
        nonlocal count
        count += 1
        if count == 2:
            raise RuntimeError("killed")
        return await real(work)

    monkeypatch.setattr(office.writer, "write", write)
    with contextlib.suppress(RuntimeError):
        await branching.run(office)
    assert sum(row.branch == "hq" for row in clerks.desk.rows("case_file")) == 1
    assert await branching.run(office) == 2
    assert {row.branch for row in clerks.desk.rows("case_file")} == {"hq"}


# --- what nobody at the desk did


async def test_the_timeline_has_what_the_proxies_the_smsc_and_the_clock_did(clerks):
    await reported(clerks, ANNA)
    now = clerks.desk.office.clock()
    (folder,) = Evidence(clerks.desk.office).records().folders
    token8 = folder.tokens(b"8613800138000")

    def happened(transaction: Transaction) -> None:
        def put(table: str, **values: Any) -> None:
            transaction.connection.execute(insert(metadata.tables[table]).values(values))

        segment = {"proxy": "p9", "name": "7", "from_at": 0, "to_at": now, "count": 9, "lost": 0}
        put("segment", id=77, **segment, clean=True, sha256="", prev="")
        seen = {"segment": 77, "token8": token8, "first": now + 1, "last": now + 5}
        put("refusal", **seen, company="acme", source="1065755501", count=3)
        put("refusal", **seen, company="bravo", source="10658888", count=9)
        sms = clerks.desk.rows("sms_out")[0]
        put("receipt", message_id="1", at=now + 6, stat="DELIVRD", sms_out=sms.id)
        put("incident", report=1, block=1, block_seq=1, opened_at=now + 7, result="forwarded")
        put("warning", kind="breach", about="case:1", round=1, staff="su", at=now + 8)
        transaction.enter("test", system("test"))

    await clerks.desk.office.writer.write(happened)
    said = await clerks["li"].get("/cases/1")
    seen = [each for each in said["timeline"] if each["at"] > now]
    assert [(each["action"], each["actor"]) for each in seen] == [
        ("refused at the proxy", "proxy:p9"),
        ("receipt taken", "system:receipts"),
        ("incident opened", "system:incidents"),
        ("warned", "system:clock"),
    ]
    detail = {"company": "acme", "source": "1065755501", "count": 3, "first": now + 1}
    assert seen[0]["detail"] == detail
    assert seen[3]["detail"]["kind"] == "breach"
    assert said["sms"][0]["receipts"] == [{"at": now + 6, "stat": "DELIVRD", "err": None}]


async def test_blocks_are_of_the_customers_of_the_own_branches(clerks):
    await three(clerks)
    blocks = {row.id: row.case_id for row in clerks.desk.rows("block")}
    for who, seen in (("hu", {1, 2, 3}), ("li", {1}), ("ma", {2, 3})):
        items = (await clerks[who].get("/blocks"))["items"]
        assert {blocks[each["id"]] for each in items} == seen
        of_bert = (await clerks[who].post("/blocks/of", {"customer": BERT}))["items"]
        assert bool(of_bert) == (2 in seen)
        for block, case in blocks.items():
            await clerks[who].get(f"/blocks/{block}", 200 if case in seen else 404)
