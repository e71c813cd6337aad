"""A desk in the test's own process: its records, index and API, without a report centre.

It is asked over its real socket. Nothing is sent to customers: what would be is on the records.
"""

import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import redis
from sqlalchemy import select

from smsfilter.desk.api import app
from smsfilter.desk.companies import import_
from smsfilter.desk.door import Door
from smsfilter.desk.office import Office
from smsfilter.desk.projection import Projection
from smsfilter.desk.room import DeskRoom
from smsfilter.ledger.actor import system
from smsfilter.ledger.chain import Entry, parse
from smsfilter.reports.room import ReportRoom
from smsfilter.rules.registry import RegistryFile
from smsfilter.store import ledger
from smsfilter.store.connect import parse_url
from smsfilter.store.schema import metadata
from tests.fakes.daemon import ROOT
from tests.fakes.desks import At, opened
from tests.fakes.redis_server import RedisServer
from tests.fakes.registry import REGISTRY


class OpenDesk:
    """What a test sees of it."""

    def __init__(self, at: At, office: Office, server: RedisServer) -> None:
        self.at = at
        self.office = office
        self.server = server
        self.http = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=str(at.state / "desk.sock")),
            base_url="http://desk/v1",
        )

    async def get(self, path: str, status: int = 200, **query: Any) -> Any:
        """Ask, and hold the status of the answer."""
        response = await self.http.get(path, params=query)
        assert response.status_code == status, response.text
        return response.json()

    async def post(self, path: str, body: Any, status: int = 200) -> Any:
        """Have something done, and hold the status of the answer."""
        response = await self.http.post(path, json=body)
        assert response.status_code == status, response.text
        return response.json()

    def entries(self, action: str | None = None) -> list[Entry]:
        """What the ledger has, of one action or of all."""
        with self.office.records.reading() as connection:
            found = [parse(row.body) for row in ledger.rows(connection)]
        return [each for each in found if action in (None, each.action)]

    def rows(self, table: str) -> list[Any]:
        """Every row of a table."""
        with self.office.records.reading() as connection:
            found = metadata.tables[table]
            return list(connection.execute(select(found).order_by(*found.primary_key)))

    def blocked(self, number: str) -> set[str]:
        """What the index has of a number."""
        client: redis.Redis = self.server.client()
        members: Any = client.smembers(f"block:{{{number}}}")
        return {each.decode() for each in members}


@asynccontextmanager
async def open_desk(
    folder: Path, urls: tuple[str, str | None], server: RedisServer
) -> AsyncIterator[OpenDesk]:
    """Open a desk that has the companies of tests/fakes/registry.py."""
    at = At(folder, urls, redis_url=server.url)
    shutil.copy(ROOT / "config" / "replies.yaml", folder)
    at.found()
    async with AsyncExitStack() as stack:
        office = at.office()
        stack.callback(office.records.close)
        office.writer.start()
        stack.callback(office.writer.stop)
        content = RegistryFile.model_validate(REGISTRY)
        await office.writer.write(lambda into: import_(into, content, system("test")))
        projection = Projection.of(office, parse_url(server.url, at.state, None))
        await projection.start()
        stack.push_async_callback(projection.stop)
        await projection.follow(office.writer.head, 10)
        rooms = (DeskRoom(office, projection), ReportRoom(office, projection))
        routes = [route for room in rooms for route in room.routes]
        await stack.enter_async_context(opened(Door(app(routes), at.state)))
        desk = OpenDesk(at, office, server)
        stack.push_async_callback(desk.http.aclose)
        yield desk
