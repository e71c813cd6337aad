"""The fakes against each other, with nothing between: a test kit that is wrong proves nothing."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Literal

import pytest

from smsfilter.smpp.const import (
    BIND_TRANSCEIVER,
    DELIVER_SM,
    DELIVER_SM_RESP,
    ENQUIRE_LINK,
    ESME_RBINDFAIL,
    ESME_RTHROTTLED,
    ESME_RX_P_APPN,
    ESME_RX_T_APPN,
    SUBMIT_SM,
    UNBIND,
)
from tests.conftest import MakeRedis
from tests.fakes import wire
from tests.fakes.esme import FakeESME
from tests.fakes.handset import GSM, UCS_2, Handsets, split
from tests.fakes.redis_server import RedisServer
from tests.fakes.site import Site
from tests.fakes.smsc import FakeSMSC


@pytest.fixture
async def esme(smsc: FakeSMSC):
    esme = await (await FakeESME.connect(smsc.port)).bound("trx", "acme")
    yield esme
    if esme.ended is None:
        await esme.close()


async def test_octets_are_recorded_in_order_with_their_connection(smsc: FakeSMSC, esme: FakeESME):
    other = await (await FakeESME.connect(smsc.port)).bound("tx", "bravo")
    await esme.submit("10657555", "8613800138000")
    await other.submit("10658888", "8613800138001", text="你好".encode("utf-16-be"), data_coding=8)
    await esme.submit("10657555", "8613800138002")
    assert smsc.submits() == [esme.sent[1], other.sent[1], esme.sent[2]]
    assert smsc.connections[0].received == esme.sent
    assert smsc.connections[1].received == other.sent
    assert smsc.destinations() == ["8613800138000", "8613800138001", "8613800138002"]
    assert smsc.bound_connections("bravo") == [smsc.connections[1]]
    await other.close()


async def test_a_thousand_pipelined_submits_are_answered_in_order(smsc: FakeSMSC, esme: FakeESME):
    numbers = [f"8613800{n:06d}" for n in range(1000)]
    answers = await esme.submit_all("10657555", numbers)
    assert [answer.fields["message_id"].decode() for answer in answers] == smsc.message_ids
    assert smsc.destinations() == numbers


async def test_statuses_are_scripted(smsc: FakeSMSC, esme: FakeESME):
    smsc.submit_status = lambda pdu: ESME_RTHROTTLED if b"001\0" in pdu else 0
    answers = await esme.submit_all("10657555", ["8613800138000", "8613800138001"])
    assert [answer.command_status for answer in answers] == [0, ESME_RTHROTTLED]
    smsc.bind_status = ESME_RBINDFAIL
    late = await FakeESME.connect(smsc.port)
    assert (await late.bind("rx", "acme")).command_status == ESME_RBINDFAIL
    await late.close()


async def test_answers_are_withheld_and_released(smsc: FakeSMSC, esme: FakeESME):
    smsc.hold = {SUBMIT_SM}
    first, second = (esme.post(esme.submit_octets("10657555", "86138", str(n))) for n in (1, 2))
    await smsc.wait_for(2)
    assert (await esme.enquire_link()).command_status == 0
    assert not first.done()
    smsc.release(1)
    assert (await esme.response(first)).command_status == 0
    assert not second.done()
    smsc.release()
    assert (await esme.response(second)).command_status == 0


async def test_the_smsc_sends_receipts_and_asks(smsc: FakeSMSC, esme: FakeESME):
    smsc.receipts = True
    await esme.submit("10657555", "8613800138000", registered_delivery=1)
    receipt = await esme.recv()
    assert receipt.command_id == DELIVER_SM
    assert receipt.fields["esm_class"] == 0x04
    assert receipt.fields["source_addr"] == b"8613800138000"
    assert receipt.fields["short_message"].startswith(f"id:{smsc.message_ids[0]} ".encode())
    await smsc.wait_for_pdu(DELIVER_SM_RESP)
    connection = smsc.connections[0]
    asked = wire.pack(ENQUIRE_LINK, connection.next_number())
    connection.send_raw(asked)
    assert await connection.response_to(asked) == wire.response(asked)


async def test_garbage_and_single_octets_get_through(smsc: FakeSMSC, esme: FakeESME):
    connection = smsc.connections[0]
    await connection.send_slowly(wire.deliver_sm(1, "86138", "10657555"))
    assert (await esme.recv()).command_id == DELIVER_SM
    connection.send_raw(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await esme.send_slowly(esme.submit_octets("10657555", "8613800138000"), piece=3)
    assert len(await smsc.wait_for(1)) == 1
    assert esme.partial.startswith(b"HTTP")


async def test_each_end_tells_how_the_other_went(smsc: FakeSMSC, esme: FakeESME):
    connection = smsc.connections[0]
    esme.abort()
    assert await connection.wait_ended() == "rst"
    assert esme.ended == "local"

    second = await (await FakeESME.connect(smsc.port)).bound()
    assert (await second.unbind()).command_status == 0
    assert smsc.bound_connections() == []
    second.half_close()
    assert await smsc.connections[1].wait_ended() == "fin"
    assert await second.wait_ended() == "fin"

    third = await (await FakeESME.connect(smsc.port)).bound()
    smsc.connections[2].abort()
    assert await third.wait_ended() == "rst"
    with pytest.raises(ConnectionResetError):
        await third.submit("10657555", "86138")


async def test_an_smsc_dies_and_comes_back_on_its_port(smsc: FakeSMSC, esme: FakeESME):
    smsc.hold = {SUBMIT_SM}
    waiting = esme.post(esme.submit_octets("10657555", "86138"))
    await smsc.wait_for(1)
    port = smsc.port
    await smsc.kill()
    with pytest.raises(ConnectionResetError):
        await esme.response(waiting)
    with pytest.raises(ConnectionRefusedError):
        await FakeESME.connect(port)
    await smsc.listen()
    assert smsc.port == port
    again = await (await FakeESME.connect(port)).bound()
    await again.unbind()
    assert smsc.of_kind({BIND_TRANSCEIVER, UNBIND}) == [esme.sent[0], *again.sent]
    await again.close()


async def test_an_smsc_that_never_reads_lets_octets_pile_up():
    smsc = await FakeSMSC.start(rcvbuf=4096)
    smsc.reading = False
    esme = await FakeESME.connect(smsc.port)
    connection = await smsc.wait_connection()
    esme.send_raw(bytes(8 << 20))
    assert esme.transport.get_write_buffer_size() > 0
    assert connection.received == []
    await smsc.stop()
    assert await esme.wait_ended() == "rst"


async def test_repeated_sequence_numbers_are_matched_in_order(smsc: FakeSMSC, esme: FakeESME):
    pdus = [esme.submit_octets("10657555", to, sequence_number=0) for to in ("861", "862")]
    futures = [esme.post(pdu) for pdu in pdus]
    answers = [await esme.response(future) for future in futures]
    assert [answer.fields["message_id"].decode() for answer in answers] == smsc.message_ids


async def test_a_wait_that_fails_says_what_there_was(smsc: FakeSMSC, esme: FakeESME):
    await esme.submit("10657555", "8613800138000")
    with pytest.raises(TimeoutError, match=r"2 submits .* 1 PDUs, the last: submit_sm #2"):
        await smsc.wait_for(2, timeout_s=0.01)
    smsc.hold = {SUBMIT_SM}
    with pytest.raises(TimeoutError, match=r"no response .* submit_sm_resp #2 status 0x00"):
        await esme.submit("10657555", "8613800138000", timeout_s=0.01)


@pytest.mark.redis
def test_a_redis_is_killed_frozen_and_started_again(make_redis: MakeRedis):
    server: RedisServer = make_redis(password="secret")
    assert server.client().set("key", "value")
    server.freeze()
    with server.connect(socket_timeout=0.05) as client, pytest.raises(Exception, match="Timeout"):
        client.get("key")
    server.resume()
    assert server.client().get("key") == b"value"
    server.restart()
    assert server.client().get("key") is None


async def test_waiters_are_woken_by_the_change_they_wait_for():
    smsc = await FakeSMSC.start()
    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(smsc.wait_connection(n)) for n in (1, 2)]
        esmes = [await FakeESME.connect(smsc.port) for _ in range(2)]
    assert [task.result() for task in waiting] == smsc.connections
    await smsc.stop()
    for esme in esmes:
        assert await esme.wait_ended() == "fin"


@pytest.mark.system
@pytest.mark.redis
async def test_a_site_fails_for_what_its_daemon_did_wrong(
    redis_server: RedisServer, smsc: FakeSMSC, tmp_path: Path
):
    shell = ("sh", "-c", 'echo Traceback >&2; exec "$@"', "sh")
    site = Site(tmp_path / "traceback", redis_server, smsc, wrapper=shell)
    await site.start()
    with pytest.raises(AssertionError, match="--- stderr\nTraceback"):
        await site.close()

    site = Site(tmp_path / "killed", redis_server, smsc)
    await site.start()
    os.kill(site.pid, signal.SIGKILL)
    with pytest.raises(AssertionError, match="the daemon ended with -9"):
        await site.wait_for_log("never")
    with pytest.raises(AssertionError, match="exit status -9"):
        await site.close()


async def test_a_handsets_text_is_brought_until_it_is_accepted(smsc: FakeSMSC, handsets: Handsets):
    first = await (await FakeESME.connect(smsc.port, auto_answer=False)).bound("trx", "centre")
    (delivery,) = handsets["8613800138000"].send("10657555*spam")
    first.send_raw(wire.response(await first.recv_raw(), ESME_RX_T_APPN, b"\0"))
    await first.recv_raw()
    first.abort()
    second = await (await FakeESME.connect(smsc.port)).bound("trx", "centre")

    assert await delivery.done() == 0
    assert delivery.statuses == [ESME_RX_T_APPN, None, 0]
    assert second.received[-1] == delivery.attempts[-1][1]
    await second.close()


async def test_a_handsets_text_is_given_up_when_it_is_refused(smsc: FakeSMSC, handsets: Handsets):
    esme = await (await FakeESME.connect(smsc.port, auto_answer=False)).bound("trx", "centre")
    (delivery,) = handsets["8613800138000"].send("10657555*spam")
    esme.send_raw(wire.response(await esme.recv_raw(), ESME_RX_P_APPN, b"\0"))

    assert await delivery.done() == ESME_RX_P_APPN
    assert not delivery.accepted
    await esme.close()


@pytest.mark.parametrize("receipts", ["behind", "before"])
async def test_receipts_come_behind_the_answer_or_before_it(
    smsc: FakeSMSC, handsets: Handsets, receipts: Literal["behind", "before"]
):
    handsets.receipts = receipts
    esme = await (await FakeESME.connect(smsc.port)).bound("trx", "centre")
    sms = wire.submit_sm(
        9, "10086999", "8613800138000", b"\x5d\xf2", data_coding=8, registered_delivery=1
    )
    await esme.request(sms)
    await handsets.settled()

    order = [wire.header(pdu).command_id for pdu in esme.received[1:]]
    assert order == sorted(order, reverse=receipts == "behind")
    assert set(order) == {DELIVER_SM, SUBMIT_SM | 0x80000000}
    assert handsets.received == {"8613800138000": ["已"]}
    await esme.close()


def test_the_parts_of_a_text_are_as_long_as_those_of_handsets():
    text = "10657555*" + "垃" * 200

    parts = split(text, UCS_2, 7)

    assert [len(part.octets) for part in parts] == [138, 138, 138, 28]
    assert parts[1].octets[:6] == b"\x05\x00\x03\x07\x04\x02"
    assert b"".join(part.octets[6:] for part in parts).decode("utf-16-be") == text
    assert [len(part.octets) for part in split("x" * 307, GSM, 1)] == [159, 159, 7]
