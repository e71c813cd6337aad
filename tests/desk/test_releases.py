"""What needs two people: the rules that hold for every kind, on both databases."""

import asyncio

import pytest
from sqlalchemy import insert, update
from sqlalchemy.exc import IntegrityError

from smsfilter.desk import release_room, releases
from smsfilter.desk.ending import Recycles
from smsfilter.desk.release_room import ReleaseRoom
from smsfilter.flow.rights import ROLES, Right
from smsfilter.ledger.actor import system
from smsfilter.store.records import RecordsAway
from smsfilter.store.schema import release, staff
from tests.fakes import people
from tests.fakes.desks import open_desk as opened

ANNA, BERT = "13800138000", "13900139000"
NORTH = {"north": {"name": "North", "prefixes": ["86138"]}}


async def asked(desk, number=ANNA, **how):
    """Ask that a block of a customer ends; the id of the request."""
    block = await desk.post("/blocks", {"customer": number, "target": "acme"})
    said = await desk.post(f"/blocks/{block['id']}/remove", {"reason": "consent"}, **how)
    return said.get("release")


async def test_one_asks_another_one_releases(open_desk):
    wanted = await asked(open_desk)
    other = open_desk.as_(people.OTHER)
    assert open_desk.blocked("86" + ANNA) == {"acme"}
    (listed,) = (await other.get("/releases"))["items"]
    assert (listed["id"], listed["kind"], listed["subject"]) == (wanted, "block.end", "block:1")
    shown = await other.get(f"/releases/{wanted}")
    assert (shown["asks"]["reason"], shown["asks"]["customer"]) == ("consent", "138****8000")
    said = await other.post(f"/releases/{wanted}/grant")
    assert (said["state"], said["changed"], said["in_force"]) == ("done", True, True)
    assert open_desk.blocked("86" + ANNA) == set()
    (row,) = open_desk.rows("release")
    assert (row.asked_by, row.released_by, row.body_enc) == (people.DEFAULT, people.OTHER, b"")
    (entry,) = open_desk.entries("block removed")
    assert (entry.actor, entry.detail["asked_by"]) == (f"staff:{people.OTHER}", people.DEFAULT)
    (granted,) = open_desk.entries("release granted")
    assert (granted.actor, granted.role, entry.role) == (entry.actor, "supervisor", "supervisor")
    assert (await other.post(f"/releases/{wanted}/grant", status=409))["detail"].endswith("already")


async def test_whoever_asks_cannot_release(open_desk):
    wanted = await asked(open_desk)
    said = await open_desk.post(f"/releases/{wanted}/grant", status=403)
    assert "you asked for it" in said["detail"]
    await open_desk.post(f"/releases/{wanted}/refuse", {}, status=403)
    assert len(open_desk.rows("block")) == 1
    assert open_desk.rows("block")[0].ended_at is None


async def test_the_same_again_is_the_same_request(open_desk):
    wanted = await asked(open_desk)
    assert await asked(open_desk) == wanted
    assert len(open_desk.entries("release asked")) == 1


async def test_refused_and_taken_back(open_desk):
    other = open_desk.as_(people.OTHER)
    first = await asked(open_desk)
    await other.post(f"/releases/{first}/take-back", status=403)
    await other.post(f"/releases/{first}/refuse", {"reason": f"call {ANNA}"})
    (entry,) = open_desk.entries("release refused")
    assert ANNA not in str(entry.detail)
    second = await asked(open_desk)
    await open_desk.post(f"/releases/{second}/take-back")
    for each in (first, second):
        await other.post(f"/releases/{each}/grant", status=409)
    assert [row.state for row in open_desk.rows("release")] == ["refused", "taken_back"]
    assert all(row.body_enc == b"" for row in open_desk.rows("release"))


async def test_a_right_is_looked_at_anew(open_desk):
    clerk = await open_desk.hire("li.wei", "clerk")
    lead = await open_desk.hire("su.lan", "supervisor")
    wanted = await asked(open_desk)
    await clerk.post(f"/releases/{wanted}/grant", status=403)
    await change(open_desk, staff.c.id == people.DEFAULT, state="suspended")
    await open_desk.hire("hu.jun", "headquarters")
    said = await lead.post(f"/releases/{wanted}/grant", status=409)
    assert people.DEFAULT in said["detail"]


async def test_nothing_until_two_of_headquarters(open_desk):
    wanted = await asked(open_desk)
    lead = await open_desk.hire("su.lan", "supervisor")
    await change(open_desk, staff.c.id == people.OTHER, state="invited")
    said = await lead.post(f"/releases/{wanted}/grant", status=409)
    assert "two of headquarters" in said["detail"]
    await asked(open_desk, BERT, status=409)


async def test_branches_see_and_release_their_own(
    tmp_path, redis_server, redis_client, records_urls
):
    async with opened(tmp_path / "desk", records_urls, redis_server, branches=NORTH) as desk:
        north = await desk.hire("su.lan", "supervisor", branch="north")
        theirs, others = await asked(desk), await asked(desk, BERT)
        listed = (await north.get("/releases"))["items"]
        assert [each["id"] for each in listed] == [theirs]
        await north.get(f"/releases/{others}", status=404)
        await north.post(f"/releases/{others}/grant", status=404)
        await north.post("/blocks/2/remove", {"reason": "consent"}, status=404)
        await north.post("/blocks/recycle", {"rows": [{"customer": BERT}]}, status=422)
        await north.post(f"/releases/{theirs}/grant")


async def test_late_ones_are_let_go(open_desk):
    wanted = await asked(open_desk)
    await change(open_desk, release.c.id == wanted, expires_at=open_desk.office.clock() - 1)
    said = await open_desk.as_(people.OTHER).post(f"/releases/{wanted}/grant", status=409)
    assert "expired" in said["detail"]
    assert await open_desk.office.writer.write(releases.expire) == 1
    assert open_desk.rows("release")[0].state == "expired"
    assert len(open_desk.entries("release expired")) == 1


async def test_what_was_asked_is_what_is_granted(open_desk):
    wanted = await asked(open_desk)
    await change(open_desk, release.c.id == wanted, subject="block:2")
    said = await open_desk.as_(people.OTHER).post(f"/releases/{wanted}/grant", status=409)
    assert "not what was asked" in said["detail"]


async def test_a_user_of_the_machine_is_nobody_of_two(open_desk):
    wanted = await asked(open_desk)
    machine = open_desk.as_(None)
    await machine.post(f"/releases/{wanted}/grant", status=403)
    await machine.post("/blocks/1/remove", {"reason": "consent"}, status=403)


async def test_the_records_hold_two_apart(open_desk):
    await asked(open_desk)

    def work(transaction):
        row = dict(open_desk.rows("release")[0]._mapping) | {"id": 9, "state": "done"}
        transaction.connection.execute(
            insert(release).values(row | {"released_by": row["asked_by"]})
        )

    with pytest.raises(IntegrityError):
        await open_desk.office.writer.write(work)


async def test_a_file_is_gone_on_with_where_it_was_cut(open_desk, monkeypatch):
    """The desk ends in the middle of a file; the next one does the rest, and nothing twice."""
    numbers = [f"138001390{n:02}" for n in range(60)]
    for each in numbers[::20]:
        await open_desk.post("/blocks", {"customer": each, "target": "acme"})
    portion, do = Recycles._recycle, ReleaseRoom._do
    is_cut, is_done, loop = asyncio.Event(), asyncio.Event(), asyncio.get_running_loop()

    def cut(self, transaction, some, released):
        if len(some) < 50:
            loop.call_soon_threadsafe(is_cut.set)
            raise RecordsAway("cut")
        return portion(self, transaction, some, released)

    async def done(self, released):
        await do(self, released)
        is_done.set()

    monkeypatch.setattr(Recycles, "_recycle", cut)
    monkeypatch.setattr(release_room, "ANSWER_S", 0)
    body = {"rows": [{"customer": each} for each in numbers]}
    assert (await open_desk.two("/blocks/recycle", body))["state"] == "released"
    async with asyncio.timeout(10):
        await is_cut.wait()
    await open_desk.released.stop()
    (row,) = open_desk.rows("release")
    assert (row.state, row.done_at) == ("released", None)
    await spoiled(open_desk, row)
    monkeypatch.setattr(Recycles, "_recycle", portion)
    monkeypatch.setattr(ReleaseRoom, "_do", done)
    await open_desk.released.start()
    async with asyncio.timeout(10):
        await is_done.wait()
    spoilt, row = open_desk.rows("release")
    assert (row.state, row.body_enc) == ("done", b"")
    assert spoilt.state == "released"
    (entry,) = open_desk.entries("release done")
    assert entry.role in ROLES[Right.RELEASE_BLOCKS]
    assert [each.end_reason for each in open_desk.rows("block")] == ["recycled"] * 3
    assert len(open_desk.entries("number recycled")) == 3


async def spoiled(desk, row):
    """One more that was released, and whose body nobody can open."""
    values = row._asdict() | {"id": 0, "body_enc": b"nothing that was sealed"}
    await desk.office.writer.write(
        lambda into: into.connection.execute(insert(release).values(values))
    )


async def change(desk, which, **values):
    """Change a row as only time or another desk would."""
    table = which.left.table

    def work(transaction):
        transaction.connection.execute(update(table).where(which).values(**values))
        transaction.enter("changed", system("test"), touches=[(staff, "")])

    await desk.office.writer.write(work)
