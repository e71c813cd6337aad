"""Reports over the API: entered for customers, imported, decided, looked at."""

from tests.fakes import people

ANNA, BERT = "8613800138000", "8613900139000"
TEXT = "您中奖了，请点击链接"
ACME = {"customer": "13800138000", "source": "10657555", "text": TEXT}
UNKNOWN = {"customer": "13800138000", "source": "10691234", "text": TEXT}


async def test_a_report_by_phone_is_one_by_sms(open_desk):
    said = await open_desk.post("/reports", ACME | {"note": "called at noon"})
    assert said == {
        "id": 1,
        "number": said["number"],
        "outcome": "blocked",
        "company": "acme",
        "copy": False,
        "in_force": True,
    }
    assert open_desk.blocked(ANNA) == {"acme"}
    (entry,) = open_desk.entries("report taken")
    assert (entry.actor, entry.origin) == (f"staff:{people.DEFAULT}", "socket")
    assert entry.detail["channel"] == "phone"
    (sms,) = open_desk.rows("sms_out")
    assert (sms.kind, sms.state) == ("blocked", "queued")


async def test_the_same_again_is_a_copy(open_desk):
    first = await open_desk.post("/reports", ACME)
    second = await open_desk.post("/reports", ACME | {"customer": "+86 138-0013-8000"})
    assert second["copy"]
    assert second["id"] == first["id"]
    (report,) = open_desk.rows("report")
    assert report.copies == 2
    assert len(open_desk.rows("block")) == 1


NO_REPORTS = [
    ({"customer": "10086"}, "customer: not a number"),
    ({"customer": "nobody"}, "customer: not a number"),
    ({"source": "12"}, "source: not a number"),
    ({"source": "ACME", "text": ""}, "text: a header alone"),
    ({"source": ""}, "source: String should have at least 1"),
    ({"reason": "x"}, "reason: Extra inputs"),
]


async def test_what_is_no_report_is_said(open_desk):
    for change, problem in NO_REPORTS:
        said = await open_desk.post("/reports", ACME | change, status=422)
        assert said["detail"].startswith(problem)
        assert "138" not in said["detail"].replace("13800138000 or +8613800138000", "")
    assert open_desk.rows("report") == []


async def test_the_list_is_masked_paged_and_entered(open_desk):
    for number in range(3):
        await open_desk.post("/reports", {**ACME, "text": f"{TEXT}{number}"})
    await open_desk.post("/reports", UNKNOWN)
    page = await open_desk.get("/reports", limit=2)
    assert [each["id"] for each in page["items"]] == [4, 3]
    assert page["items"][1]["customer"] == "138****8000"
    rest = await open_desk.get("/reports", limit=2, after=page["next"])
    assert [each["id"] for each in rest["items"]] == [2, 1]
    assert (await open_desk.get("/reports", after=rest["next"]))["items"] == []
    unmatched = await open_desk.get("/reports", state="unmatched")
    assert [each["id"] for each in unmatched["items"]] == [4]
    since = page["items"][0]["received_at"]
    assert [e["id"] for e in (await open_desk.get("/reports", since=since))["items"]] == [4]
    assert (await open_desk.get("/reports", since=since * 2))["items"] == []
    listed = open_desk.entries("reports listed")
    assert [each.detail["count"] for each in listed] == [2, 2, 0, 1, 1, 0]


NO_LISTS = [
    {"state": "open"},
    {"since": "today"},
    {"limit": "0"},
    {"after": "x"},
    {"after": "9" * 30},
]


async def test_what_cannot_be_listed_or_shown(open_desk):
    for query in NO_LISTS:
        await open_desk.get("/reports", status=422, **query)
    for report in ("2", "x", "9" * 40):
        await open_desk.get(f"/reports/{report}", status=404)
    assert open_desk.entries("reports listed") == open_desk.entries("report shown") == []


async def test_the_text_is_shown_for_a_purpose_only(open_desk):
    await open_desk.post("/reports", ACME | {"note": "called at noon"})
    shown = await open_desk.get("/reports/1")
    assert TEXT not in str(shown)
    assert (shown["customer"], shown["company"], shown["match"]) == (
        "138****8000",
        "acme",
        "company",
    )
    assert [each["target"] for each in shown["blocks"]] == ["acme"]
    assert [each["kind"] for each in shown["sms"]] == ["blocked"]
    assert [each["action"] for each in shown["timeline"]] == ["report taken"]
    assert open_desk.entries("text shown") == []
    opened = await open_desk.post("/reports/1/texts", {"purpose": "answer to the customer"})
    assert (opened["text"], opened["note"]) == (TEXT, "called at noon")
    shown = await open_desk.get("/reports/1")
    assert len(open_desk.entries("report shown")) == 2
    texts = open_desk.entries("text shown")
    assert [each.detail["purpose"] for each in texts] == ["answer to the customer"] * 2
    steps = ["report taken", "report shown", "text shown", "text shown"]
    assert [each["action"] for each in shown["timeline"]] == steps
    await open_desk.post("/reports/1/texts", {"purpose": " "}, status=422)
    await open_desk.post("/reports/2/texts", {"purpose": "x"}, status=404)
    await open_desk.get("/reports/1", status=422, purpose="in a URL")


async def test_a_number_in_a_purpose_is_masked_and_that_of_a_ticket_is_not(open_desk):
    await open_desk.post("/reports", ACME)
    body = {"purpose": "ticket 20261127001: 8613800138000 asks"}
    await open_desk.post("/reports/1/texts", body)
    (text,) = {each.detail["purpose"] for each in open_desk.entries("text shown")}
    assert text == "ticket 20261127001: 138****8000 asks"


async def test_nothing_of_it_stands_in_clear(open_desk):
    await open_desk.post("/reports", ACME | {"note": "called at noon"})
    await open_desk.post("/reports", UNKNOWN)
    await open_desk.post("/reports/1/texts", {"purpose": "a test"})
    tables = ("report", "customer", "case_file", "block", "sms_out", "ledger")
    everything = "".join(repr(tuple(row)) for table in tables for row in open_desk.rows(table))
    for secret in ("13800138000", TEXT, "called at noon", repr(TEXT.encode())[2:-1]):
        assert secret not in everything


# --- a person decides


async def test_a_person_names_the_company(open_desk):
    await open_desk.post("/reports", UNKNOWN)
    said = await open_desk.post("/reports/1/resolve", {"company": "bravo"})
    assert said == {"id": 1, "company": "bravo", "block": 1, "ended": [], "in_force": True}
    assert open_desk.blocked(ANNA) == {"bravo"}
    shown = await open_desk.get("/reports/1")
    assert (shown["state"], shown["company"]) == ("blocked", "bravo")
    assert shown["evidence"]["by"] == "person"
    assert [(e["kind"], e["state"]) for e in shown["sms"]] == [
        ("unmatched", "queued"),
        ("blocked", "queued"),
    ]
    assert [each["action"] for each in shown["timeline"]] == ["report taken", "report resolved"]
    again = await open_desk.post("/reports/1/resolve", {"company": "acme"}, status=409)
    assert again["detail"] == "report 1 is blocked: there is nothing to be decided"


async def test_the_block_of_the_source_ends_with_it(open_desk):
    await open_desk.post("/reports", UNKNOWN)
    block = await _source_block(open_desk, report=1)
    said = await open_desk.post("/reports/1/resolve", {"company": "bravo"})
    assert said["ended"] == [block]
    assert open_desk.blocked(ANNA) == {"bravo"}
    ended = next(row for row in open_desk.rows("block") if row.id == block)
    assert ended.end_reason == "company known"


async def test_a_case_that_is_open_against_the_company_goes_on(open_desk):
    await open_desk.post("/reports", ACME)
    await open_desk.post("/reports", UNKNOWN)
    said = await open_desk.post("/reports/2/resolve", {"company": "acme"})
    assert said["block"] == 1
    assert len({row.case_id for row in open_desk.rows("report")}) == 1
    cases = {row.id: row for row in open_desk.rows("case_file")}
    assert [cases[n].closed_at is None for n in sorted(cases)] == [True, False]


async def test_what_cannot_be_decided(open_desk):
    await open_desk.post("/reports", UNKNOWN)
    await open_desk.post("/reports/1/resolve", {"company": "nobody"}, status=409)
    await open_desk.post("/reports/2/resolve", {"company": "acme"}, status=404)
    assert open_desk.rows("block") == []
    assert open_desk.entries("report resolved") == []


# --- files


def _rows(count: int) -> list[dict[str, str]]:
    return [{**ACME, "customer": f"1380013{8000 + n}"} for n in range(count)]


def _made(desk) -> list[object]:
    """What an import makes, but for the moment when the index followed."""
    blocks = [(row.id, row.ended_at, row.changed_seq) for row in desk.rows("block")]
    return [*(desk.rows(name) for name in ("report", "sms_out", "case_file", "customer")), blocks]


async def test_a_file_is_taken_in_once(open_desk):
    rows = [*_rows(5), {**UNKNOWN, "text": "other"}, _rows(5)[0]]
    said = await open_desk.post("/reports/import", {"rows": rows})
    assert (said["failed"], said["in_force"]) == (0, True)
    assert [each["new"] for each in said["results"]] == [*[True] * 6, False]
    outcomes = [each["outcome"] for each in said["results"]]
    assert outcomes == [*["blocked"] * 5, "unmatched", "blocked"]
    assert said["results"][6]["report"] == said["results"][0]["report"]
    before = _made(open_desk)
    said = await open_desk.post("/reports/import", {"rows": rows})
    assert not any(each["new"] for each in said["results"])
    assert _made(open_desk) == before
    imports = open_desk.entries("reports imported")
    assert [dict(each.detail) for each in imports] == [{"rows": 7, "new": 6}, {"rows": 7, "new": 0}]
    assert len(open_desk.entries("report taken")) == 6


async def test_a_row_stays_taken_in_after_a_withdrawal(open_desk):
    await open_desk.post("/reports/import", {"rows": _rows(1)})
    await open_desk.two("/blocks/1/remove", {"reason": "withdrawal"})
    said = await open_desk.post("/reports/import", {"rows": _rows(1)})
    (result,) = said["results"]
    assert (result["new"], result["outcome"]) == (False, "withdrawn")
    assert open_desk.blocked(ANNA) == set()


async def test_a_dry_run_changes_nothing(open_desk):
    await open_desk.post("/reports/import", {"rows": _rows(1)})
    said = await open_desk.post("/reports/import", {"rows": _rows(3), "dry_run": True})
    assert [each["new"] for each in said["results"]] == [False, True, True]
    assert [each["outcome"] for each in said["results"]] == ["blocked"] * 3
    assert len(open_desk.rows("report")) == 1
    assert len(open_desk.rows("customer")) == 1


async def test_all_rows_that_are_wrong_are_named(open_desk):
    rows = [*_rows(1), {**ACME, "customer": "x"}, {**ACME, "source": "1"}]
    said = await open_desk.post("/reports/import", {"rows": rows}, status=422)
    assert [each["row"] for each in said["errors"]] == [1, 2]
    assert open_desk.rows("report") == []


async def test_an_older_report_goes_by_whose_the_source_was_then(open_desk):
    now = open_desk.office.clock()
    row = {**ACME, "received_at": now - 3600 * 1_000_000}
    said = await open_desk.post("/reports/import", {"rows": [row, ACME]})
    assert [each["outcome"] for each in said["results"]] == ["blocked", "blocked"]
    assert [each["new"] for each in said["results"]] == [True, True]


# --- the index is away


async def test_a_report_stands_while_redis_is_away(tmp_path, own_redis, records_urls):
    from tests.fakes.desks import open_desk  # noqa: PLC0415

    async with open_desk(tmp_path / "desk", records_urls, own_redis) as desk:
        own_redis.kill()
        said = await desk.post("/reports", ACME)
        assert (said["outcome"], said["in_force"]) == ("blocked", False)
        assert said["why"]
        (sms,) = desk.rows("sms_out")
        assert sms.state == "held"
        own_redis.start()
        block = await desk.post("/blocks", {"customer": BERT, "target": "acme"})
        while not block["in_force"]:
            block = await desk.post("/blocks", {"customer": BERT, "target": "acme"})
        assert desk.blocked(ANNA) == {"acme"}


async def _source_block(desk, report: int) -> int:
    """Block the source of a report, as where two companies are possible."""
    from smsfilter.desk import blocks  # noqa: PLC0415
    from smsfilter.ledger.actor import system  # noqa: PLC0415

    (row,) = [each for each in desk.rows("report") if each.id == report]

    def work(transaction):
        put = blocks.put(
            transaction,
            row.customer,
            "source:10691234",
            "report",
            report=report,
            case_id=row.case_id,
        )
        transaction.enter("block put", system("test"), touches=put.touched)
        return put.id

    return await desk.office.writer.write(work)
