"""The look-ups of the path against a real Redis, and against one that errs, lies and is late.

Held throughout: every question is answered exactly once, by its own replies or by None, within
the deadline; and the index comes back by itself when the cause has gone.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from smsfilter.store import index as index_module
from smsfilter.store.address import parse_url
from smsfilter.store.connect import RedisRefused
from smsfilter.store.epoch import EpochGuard
from smsfilter.store.index import PENDING_MOST, BlockQuestion, Index, Replies, pack
from tests.fakes.changes import Changes
from tests.fakes.redis_server import RedisServer
from tests.fakes.scripted_redis import Command, ScriptedRedis

pytestmark = pytest.mark.redis

EPOCH = b"e1:1700000000000"
DEADLINE_S = 0.2  # of the index; four times the default, on cores that others use too
MakeIndex = Callable[..., Any]


class Story:
    """What the index has told its watcher, and everything that was answered."""

    def __init__(self) -> None:
        self.changes = Changes()
        self.told: list[str] = []
        """`up`, or why it is away."""

    def index_up(self) -> None:
        self.told.append("up")
        self.changes.notify()

    def index_away(self, why: str) -> None:
        self.told.append(why)
        self.changes.notify()

    async def wait(self, word: str, since: int = 0, timeout_s: float = 5.0) -> str:
        """Wait until it was told something with `word` in it."""
        found = await self.changes.until(
            lambda: [told for told in self.told[since:] if word in told],
            lambda: f"{word!r} in {self.told[since:]}",
            timeout_s,
        )
        return found[-1]


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same clockwork, faster: the tests wait for seconds that mean nothing to them."""
    monkeypatch.setattr(index_module, "HEALTH_EVERY_S", 0.1)
    monkeypatch.setattr(index_module, "PROBE_EVERY_S", 0.02)
    monkeypatch.setattr(index_module, "HEAD_AGE_MOST_S", 0.4)
    monkeypatch.setattr(index_module, "HELLO_WITHIN_S", 0.3)
    monkeypatch.setattr(index_module, "RECONNECT_MOST_S", 0.1)


@pytest.fixture
def story() -> Story:
    return Story()


@pytest.fixture
async def make_index(story: Story) -> AsyncIterator[MakeIndex]:
    """Makes indexes: `await make_index(url)`, started and usually up."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(url: str, *, patience: float = 3.0, deadline: float = DEADLINE_S) -> Index:
            index = Index(parse_url(url, Path("/nonexistent")), "", deadline, story)
            stack.push_async_callback(index.stop)
            await index.start(patience)
            return index

        yield make


@pytest.fixture
async def liar(
    redis_server: RedisServer, redis_client: redis.Redis
) -> AsyncIterator[ScriptedRedis]:
    """A Redis with an epoch, and with whatever the test makes it say."""
    redis_client.set("index:epoch", EPOCH)
    liar = await ScriptedRedis.start(redis_server)
    yield liar
    await liar.stop()


async def ask(index: Index, *commands: tuple[str, ...]) -> Replies | None:
    """Ask one batch and wait for its answer; it must come within the deadline."""
    answer: asyncio.Future[Replies | None] = asyncio.get_running_loop().create_future()
    index.ask(b"".join(pack(*command) for command in commands), len(commands), answer.set_result)
    async with asyncio.timeout(index_deadline_and_some()):
        return await answer


def index_deadline_and_some() -> float:
    return DEADLINE_S + 2.0  # a busy machine may be late; that it answers at all is the point


def echo(word: str) -> tuple[str, str]:
    return "ECHO", word


# a Redis in good health


async def test_replies_come_in_order_each_to_its_batch(
    redis_server: RedisServer, redis_client: redis.Redis, make_index: MakeIndex, story: Story
) -> None:
    redis_client.sadd("block:{8613800138000}", "acme", "*")
    index = await make_index(redis_server.url)
    assert index.up
    batches = [
        ask(
            index,
            echo(f"a{n}"),
            ("SMISMEMBER", "block:{8613800138000}", "acme", "x"),
            echo(f"b{n}"),
        )
        for n in range(50)
    ]
    answers = await asyncio.gather(*batches)
    assert answers == [[f"a{n}".encode(), [1, 0], f"b{n}".encode()] for n in range(50)]
    assert story.told == ["up"]


@pytest.mark.parametrize("url", ["url", "tcp_url"])
async def test_thousands_of_commands_in_one_batch(
    redis_server: RedisServer, redis_client: redis.Redis, make_index: MakeIndex, url: str
) -> None:
    index = await make_index(getattr(redis_server, url))
    answer = await ask(index, *(echo(f"{n}") for n in range(5000)))
    assert answer == [b"%d" % n for n in range(5000)]


@pytest.mark.parametrize("prefix", ["", "sms:", "某:"])
async def test_the_packed_block_question_is_what_redis_understands(
    redis_server: RedisServer, redis_client: redis.Redis, make_index: MakeIndex, prefix: str
) -> None:
    members = ("acme", "source:10657555", "某公司", "*", "KEY", "$3\r\nKEY\r\n")
    question = BlockQuestion(prefix, members)
    index = await make_index(redis_server.url)
    for length in range(1, 16):
        number = "123456789012345"[:length]
        redis_client.sadd(f"{prefix}block:{{{number}}}", "某公司", "KEY")
        command = question.heads[length] + number.encode() + question.tail
        answer: asyncio.Future[Replies | None] = asyncio.get_running_loop().create_future()
        index.ask(command, 1, answer.set_result)
        assert await answer == [[0, 0, 1, 0, 1, 0]]
    assert question.clean == [0] * 6


async def test_an_error_stays_in_its_place(
    redis_server: RedisServer, redis_client: redis.Redis, make_index: MakeIndex
) -> None:
    redis_client.set("block:{1}", "by hand")
    index = await make_index(redis_server.url)
    answer = await ask(index, echo("a"), ("SMISMEMBER", "block:{1}", "acme"), echo("b"))
    assert answer is not None
    assert [answer[0], answer[2]] == [b"a", b"b"]
    assert str(answer[1]).startswith("WRONGTYPE")
    assert index.up


async def test_the_epoch_is_read_without_traffic(
    redis_server: RedisServer, redis_client: redis.Redis, story: Story
) -> None:
    seen: list[object] = []
    index = Index(parse_url(redis_server.url, Path("/x")), "", DEADLINE_S, story)

    def read(raw: object) -> None:
        seen.append(raw)
        story.changes.notify()

    index.epoch_read = read
    redis_client.set("index:epoch", EPOCH)
    await index.start(3)
    assert seen == [EPOCH]
    redis_client.delete("index:epoch")
    await story.changes.until(lambda: None in seen, "the epoch's absence to be seen")
    await index.stop()


async def test_after_stop_nothing_is_asked(
    redis_server: RedisServer, redis_client: redis.Redis, make_index: MakeIndex, story: Story
) -> None:
    index = await make_index(redis_server.url)
    await index.stop()
    assert await ask(index, echo("a")) is None
    await index.stop()
    assert story.told == ["up"], "the end is no failure"


# gone, and back


async def test_killed_and_started_again(
    own_redis: RedisServer, make_index: MakeIndex, story: Story
) -> None:
    index = await make_index(own_redis.url)
    own_redis.kill()
    away = await story.wait("closed")
    assert not index.up
    started = time.monotonic()
    assert [await ask(index, echo("a")) for _ in range(100)] == [None] * 100
    assert time.monotonic() - started < 1, "away is answered at once"
    assert index.why
    own_redis.start()
    await story.wait("up", since=story.told.index(away))
    assert await ask(index, echo("a")) == [b"a"]
    assert len(story.told) <= 5, f"a line for each change, not for each try: {story.told}"


async def test_not_there_at_start_and_there_later(
    own_redis: RedisServer, make_index: MakeIndex, story: Story
) -> None:
    own_redis.kill()
    index = await make_index(own_redis.url, patience=0.2)
    assert not index.up
    own_redis.start()
    await story.wait("up")
    assert await ask(index, echo("a")) == [b"a"]


async def test_a_batch_under_way_when_the_connection_breaks_is_answered(
    liar: ScriptedRedis, make_index: MakeIndex, story: Story
) -> None:
    index = await make_index(liar.url)
    liar.deafen()
    under_way = [asyncio.create_task(ask(index, echo("a"))) for _ in range(5)]
    await asyncio.sleep(0)
    liar.cut()
    assert await asyncio.gather(*under_way) == [None] * 5
    liar.hear()
    await story.wait("up", since=1)
    assert await ask(index, echo("b")) == [b"b"]


@pytest.mark.parametrize("last", [b"+extra\r\n", b"garbage"])
async def test_a_connection_that_breaks_with_its_last_word_of_greeting_is_not_used(
    liar: ScriptedRedis, make_index: MakeIndex, story: Story, last: bytes
) -> None:
    """It is lost after it has answered and before anybody has looked at that answer."""
    spoiled = 0

    def spoil(command: Command) -> bytes | None:
        nonlocal spoiled
        if command[0] != b"GET" or spoiled > 2:
            return None
        spoiled += 1
        return b"$%d\r\n%b\r\n" % (len(EPOCH), EPOCH) + last

    liar.script = spoil
    index = await make_index(liar.url)
    await story.changes.until(lambda: spoiled > 2 and index.up, "a connection that is whole")
    assert await ask(index, echo("a")) == [b"a"]
    assert "up" not in story.told[:-1], story.told


async def test_connections_that_are_closed_at_once_are_not_stormed(
    liar: ScriptedRedis, make_index: MakeIndex, story: Story
) -> None:
    await make_index(liar.url)
    liar.refusing = True
    liar.cut()
    await liar.changes.until(lambda: liar.connections >= 4, "three more tries")
    started, before = time.monotonic(), liar.connections
    await liar.changes.until(lambda: liar.connections >= before + 5, "five more tries")
    assert time.monotonic() - started > 0.2, "each of them waits for a tenth of a second or so"
    liar.refusing = False
    await story.wait("up", since=1)
    assert len(story.told) < 8, story.told


# late


async def test_a_frozen_redis_costs_one_deadline_and_no_more(
    own_redis: RedisServer, make_index: MakeIndex, story: Story
) -> None:
    index = await make_index(own_redis.url)
    own_redis.freeze()
    started = time.monotonic()
    first = [asyncio.create_task(ask(index, echo(f"{n}"))) for n in range(10)]
    assert await asyncio.gather(*first) == [None] * 10
    took = time.monotonic() - started
    assert DEADLINE_S * 0.9 < took < DEADLINE_S + 1.5
    assert "no answer within 200 ms" in story.told
    started = time.monotonic()
    assert [await ask(index, echo("x")) for _ in range(1000)] == [None] * 1000
    assert time.monotonic() - started < 1
    own_redis.resume()
    await story.wait("up", since=1)
    assert await ask(index, echo("y")) == [b"y"]


async def test_late_replies_are_thrown_away_and_never_given_to_another(
    liar: ScriptedRedis, make_index: MakeIndex, story: Story
) -> None:
    index = await make_index(liar.url)
    liar.delay_s = DEADLINE_S * 1.3
    assert await ask(index, echo("late"), echo("later")) is None
    liar.delay_s = 0.0
    await story.wait("up", since=1)
    assert liar.connections == 1, "a late answer is no reason to reconnect"
    for n in range(20):
        assert await ask(index, echo(f"{n}")) == [b"%d" % n]


async def test_a_connection_that_answers_nothing_is_given_up_and_none_is_left_behind(
    liar: ScriptedRedis, make_index: MakeIndex, story: Story
) -> None:
    index = await make_index(liar.url)
    liar.deafen()
    assert await ask(index, echo("a")) is None
    await liar.changes.until(lambda: liar.connections >= 4, "some tries to connect again")
    assert len(story.told) < 8, story.told
    liar.hear()
    since = len(story.told)
    await story.wait("up", since=since)
    assert await ask(index, echo("b")) == [b"b"]
    await liar.changes.until(lambda: liar.open == 1, "the end of all connections but one")
    assert index.up


async def test_an_idle_connection_that_went_dead_is_found_without_traffic(
    liar: ScriptedRedis, make_index: MakeIndex, story: Story
) -> None:
    index = await make_index(liar.url)
    liar.deafen()
    assert "no answer" in await story.wait("no answer")
    liar.hear()
    await story.wait("up", since=1)
    assert await ask(index, echo("a")) == [b"a"]


async def test_too_many_unanswered_batches_give_the_connection_up_each_answered_once(
    liar: ScriptedRedis, make_index: MakeIndex, story: Story
) -> None:
    index = await make_index(liar.url, deadline=1.0)
    liar.deafen()
    answers: list[int] = []
    for n in range(PENDING_MOST + 1):
        index.ask(pack("ECHO", f"{n}"), 1, lambda replies, n=n: answers.append(n))
    assert sorted(answers) == list(range(PENDING_MOST + 1))
    liar.hear()
    await story.wait("up", since=1)
    assert len(answers) == PENDING_MOST + 1


async def test_giving_up_in_the_midst_of_replies_answers_nobody_twice(
    liar: ScriptedRedis, make_index: MakeIndex, story: Story
) -> None:
    """The first reply makes its asker ask so much that the connection is given up."""
    index = await make_index(liar.url, deadline=1.0)
    answers: list[int] = []

    def greedy(replies: Replies | None) -> None:
        answers.append(0)
        for n in (PENDING_MOST, PENDING_MOST + 1):
            index.ask(pack("ECHO", f"{n}"), 1, lambda _replies, n=n: answers.append(n))

    liar.deafen()
    index.ask(pack("ECHO", "0"), 1, greedy)
    for n in range(1, PENDING_MOST):
        index.ask(pack("ECHO", f"{n}"), 1, lambda _replies, n=n: answers.append(n))
    liar.hear()
    await story.changes.until(lambda: len(answers) >= PENDING_MOST + 2, "all answers")
    await story.wait("up", since=1)
    assert sorted(answers) == list(range(PENDING_MOST + 2))


# answers that are none


ERRORS = [
    b"-LOADING Redis is loading the dataset in memory\r\n",
    b"-READONLY You can't write against a read only replica.\r\n",
    b"-NOPERM this user has no permissions to run the 'smismember' command\r\n",
    b"-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n",
    b"-CLUSTERDOWN The cluster is down\r\n",
    b"-ERR unknown command 'SMISMEMBER'\r\n",
    b"-\r\n",
]


@pytest.mark.parametrize("error", ERRORS)
async def test_errors_are_errors_of_the_look_up(
    liar: ScriptedRedis, make_index: MakeIndex, story: Story, error: bytes
) -> None:
    index = await make_index(liar.url)
    liar.script = lambda command: error if command[0] == b"SMISMEMBER" else None
    answer = await ask(index, echo("a"), ("SMISMEMBER", "k", "m"), echo("b"))
    assert answer is not None
    assert isinstance(answer[1], Exception)
    assert [answer[0], answer[2]] == [b"a", b"b"]
    assert story.told == ["up"]


@pytest.mark.parametrize("error", ERRORS[:1] + ERRORS[3:4])
async def test_a_redis_that_answers_everything_with_an_error_is_away_until_it_does_not(
    liar: ScriptedRedis, make_index: MakeIndex, story: Story, error: bytes
) -> None:
    index = await make_index(liar.url)
    liar.script = lambda command: error
    liar.cut()
    await liar.changes.until(lambda: liar.connections >= 4, "some tries to connect again")
    assert not index.up
    assert await ask(index, echo("a")) is None
    liar.script = lambda command: None
    await story.wait("up", since=1)
    assert await ask(index, echo("a")) == [b"a"]


async def test_loading_is_named_and_ends_by_itself(
    liar: ScriptedRedis, make_index: MakeIndex, story: Story
) -> None:
    def loading(command: Command) -> bytes | None:
        return None if command[0] in (b"HELLO", b"INFO") else ERRORS[0]

    liar.script = loading
    index = await make_index(liar.url)
    assert "loading" in index.why
    assert not index.up
    liar.script = lambda command: None
    await story.wait("up")


@pytest.mark.parametrize(
    "garbage",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\0\0\0\0",
        b"*-7\r\n",
        b"$99999999999999999999\r\n",
        b":twelve\r\n",
        b"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n!\r\n",
    ],
)
async def test_garbage_drops_the_connection_and_a_new_one_is_made(
    liar: ScriptedRedis, make_index: MakeIndex, story: Story, garbage: bytes
) -> None:
    index = await make_index(liar.url)
    liar.script = lambda command: garbage if b"poison" in command else None
    asked = [ask(index, echo("a"), echo("poison"), echo("b")), ask(index, echo("c"), echo("d"))]
    assert (await asyncio.gather(*asked))[0] is None
    await story.wait("up", since=1)
    assert await ask(index, echo("e")) == [b"e"]


@pytest.mark.parametrize("extra", [b"+OK\r\n", b"*1\r\n:0\r\n", b"$2\r\ne1\r\n", b"\r\n", b":0"])
async def test_a_reply_that_nobody_asked_for_drops_the_connection(
    liar: ScriptedRedis, make_index: MakeIndex, story: Story, extra: bytes
) -> None:
    index = await make_index(liar.url)
    liar.say(extra)
    await story.changes.until(lambda: len(story.told) > 1, "the connection to be given up")
    await story.wait("up", since=1)
    assert await ask(index, echo("a")) == [b"a"]


@pytest.mark.parametrize(
    "odd",
    [
        *(b"#f\r\n", b"#t\r\n", b"_\r\n", b",0\r\n", b"(0\r\n", b"%0\r\n", b"~0\r\n"),
        *(b"$-1\r\n", b"*-1\r\n", b"*0\r\n"),
    ],
)
async def test_odd_replies_take_their_own_place_and_shift_nothing(
    liar: ScriptedRedis, make_index: MakeIndex, story: Story, odd: bytes
) -> None:
    """Also those of RESP3, which nobody ordered: a false must not look like "nothing yet"."""
    index = await make_index(liar.url)
    liar.script = lambda command: odd if b"odd" in command else None
    first, second = await asyncio.gather(
        ask(index, echo("a"), echo("odd"), echo("b")), ask(index, echo("c"), echo("d"))
    )
    assert first is None or [first[0], first[2]] == [b"a", b"b"]
    assert second in (None, [b"c", b"d"])


async def test_a_reply_too_many_is_seen_by_the_epoch_at_both_ends(
    liar: ScriptedRedis, make_index: MakeIndex, story: Story
) -> None:
    """What a batch gets then is not its own, and must not be believed."""
    index = await make_index(liar.url)
    guard = EpochGuard()
    get = ("GET", "index:epoch")
    asked = [get, ("SMISMEMBER", "k1", "m"), ("SMISMEMBER", "k2", "m"), get]
    first = await ask(index, *asked)
    assert first is not None
    assert guard.trusted(first[0], first[-1])
    liar.script = lambda command: b"*1\r\n:0\r\n" * 2 if b"k1" in command else None
    for answer in await asyncio.gather(*(ask(index, *asked) for _ in range(3))):
        assert answer is None or not guard.trusted(answer[0], answer[-1])
    liar.script = lambda command: None
    await story.wait("up", since=1)
    again = await ask(index, *asked)
    assert again is not None
    assert guard.trusted(again[0], again[-1])


async def test_replies_in_single_octets(liar: ScriptedRedis, make_index: MakeIndex) -> None:
    index = await make_index(liar.url, deadline=1.0)
    liar.piece = 1
    asked = [ask(index, echo(f"a{n}"), ("SMISMEMBER", "k", "m", "n")) for n in range(5)]
    assert await asyncio.gather(*asked) == [[b"a%d" % n, [0, 0]] for n in range(5)]


@pytest.mark.parametrize(
    "info",
    [
        b"+evicted_keys:many\r\n",
        b"$23\r\nevicted_keys:12\xff\xfe34567\r\n\r\n",
        b":7\r\n",
        b"$-1\r\n",
        b"*0\r\n",
    ],
)
async def test_a_health_that_cannot_be_read_is_survived(
    liar: ScriptedRedis, make_index: MakeIndex, story: Story, info: bytes
) -> None:
    index = await make_index(liar.url)
    told: list[bool] = []

    def odd(command: Command) -> bytes | None:
        told.append(command[0] == b"INFO")
        liar.changes.notify()
        return info if command[0] == b"INFO" else None

    liar.script = odd
    await liar.changes.until(lambda: told.count(True) >= 6, "two looks at its health")
    liar.script = lambda command: None
    await story.changes.until(lambda: index.up, "it to be up again")
    assert await ask(index, echo("a")) == [b"a"]


# not to be trusted


async def test_a_policy_that_may_evict_blocks_is_away_and_named(
    own_redis: RedisServer, make_index: MakeIndex, story: Story
) -> None:
    index = await make_index(own_redis.url)
    own_redis.client().config_set("maxmemory-policy", "allkeys-lru")
    assert "allkeys-lru" in await story.wait("allkeys-lru")
    assert "noeviction" in index.why
    assert await ask(index, echo("a")) is None
    own_redis.client().config_set("maxmemory-policy", "volatile-lru")
    await story.wait("up", since=1)
    assert await ask(index, echo("a")) == [b"a"]


async def test_keys_that_are_evicted_under_an_unknown_policy(
    liar: ScriptedRedis, make_index: MakeIndex, story: Story
) -> None:
    evicted = 5

    def info(command: Command) -> bytes | None:
        if command[0] != b"INFO":
            return None
        text = b"maxmemory_policy:mystery\r\nevicted_keys:%d\r\n" % evicted
        return b"$%d\r\n%b\r\n" % (len(text), text)

    liar.script = info
    index = await make_index(liar.url)
    assert index.up, "what was evicted long ago says nothing of now"
    evicted = 6
    assert "evicts keys" in await story.wait("evicts")


# replaced by another


def sentinel_saying(port: int) -> bytes:
    """What a sentinel answers of the one master it knows."""
    facts = {
        "name": "mymaster",
        "ip": "127.0.0.1",
        "port": f"{port}",
        "flags": "master",
        "num-other-sentinels": "0",
        "quorum": "1",
    }
    words = [word.encode() for pair in facts.items() for word in pair]
    return b"*1\r\n*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(w), w) for w in words)


async def test_after_a_failover_the_new_master_is_asked_and_the_old_one_no_more(
    redis_server: RedisServer, liar: ScriptedRedis, make_index: MakeIndex, story: Story
) -> None:
    """The old one still stands and answers, but as a replica."""
    new, sentinel = [await ScriptedRedis.start(redis_server) for _ in range(2)]
    master = liar
    sentinel.script = lambda command: (
        sentinel_saying(master.port) if command[0].upper() == b"SENTINEL" else None
    )
    index = await make_index(f"sentinel://127.0.0.1:{sentinel.port}/mymaster")
    new.script = lambda command: b"+new\r\n" if command[0] == b"ECHO" else None
    assert await ask(index, echo("a")) == [b"a"]

    def demoted(command: Command) -> bytes | None:
        if command != [b"INFO", b"replication"]:
            return None
        return b"$12\r\nrole:slave\r\n\r\n"

    master, liar.script = new, demoted
    assert "no longer the master" in await story.wait("no longer")
    await story.wait("up", since=1)
    assert await ask(index, echo("a")) == [b"new"]
    await liar.changes.until(lambda: liar.open == 0, "the end of the old connection")
    await index.stop()
    await new.stop()
    await sentinel.stop()


# refused


async def test_a_password_that_is_wanted_is_an_error_at_start(
    make_redis: Callable[..., RedisServer], make_index: MakeIndex
) -> None:
    server = make_redis(password="right")
    with pytest.raises(RedisRefused, match="WRONGPASS") as refusal:
        await make_index(f"redis://:mistaken@127.0.0.1:{server.port}")
    assert "mistaken" not in str(refusal.value)
    with pytest.raises(RedisRefused, match="NOAUTH"):
        await make_index(server.url)


async def test_a_refusal_later_is_away_without_a_flood_and_heals(
    liar: ScriptedRedis, make_index: MakeIndex, story: Story
) -> None:
    """Not there at start, so that the refusal comes when nobody waits for it any more."""
    liar.refusing = True
    index = await make_index(liar.url, patience=0.1)
    liar.script = lambda command: b"-NOAUTH Authentication required.\r\n"
    liar.refusing = False
    assert "NOAUTH" in await story.wait("NOAUTH")
    before = liar.connections
    await liar.changes.until(lambda: liar.connections >= before + 5, "five more tries")
    assert len(story.told) < 5, story.told
    assert not index.up
    liar.script = lambda command: None
    await story.wait("up")
    assert await ask(index, echo("a")) == [b"a"]
