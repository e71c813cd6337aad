"""What the policy allows an account: its rate, window, binds, and the body of a refusal."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from smsfilter.smpp import const as c
from tests.fakes import wire
from tests.fakes.calm import BLOCKED, Visitors, calm_site, customer
from tests.fakes.site import Site
from tests.fakes.smsc import FakeSMSC

pytestmark = [
    pytest.mark.system,
    pytest.mark.redis,
    pytest.mark.asyncio(loop_scope="module"),
]

FROM, BRAVO = "10657555", "10658888"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def calm(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    smsc = await FakeSMSC.start()
    async with calm_site(tmp_path_factory.mktemp("limits"), smsc) as site:
        yield site
    await smsc.stop()


@pytest.fixture
def smsc(calm: Site) -> FakeSMSC:
    return calm.smsc


async def test_a_rate_is_that_of_all_sessions_together(
    connect: Visitors, calm: Site, smsc: FakeSMSC
) -> None:
    await calm.reload({"accounts": {"acme": {"rate": 50}}})
    esmes = [await connect() for _ in range(4)]
    other = await connect("bravo")
    loop = asyncio.get_running_loop()
    began, before = loop.time(), len(smsc.submits())
    answers = await asyncio.gather(
        *(esme.submit_all(FROM, [customer() for _ in range(50)]) for esme in esmes)
    )
    passed = len(smsc.submits()) - before
    statuses = [answer.command_status for each in answers for answer in each]
    assert statuses.count(0) == passed
    assert statuses.count(c.ESME_RTHROTTLED) == 200 - passed
    assert 50 <= passed <= 50 * (1 + loop.time() - began) + 1
    assert (await other.submit(BRAVO, customer())).command_status == 0
    for esme in esmes:  # one whose messages are refused is heard all the same
        assert (await esme.enquire_link()).command_status == 0
    count = await calm.metric("smsfilter_messages_total", verdict="refuse_temporary", reason="rate")
    assert count == 200 - passed
    limit = await calm.metric("smsfilter_account_limit", account="acme", limit="rate")
    assert limit == 50
    assert await calm.metric("smsfilter_account_sessions", account="acme") == 4
    await calm.reload({"accounts": {}})
    assert await calm.metric("smsfilter_account_limit") == 0
    answers = [await esmes[0].submit_all(FROM, [customer() for _ in range(100)])]
    assert {answer.command_status for answer in answers[0]} == {0}


async def test_a_window_opens_with_the_answers(
    connect: Visitors, calm: Site, smsc: FakeSMSC
) -> None:
    await calm.reload({"accounts": {"acme": {"window": 5}}})
    esme, second = await connect(), await connect()
    smsc.hold = {c.SUBMIT_SM}
    before = len(smsc.submits())
    pdus = [esme.submit_octets(FROM, customer()) for _ in range(8)]
    futures = [esme.expect(pdu) for pdu in pdus]
    esme.send_raw(b"".join(pdus))
    for future in futures[5:]:
        answer = await esme.response(future)
        assert answer.command_status == c.ESME_RTHROTTLED
    assert smsc.submits()[before:] == pdus[:5], "in the order in which they came"
    assert (await esme.submit(FROM, BLOCKED)).command_status == c.ESME_RTHROTTLED
    under_way = second.post(second.submit_octets(FROM, customer()))
    await smsc.wait_for(before + 6)
    smsc.release()
    for future in (*futures[:5], under_way):
        assert (await esme.response(future)).command_status == 0
    assert (await esme.submit(FROM, customer())).command_status == 0
    assert (await esme.submit(FROM, BLOCKED)).command_status == 0x66
    await calm.reload({"accounts": {}})


async def test_an_account_is_held_to_its_kinds_of_bind(connect: Visitors, calm: Site) -> None:
    await calm.reload({"accounts": {"acme": {"bind_types": ["rx"]}}})
    esme = await connect(None)
    since = len(calm.log)
    assert (await esme.bind("trx")).command_status == c.ESME_RBINDFAIL
    line = await calm.wait_for_log("bind_refused", since=since)
    assert line["reason"] == "bind_type_not_allowed"
    assert (await esme.bind("rx")).command_status == 0
    await calm.reload({"accounts": {}})


async def test_a_refusal_has_the_body_that_the_account_expects(
    connect: Visitors, calm: Site
) -> None:
    await calm.reload({"accounts": {"acme": {"error_body": "nul"}}})
    esme = await connect()
    refused = await esme.post(wire.submit_sm(77, FROM, BLOCKED))
    assert refused == wire.pack(c.SUBMIT_SM_RESP, 77, b"\0", 0x66)
    await calm.reload({"accounts": {}})
    refused = await (await connect()).post(wire.submit_sm(77, FROM, BLOCKED))
    assert refused == wire.pack(c.SUBMIT_SM_RESP, 77, b"", 0x66)


async def test_what_the_configuration_allows_is_in_the_metrics(calm: Site) -> None:
    assert await calm.metric("smsfilter_limit", limit="sessions") == 10_000
    assert await calm.metric("smsfilter_limit", limit="per_ip") == 256
