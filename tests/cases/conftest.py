"""A desk with people at it, on both databases in turn."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis

if TYPE_CHECKING:
    from tests.fakes.clerks import Clerks
    from tests.fakes.redis_server import RedisServer


@pytest.fixture
async def clerks(
    records_urls: tuple[str, str | None],
    tmp_path: Path,
    redis_server: RedisServer,
    redis_client: redis.Redis,
) -> AsyncIterator[Clerks]:
    """A desk with people at it."""
    from tests.fakes.clerks import desk_of_clerks  # noqa: PLC0415

    async with desk_of_clerks(tmp_path / "desk", records_urls, redis_server) as desk:
        yield desk
