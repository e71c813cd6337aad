"""The wires of both legs are cut, closed in one direction, stalled, slow, lossy or in pieces."""

import asyncio
import contextlib
import itertools
import random
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from smsfilter.smpp import const as c
from tests.conftest import MakeSite
from tests.fakes import wire
from tests.fakes.calm import BLOCKED, customer
from tests.fakes.chaos import ChaosProxy, Way
from tests.fakes.esme import FakeESME
from tests.fakes.history import Block, History, check, mark
from tests.fakes.legs import Legs
from tests.fakes.site import Site
from tests.fakes.smsc import FakeSMSC

pytestmark = [pytest.mark.system, pytest.mark.redis, pytest.mark.tls]

FROM = "10657555"
TIMEOUTS = {"bind": "1s", "connect": "1s", "partial": "1s", "unread": "1s", "response": "2s"}
STEPS, STEP_S = 24, 0.08
SENDERS = 4
HEALS_S = 15.0
"""How soon messages pass again: the longest time-out, and what a busy machine adds."""


class Wires:
    """A site whose ESMEs and SMSC are reached through wires that can be broken."""

    def __init__(self, site: Site, smsc: FakeSMSC, esmes: ChaosProxy, smscs: ChaosProxy) -> None:
        self.site = site
        self.smsc = smsc
        self.to_esmes = esmes
        self.to_smsc = smscs
        self._marks = itertools.count()

    async def esme(self) -> FakeESME:
        """One that is bound, as nobody else is."""
        esme = await self.site.legs.esme(self.to_esmes.port)
        return await esme.bound("trx", "acme", **mark(next(self._marks)))


@pytest.fixture
async def wires(make_site: MakeSite, legs: Legs) -> AsyncIterator[Wires]:
    """The site, and its two wires in good order."""
    smsc = await legs.smsc()
    to_smsc = await ChaosProxy.start(smsc.port)
    proxy = {"smsc": [f"127.0.0.1:{to_smsc.port}"], "timeouts": TIMEOUTS}
    site = await make_site(smsc=smsc, config={"proxy": proxy, "log": {"decisions": "refused"}})
    site.block(BLOCKED, "acme")
    to_esmes = await ChaosProxy.start(site.port)
    yield Wires(site, smsc, to_esmes, to_smsc)
    await to_esmes.stop()
    await site.close()
    await to_smsc.stop()
    await smsc.stop()


async def test_what_came_before_a_half_close_is_decided_and_the_smsc_is_unbound(
    wires: Wires,
) -> None:
    """FIN of TCP without a word of TLS: what was whole before it is whole."""
    esme = await wires.esme()
    pdus = [esme.submit_octets(FROM, customer()) for _ in range(50)]
    for pdu in pdus:
        esme.post(pdu)
    await wires.smsc.wait_for(50)
    wires.to_esmes.half_close(wires.to_esmes.to_server)
    connection = wires.smsc.connections[-1]
    assert await connection.wait_ended() == "fin"
    assert connection.received[1:-1] == pdus
    assert wire.header(connection.received[-1]).command_id == c.UNBIND
    line = await wires.site.wait_for_log("session_closed")
    assert (line["who"], line["why"]) == ("esme", "closed")
    await esme.wait_eof()


async def test_a_cut_towards_the_smsc_ends_its_session_and_no_other(wires: Wires) -> None:
    esme = await wires.esme()
    wires.smsc.hold = {c.SUBMIT_SM}
    waiting = esme.post(esme.submit_octets(FROM, customer()))
    await wires.smsc.wait_for(1)
    [lost] = wires.to_smsc.links
    other = await wires.esme()
    wires.smsc.hold.clear()
    lost.cut()
    await esme.wait_ended()
    with pytest.raises(ConnectionResetError):
        await waiting
    assert (await other.submit(FROM, customer())).command_status == 0
    line = await wires.site.wait_for_log("session_closed")
    assert (line["who"], line["why"]) == ("smsc", "reset")


def faults(wires: Wires, chance: random.Random) -> Iterator[Callable[[], None]]:
    """One fault after the other, and what mends it."""

    def drop(way: Way) -> None:
        way.dropping = True

    def slow(way: Way) -> None:
        way.delay_s = 0.03

    def split(way: Way) -> None:
        way.piece = chance.choice((1, 7, 100))

    while True:
        chaos = chance.choice((wires.to_esmes, wires.to_smsc))
        way = chance.choice((chaos.to_server, chaos.to_client))
        do = chance.choice((drop, slow, split, Way.stall, chaos.half_close, None))
        if do is None:
            chaos.cut()
        else:
            do(way)
        lost = do is drop or do == chaos.half_close

        def mend(chaos: ChaosProxy = chaos, lost: bool = lost) -> None:
            if lost:
                chaos.cut()  # what has lost octets is of no use any more
            chaos.heal()

        yield mend


async def test_whatever_happens_to_the_wires_the_history_holds(wires: Wires) -> None:
    """Something new breaks all the time, and whoever has lost its session binds again."""
    esmes: list[FakeESME] = []
    done = asyncio.Event()
    chance = random.Random(20091102)

    async def session() -> None:
        esme = await wires.site.legs.esme(wires.to_esmes.port)
        esmes.append(esme)
        await esme.bound("trx", "acme", **mark(len(esmes)))
        while not done.is_set() and not esme.eof:
            to = [BLOCKED if chance.random() < 0.3 else customer() for _ in range(20)]
            await esme.submit_all(FROM, to)

    async def send() -> None:
        while not done.is_set():
            with contextlib.suppress(OSError, AssertionError):
                await session()
            await asyncio.sleep(0.01)

    sending = [asyncio.create_task(send()) for _ in range(SENDERS)]
    for mend in itertools.islice(faults(wires, chance), STEPS):
        await asyncio.sleep(STEP_S)
        mend()
        await wires.smsc.wait_for(len(wires.smsc.submits()) + 1, HEALS_S)
    done.set()
    await asyncio.gather(*sending)
    last = await wires.esme()
    assert (await last.submit(FROM, customer())).command_status == 0
    assert (await last.submit(FROM, BLOCKED)).command_status == 0x66
    for esme in (*esmes, last):
        await esme.close()
    await wires.smsc.wait_no_connection()
    assert len(esmes) > SENDERS
    blocks = [Block(BLOCKED, "acme", since=0.0)]
    check(History.of([*esmes, last], wires.smsc.connections, blocks))
