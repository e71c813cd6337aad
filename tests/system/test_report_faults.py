"""Reports under faults: kill -9 and SIGSTOP at every step that can be held from outside, and Redis
and the records away. No acknowledged report is lost, none is two, and the customer is answered.

The steps are held by what stands around the desk: Redis stopped, the database locked, answers
withheld. What is left is checked by tests/fakes/report_history.py.
"""

import asyncio
import contextlib
import random
import signal
import sqlite3
from collections.abc import Iterator, Sequence

import pytest
from sqlalchemy import select

from smsfilter.desk.keys import Keys
from smsfilter.desk.vault import Vault
from smsfilter.smpp.const import ESME_ROK, ESME_RX_R_APPN, ESME_RX_T_APPN, SUBMIT_SM
from smsfilter.store.schema import report, sms_out
from tests.conftest import MakeDesk, MakeRedis, MakeSite
from tests.fakes.books import until
from tests.fakes.desk import Desk
from tests.fakes.handset import Delivery
from tests.fakes.postgres import Postgres
from tests.fakes.report_history import submits, whole

pytestmark = [pytest.mark.redis, pytest.mark.system]

SPAM = "10657555*您中奖了，请回复"
NUMBERS = [f"86138001380{n:02d}" for n in range(100)]


@pytest.fixture
async def desk(make_desk: MakeDesk, make_site: MakeSite, make_redis: MakeRedis) -> Desk:
    """A desk with a Redis of its own; no proxy, as nobody sends."""
    site = await make_site(redis=make_redis(), registry=None, index_ready=False, started=False)
    return await make_desk(site=site, proxy=False)


def vault_of(desk: Desk) -> Vault:
    return Vault(Keys.read(desk.site.directory / "state").seal)


async def row_of(desk: Desk, number: str) -> object:
    """The report of a customer, once it is on the records."""
    vault = vault_of(desk)

    def look(connection):
        customer = vault.find(connection, number)
        return connection.execute(select(report).where(report.c.customer == customer)).first()

    async with asyncio.timeout(20):
        while (row := await desk.look(look)) is None:  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0.02)
    return row


async def restarted(desk: Desk) -> None:
    await desk.kill()
    await desk.start()


def send(desk: Desk, number: str, text: str = SPAM) -> Delivery:
    (delivery,) = desk.handsets[number].send(text)
    return delivery


async def answered(desk: Desk, numbers: Sequence[str]) -> None:
    """Wait until each of these handsets has its answer."""
    await desk.site.smsc.changes.until(
        lambda: set(numbers) <= set(desk.handsets.received),
        lambda: f"an answer for each of {numbers}; there are {desk.handsets.received}",
        30,
    )


@contextlib.contextmanager
def locked(desk: Desk) -> Iterator[None]:
    """Hold the records of SQLite for writing."""
    path = desk.site.directory / "state" / "records.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@pytest.mark.timeout(150)
async def test_kill_9_at_every_step_that_can_be_held(desk: Desk):
    smsc = desk.site.smsc

    # nothing is written yet: the records are locked
    with locked(desk):
        first = send(desk, NUMBERS[0])
        await until(lambda: first.attempts)
        await desk.kill()
    await desk.start()
    assert await first.done(20) == ESME_ROK

    # written, and not in force: Redis stands still
    desk.site.server.freeze()
    second = send(desk, NUMBERS[1])
    row = await row_of(desk, NUMBERS[1])
    assert row.confirmed_at is None
    assert not second.accepted
    await desk.kill()
    desk.site.server.resume()
    await desk.start()
    assert await second.done(20) == ESME_ROK

    # in force, and the SMSC never reads its answer
    await answered(desk, NUMBERS[:2])  # an SMS whose answer is lost twice is given up
    connection = await smsc.wait_bound(desk.handsets.system_id)
    connection.transport.pause_reading()
    third = send(desk, NUMBERS[2])
    await row_of(desk, NUMBERS[2])
    await desk.kill()
    connection.abort()
    await desk.start()
    assert await third.done(20) == ESME_ROK
    assert len(third.attempts) >= 2

    # the SMS is at the SMSC, which does not answer it
    await answered(desk, NUMBERS[:3])
    smsc.hold = {SUBMIT_SM}
    fourth = send(desk, NUMBERS[3])
    assert await fourth.done(20) == ESME_ROK
    await smsc.changes.until(lambda: submits(desk)[NUMBERS[3]] == 1, "the SMS", 20)
    await desk.kill()
    smsc.hold = set()
    await desk.start()

    await whole(desk, vault_of(desk), NUMBERS[:4], "acme")
    assert submits(desk)[NUMBERS[3]] == 2

    def twice(connection):
        return connection.scalars(select(sms_out.c.maybe_twice).order_by(sms_out.c.id)).all()

    assert (await desk.look(twice))[3]


@pytest.mark.timeout(150)
async def test_killed_and_stopped_under_a_stream_of_reports(desk: Desk):
    chance = random.Random(3)
    deliveries: list[Delivery] = []
    for step, number in enumerate(NUMBERS[:60]):
        text = SPAM + "请速回复领取" * (20 if step % 5 == 0 else 1)
        deliveries += desk.handsets[number].send(text)
        await asyncio.sleep(chance.uniform(0, 0.02))
        if step in (15, 35):
            await restarted(desk)
        if step == 50:
            desk.signal(signal.SIGSTOP)
            deliveries.append(send(desk, NUMBERS[60]))
            desk.signal(signal.SIGCONT)
    for delivery in deliveries:
        assert await delivery.done(30) == ESME_ROK
    await whole(desk, vault_of(desk), NUMBERS[:61], "acme")


@pytest.mark.timeout(150)
async def test_desk_proxy_and_redis_are_killed_in_turn_under_a_stream_of_reports(desk: Desk):
    """And Redis comes back empty: nobody who has reported is reached, before and after."""
    site = desk.site
    await site.start()
    redis = site.server
    deliveries: list[Delivery] = []
    for step, number in enumerate(NUMBERS[:60]):
        deliveries.append(send(desk, number))
        await asyncio.sleep(0.02)
        if step == 10:
            await restarted(desk)
        if step == 25:
            await site.kill()
            await site.start()
        if step == 40:
            redis.kill()
            redis.start()
    for delivery in deliveries:
        assert await delivery.done(30) == ESME_ROK
    await whole(desk, vault_of(desk), NUMBERS[:60], "acme")
    site.approve("acme")
    esme = await site.esme("acme")
    async with asyncio.timeout(20):  # the index is trusted again, and others are reached
        while (await esme.submit("10657555", NUMBERS[99])).command_status:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    for number in NUMBERS[:60]:
        assert (await esme.submit("10657555", number)).command_status == ESME_RX_R_APPN


@pytest.mark.timeout(150)
async def test_redis_full_or_read_only_puts_off_and_loses_nothing(desk: Desk):
    redis = desk.site.server.client()
    for number, breaks, heals in (
        (NUMBERS[0], ("CONFIG SET maxmemory 1",), ("CONFIG SET maxmemory 0",)),
        (NUMBERS[1], ("REPLICAOF 127.0.0.1 1",), ("REPLICAOF NO ONE",)),
    ):
        for command in breaks:
            redis.execute_command(command)
        delivery = send(desk, number)
        await until(lambda delivery=delivery: ESME_RX_T_APPN in delivery.statuses)
        assert (await row_of(desk, number)).confirmed_at is None
        assert not desk.handsets[number].received
        for command in heals:
            redis.execute_command(command)
        assert await delivery.done(30) == ESME_ROK
    await whole(desk, vault_of(desk), NUMBERS[:2], "acme")

    # a second desk
    done = await asyncio.to_thread(desk.command, "desk")
    assert done.returncode == 1
    assert "in use by another desk" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1

    # SIGTERM while reports are under way
    under_way = [send(desk, number) for number in NUMBERS[2:22]]
    await until(lambda: all(each.attempts for each in under_way))
    await desk.stop()
    await desk.start()
    for delivery in under_way:
        assert await delivery.done(30) == ESME_ROK
    await whole(desk, vault_of(desk), NUMBERS[:22], "acme")
    assert set(submits(desk).values()) == {1}


@pytest.mark.timeout(120)
async def test_the_proxy_does_not_notice_that_the_desk_is_down(make_desk: MakeDesk):
    desk = await make_desk()
    site = desk.site
    site.approve("acme")
    acme = await site.esme("acme")
    await desk.handsets[NUMBERS[0]].text(SPAM)
    await desk.kill()
    assert (await acme.submit("10657555", NUMBERS[0])).command_status == 0x66
    assert (await acme.submit("10657555", NUMBERS[1])).command_status == ESME_ROK
    waiting = send(desk, NUMBERS[1])
    assert not waiting.accepted
    await desk.start()
    assert await waiting.done(20) == ESME_ROK
    assert (await acme.submit("10657555", NUMBERS[1])).command_status == 0x66


@pytest.mark.timeout(150)
async def test_postgresql_that_is_stopped_and_a_desk_that_is_killed(
    make_desk: MakeDesk, make_site: MakeSite, make_redis: MakeRedis
):
    from tests.fakes.peer import needed  # noqa: PLC0415 - skips where there is none

    with needed():
        server = Postgres.started()
    try:
        site = await make_site(redis=make_redis(), registry=None, index_ready=False, started=False)
        desk = await make_desk(site=site, records=server.database()[0], proxy=False)
        await asyncio.to_thread(server.stop, signal.SIGQUIT)
        delivery = send(desk, NUMBERS[0])
        await until(lambda: ESME_RX_T_APPN in delivery.statuses)
        await asyncio.to_thread(server.start)
        assert await delivery.done(30) == ESME_ROK
        under_way = [send(desk, number) for number in NUMBERS[1:20]]
        await until(lambda: any(each.accepted for each in under_way))
        await restarted(desk)
        for each in under_way:
            assert await each.done(30) == ESME_ROK
        await whole(desk, vault_of(desk), NUMBERS[:20], "acme")
        await desk.stop()
    finally:
        await asyncio.to_thread(server.close)
