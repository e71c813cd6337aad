"""Memory near its limit: who came first stays, who holds too much goes, nobody new comes in."""

import asyncio

import pytest

from smsfilter.smpp import const as c
from tests.conftest import MakeSite
from tests.fakes import wire
from tests.fakes.calm import customer

pytestmark = [pytest.mark.system, pytest.mark.redis]

FROM, TO = "10657555", "8613800138000"
LIMIT_MIB = 100
DEAF, ROUNDS = 24, 100


async def test_the_deaf_are_closed_and_memory_is_given_back(make_site: MakeSite) -> None:
    site = await make_site(config={"proxy": {"limits": {"memory": LIMIT_MIB}}})
    other = await site.esme("bravo")
    deaf = []
    for _ in range(DEAF):
        esme = await site.connect(rcvbuf=4096)
        await esme.bound("rx", "acme")
        esme.pause_reading()
        deaf.append(site.smsc.connections[-1])
    pdu = wire.deliver_sm(1, TO, FROM, b"", tlvs=[(c.TAG_MESSAGE_PAYLOAD, b"x" * 60_000)])
    for _ in range(ROUNDS):  # until it is too much of all together, and not yet of any alone
        if site.logged("memory_short"):
            break
        for connection in deaf:
            connection.send_raw(pdu)
        await asyncio.sleep(0.05)
    line = await site.wait_for_log("memory_short")
    events = [each["event"] for each in site.log]
    assert "session_closed" not in events[: events.index("memory_short")]
    assert line["most"] == LIMIT_MIB << 20
    assert line["taken"] > line["most"]
    await site.changes.until(
        lambda: len(site.logged("session_closed", why="unread")) >= DEAF // 2,
        lambda: f"many of the deaf closed\n{site.story()}",
    )
    await site.wait_for_log("memory_enough")
    assert site.rss_kib() < LIMIT_MIB << 10
    assert (await other.submit("10658888", customer())).command_status == 0
    assert (await (await site.esme()).submit(FROM, customer())).command_status == 0
    assert await site.metric("smsfilter_limit", limit="memory") == LIMIT_MIB << 20


async def test_nobody_new_comes_in_while_it_is_short(make_site: MakeSite) -> None:
    site = await make_site(config={"proxy": {"limits": {"memory": 1}}})
    await site.wait_for_log("memory_short")
    stranger = await site.connect()
    await stranger.wait_ended()
    assert await site.metric("smsfilter_closes_total", leg="proxy", why="too_many") == 1
    assert not site.smsc.connections
