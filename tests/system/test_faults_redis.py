"""What Redis may do to the path: whatever it is, no message passes that nobody could look up.

One site for the whole file, with a Redis of its own behind one that misbehaves on demand. After
each test everything is as it was, and the proxy must have found that out by itself.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
import redis

from smsfilter.smpp import const as c
from tests.fakes import wire
from tests.fakes.calm import BLOCKED, Visitors, customer
from tests.fakes.esme import FakeESME
from tests.fakes.history import Block, History, check, mark
from tests.fakes.legs import Legs
from tests.fakes.redis_server import RedisServer
from tests.fakes.scripted_redis import Command, ScriptedRedis, honest
from tests.fakes.site import Site
from tests.fakes.smsc import FakeSMSC

pytestmark = [
    pytest.mark.system,
    pytest.mark.redis,
    pytest.mark.asyncio(loop_scope="module"),
]

FROM, TO = "10657555", "8613800138000"
DEADLINE_S = 0.15
PUT_OFF = c.ESME_RTHROTTLED


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def calm(tmp_path_factory: pytest.TempPathFactory, legs: Legs) -> AsyncIterator[Site]:
    """The site of this file."""
    server = RedisServer.started()
    liar = await ScriptedRedis.start(server)
    smsc = await legs.smsc()
    config = {
        "redis": {"url": liar.url, "deadline": f"{DEADLINE_S * 1000:.0f}ms"},
        "log": {"decisions": "refused"},
    }
    directory = tmp_path_factory.mktemp("redis") / "site"
    site = Site(directory, server, smsc, config=config, legs=legs)
    site.liar = liar  # type: ignore[attr-defined]
    await refill(site)
    await site.start()
    yield site
    await site.close()
    await smsc.stop()
    await liar.stop()
    server.close()


@pytest.fixture
def smsc(calm: Site) -> FakeSMSC:
    """Its SMSC."""
    return calm.smsc


@pytest.fixture
def liar(calm: Site) -> ScriptedRedis:
    """What the proxy takes for its Redis."""
    found: ScriptedRedis = calm.liar  # type: ignore[attr-defined]
    return found


@pytest_asyncio.fixture(loop_scope="module")
async def connect(calm: Site, liar: ScriptedRedis) -> AsyncIterator[Visitors]:
    """Connects ESMEs; afterwards Redis is well and filled again, and the proxy knows."""
    visitors = Visitors(calm)
    yield visitors
    liar.script, liar.delay_s, liar.piece, liar.refusing = honest, 0.0, 0, False
    liar.hear()
    calm.server.resume()
    if calm.server.process is None:
        calm.server.start()
    calm.server.client().config_set("maxmemory-policy", "noeviction")
    await refill(calm)
    if calm.exit_status is None:
        await heals(await visitors())
    await visitors.leave()


async def refill(site: Site) -> None:
    """Empty the index and fill it, the epoch last."""
    site.server.client().flushall()
    site.block(BLOCKED, "acme")
    await site.fill()


async def heals(esme: FakeESME, within_s: float = 8.0) -> None:
    """Messages pass again by themselves. Asking is the only way to know."""
    async with asyncio.timeout(within_s):
        while (await esme.submit(FROM, customer())).command_status:  # noqa: ASYNC110
            await asyncio.sleep(0.03)
    assert (await esme.submit(FROM, BLOCKED)).command_status == 0x66


async def is_away(esme: FakeESME, within_s: float = 4.0) -> None:
    """The proxy notices, and puts messages off from then on."""
    async with asyncio.timeout(within_s):
        while (await esme.submit(FROM, customer())).command_status != PUT_OFF:  # noqa: ASYNC110
            await asyncio.sleep(0.03)


async def nothing_passes(esme: FakeESME, smsc: FakeSMSC, at_once: bool = True) -> None:
    """Messages are put off without reaching the SMSC; everything else goes on."""
    before = len(smsc.submits())
    started = asyncio.get_running_loop().time()
    answers = await esme.submit_all(FROM, [customer(), BLOCKED, customer()] * 5)
    assert {answer.command_status for answer in answers} == {PUT_OFF}
    took = asyncio.get_running_loop().time() - started
    assert took < (1.0 if at_once else DEADLINE_S + 1.0)
    assert len(smsc.submits()) == before
    assert (await esme.enquire_link()).command_status == 0
    mismatched = await esme.submit("10658888", customer())
    assert mismatched.command_status == 0x0A, "what needs no look-up is said for good"


# gone


@pytest.mark.tls
async def test_killed_then_empty_then_filled(connect: Visitors, calm: Site, smsc: FakeSMSC) -> None:
    esme = await connect()
    since = len(calm.log)
    calm.server.kill()
    await is_away(esme)
    await nothing_passes(esme, smsc)
    await calm.wait_for_log("redis_away", since=since)
    assert await calm.metric("smsfilter_redis_up") == 0
    ready = await calm.get("/readyz")
    assert ready.status == 200, "all proxies would leave the balancer together"
    assert '"away"' in ready.body

    calm.server.start()  # empty
    await calm.wait_for_log("index_untrusted", since=since)
    await nothing_passes(esme, smsc)
    assert await calm.metric("smsfilter_index_ready") == 0
    assert "index:epoch is missing" in (await calm.get("/readyz")).body

    await refill(calm)
    await heals(esme)
    await calm.wait_for_log("redis_up", since=since)
    await calm.wait_for_log("index_epoch", since=since)
    assert await calm.metric("smsfilter_redis_up") == 1
    assert len(calm.logged("redis_away", "redis_up", since=since)) < 8, "no storm of lines"


async def test_connections_broken_and_refused_for_a_while(
    connect: Visitors, calm: Site, smsc: FakeSMSC, liar: ScriptedRedis
) -> None:
    esme = await connect()
    since, before = len(calm.log), liar.connections
    liar.refusing = True
    liar.cut()
    await is_away(esme)
    await liar.changes.until(lambda: liar.connections > before + 4, "several tries to connect")
    await nothing_passes(esme, smsc)
    liar.refusing = False
    await heals(esme)
    assert len(calm.logged("redis_away", "redis_up", since=since)) < 8


# emptied, old, not to be trusted


async def test_emptied_in_mid_traffic_nothing_blocked_passes(
    connect: Visitors, calm: Site, smsc: FakeSMSC
) -> None:
    """Again and again, at a different moment of the batch each time."""
    calm.smsc.delay_s = 0.0
    esmes = [await connect() for _ in range(3)]
    for esme in esmes:
        await heals(esme)
    for _ in range(4):
        sending = [
            asyncio.create_task(
                esme.submit_all(FROM, [customer() if n % 4 else BLOCKED for n in range(400)])
            )
            for esme in esmes
        ]
        enough = len(smsc.submits()) + random.randrange(1, 50)
        moment = asyncio.create_task(smsc.wait_for(enough, timeout_s=20))
        # On a busy machine Redis may be late, and all of them be put off before the moment comes.
        await asyncio.wait([moment, *sending], return_when=asyncio.FIRST_COMPLETED)
        moment.cancel()
        calm.server.client().flushall()
        statuses = {a.command_status for task in sending for a in await task}
        assert statuses <= {0, 0x66, PUT_OFF}
        await nothing_passes(esmes[0], smsc)
        await refill(calm)
        await heals(esmes[0])
    assert BLOCKED not in smsc.destinations()


async def test_emptied_is_said_aloud(connect: Visitors, calm: Site, smsc: FakeSMSC) -> None:
    since = len(calm.log)
    calm.server.client().flushall()
    line = await calm.wait_for_log("index_untrusted", since=since)
    assert "missing" in line["why"]
    assert await calm.metric("smsfilter_index_ready") == 0
    await nothing_passes(await connect(), smsc)


@pytest.mark.parametrize("epoch", ["", "nonsense", "e:", "e:x", "e:" + "9" * 5000])
async def test_an_epoch_that_is_none(
    connect: Visitors, calm: Site, smsc: FakeSMSC, epoch: str
) -> None:
    esme = await connect()
    calm.server.client().set("index:epoch", epoch)
    await nothing_passes(esme, smsc)


async def test_an_epoch_of_another_type(connect: Visitors, calm: Site, smsc: FakeSMSC) -> None:
    calm.server.client().delete("index:epoch")
    calm.server.client().sadd("index:epoch", "x")
    await nothing_passes(await connect(), smsc)


async def test_an_old_copy_is_not_trusted_not_even_after_a_restart(
    connect: Visitors, calm: Site, smsc: FakeSMSC
) -> None:
    esme = await connect()
    client = calm.server.client()
    client.set("index:epoch", "old:7")
    await heals(esme)
    client.set("index:epoch", "new:5")
    await heals(esme)
    client.set("index:epoch", "new:9")
    await heals(esme)
    for old in ("old:7", "old:8", "new:5", "new:8"):
        client.set("index:epoch", old)
        await nothing_passes(esme, smsc)
    await calm.restart()
    esme = await connect()
    for old in ("old:7", "new:8"):
        client.set("index:epoch", old)
        await nothing_passes(esme, smsc)
    client.set("index:epoch", "new:9")
    await heals(esme)


async def test_what_was_seen_just_before_a_kill_is_remembered(
    connect: Visitors, calm: Site, smsc: FakeSMSC
) -> None:
    """P2 over a crash: within the second or so that it takes to be written down."""
    client = calm.server.client()
    client.set("index:epoch", "before:1")
    esme = await connect()
    await heals(esme)
    client.set("index:epoch", "after:1")
    await heals(esme)
    state = calm.directory / "state" / "index.json"
    async with asyncio.timeout(5):
        while "after" not in state.read_text():  # noqa: ASYNC110 - a file tells nobody
            await asyncio.sleep(0.05)
    await calm.kill()
    client.set("index:epoch", "before:1")
    await calm.start()
    esme = await connect()
    await nothing_passes(esme, smsc)


async def test_a_policy_that_may_evict_blocks_is_not_trusted_and_named(
    connect: Visitors, calm: Site, smsc: FakeSMSC
) -> None:
    esme = await connect()
    since = len(calm.log)
    calm.server.client().config_set("maxmemory-policy", "allkeys-lru")
    line = await calm.wait_for_log("redis_away", since=since)
    assert "allkeys-lru" in line["why"]
    await nothing_passes(esme, smsc)
    assert "allkeys-lru" in (await calm.get("/readyz")).body
    assert await calm.metric("smsfilter_redis_up") == 0
    calm.server.client().config_set("maxmemory-policy", "volatile-lru")
    await heals(esme)


# full, or a replica


async def test_a_redis_that_takes_no_writes_still_answers_and_blocks_hold(
    connect: Visitors, calm: Site, liar: ScriptedRedis
) -> None:
    """Nothing can be reported any more; what was reported is enforced, and nobody is put off."""
    esme = await connect()
    since, client = len(calm.log), calm.server.client()
    looks = 0

    def count(command: Command) -> None:
        nonlocal looks
        looks += command == [b"INFO", b"memory"]
        liar.changes.notify()

    async def works() -> None:
        with pytest.raises(redis.ResponseError):
            client.sadd("block:{8613800000000}", "acme")
        answers = await esme.submit_all(FROM, [customer(), BLOCKED] * 5)
        assert [answer.command_status for answer in answers] == [0, 0x66] * 5

    try:
        client.config_set("maxmemory", "1")
        await works()
        client.config_set("maxmemory", "0")
        client.replicaof("127.0.0.1", "1")
        liar.script = count
        await liar.changes.until(lambda: looks > 0, "a health check, which finds nothing wrong")
        await works()
    finally:
        client.config_set("maxmemory", "0")
        client.replicaof("NO", "ONE")
    assert not calm.logged("redis_away", since=since)
    assert (await calm.get("/readyz")).status == 200


# slow


async def test_frozen_costs_one_deadline_and_no_other_session_waits(
    connect: Visitors, calm: Site, smsc: FakeSMSC
) -> None:
    esme, other = await connect(), await connect("bravo")
    calm.server.freeze()
    before = len(smsc.submits())
    started = asyncio.get_running_loop().time()
    waiting = esme.post(esme.submit_octets(FROM, customer()))
    await other.enquire_link()
    assert asyncio.get_running_loop().time() - started < DEADLINE_S + 0.1
    assert (await esme.response(waiting)).command_status == PUT_OFF
    assert asyncio.get_running_loop().time() - started < DEADLINE_S + 0.5
    await nothing_passes(esme, smsc)
    assert len(smsc.submits()) == before
    calm.server.resume()
    await heals(esme)


async def test_slow_answers_are_no_answers_and_are_never_taken_for_anothers(
    connect: Visitors, calm: Site, smsc: FakeSMSC, liar: ScriptedRedis
) -> None:
    esme = await connect()
    descriptors = calm.descriptors()
    liar.delay_s = DEADLINE_S * 1.5
    await is_away(esme)
    for _ in range(20):
        await nothing_passes(esme, smsc)
    liar.delay_s = 0.0
    await heals(esme)
    statuses = [
        (await esme.submit(FROM, BLOCKED if n % 2 else customer())).command_status
        for n in range(20)
    ]
    assert statuses == [0, 0x66] * 10
    assert calm.descriptors() <= descriptors + 2


async def test_a_connection_gone_dead_while_idle_costs_no_message(
    connect: Visitors, calm: Site, smsc: FakeSMSC, liar: ScriptedRedis
) -> None:
    esme = await connect()
    since = len(calm.log)
    liar.deafen()
    await calm.wait_for_log("redis_away", since=since, timeout_s=8)
    liar.hear()
    await calm.wait_for_log("redis_up", since=since, timeout_s=8)
    assert (await esme.submit(FROM, customer())).command_status == 0


# errors


ERRORS = [
    "LOADING Redis is loading the dataset in memory",
    "READONLY You can't write against a read only replica.",
    "NOPERM this user has no permissions to run the 'smismember' command",
    "NOAUTH Authentication required.",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "OOM command not allowed when used memory > 'maxmemory'.",
    "CLUSTERDOWN Hash slot not served",
]


@pytest.mark.parametrize("error", ERRORS)
async def test_an_error_is_no_answer(
    connect: Visitors, smsc: FakeSMSC, liar: ScriptedRedis, error: str
) -> None:
    esme = await connect()
    liar.script = lambda command: f"-{error}\r\n".encode() if command[0] == b"SMISMEMBER" else None
    await nothing_passes(esme, smsc)
    liar.script = honest
    await heals(esme)


async def test_a_redis_that_is_loading_is_away_and_comes_back_by_itself(
    connect: Visitors, calm: Site, smsc: FakeSMSC, liar: ScriptedRedis
) -> None:
    esme = await connect()
    since = len(calm.log)
    liar.script = lambda command: (
        None if command[0] in (b"HELLO", b"INFO") else f"-{ERRORS[0]}\r\n".encode()
    )
    await nothing_passes(esme, smsc)
    line = await calm.wait_for_log("redis_away", since=since)
    assert "loading" in line["why"]
    liar.script = honest
    await heals(esme)


async def test_a_key_of_the_wrong_type_is_an_error_of_its_own_messages_and_named(
    connect: Visitors, calm: Site, smsc: FakeSMSC
) -> None:
    esme = await connect()
    since = len(calm.log)
    calm.server.client().set(f"block:{{{TO}}}", "acme")
    answers = await esme.submit_all(FROM, [customer(), TO, BLOCKED, customer()])
    assert [answer.command_status for answer in answers] == [0, PUT_OFF, 0x66, 0]
    assert TO not in smsc.destinations()
    async with asyncio.timeout(5):  # no more than one line a second, and others may have had it
        while not (lines := calm.logged("lookup_failed", since=since, key="block:{138****8000}")):
            assert (await esme.submit(FROM, TO)).command_status == PUT_OFF
    assert "WRONGTYPE" in lines[0]["error"]


async def test_approvals_of_the_wrong_type_approve_nothing(
    connect: Visitors, calm: Site, smsc: FakeSMSC
) -> None:
    esme, other = await connect(), await connect("bravo")
    calm.server.client().delete("approved:{acme}")
    calm.server.client().set("approved:{acme}", "*")
    before = len(smsc.submits())
    answers = await esme.submit_all(FROM, [customer(), BLOCKED])
    assert [answer.command_status for answer in answers] == [PUT_OFF, 0x66]
    assert len(smsc.submits()) == before
    assert (await other.submit("10658888", customer())).command_status == 0


@pytest.mark.parametrize(
    "garbage",
    [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0\0\0\0"],
)
async def test_garbage_instead_of_a_reply_is_no_answer(
    connect: Visitors, smsc: FakeSMSC, liar: ScriptedRedis, garbage: bytes
) -> None:
    esme = await connect()
    before = len(smsc.submits())
    liar.script = lambda command: garbage if command[0] == b"SMISMEMBER" else None
    assert (await esme.submit(FROM, customer())).command_status == PUT_OFF
    assert len(smsc.submits()) == before
    liar.script = honest
    await heals(esme)


@pytest.mark.parametrize(
    "extra", [b"*3\r\n:0\r\n:0\r\n:0\r\n", b"*1\r\n:1\r\n", b"+OK\r\n", b"$-1\r\n"]
)
async def test_replies_nobody_asked_for_move_no_verdict(
    connect: Visitors, smsc: FakeSMSC, liar: ScriptedRedis, extra: bytes
) -> None:
    """One too many, and each message would get the verdict of the one before."""
    esme = await connect()
    before = len(smsc.submits())
    for _ in range(10):
        answers = [
            esme.expect(pdu)
            for pdu in (esme.submit_octets(FROM, to) for to in (customer(), BLOCKED, customer()))
        ]
        esme.send_raw(b"".join(esme.sent[-3:]))
        liar.say(extra)
        statuses = [(await esme.response(answer)).command_status for answer in answers]
        assert statuses[0] in (0, PUT_OFF)
        assert statuses[1] in (0x66, PUT_OFF)
        assert statuses[2] in (0, PUT_OFF)
    assert BLOCKED not in wire.destinations(smsc.submits()[before:])


# the registry


async def test_a_registry_that_cannot_be_read_leaves_the_old_one_in_force(
    connect: Visitors, calm: Site, liar: ScriptedRedis
) -> None:
    esme = await connect()
    client = calm.server.client()
    looks = 0

    def count(command: Command) -> None:
        nonlocal looks
        looks += command == [b"GET", b"registry:version"]
        liar.changes.notify()

    liar.script = count
    since = len(calm.log)
    for damage in (
        lambda: client.set("registry:version", b"\xff\0"),
        lambda: client.sadd("registry:version", "x"),
    ):
        client.delete("registry:version")
        damage()
        seen = looks
        await liar.changes.until(lambda: looks > seen, "another look at it")  # noqa: B023
        assert (await esme.submit(FROM, customer())).command_status == 0
        assert (await esme.submit(FROM, BLOCKED)).command_status == 0x66
    await calm.wait_for_log("registry_unreadable", since=since)
    assert not calm.logged("registry_loaded", since=since)
    client.delete("registry:version")
    await calm.load_registry({"companies": {}})
    await calm.wait_for_log("registry_loaded", since=since)
    assert (await esme.submit(FROM, customer())).command_status == 0x0A


async def test_what_lasts_is_said_when_it_begins_and_no_more(
    connect: Visitors, calm: Site, liar: ScriptedRedis
) -> None:
    redis = calm.server.client()
    looks = 0

    def count(command: Command) -> None:
        nonlocal looks
        looks += command == [b"GET", b"registry:version"]
        liar.changes.notify()

    liar.script = count
    since = len(calm.log)
    redis.delete("registry:version", "index:epoch")
    redis.set("registry:version", b"\xff\0")
    for event in ("index_untrusted", "registry_unreadable"):
        await calm.wait_for_log(event, since=since)
    seen = looks
    await liar.changes.until(lambda: looks > seen + 4, "several looks at both", timeout_s=10)
    for event in ("index_untrusted", "registry_unreadable"):
        assert len(calm.logged(event, since=since)) == 1
    redis.delete("registry:version")


# a rule that says pass


async def test_on_error_pass_is_by_rule_and_counted(
    connect: Visitors, calm: Site, smsc: FakeSMSC
) -> None:
    esme = await connect()
    rules: list[dict[str, Any]] = [
        {"id": "source", "type": "source"},
        {"id": "blocked", "type": "block", "on_error": "pass"},
        {"id": "approval", "type": "approval", "on_error": "pass"},
    ]
    await calm.reload({"rules": rules})
    try:
        assert (await esme.submit(FROM, BLOCKED)).command_status == 0x66
        since = len(calm.log)
        calm.server.kill()
        await calm.wait_for_log("redis_away", since=since)
        pdu = esme.submit_octets(FROM, customer())
        assert (await esme.request(pdu)).command_status == 0
        assert smsc.submits()[-1] == pdu
        assert await calm.metric("smsfilter_policy_bypassed_total", rule="blocked") >= 1
        assert await calm.metric("smsfilter_policy_bypassed_total", rule="approval") >= 1
        mismatched = await esme.submit("10658888", customer())
        assert mismatched.command_status == 0x0A, "this rule had nothing to look up"
    finally:
        await calm.reload({})


# all of it together


@pytest.mark.slow
async def test_whatever_happens_to_redis_the_history_holds(
    connect: Visitors, calm: Site, smsc: FakeSMSC, liar: ScriptedRedis
) -> None:
    """Traffic of three sessions while something new breaks every tenth of a second."""
    chance = random.Random(20090323)
    made = len(smsc.connections)
    esmes = [await connect("acme", "trx", mark(n)) for n in range(3)]
    faults: list[Callable[[], object]] = [
        liar.cut,
        liar.deafen,
        liar.hear,
        calm.server.freeze,
        calm.server.resume,
        lambda: liar.say(b"*1\r\n:0\r\n"),
        lambda: liar.say(b"garbage"),
        lambda: setattr(liar, "delay_s", chance.choice((0.0, 0.0, 0.05, 0.3))),
        lambda: setattr(liar, "piece", chance.choice((0, 0, 3))),
        lambda: setattr(
            liar,
            "script",
            chance.choice((honest, lambda q: b"-LOADING\r\n" if len(q) > 2 else None)),
        ),
    ]
    done = asyncio.Event()

    async def send(esme: FakeESME) -> set[int]:
        seen: set[int] = set()
        while not done.is_set():
            count = chance.randrange(1, 30)
            to = [BLOCKED if chance.random() < 0.3 else customer() for _ in range(count)]
            seen |= {answer.command_status for answer in await esme.submit_all(FROM, to)}
        return seen

    def all_is_well() -> None:
        calm.server.resume()
        liar.hear()
        liar.delay_s, liar.piece, liar.script = 0.0, 0, honest

    sending = [asyncio.create_task(send(esme)) for esme in esmes]
    for step in range(30):
        (chance.choice(faults) if step % 8 else all_is_well)()
        await asyncio.sleep(0.1)
    all_is_well()
    done.set()
    assert set().union(*[await task for task in sending]) == {0, PUT_OFF, 0x66}
    check(History.of(esmes, smsc.connections[made:], [Block(BLOCKED, "acme", since=0.0)]))
