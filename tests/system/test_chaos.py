"""The bad connection of the test kit, between a fake ESME and a fake SMSC and nothing else."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from smsfilter.smpp.const import SUBMIT_SM
from tests.fakes import wire
from tests.fakes.chaos import PIECE_MOST, ChaosProxy, Way
from tests.fakes.esme import FakeESME
from tests.fakes.smsc import FakeSMSC

FROM, TO = "10657555", "8613800138000"


@pytest.fixture
async def chaos(smsc: FakeSMSC) -> AsyncIterator[ChaosProxy]:
    proxy = await ChaosProxy.start(smsc.port)
    yield proxy
    await proxy.stop()


@pytest.fixture
async def esme(chaos: ChaosProxy) -> AsyncIterator[FakeESME]:
    esme = await (await FakeESME.connect(chaos.port)).bound()
    yield esme
    if esme.ended is None:
        await esme.close()


async def test_untouched_it_is_a_wire(chaos: ChaosProxy, esme: FakeESME, smsc: FakeSMSC) -> None:
    answers = await esme.submit_all(FROM, [TO] * 5000)
    assert {answer.command_status for answer in answers} == {0}
    assert smsc.connections[0].received == esme.sent
    assert chaos.to_server.octets == sum(map(len, esme.sent))
    assert chaos.to_client.octets == sum(map(len, esme.received))


@pytest.mark.parametrize("way", ["to_server", "to_client"])
async def test_each_way_is_held_up_for_itself(
    chaos: ChaosProxy, esme: FakeESME, smsc: FakeSMSC, way: str
) -> None:
    getattr(chaos, way).delay_s = 0.3
    loop = asyncio.get_running_loop()
    started = loop.time()
    waiting = esme.post(esme.submit_octets(FROM, TO))
    await smsc.wait_for(1)
    arrived = loop.time() - started
    await esme.response(waiting)
    assert loop.time() - started > 0.29
    assert (arrived > 0.29) == (way == "to_server")


async def test_single_octets_are_the_same_octets(
    chaos: ChaosProxy, esme: FakeESME, smsc: FakeSMSC
) -> None:
    chaos.to_server.piece = chaos.to_client.piece = 1
    answers = await esme.submit_all(FROM, [TO] * 20)
    assert {answer.command_status for answer in answers} == {0}
    assert smsc.connections[0].received == esme.sent


async def test_a_stalled_way_takes_nothing_and_loses_nothing(
    chaos: ChaosProxy, esme: FakeESME, smsc: FakeSMSC
) -> None:
    chaos.to_server.stall()
    pdus = [esme.submit_octets(FROM, TO, b"", tlvs=[(0x424, b"x" * 60_000)]) for _ in range(200)]
    answers = [esme.post(pdu) for pdu in pdus]
    delivered = smsc.connections[0].deliver_sm(TO, FROM)
    assert await esme.recv_raw() == delivered, "the other way is open"
    assert chaos.to_server.octets < PIECE_MOST
    assert esme.transport.get_write_buffer_size() > 1 << 20, "it piles up at the sender"
    assert smsc.submits() == []
    chaos.to_server.flow()
    for answer in answers:
        await esme.response(answer)
    assert smsc.submits() == pdus


async def test_what_is_dropped_is_gone_and_the_connection_stands(
    chaos: ChaosProxy, esme: FakeESME, smsc: FakeSMSC
) -> None:
    chaos.to_client.dropping = True
    lost = esme.post(esme.submit_octets(FROM, TO))
    await smsc.wait_for(1)
    chaos.to_client.delay_s = 0.0
    await smsc.changes.until(lambda: not smsc.connections[0].held, "its answer")
    later = esme.post(esme.submit_octets(FROM, TO))
    await smsc.wait_for(2)
    await asyncio.sleep(0.05)  # for the answers to be thrown away, of which nobody tells
    chaos.to_client.dropping = False
    assert (await esme.submit(FROM, TO)).command_status == 0
    assert not lost.done()
    assert not later.done()
    assert esme.ended is None


async def test_a_cut_is_a_reset_at_both_ends(
    chaos: ChaosProxy, esme: FakeESME, smsc: FakeSMSC
) -> None:
    for way in (chaos.to_server, chaos.to_client):
        way.stall()
    chaos.cut()
    assert await esme.wait_ended() == "rst"
    assert await smsc.connections[0].wait_ended() == "rst"
    assert not chaos.links


@pytest.mark.parametrize("way", ["to_server", "to_client"])
async def test_a_half_close_reaches_one_end(
    chaos: ChaosProxy, esme: FakeESME, smsc: FakeSMSC, way: str
) -> None:
    smsc.connections[0].keep_open_at_eof = esme.keep_open_at_eof = True
    one, other = smsc.connections[0], esme
    if way == "to_client":
        one, other = other, one  # type: ignore[assignment]
    chaos.half_close(getattr(chaos, way))
    await one.wait_eof()
    assert not other.eof
    one.send_raw(wire.deliver_sm(1, TO, FROM) if one is not esme else esme.submit_octets(FROM, TO))
    await other.changes.until(lambda: len(other.received) == 2, "what goes the other way")
    received = len(one.received)
    other.send_raw(wire.submit_sm(9, FROM, TO, command_id=SUBMIT_SM))
    await asyncio.sleep(0.05)
    assert len(one.received) == received, "what comes after FIN is lost"


async def test_ends_are_passed_on(chaos: ChaosProxy, esme: FakeESME, smsc: FakeSMSC) -> None:
    esme.abort()
    assert await smsc.connections[0].wait_ended() in ("rst", "fin")
    second = await (await FakeESME.connect(chaos.port)).bound()
    smsc.connections[1].hang_up()
    assert await second.wait_ended() == "fin"
    await chaos.changes.until(lambda: not chaos.links, "the end of both connections")


async def test_it_refuses_and_listens_again_on_the_same_port(
    chaos: ChaosProxy, esme: FakeESME, smsc: FakeSMSC
) -> None:
    port = chaos.port
    chaos.refuse()
    with pytest.raises(ConnectionRefusedError):
        await FakeESME.connect(port)
    assert (await esme.submit(FROM, TO)).command_status == 0, "who is in stays in"
    chaos.heal()
    assert chaos.port == port
    await (await (await FakeESME.connect(port)).bound()).close()
    smsc.stop_listening()
    late = await FakeESME.connect(port)
    assert await late.wait_ended() == "rst", "nobody is behind it"
    await smsc.listen()


async def test_switches_are_as_they_were_after_healing() -> None:
    way = Way()
    way.delay_s, way.piece, way.dropping = 1.0, 1, True
    way.stall()
    way.heal()
    assert (way.delay_s, way.piece, way.dropping) == (0.0, 0, False)
    await asyncio.wait_for(way.flowing(), 1)
