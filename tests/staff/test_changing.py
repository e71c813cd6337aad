"""How the staff changes: by two, in halves, and at once where a lost account is closed."""

import pytest

from tests.fakes import people
from tests.fakes.desks import open_desk as opened

LI = {
    "id": "li.wei",
    "person": "no-7",
    "name": "Li Wei",
    "roles": ["clerk"],
    "phone": "13800138000",
}
PASSWORD = "a goose on the river bank"
BRANCHES = {
    "north": {"name": "North", "prefixes": ["86138"]},
    "coast": {"name": "Coast", "parent": "north", "prefixes": ["86137"]},
}


def row_of(desk, id):
    return next(each for each in desk.rows("staff") if each.id == id)


async def added(desk, body=None):
    """Have an account made by two; the halves that the asker and the granter hold."""
    asked = await desk.post("/staff", body or LI)
    said = await desk.as_(people.OTHER).post(f"/releases/{asked['release']}/grant")
    half = (await desk.post(f"/releases/{asked['release']}/half"))["half"]
    return half, said["half"]


async def enrol(desk, first, second, status=200, id="li.wei"):
    body = {"staff": id, "first": first, "second": second, "password": PASSWORD}
    return await desk.as_(None).post("/enrol", body, status=status)


async def test_two_make_an_account_and_each_has_half_of_its_code(open_desk):
    asked = await open_desk.post("/staff", LI)
    other = open_desk.as_(people.OTHER)
    shown = await other.get(f"/releases/{asked['release']}")
    assert (shown["asks"]["id"], shown["asks"]["phone"]) == ("li.wei", "138****8000")
    assert "li.wei" not in [each.id for each in open_desk.rows("staff")]
    said = await other.post(f"/releases/{asked['release']}/grant")
    await other.post(f"/releases/{asked['release']}/half", status=404)
    mine = (await open_desk.post(f"/releases/{asked['release']}/half"))["half"]
    await open_desk.post(f"/releases/{asked['release']}/half", status=409)
    assert mine != said["half"]
    row = row_of(open_desk, "li.wei")
    assert (row.added_by, row.approved_by) == (people.DEFAULT, people.OTHER)
    for first, second in ((mine, mine), (said["half"], said["half"]), (mine, "ABCD-EFGH")):
        await open_desk.as_(None).http.post(
            "/enrol",
            json={"staff": "li.wei", "first": first, "second": second, "password": PASSWORD},
        )
    assert row_of(open_desk, "li.wei").state == "invited"


async def test_with_both_halves_they_enrol(open_desk):
    mine, theirs = await added(open_desk)
    await enrol(open_desk, mine, theirs)
    assert row_of(open_desk, "li.wei").state == "active"
    for half in (mine, theirs):
        assert half not in repr(open_desk.rows("ledger"))
        assert half not in repr(open_desk.rows("release"))


async def test_a_number_of_staff_is_nowhere_as_it_is(open_desk):
    await added(open_desk)
    everything = repr([open_desk.rows(name) for name in ("staff", "release", "ledger")])
    assert "13800138000" not in everything


async def test_roles_reset_and_restore_need_two(open_desk):
    li = await open_desk.hire("li.wei", "clerk")
    said = await open_desk.two("/staff/li.wei/roles", {"roles": ["supervisor"]})
    assert (said["state"], row_of(open_desk, "li.wei").roles) == ("done", "supervisor")
    await li.get("/me", status=401)
    said = await open_desk.two("/staff/li.wei/reset")
    assert said["other_half"] == people.DEFAULT
    assert row_of(open_desk, "li.wei").state == "invited"
    mine = await open_desk.post("/releases/2/half")
    await enrol(open_desk, mine["half"], said["half"])
    await open_desk.post("/staff/li.wei/suspend", {"reason": "lost phone"})
    await open_desk.two("/staff/li.wei/restore")
    assert row_of(open_desk, "li.wei").state == "active"
    for action in ("staff roles changed", "staff reset", "staff restored"):
        (entry,) = open_desk.entries(action)
        assert (entry.actor, entry.detail["asked_by"]) == ("staff:zhao.lei", people.DEFAULT)


@pytest.mark.parametrize("step", ["roles", "reset", "restore", "suspend", "leave"])
async def test_nobody_changes_themselves(open_desk, step):
    body = {"roles": {"roles": ["clerk"]}, "suspend": {}}.get(step)
    await open_desk.post(f"/staff/{people.DEFAULT}/{step}", body, status=403)
    asked = await open_desk.hire("hu.jun", "headquarters")
    wanted = await asked.post(f"/staff/{people.DEFAULT}/reset")
    await open_desk.post(f"/releases/{wanted['release']}/grant", status=403)


async def test_headquarters_is_shut_out_by_two_and_never_below_two(open_desk):
    await open_desk.hire("hu.jun", "headquarters")
    said = await open_desk.two("/staff/hu.jun/suspend", {})
    assert (said["state"], row_of(open_desk, "hu.jun").state) == ("done", "suspended")
    await open_desk.two("/staff/hu.jun/restore")
    await open_desk.two("/staff/hu.jun/leave")
    await open_desk.hire("hu.yan", "headquarters")
    asked = await open_desk.post("/staff/hu.yan/suspend", {})
    await open_desk.as_("hu.yan").post(f"/releases/{asked['release']}/grant", status=403)


async def test_a_lost_account_is_closed_at_once_by_whoever_is_above(
    tmp_path, redis_server, redis_client, records_urls
):
    async with opened(tmp_path / "desk", records_urls, redis_server, branches=BRANCHES) as desk:
        lead = await desk.hire("su.lan", "supervisor", branch="north")
        li = await desk.hire("li.wei", "clerk", branch="north")
        await desk.hire("su.mei", "supervisor", branch="north")
        await desk.hire("su.hai", "supervisor", branch="coast")
        await desk.hire("he.adq", "clerk")
        await li.post("/staff/su.lan/suspend", {}, status=403)
        await lead.post("/staff/su.mei/suspend", {}, status=403)
        await lead.post("/staff/he.adq/suspend", {}, status=404)
        for each in ("li.wei", "su.hai"):
            said = await lead.post(f"/staff/{each}/suspend", {"reason": "call 13800138000"})
            assert said["state"] == "suspended"
        await li.get("/me", status=401)
        assert "13800138000" not in str(desk.entries("staff suspended"))
        await lead.post("/staff/li.wei/restore", status=403)
