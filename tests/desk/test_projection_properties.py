"""Whatever happens in whatever order: Redis holds what the records say, and no block is ever gone.

The projection runs only while a step runs, and stops wherever it is at the step's end. A proxy
looks at the index between any two steps: where it would trust what it sees, every block that was
ever said to be in force, and was not lifted, has to be there.
"""

import asyncio
import secrets
import tempfile
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from hypothesis.stateful import run_state_machine_as_test as run

from smsfilter.store import keys
from smsfilter.store.epoch import EpochGuard
from smsfilter.store.records import Records
from tests.fakes.books import Books, pairs
from tests.fakes.redis_server import RedisServer

pytestmark = pytest.mark.redis

NUMBERS = st.sampled_from([f"861380013800{n}" for n in range(4)])
COMPANIES = ("acme", "bravo", "charlie")
TARGETS = st.sampled_from([*COMPANIES, "source:1065755501", "*"])


class Following(RuleBasedStateMachine):
    """Books over a Redis that loses, forgets and remembers, and a proxy that looks on."""

    server: RedisServer

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.records = Records(f"sqlite:///{self.folder.name}/records.db")
        self.records.migrate()
        self.client = self.server.client()
        self.client.flushall()
        self.books = Books(self.records, self.server.url)
        self.live: set[tuple[str, str]] = set()
        self.in_force: set[tuple[str, str]] = set()
        self.by_hand: set[tuple[str, str]] = set()
        self.copy: tuple[dict[bytes, bytes], set[tuple[str, str]]] | None = None
        self.proxy = EpochGuard()
        self.run(self.books.open())
        self.settle()

    def run(self, work: Any) -> Any:
        return self.runner.run(work)

    def teardown(self) -> None:
        self.run(self.books.close())
        self.runner.close()
        self.records.close()
        self.folder.cleanup()

    # what the desk does

    @rule(number=NUMBERS, whom=st.sets(TARGETS, min_size=1))
    def put(self, number: str, whom: set[str]) -> None:
        self.run(self.books.put(number, *sorted(whom)))
        self.live |= {(number, target) for target in whom}

    @rule(number=NUMBERS, whom=st.sets(TARGETS, min_size=1))
    def end(self, number: str, whom: set[str]) -> None:
        gone = {(number, target) for target in whom}
        self.in_force -= gone
        self.live -= gone
        self.run(self.books.end(number, *sorted(whom)))

    @rule(number=NUMBERS)
    def recycle(self, number: str) -> None:
        gone = {pair for pair in self.live if pair[0] == number}
        self.in_force -= gone
        self.live -= gone
        self.run(self.books.recycle(number))

    @rule(pair=st.permutations(COMPANIES))
    def merge(self, pair: list[str]) -> None:
        name, into = pair[:2]
        moved = {number for number, target in self.live if target == name}
        gone = {(number, name) for number in moved}
        self.in_force -= gone
        self.live = self.live - gone | {(number, into) for number in moved}
        self.run(self.books.retarget(name, into))

    @rule(turns=st.integers(1, 12))
    def go_on(self, turns: int) -> None:
        """Let it run for a moment, and stop anywhere."""

        async def moment() -> None:
            for _ in range(turns):
                await asyncio.sleep(0.0005)

        self.run(moment())

    @rule()
    def follow(self) -> None:
        live = set(self.live)
        self.run(self.books.follow())
        self.in_force |= live

    @rule()
    def settle(self) -> None:
        """After a look at the index it is exactly what it should be."""

        async def settled() -> None:
            await self.books.follow(await self.books.look())

        self.run(settled())
        self.in_force |= self.live
        assert pairs(self.client) == self.live | self.by_hand

    @rule()
    def crash(self) -> None:
        self.run(self.books.reopen())

    # what happens to Redis

    @rule()
    def empty(self) -> None:
        self.client.flushall()
        self.by_hand = set()

    @rule()
    def save(self) -> None:
        """Keep a copy, if it is one of an index that was marked as filled."""
        names: Any = self.client.keys("*")
        if b"index:epoch" in names:
            self.copy = {name: self.client.dump(name) for name in names}, set(self.by_hand)

    @rule()
    def restore(self) -> None:
        """Have the copy again, if there is one."""
        if self.copy is None:
            return
        content, by_hand = self.copy
        with self.client.pipeline() as pipe:
            pipe.flushall()
            for name, dumped in content.items():
                pipe.restore(name, 0, dumped)
            pipe.execute()
        self.by_hand = set(by_hand)

    @rule(number=NUMBERS)
    def add_by_hand(self, number: str) -> None:
        key = keys.block("", number)
        if self.client.type(key) in (b"none", b"set"):
            self.client.sadd(key, "byhand")
            self.by_hand.add((number, "byhand"))

    @rule()
    def mark_by_hand(self) -> None:
        """As `smsfilter index ready` does, on an index that is whole."""
        if not self.proxy.why:
            self.client.set("index:epoch", f"{secrets.token_hex(8)}:{time.time_ns()}")

    @rule(number=NUMBERS)
    def write_something_else(self, number: str) -> None:
        """A key of another type in the place of a SET: look-ups of it fail until it is mended."""
        key = keys.block("", number)
        if not self.client.exists(key):
            self.client.set(key, "what somebody wrote")

    # what a proxy sees

    @invariant()
    def no_block_is_missing(self) -> None:
        with self.client.pipeline() as pipe:
            pipe.get("index:epoch")
            for number, target in sorted(self.in_force):
                pipe.sismember(keys.block("", number), target)
            epoch, *found = pipe.execute(raise_on_error=False)
        if self.proxy.trusted(epoch, epoch):
            there = zip(sorted(self.in_force), found, strict=True)
            assert not [pair for pair, is_there in there if not is_there]


@pytest.mark.parametrize(
    "examples", [10, pytest.param(200, marks=[pytest.mark.slow, pytest.mark.timeout(600)])]
)
def test_redis_holds_what_the_records_say(redis_server: RedisServer, examples: int) -> None:
    Following.server = redis_server
    run(
        Following,
        settings=settings(
            max_examples=examples,
            stateful_step_count=25,
            deadline=None,
            phases=[Phase.generate],  # time is part of it: the same again takes another course
            suppress_health_check=list(HealthCheck),
        ),
    )
