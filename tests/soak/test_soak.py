"""Steady traffic and one fault after the other, for as long as there is time.

`pytest -m soak -s --soak-minutes 60` prints a line a round. After each fault all must be well
again by itself, every promise kept, and the fault seen in the log; at the end the daemon has what
it had at the beginning. The seed in the first lines repeats the faults in their order.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic, time

import pytest

from tests.fakes.signs import Fault, kept
from tests.soak.bed import Bed
from tests.soak.faults import KINDS
from tests.vocabulary import log_events

WARM_ROUNDS = len(KINDS) // 2
"""After so many faults memory is what it will be: allocators keep what they were given."""
RSS_KIB_MORE = 12 << 10


@pytest.fixture
async def bed(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Bed]:
    bed = await Bed(tmp_path, random.Random(request.config.getoption("seed"))).start()
    yield bed
    await bed.stop()


async def one_round(bed: Bed, name: str) -> None:
    """A fault under load, its end, and all that must be true after it."""
    kind = KINDS[name]
    bed.rounds += 1
    bed.go()
    await bed.well()
    sent, began = sum(sender.count for sender in bed.senders), time()
    async with kind.do(bed):
        await asyncio.sleep(bed.chance.uniform(*kind.lasts_s))
        ended = time()
    await bed.well()
    healed = time() - ended
    await bed.rest()
    fault = Fault(name, began, ended, kind.shows, kind.heals)
    await bed.seen(fault)
    found = bed.judge(fault)
    count = sum(sender.count for sender in bed.senders) - sent
    print(
        f"{bed.rounds:4} {name:32} {count:6} messages, well after {healed:4.1f} s, slowest answer"
        f" {bed.slowest_s:5.2f} s, RSS {bed.site.rss_kib() >> 10} MiB",
        flush=True,
    )
    said = [f"{name}: {one.promise}: {one.what}" for one in found[:20]]
    assert not found, "\n".join([*said, "--- log", *bed.story[-40:]])


def test_what_faults_show_in_are_events_of_the_log() -> None:
    for name, kind in KINDS.items():
        assert {kind.shows, kind.heals} <= log_events() | {""}, name


@pytest.mark.soak
@pytest.mark.system
@pytest.mark.redis
async def test_whatever_happens_the_promises_hold(bed: Bed, request: pytest.FixtureRequest) -> None:
    end = monotonic() + request.config.getoption("soak_minutes") * 60
    before = None
    print()
    names: list[str] = []
    while monotonic() < end:
        names = names or bed.chance.sample(sorted(KINDS), len(KINDS))
        await one_round(bed, names.pop())
        if bed.rounds == WARM_ROUNDS:
            before = await bed.uses()
    assert before is not None, "there was no time to get warm"
    after = await bed.uses()
    print(f"before: {before}\nafter:  {after}")
    assert not list(kept(before, after, RSS_KIB_MORE))
