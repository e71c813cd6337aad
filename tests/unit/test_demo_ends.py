"""The two ends of the demo: what counts at the SMSC as sent by whom, and how the SMSC answers."""

import queue
import threading
from collections.abc import AsyncIterator

import pytest

from smsfilter.cli.demo import senders
from smsfilter.cli.demo.senders import OTHERS, REPORTER, ROADS, Tally
from smsfilter.cli.demo.handset import Handset, Shown
from smsfilter.cli.demo.simulator import SHORT_CODE, Arrival, Simulator
from smsfilter.cli.demo.summary import Count, Phase
from smsfilter.smpp import const as c
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


@pytest.fixture
async def esme(arrivals: "queue.SimpleQueue[Arrival]") -> AsyncIterator[FakeESME]:
    """An ESME connected to the simulated SMSC itself."""
    smsc = Simulator(arrivals.put)
    smsc.start()
    esme = await FakeESME.connect(smsc.port)
    yield esme
    smsc.stop()
    await esme.wait_ended()
    with pytest.raises(ConnectionRefusedError):
        await FakeESME.connect(smsc.port)


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
