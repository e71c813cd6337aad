"""Whatever Redis goes through, with the desk up or down: nobody blocked is reached meanwhile.

The real proxy stands before the index that the projection keeps. A sender goes on all the time, to
a customer who has blocked it and to others; each test does one thing to Redis, and afterwards
messages flow again, but for those that are blocked.
"""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from smsfilter.desk.indexing import IndexAway
from smsfilter.store import keys
from smsfilter.store.records import Records
from tests.fakes.books import Books, pairs, until
from tests.fakes.calm import customer
from tests.fakes.chaos import ChaosProxy
from tests.fakes.esme import FakeESME
from tests.fakes.redis_server import RedisServer
from tests.fakes.site import Site
from tests.fakes.smsc import FakeSMSC

pytestmark = [
    pytest.mark.system,
    pytest.mark.redis,
    pytest.mark.asyncio(loop_scope="module"),
]

FROM = "10657555"
BLOCKED, LATER = "8613800138001", "8613800138002"
REFUSED = 0x66
HEALS_S = 15.0

POLICY = {"rules": [{"id": "source", "type": "source"}, {"id": "blocked", "type": "block"}]}


class Path:
    """The daemon, the Redis in use behind a switch, and a sender who never stops."""

    def __init__(self, site: Site, switch: ChaosProxy, server: RedisServer) -> None:
        self.site = site
        self.switch = switch
        self.server = server
        self.blocked: set[str] = set()
        """Customers whose block is in force: none of them may be reached."""

    async def send(self) -> None:
        """Send to everybody, on and on."""
        esme = await self.site.esme()
        while True:
            await esme.submit_all(FROM, [customer(), *sorted(self.blocked), customer()])
            await asyncio.sleep(0.005)

    def reached(self) -> set[str]:
        """The blocked customers that the SMSC was asked to reach."""
        return self.blocked & set(self.site.smsc.destinations())

    async def flows(self) -> None:
        """Messages pass, and those to blocked customers are refused for good."""
        esme: FakeESME = await self.site.esme()
        async with asyncio.timeout(HEALS_S):
            while (await esme.submit(FROM, customer())).command_status:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            for number in self.blocked:
                while (await esme.submit(FROM, number)).command_status != REFUSED:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
        await esme.close()

    async def stands_still(self) -> None:
        """Nothing passes at all, as it is not known who is blocked."""
        esme = await self.site.esme()
        async with asyncio.timeout(HEALS_S):
            while not (await esme.submit(FROM, customer())).command_status:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        answers = await esme.submit_all(FROM, [customer() for _ in range(5)])
        assert all(answer.command_status for answer in answers)
        await esme.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def path(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Path]:
    """The daemon of this file, with its Redis behind a switch."""
    server = RedisServer.started()
    switch = await ChaosProxy.start(server.port)
    smsc = await FakeSMSC.start()
    site = Site(
        tmp_path_factory.mktemp("faults") / "site",
        server,
        smsc,
        policy=POLICY,
        config={"redis": {"url": switch.url}, "log": {"decisions": "refused"}},
    )
    await site.start()
    yield Path(site, switch, server)
    await site.close()
    await smsc.stop()
    await switch.stop()
    server.close()


@pytest_asyncio.fixture(loop_scope="module")
async def books(path: Path, records: Records) -> AsyncIterator[Books]:
    """A desk whose customer has blocked acme, and the sender at work; at the end nobody passed."""
    path.server.client().flushall()
    books = await Books(records, path.switch.url).open()
    await books.add_company("acme", FROM, account="acme")
    await books.put(BLOCKED, "acme")
    await books.follow()
    path.blocked = {BLOCKED}
    await path.flows()
    path.site.smsc.forget()
    sender = asyncio.create_task(path.send())
    yield books
    try:
        await path.flows()
        assert not sender.done(), "the sender was thrown out"
        assert not path.reached()
        assert path.site.smsc.destinations()
    finally:
        sender.cancel()
        with contextlib.suppress(asyncio.CancelledError, ConnectionError):
            await sender
        await books.close()


async def later(books: Books, path: Path) -> None:
    """Another customer blocks acme, and it is in force."""
    await books.follow(await books.put(LATER, "acme"))
    path.blocked.add(LATER)


# lost


@pytest.mark.parametrize("desk_is", ["up", "down"])
async def test_killed_and_back_without_anything(books: Books, path: Path, desk_is: str) -> None:
    if desk_is == "down":
        await books.close()
    path.server.restart()
    if desk_is == "down":
        await path.stands_still()
        await books.open()
    await path.flows()
    assert pairs(path.server.client()) == {(BLOCKED, "acme")}
    assert path.server.client().exists("registry:version")
    assert books.projection.counts.lost == 1


async def test_emptied_again_and_again_while_blocks_come(books: Books, path: Path) -> None:
    client = path.server.client()
    for turn in range(12):
        number = f"86138{turn:08d}"
        seq = await books.put(number, "acme")
        client.flushall()
        if turn % 3:
            client.flushall()
        await books.follow(seq)
        path.blocked.add(number)
    await path.flows()
    assert pairs(client) == {(number, "acme") for number in path.blocked}


# an old copy


@pytest.mark.parametrize("desk_is", ["up", "down"])
async def test_restored_from_yesterday(books: Books, path: Path, desk_is: str) -> None:
    """A block is missing in the copy, and one that was lifted is in it again."""
    client = path.server.client()
    await books.follow(await books.put(BLOCKED, "bravo"))
    client.save()
    dump, copy = path.server.directory / "dump.rdb", path.server.directory / "yesterday"
    shutil.copy(dump, copy)
    await later(books, path)
    await books.follow(await books.end(BLOCKED, "bravo"))
    await path.flows()
    if desk_is == "down":
        await books.close()
    path.server.kill()
    shutil.move(copy, dump)
    path.server.start()
    dump.unlink()
    if desk_is == "down":
        assert pairs(client) == {(BLOCKED, "acme"), (BLOCKED, "bravo")}
        await path.stands_still()
        await books.open()
    await path.flows()
    assert pairs(client) == {(BLOCKED, "acme"), (LATER, "acme")}


@pytest.mark.parametrize("desk_is", ["up", "down"])
async def test_failed_over_to_a_replica_that_was_behind(
    books: Books, path: Path, desk_is: str
) -> None:
    replica = RedisServer(["--replicaof", "127.0.0.1", str(path.server.port)])
    replica.arguments += ["--repl-diskless-load", "on-empty-db"]
    path.server.client().config_set("repl-diskless-sync-delay", 0)
    replica.start()
    master, path.server = path.server, replica
    try:
        await until(lambda: pairs(replica.client()))
        replica.client().replicaof("NO", "ONE")
        await later(books, path)
        await path.flows()  # the proxy has seen that seq; a replica without it is behind
        if desk_is == "down":
            await books.close()
        path.switch.behind = replica.port
        path.switch.cut()
        if desk_is == "down":
            await path.stands_still()
            await books.open()
        await path.flows()
        assert pairs(replica.client()) == {(BLOCKED, "acme"), (LATER, "acme")}
    finally:
        path.server, path.switch.behind = master, master.port
        path.switch.cut()
        replica.close()


# it reads, and does not write

DOES_NOT_WRITE = {
    "memory": (
        lambda client: client.config_set("maxmemory", 1),
        lambda client: client.config_set("maxmemory", 0),
    ),
    "READONLY": (
        lambda client: client.replicaof("127.0.0.1", 1),
        lambda client: client.replicaof("NO", "ONE"),
    ),
    "NOREPLICAS": (
        lambda client: client.config_set("min-replicas-to-write", 1),
        lambda client: client.config_set("min-replicas-to-write", 0),
    ),
}


@pytest.mark.parametrize("why", DOES_NOT_WRITE)
async def test_a_redis_that_only_reads(books: Books, path: Path, why: str) -> None:
    client = path.server.client()
    break_it, mend_it = DOES_NOT_WRITE[why]
    break_it(client)
    seq = await books.put(LATER, "acme")
    try:
        with pytest.raises(IndexAway, match=why):
            await books.follow(seq, within_s=0.7)
        assert not books.projection.state.ready
        await path.flows()  # what was in force is
        await until(lambda: books.projection.state.unconfirmed == 1)
        assert books.projection.state.lag >= 1
        assert books.in_force() == {1: True, 2: False}
    finally:
        mend_it(client)
    await books.follow(seq)
    path.blocked.add(LATER)
    await books.marked()


# it is not there


BROKEN: dict[str, tuple[Callable[[Path], None], Callable[[Path], None]]] = {
    "refuses": (lambda path: (path.switch.refuse(), path.switch.cut()), lambda _: None),
    "takes nothing": (lambda path: path.switch.to_server.stall(), lambda _: None),
    "answers nothing": (lambda path: path.switch.to_client.stall(), lambda _: None),
    "is stopped": (lambda path: path.server.freeze(), lambda path: path.server.resume()),
}


@pytest.mark.parametrize("how", BROKEN)
async def test_a_redis_that_is_away(books: Books, path: Path, how: str) -> None:
    break_it, mend_it = BROKEN[how]
    break_it(path)
    seq = await books.put(LATER, "acme")
    try:
        with pytest.raises(IndexAway, match=r"."):
            await books.follow(seq, within_s=0.5)
    finally:
        mend_it(path)
        path.switch.heal()
    await books.follow(seq)
    path.blocked.add(LATER)


async def test_cut_after_any_octet(books: Books, path: Path) -> None:
    """The connection is lost at every step of a run; what was begun is done anew."""
    wire = await ChaosProxy.start(path.server.port)
    await books.close()
    books.url = wire.url
    await books.open()
    await books.follow()
    wire.to_server.piece = 16
    for turn in range(24):
        number = f"86138{turn:08d}"
        await books.put(number, "acme", "bravo")
        seq = await books.end(number, "bravo")
        until = wire.to_server.octets + 16 + turn * 24

        async def cut_at(octets: int = until) -> None:
            while wire.to_server.octets < octets:  # noqa: ASYNC110 - between two pieces
                await asyncio.sleep(0)
            wire.cut()

        cutting = asyncio.create_task(cut_at())
        await books.follow(seq)
        path.blocked.add(number)
        await cutting
    await books.follow(await books.put(LATER, "acme"))
    path.blocked.add(LATER)
    assert pairs(path.server.client()) == {(number, "acme") for number in path.blocked}
    await books.close()
    await wire.stop()
    books.url = path.switch.url
    await books.open()


async def test_records_that_cannot_be_read_are_no_reason_to_lose_anything(
    books: Books, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from smsfilter.store.records import RecordsAway  # noqa: PLC0415

    @contextlib.contextmanager
    def away() -> AsyncIterator[None]:
        raise RecordsAway("the server closed the connection")
        yield

    seq = await books.put(LATER, "acme")
    await books.follow(seq)
    path.blocked.add(LATER)
    with monkeypatch.context() as patched:
        patched.setattr(books.records, "reading", away)
        path.server.client().flushall()
        with pytest.raises(IndexAway, match="the server closed the connection"):
            await books.follow(seq + 1000, within_s=1.5)
        await path.stands_still()
    await path.flows()
    assert path.server.client().smembers(keys.block("", LATER)) == {b"acme"}
