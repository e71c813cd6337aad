"""5,000 reports a minute: all are kept, each once, and kept up with.

Figures are printed. They decide only where the machine is the test's alone (-m scale).
"""

import asyncio
import time
from collections import Counter

import pytest
from sqlalchemy import func, select

from smsfilter.store.schema import block, report, sms_out
from tests.conftest import MakeDesk
from tests.fakes.archive import fill
from tests.fakes.books import pairs
from tests.fakes.desk import Desk
from tests.fakes.report_load import Load, in_force_times, registry

pytestmark = [pytest.mark.redis, pytest.mark.system]


async def complete(desk: Desk, load: Load) -> None:
    """Every report is on the records once, its block in Redis, its answer at the handset."""
    expected = {
        (each.number, f"company{each.company}") for each in load.sent if each.company is not None
    }
    await desk.site.smsc.changes.until(
        lambda: len(desk.handsets.received) >= len(load.sent),
        lambda: f"{len(load.sent)} answers; there are {len(desk.handsets.received)}",
        timeout_s=120,
    )
    assert Counter(map(len, desk.handsets.received.values())) == {1: len(load.sent)}
    assert expected <= pairs(desk.site.server.client())

    def look(connection):
        newest = report.c.channel == "sms", report.c.changed_seq > 0
        kept = connection.execute(
            select(
                func.count(), func.count(report.c.confirmed_at), func.sum(report.c.copies)
            ).where(*newest)
        ).one()
        incomplete = connection.scalar(
            select(func.count()).select_from(report).where(*newest, report.c.complete.is_(False))
        )
        live = connection.scalar(
            select(func.count()).select_from(block).where(block.c.changed_seq > 0)
        )
        twice = connection.scalar(
            select(func.count()).select_from(sms_out).where(sms_out.c.maybe_twice)
        )
        return kept, incomplete, live, twice

    kept, incomplete, live, twice = await desk.look(look)
    assert (kept[0], kept[1]) == (len(load.sent), len(load.sent))
    assert (incomplete, live, twice) == (0, len(expected), 0)


async def loaded(desk: Desk, seconds: float) -> Load:
    for n in range(500):
        desk.site.approve(f"company{n}")
    load = Load(desk.handsets)
    await load.run(seconds)
    print(load.told(), f"CPU of the desk {desk.cpu_s():.1f} s")
    await complete(desk, load)
    times = await in_force_times(desk, 20)
    print(f"in force: p50 {times[10] * 1000:.0f} ms, most {times[-1] * 1000:.0f} ms")
    return load


@pytest.mark.timeout(180)
async def test_twenty_seconds_of_it(make_desk: MakeDesk):
    desk = await make_desk(registry=registry())
    await loaded(desk, 20)


@pytest.mark.scale
async def test_five_minutes_of_it_on_a_million_reports(make_desk: MakeDesk):
    desk = await make_desk(registry=registry(), started=False)
    state = desk.site.directory / "state"
    began = time.monotonic()
    await asyncio.to_thread(fill, state / "records.db", state, 1_000_000, time.time_ns() // 1000)
    print(f"filled in {time.monotonic() - began:.0f} s")
    await desk.start()
    began = time.monotonic()
    while "index" in (await desk.get("/readyz")).body:  # a new Redis: all blocks are put first
        assert time.monotonic() - began < 300
        await asyncio.sleep(1)
    print(f"index filled in {time.monotonic() - began:.0f} s")
    await desk.site.start()
    load = await loaded(desk, 300)
    assert load.times[-1] <= 2.0, load.told()
    assert load.backlog <= 50, load.told()
