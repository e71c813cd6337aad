"""Many at once: binds that fail, connections that come and go, messages without end.

One site for the whole file, with the limits as they are by default.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from smsfilter.smpp import const as c
from tests.fakes import wire
from tests.fakes.calm import Visitors, calm_site, customer
from tests.fakes.legs import Legs
from tests.fakes.site import Site
from tests.fakes.smsc import FakeSMSC

pytestmark = [
    pytest.mark.system,
    pytest.mark.redis,
    pytest.mark.asyncio(loop_scope="module"),
]

FROM, TO = "10657555", "8613800138000"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def calm(tmp_path_factory: pytest.TempPathFactory, legs: Legs) -> AsyncIterator[Site]:
    """The site of this file."""
    smsc = await legs.smsc()
    config = {"log": {"decisions": "refused"}}
    async with calm_site(tmp_path_factory.mktemp("storm"), smsc, config=config, legs=legs) as site:
        yield site
    await smsc.stop()


@pytest.fixture
def smsc(calm: Site) -> FakeSMSC:
    """Its SMSC."""
    return calm.smsc


# who guesses


async def test_a_thousand_guessed_passwords_are_summed_up_and_hold_up_nobody(
    connect: Visitors, calm: Site, smsc: FakeSMSC
) -> None:
    """Another system_id each time and many addresses, so that no delay is in the way."""
    smsc.bind_status = lambda pdu: 0 if b"secret" in pdu else c.ESME_RINVPASWD
    bystander = await connect("bravo")
    descriptors, since = calm.descriptors(), len(calm.log)
    loop = asyncio.get_running_loop()
    started = loop.time()

    async def guess(n: int) -> None:
        esme = await calm.legs.esme(calm.port, local_host=f"127.0.1.{n + 1}")
        for m in range(20):
            answer = await esme.bind("trx", f"g{n}x{m}", "guess", timeout_s=20)
            assert answer.command_status == c.ESME_RINVPASWD
        await esme.close()

    guessing = asyncio.gather(*(guess(n) for n in range(50)))
    while not guessing.done():
        assert (await bystander.submit("10658888", customer())).command_status == 0
    await guessing
    took = loop.time() - started
    refused = Counter[str]()

    def all_are_told() -> bool:
        refused.clear()
        for line in calm.logged("bind_refused", "bind_refused_summary", since=since):
            refused[line["reason"]] += line.get("count", 1)
        return refused["refused_by_smsc"] == 1000

    await calm.changes.until(all_are_told, lambda: f"a thousand in all, not {refused}")
    lines = calm.logged("bind_refused", "bind_refused_summary", since=since)
    assert len(lines) <= 21 * (took + 3), "so many a second, and their sum"
    assert await calm.metric("smsfilter_binds_total", result="refused_by_smsc") == 1000
    await smsc.changes.until(lambda: len(smsc.open_connections()) == 1, "the others to end")
    await bystander.enquire_link()
    assert calm.descriptors() <= descriptors + 2


async def test_one_who_guesses_in_parallel_waits_as_long_as_one_who_does_not(
    connect: Visitors, calm: Site, smsc: FakeSMSC
) -> None:
    smsc.bind_status = c.ESME_RINVPASWD
    first = await connect(None)
    for _ in range(3):
        assert (await first.bind("trx", "guess")).command_status == c.ESME_RINVPASWD
    crowd = [await connect(None) for _ in range(20)]
    made = len(smsc.connections)
    waiting = [esme.post(wire.bind(c.BIND_TRANSCEIVER, 1, "guess", "secret")) for esme in crowd]
    await asyncio.sleep(0.7)
    assert not any(answer.done() for answer in waiting)
    assert len(smsc.connections) == made, "nor does the SMSC hear of them meanwhile"
    for answer in waiting:
        assert wire.header(await answer).command_status == c.ESME_RINVPASWD


async def test_one_who_tries_many_names_waits_and_those_who_are_known_do_not(
    connect: Visitors, calm: Site, smsc: FakeSMSC
) -> None:
    smsc.bind_status = lambda pdu: 0 if b"secret" in pdu else c.ESME_RINVPASWD
    here = {"local_host": "127.0.2.1"}
    await connect("bravo", **here)
    guesser = await connect(None, **here)
    for n in range(30):
        assert (await guesser.bind("trx", f"g{n}", "guess")).command_status == c.ESME_RINVPASWD
    made = len(smsc.connections)
    guess = guesser.post(wire.bind(c.BIND_TRANSCEIVER, 99, "next", "guess"))
    known = await connect("bravo", **here)
    assert (await known.submit("10658888", customer())).command_status == 0
    await connect("acme", local_host="127.0.2.2")
    assert not guess.done()
    assert len(smsc.connections) == made + 2, "the SMSC does not hear of the guess meanwhile"
    assert wire.header(await guess).command_status == c.ESME_RINVPASWD


# who comes and goes


async def test_connections_that_come_and_go_leave_nothing_behind(
    connect: Visitors, calm: Site, smsc: FakeSMSC
) -> None:
    """Bound or half bound, with messages under way, closed or reset."""
    bystander = await connect("bravo")
    descriptors, since = calm.descriptors(), len(calm.log)

    async def come_and_go(n: int) -> None:
        for m in range(10):
            esme = await calm.legs.esme(calm.port)
            esme.send_raw(wire.bind(c.BIND_TRANSCEIVER, 1, "acme"))
            if m % 3:
                await esme.changes.until(lambda: esme.received, "an answer", 20)  # noqa: B023
                esme.send_raw(b"".join(esme.submit_octets(FROM, customer()) for _ in range(20)))
            if (n + m) % 2:
                esme.abort()
            await esme.close()

    storm = asyncio.gather(*(come_and_go(n) for n in range(40)))
    while not storm.done():
        assert (await bystander.submit("10658888", customer())).command_status == 0
    await storm
    await smsc.changes.until(lambda: len(smsc.open_connections()) == 1, "the others to end", 20)
    submits = smsc.submits()
    assert len(set(submits)) <= len(submits)
    async with asyncio.timeout(10):
        while await calm.metric("smsfilter_sessions") > 1:
            pass
    assert await calm.metric("smsfilter_in_flight") == 0
    assert calm.descriptors() <= descriptors + 2
    assert not calm.logged("unhandled", "accept_paused", since=since)
