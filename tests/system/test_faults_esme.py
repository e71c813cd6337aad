"""What an ESME may do wrong, on purpose or not: what the SMSC gets, and what the ESME is told.

One site for the whole file: nothing that one ESME does may disturb the next.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from smsfilter.smpp import const as c
from tests.fakes import wire
from tests.fakes.calm import BLOCKED, Visitors, calm_site, customer
from tests.fakes.esme import FakeESME
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
    config = {
        "proxy": {"timeouts": {"bind": "2s", "partial": "1s", "unread": "1s"}},
        "log": {"decisions": "refused"},
    }
    async with calm_site(tmp_path_factory.mktemp("esme"), smsc, config=config, legs=legs) as site:
        yield site
    await smsc.stop()


@pytest.fixture
def smsc(calm: Site) -> FakeSMSC:
    """Its SMSC."""
    return calm.smsc


def header_of(pdu: bytes) -> tuple[int, int, int]:
    """(command_id, command_status, sequence_number)."""
    head = wire.header(pdu)
    return head.command_id, head.command_status, head.sequence_number


async def still_works(esme: FakeESME, smsc: FakeSMSC) -> None:
    """The session goes on, and its next message arrives octet for octet."""
    pdu = esme.submit_octets(FROM, customer())
    assert (await esme.request(pdu)).command_status == 0
    assert smsc.submits()[-1] == pdu


# the way of a message


async def test_octets_and_numbers_are_the_same_on_both_sides(
    connect: Visitors, smsc: FakeSMSC
) -> None:
    esme = await connect()
    odd = [
        esme.submit_octets(FROM, customer(), "你好".encode("utf-16-be"), data_coding=8),
        esme.submit_octets(FROM, customer(), b"", tlvs=[(c.TAG_MESSAGE_PAYLOAD, b"x" * 5000)]),
        esme.submit_octets(FROM, customer(), tlvs=[(0x1400, b"\0\1\2"), (0x1400, b"")]),
        esme.submit_octets(FROM, customer(), service_type="CMT", protocol_id=65, priority_flag=9),
        esme.submit_octets(FROM, customer(), command_status=0xDEAD, dest_addr_ton=200),
        esme.submit_octets(FROM, customer(), b"\0\xff" * 127, esm_class=0x40),
        wire.data_sm(900, FROM, customer(), tlvs=[(c.TAG_MESSAGE_PAYLOAD, b"y" * 60_000)]),
    ]
    for pdu in odd:
        assert (await esme.request(pdu)).command_status == 0
        assert smsc.submits()[-1] == pdu
    assert esme.sent == smsc.connections[-1].received


async def test_order_within_a_session_is_kept(connect: Visitors, smsc: FakeSMSC) -> None:
    """Also between what is looked up and what is not, and whatever is taken out."""
    esme = await connect()
    sent: list[bytes] = []
    for n in range(300):
        sent.append(esme.submit_octets(FROM, BLOCKED if n % 7 == 3 else customer()))
        if n % 5 == 0:
            sent.append(wire.pack(c.ENQUIRE_LINK, esme.next_number()))
        if n % 11 == 0:
            sent.append(wire.data_sm(esme.next_number(), FROM, customer()))
        if n % 13 == 0:
            sent.append(wire.pack(c.QUERY_SM, esme.next_number(), b"id\0\0\0" + b"10657555\0"))
    answers = [esme.expect(pdu) for pdu in sent]
    esme.send_raw(b"".join(sent))
    for answer in answers:
        await esme.response(answer, 30)
    passed = [pdu for pdu in sent if BLOCKED.encode() not in pdu]
    assert len(passed) < len(sent)
    assert smsc.connections[-1].received[1:] == passed


async def test_ten_thousand_pipelined_keep_their_order_and_nobody_waits_for_them(
    connect: Visitors, smsc: FakeSMSC
) -> None:
    greedy, modest = await connect(), await connect("bravo")
    connection, other = (smsc.bound_connections(name)[-1] for name in ("acme", "bravo"))
    pdus = [greedy.submit_octets(FROM, customer()) for _ in range(10_000)]
    answers = [greedy.expect(pdu) for pdu in pdus]
    greedy.send_raw(b"".join(pdus))
    assert (await modest.submit("10658888", customer())).command_status == 0
    for answer in answers:
        assert (await greedy.response(answer, 30)).command_status == 0
    assert connection.received[1:] == pdus
    came = [one for one, pdu in smsc.arrivals if wire.header(pdu).command_id == c.SUBMIT_SM]
    assert other in came
    assert came[-1] is connection, "its turn comes between theirs"


@pytest.mark.parametrize("number", [0, 0x7FFFFFFF, 0x80000001, 0xFFFFFFFF])
async def test_any_sequence_number_is_echoed(
    connect: Visitors, smsc: FakeSMSC, number: int
) -> None:
    esme = await connect()
    for to, status in ((customer(), 0), (BLOCKED, 0x66)):
        answer = await esme.submit(FROM, to, sequence_number=number)
        assert (answer.command_status, answer.sequence_number) == (status, number)
    assert wire.header(smsc.submits()[-1]).sequence_number == number


async def test_a_number_that_repeats_in_flight_is_answered_each_time(
    connect: Visitors, smsc: FakeSMSC
) -> None:
    esme = await connect()
    smsc.hold = {c.SUBMIT_SM}
    before = len(smsc.submits())
    pdus = [esme.submit_octets(FROM, customer(), sequence_number=5) for _ in range(4)]
    waiting = [esme.post(pdu) for pdu in pdus]
    assert (await smsc.wait_for(before + 4))[before:] == pdus
    smsc.release()
    ids = [(await esme.response(future)).fields["message_id"].decode() for future in waiting]
    assert ids == smsc.message_ids[-4:]
    await still_works(esme, smsc)


@pytest.mark.parametrize(
    ("interface_version", "body"),
    [(0x00, b"\0"), (0x33, b"\0"), (0x34, b""), (0x50, b"\0"), (0xFF, b"\0")],
)
async def test_the_body_of_a_refusal_follows_the_version_of_the_bind(
    connect: Visitors, interface_version: int, body: bytes
) -> None:
    esme = await connect(fields={"interface_version": interface_version})
    pdu = esme.submit_octets(FROM, BLOCKED)
    assert await esme.post(pdu) == wire.response(pdu, 0x66, body)
    bad = esme.submit_octets(FROM, customer(), sm_length=200)
    assert await esme.post(bad) == wire.response(bad, 0x01, body)
    data = wire.data_sm(esme.next_number(), FROM, BLOCKED)
    assert await esme.post(data) == wire.response(data, 0x66, b"\0")


@pytest.mark.parametrize("to", ["{} ", "{}  ", "{}-", "({})", " {}"])
async def test_blanks_around_a_number_cost_nobody_the_connection_to_redis(
    connect: Visitors, calm: Site, smsc: FakeSMSC, to: str
) -> None:
    esme = await connect()
    since = len(calm.log)
    numbers = [customer(), customer(), to.format(customer()), to.format(BLOCKED), customer()]
    for order in (numbers, numbers[:3], numbers[:2] + numbers[3:4], numbers[2:3], numbers[3:4]):
        answers = await esme.submit_all(FROM, order)
        assert [a.command_status for a in answers] == [0x66 * (BLOCKED in one) for one in order]
    await still_works(esme, smsc)
    assert not calm.logged("redis_away", since=since)


# before, during and after a bind


async def test_nothing_but_a_bind_reaches_the_smsc_before_the_bind(
    connect: Visitors, calm: Site, smsc: FakeSMSC
) -> None:
    made = len(smsc.connections)
    esme = await connect(None)
    rows = [
        (wire.pack(c.ENQUIRE_LINK, 1), wire.pack(c.ENQUIRE_LINK_RESP, 1)),
        (wire.submit_sm(2, FROM, TO), wire.pack(c.SUBMIT_SM_RESP, 2, b"\0", 0x04)),
        (wire.data_sm(3, FROM, TO), wire.pack(c.DATA_SM_RESP, 3, b"\0", 0x04)),
        (wire.pack(c.SUBMIT_MULTI, 4), wire.pack(c.SUBMIT_MULTI_RESP, 4, b"\0\0", 0x04)),
        (wire.pack(c.QUERY_SM, 5), wire.pack(c.QUERY_SM_RESP, 5, b"", 0x04)),
        (wire.pack(c.CANCEL_SM, 6), wire.pack(c.CANCEL_SM_RESP, 6, b"", 0x04)),
        (wire.pack(c.REPLACE_SM, 7), wire.pack(c.REPLACE_SM_RESP, 7, b"", 0x04)),
        (wire.pack(c.UNBIND, 8), wire.pack(c.UNBIND_RESP, 8, b"", 0x04)),
        (wire.deliver_sm(9, TO, FROM), wire.pack(c.GENERIC_NACK, 9, b"", 0x03)),
        (wire.pack(c.OUTBIND, 10, b"a\0b\0"), wire.pack(c.GENERIC_NACK, 10, b"", 0x03)),
        (wire.pack(c.BROADCAST_SM, 11), wire.pack(c.GENERIC_NACK, 11, b"", 0x03)),
        (wire.pack(0x00010203, 12), wire.pack(c.GENERIC_NACK, 12, b"", 0x03)),
    ]
    silent = [
        wire.pack(c.ALERT_NOTIFICATION, 20, b"\0\0\0\0\0\0"),
        wire.pack(c.DELIVER_SM_RESP, 21, b"\0"),
        wire.pack(c.GENERIC_NACK, 22),
        wire.pack(c.BIND_TRANSCEIVER_RESP, 23, b"x\0"),
    ]
    esme.send_raw(b"".join([*silent, *(pdu for pdu, _ in rows)]))
    await esme.changes.until(lambda: len(esme.received) >= len(rows), "an answer to each")
    assert esme.received == [answer for _, answer in rows]
    assert len(smsc.connections) == made, "a stranger takes no connection of the SMSC"
    await esme.bound()
    await still_works(esme, smsc)


async def test_what_is_pipelined_behind_a_bind_is_refused_not_kept(
    connect: Visitors, smsc: FakeSMSC
) -> None:
    smsc.hold = {c.BIND_TRANSCEIVER}
    before, made = len(smsc.submits()), len(smsc.connections)
    esme = await connect(None)
    bind = wire.bind(c.BIND_TRANSCEIVER, 1, "acme")
    early = esme.submit_octets(FROM, customer(), sequence_number=2)
    second = wire.bind(c.BIND_TRANSMITTER, 3, "bravo")
    enquire = wire.pack(c.ENQUIRE_LINK, 4)
    bound, *others = [esme.expect(pdu) for pdu in (bind, early, second, enquire)]
    esme.send_raw(bind + early + second + enquire)
    statuses = [(await esme.response(future)).command_status for future in others]
    assert statuses == [0x04, 0x05, 0]
    connection = await smsc.wait_connection(made + 1)
    await smsc.changes.until(lambda: connection.received, "the bind at the SMSC")
    assert not bound.done()
    smsc.release()
    assert (await esme.response(bound)).command_status == 0
    await still_works(esme, smsc)
    assert len(smsc.submits()) == before + 1, "the early one was never sent"
    assert connection.received[0] == bind


async def test_a_second_bind_changes_nothing(connect: Visitors, smsc: FakeSMSC) -> None:
    esme = await connect("bravo")
    for kind in ("trx", "tx", "rx"):
        answer = await esme.bind(kind, "acme")
        assert answer.command_status == 0x05
    assert len(smsc.connections[-1].received) == 1
    refused = await esme.submit(FROM, customer())
    assert refused.command_status == 0x0A, "still bravo, which may not send from there"
    assert (await esme.submit("10658888", customer())).command_status == 0


async def test_after_a_refused_bind_another_may_follow(connect: Visitors, smsc: FakeSMSC) -> None:
    smsc.bind_status = lambda pdu: c.ESME_RINVPASWD if b"wrong" in pdu else 0
    esme = await connect(None)
    first = wire.bind(c.BIND_TRANSMITTER, 1, "acme", "wrong")
    assert await esme.post(first) == wire.response(first, c.ESME_RINVPASWD)
    connection = smsc.connections[-1]
    assert await connection.wait_ended() == "fin"
    early = await esme.submit(FROM, customer())
    assert early.command_status == 0x04
    second = wire.bind(c.BIND_TRANSCEIVER, 2, "acme", "right")
    assert (await esme.request(second)).command_status == 0
    assert smsc.connections[-1].received == [second]
    await still_works(esme, smsc)


async def test_a_receiver_may_not_submit_and_still_receives(
    connect: Visitors, smsc: FakeSMSC
) -> None:
    before = len(smsc.submits())
    esme = await connect("acme", "rx")
    assert (await esme.submit(FROM, customer())).command_status == 0x04
    data = await esme.request(wire.data_sm(50, FROM, customer()))
    assert data.command_status == 0x04
    delivered = smsc.connections[-1].deliver_sm(TO, FROM)
    assert await esme.recv_raw() == delivered
    assert len(await smsc.connections[-1].response_to(delivered)) == 17
    assert len(smsc.submits()) == before


async def test_after_an_unbind_nothing_is_submitted(connect: Visitors, smsc: FakeSMSC) -> None:
    esme = await connect()
    smsc.hold = {c.UNBIND}
    first = esme.submit_octets(FROM, customer())
    unbind = wire.pack(c.UNBIND, 100)
    late = esme.submit_octets(FROM, customer())
    answers = [esme.expect(pdu) for pdu in (first, unbind, late)]
    esme.send_raw(first + unbind + late)
    assert (await esme.response(answers[0])).command_status == 0
    assert (await esme.response(answers[2])).command_status == 0x04
    assert (await esme.submit(FROM, customer())).command_status == 0x04
    smsc.release()
    assert (await esme.response(answers[1])).command_status == 0
    assert smsc.connections[-1].received[1:] == [first, unbind]
    esme.half_close()
    assert await smsc.connections[-1].wait_ended() == "fin"


# the table of PDUs, bound


def query(number: int) -> bytes:
    return wire.pack(c.QUERY_SM, number, wire.cstring("id7") + b"\0\1" + wire.cstring(FROM))


def cancel(number: int) -> bytes:
    body = b"\0" + wire.cstring("id7") + b"\0\1" + wire.cstring(FROM) + b"\1\1" + wire.cstring(TO)
    return wire.pack(c.CANCEL_SM, number, body)


def replace(number: int) -> bytes:
    body = wire.cstring("id7") + b"\0\1" + wire.cstring(FROM) + b"\0\0\0\0\2hi"
    return wire.pack(c.REPLACE_SM, number, body)


@pytest.mark.parametrize("pdu", [query(9), cancel(9), wire.pack(c.ENQUIRE_LINK, 9)])
async def test_requests_that_reach_nobody_pass(
    connect: Visitors, smsc: FakeSMSC, pdu: bytes
) -> None:
    esme = await connect()
    assert (await esme.request(pdu)).command_status == 0
    assert smsc.connections[-1].received[1:] == [pdu]


@pytest.mark.parametrize(
    ("pdu", "answer"),
    [
        (replace(9), wire.pack(c.REPLACE_SM_RESP, 9, b"", 0x13)),
        (wire.deliver_sm(9, TO, FROM), wire.pack(c.GENERIC_NACK, 9, b"", 0x03)),
        (wire.pack(c.OUTBIND, 9, b"a\0b\0"), wire.pack(c.GENERIC_NACK, 9, b"", 0x03)),
        (wire.pack(c.BROADCAST_SM, 9, bytes(30)), wire.pack(c.GENERIC_NACK, 9, b"", 0x03)),
        (wire.pack(0x00010203, 0xFFFFFFFF), wire.pack(c.GENERIC_NACK, 0xFFFFFFFF, b"", 0x03)),
        # malformed: one answer, by the name of the request where it has a response
        (wire.pack(c.QUERY_SM, 9, b"id"), wire.pack(c.QUERY_SM_RESP, 9, b"", 0x01)),
        (wire.pack(c.CANCEL_SM, 9), wire.pack(c.CANCEL_SM_RESP, 9, b"", 0x01)),
        (wire.pack(c.REPLACE_SM, 9, b"x"), wire.pack(c.REPLACE_SM_RESP, 9, b"", 0x01)),
        (wire.pack(c.SUBMIT_MULTI, 9), wire.pack(c.SUBMIT_MULTI_RESP, 9, b"\0\0", 0x01)),
        (wire.pack(c.DATA_SM, 9, b"x"), wire.pack(c.DATA_SM_RESP, 9, b"\0", 0x01)),
        (wire.pack(c.ENQUIRE_LINK, 9, b"x"), wire.pack(c.ENQUIRE_LINK_RESP, 9, b"", 0xC0)),
        (wire.pack(c.UNBIND, 9, b"x"), wire.pack(c.UNBIND_RESP, 9, b"", 0xC0)),
        (wire.submit_sm(9, "1" * 21, TO), wire.pack(c.SUBMIT_SM_RESP, 9, b"", 0x01)),
        (wire.submit_sm(9, FROM, "1" * 21), wire.pack(c.SUBMIT_SM_RESP, 9, b"", 0x01)),
        (wire.submit_sm(9, FROM, TO, sm_length=3), wire.pack(c.SUBMIT_SM_RESP, 9, b"", 0x01)),
        (
            wire.submit_sm(9, FROM, TO, trailing=b"\0" * 4),
            wire.pack(c.SUBMIT_SM_RESP, 9, b"", 0xC0),
        ),
        (
            wire.submit_sm(9, FROM, TO, trailing=b"\1"),
            wire.pack(c.SUBMIT_SM_RESP, 9, b"", 0xC0),
        ),
        (
            wire.submit_sm(9, FROM, TO, tlvs=[(c.TAG_MESSAGE_PAYLOAD, b"x")]),
            wire.pack(c.SUBMIT_SM_RESP, 9, b"", 0xC0),
        ),
        (
            wire.submit_sm(9, FROM, TO, trailing=wire.submit_sm(10, FROM, TO)),
            wire.pack(c.SUBMIT_SM_RESP, 9, b"", 0xC0),
        ),
        # nothing is answered to a response, whatever is wrong with it
        (wire.pack(c.SUBMIT_SM_RESP, 9, b"x\0"), b""),
        (wire.pack(c.BIND_TRANSCEIVER_RESP, 9, b"x\0"), b""),
        (wire.pack(0x80010203, 9), b""),
        (wire.pack(c.ALERT_NOTIFICATION, 9, b"\0\0\0\0\0\0"), b""),
    ],
)
async def test_what_does_not_pass_is_answered_once_and_the_session_goes_on(
    connect: Visitors, smsc: FakeSMSC, pdu: bytes, answer: bytes
) -> None:
    esme = await connect()
    seen = len(esme.received)
    esme.send_raw(pdu)
    await still_works(esme, smsc)
    assert esme.received[seen:-1] == ([answer] if answer else [])
    assert len(smsc.connections[-1].received) == 2, "the bind, and the message after it"


@pytest.mark.parametrize(
    "pdu",
    [
        wire.pack(c.DELIVER_SM_RESP, 9, b"\0"),
        wire.pack(c.DATA_SM_RESP, 9, b"\0"),
        wire.pack(c.ENQUIRE_LINK_RESP, 9),
        wire.pack(c.UNBIND_RESP, 9),
        wire.pack(c.GENERIC_NACK, 9, b"", 0x03),
    ],
)
async def test_responses_to_what_an_smsc_asks_pass(
    connect: Visitors, smsc: FakeSMSC, pdu: bytes
) -> None:
    esme = await connect()
    esme.send_raw(pdu)
    await still_works(esme, smsc)
    assert smsc.connections[-1].received[1] == pdu


@pytest.mark.parametrize("nuls", [1, 2, 3])
async def test_up_to_three_trailing_nuls_pass_as_they_came_and_hide_nothing(
    connect: Visitors, calm: Site, smsc: FakeSMSC, nuls: int
) -> None:
    esme = await connect()
    counted = await calm.metric("smsfilter_trailing_nuls_total")
    pdu = esme.submit_octets(FROM, customer(), trailing=b"\0" * nuls)
    assert (await esme.request(pdu)).command_status == 0
    assert smsc.submits()[-1] == pdu
    blocked = await esme.submit(FROM, BLOCKED, trailing=b"\0" * nuls)
    assert blocked.command_status == 0x66
    assert await calm.metric("smsfilter_trailing_nuls_total") > counted


# broken streams


@pytest.mark.parametrize(
    ("octets", "number"),
    [
        (b"GET / HTTP/1.1\r\nHost: sms\r\n\r\n", None),
        (b"\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08\x00\x03\x00\x00\x00", None),
        (b"AMQP\x00\x00\x09\x01", None),
        ((15).to_bytes(4, "big") + bytes(8) + (77).to_bytes(4, "big"), 77),
        ((70_001).to_bytes(4, "big") + bytes(8) + (78).to_bytes(4, "big"), 78),
        (b"\xff" * 16, 0xFFFFFFFF),
        (bytes(4), 0),
    ],
)
@pytest.mark.parametrize("bound", [False, True])
async def test_a_stream_that_cannot_be_framed_is_answered_once_and_closed(
    connect: Visitors, smsc: FakeSMSC, bound: bool, octets: bytes, number: int | None
) -> None:
    esme = await connect("acme" if bound else None)
    good = esme.submit_octets(FROM, customer())
    answered = esme.expect(good) if bound else None
    esme.send_raw((good if bound else b"") + octets)
    assert await esme.wait_ended() == "fin"
    nack = header_of(esme.received[-1])
    expected = number if number is not None else int.from_bytes(octets[12:16], "big")
    assert nack == (c.GENERIC_NACK, 0x02, expected if len(octets) >= 16 else 0)
    if answered is not None:
        await smsc.wait_no_connection()
        received = smsc.connections[-1].received
        assert header_of(received[-1])[0] == c.UNBIND, "the SMSC is told"
        assert received[1:-1] == [good], "what came before counts"


async def test_sixteen_megabytes_of_garbage_cost_nothing(
    connect: Visitors, calm: Site, smsc: FakeSMSC
) -> None:
    other = await connect()
    before = calm.rss_kib()
    for account in (None, "acme"):
        esme = await connect(account)
        esme.send_raw(b"\x7f" * (16 << 20))
        assert await esme.wait_ended() in ("fin", "rst")
    assert calm.rss_kib() < before + 8192
    await still_works(other, smsc)


async def test_a_pdu_longer_than_a_bind_can_be_is_not_waited_for_before_the_bind(
    connect: Visitors, smsc: FakeSMSC
) -> None:
    esme = await connect(None)
    esme.send_raw(wire.submit_sm(5, FROM, TO, b"x" * 200, tlvs=[(0x1400, b"y" * 900)])[:20])
    assert await esme.wait_ended() == "fin"
    assert header_of(esme.received[0]) == (c.GENERIC_NACK, 0x02, 5)


@pytest.mark.tls
async def test_single_octets_make_whole_pdus(connect: Visitors, smsc: FakeSMSC) -> None:
    esme = await connect(None)
    bind = wire.bind(c.BIND_TRANSCEIVER, 1, "acme")
    answer = esme.expect(bind)
    await esme.send_slowly(bind)
    assert (await esme.response(answer)).command_status == 0
    pdus = [esme.submit_octets(FROM, to) for to in (customer(), BLOCKED, customer())]
    answers = [esme.expect(pdu) for pdu in pdus]
    await esme.send_slowly(b"".join(pdus))
    assert [(await esme.response(one)).command_status for one in answers] == [0, 0x66, 0]
    assert smsc.connections[-1].received == [bind, pdus[0], pdus[2]]


# time


async def test_the_whole_bind_has_to_be_there_in_time(connect: Visitors, calm: Site) -> None:
    """Silent, one octet now and then, or asking for links: none of it earns more time."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    silent, slow, chatty = [await connect(None) for _ in range(3)]
    octets = iter(wire.bind(c.BIND_TRANSCEIVER, 1, "acme"))
    while not (slow.ended and chatty.ended and silent.ended):
        assert loop.time() < started + 8
        if not slow.ended:
            slow.send_raw(bytes([next(octets)]))
        if not chatty.ended:
            chatty.send_raw(wire.pack(c.ENQUIRE_LINK, 1))
        await asyncio.sleep(0.2)
    assert loop.time() - started > 1.9
    closed = await calm.metric("smsfilter_closes_total", leg="esme", why="bind_timeout")
    assert closed >= 3


@pytest.mark.tls
async def test_the_rest_of_a_pdu_has_to_come_in_time_and_nobody_else_waits(
    connect: Visitors, calm: Site, smsc: FakeSMSC
) -> None:
    esme, other = await connect(), await connect()
    good = esme.submit_octets(FROM, customer())
    answer = esme.expect(good)
    esme.send_raw(good + good[:-1])
    assert (await esme.response(answer)).command_status == 0, "what is whole does not wait"
    await still_works(other, smsc)
    assert await esme.wait_ended(4) == "fin"
    assert other.ended is None
    line = await calm.wait_for_log("session_closed", why="partial_timeout")
    assert line["account"] == "acme"


async def test_a_pdu_that_is_late_but_complete_is_no_fault(
    connect: Visitors, smsc: FakeSMSC
) -> None:
    esme = await connect()
    pdu = esme.submit_octets(FROM, customer())
    answer = esme.expect(pdu)
    esme.send_raw(pdu[:30])
    await asyncio.sleep(0.3)
    esme.send_raw(pdu[30:])
    assert (await esme.response(answer)).command_status == 0
    assert smsc.submits()[-1] == pdu


# the end of a session


@pytest.mark.tls
async def test_what_was_sent_before_fin_is_decided_answered_and_the_smsc_is_unbound(
    connect: Visitors, smsc: FakeSMSC
) -> None:
    esme = await connect()
    pdus = [esme.submit_octets(FROM, customer()) for _ in range(200)]
    pdus[150] = esme.submit_octets(FROM, BLOCKED)
    answers = [esme.expect(pdu) for pdu in pdus]
    esme.send_raw(b"".join(pdus))
    esme.half_close()
    statuses = [(await esme.response(answer)).command_status for answer in answers]
    assert [n for n, status in enumerate(statuses) if status] == [150]
    assert await esme.wait_ended() == "fin"
    connection = smsc.connections[-1]
    await connection.wait_ended()
    assert connection.received[1:-1] == pdus[:150] + pdus[151:]
    assert header_of(connection.received[-1])[0] == c.UNBIND
    assert connection.bound is None
    assert all(wire.header(pdu).command_id == c.SUBMIT_SM_RESP for pdu in esme.received[1:])


@pytest.mark.tls
async def test_after_a_reset_the_smsc_is_unbound(connect: Visitors, smsc: FakeSMSC) -> None:
    esme = await connect()
    await still_works(esme, smsc)
    esme.abort()
    connection = smsc.connections[-1]
    assert await connection.wait_ended() == "fin"
    assert header_of(connection.received[-1])[0] == c.UNBIND


async def test_an_esme_that_closes_before_its_bind_is_answered_leaves_nothing_behind(
    connect: Visitors, smsc: FakeSMSC
) -> None:
    smsc.hold = {c.BIND_TRANSCEIVER}
    for end in ("hang_up", "abort"):
        esme = await connect(None)
        made = len(smsc.connections)
        esme.post(wire.bind(c.BIND_TRANSCEIVER, 1, "acme"))
        connection = await smsc.wait_connection(made + 1)
        await smsc.changes.until(lambda: connection.held, "the bind at the SMSC")  # noqa: B023
        getattr(esme, end)()
        await connection.wait_ended()


# one that does not read


def unsent(local_port: int, remote_port: int) -> int:
    """Octets that wait in the kernel's send buffer of the connection between these ports."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, _, queues, *_ = line.split()
        if [int(end.partition(":")[2], 16) for end in (local, remote)] == [local_port, remote_port]:
            return int(queues.partition(":")[0], 16)
    return 0


@pytest.mark.tls
async def test_an_esme_that_never_reads_is_closed_and_its_smsc_was_never_held_up(
    connect: Visitors, calm: Site, smsc: FakeSMSC
) -> None:
    other = await connect()
    deaf = await connect(rcvbuf=4096)
    connection = smsc.connections[-1]
    deaf.pause_reading()
    port = deaf.socket.getsockname()[1]
    before, since = calm.rss_kib(), len(calm.log)
    pdu = wire.deliver_sm(1, TO, FROM, b"", tlvs=[(c.TAG_MESSAGE_PAYLOAD, b"x" * 60_000)])
    sent = 0
    while sent - unsent(calm.port, port) < 1_500_000:
        if calm.logged("session_closed", since=since, why="unread"):
            break  # as this took more than its second
        connection.send_raw(pdu)
        sent += len(pdu)
        await asyncio.sleep(0.005)
    assert sent > 1 << 20, "so much may be unread"
    await still_works(other, smsc)
    line = await calm.wait_for_log("session_closed", since=since, why="unread")
    assert line["who"] == "esme"
    assert calm.rss_kib() < before + 8192
    assert connection.transport.get_write_buffer_size() == 0, "all of it was taken"
    await connection.wait_ended()
    assert header_of(connection.received[-1])[0] == c.UNBIND
    await still_works(other, smsc)


@pytest.mark.tls
async def test_four_megabytes_unread_are_too_many_at_once(
    connect: Visitors, calm: Site, smsc: FakeSMSC
) -> None:
    deaf = await connect(rcvbuf=4096)
    connection = smsc.connections[-1]
    deaf.pause_reading()
    since = len(calm.log)
    started = asyncio.get_running_loop().time()
    pdu = wire.deliver_sm(1, TO, FROM, b"", tlvs=[(c.TAG_MESSAGE_PAYLOAD, b"x" * 60_000)])
    for _ in range(200):
        connection.send_raw(pdu)
    await calm.wait_for_log("session_closed", since=since, why="unread")
    assert asyncio.get_running_loop().time() - started < 0.9, "less than `unread`"
    await connection.wait_ended()
