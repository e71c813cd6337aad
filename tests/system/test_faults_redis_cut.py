"""The connections to Redis are reset while nothing is asked on them."""

from collections.abc import AsyncIterator

import pytest

from tests.conftest import MakeSite
from tests.fakes.chaos import ChaosProxy
from tests.fakes.redis_server import RedisServer
from tests.fakes.registry import REGISTRY

pytestmark = [pytest.mark.system, pytest.mark.redis]


@pytest.fixture
async def wire(own_redis: RedisServer) -> AsyncIterator[ChaosProxy]:
    wire = await ChaosProxy.start(own_redis.port)
    yield wire
    await wire.stop()


async def test_the_registry_is_followed_after_its_connection_was_reset(
    make_site: MakeSite, own_redis: RedisServer, wire: ChaosProxy
) -> None:
    """uvloop has an error of its own for a connection that was reset while it was idle."""
    site = await make_site(redis=own_redis, config={"redis": {"url": wire.url}})
    for n in range(2):
        since = len(site.log)
        wire.cut()
        await site.wait_for_log("redis_away", since=since)
        await site.wait_for_log("redis_up", since=since)
        companies = {**REGISTRY["companies"], f"new{n}": {"accounts": [f"new{n}"]}}
        await site.load_registry({"companies": companies})
        await site.wait_for_log("registry_loaded", since=since, companies=len(companies))
        assert not site.logged("registry_unreadable", since=since)
