"""Blocks over the API: put, ended, recycled, adopted, looked at."""

import pytest

ANNA, BERT = "8613800138000", "8613900139000"
REPORT = {"customer": "13800138000", "source": "10657555", "text": "您中奖了，请点击链接"}
BY_HAND = {"customer": ANNA, "target": "acme", "reason": "by letter"}


async def test_a_block_by_hand(open_desk):
    said = await open_desk.post("/blocks", BY_HAND)
    assert said == {"id": 1, "changed": True, "in_force": True}
    assert open_desk.blocked(ANNA) == {"acme"}
    again = await open_desk.post("/blocks", {"customer": "138 0013 8000", "target": "acme"})
    assert again == {"id": 1, "changed": False, "in_force": True}
    (entry,) = open_desk.entries("block added")
    assert entry.detail == {"target": "acme", "reason": "by letter"}


TARGETS = [
    ("*", "*"),
    ("source:+86 1069-1234", "source:10691234"),
    ("source:某公司B", "source:某公司b"),
    ("source:13900139000", "source:13900139000"),
    ("source:+49 151 23456789", "source:4915123456789"),
]
NO_BLOCKS = [
    ({"target": "nobody"}, 409, "there is no company nobody"),
    ({"customer": "110"}, 422, "not a number of a customer"),
    ({"reason": "for 13800138000"}, 422, "reason: String should match"),
    ({"target": ""}, 422, "target: String should have"),
]


async def test_whom_a_block_may_name(open_desk):
    for target, _ in TARGETS:
        await open_desk.post("/blocks", {"customer": ANNA, "target": target})
    assert open_desk.blocked(ANNA) == {member for _, member in TARGETS}
    for number in (BERT[2:], "15123456789"):
        assert number not in str([row.target for row in open_desk.rows("block")])
        assert number not in str(open_desk.entries("block added"))
    assert BERT[2:] not in str(await open_desk.get("/blocks"))


async def test_what_cannot_be_blocked(open_desk):
    for change, status, problem in NO_BLOCKS:
        said = await open_desk.post("/blocks", BY_HAND | change, status=status)
        assert problem in said["detail"]
    assert open_desk.rows("block") == []


async def test_an_end_is_in_force_and_entered(open_desk):
    await open_desk.post("/blocks", BY_HAND)
    said = await open_desk.two("/blocks/1/remove", {"reason": "consent"})
    assert (said["changed"], said["in_force"]) == (True, True)
    assert open_desk.blocked(ANNA) == set()
    again = await open_desk.post("/blocks/1/remove", {"reason": "correction"})
    assert (again["changed"], again["ended_at"]) == (False, said["ended_at"])
    (entry,) = open_desk.entries("block removed")
    assert (entry.object, entry.detail["reason"]) == ("block:1", "consent")
    shown = await open_desk.get("/blocks/1")
    assert (shown["end_reason"], shown["customer"]) == ("consent", "138****8000")
    assert [each["action"] for each in shown["timeline"]] == ["block added", "block removed"]


async def test_what_cannot_be_ended(open_desk):
    await open_desk.post("/blocks", BY_HAND)
    for block, reason, status in (
        (1, "annoyance", 422),
        (2, "consent", 404),
        ("x", "consent", 404),
    ):
        await open_desk.post(f"/blocks/{block}/remove", {"reason": reason}, status=status)
    assert open_desk.blocked(ANNA) == {"acme"}


@pytest.mark.parametrize(
    ("reason", "state", "closed"),
    [
        ("withdrawal", "withdrawn", True),
        ("consent", "lifted", False),
        ("correction", "lifted", False),
    ],
)
async def test_the_same_report_is_a_new_one_after_an_end(open_desk, reason, state, closed):
    await open_desk.post("/reports", REPORT)
    await open_desk.two("/blocks/1/remove", {"reason": reason})
    (report,) = open_desk.rows("report")
    (case,) = open_desk.rows("case_file")
    assert (report.state, case.closed_at is not None) == (state, closed)
    assert case.state == ("withdrawn" if closed else "new")
    again = await open_desk.post("/reports", REPORT)
    assert (again["outcome"], again["copy"]) == ("blocked", False)
    assert open_desk.blocked(ANNA) == {"acme"}


async def test_lists_are_masked_paged_and_entered(open_desk):
    for n in range(3):
        await open_desk.post("/blocks", {"customer": f"1380013800{n}", "target": "acme"})
    await open_desk.post("/blocks", {"customer": BERT, "target": "bravo"})
    await open_desk.two("/blocks/4/remove", {"reason": "consent"})
    page = await open_desk.get("/blocks", limit=2)
    assert [each["id"] for each in page["items"]] == [3, 2]
    assert page["items"][0]["customer"] == "138****8002"
    rest = await open_desk.get("/blocks", limit=2, after=page["next"])
    assert ([each["id"] for each in rest["items"]], rest["next"]) == ([1], None)

    async def ids(**query: str) -> list[int]:
        return [each["id"] for each in (await open_desk.get("/blocks", **query))["items"]]

    assert await ids(state="ended") == [4]
    assert await ids(state="all") == [4, 3, 2, 1]
    assert await ids(target="bravo") == []
    assert await ids(target="bravo", state="all") == [4]
    await open_desk.get("/blocks", status=422, state="old")
    counts = [each.detail["count"] for each in open_desk.entries("blocks listed")]
    assert counts == [2, 1, 1, 4, 0, 1]


async def test_the_blocks_of_a_customer(open_desk):
    await open_desk.post("/blocks", BY_HAND)
    await open_desk.post("/blocks", {"customer": BERT, "target": "acme"})
    found = await open_desk.post("/blocks/of", {"customer": "0086 13800138000"})
    assert [each["id"] for each in found["items"]] == [1]
    assert (await open_desk.post("/blocks/of", {"customer": "13700137000"}))["items"] == []
    of = [each.customer_id for each in open_desk.entries("blocks listed")]
    assert of == [found["items"][0]["customer_id"], None]
    assert len(open_desk.rows("customer")) == 2


# --- recycled numbers


async def test_a_recycled_number_leaves_nothing_behind(open_desk):
    await open_desk.post("/reports", REPORT)
    await open_desk.post("/blocks", {"customer": ANNA, "target": "*"})
    await open_desk.post("/blocks", {"customer": BERT, "target": f"source:{ANNA}"})
    rows = [{"customer": "13800138000"}, {"customer": "13700137000"}]
    said = await open_desk.two("/blocks/recycle", {"rows": rows})
    assert (said["recycled"], said["unknown"], said["blocks"]) == (1, 1, 3)
    assert said["in_force"]
    assert open_desk.blocked(ANNA) == open_desk.blocked(BERT) == set()
    assert {row.end_reason for row in open_desk.rows("block")} == {"recycled"}
    (sms,) = open_desk.rows("sms_out")
    assert (sms.state, sms.next_at) == ("given_up", None)
    (case,) = open_desk.rows("case_file")
    assert case.closed_at is not None
    again = await open_desk.two("/blocks/recycle", {"rows": rows})
    assert (again["recycled"], again["unknown"]) == (0, 2)
    (entry,) = open_desk.entries("number recycled")
    ended = {"blocks": [1, 2, 3], "cases": [1], "reports": [1], "sms": [1]}
    assert (entry.actor, entry.detail) == ("staff:zhao.lei", ended | {"asked_by": "wang.fang"})
    assert [row.state for row in open_desk.rows("report")] == ["lifted"]


async def test_the_new_subscriber_is_left_alone_by_an_old_file(open_desk):
    await open_desk.post("/blocks", BY_HAND)
    day = open_desk.office.clock()
    dated, undated = {"customer": ANNA, "recycled_at": day}, {"customer": ANNA}
    assert (await open_desk.two("/blocks/recycle", {"rows": [dated]}))["recycled"] == 1
    await open_desk.post("/blocks", BY_HAND)
    said = await open_desk.two("/blocks/recycle", {"rows": [dated, undated]})
    assert (said["newer"], said["unclear"], said["unclear_rows"]) == (1, 1, [1])
    assert open_desk.blocked(ANNA) == {"acme"}
    later = {"customer": ANNA, "recycled_at": open_desk.office.clock()}
    assert (await open_desk.two("/blocks/recycle", {"rows": [later]}))["recycled"] == 1
    assert open_desk.blocked(ANNA) == set()


async def test_a_file_with_errors_recycles_nothing(open_desk):
    await open_desk.post("/blocks", BY_HAND)
    tomorrow = open_desk.office.clock() + 86_400_000_000
    rows = [{"customer": ANNA}, {"customer": "x"}, {"customer": ANNA, "recycled_at": tomorrow}]
    said = await open_desk.post("/blocks/recycle", {"rows": rows}, status=422)
    assert [each["row"] for each in said["errors"]] == [1, 2]
    assert open_desk.blocked(ANNA) == {"acme"}


# --- what an operator put into Redis


async def test_blocks_of_an_operator_are_named_and_adopted(open_desk):
    await open_desk.post("/blocks", BY_HAND)
    open_desk.server.client().sadd(f"block:{{{BERT}}}", "bravo", "source:1069")
    named = await open_desk.post("/blocks/adopt", {"dry_run": True})
    assert named["unknown"] == 2
    assert sorted(named["first"]) == ["139****9000 bravo", "139****9000 source:1069"]
    assert len(open_desk.rows("block")) == 1
    said = await open_desk.post("/blocks/adopt", {})
    assert said == {"adopted": 2, "in_force": True}
    assert (await open_desk.post("/blocks/adopt", {})) == {"adopted": 0, "in_force": True}
    assert open_desk.blocked(BERT) == {"bravo", "source:1069"}
    assert len(open_desk.entries("block adopted")) == 2


async def test_nothing_is_adopted_from_a_redis_that_is_away(tmp_path, own_redis, records_urls):
    from tests.fakes.desks import open_desk  # noqa: PLC0415

    async with open_desk(tmp_path / "desk", records_urls, own_redis) as desk:
        own_redis.kill()
        said = await desk.post("/blocks/adopt", {}, status=503)
        assert "redis" in said["detail"].lower()
        removed = await desk.post("/blocks", BY_HAND)
        assert not removed["in_force"]
        own_redis.start()


@pytest.mark.parametrize("typed", ["source:13912345678", "13912345678", "+8613912345678"])
async def test_what_is_looked_for_and_not_there_is_not_entered(open_desk, typed):
    """The ledger keeps what it is told for ever, and people paste numbers into the wrong place."""
    await open_desk.get("/blocks", target=typed)
    await open_desk.post("/ledger/read", {"customer": typed})
    await open_desk.post("/ledger/read", {"case": typed})
    assert [each.detail["target"] for each in open_desk.entries("blocks listed")] == [None]
    assert all("3912345678" not in str(each) for each in open_desk.entries("ledger read"))
