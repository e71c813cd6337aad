"""SMPP stacks written by others, sending through the daemon: what works with them in the field.

One story for each: bind, a thousand messages, a receipt, a block in mid-stream seen by the peer
with its status, the SMSC killed, bound again. Asserted on the octets that the SMSC recorded and on
what the peer itself says it saw.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from smsfilter.smpp.const import (
    BIND_TRANSCEIVER,
    DELIVER_SM_RESP,
    ESME_RX_R_APPN,
    SUBMIT_SM,
    UNBIND,
)
from tests.conftest import MakeSite
from tests.fakes import kannel as kannel_box
from tests.fakes import wire
from tests.fakes.kannel import Kannel
from tests.fakes.peer import Peer, running, start_node, start_smpplib
from tests.fakes.site import Site
from tests.fakes.smsc import FakeSMSC, SMSCConnection

pytestmark = [pytest.mark.peer, pytest.mark.system, pytest.mark.redis]

SOURCE = "10657555"
CUSTOMER = "8613900000000"
THOUSAND = [f"8613800{n:06d}" for n in range(1000)]
WINDOW = 10
BEFORE = 100  # messages that are answered before the stream is held


def stream(length: int) -> list[str]:
    """Destinations of a stream in which each fourth message is for one customer."""
    return [CUSTOMER if n % 4 == 0 else f"8613700{n:06d}" for n in range(length)]


class Gate:
    """Lets the SMSC answer a number of further messages and withhold the rest."""

    def __init__(self, smsc: FakeSMSC, passing: int) -> None:
        self.smsc = smsc
        self.last = len(smsc.submits()) + passing
        smsc.answer = self.answer

    def answer(self, connection: SMSCConnection, pdu: bytes) -> bytes | None:
        if len(self.smsc.submits()) == self.last:
            self.smsc.hold.add(SUBMIT_SM)
        return self.smsc.default_answer(connection, pdu)


# smpplib and node-smpp


async def bind(peer: Peer, site: Site) -> SMSCConnection:
    since = peer.tell("bind", port=site.port, system_id="acme", password="secret")
    (bound,) = await peer.wait_for("bound", since=since)
    assert bound["status"] == 0
    return await site.smsc.wait_bound("acme")


async def submit(peer: Peer, destinations: list[str]) -> tuple[list[bytes], dict[str, list[int]]]:
    """Submit and return the octets that were sent and the statuses seen for each destination."""
    since = peer.tell("submit", source=SOURCE, destinations=destinations, window=WINDOW)
    answered = await peer.wait_for("answered", len(destinations), since)
    seen: dict[str, list[int]] = {}
    for event in answered:
        seen.setdefault(event["destination"], []).append(event["status"])
    return [bytes.fromhex(event["octets"]) for event in peer.said("sent", since)], seen


async def a_thousand_pass(peer: Peer, site: Site) -> None:
    sent, seen = await submit(peer, THOUSAND)
    assert seen == {destination: [0] for destination in THOUSAND}
    assert site.smsc.submits() == sent
    told = [event["message_id"] for event in peer.said("answered")]
    assert told == site.smsc.message_ids


async def a_receipt_comes_back(peer: Peer, site: Site, connection: SMSCConnection) -> None:
    submitted, message_id = site.smsc.submits()[-1], site.smsc.message_ids[-1]
    deliver_sm = connection.send_receipt(submitted, message_id)
    (delivered,) = await peer.wait_for("delivered")
    assert delivered["text"] == wire.receipt_text(message_id).decode()
    assert (delivered["source"], delivered["destination"]) == (THOUSAND[-1], SOURCE)
    assert delivered["esm_class"] == 0x04
    answer = await connection.response_to(deliver_sm)
    assert wire.header(answer).command_id == DELIVER_SM_RESP
    assert wire.header(answer).command_status == 0


async def blocked_in_mid_stream(peer: Peer, site: Site) -> None:
    smsc, destinations = site.smsc, stream(300)
    Gate(smsc, BEFORE)
    before = len(smsc.submits())
    since = peer.tell("submit", source=SOURCE, destinations=destinations, window=WINDOW)
    await smsc.wait_for(before + BEFORE + WINDOW, timeout_s=30)
    site.block(CUSTOMER, "acme")
    smsc.release()
    answered = await peer.wait_for("answered", len(destinations), since)

    sent = [bytes.fromhex(event["octets"]) for event in peer.said("sent", since)]
    passed = BEFORE + WINDOW
    expected = sent[:passed] + [
        pdu
        for pdu, destination in zip(sent[passed:], destinations[passed:], strict=True)
        if destination != CUSTOMER
    ]
    assert smsc.submits()[before:] == expected
    refused = [event["destination"] for event in answered if event["status"]]
    assert refused == [CUSTOMER] * destinations[passed:].count(CUSTOMER)
    assert {event["status"] for event in answered} == {0, ESME_RX_R_APPN}


async def killed_and_bound_again(peer: Peer, site: Site) -> None:
    submits = len(site.smsc.submits())
    since = len(peer.events)
    await site.smsc.kill()
    await peer.wait_for("closed", since=since)
    await site.smsc.listen()
    await bind(peer, site)
    sent, seen = await submit(peer, [*THOUSAND[:9], CUSTOMER])
    assert seen == {destination: [0] for destination in THOUSAND[:9]} | {CUSTOMER: [ESME_RX_R_APPN]}
    assert site.smsc.submits()[submits:] == sent[:9]
    peer.tell("unbind")
    await peer.wait_for("unbound")
    await site.smsc.wait_for_pdu(UNBIND)
    await site.smsc.wait_no_connection()


@pytest.mark.parametrize(
    "start", [start_smpplib, lambda: start_node("client.js")], ids=["smpplib", "node-smpp"]
)
async def test_a_client_sends_is_blocked_and_survives_the_smsc(
    start: Callable[[], Awaitable[Peer]], make_site: MakeSite
):
    async with running(start()) as peer:
        site = await make_site()
        connection = await bind(peer, site)
        await a_thousand_pass(peer, site)
        await a_receipt_comes_back(peer, site, connection)
        await blocked_in_mid_stream(peer, site)
        await killed_and_bound_again(peer, site)
        assert {event["why"] for event in peer.said("error")} <= {"ECONNRESET"}, peer.story()
        assert len(site.smsc.of_kind({BIND_TRANSCEIVER})) == 2


# Kannel


async def test_kannel_sends_is_blocked_and_survives_the_smsc(tmp_path: Path, make_site: MakeSite):
    site = await make_site()
    smsc = site.smsc
    async with running(Kannel.start(tmp_path, site.port, "acme", WINDOW)) as kannel:
        connection = await smsc.wait_bound("acme")

        # a thousand pass, and Kannel is told of each
        await kannel.send(SOURCE, THOUSAND)
        accepted = await kannel.wait_reports(kannel_box.ACCEPTED, 1000)
        assert sorted(smsc.destinations()) == THOUSAND  # Kannel's own queue keeps no order
        assert sorted(report.destination for report in accepted) == THOUSAND

        # a receipt comes back
        customer, message_id = smsc.destinations()[-1], smsc.message_ids[-1]
        deliver_sm = connection.send_receipt(smsc.submits()[-1], message_id)
        (delivered,) = await kannel.wait_reports(kannel_box.DELIVERED, 1)
        assert delivered.destination == customer
        assert delivered.answer == wire.receipt_text(message_id).decode()
        assert wire.header(await connection.response_to(deliver_sm)).command_status == 0

        # blocked in mid-stream, with the status that Kannel saw
        before, destinations = len(smsc.submits()), stream(300)
        Gate(smsc, BEFORE)
        await kannel.send(SOURCE, destinations)
        passed = await smsc.wait_for(before + BEFORE + WINDOW, timeout_s=30)
        site.block(CUSTOMER, "acme")
        smsc.release()
        reached = wire.destinations(passed)[before:].count(CUSTOMER)
        blocked = destinations.count(CUSTOMER) - reached
        assert reached
        assert blocked
        refused = await kannel.wait_reports(kannel_box.REFUSED, blocked)
        await kannel.wait_reports(kannel_box.ACCEPTED, 1000 + len(destinations) - blocked)
        others = [destination for destination in destinations if destination != CUSTOMER]
        assert sorted(smsc.destinations()[before:]) == [*others, *[CUSTOMER] * reached]
        assert [report.destination for report in refused] == [CUSTOMER] * blocked
        assert kannel.statuses() == [ESME_RX_R_APPN] * blocked

        # the SMSC killed; Kannel binds again by itself and goes on
        before = len(smsc.submits())
        await smsc.kill()
        await smsc.listen()
        await smsc.wait_bound("acme", timeout_s=30)
        await kannel.send(SOURCE, [*THOUSAND[:9], CUSTOMER])
        await kannel.wait_reports(kannel_box.REFUSED, blocked + 1)
        await smsc.wait_for(before + 9)
        assert sorted(smsc.destinations()[before:]) == THOUSAND[:9]
