"""The two ends of the demo: what counts at the SMSC as sent by whom, and how the SMSC answers."""

import asyncio
import queue
import threading
from collections.abc import AsyncIterator

import pytest

from smsfilter.cli.demo import ledger, senders
from smsfilter.cli.demo.handset import Handset, Shown
from smsfilter.cli.demo.program import DemoError
from smsfilter.cli.demo.senders import OTHERS, REPORTER, ROADS, Tally
from smsfilter.cli.demo.simulator import SHORT_CODE, Arrival, Simulator
from smsfilter.cli.demo.summary import Count, Phase
from smsfilter.smpp import const as c
from smsfilter.smpp.pdu import decode
from tests.fakes import wire
from tests.fakes.esme import FakeESME

ACME, RESELLER = ROADS[0], ROADS[1]
BEFORE = b"Message 1 of acme, sent before the report"
AFTER = b"Message 2 of acme, sent after the report"


def arrival(**changes: object) -> Arrival:
    """A message of acme's own account to the one who will report it."""
    plain = Arrival(ACME.account, ACME.source.encode(), REPORTER.encode(), BEFORE)
    return plain._replace(**changes)


# the senders' count


def test_what_arrives_is_counted_by_road_customer_and_phase() -> None:
    tally = Tally()
    for message in (BEFORE, AFTER, AFTER):
        tally.add(arrival(message=message))
    tally.add(arrival(destination=OTHERS[1].encode()))
    tally.add(arrival(account=RESELLER.account, source=RESELLER.source.encode()))
    assert tally.arrived == {
        (ACME, REPORTER, Phase.BEFORE): 1,
        (ACME, REPORTER, Phase.AFTER): 2,
        (ACME, OTHERS[1], Phase.BEFORE): 1,
        (RESELLER, REPORTER, Phase.BEFORE): 1,
    }
    assert tally.strays == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"account": "resell7"},
        {"account": "nobody"},
        {"source": b"10690666"},
        {"destination": b"13800138000"},
        {"destination": b"\xff"},
        {"message": b"hello"},
        {"message": b""},
    ],
)
def test_what_no_sender_can_have_sent_is_a_stray(changes: dict[str, object]) -> None:
    tally = Tally()
    tally.add(arrival(**changes))
    assert tally.strays == 1
    assert not tally.arrived


def test_every_road_is_one_that_the_demo_registers() -> None:
    for road in ROADS:
        company = senders.COMPANIES[road.company]
        reseller = senders.RESELLERS.get(road.account)
        assert road.account in company["accounts"] or road.company in reseller["may_send_for"]
    roads = {(road.account, road.source) for road in ROADS}
    assert len(roads) == len(ROADS)
    accused = {road.account for road in ROADS if road.company == senders.ACCUSED}
    assert len(accused) == 3, "its own, a reseller's, and another of its own"
    assert set(senders.COMPANIES) - set(senders.APPROVED) == {"corner"}


def test_lines_put_both_ends_together() -> None:
    sender = senders.Sender(ACME, 1, senders.Moment(), threading.Event())
    reported = (ACME, REPORTER, Phase.BEFORE)
    sender.sent.update(
        {reported: 3, (ACME, OTHERS[0], Phase.AFTER): 2, (ACME, OTHERS[2], Phase.AGAIN): 1}
    )
    sender.refused[reported] = sender.put_off[reported] = 1
    sender.last[True] = 0x66
    tally = Tally()
    tally.arrived.update({(ACME, REPORTER, Phase.BEFORE): 2, (ACME, OTHERS[0], Phase.AFTER): 2})
    one, others = senders.lines([sender], tally)
    assert one.counts == (Count(3, 2, 1, 1), Count(), Count(), Count())
    assert others.counts == (Count(), Count(2, 2), Count(), Count(1))
    assert (one.status, others.status) == (0x66, None)
    assert (one.to_reporter, others.to_reporter) == (True, False)
    assert one.accused
    assert one.customer == "138****8000"


# the SMSC


@pytest.fixture
def arrivals() -> "queue.SimpleQueue[Arrival]":
    """What the SMSC has reported."""
    return queue.SimpleQueue()


class Smsc(Simulator):
    """The simulated SMSC, and those who are connected to it."""

    def __init__(self, arrivals: "queue.SimpleQueue[Arrival]") -> None:
        super().__init__(arrivals.put)
        self.peers: list[FakeESME] = []

    async def connect(self, *, auto_answer: bool = True) -> FakeESME:
        """Connect an ESME to it."""
        self.peers.append(await FakeESME.connect(self.port, auto_answer=auto_answer))
        return self.peers[-1]


@pytest.fixture
async def smsc(arrivals: "queue.SimpleQueue[Arrival]") -> AsyncIterator[Smsc]:
    """The simulated SMSC at work."""
    smsc = Smsc(arrivals)
    smsc.start()
    yield smsc
    smsc.stop()
    for peer in smsc.peers:
        await peer.wait_ended()
    with pytest.raises(ConnectionRefusedError):
        await smsc.connect()


@pytest.fixture
async def esme(smsc: Smsc) -> FakeESME:
    """An ESME connected to the simulated SMSC itself."""
    return await smsc.connect()


async def test_a_message_is_reported_before_it_is_answered(
    esme: FakeESME, arrivals: "queue.SimpleQueue[Arrival]"
) -> None:
    await esme.bound("tx", "acme")
    answers = await esme.submit_all("ACME", [REPORTER, OTHERS[0]], "hello")
    assert [answer.fields["message_id"] for answer in answers] == [b"00000001", b"00000002"]
    assert arrivals.get_nowait() == Arrival("acme", b"ACME", REPORTER.encode(), b"hello")
    data = wire.data_sm(esme.next_number(), "1", "2", tlvs=[(c.TAG_MESSAGE_PAYLOAD, b"data")])
    assert (await esme.request(data)).command_status == 0
    assert arrivals.get_nowait().destination == OTHERS[0].encode()
    assert arrivals.get_nowait() == Arrival("acme", b"1", b"2", b"data")


async def test_a_receipt_follows_where_it_can_be_received(esme: FakeESME) -> None:
    await esme.bound("trx", "acme")
    await esme.submit("ACME", REPORTER, registered_delivery=1)
    receipt = await esme.recv()
    assert receipt.command_id == c.DELIVER_SM
    assert receipt.fields["source_addr"] == REPORTER.encode()
    assert receipt.fields["short_message"].startswith(b"id:00000001 ")
    await esme.submit("ACME", REPORTER)
    await esme.enquire_link()
    assert esme.unasked() == []


async def test_it_keeps_to_the_protocol(
    esme: FakeESME, arrivals: "queue.SimpleQueue[Arrival]"
) -> None:
    assert (await esme.submit("ACME", REPORTER)).command_status == c.ESME_RINVBNDSTS
    await esme.bound("rx", "acme")
    assert (await esme.submit("ACME", REPORTER)).command_status == c.ESME_RINVBNDSTS
    assert (await esme.bind("tx", "acme")).command_status == c.ESME_RINVBNDSTS
    unknown = await esme.request(wire.pack(0x00010203, esme.next_number()))
    assert unknown.command_id == c.GENERIC_NACK
    cut = esme.submit_octets("ACME", REPORTER, sm_length=200)
    assert (await esme.request(cut)).command_status == c.ESME_RINVMSGLEN
    assert (await esme.unbind()).command_status == 0
    assert arrivals.empty()
    esme.send_raw(b"GET / HTTP/1.1\r\n\r\n")
    assert await esme.wait_ended() == "fin"
    assert wire.header(esme.received[-1]).command_status == c.ESME_RINVCMDLEN


# the short code


async def short_code(smsc: Smsc) -> FakeESME:
    """The report centre's bind, which answers what the test says."""
    centre = await smsc.connect(auto_answer=False)
    return await centre.bound("trx", SHORT_CODE)


async def answered(centre: FakeESME, status: int) -> bytes:
    """Answer the next deliver_sm; its text."""
    octets = await centre.recv_raw()
    centre.send_raw(wire.response(octets, status, b"\0"))
    pdu = decode(octets)
    assert (pdu.command_id, pdu.fields["source_addr"]) == (c.DELIVER_SM, REPORTER.encode())
    assert pdu.fields["destination_addr"] == SHORT_CODE.encode()
    return pdu.message


async def test_a_text_is_brought_until_it_is_taken(smsc: Smsc) -> None:
    texting = asyncio.wrap_future(smsc.text(REPORTER, b"1065755501*Hi"))
    centre = await short_code(smsc)
    for status in (c.ESME_RX_T_APPN, c.ESME_RMSGQFUL):
        assert await answered(centre, status) == b"1065755501*Hi"
    await centre.recv_raw()
    centre.abort()  # without an answer
    centre = await short_code(smsc)
    assert await answered(centre, c.ESME_ROK) == b"1065755501*Hi"
    brought = await texting
    assert (brought.status, smsc.taken) == (c.ESME_ROK, 1)
    assert brought.seconds > 0


async def test_a_text_that_is_refused_is_not_brought_again(smsc: Smsc) -> None:
    texting = asyncio.wrap_future(smsc.text(REPORTER, b"hello"))
    centre = await short_code(smsc)
    await answered(centre, c.ESME_RX_P_APPN)
    assert (await texting).status == c.ESME_RX_P_APPN
    assert smsc.taken == 0


async def test_what_a_handset_submits_for_the_short_code_is_brought_there(
    smsc: Smsc, arrivals: "queue.SimpleQueue[Arrival]"
) -> None:
    centre = await short_code(smsc)
    handset = await (await smsc.connect()).bound("tx", "handset")
    order = "撤销".encode("utf-16-be")
    submitted = await handset.submit(REPORTER, SHORT_CODE, order, data_coding=8)
    assert submitted.command_status == 0
    assert await answered(centre, c.ESME_ROK) == order
    assert arrivals.get_nowait().data_coding == 8
    long = wire.data_sm(
        handset.next_number(), REPORTER, SHORT_CODE, tlvs=[(c.TAG_MESSAGE_PAYLOAD, b"a" * 300)]
    )
    assert (await handset.request(long)).command_status == 0
    assert await answered(centre, c.ESME_ROK) == b"a" * 300


# the handset


def text(source: str, message: str) -> Arrival:
    account = SHORT_CODE if source == SHORT_CODE else "acme"
    return Arrival(account, source.encode(), REPORTER.encode(), message.encode())


async def test_the_handset_reports_the_newest_text_and_takes_back_as_it_is_told(
    smsc: Smsc,
) -> None:
    handset = Handset(REPORTER, smsc)
    handset.take(text("1065755501", "Message 1"))
    handset.take(text("1065755501", "Message 2"))
    handset.take(text("10690666", "Message 3"))
    assert handset.newest == Shown("10690666", "Message 3")
    centre = await short_code(smsc)
    reporting = asyncio.create_task(handset.report("1065755501"))
    assert await answered(centre, c.ESME_ROK) == b"1065755501*Message 2"
    assert (await reporting).status == c.ESME_ROK
    handset.take(text(SHORT_CODE, "Report 13: closed. To take it back, reply: cancel 13"))
    withdrawing = asyncio.create_task(handset.take_back())
    assert await answered(centre, c.ESME_ROK) == b"cancel 13"
    await withdrawing
    assert (handset.texts, handset.answers, smsc.taken) == (2, 1, 2)
    assert [(each.peer, each.is_own) for each in handset.story] == [
        ("1065755501", False),
        (SHORT_CODE, True),
        (SHORT_CODE, False),
        (SHORT_CODE, True),
    ]


async def test_a_handset_that_was_not_answered_takes_back_without_a_number(
    smsc: Smsc,
) -> None:
    handset = Handset(REPORTER, smsc)
    centre = await short_code(smsc)
    withdrawing = asyncio.create_task(handset.take_back())
    assert await answered(centre, c.ESME_ROK) == b"cancel"
    await withdrawing


async def test_nothing_is_reported_that_did_not_come(smsc: Smsc) -> None:
    handset = Handset(REPORTER, smsc)
    handset.take(text("10690666", "Message 3"))
    with pytest.raises(DemoError, match="nothing from 1065755501 has reached the handset"):
        await handset.report("1065755501")
    assert handset.texts == 0


def test_a_handset_reads_all_alphabets(smsc: Smsc) -> None:
    handset = Handset(REPORTER, smsc)
    chinese = Arrival("acme", "某公司".encode(), b"", "退订回T".encode("utf-16-be"), 8)
    handset.take(chinese)
    assert handset.newest == Shown("某公司", "退订回T")
    handset.take(chinese._replace(message=b"\x00\xff", data_coding=0))
    assert handset.newest == Shown("某公司", "@�")


# the ledger


def test_one_byte_of_the_record_of_the_report_is_altered() -> None:
    export = b'"acme" imported\n"report taken" targets ["acme"]\n"acme"\n'
    found = ledger.altered(export, b"acme")
    assert found == b'"acme" imported\n"report taken" targets ["xcme"]\n"acme"\n'
