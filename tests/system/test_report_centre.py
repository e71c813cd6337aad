"""The report centre against a scripted SMSC on a real port: bound whatever happens, and back soon.

What was delivered and answered is read at the SMSC; what the centre counts is compared with that.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from smsfilter.reports.progress import COUNT_MOST
from smsfilter.reports.sms import Answer, Delivered, NoAnswer, NotBound, Outgoing
from smsfilter.smpp.const import (
    BIND_TRANSCEIVER,
    DELIVER_SM,
    DELIVER_SM_RESP,
    ENQUIRE_LINK,
    ESME_RALYBND,
    ESME_RINVPASWD,
    ESME_ROK,
    ESME_RTHROTTLED,
    ESME_RX_T_APPN,
    SUBMIT_SM,
    UNBIND,
)
from tests.fakes import wire
from tests.fakes.centre import BareDesk, Take, configured
from tests.fakes.certificates import Authority
from tests.fakes.handset import GBK, GSM, Handsets
from tests.fakes.process import free_port
from tests.fakes.smsc import FakeSMSC, SMSCConnection

CUSTOMER = "8613800138000"
SMS = Outgoing(CUSTOMER, "已受理".encode("utf-16-be"), 8)
MakeDesk = Callable[..., Awaitable["BareDesk"]]


@pytest.fixture
async def make_desk(smsc: FakeSMSC) -> AsyncIterator[MakeDesk]:
    """Makes desks that are bound to `smsc`: `await make_desk(take, window=…, timeouts={…})`."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(take: Take | None = None, *, bound: bool = True, **options: Any) -> BareDesk:
            desk = BareDesk(configured(smsc.port, **options), take)
            stack.push_async_callback(desk.close)
            desk.start()
            if bound:
                await is_bound(desk, smsc)
            return desk

        yield make


async def is_bound(desk: BareDesk, smsc: FakeSMSC) -> SMSCConnection:
    """Wait until the SMSC has accepted the bind and the centre has heard of it."""
    connection = await smsc.wait_bound("centre")
    asked = wire.pack(ENQUIRE_LINK, connection.next_number())
    assert await connection.expect(asked) is not None
    assert desk.centre.bound
    return connection


def statuses(connection: SMSCConnection) -> list[int]:
    return [wire.header(pdu).command_status for pdu in connection.sent_by_peer(DELIVER_SM_RESP)]


# messages


async def test_a_text_is_taken_and_answered(make_desk: MakeDesk, handsets: Handsets):
    desk = await make_desk()

    await handsets[CUSTOMER].text("10657555*退订回T")

    (message,) = desk.taken
    assert message.source == CUSTOMER.encode()
    assert message.destination == b"10086999"
    assert message.octets.decode("utf-16-be") == "10657555*退订回T"
    assert desk.metrics.deliveries["taken"] == 1


@pytest.mark.parametrize("joining", ["udh8", "udh16", "sar"])
async def test_a_long_text_comes_in_the_parts_that_the_handset_made(
    make_desk: MakeDesk, handsets: Handsets, joining: Any
):
    desk = await make_desk()
    parts = handsets[CUSTOMER].send("10657555*" + "垃圾" * 80, joining=joining, order=(3, 1, 1, 2))
    await handsets.settled()

    assert sorted(one.octets for one in desk.taken) == sorted(one.part.octets for one in parts)
    assert all(one.udhi == (joining != "sar") for one in desk.taken)


async def test_alphabets_of_handsets(make_desk: MakeDesk, handsets: Handsets):
    desk = await make_desk()
    await handsets[CUSTOMER].text("10657555*WIN", GSM)
    await handsets[CUSTOMER].text("10657555*中奖", GBK)
    handsets[CUSTOMER].send("10657555*" + "中" * 200, joining="payload")
    await handsets.settled()

    assert [one.data_coding for one in desk.taken] == [GSM, GBK, 8]
    assert desk.taken[1].octets.decode("gbk") == "10657555*中奖"
    assert len(desk.taken[2].octets) == 418


async def test_a_thousand_at_once_are_answered_once_each(
    make_desk: MakeDesk, handsets: Handsets, smsc: FakeSMSC
):
    """More than may be in progress: what is over is temporary, and is brought again."""
    desk = await make_desk()
    numbers = [f"86138{n:08d}" for n in range(1000)]
    for number in numbers:
        handsets[number].send("10657555*spam", GSM)

    deliveries = await handsets.settled(timeout_s=30)

    (connection,) = smsc.connections
    answers = [wire.header(pdu).sequence_number for pdu in connection.sent_by_peer(DELIVER_SM_RESP)]
    asked = [wire.header(pdu).sequence_number for one in deliveries for _, pdu in one.attempts]
    assert sorted(answers) == sorted(asked)
    assert sorted(one.source.decode() for one in desk.taken) == numbers
    assert desk.metrics.deliveries["taken"] == 1000
    assert desk.metrics.deliveries["busy"] == len(asked) - 1000


async def test_messages_are_taken_at_the_same_time_and_answered_in_any_order(
    make_desk: MakeDesk, smsc: FakeSMSC
):
    first_may_end = asyncio.Event()

    async def take(message: Delivered) -> int:
        if message.octets == b"first":
            await first_may_end.wait()
        return ESME_ROK

    await make_desk(take)
    (connection,) = smsc.bound_connections()
    first = connection.deliver_sm(CUSTOMER, "10086999", b"first")
    second = connection.deliver_sm(CUSTOMER, "10086999", b"second")

    await connection.response_to(second)
    assert len(connection.sent_by_peer(DELIVER_SM_RESP)) == 1
    first_may_end.set()
    await connection.response_to(first)


async def test_answers_to_our_sms_come_through_while_messages_are_over_the_limit(
    make_desk: MakeDesk, smsc: FakeSMSC
):
    may_end = asyncio.Event()

    async def take(_message: Delivered) -> int:
        await may_end.wait()
        return ESME_ROK

    desk = await make_desk(take)
    (connection,) = smsc.bound_connections()
    for _ in range(COUNT_MOST):
        connection.deliver_sm(CUSTOMER, "10086999")
    over = connection.deliver_sm(CUSTOMER, "10086999")

    assert wire.header(await connection.response_to(over)).command_status == ESME_RX_T_APPN
    assert (await desk.centre.submit(SMS)).accepted
    assert len(desk.taken) == COUNT_MOST
    may_end.set()
    again = connection.deliver_sm(CUSTOMER, "10086999")
    assert wire.header(await connection.response_to(again)).command_status == ESME_ROK


async def test_a_desk_that_fails_makes_the_smsc_bring_it_again(
    make_desk: MakeDesk, handsets: Handsets
):
    tries = iter((KeyError(CUSTOMER), None))

    async def take(_message: Delivered) -> int:
        if (error := next(tries)) is not None:
            raise error
        return ESME_ROK

    desk = await make_desk(take)
    with capture_logs() as logs:
        (delivery,) = await handsets[CUSTOMER].text("10657555*spam")

    assert delivery.statuses == [ESME_RX_T_APPN, ESME_ROK]
    assert (desk.metrics.deliveries["failed"], desk.metrics.deliveries["taken"]) == (1, 1)
    (said,) = [line for line in logs if line["event"] == "centre_failed"]
    assert said["error"] == "KeyError"
    assert "in take" in said["where"]
    assert CUSTOMER not in str(said)


async def test_what_cannot_be_read_is_refused_and_said_once(make_desk: MakeDesk, smsc: FakeSMSC):
    desk = await make_desk()
    (connection,) = smsc.bound_connections()
    with capture_logs() as logs:
        for _ in range(3):
            bad = wire.pack(DELIVER_SM, connection.next_number(), b"\0\0\0no end")
            assert await connection.expect(bad) is not None
    await is_bound(desk, smsc)

    assert statuses(connection) == [0x65] * 3
    assert [line["event"] for line in logs] == ["centre_unreadable"]
    assert desk.metrics.deliveries["malformed"] == 3


async def test_an_answer_never_goes_out_on_another_connection(
    make_desk: MakeDesk, smsc: FakeSMSC, handsets: Handsets
):
    may_end = asyncio.Event()

    async def take(_message: Delivered) -> int:
        await may_end.wait()
        return ESME_ROK

    desk = await make_desk(take)
    (delivery,) = handsets[CUSTOMER].send("10657555*spam")
    await desk.wait_taken(1)
    smsc.connections[0].abort()
    await desk.wait_taken(2)  # it was brought again, on a new connection
    may_end.set()
    await delivery.done()

    assert delivery.statuses == [None, ESME_ROK]
    first, second = smsc.connections
    assert statuses(first) == []
    assert statuses(second) == [ESME_ROK]
    assert desk.metrics.deliveries["unsent"] == 1


# SMS


async def test_sms_reach_handsets_and_their_receipts_come_back(
    make_desk: MakeDesk, handsets: Handsets
):
    handsets.receipts = "behind"
    desk = await make_desk()

    answer = await desk.centre.submit(SMS)

    assert answer == Answer(ESME_ROK, b"00000001")
    assert await handsets[CUSTOMER].wait_for_sms() == ["已受理"]
    await handsets.settled()
    (receipt,) = desk.taken
    assert receipt.esm_class == 0x04
    assert receipt.octets.startswith(b"id:00000001 ")
    assert desk.metrics.submits["accepted"] == 1


async def test_a_receipt_may_come_before_the_answer(
    make_desk: MakeDesk, handsets: Handsets, smsc: FakeSMSC
):
    handsets.receipts = "before"
    handsets.receipt_id = lambda message_id: str(int(message_id, 16))
    handsets[CUSTOMER].state = "UNDELIV"
    desk = await make_desk()
    smsc.hold.add(SUBMIT_SM)
    submitting = asyncio.create_task(desk.centre.submit(SMS))
    await smsc.wait_for(1)
    (connection,) = smsc.bound_connections()

    connection.release()
    await submitting

    await desk.wait_taken(1)
    assert b"id:1 " in desk.taken[0].octets
    assert b"stat:UNDELIV" in desk.taken[0].octets
    assert handsets.received == {}


async def test_the_window_is_kept(make_desk: MakeDesk, smsc: FakeSMSC):
    desk = await make_desk(window=3)
    smsc.hold.add(SUBMIT_SM)
    submitting = [asyncio.create_task(desk.centre.submit(SMS)) for _ in range(10)]
    await smsc.wait_for(3)
    (connection,) = smsc.bound_connections()
    await is_bound(desk, smsc)
    assert len(smsc.submits()) == 3

    submitting[3].cancel()
    connection.release(2)
    await smsc.wait_for(5)
    await is_bound(desk, smsc)
    assert len(smsc.submits()) == 5
    smsc.release()
    results = await asyncio.gather(*submitting, return_exceptions=True)

    assert isinstance(results.pop(3), asyncio.CancelledError)
    assert len({answer.message_id for answer in results if isinstance(answer, Answer)}) == 9


async def test_a_throttled_sms_is_temporary(make_desk: MakeDesk, smsc: FakeSMSC):
    desk = await make_desk()
    smsc.submit_status = ESME_RTHROTTLED

    answer = await desk.centre.submit(SMS)

    assert (answer.accepted, answer.temporary) == (False, True)
    assert desk.metrics.submits["temporary"] == 1


async def test_an_sms_that_was_sent_is_told_from_one_that_was_not(
    make_desk: MakeDesk, smsc: FakeSMSC
):
    desk = await make_desk(window=1)
    smsc.hold.add(SUBMIT_SM)
    sent, waiting = (asyncio.create_task(desk.centre.submit(SMS)) for _ in range(2))
    await smsc.wait_for(1)

    await smsc.kill()

    with pytest.raises(NoAnswer):
        await sent
    with pytest.raises(NotBound):
        await waiting
    with pytest.raises(NotBound, match=r"127\.0\.0\.1"):
        await desk.centre.submit(SMS)
    assert len(smsc.submits()) == 1


async def test_an_answer_is_not_waited_for_without_end(make_desk: MakeDesk, smsc: FakeSMSC):
    desk = await make_desk(window=1, timeouts={"response": "500ms"})
    smsc.hold.add(SUBMIT_SM)
    with pytest.raises(NoAnswer):
        await desk.centre.submit(SMS)
    smsc.release()

    assert (await desk.centre.submit(SMS)).accepted
    assert desk.metrics.dropped["unexpected_response"] == 1
    assert desk.metrics.submits["unanswered"] == 1


# bound, and bound again


async def test_it_comes_back_after_each_end(make_desk: MakeDesk, smsc: FakeSMSC):
    desk = await make_desk()
    for number, end in enumerate(("hang_up", "abort", "hang_up"), 2):
        with capture_logs() as logs:
            getattr(smsc.bound_connections("centre")[-1], end)()
            await smsc.wait_connection(number)
            await is_bound(desk, smsc)
        assert [line["event"] for line in logs] == ["centre_unbound", "centre_bound"]
    assert desk.metrics.binds["accepted"] == 4
    assert (desk.metrics.closes["closed"], desk.metrics.closes["reset"]) == (2, 1)


async def test_an_smsc_that_is_away_is_said_once(smsc: FakeSMSC, make_desk: MakeDesk):
    desk = await make_desk()
    with capture_logs() as logs:
        await smsc.kill()
        await desk.tried(3)
        assert not desk.centre.bound
        assert "Connect" in desk.centre.why or "Errno" in desk.centre.why
        await smsc.listen()
        await is_bound(desk, smsc)

    events = [line["event"] for line in logs]
    assert events == ["centre_unbound", "centre_unavailable", "centre_bound"]
    assert desk.centre.why == ""


async def test_a_refused_bind_is_said_once_and_tried_again_with_the_password_of_the_file(
    smsc: FakeSMSC, make_desk: MakeDesk, tmp_path: Path
):
    secret = tmp_path / "secret"
    secret.write_text("wrong\n")
    smsc.bind_status = lambda pdu: 0 if b"\0hush\0" in pdu else ESME_RINVPASWD
    with capture_logs() as logs:
        desk = await make_desk(bound=False, password_file=secret)
        await smsc.wait_for_pdu(BIND_TRANSCEIVER, 3)
        secret.write_text("hush\n")
        await is_bound(desk, smsc)

    refused, accepted = logs
    assert (refused["event"], refused["status"]) == ("centre_refused", "ESME_RINVPASWD")
    assert accepted["event"] == "centre_bound"
    assert desk.metrics.binds["refused"] >= 3
    assert "wrong" not in str(logs)
    assert "hush" not in str(logs)


async def test_a_password_file_that_is_missing_is_said_and_waited_for(
    smsc: FakeSMSC, make_desk: MakeDesk, tmp_path: Path
):
    with capture_logs() as logs:
        desk = await make_desk(bound=False, password_file=tmp_path / "secret")
        await desk.tried(2)
        (tmp_path / "secret").write_text("hush")
        await is_bound(desk, smsc)

    assert [line["event"] for line in logs] == ["centre_unavailable", "centre_bound"]


async def test_an_smsc_that_still_holds_the_old_bind_is_asked_soon_again(
    smsc: FakeSMSC, make_desk: MakeDesk
):
    statuses = iter((ESME_RALYBND, ESME_RALYBND))
    smsc.bind_status = lambda _pdu: next(statuses, 0)
    desk = await make_desk()

    assert desk.metrics.binds["refused"] == 2
    assert len(smsc.connections) == 3


async def test_the_next_smsc_is_taken_where_the_first_is_away(smsc: FakeSMSC, make_desk: MakeDesk):
    away = f"127.0.0.1:{free_port()}"

    desk = await make_desk(smsc=(away, f"127.0.0.1:{smsc.port}"))

    assert desk.metrics.binds["unavailable"] == 1
    assert (await desk.centre.submit(SMS)).accepted


async def test_an_smsc_that_stands_still_is_left(smsc: FakeSMSC, make_desk: MakeDesk):
    """As one that was sent SIGSTOP: it takes octets, and says nothing."""
    desk = await make_desk(timeouts={"enquire_link": "50ms", "response": "1s"})
    (first,) = smsc.bound_connections()
    smsc.hold.add(ENQUIRE_LINK)

    await first.wait_ended()
    smsc.release()
    await smsc.wait_connection(2)
    await is_bound(desk, smsc)

    assert first.sent_by_peer(ENQUIRE_LINK)
    assert desk.metrics.closes["silent"] >= 1


async def test_a_bind_without_an_answer_is_given_up(smsc: FakeSMSC, make_desk: MakeDesk):
    smsc.hold.add(BIND_TRANSCEIVER)
    desk = await make_desk(bound=False, timeouts={"bind": "500ms"})
    await (await smsc.wait_connection()).wait_ended()
    smsc.release()
    await is_bound(desk, smsc)

    assert desk.metrics.closes["bind_timeout"] >= 1


async def test_an_smsc_that_does_not_read_is_left(smsc: FakeSMSC, make_desk: MakeDesk):
    desk = await make_desk()
    (first,) = smsc.bound_connections()
    first.pause_reading()
    flood = b"".join(wire.pack(ENQUIRE_LINK, number) for number in range(10_000))
    while first.ended is None and not first.transport.is_closing():
        first.send_raw(flood)
        await asyncio.sleep(0)
        if desk.metrics.closes["unread"]:
            break

    first.resume_reading()
    await first.wait_ended()
    await smsc.wait_connection(2)
    await is_bound(desk, smsc)


async def test_the_smsc_says_unbind(smsc: FakeSMSC, make_desk: MakeDesk):
    desk = await make_desk()
    (first,) = smsc.bound_connections()
    unbind = wire.pack(UNBIND, first.next_number())
    answer = await first.expect(unbind)

    assert answer == wire.response(unbind)
    await first.wait_ended()
    await smsc.wait_connection(2)
    await is_bound(desk, smsc)
    assert desk.metrics.closes["unbound"] == 1


async def test_garbage_is_answered_once_and_the_connection_is_closed(
    smsc: FakeSMSC, make_desk: MakeDesk
):
    desk = await make_desk()
    (first,) = smsc.bound_connections()
    first.send_raw(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    await first.wait_ended()
    assert wire.header(first.received[-1]).command_id == 0x80000000
    await smsc.wait_connection(2)
    await is_bound(desk, smsc)


# the end


async def test_it_stops_with_an_unbind_once_what_is_under_way_is_answered(
    smsc: FakeSMSC, make_desk: MakeDesk
):
    may_end = asyncio.Event()

    async def take(_message: Delivered) -> int:
        await may_end.wait()
        return ESME_ROK

    desk = await make_desk(take)
    (connection,) = smsc.bound_connections()
    under_way = connection.deliver_sm(CUSTOMER, "10086999")
    await desk.wait_taken(1)
    stopping = asyncio.create_task(desk.centre.stop())
    await asyncio.sleep(0)  # it has heard of it
    assert not desk.centre.bound
    late = connection.deliver_sm(CUSTOMER, "10086999")

    assert wire.header(await connection.response_to(late)).command_status == ESME_RX_T_APPN
    with pytest.raises(NotBound):
        await desk.centre.submit(SMS)
    may_end.set()
    await stopping

    assert wire.header(await connection.response_to(under_way)).command_status == ESME_ROK
    assert wire.header(connection.received[-1]).command_id == UNBIND
    assert await connection.wait_ended() == "fin"
    assert desk.metrics.closes["stopped"] == 1
    assert desk.centre.why == "stopped"


async def test_it_stops_in_time_whatever_the_desk_and_the_smsc_do(
    smsc: FakeSMSC, make_desk: MakeDesk
):
    cancelled = asyncio.Event()

    async def take(_message: Delivered) -> int:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return ESME_ROK

    desk = await make_desk(take, timeouts={"drain": "50ms"})
    (connection,) = smsc.bound_connections()
    connection.deliver_sm(CUSTOMER, "10086999")
    await desk.wait_taken(1)
    await desk.centre.stop()

    assert cancelled.is_set()
    assert statuses(connection) == []


@pytest.mark.parametrize("held", [True, False])
async def test_it_stops_while_it_is_not_bound(smsc: FakeSMSC, make_desk: MakeDesk, held: bool):
    """In the middle of a bind, and between two attempts."""
    if held:
        smsc.hold.add(BIND_TRANSCEIVER)
    else:
        await smsc.kill()
    desk = await make_desk(bound=False)
    if held:
        await smsc.wait_for_pdu(BIND_TRANSCEIVER)
    await desk.centre.stop()

    assert not desk.centre.bound


async def test_it_can_be_cancelled(smsc: FakeSMSC, make_desk: MakeDesk):
    desk = await make_desk()
    assert desk.running is not None
    desk.running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await desk.running
    desk.running = None

    assert await smsc.connections[0].wait_ended()


# TLS


async def test_tls_with_a_certificate_of_our_own(tmp_path: Path):
    authority = Authority(tmp_path)
    own = authority.issue("centre")
    smsc = await FakeSMSC.start(tls=authority.server_for_known(authority.issue("smsc")))
    tls = {"ca": str(authority.ca), **own.section()}
    desk = BareDesk(configured(0, smsc=({"address": f"127.0.0.1:{smsc.port}", "tls": tls},)))
    desk.start()
    try:
        await is_bound(desk, smsc)
        assert (await desk.centre.submit(SMS)).accepted
    finally:
        await desk.close()
        await smsc.stop()
    assert wire.header(smsc.received[-1]).command_id == UNBIND


async def test_an_smsc_with_the_wrong_certificate_gets_no_bind(tmp_path: Path):
    trusted, other = Authority(tmp_path), Authority(tmp_path, "other")
    smsc = await FakeSMSC.start(tls=other.server(other.issue("smsc")))
    tls = {"ca": str(trusted.ca)}
    desk = BareDesk(configured(0, smsc=({"address": f"127.0.0.1:{smsc.port}", "tls": tls},)))
    with capture_logs() as logs:
        desk.start()
        await desk.tried(2)
        await desk.close()
    await smsc.stop()

    assert smsc.received == []
    (said,) = logs
    assert said["event"] == "centre_unavailable"
    assert "the certificate is not accepted" in said["why"]
