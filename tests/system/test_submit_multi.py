"""submit_multi on the wire: what is left of it at the SMSC, and what its response says."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from smsfilter.smpp import const as c
from tests.fakes import wire
from tests.fakes.calm import BLOCKED, Visitors, calm_site, customer
from tests.fakes.esme import FakeESME
from tests.fakes.site import Site
from tests.fakes.smsc import FakeSMSC, SMSCConnection

pytestmark = [
    pytest.mark.system,
    pytest.mark.redis,
    pytest.mark.asyncio(loop_scope="module"),
]

FROM = "10657555"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def calm(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    smsc = await FakeSMSC.start()
    async with calm_site(tmp_path_factory.mktemp("multi"), smsc) as site:
        yield site
    await smsc.stop()


@pytest.fixture
def smsc(calm: Site) -> FakeSMSC:
    return calm.smsc


def multi(number: int, *to: str, **fields: object) -> bytes:
    return wire.submit_multi(number, FROM, [wire.sme(each) for each in to], **fields)  # type: ignore[arg-type]


async def answer(esme: FakeESME, pdu: bytes) -> bytes:
    return await esme.post(pdu)


def came(smsc: FakeSMSC) -> bytes:
    """The last submit_multi at the SMSC."""
    return smsc.of_kind({c.SUBMIT_MULTI})[-1]


async def test_a_clean_one_passes_octet_for_octet(connect: Visitors, smsc: FakeSMSC) -> None:
    esme = await connect()
    pdu = multi(0xFFFFFFFF, customer(), customer(), tlvs=[(0x1400, b"x")])
    found = await answer(esme, pdu)
    assert came(smsc) == pdu
    assert found == wire.submit_multi_resp(0xFFFFFFFF, 0, message_id=smsc.message_ids[-1])


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("spelling", [BLOCKED, "+" + BLOCKED, "0" + BLOCKED[2:]])
async def test_the_blocked_one_is_taken_out_wherever_it_stands(
    connect: Visitors, smsc: FakeSMSC, place: int, spelling: str
) -> None:
    esme = await connect()
    others = [customer(), customer()]
    given = [*others[:place], spelling, *others[place:]]
    found = await answer(esme, multi(7, *given, tlvs=[(0x1400, b"x")]))
    assert came(smsc) == multi(7, *others, tlvs=[(0x1400, b"x")])
    expected = wire.submit_multi_resp(7, 0, [(spelling, 0x66)], smsc.message_ids[-1])
    assert found == expected


async def test_the_smscs_own_refusals_stand_before_ours(connect: Visitors, smsc: FakeSMSC) -> None:
    esme = await connect()
    invalid = customer()

    def refuse_one(_: SMSCConnection, pdu: bytes) -> bytes:
        return wire.submit_multi_resp(wire.header(pdu).sequence_number, 0, [(invalid, 0x0B)], "id9")

    smsc.answer = refuse_one
    found = await answer(esme, multi(7, BLOCKED, invalid, customer(), BLOCKED))
    assert found == wire.submit_multi_resp(
        7, 0, [(invalid, 0x0B), (BLOCKED, 0x66), (BLOCKED, 0x66)], "id9"
    )


async def test_an_smsc_that_refuses_all_of_it_is_passed_on_unchanged(
    connect: Visitors, smsc: FakeSMSC
) -> None:
    esme = await connect()
    smsc.submit_status = 0x14
    found = await answer(esme, multi(7, BLOCKED, customer()))
    assert found == wire.pack(c.SUBMIT_MULTI_RESP, 7, b"", 0x14)
    smsc.submit_status = 0
    smsc.answer = lambda _, pdu: wire.pack(c.GENERIC_NACK, wire.header(pdu).sequence_number)
    assert await answer(esme, multi(7, BLOCKED, customer())) == wire.pack(c.GENERIC_NACK, 7)
    smsc.answer = smsc.default_answer
    found = await answer(esme, multi(7, BLOCKED, customer()))
    assert found == wire.submit_multi_resp(7, 0, [(BLOCKED, 0x66)], smsc.message_ids[-1])


async def test_all_refused_is_answered_here(connect: Visitors, smsc: FakeSMSC) -> None:
    esme = await connect()
    before = len(smsc.received)
    assert await answer(esme, multi(7, BLOCKED, BLOCKED)) == wire.submit_multi_resp(
        7, 0x66, [(BLOCKED, 0x66)] * 2
    )
    mixed = await answer(esme, multi(7, BLOCKED, "000"))
    assert mixed == wire.submit_multi_resp(7, 0x66, [(BLOCKED, 0x66), ("000", 0x0B)])
    for entries in ([wire.dl("friends")], [wire.sme(customer()), wire.dl("friends")]):
        listed = await answer(esme, wire.submit_multi(7, FROM, entries))
        assert listed == wire.submit_multi_resp(7, 0x34)
    for number in (0, 1, 3, 255):
        wrong = await answer(esme, multi(7, customer(), customer(), number_of_dests=number))
        assert wrong == wire.submit_multi_resp(7, 0x01)
    assert (await esme.enquire_link()).command_status == 0
    assert not [pdu for pdu in smsc.received[before:] if wire.header(pdu).command_id == 0x21]


async def test_254_destinations_are_one_batch(
    connect: Visitors, calm: Site, smsc: FakeSMSC
) -> None:
    esme = await connect()
    to = [customer() for _ in range(253)]
    before = await calm.metric("smsfilter_lookup_seconds_count")
    found = await answer(esme, multi(7, *to[:100], BLOCKED, *to[100:]))
    assert await calm.metric("smsfilter_lookup_seconds_count") == before + 1
    assert came(smsc) == multi(7, *to)
    assert found == wire.submit_multi_resp(7, 0, [(BLOCKED, 0x66)], smsc.message_ids[-1])


async def test_a_number_in_use_is_put_off_and_free_again_after_the_response(
    connect: Visitors, smsc: FakeSMSC
) -> None:
    esme = await connect()
    smsc.hold = {c.SUBMIT_MULTI}
    first = esme.post(multi(7, BLOCKED, customer()))
    await smsc.wait_for_pdu(c.SUBMIT_MULTI, len(smsc.of_kind({c.SUBMIT_MULTI})) + 1)
    esme.send_raw(multi(7, customer()))
    assert await first == wire.submit_multi_resp(7, 0x58), "the answer to the second one"
    smsc.release()
    assert await esme.recv_raw() == wire.submit_multi_resp(
        7, 0, [(BLOCKED, 0x66)], smsc.message_ids[-1]
    )
    third = customer()
    assert (await esme.request(multi(7, third))).command_status == 0
    assert came(smsc) == multi(7, third)


async def test_each_destination_is_a_message_in_metrics_and_log(
    connect: Visitors, calm: Site
) -> None:
    esme = await connect()
    since = len(calm.log)
    reason = {"verdict": "refuse_permanent", "reason": "blocked_by_report"}
    forwarded = await calm.metric("smsfilter_messages_total", verdict="forward")
    refused = await calm.metric("smsfilter_messages_total", **reason)
    await answer(esme, multi(7, customer(), BLOCKED, customer(), BLOCKED))
    assert await calm.metric("smsfilter_messages_total", verdict="forward") == forwarded + 2
    assert await calm.metric("smsfilter_messages_total", **reason) == refused + 2
    line = await calm.wait_for_log("refused", since=since, reason="blocked_by_report")
    assert line["destination"] == "138****8001"
