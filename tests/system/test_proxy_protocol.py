"""Behind a balancer: its PROXY header says who the peer is, and nobody else's does.

One site for the whole file. 127.0.0.1 is the balancer, every other address is not; it listens
plainly and with TLS.
"""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from smsfilter.smpp import const as c
from tests.fakes import wire
from tests.fakes.balancer import LOCAL, v1, v2, v2_of
from tests.fakes.calm import Visitors, calm_site, customer
from tests.fakes.certificates import Authority
from tests.fakes.site import Site
from tests.fakes.smsc import FakeSMSC

pytestmark = [
    pytest.mark.system,
    pytest.mark.redis,
    pytest.mark.asyncio(loop_scope="module"),
]

FROM = "10657555"
PLAIN, TLS = range(2)
PER_IP, BIND_S = 3, 3
STRANGER = "127.0.0.2"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who issues the certificate of the site."""
    return Authority(tmp_path_factory.mktemp("papers"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def calm(
    tmp_path_factory: pytest.TempPathFactory, authority: Authority
) -> AsyncIterator[Site]:
    """The site of this file."""
    smsc = await FakeSMSC.start()
    behind = {"address": "127.0.0.1:0", "proxy_protocol_from": ["127.0.0.1/32", "192.0.2.0/24"]}
    config = {
        "proxy": {
            "listen": [behind, {**behind, "tls": authority.issue("proxy").section()}],
            "timeouts": {"bind": f"{BIND_S}s"},
            "limits": {"per_ip": PER_IP},
        },
        "log": {"decisions": "refused", "level": "debug"},
    }
    policy = {"accounts": {"acme": {"addresses": ["192.0.2.0/24", "2001:db8::/32"]}}}
    directory = tmp_path_factory.mktemp("balancer")
    async with calm_site(directory, smsc, config=config, policy=policy) as site:
        yield site
    await smsc.stop()


@pytest.fixture
def smsc(calm: Site) -> FakeSMSC:
    """Its SMSC."""
    return calm.smsc


@pytest_asyncio.fixture(loop_scope="module")
async def connect(calm: Site) -> AsyncIterator[Visitors]:
    """Connects ESMEs that are gone, and their SMSC connections with them, after the test."""
    visitors = Visitors(calm)
    yield visitors
    await visitors.leave()
    async with asyncio.timeout(8):
        while await calm.metric("smsfilter_sessions"):
            pass


async def closes(site: Site, leg: str, why: str) -> float:
    return await site.metric("smsfilter_closes_total", leg=leg, why=why)


@pytest.mark.parametrize(
    ("before", "peer"),
    [
        (v1("192.0.2.1"), "192.0.2.1"),
        (v2_of("192.0.2.2"), "192.0.2.2"),
        (v1("2001:db8::7"), "2001:db8::7"),
        (v1("::ffff:192.0.2.3"), "192.0.2.3"),
    ],
)
@pytest.mark.parametrize("address", [PLAIN, TLS])
async def test_the_address_in_the_header_is_the_peer(
    connect: Visitors, authority: Authority, before: bytes, peer: str, address: int
) -> None:
    calm, smsc = connect.site, connect.site.smsc
    since = len(calm.log)
    tls = authority.client() if address == TLS else None
    esme = await connect("acme", port=calm.ports[address], before=before, tls=tls)
    pdu = esme.submit_octets(FROM, customer())
    assert (await esme.request(pdu)).command_status == 0
    assert smsc.submits()[-1] == pdu
    assert (await calm.wait_for_log("session_bound", since=since))["peer"] == peer


async def test_octets_behind_the_header_in_the_same_segment_are_not_lost(
    connect: Visitors, smsc: FakeSMSC
) -> None:
    bind = wire.bind(c.BIND_TRANSCEIVER, 1, "acme")
    esme = await connect(None, before=v2_of("192.0.2.1") + bind)
    await esme.changes.until(lambda: esme.received, "the answer to the bind")
    assert wire.header(esme.received[0])[1:] == (c.BIND_TRANSCEIVER_RESP, 0, 1)
    assert smsc.bound_connections("acme")[-1].received == [bind]


async def test_a_header_in_single_octets(connect: Visitors) -> None:
    esme = await connect(None)
    await esme.send_slowly(v1("192.0.2.1") + wire.bind(c.BIND_TRANSCEIVER, 1, "acme"))
    await esme.changes.until(lambda: esme.received, "the answer to the bind")
    assert wire.header(esme.received[0]).command_status == 0


async def test_the_account_is_bound_to_the_address_behind_the_balancer(
    connect: Visitors, calm: Site
) -> None:
    since = len(calm.log)
    esme = await connect(None, before=v1("198.51.100.1"))
    assert (await esme.bind("trx", "acme")).command_status == c.ESME_RBINDFAIL
    line = await calm.wait_for_log("bind_refused", since=since)
    assert (line["peer"], line["reason"]) == ("198.51.100.1", "address_not_allowed")


@pytest.mark.parametrize("before", [LOCAL, b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN x y\r\n"])
async def test_a_balancer_that_speaks_for_itself_is_the_peer(
    connect: Visitors, calm: Site, before: bytes
) -> None:
    since = len(calm.log)
    await connect("bravo", before=before)
    assert (await calm.wait_for_log("session_bound", since=since))["peer"] == "127.0.0.1"


async def test_the_limit_per_address_is_that_of_the_address_behind(
    connect: Visitors, calm: Site
) -> None:
    """The balancer's own connections are not counted while they are others'."""
    counted = await closes(calm, "proxy", "too_many")
    for peer in ("192.0.2.8", "192.0.2.9"):
        for _ in range(PER_IP):
            await connect("bravo", "rx", before=v1(peer))
    over = await connect(None, before=v1("192.0.2.9"))
    over.keep_open_at_eof = True
    await over.wait_eof()
    over.hang_up()
    assert over.received == []
    assert await closes(calm, "proxy", "too_many") == counted + 1
    await connect("bravo", "rx", before=v1("192.0.2.10"))


@pytest.mark.parametrize(
    "octets",
    [
        wire.bind(c.BIND_TRANSCEIVER, 1, "acme"),
        b"PROXY TCP4 192.0.2.1\r\n",
        b"PROXY UNKNOWN" + b" " * 200,
        v2(b"", command=0x20, length=4096),
    ],
)
async def test_a_balancer_without_a_header_gets_no_answer(
    connect: Visitors, calm: Site, octets: bytes
) -> None:
    counted, since = await closes(calm, "esme", "proxy_header"), len(calm.log)
    esme = await connect(None, before=octets)
    assert await esme.wait_ended() == "fin"
    assert esme.partial == b""
    assert esme.received == []
    line = await calm.wait_for_log("connection_refused", since=since)
    assert (line["level"], line["peer"], line["why"]) == ("debug", "127.0.0.1", "proxy_header")
    assert await closes(calm, "esme", "proxy_header") == counted + 1


async def test_half_a_header_is_closed_with_the_time_of_the_bind(
    connect: Visitors, calm: Site
) -> None:
    counted = await closes(calm, "esme", "bind_timeout")
    halves = (b"", b"PROX", v1("192.0.2.1")[:-1], v2(length=2000))
    esmes = [await connect(None, before=half) for half in halves]
    for esme in esmes:
        assert await esme.wait_ended(BIND_S + 2) == "fin"
        assert esme.partial == b""
    assert await closes(calm, "esme", "bind_timeout") == counted + len(halves)


@pytest.mark.parametrize("header", [v1("192.0.2.1"), v2_of("192.0.2.1")])
async def test_a_header_of_anybody_else_is_nonsense(
    connect: Visitors, calm: Site, smsc: FakeSMSC, header: bytes
) -> None:
    counted, made = await closes(calm, "esme", "framing"), len(smsc.connections)
    bind = wire.bind(c.BIND_TRANSCEIVER, 1, "acme")
    esme = await connect(None, local_host=STRANGER, before=header + bind)
    assert await esme.wait_ended() == "fin"
    assert [wire.header(pdu).command_id for pdu in esme.received] == [c.GENERIC_NACK]
    assert await closes(calm, "esme", "framing") == counted + 1
    assert len(smsc.connections) == made


async def test_anybody_else_needs_no_header(connect: Visitors, calm: Site) -> None:
    since = len(calm.log)
    await connect("bravo", local_host=STRANGER)
    assert (await calm.wait_for_log("session_bound", since=since))["peer"] == STRANGER
