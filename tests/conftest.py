"""Fixtures: a Redis per worker, an SMSC, and sites with the real daemon.

Heavy modules are imported inside the fixtures: the tests of the protocol and of the rules run on
interpreters where only pytest, hypothesis and pydantic are installed, and load this file too.
Each pytest-xdist worker has a Redis of its own; its database is emptied before every test that
uses it. Nothing here touches a Redis that was on the machine before.
"""

# ruff: noqa: PLC0415 - see above

from __future__ import annotations

import contextlib
import itertools
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

if TYPE_CHECKING:
    import redis

    from smsfilter.store.records import Records
    from tests.fakes.calm import Visitors
    from tests.fakes.desk import Desk
    from tests.fakes.desks import OpenDesk
    from tests.fakes.handset import Handsets
    from tests.fakes.legs import Legs
    from tests.fakes.postgres import Postgres
    from tests.fakes.redis_server import RedisServer
    from tests.fakes.site import Site
    from tests.fakes.smsc import FakeSMSC

MakeRedis = Callable[..., "RedisServer"]
MakeSite = Callable[..., Awaitable["Site"]]
MakeDesk = Callable[..., Awaitable["Desk"]]

ON_DEMAND = ("soak", "fuzz", "scale")
"""Markers of tests that run only where `-m` asks for them."""
KINDS_OF_LEGS = ("tcp", "tls")


def pytest_addoption(parser: pytest.Parser) -> None:
    """How long the tests on demand run, and how to run again what failed."""
    parser.addoption("--soak-minutes", type=float, default=3.0, help="how long -m soak runs")
    parser.addoption("--fuzz-minutes", type=float, default=1.0, help="how long -m fuzz runs")
    parser.addoption("--seed", default=None, help="of -m soak and -m fuzz; chosen if not given")
    parser.addoption("--legs", choices=KINDS_OF_LEGS, default="tcp", help="of sites in tests")
    parser.addoption("--case", type=int, default=None, help="the one case of -m fuzz to run")


def pytest_configure(config: pytest.Config) -> None:
    """Choose a seed, the same for every worker of pytest-xdist."""
    for number, meant in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGHUP, signal.SIG_DFL),
    ):
        if signal.getsignal(number) is signal.SIG_IGN:  # in the background of a shell, by nohup
            signal.signal(number, meant)  # the programs inherit it
    worker = getattr(config, "workerinput", None)
    if config.option.seed is None:
        config.option.seed = worker["seed"] if worker else f"{random.randrange(1 << 32):08x}"


def pytest_report_header(config: pytest.Config) -> str | None:
    """Name the seed where it matters."""
    asked = any(marker in config.option.markexpr for marker in ON_DEMAND)
    return f"seed: {config.option.seed}" if asked else None


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Hand the seed to a worker of pytest-xdist."""
    node.workerinput["seed"] = node.config.option.seed


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what is marked `tls` on both kinds of legs, unless one kind was asked for."""
    marked = metafunc.definition.get_closest_marker("tls")
    if marked and metafunc.config.option.legs == "tcp":
        # None is what a test that is not marked has: they share the site of their file.
        metafunc.parametrize("legs", (None, "tls"), ids=KINDS_OF_LEGS, indirect=True)


def _is_tls(item: pytest.Item) -> bool:
    call = getattr(item, "callspec", None)
    return call is not None and call.params.get("legs") == "tls"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Let a worker that is done take over what waits at another: some tests take a minute."""
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what runs on demand only, and give it the time that it was given.

    What takes longest in one piece comes first: at the end one worker would wait for the other. In
    each file what runs with TLS comes last, so that its site is made anew but once.
    """
    files = {path: place for place, path in enumerate(dict.fromkeys(item.path for item in items))}
    items.sort(
        key=lambda item: (item.path.name != "test_interpreters.py", files[item.path], _is_tls(item))
    )
    for marker in ON_DEMAND:
        if marker not in config.option.markexpr:
            left_out = [item for item in items if item.get_closest_marker(marker)]
            items[:] = [item for item in items if item not in left_out]
            config.hook.pytest_deselected(items=left_out)
        minutes = config.getoption(f"{marker}_minutes", 15)
        for item in items:
            if item.get_closest_marker(marker):
                item.add_marker(pytest.mark.timeout(minutes * 60 + 300))


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """The worker's Redis: shared by its tests, so neither to be killed nor reconfigured."""
    from tests.fakes.redis_server import RedisServer

    server = RedisServer.started()
    yield server
    server.close()


@pytest.fixture
def redis_client(redis_server: RedisServer) -> Iterator[redis.Redis]:
    """A client of the worker's Redis, which is empty."""
    with contextlib.closing(redis_server.connect()) as client:
        client.flushall()
        yield client


@pytest.fixture
def make_redis() -> Iterator[MakeRedis]:
    """Makes Redis servers of the test's own: `make_redis(["--maxmemory", "1mb"], password=…)`."""
    from tests.fakes.redis_server import RedisServer

    with contextlib.ExitStack() as stack:

        def make(*arguments: Any, **options: Any) -> RedisServer:
            server = RedisServer(*arguments, **options)
            stack.callback(server.close)
            server.start()
            return server

        yield make


@pytest.fixture
def own_redis(make_redis: MakeRedis) -> RedisServer:
    """A Redis of the test's own: to kill, freeze, empty, restart."""
    return make_redis()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The worker's PostgreSQL: a database for each test, so not to be stopped."""
    from tests.fakes.peer import needed
    from tests.fakes.postgres import Postgres

    with needed():
        server = Postgres.started()
    yield server
    server.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def records_urls(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str | None]:
    """Where a test's records are, on both databases in turn: for the desk, and for the owner.

    In PostgreSQL the tables are there already; SQLite's are the desk's own, and made by it.
    """
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/records.db", None
    server: Postgres = request.getfixturevalue("postgres")
    return server.database()


@pytest.fixture
def records(records_urls: tuple[str, str | None]) -> Iterator[Records]:
    """Records without a row in them, as the desk opens them."""
    from smsfilter.store.records import Records

    records = Records(records_urls[0])
    if records.is_sqlite:
        records.migrate()
    yield records
    records.close()


@pytest.fixture(scope="module")
def legs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Legs:
    """What the sites of a file have for legs: plain TCP but for tests marked `tls`, see there."""
    from tests.fakes.legs import PLAIN, Legs

    kind = getattr(request, "param", None) or request.config.option.legs
    return Legs.secured(tmp_path_factory.mktemp("legs")) if kind == "tls" else PLAIN


@pytest.fixture
async def open_desk(
    records_urls: tuple[str, str | None],
    tmp_path: Path,
    redis_server: RedisServer,
    redis_client: redis.Redis,
) -> AsyncIterator[OpenDesk]:
    """The API of a desk, on both databases in turn, with the worker's Redis behind it."""
    from tests.fakes.desks import open_desk

    async with open_desk(tmp_path / "desk", records_urls, redis_server) as desk:
        yield desk


@pytest.fixture
async def smsc() -> AsyncIterator[FakeSMSC]:
    """A scripted SMSC in good health."""
    from tests.fakes.smsc import FakeSMSC

    smsc = await FakeSMSC.start()
    yield smsc
    await smsc.stop()


@pytest.fixture
async def handsets(smsc: FakeSMSC) -> AsyncIterator[Handsets]:
    """The customers of `smsc`, and its short code 10086999."""
    from tests.fakes.handset import Handsets

    handsets = Handsets(smsc)
    yield handsets
    await handsets.close()


@pytest.fixture
async def make_site(
    tmp_path: Path, redis_server: RedisServer, legs: Legs, request: pytest.FixtureRequest
) -> AsyncIterator[MakeSite]:
    """Makes sites: `await make_site(…)` with any of

    smsc=       a FakeSMSC; by default one of the site's own
    redis=      a RedisServer (`own_redis`); by default the worker's, emptied
    policy=     what differs from the default policy, as nested dicts
    config=     what differs from the default configuration, as nested dicts
    registry=   another registry; None for none at all
    approved=   {company: sources}; by default acme and bravo for everything
    index_ready=False   leave the epoch out
    started=False       do not start the daemon; wait=False: do not wait until it listens
    wrapper=    a command in front of the daemon's, such as ("prlimit", "--nofile=64")
    env=        environment variables for it
    legs=       plain TCP or TLS; by default what the fixture `legs` says
    """
    from tests.fakes.site import Site

    names = (f"site{number}" for number in itertools.count(1))
    async with contextlib.AsyncExitStack() as stack:

        async def make(
            *,
            smsc: FakeSMSC | None = None,
            redis: RedisServer | None = None,
            started: bool = True,
            wait: bool = True,
            **options: Any,
        ) -> Site:
            if redis is None:
                redis = redis_server
                request.getfixturevalue("redis_client")
            if smsc is None:
                smsc = await legs.smsc()
                stack.push_async_callback(smsc.stop)
            site = Site(tmp_path / next(names), redis, smsc, **{"legs": legs, **options})
            if redis.process is not None:
                await site.fill()
            stack.push_async_callback(site.close)
            if started:
                await site.start(wait=wait)
            return site

        yield make


@pytest.fixture
async def site(make_site: MakeSite) -> Site:
    """The default site, started: its companies are in tests/fakes/registry.py."""
    return await make_site()


@pytest.fixture
async def make_desk(make_site: MakeSite) -> AsyncIterator[MakeDesk]:
    """Makes a proxy and a desk beside it: `await make_desk(…)` with any of

    site=       a Site that was not started; by default one of its own, without a registry
    records=    the URL of migrated records; by default SQLite, made by `desk init`
    config=     what differs from the default configuration, as nested dicts
    registry=   what the desk is told of companies at first; None for nothing
    started=False   start neither; proxy=False: do not start the proxy
    hires=False     nobody works there yet
    """
    from tests.fakes.desk import Desk
    from tests.fakes.registry import REGISTRY

    async with contextlib.AsyncExitStack() as stack:

        async def make(
            *,
            site: Site | None = None,
            records: str | None = None,
            config: dict[str, Any] | None = None,
            registry: dict[str, Any] | None = REGISTRY,
            started: bool = True,
            proxy: bool = True,
            hires: bool = True,
        ) -> Desk:
            if site is None:
                site = await make_site(registry=None, index_ready=False, started=False)
            desk = Desk(site, records, config)
            stack.push_async_callback(desk.close)
            await desk.init(hires=hires)
            if registry is not None:
                await desk.load_companies(registry)
            if started:
                await desk.start()
                if proxy:
                    await site.start()
            return desk

        yield make


@pytest_asyncio.fixture(loop_scope="module")
async def connect(calm: Site) -> AsyncIterator[Visitors]:
    """Connects ESMEs to the site that a file's tests share, which is `calm` in that file.

    They are gone, and their SMSC connections with them, after the test.
    """
    from tests.fakes.calm import Visitors

    visitors = Visitors(calm)
    yield visitors
    await visitors.leave()
