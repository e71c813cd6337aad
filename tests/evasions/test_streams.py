"""Evasions that are no single PDU: how octets are cut, in which order they come, and to whose bind.

In each, acme tries to reach the customer who has blocked it, and the SMSC's record shows that it
did not. Single PDUs are rows of the YAML files beside; that a stream or a session is otherwise
treated as it should be is asked in tests/system/test_faults_esme.py.
"""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from smsfilter.smpp import const as c
from tests.fakes import wire
from tests.fakes.calm import BLOCKED, Visitors, calm_site, customer
from tests.fakes.esme import FakeESME
from tests.fakes.site import Site
from tests.fakes.smsc import FakeSMSC

pytestmark = [
    pytest.mark.system,
    pytest.mark.redis,
    pytest.mark.asyncio(loop_scope="module"),
]

ACME, BRAVO = "10657555", "10658888"
REFUSED = c.ESME_RX_R_APPN


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def calm(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """The site of this file."""
    smsc = await FakeSMSC.start()
    config = {"log": {"decisions": "refused"}}
    async with calm_site(tmp_path_factory.mktemp("streams"), smsc, config=config) as site:
        yield site
    await smsc.stop()


@pytest.fixture
def smsc(calm: Site) -> FakeSMSC:
    """Its SMSC."""
    return calm.smsc


@pytest_asyncio.fixture(loop_scope="module")
async def connect(calm: Site) -> AsyncIterator[Visitors]:
    """Connects ESMEs, and holds at the end that nothing has reached the customer."""
    visitors = Visitors(calm)
    yield visitors
    await visitors.leave()
    slipped = [pdu for pdu in calm.smsc.submits() if BLOCKED.encode() in pdu]
    assert not slipped


async def statuses(esme: FakeESME, *pdus: bytes) -> list[int]:
    """Send them in one write, and give the command_status of each answer."""
    futures = [esme.expect(pdu) for pdu in pdus]
    esme.send_raw(b"".join(pdus))
    return [(await esme.response(future)).command_status for future in futures]


# 25. Framing


async def test_an_address_that_is_cut_over_segments_is_read_whole(
    connect: Visitors, smsc: FakeSMSC
) -> None:
    """At each octet: the enquire_link shows that all before the cut was read without the rest."""
    esme = await connect()
    before = len(smsc.submits())
    clean = []
    for cut in range(1, len(esme.submit_octets(ACME, BLOCKED))):
        trick, other = esme.submit_octets(ACME, BLOCKED), esme.submit_octets(ACME, customer())
        clean.append(other)
        enquire = wire.pack(c.ENQUIRE_LINK, esme.next_number())
        reached = esme.expect(enquire)
        answers = [esme.expect(trick), esme.expect(other)]
        esme.send_raw(enquire + trick[:cut])
        assert (await esme.response(reached)).command_status == 0
        esme.send_raw(trick[cut:] + other)
        got = [(await esme.response(answer)).command_status for answer in answers]
        assert got == [REFUSED, 0], f"cut at octet {cut}"
    assert smsc.submits()[before:] == clean


async def test_each_of_the_pdus_in_a_segment_is_decided(connect: Visitors, smsc: FakeSMSC) -> None:
    esme = await connect()
    before = len(smsc.submits())
    pdus = [
        esme.submit_octets(ACME, BLOCKED if blocked else customer())
        for blocked in (0, 1, 0, 0, 1, 1, 0, 1)
    ]
    got = await statuses(esme, *pdus)
    assert got == [0, REFUSED, 0, 0, REFUSED, REFUSED, 0, REFUSED]
    assert smsc.submits()[before:] == [pdus[0], pdus[2], pdus[3], pdus[6]]


@pytest.mark.parametrize("length", [0, 4, 15, 70_001, 0x7FFFFFFF, 0xFFFFFFFF])
async def test_nothing_hides_behind_a_length_that_cannot_be(
    connect: Visitors, smsc: FakeSMSC, length: int
) -> None:
    esme = await connect()
    good, trick = esme.submit_octets(ACME, customer()), esme.submit_octets(ACME, BLOCKED)
    late = esme.submit_octets(ACME, customer())
    esme.send_raw(good + length.to_bytes(4, "big") + trick[4:] + trick + late)
    assert await esme.wait_ended() == "fin"
    assert wire.header(esme.received[-1])[1:3] == (c.GENERIC_NACK, c.ESME_RINVCMDLEN)
    await smsc.wait_no_connection()
    assert smsc.connections[-1].received[1:-1] == [good]


async def test_a_pdu_behind_a_command_length_that_is_too_small_is_a_pdu(
    connect: Visitors, smsc: FakeSMSC
) -> None:
    """The text is announced by sm_length and cut off by command_length: it is the next PDU."""
    esme = await connect()
    before = len(smsc.submits())
    hidden = esme.submit_octets(ACME, BLOCKED)
    liar = esme.submit_octets(ACME, customer(), b"", sm_length=len(hidden))
    honest = esme.submit_octets(ACME, customer(), b"")
    assert await statuses(esme, liar, hidden) == [c.ESME_RINVMSGLEN, REFUSED]
    assert await statuses(esme, honest, hidden) == [0, REFUSED]
    assert smsc.submits()[before:] == [honest]


async def test_a_pdu_behind_a_command_length_that_is_too_great_is_octets_of_the_first(
    connect: Visitors, smsc: FakeSMSC
) -> None:
    esme = await connect()
    before = len(smsc.submits())
    hidden = esme.submit_octets(ACME, BLOCKED)
    cover = esme.submit_octets(ACME, customer(), trailing=hidden)
    after = esme.submit_octets(ACME, customer())
    assert await statuses(esme, cover, after) == [c.ESME_RINVOPTPARSTREAM, 0]
    assert len(esme.received) == 3, "the hidden one is no PDU, and is not answered as one"
    assert smsc.submits()[before:] == [after]


# 26. Numbers


async def test_a_number_that_repeats_does_not_pass_with_the_first(
    connect: Visitors, smsc: FakeSMSC
) -> None:
    esme = await connect()
    smsc.hold = {c.SUBMIT_SM}
    before, number = len(smsc.submits()), 7
    clean = esme.submit_octets(ACME, customer(), sequence_number=number)
    tricks = [esme.submit_octets(ACME, BLOCKED, sequence_number=number) for _ in range(3)]
    esme.send_raw(b"".join((tricks[0], clean, *tricks[1:])))
    await smsc.wait_for(before + 1)
    await esme.changes.until(lambda: len(esme.received) >= 4, "three refusals")
    smsc.release()
    await esme.changes.until(lambda: len(esme.received) >= 5, "the answer to the clean one")
    got = [wire.header(pdu).command_status for pdu in esme.received[1:]]
    assert got == [REFUSED, REFUSED, REFUSED, 0]
    assert smsc.submits()[before:] == [clean]


# 27. Before and behind the bind


@pytest.mark.parametrize("bind_status", [0, c.ESME_RINVPASWD])
async def test_what_is_sent_before_and_behind_the_bind_is_refused(
    connect: Visitors, smsc: FakeSMSC, bind_status: int
) -> None:
    smsc.hold, smsc.bind_status = {c.BIND_TRANSCEIVER}, bind_status
    before, made = len(smsc.submits()), len(smsc.connections)
    esme = await connect(None)
    early, late = (esme.submit_octets(ACME, to) for to in (BLOCKED, customer()))
    data = wire.data_sm(esme.next_number(), ACME, BLOCKED)
    bind = wire.bind(c.BIND_TRANSCEIVER, esme.next_number(), "acme")
    answers = [esme.expect(pdu) for pdu in (early, bind, late, data)]
    esme.send_raw(early + bind + late + data)
    bound = answers.pop(1)
    got = [(await esme.response(answer)).command_status for answer in answers]
    assert got == [c.ESME_RINVBNDSTS] * 3
    connection = await smsc.wait_connection(made + 1)
    await smsc.changes.until(lambda: connection.held, "the bind at the SMSC")
    smsc.release()
    assert (await esme.response(bound)).command_status == bind_status
    trick = await esme.submit(ACME, BLOCKED)
    assert trick.command_status == (c.ESME_RINVBNDSTS if bind_status else REFUSED)
    assert smsc.submits()[before:] == []


# 28. Who is bound


async def test_a_second_bind_makes_nobody_another(connect: Visitors, smsc: FakeSMSC) -> None:
    esme = await connect("acme")
    before = len(smsc.submits())
    bind = wire.bind(c.BIND_TRANSCEIVER, esme.next_number(), "bravo")
    acme, bravo = esme.submit_octets(ACME, BLOCKED), esme.submit_octets(BRAVO, BLOCKED)
    assert await statuses(esme, bind, acme, bravo) == [
        c.ESME_RALYBND,
        REFUSED,
        c.ESME_RINVSRCADR,
    ]
    assert len(smsc.connections[-1].received) == 1
    assert smsc.submits()[before:] == []


async def test_an_unbind_makes_nobody_another(connect: Visitors, smsc: FakeSMSC) -> None:
    esme = await connect("bravo")
    before, made = len(smsc.submits()), len(smsc.connections)
    unbind = wire.pack(c.UNBIND, esme.next_number())
    bind = wire.bind(c.BIND_TRANSCEIVER, esme.next_number(), "acme")
    behind = [esme.submit_octets(source, BLOCKED) for source in (ACME, BRAVO)]
    futures = [esme.expect(pdu) for pdu in (unbind, bind, *behind)]
    esme.send_raw(b"".join((unbind, bind, *behind)))
    assert (await esme.response(futures[0])).command_status == 0
    for future in futures[1:]:
        try:
            assert (await esme.response(future)).command_status != 0
        except ConnectionResetError:  # the pair ends with the unbind
            continue
    assert smsc.submits()[before:] == []
    assert len(smsc.connections) == made
    assert wire.header(smsc.connections[-1].received[-1]).command_id == c.UNBIND


async def test_after_a_refused_bind_the_accepted_one_counts(
    connect: Visitors, smsc: FakeSMSC
) -> None:
    smsc.bind_status = lambda pdu: c.ESME_RINVPASWD if b"bravo" in pdu else 0
    before = len(smsc.submits())
    esme = await connect(None)
    assert (await esme.bind("trx", "bravo")).command_status == c.ESME_RINVPASWD
    assert (await esme.bind("trx", "acme")).command_status == 0
    pdus = [esme.submit_octets(source, BLOCKED) for source in (ACME, BRAVO)]
    assert await statuses(esme, *pdus) == [REFUSED, c.ESME_RINVSRCADR]
    assert smsc.submits()[before:] == []


# 29 and 30. What a bind does not allow, and what no ESME may send


@pytest.mark.parametrize("kind", ["tx", "rx", "trx"])
async def test_what_a_bind_is_not_for(connect: Visitors, smsc: FakeSMSC, kind: str) -> None:
    esme = await connect("acme", kind)
    number = esme.next_number
    submits = [
        esme.submit_octets(ACME, BLOCKED),
        wire.data_sm(number(), ACME, BLOCKED),
        wire.submit_sm(number(), ACME, BLOCKED, command_id=c.BROADCAST_SM),
    ]
    false = [
        wire.deliver_sm(number(), BLOCKED, ACME, wire.receipt_text("1"), esm_class=4),
        wire.deliver_sm(number(), BLOCKED, "10086999", "10658888*spam"),
    ]
    expected = c.ESME_RINVBNDSTS if kind == "rx" else REFUSED
    unknown = c.ESME_RINVCMDID
    assert await statuses(esme, *submits, *false) == [expected, expected, *([unknown] * 3)]
    assert len(smsc.connections[-1].received) == 1, "the bind alone"


# 31. While the block is written


async def test_many_sessions_lose_the_race_against_a_block(
    connect: Visitors, calm: Site, smsc: FakeSMSC
) -> None:
    """What is sent once Redis has confirmed the block is refused; all else goes on."""
    target, before = customer(), len(smsc.submits())
    roads = [("acme", ACME), ("acme2", "106905551"), ("resell7", ACME), ("resell7", "Acme")]
    esmes = [(await connect(account), source) for account, source in roads * 4]
    late: set[bytes] = set()
    blocked = asyncio.Event()

    async def race(name: str, esme: FakeESME, source: str) -> None:
        """Send in bursts until three of them were sent after the block."""
        bursts = 0
        while bursts < 3:
            after = blocked.is_set()
            pdus = [esme.submit_octets(source, target, name) for _ in range(20)]
            other = esme.submit_octets(source, customer())
            got = await statuses(esme, *pdus, other)
            assert got.pop() == 0, "the other customer has blocked nobody"
            assert set(got) <= {0, REFUSED}
            if after:
                bursts += 1
                late.update(pdus)
                assert set(got) == {REFUSED}

    racing = [asyncio.create_task(race(f"{n}", *road)) for n, road in enumerate(esmes)]
    await smsc.wait_for(before + 1000)
    await asyncio.to_thread(calm.block, target, "acme")
    blocked.set()
    await asyncio.gather(*racing)
    assert len(late) == 16 * 3 * 20
    assert late.isdisjoint(smsc.submits())
