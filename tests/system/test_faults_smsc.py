"""What an SMSC may do wrong: absent, dead, silent, slow, or speaking something else.

One site for the whole file; its first SMSC refuses connections, so that every bind is dialled
past it.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from smsfilter.smpp import const as c
from tests.fakes import wire
from tests.fakes.calm import BLOCKED, Visitors, calm_site, customer
from tests.fakes.esme import FakeESME
from tests.fakes.legs import Legs
from tests.fakes.process import free_port
from tests.fakes.site import Site
from tests.fakes.smsc import FakeSMSC, SMSCConnection

pytestmark = [
    pytest.mark.system,
    pytest.mark.redis,
    pytest.mark.asyncio(loop_scope="module"),
]

FROM, TO = "10657555", "8613800138000"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def calm(tmp_path_factory: pytest.TempPathFactory, legs: Legs) -> AsyncIterator[Site]:
    """The site of this file: impatient."""
    smsc = await legs.smsc(rcvbuf=4096)
    config = {
        "proxy": {
            "smsc": [f"127.0.0.1:{free_port()}", f"127.0.0.1:{smsc.port}"],
            "timeouts": {"connect": "500ms", "bind": "1s", "response": "3500ms", "unread": "1s"},
        },
        "log": {"decisions": "refused"},
    }
    async with calm_site(tmp_path_factory.mktemp("smsc"), smsc, config=config, legs=legs) as site:
        yield site
    await smsc.stop()


@pytest.fixture
def smsc(calm: Site) -> FakeSMSC:
    """The SMSC that answers."""
    return calm.smsc


def newest(smsc: FakeSMSC) -> SMSCConnection:
    return smsc.connections[-1]


async def still_works(esme: FakeESME, smsc: FakeSMSC) -> None:
    """The session goes on, and its next message arrives octet for octet."""
    pdu = esme.submit_octets(FROM, customer())
    assert (await esme.request(pdu)).command_status == 0
    assert smsc.submits()[-1] == pdu


# down at the bind


async def test_down_at_bind_is_a_system_error_and_later_binds_succeed(
    connect: Visitors, smsc: FakeSMSC
) -> None:
    esme = await connect(None)
    smsc.stop_listening()
    for kind in ("trx", "tx"):
        answer = await esme.bind(kind)
        assert answer.command_status == c.ESME_RSYSERR
    assert (await esme.submit(FROM, customer())).command_status == c.ESME_RINVBNDSTS
    await smsc.listen()
    await esme.bound()
    await still_works(esme, smsc)


@contextlib.contextmanager
def deaf_port(port: int) -> Iterator[None]:
    """A port where connections are neither taken nor refused: its backlog is full."""
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        listening.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        yield


async def test_no_answer_to_the_connection_is_a_system_error_in_time(
    connect: Visitors, smsc: FakeSMSC
) -> None:
    esme = await connect(None)
    smsc.stop_listening()
    started = asyncio.get_running_loop().time()
    with deaf_port(smsc.port):
        assert (await esme.bind()).command_status == c.ESME_RSYSERR
    assert 0.4 < asyncio.get_running_loop().time() - started < 2
    await smsc.listen()
    await esme.bound()


async def test_a_bind_that_is_not_answered_is_given_up_on_both_sides(
    connect: Visitors, smsc: FakeSMSC
) -> None:
    smsc.hold = {c.BIND_TRANSCEIVER}
    esme = await connect(None)
    assert (await esme.bind()).command_status == c.ESME_RSYSERR
    assert await esme.wait_ended() == "fin"
    assert await newest(smsc).wait_ended() == "fin"


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        wire.pack(c.SUBMIT_SM_RESP, 1) + b"\0\0\0\1",
        b"\xff" * 40,
    ],
)
async def test_an_smsc_that_hangs_up_or_speaks_something_else(
    connect: Visitors, smsc: FakeSMSC, said: bytes
) -> None:
    def rude(connection: SMSCConnection, pdu: bytes) -> None:
        connection.send_raw(said)
        if not said:
            connection.hang_up()

    smsc.answer = rude
    esme = await connect(None)
    answer = await esme.bind()
    assert (answer.command_id, answer.command_status) == (c.BIND_TRANSCEIVER_RESP, c.ESME_RSYSERR)
    await newest(smsc).wait_ended()
    assert len(esme.received) == 1


# refused binds


@pytest.mark.parametrize(
    "answer",
    [
        wire.pack(c.BIND_TRANSCEIVER_RESP, 7, b"SMSC\0", c.ESME_RINVPASWD),
        wire.pack(c.BIND_TRANSCEIVER_RESP, 7, b"", 0x0400),
        wire.pack(c.BIND_TRANSCEIVER_RESP, 7, b"x\0" + wire.tlv(0x0210, b"\x34"), c.ESME_RALYBND),
        wire.pack(c.GENERIC_NACK, 7, b"", c.ESME_RINVCMDID),
    ],
)
async def test_a_refused_bind_comes_back_as_it_was_said(
    connect: Visitors, smsc: FakeSMSC, answer: bytes
) -> None:
    smsc.answer = lambda connection, pdu: answer
    esme = await connect(None)
    account = f"acme{len(smsc.connections)}"  # failures of one account add up
    assert await esme.post(wire.bind(c.BIND_TRANSCEIVER, 7, account)) == answer
    assert await newest(smsc).wait_ended() == "fin"
    assert esme.ended is None
    assert (await esme.submit(FROM, customer())).command_status == c.ESME_RINVBNDSTS


async def test_nothing_of_a_refused_bind_is_left_for_the_next(
    connect: Visitors, smsc: FakeSMSC
) -> None:
    """The first SMSC connection ends in the middle of a PDU."""

    def cut_short(connection: SMSCConnection, pdu: bytes) -> bytes:
        return wire.response(pdu, c.ESME_RBINDFAIL) + wire.deliver_sm(1, TO, FROM)[:25]

    smsc.answer = cut_short
    esme = await connect(None)
    assert (await esme.bind("trx", "leftover")).command_status == c.ESME_RBINDFAIL
    smsc.answer = smsc.default_answer
    await esme.bound()
    await still_works(esme, smsc)


async def test_an_accepted_bind_comes_back_as_it_was_said_with_what_follows_it(
    connect: Visitors, smsc: FakeSMSC
) -> None:
    answer = wire.pack(c.BIND_TRANSCEIVER_RESP, 7, b"SMSC\0" + wire.tlv(0x0210, b"\x50"))
    delivered = wire.deliver_sm(1, TO, FROM)
    smsc.answer = lambda connection, pdu: answer + delivered
    esme = await connect(None)
    assert await esme.post(wire.bind(c.BIND_TRANSCEIVER, 7, "acme")) == answer
    assert await esme.recv_raw() == delivered


async def test_what_an_smsc_asks_before_its_answer_to_the_bind_does_not_pass(
    connect: Visitors, smsc: FakeSMSC
) -> None:
    early = wire.pack(c.ENQUIRE_LINK, 50) + wire.deliver_sm(51, TO, FROM)
    smsc.answer = lambda connection, pdu: early + wire.response(pdu, 0, b"SMSC\0")
    esme = await connect()
    smsc.answer = smsc.default_answer
    await still_works(esme, smsc)
    received = newest(smsc).received
    assert wire.pack(c.ENQUIRE_LINK_RESP, 50) in received
    assert wire.pack(c.GENERIC_NACK, 51, b"", c.ESME_RINVCMDID) in received
    assert [wire.header(pdu).command_id for pdu in esme.received] == [
        *(c.BIND_TRANSCEIVER_RESP, c.SUBMIT_SM_RESP)
    ]


async def test_failed_binds_wait_longer_and_longer(connect: Visitors, smsc: FakeSMSC) -> None:
    smsc.bind_status = c.ESME_RINVPASWD
    esme = await connect(None)
    loop = asyncio.get_running_loop()
    waits = []
    for _ in range(4):
        started = loop.time()
        assert (await esme.bind("trx", "guess")).command_status == c.ESME_RINVPASWD
        waits.append(loop.time() - started)
    assert max(waits[:3]) < 0.9 < waits[3] < 3
    started = loop.time()
    other = await connect(None)
    assert (await other.bind("trx", "other")).command_status == c.ESME_RINVPASWD
    assert loop.time() - started < 0.9, "another account does not wait for it"


# dead while bound


@pytest.mark.tls
@pytest.mark.parametrize("end", ["abort", "hang_up"])
async def test_killed_while_bound_nothing_is_invented(
    connect: Visitors, calm: Site, smsc: FakeSMSC, end: str
) -> None:
    smsc.hold = {c.SUBMIT_SM}
    esme, other = await connect(), await connect("bravo")
    before = len(smsc.submits())
    waiting = [esme.post(esme.submit_octets(FROM, customer())) for _ in range(5)]
    await smsc.wait_for(before + 5)
    getattr(smsc.bound_connections("acme")[-1], end)()
    assert await esme.wait_ended() == "fin"
    for future in waiting:
        with pytest.raises(ConnectionResetError):
            await future
    assert len(esme.received) == 1
    smsc.release()
    assert (await other.submit("10658888", customer())).command_status == 0
    assert len(smsc.submits()) == before + 6, "none of them was sent again"
    again = await connect()
    await still_works(again, smsc)


async def test_an_smsc_that_unbinds_is_let_go(connect: Visitors, smsc: FakeSMSC) -> None:
    esme = await connect()
    connection = newest(smsc)
    unbind = wire.pack(c.UNBIND, 70)
    connection.send_raw(unbind)
    assert await esme.recv_raw() == unbind
    assert await connection.response_to(unbind) == wire.pack(c.UNBIND_RESP, 70)
    connection.hang_up()
    assert await esme.wait_ended() == "fin"


# silent


@pytest.mark.tls
async def test_a_request_that_is_never_answered_ends_both_sides_and_no_other_session(
    connect: Visitors, calm: Site, smsc: FakeSMSC
) -> None:
    idle = await connect("acme", "rx")
    receiver = newest(smsc)
    smsc.hold = {c.SUBMIT_SM, c.DATA_SM, c.ENQUIRE_LINK}
    since = len(calm.log)
    silent = []
    for pdu in (
        wire.submit_sm(9, FROM, customer()),
        wire.data_sm(9, FROM, customer()),
        wire.pack(c.ENQUIRE_LINK, 9),
    ):
        esme = await connect()
        silent.append((esme, newest(smsc), esme.post(pdu)))
    for esme, connection, waiting in silent:
        assert await esme.wait_ended(8) == "fin"
        with pytest.raises(ConnectionResetError):
            await waiting
        assert len(esme.received) == 1, "nothing is invented"
        assert await connection.wait_ended() == "fin"
        assert wire.header(connection.received[-1]).command_id == c.UNBIND
    closed = {"why": "response_timeout", "who": "smsc", "unanswered": 1}
    await calm.changes.until(
        lambda: len(calm.logged("session_closed", since=since, **closed)) == 3,
        lambda: f"three sessions closed\n{calm.story()}",
    )
    delivered = receiver.deliver_sm(TO, FROM)
    assert await idle.recv_raw() == delivered, "one without open requests lives on"


def timers(port: int) -> list[int]:
    """The kernel's timer (2: keep-alive) of each connection with this port at our end."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [
        int(row[5].partition(":")[0], 16)
        for row in rows
        if port in (int(row[1].partition(":")[2], 16), int(row[2].partition(":")[2], 16))
        and row[3] == "01"
    ]


async def test_both_legs_are_probed_by_tcp_when_nothing_is_said(
    connect: Visitors, calm: Site, smsc: FakeSMSC
) -> None:
    """The other ends are this process's sockets, which ask for no keep-alive."""
    esme = await connect()
    await still_works(esme, smsc)
    for port in (calm.port, smsc.port):
        async with asyncio.timeout(5):
            # Once the last octets are acknowledged, of which the kernel tells nobody.
            while 2 not in timers(port):  # noqa: ASYNC110
                await asyncio.sleep(0.02)


# slow


async def flood(esme: FakeESME, octets_at_least: int) -> list[bytes]:
    """Send messages until the daemon takes no more of them, and at least that many octets."""
    sent: list[bytes] = []
    size = 0
    while size < octets_at_least or esme.transport.get_write_buffer_size() == 0:
        pdus = [
            esme.submit_octets(FROM, customer(), b"", tlvs=[(c.TAG_MESSAGE_PAYLOAD, b"x" * 5000)])
            for _ in range(50)
        ]
        sent += pdus
        size += sum(map(len, pdus))
        esme.send_raw(b"".join(pdus))
        await asyncio.sleep(0.005)
    return sent


@pytest.mark.tls
async def test_a_slow_smsc_holds_up_its_own_sender_and_no_one_else(
    connect: Visitors, calm: Site, smsc: FakeSMSC
) -> None:
    slow, other = await connect(), await connect("bravo")
    connection = smsc.bound_connections("acme")[-1]
    before = calm.rss_kib()
    connection.pause_reading()
    async with asyncio.timeout(20):
        sent = await flood(slow, 8 << 20)
    assert calm.rss_kib() < before + 8192, "it waits in the kernel and at the sender"
    started = asyncio.get_running_loop().time()
    for _ in range(20):
        assert (await other.submit("10658888", customer())).command_status == 0
    assert asyncio.get_running_loop().time() - started < 2
    connection.resume_reading()
    await smsc.changes.until(
        lambda: len(connection.received) > len(sent), "all that was sent", timeout_s=20
    )
    assert connection.received[1:] == sent
    assert slow.ended is None


@pytest.mark.tls
async def test_an_smsc_that_takes_no_octet_for_too_long_loses_the_session(
    connect: Visitors, calm: Site, smsc: FakeSMSC
) -> None:
    slow, other = await connect(), await connect("bravo")
    connection = smsc.bound_connections("acme")[-1]
    since = len(calm.log)
    connection.pause_reading()
    async with asyncio.timeout(20):
        await flood(slow, 1 << 20)
    line = await calm.wait_for_log("session_closed", since=since, timeout_s=8)
    assert (line["why"], line["who"]) == ("stalled", "smsc")
    await slow.wait_ended()
    connection.resume_reading()
    await connection.wait_ended()
    assert (await other.submit("10658888", customer())).command_status == 0


# garbage


async def test_what_may_come_from_an_smsc_passes_octet_for_octet(
    connect: Visitors, smsc: FakeSMSC
) -> None:
    esme = await connect()
    esme.auto_answer = False
    connection = newest(smsc)
    pdus = [
        wire.deliver_sm(1, TO, FROM, "你好".encode("utf-16-be"), data_coding=8),
        wire.deliver_sm(2, TO, FROM, b"", tlvs=[(c.TAG_MESSAGE_PAYLOAD, b"z" * 9000)]),
        wire.deliver_sm(0, TO, FROM, wire.receipt_text("1"), esm_class=4, tlvs=[(0x1403, b"v")]),
        wire.data_sm(0xFFFFFFFF, TO, FROM),
        wire.pack(c.ALERT_NOTIFICATION, 4, b"\1\1" + wire.cstring(TO) + b"\1\1" + b"10657\0"),
        wire.pack(c.ENQUIRE_LINK, 5),
        wire.submit_sm(6, TO, FROM, command_id=c.DELIVER_SM, trailing=b"\0\0"),
    ]
    await connection.send_slowly(b"".join(pdus), piece=1000)
    assert [await esme.recv_raw() for _ in pdus] == pdus


@pytest.mark.parametrize(
    ("pdu", "back"),
    [
        # what no SMSC has to ask
        (wire.submit_sm(9, FROM, TO), wire.pack(c.GENERIC_NACK, 9, b"", 0x03)),
        (wire.bind(c.BIND_RECEIVER, 9, "x"), wire.pack(c.GENERIC_NACK, 9, b"", 0x03)),
        (wire.pack(c.OUTBIND, 9, b"a\0b\0"), wire.pack(c.GENERIC_NACK, 9, b"", 0x03)),
        (wire.pack(c.QUERY_SM, 9, b"id\0\0\0\0"), wire.pack(c.GENERIC_NACK, 9, b"", 0x03)),
        (wire.pack(0x00010203, 9), wire.pack(c.GENERIC_NACK, 9, b"", 0x03)),
        # what cannot be read
        (wire.deliver_sm(9, "1" * 21, FROM), wire.pack(c.DELIVER_SM_RESP, 9, b"\0", 0x65)),
        (wire.pack(c.DELIVER_SM, 9, b"x"), wire.pack(c.DELIVER_SM_RESP, 9, b"\0", 0x65)),
        (wire.pack(c.DATA_SM, 9, b"x"), wire.pack(c.DATA_SM_RESP, 9, b"\0", 0x65)),
        (wire.pack(c.ENQUIRE_LINK, 9, b"x"), wire.pack(c.GENERIC_NACK, 9, b"", 0xC0)),
        # answers to nothing
        (wire.pack(c.SUBMIT_SM_RESP, 9, b"id\0"), b""),
        (wire.pack(c.DATA_SM_RESP, 9, b"id\0"), b""),
        (wire.pack(c.ENQUIRE_LINK_RESP, 9), b""),
        (wire.pack(c.UNBIND_RESP, 9), b""),
        (wire.pack(c.BIND_TRANSCEIVER_RESP, 1, b"SMSC\0"), b""),
        (wire.pack(c.GENERIC_NACK, 9, b"", 0x03), b""),
        (wire.pack(0x80010203, 9), b""),
    ],
)
async def test_what_has_no_business_at_the_esme_does_not_reach_it(
    connect: Visitors, smsc: FakeSMSC, pdu: bytes, back: bytes
) -> None:
    esme = await connect()
    connection = newest(smsc)
    delivered = wire.deliver_sm(8, TO, FROM)
    connection.send_raw(delivered + pdu + wire.deliver_sm(10, TO, FROM))
    assert await esme.recv_raw() == delivered
    assert await esme.recv_raw() == wire.deliver_sm(10, TO, FROM)
    await still_works(esme, smsc)
    assert len(esme.received) == 4, "the bind's answer, two messages, one answer"
    answers = [one for one in connection.received if wire.header(one).sequence_number == 9]
    assert answers == ([back] if back else [])


@pytest.mark.parametrize(
    "garbage",
    [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0\0\0\x0f" + bytes(12), b"\xff" * 100, bytes(64)],
)
async def test_a_stream_that_cannot_be_framed_ends_the_pair_and_nothing_of_it_passes(
    connect: Visitors, calm: Site, smsc: FakeSMSC, garbage: bytes
) -> None:
    esme, other = await connect(), await connect("bravo")
    connection = smsc.bound_connections("acme")[-1]
    delivered = wire.deliver_sm(1, TO, FROM)
    connection.send_raw(delivered + garbage)
    assert await esme.recv_raw() == delivered
    assert await esme.wait_ended() == "fin"
    assert len(esme.received) == 2
    await connection.wait_ended()
    nack = wire.header(connection.received[-1])
    assert (nack.command_id, nack.command_status) == (c.GENERIC_NACK, c.ESME_RINVCMDLEN)
    assert (await other.submit("10658888", customer())).command_status == 0


async def test_a_response_comes_once_however_often_it_is_sent(
    connect: Visitors, calm: Site, smsc: FakeSMSC
) -> None:
    esme = await connect()
    dropped = await calm.metric("smsfilter_pdus_dropped_total", why="unexpected_response")
    smsc.answer = lambda connection, pdu: wire.response(pdu, 0, b"id\0") * 3
    pdu = esme.submit_octets(FROM, customer())
    assert await esme.post(pdu) == wire.response(pdu, 0, b"id\0")
    smsc.answer = smsc.default_answer
    await still_works(esme, smsc)
    assert len(esme.received) == 3
    after = await calm.metric("smsfilter_pdus_dropped_total", why="unexpected_response")
    assert after == dropped + 2


async def test_a_nack_answers_what_it_names(connect: Visitors, smsc: FakeSMSC) -> None:
    esme = await connect()
    smsc.answer = lambda connection, pdu: wire.pack(
        c.GENERIC_NACK, wire.header(pdu).sequence_number, b"", c.ESME_RINVCMDID
    )
    answer = await esme.submit(FROM, customer())
    assert (answer.command_id, answer.command_status) == (c.GENERIC_NACK, c.ESME_RINVCMDID)
    smsc.answer = smsc.default_answer
    await still_works(esme, smsc)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (c.ESME_RTHROTTLED, b""),
        (c.ESME_RMSGQFUL, b"\0"),
        (0x0400, b"id\0"),
        (0, b"id\0" + wire.tlv(0x1501, b"7")),
        (0x80000001, b""),
    ],
)
async def test_statuses_pass_unchanged_and_nothing_is_sent_again(
    connect: Visitors, smsc: FakeSMSC, status: int, body: bytes
) -> None:
    esme = await connect()
    before = len(smsc.submits())
    smsc.answer = lambda connection, pdu: wire.response(pdu, status, body)
    pdu = esme.submit_octets(FROM, customer())
    assert await esme.post(pdu) == wire.response(pdu, status, body)
    smsc.answer = smsc.default_answer
    await still_works(esme, smsc)
    assert len(smsc.submits()) == before + 2


async def test_late_answers_come_in_any_order_and_only_to_their_own(
    connect: Visitors, smsc: FakeSMSC
) -> None:
    smsc.hold = {c.SUBMIT_SM}
    first, second = await connect(), await connect("bravo")
    before = len(smsc.submits())
    mine = [first.submit_octets(FROM, customer(), sequence_number=n) for n in range(1, 9)]
    theirs = [second.submit_octets("10658888", customer(), sequence_number=n) for n in range(1, 9)]
    waiting = [(one, first.post(one)) for one in mine] + [(one, second.post(one)) for one in theirs]
    await smsc.wait_for(before + 16)
    for connection in smsc.bound_connections():
        connection.held.reverse()
    smsc.release()
    for pdu, future in waiting:
        assert wire.header(await future).sequence_number == wire.header(pdu).sequence_number
    numbers = [wire.header(pdu).sequence_number for pdu in first.received[1:]]
    assert numbers == list(range(8, 0, -1)), "as the SMSC said them"


async def test_an_answer_for_a_session_that_has_gone_reaches_nobody(
    connect: Visitors, smsc: FakeSMSC
) -> None:
    smsc.hold = {c.SUBMIT_SM, c.UNBIND}
    gone = await connect()
    connection = newest(smsc)
    before = len(smsc.submits())
    gone.post(gone.submit_octets(FROM, customer(), sequence_number=1))
    await smsc.wait_for(before + 1)
    gone.abort()
    await smsc.wait_for_pdu(c.UNBIND, len(smsc.of_kind({c.UNBIND})) or 1)
    other = await connect()
    fresh = other.post(other.submit_octets(FROM, customer(), sequence_number=1))
    await smsc.wait_for(before + 2)
    connection.release()
    await connection.wait_ended()
    assert not fresh.done(), "the number is the same, the message is not"
    smsc.release()
    assert (await other.response(fresh)).command_status == 0
    assert len(other.received) == 2


async def test_refusals_do_not_wait_for_a_silent_smsc(connect: Visitors, smsc: FakeSMSC) -> None:
    smsc.hold = {c.SUBMIT_SM}
    esme = await connect()
    waiting = esme.post(esme.submit_octets(FROM, customer()))
    assert (await esme.submit(FROM, BLOCKED)).command_status == 0x66
    assert not waiting.done()
    smsc.release()
    assert (await esme.response(waiting)).command_status == 0
