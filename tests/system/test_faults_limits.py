"""Who may come in, how many, from where, and for how long without a word.

One site for the whole file. Its numbers are small: six connections from one address, ten in all.
"""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from smsfilter.smpp import const as c
from tests.fakes.calm import Visitors, calm_site, customer
from tests.fakes.legs import Legs
from tests.fakes.site import Site
from tests.fakes.smsc import FakeSMSC

pytestmark = [
    pytest.mark.system,
    pytest.mark.redis,
    pytest.mark.asyncio(loop_scope="module"),
]

FROM = "10657555"
PER_IP, SESSIONS = 6, 10


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def calm(tmp_path_factory: pytest.TempPathFactory, legs: Legs) -> AsyncIterator[Site]:
    """The site of this file."""
    smsc = await legs.smsc()
    config = {
        "proxy": {
            "limits": {"per_ip": PER_IP, "sessions": SESSIONS},
            "timeouts": {"bind": "5s", "idle": "1s"},
        },
        "log": {"decisions": "refused"},
    }
    policy = {
        "accounts": {
            "acme": {"addresses": ["127.0.0.1/32", "192.0.2.0/24"]},
            "bravo": {"max_sessions": 2},
        }
    }
    directory = tmp_path_factory.mktemp("limits")
    async with calm_site(directory, smsc, config=config, policy=policy, legs=legs) as site:
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
    async with asyncio.timeout(5):
        while await calm.metric("smsfilter_sessions"):
            pass


async def test_an_account_binds_from_its_addresses_only(
    connect: Visitors, calm: Site, smsc: FakeSMSC
) -> None:
    made = len(smsc.connections)
    stranger = await connect(None, local_host="127.0.0.2")
    loop = asyncio.get_running_loop()
    started = loop.time()
    answer = await stranger.bind("trx", "acme")
    assert answer.command_status == c.ESME_RBINDFAIL
    assert loop.time() - started > 0.9, "like a wrong password, and no sooner"
    assert answer.fields.get("system_id", b"") == b""
    assert len(smsc.connections) == made, "the SMSC never hears of it"
    assert (await stranger.submit(FROM, customer())).command_status == c.ESME_RINVBNDSTS
    line = await calm.wait_for_log("bind_refused", reason="address_not_allowed")
    assert (line["account"], line["peer"]) == ("acme", "127.0.0.2")
    await stranger.bound("trx", "charlie")
    allowed = await connect("acme")
    assert (await allowed.submit(FROM, customer())).command_status == 0


async def test_names_are_matched_octet_for_octet(connect: Visitors, smsc: FakeSMSC) -> None:
    """ACME is not acme here: whether it may bind is the SMSC's to say, and it owns nothing."""
    other = await connect("ACME", local_host="127.0.0.2")
    assert smsc.bound_connections("ACME")
    assert (await other.submit(FROM, customer())).command_status == 0x0A


@pytest.mark.parametrize("length", [8, 9, 64])
async def test_passwords_are_as_long_as_the_protocol_allows(
    connect: Visitors, smsc: FakeSMSC, length: int
) -> None:
    made = len(smsc.connections)
    esme = await connect(None)
    answer = await esme.bind("trx", "charlie", "p" * length)
    assert answer.command_status == (0 if length == 8 else c.ESME_RINVPASWD)
    assert len(smsc.connections) == made + (length == 8)


async def test_an_account_has_so_many_sessions_and_no_more(
    connect: Visitors, smsc: FakeSMSC
) -> None:
    first, second = await connect("bravo"), await connect("bravo", "rx")
    third = await connect(None)
    made = len(smsc.connections)
    assert (await third.bind("tx", "bravo")).command_status == c.ESME_RBINDFAIL
    assert len(smsc.connections) == made
    await second.close()
    async with asyncio.timeout(5):
        while (await third.bind("tx", "bravo")).command_status:
            pass
    assert (await first.submit("10658888", customer())).command_status == 0


async def test_binds_refused_by_the_smsc_take_no_session(connect: Visitors, smsc: FakeSMSC) -> None:
    smsc.bind_status = c.ESME_RALYBND
    for n in range(3):
        esme = await connect(None, local_host=f"127.0.1.{n + 1}")
        assert (await esme.bind("trx", "bravo")).command_status == c.ESME_RALYBND
        assert (await esme.bind("trx", "bravo")).command_status == c.ESME_RALYBND
    smsc.bind_status = 0
    await connect("bravo")
    await connect("bravo")


async def is_turned_away(calm: Site, local_host: str) -> bool:
    """Whether a connection from there is closed without a word."""
    esme = await calm.legs.esme(calm.port, local_host=local_host)
    enquiry = asyncio.ensure_future(esme.enquire_link())
    ended = asyncio.ensure_future(esme.wait_ended())
    await asyncio.wait({enquiry, ended}, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.gather(enquiry, return_exceptions=True)
    away = not esme.received
    if esme.ended is None:
        await esme.close()
    await ended
    return away


async def test_one_address_takes_its_share_and_all_together_theirs(
    connect: Visitors, calm: Site
) -> None:
    bound = await connect()
    crowd = [await connect(None) for _ in range(PER_IP - 1)]
    for esme in crowd:
        await esme.enquire_link()
    assert await is_turned_away(calm, "127.0.0.1")
    more = [await connect(None, local_host="127.0.0.3") for _ in range(SESSIONS - PER_IP)]
    for esme in more:
        await esme.enquire_link()
    assert await is_turned_away(calm, "127.0.0.4"), "ten are here"
    assert (await bound.submit(FROM, customer())).command_status == 0
    closed = await calm.metric("smsfilter_closes_total", leg="proxy", why="too_many")
    assert closed == 2
    await more[0].close()
    await crowd[0].close()
    async with asyncio.timeout(5):
        while await is_turned_away(calm, "127.0.0.1"):
            pass


async def test_a_session_without_a_word_ends_when_that_is_wanted(
    connect: Visitors, calm: Site, smsc: FakeSMSC
) -> None:
    silent, chatty = await connect(), await connect()
    since = len(calm.log)
    while silent.ended is None:
        await chatty.enquire_link()
        await asyncio.sleep(0.05)
    assert chatty.ended is None
    line = await calm.wait_for_log("session_closed", since=since)
    assert (line["why"], line["who"]) == ("idle_timeout", "esme")


async def test_strangers_cost_neither_log_lines_nor_connections_of_the_smsc(
    connect: Visitors, calm: Site, smsc: FakeSMSC
) -> None:
    """Scanners come by the thousand."""
    made, since = len(smsc.connections), len(calm.log)
    for n in range(200):
        esme = await calm.legs.esme(calm.port)
        esme.send_raw((b"GET / HTTP/1.1\r\n\r\n", b"", b"\x03\0\0\x13\x0e\xe0\0\0")[n % 3])
        esme.half_close()
        assert await esme.wait_ended() in ("fin", "rst")
    assert len(smsc.connections) == made
    assert calm.log[since:] == []
