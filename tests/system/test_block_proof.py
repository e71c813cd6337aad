"""Proof and incidents with the real desk and the real proxy: what was sent, and what is shown."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from smsfilter.ledger.chain import parse
from smsfilter.smpp.const import ESME_ROK
from smsfilter.store import ledger
from tests.conftest import MakeDesk, MakeSite
from tests.fakes import people
from tests.fakes.books import until
from tests.fakes.desk import Desk
from tests.fakes.esme import FakeESME

pytestmark = [pytest.mark.system, pytest.mark.redis]

ANNA, BERT = "8613800138000", "8613900139000"
MASKED = "138****8000"
FROM = "10657555"
BLOCKED = 0x66


@pytest.fixture
async def desk(make_desk: MakeDesk) -> Desk:
    desk = await make_desk(config={"decisions": {"name": "p1"}})
    for company in ("acme", "bravo"):
        desk.site.approve(company)
    return desk


async def sends(esme: FakeESME, source: str = FROM, to: str = ANNA) -> int:
    """The status of one submission."""
    return (await esme.submit(source, to)).command_status


async def report(desk: Desk, text: str, source: str = FROM, by: str = ANNA) -> None:
    """Have a customer report a text, until the desk has taken it."""
    (delivery,) = await desk.handsets[by].text(f"{source}*{text}")
    assert delivery.accepted


async def spam(desk: Desk, esme: FakeESME, times: int = 1, to: str = ANNA) -> None:
    """Have acme reach a customer, who reports it: acme is blocked."""
    for _ in range(times):
        assert await sends(esme, to=to) == ESME_ROK
    await report(desk, "您中奖了", by=to)
    assert await sends(esme, to=to) == BLOCKED


async def proof(desk: Desk, *words: str, number: str = ANNA) -> tuple[int, dict[str, Any]]:
    """The exit status of `block proof --json`, and what it says."""
    asked = words or ("--company", "acme")
    command = ("block", "proof", "--json", *asked)
    done = await asyncio.to_thread(desk.command, *command, stdin=number + "\n")
    assert done.stdout, done.stderr
    assert number not in done.stdout + done.stderr
    return done.returncode, json.loads(done.stdout)


async def entered(desk: Desk, action: str) -> list[Any]:
    """The rows of the ledger of one kind."""
    rows = await desk.look(lambda c: [parse(row.body) for row in ledger.rows(c)])
    return [row for row in rows if row.action == action]


async def incident(desk: Desk, since: int) -> dict[str, Any]:
    """Wait for the desk to decide an incident; what it says of it in the log."""
    said = await desk.wait_for_log("incident", since=since)
    row = (await entered(desk, "incident"))[-1]
    assert row.detail["result"] == said["result"]
    assert row.case_id is not None
    assert row.customer_id is not None
    assert await desk.metric("smsfilter_incidents_total", result=said["result"]) == 1
    return said


def folder(desk: Desk) -> Path:
    return desk.directory / "state" / "decisions"


async def closed(desk: Desk, number: int) -> Path:
    """Restart the proxy and wait until a segment of before is closed."""
    await desk.site.restart()
    path = folder(desk) / f"{number:010d}.seg"
    await until(path.exists)
    return path


async def test_proven_until_a_message_was_let_past_the_block(desk: Desk) -> None:
    acme, acme2, bravo = [await desk.site.esme(name) for name in ("acme", "acme2", "bravo")]
    await spam(desk, acme, 2)
    assert await sends(acme2) == BLOCKED
    assert await sends(bravo, "10658888") == ESME_ROK
    status, said = await proof(desk)
    assert (status, said["result"]) == (0, "proven")
    counts = {"violations": 0, "doubtful": 0, "delivered_after": 0, "gaps": 0}
    assert said["counts"] == counts | {"refused": 2, "before": 2}
    assert {one["reason"] for one in said["refused"]} == {"blocked_by_report"}
    assert (said["customer"], said["target"], said["channel"]) == (MASKED, "acme", "sms")
    assert list(said["proxies"]) == ["p1"]
    by_id = await desk.ran("block", "proof", str(said["block"]))
    assert f"{MASKED} and acme: PROVEN" in by_id
    assert "refused since: 2" in by_id
    first, second = await entered(desk, "proof given")
    assert first.object == second.object == f"block:{said['block']}"
    assert first.actor == f"staff:{people.DEFAULT}"
    assert first.detail["result"] == "proven"
    assert await desk.metric("smsfilter_proofs_total", result="proven") == 2

    # out of Redis while the desk is down, and put back before it is up
    await desk.stop()
    desk.site.unblock(ANNA, "acme")
    assert await sends(acme) == ESME_ROK
    desk.site.block(ANNA, "acme")
    await closed(desk, 1)
    await desk.start()
    taken = await desk.wait_for_log("segment_taken_in")
    assert (taken["proxy"], taken["segment"]) == ("p1", 1)
    (row,) = await entered(desk, "segment taken in")
    assert (row.object, row.detail["refused"], row.detail["fault"]) == ("segment:p1/1", 2, None)
    status, said = await proof(desk)
    assert (status, said["result"]) == (1, "forwarded")
    (violation,) = said["violations"]
    assert violation["source"] == FROM
    assert violation["seq"] >= said["seq"]
    table = await asyncio.to_thread(desk.command, "block", "proof", str(said["block"]))
    assert table.returncode == 1
    assert f"{violation['segment']}/{violation['slot']}" in table.stdout

    # reported, and the desk dies before it has looked into that, or at once after
    await report(desk, "又来了")
    await desk.kill()
    await desk.start()
    await desk.wait_for_log("incident")
    (alarm,) = desk.logged("incident")
    assert (alarm["result"], alarm["level"]) == ("forwarded", "error")
    (row,) = await entered(desk, "incident")
    assert row.detail["messages"] == [f"p1/{violation['segment']}/{violation['slot']}"]


async def test_what_is_missing_leaves_nothing_proven(make_desk: MakeDesk) -> None:
    own, other = [
        {"proxy": "p1", "path": "state/decisions"},
        {"proxy": "p2", "path": "elsewhere"},
    ]
    config = {"decisions": {"name": "p1"}, "desk": {"decisions": [own, other]}}
    desk = await make_desk(config=config)
    desk.site.approve("acme")
    await spam(desk, await desk.site.esme())
    await closed(desk, 1)
    (await closed(desk, 2)).unlink()
    await desk.site.kill()
    with (folder(desk) / "0000000003.open").open("r+b") as file:  # as if the machine had died
        file.seek(16)
        file.write(b"\1" * 16)
    await desk.site.start()
    status, said = await proof(desk)
    assert (status, said["result"]) == (3, "not_provable")
    assert {(gap["proxy"], gap["why"]) for gap in said["gaps"]} == {
        ("p1", "segments 2 to 2 are missing"),
        ("p1", "segment 3 has no clean end"),
        ("p2", "no records of this proxy"),
    }


async def test_incidents_that_are_none_of_the_filters(desk: Desk) -> None:
    acme = await desk.site.esme()
    late = acme.submit_octets(FROM, ANNA)
    await acme.request(late)
    await spam(desk, acme)
    desk.site.smsc.bound_connections("acme")[0].send_receipt(late, "4711", "DELIVRD")
    await acme.recv()
    status, said = await proof(desk)
    assert status == 0
    (receipt,) = said["delivered_after"]
    assert (receipt["verdict"], receipt["reason"]) == ("receipt", "DELIVRD")
    since = len(desk.log)
    await report(desk, "又来了")
    assert (await incident(desk, since))["result"] == "accepted_before"

    await spam(desk, acme, to=BERT)
    since = len(desk.log)
    await report(desk, "又来了", by=BERT)
    said = await incident(desk, since)
    assert (said["result"], said["messages"]) == ("not_through_us", [])

    assert (await asyncio.to_thread(desk.command, "block", "proof")).returncode == 2
    nobody = await asyncio.to_thread(
        desk.command, "block", "proof", "--company", "bravo", stdin=BERT
    )
    assert (nobody.returncode, nobody.stdout) == (3, "")
    assert nobody.stderr == "smsfilter: 139****9000 has not blocked bravo\n"
    empty = await asyncio.to_thread(desk.command, "block", "proof", "--source", "1069", stdin="")
    assert empty.returncode == 2


async def test_what_nobody_owns_is_found_by_what_was_forwarded(
    make_desk: MakeDesk, make_site: MakeSite
) -> None:
    """The registry does not know the source, the records know who has sent from it."""
    policy = {"unknown": "account"}
    site = await make_site(registry=None, index_ready=False, started=False, policy=policy)
    desk = await make_desk(site=site, config={"decisions": {"name": "p1"}})
    site.approve("stranger")
    stranger = await site.esme("stranger")
    assert await sends(stranger, "1069777") == ESME_ROK
    await report(desk, "您中奖了", "1069777")
    assert await sends(stranger, "1069777") == BLOCKED
    status, said = await proof(desk, "--company", "stranger")
    assert status == 0
    assert (said["counts"]["before"], said["counts"]["refused"]) == (1, 1)
