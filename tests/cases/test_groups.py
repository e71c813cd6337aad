"""Reports that wait for a person, by what was reported: seen first, then decided at once."""

import pytest

from smsfilter.cases import clerk_routes
from tests.fakes.clerks import Clerks

SOURCE = "10691234"
TEXT = "a text of somebody whom nobody knows"


async def reported(clerks: Clerks, count: int, source: str = SOURCE, first: int = 0) -> None:
    """So many customers of the north report a source."""
    for n in range(first, first + count):
        body = {"customer": f"1380013{n:04d}", "source": source, "text": f"{TEXT} {source}"}
        await clerks["hu"].post("/reports", body)


@pytest.fixture(autouse=True)
def _no_records(clerks: Clerks) -> None:
    clerks.missing()  # so that they are unmatched


async def test_groups_are_the_most_reported_first(clerks):
    await reported(clerks, 2)
    await reported(clerks, 3, "10697777")
    await reported(clerks, 1, "13700000001")
    await reported(clerks, 1, "10657555", first=9)  # acme: nobody has to decide anything
    groups = (await clerks["li"].get("/groups"))["items"]
    assert [(each["source"], each["reports"], each["customers"]) for each in groups] == [
        ("10697777", 3, 3),
        (SOURCE, 2, 2),
        ("137****0001", 1, 1),
    ]
    assert groups[0]["key"] == "10697777"
    assert groups[2]["key"].startswith("#")
    assert groups[0]["states"] == {"unmatched": 3}
    (row,) = clerks.desk.entries("report groups listed")
    assert row.detail == {"count": 3}
    assert (await clerks["ma"].get("/groups"))["items"] == []


async def test_a_company_is_named_for_all_after_a_preview(clerks):
    await reported(clerks, 3)
    body = {"source": SOURCE, "company": "acme"}
    preview = await clerks["li"].post("/groups/resolve", body)
    assert preview == {
        "company": "acme",
        "reach": {"reports": 3, "cases": 3, "customers": 3, "blocks": 3, "ends": 0},
    }
    assert clerks.desk.rows("block") == []
    done = await clerks["li"].post("/groups/resolve", body | {"apply": True})
    assert (done["done"], done["failed"], done["next"]) == (3, [], None)
    assert done["in_force"]
    assert clerks.desk.blocked("8613800130000") == {"acme"}
    assert {each.state for each in clerks.desk.rows("report")} == {"blocked"}
    told = [each for each in clerks.desk.rows("sms_out") if each.kind == "blocked"]
    assert [each.state for each in told] == ["queued"] * 3
    assert len(clerks.desk.entries("report resolved")) == 3
    assert len(clerks.desk.entries("report group looked at")) == 1
    again = await clerks["li"].post("/groups/resolve", body | {"apply": True})
    assert (again["done"], again["reach"]["reports"]) == (0, 0)
    assert len(clerks.desk.entries("report resolved")) == 3


async def test_nobody_is_told_before_it_is_in_force(clerks):
    await reported(clerks, 2)
    redis = clerks.desk.server.client()
    redis.client_pause(60_000, all=False)  # it reads, and writes nothing
    try:
        body = {"source": SOURCE, "company": "acme", "apply": True}
        done = await clerks["li"].post("/groups/resolve", body)
    finally:
        redis.client_unpause()
    assert (done["done"], done["in_force"]) == (2, False)
    assert done["why"]
    told = [each.state for each in clerks.desk.rows("sms_out") if each.kind == "blocked"]
    assert told == ["held"] * 2  # the sweep of the intake releases them
    assert {each.confirmed_at for each in clerks.desk.rows("report")} == {None}


async def test_it_is_done_in_portions_and_taken_up_again(clerks, monkeypatch):
    monkeypatch.setattr(clerk_routes, "PORTION", 2)
    await reported(clerks, 5)
    body = {"source": SOURCE, "company": "acme", "apply": True}
    first = await clerks["li"].post("/groups/resolve", body)
    assert (first["done"], first["next"]) == (2, 2)
    # whoever did it has left; somebody else begins anew
    second = await clerks["bo"].post("/groups/resolve", body)
    assert (second["reach"]["reports"], second["done"]) == (3, 2)
    third = await clerks["bo"].post("/groups/resolve", body | {"after": second["next"]})
    assert (third["done"], third["next"]) == (1, None)
    assert len(clerks.desk.rows("block")) == 5


async def test_reports_of_one_case_are_one_decision(clerks):
    for n in range(2):
        body = {"customer": "13800138000", "source": SOURCE, "text": f"{TEXT} and so {'on ' * n}"}
        await clerks["hu"].post("/reports", body)
    body = {"source": SOURCE, "company": "acme"}
    reach = (await clerks["li"].post("/groups/resolve", body))["reach"]
    assert (reach["reports"], reach["cases"], reach["blocks"]) == (2, 1, 1)
    done = await clerks["li"].post("/groups/resolve", body | {"apply": True})
    assert done["done"] == 1
    assert {each.state for each in clerks.desk.rows("report")} == {"blocked"}


async def test_of_other_branches_nothing_is_decided(clerks):
    await reported(clerks, 2)
    await clerks["hu"].post("/reports", {"customer": "13900139000", "source": SOURCE, "text": TEXT})
    body = {"source": SOURCE, "company": "acme", "apply": True}
    assert (await clerks["ma"].post("/groups/resolve", body))["done"] == 1
    assert clerks.desk.blocked("8613900139000") == {"acme"}
    assert clerks.desk.blocked("8613800130000") == set()


async def test_a_person_s_number_is_named_by_id_or_in_the_body(clerks):
    await reported(clerks, 2, "13700000001")
    (group,) = (await clerks["li"].get("/groups"))["items"]
    for source in (group["key"], "13700000001", "+86 137-0000-0001"):
        said = await clerks["li"].post("/groups/resolve", {"source": source, "company": "acme"})
        assert said["reach"]["reports"] == 2
    unknown = {"source": "13700000002", "company": "acme"}
    await clerks["li"].post("/groups/resolve", unknown, status=404)


async def test_an_unknown_company_is_refused(clerks):
    await reported(clerks, 1)
    body = {"source": SOURCE, "company": "nobody", "apply": True}
    said = await clerks["li"].post("/groups/resolve", body, status=409)
    assert "there is no company nobody" in said["detail"]


async def test_all_are_decided_without_a_company_and_answered(clerks):
    await reported(clerks, 3)
    clerks.change("case_file", 2, owner="bo", state="assigned")
    body = {"source": SOURCE, "outcome": "unresolvable", "reason": "asked 13800130000: no trace"}
    preview = await clerks["li"].post("/groups/decide", body)
    assert (preview["outcome"], preview["reach"]["cases"]) == ("unresolvable", 3)
    assert preview["left"] == 1  # is bo's
    assert (await clerks["su"].post("/groups/decide", body))["left"] == 0
    assert preview["reply"]["characters"] <= preview["reply"]["most"] == 70
    assert {each.outcome for each in clerks.desk.rows("case_file")} == {None}
    done = await clerks["li"].post("/groups/decide", body | {"apply": True})
    assert (done["done"], done["next"]) == (2, None)
    (left,) = done["failed"]
    assert left["case"] == 2
    assert "bo" in left["why"]
    cases = clerks.desk.rows("case_file")
    assert [each.outcome for each in cases] == ["unresolvable", None, "unresolvable"]
    assert [each.kind for each in clerks.desk.rows("sms_out")].count("result") == 2
    decided = clerks.desk.entries("case decided")
    assert {each.detail["reason"] for each in decided} == {"asked 138****0000: no trace"}
    assert (await clerks["li"].post("/groups/decide", body))["reach"]["cases"] == 1


async def test_whoever_assigns_cases_takes_those_of_others(clerks):
    await reported(clerks, 1)
    clerks.change("case_file", 1, owner="bo", state="investigating")
    body = {"source": SOURCE, "outcome": "referred", "reason": "to the police", "apply": True}
    done = await clerks["su"].post("/groups/decide", body)
    assert (done["done"], done["failed"]) == (1, [])
    (case,) = clerks.desk.rows("case_file")
    assert (case.owner, case.outcome) == ("su", "referred")


async def test_what_is_no_outcome_of_a_group(clerks):
    body = {"source": SOURCE, "outcome": "upheld", "reason": "x"}
    await clerks["li"].post("/groups/decide", body, status=422)
