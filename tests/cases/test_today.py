"""How the day stands: incidents first, then figures of the branches that are seen."""

from sqlalchemy import insert

from smsfilter.cases import today
from smsfilter.store.schema import incident
from tests.fakes.clerks import HOUR, Clerks

TEXT = "您中奖了，请点击链接 http://t.cn/AbC 领取"


async def reported(
    clerks: Clerks, customer: str, source: str = "10657555", text: str = TEXT
) -> int:
    body = {"customer": customer, "source": source, "text": text}
    said = await clerks["hu"].post("/reports", body)
    found: int = clerks.desk.rows("report")[said["id"] - 1].case_id
    return found


async def test_a_day_without_anything(clerks):
    said = await clerks["li"].get("/today")
    counts = ("received", "open", "due", "breaches", "unowned", "replies_failed")
    assert [said[name] for name in counts] == [0] * 6
    assert said["incidents"] == said["companies"] == said["campaigns"] == []
    (row,) = clerks.desk.entries("day looked at")
    assert row.detail == {"branch": "north", "count": 0}


async def test_what_came_is_due_late_unowned_and_failed(clerks):
    cases = [await reported(clerks, f"1380013800{n}") for n in range(6)]
    clerks.change("case_file", cases[0], due_at=clerks.now + HOUR)
    clerks.change("case_file", cases[1], due_at=clerks.now - HOUR)
    clerks.change("case_file", cases[2], owner="li", state="assigned")
    failed = {"owner": "li", "state": "decided", "outcome": "upheld"}
    clerks.change("case_file", cases[3], **failed, reply_sms=1, reply_failed=True)
    clerks.change("case_file", cases[4], owner="li", state="closed", closed_at=clerks.now)
    clerks.change("report", 6, received_at=clerks.now - 48 * HOUR)
    said = await clerks["li"].get("/today")
    counts = ("received", "open", "due", "breaches", "unowned", "replies_failed")
    assert [said[name] for name in counts] == [5, 5, 1, 1, 3, 1]


async def test_the_figures_are_those_of_the_branches_that_are_seen(clerks):
    await reported(clerks, "13800138000")
    await reported(clerks, "13900139000")
    await reported(clerks, "13700137000")  # of the coast, which is below the south
    seen = {name: (await clerks[name].get("/today"))["received"] for name in ("li", "ma", "hu")}
    assert seen == {"li": 1, "ma": 2, "hu": 3}


async def test_companies_and_texts_that_many_report(clerks):
    for n in range(5):
        text = f"【某】您中奖了 请点击链接 win.top/{n} 领取 {n}{n} 元"
        await reported(clerks, f"1380013800{n}", ["10657555", "10691234"][n % 2], text)
    await reported(clerks, "13800138009", "10658888", "the text of somebody else")
    said = await clerks["li"].get("/today")
    assert said["companies"] == [
        {"company": "acme", "reports": 3, "customers": 3},
        {"company": "bravo", "reports": 1, "customers": 1},
    ]
    (text,) = said["campaigns"]
    assert (text["customers"], text["sources"], text["companies"]) == (5, 2, ["acme"])
    assert text["report"] == 5


async def test_incidents_are_on_top_those_that_we_forwarded_first(clerks):
    await reported(clerks, "13800138000")
    await reported(clerks, "13800138000", text=TEXT + "又是一条")
    (opened,) = clerks.desk.rows("incident")

    def more(transaction):
        values = {
            "report": 2,
            "block": opened.block,
            "block_seq": opened.block_seq,
            "case_id": opened.case_id,
        }
        for result in ("forwarded", "accepted_before"):
            transaction.connection.execute(
                insert(incident).values(**values, opened_at=transaction.now, result=result)
            )

    clerks.do(more)
    said = await clerks["li"].get("/today")
    assert [(each["id"], each["result"], each["alarm"]) for each in said["incidents"]] == [
        (2, "forwarded", True),
        (3, "accepted_before", False),
        (1, None, False),
    ]
    assert {each["of"] for each in said["incidents"]} == {"acme"}
    assert (await clerks["ma"].get("/today"))["incidents"] == []


async def test_figures_are_made_once_for_many_and_each_look_is_entered(clerks, monkeypatch):
    made = []
    figures = today.Today.figures

    def counted(*arguments):
        made.append(arguments[2])
        return figures(*arguments)

    monkeypatch.setattr(today.Today, "figures", counted)
    for name in ("li", "bo", "li", "ma"):
        await clerks[name].get("/today")
    assert [sorted(each) for each in made] == [["north"], ["coast", "south"]]
    assert len(clerks.desk.entries("day looked at")) == 4
