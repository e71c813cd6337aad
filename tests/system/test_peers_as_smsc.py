"""node-smpp as the SMSC behind the daemon: what it received, and what it read in it.

The same story as with peers as clients: bind, a thousand messages, a receipt, a block in
mid-stream, the SMSC killed, bound again. The octets are those that node pulled off its socket; who
each message is for is node's own reading of them.
"""

import pytest

from smsfilter.reports.sms import Outgoing
from smsfilter.smpp.const import BIND_TRANSCEIVER, ESME_RX_R_APPN, UNBIND
from tests.conftest import MakeSite
from tests.fakes import wire
from tests.fakes.centre import BareDesk, configured
from tests.fakes.esme import FakeESME
from tests.fakes.peer import Peer, running, start_node
from tests.fakes.site import Site

pytestmark = [pytest.mark.peer, pytest.mark.system, pytest.mark.redis]

SOURCE = "10657555"
CUSTOMER = "8613900000000"
THOUSAND = [f"8613800{n:06d}" for n in range(1000)]
ANSWERED = 100  # of the stream, before the SMSC withholds its answers
SENT = 150  # of the stream, before the block


async def start_smsc() -> Peer:
    """A listening node-smpp."""
    peer = await start_node("smsc.js")
    peer.tell("listen")
    await peer.wait_for("listening")
    return peer


def received(peer: Peer, since: int = 0) -> bytes:
    """All octets that came."""
    return b"".join(bytes.fromhex(event["octets"]) for event in peer.said("octets", since))


async def a_thousand_pass(peer: Peer, esme: FakeESME) -> None:
    answers = await esme.submit_all(SOURCE, THOUSAND)
    assert {answer.command_status for answer in answers} == {0}
    submitted = await peer.wait_for("submitted", 1000)
    assert [event["destination"] for event in submitted] == THOUSAND
    told = [answer.fields["message_id"].decode() for answer in answers]
    assert told == [event["message_id"] for event in submitted]
    assert received(peer) == b"".join(esme.sent)


async def a_receipt_comes_back(peer: Peer, esme: FakeESME) -> None:
    text = wire.receipt_text("n1000").decode()
    peer.tell("deliver", source=THOUSAND[-1], destination=SOURCE, text=text, esm_class=4)
    deliver_sm = await esme.recv_raw()
    (delivering,) = await peer.wait_for("delivering")
    assert deliver_sm == bytes.fromhex(delivering["octets"])
    (delivered,) = await peer.wait_for("delivered")
    assert delivered["status"] == 0


async def blocked_in_mid_stream(peer: Peer, esme: FakeESME, site: Site) -> None:
    destinations = [CUSTOMER if n % 4 == 0 else f"8613700{n:06d}" for n in range(300)]
    pdus = [esme.submit_octets(SOURCE, destination) for destination in destinations]
    futures = [esme.expect(pdu) for pdu in pdus]
    since = peer.tell("hold", after=ANSWERED)
    esme.send_raw(b"".join(pdus[:SENT]))
    await peer.wait_for("held", SENT - ANSWERED, since)
    site.block(CUSTOMER, "acme")
    esme.send_raw(b"".join(pdus[SENT:]))
    refused = [await esme.response(futures[n]) for n in range(SENT, 300) if n % 4 == 0]
    assert {answer.command_status for answer in refused} == {ESME_RX_R_APPN}
    peer.tell("release")
    answers = [await esme.response(future) for future in futures]
    passed = [n for n in range(300) if n < SENT or destinations[n] != CUSTOMER]
    assert [n for n in range(300) if answers[n].command_status == 0] == passed
    assert received(peer, since) == b"".join(pdus[n] for n in passed)
    read = await peer.wait_for("submitted", len(passed), since)
    assert [event["destination"] for event in read] == [destinations[n] for n in passed]


async def killed_and_bound_again(peer: Peer, esme: FakeESME, site: Site) -> None:
    since = peer.tell("kill")
    await esme.wait_ended()
    await peer.wait_for("killed", since=since)
    peer.tell("listen")
    await peer.wait_for("listening", since=since)
    since = len(peer.events)
    again = await site.esme("acme")
    answers = await again.submit_all(SOURCE, [*THOUSAND[:9], CUSTOMER])
    assert [answer.command_status for answer in answers] == [0] * 9 + [ESME_RX_R_APPN]
    assert (await again.unbind()).command_status == 0
    await peer.wait_for("unbound", since=since)
    pdus = wire.split(received(peer, since))
    assert pdus == [*again.sent[:10], again.sent[-1]]
    assert wire.header(pdus[0]).command_id == BIND_TRANSCEIVER
    assert wire.header(pdus[-1]).command_id == UNBIND


async def test_node_smpp_receives_what_may_pass_and_nothing_else(make_site: MakeSite):
    async with running(start_smsc()) as peer:
        port = peer.said("listening")[-1]["port"]
        site = await make_site(config={"proxy": {"smsc": [f"127.0.0.1:{port}"]}})
        esme = await site.esme("acme")
        (bound,) = await peer.wait_for("bound")
        assert (bound["system_id"], bound["password"]) == ("acme", "secret")
        await a_thousand_pass(peer, esme)
        await a_receipt_comes_back(peer, esme)
        await blocked_in_mid_stream(peer, esme, site)
        await killed_and_bound_again(peer, esme, site)


async def test_the_report_centre_at_node_smpp():
    async with running(start_smsc()) as peer:
        port = peer.said("listening")[-1]["port"]
        desk = BareDesk(configured(port))
        desk.start()
        await peer.wait_for("bound", kind="bind_transceiver", system_id="centre")
        peer.tell("deliver", source=CUSTOMER, destination="10086999", text=f"{SOURCE}*spam")
        (delivered,) = await peer.wait_for("delivered")
        assert delivered["status"] == 0
        assert [message.octets for message in desk.taken] == [f"{SOURCE}*spam".encode()]

        answer = await desk.centre.submit(Outgoing(CUSTOMER, b"blocked", 0))

        (submitted,) = await peer.wait_for("submitted")
        assert (submitted["source"], submitted["destination"]) == ("10086999", CUSTOMER)
        assert (submitted["text"], answer.message_id) == ("blocked", b"n1")
        peer.tell("kill")
        await peer.wait_for("killed")
        peer.tell("listen")
        await peer.wait_for("bound", 2)
        peer.tell("deliver", source=CUSTOMER, destination="10086999", text="again")
        await peer.wait_for("delivered", 2)
        await desk.close()
        await peer.wait_for("unbound")
