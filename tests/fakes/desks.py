"""Desks as an operator sets them up, on either database; one of them opened in the test's process.

An open desk is asked over its real socket, and has no SMSC: what would be sent is on the records.
Who asks is a person with every role, unless a test names another one.
"""

import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import redis
import yaml
from sqlalchemy import select
from starlette.routing import Route

from smsfilter.cases.room import CaseRoom
from smsfilter.config import Config, Loaded, load
from smsfilter.desk import blocks
from smsfilter.desk.api import app
from smsfilter.desk.companies import import_
from smsfilter.desk.door import Door
from smsfilter.desk.founding import Founded, found
from smsfilter.desk.keys import Keys
from smsfilter.desk.office import Office, now_us, records_of
from smsfilter.desk.projection import Projection
from smsfilter.desk.release_room import ReleaseRoom
from smsfilter.desk.room import DeskRoom
from smsfilter.desk.vault import Vault
from smsfilter.flow.branches import HEADQUARTERS
from smsfilter.ledger.actor import local, system
from smsfilter.ledger.chain import Entry, parse
from smsfilter.ledger.export import Header, export
from smsfilter.ledger.verdict import Verdict
from smsfilter.ledger.verify import verify
from smsfilter.reports.room import ReportRoom
from smsfilter.rules.registry import RegistryFile
from smsfilter.staff.room import StaffRoom
from smsfilter.store import ledger
from smsfilter.store.connect import parse_url
from smsfilter.store.schema import block, metadata
from smsfilter.store.transaction import Transaction
from smsfilter.store.writer import Writer
from tests.fakes import people
from tests.fakes.daemon import ROOT
from tests.fakes.redis_server import RedisServer
from tests.fakes.registry import REGISTRY

BY = local("ops", "command")


class At:
    """A desk whose files are all in one folder; `desk` is more of its section."""

    def __init__(
        self,
        folder: Path,
        urls: tuple[str, str | None] | None = None,
        *,
        redis_url: str = "redis://127.0.0.1:1/0",
        **desk: Any,
    ) -> None:
        self.folder = folder
        self.file = folder / "smsfilter.yaml"
        folder.mkdir(parents=True, exist_ok=True)
        url, owner = urls or (None, None)
        content = {
            "proxy": {"listen": "127.0.0.1:1", "smsc": "127.0.0.1:2", "admin": None},
            "redis": {"url": redis_url},
            "state_dir": str(folder / "state"),
            "records": {"url": url} | ({"owner_url": owner} if owner else {}) if url else {},
            "desk": {"report_centre": {"smsc": "127.0.0.1:2", "system_id": "10086999"}} | desk,
        }
        self.file.write_text(yaml.safe_dump(content))
        (folder / "policy.yaml").write_text("version: 1\n")

    @property
    def loaded(self) -> Loaded:
        return load(self.file, {})

    @property
    def config(self) -> Config:
        return self.loaded.config

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def keys(self) -> Keys:
        return Keys.read(self.state)

    def found(self) -> Founded:
        return found(self.config, BY)

    def office(self, clock: Callable[[], int] = now_us) -> Office:
        return Office.of(self.loaded, clock)

    @contextmanager
    def writing(self) -> Iterator[Office]:
        """An office at work; the end of its ledger is signed as it closes, as a desk does."""
        office = self.office()
        office.writer.start()
        try:
            yield office
            office.writer.submit(Transaction.checkpoint).result()
        finally:
            office.writer.stop()
            office.records.close()


def blocked(writer: Writer, vault: Vault, numbers: list[str], company: str = "acme") -> list[int]:
    """Put a block for each of these numbers, and return the ids."""

    def work(transaction: Transaction) -> list[int]:
        put = [
            blocks.put(transaction, vault.customer(transaction, number), company, "report")
            for number in numbers
        ]
        touches = [(block, each.id) for each in put]
        transaction.enter("blocks put", system("test"), touches=touches)
        return [each.id for each in put]

    return writer.submit(work).result()


def exported(desk: At, witnesses: list[str] | None = None) -> Verdict:
    """What a verifier says of a desk's ledger, exported as it is."""
    keys, records = desk.keys, records_of(desk.config)
    with records.reading() as connection:
        seq, _, chain = ledger.head(connection)
        header = Header(chain, now_us(), 1, seq)
        lines = export(header, ledger.rows(connection), ledger.checkpoints(connection), keys.sign)
        verdict = verify(lines, {keys.sign_id: keys.sign.public_key()}, witnesses or [])
    records.close()
    return verdict


@asynccontextmanager
async def opened(door: Door) -> AsyncIterator[Door]:
    """A door that is open for as long."""
    door.open()
    try:
        yield door
    finally:
        await door.close()


class OpenDesk:
    """What a test sees of it."""

    def __init__(
        self,
        at: At,
        office: Office,
        server: RedisServer,
        routes: Sequence[Route],
        who: str | None = people.DEFAULT,
        *,
        staff: StaffRoom,
    ) -> None:
        self.at = at
        self.staff = staff
        self.routes = routes
        self.office = office
        self.server = server
        self.who = who
        """Who asks; None is a user of the machine without a login."""
        self.http = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=str(at.state / "desk.sock")),
            base_url="http://desk/v1",
            headers={} if who is None else people.bearer(who),
        )
        self.released: ReleaseRoom | None = None
        self._others: dict[str | None, OpenDesk] = {}

    def as_(self, who: str | None) -> "OpenDesk":
        """The same desk, asked by somebody else who was hired."""
        if who not in self._others:
            self._others[who] = OpenDesk(
                self.at, self.office, self.server, self.routes, who, staff=self.staff
            )
        return self._others[who]

    async def hire(
        self,
        who: str,
        *roles: str,
        branch: str = HEADQUARTERS,
        phone: str | None = None,
        **over: Any,
    ) -> "OpenDesk":
        """Make an active person with a login; the desk as asked by them."""
        office = self.office

        def work(transaction: Transaction) -> None:
            people.hire(
                transaction.connection,
                who,
                roles or people.EVERYTHING,
                branch,
                now=transaction.now,
                vault=office.vault,
                phone=phone,
                **over,
            )

        await office.writer.write(work)
        return self.as_(who)

    async def close(self) -> None:
        """Close its connections."""
        for each in (*self._others.values(), self):
            await each.http.aclose()

    async def get(self, path: str, status: int = 200, **query: Any) -> Any:
        """Ask, and hold the status of the answer."""
        response = await self.http.get(path, params=query)
        assert response.status_code == status, response.text
        return response.json()

    async def post(self, path: str, body: Any = None, status: int = 200) -> Any:
        """Have something done, and hold the status of the answer."""
        response = await self.http.post(path, json=body)
        assert response.status_code == status, response.text
        return response.json()

    async def two(self, path: str, body: Any = None, other: str = people.OTHER) -> Any:
        """Have something done that needs two: asked for here, released by another one."""
        asked = await self.post(path, body)
        return await self.as_(other).post(f"/releases/{asked['release']}/grant")

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
    folder: Path,
    urls: tuple[str, str | None],
    server: RedisServer,
    *,
    clock: Callable[[], int] = now_us,
    hires: bool = True,
    **section: Any,
) -> AsyncIterator[OpenDesk]:
    """Open a desk with the companies of tests/fakes/registry.py; `section` is more of `desk`.

    With `hires` two people work there who can do everything; else nobody does yet.
    """
    at = At(folder, urls, redis_url=server.url, **section)
    shutil.copy(ROOT / "config" / "replies.yaml", folder)
    at.found()
    async with AsyncExitStack() as stack:
        office = at.office(clock)
        stack.callback(office.records.close)
        office.writer.start()
        stack.callback(office.writer.stop)
        content = RegistryFile.model_validate(REGISTRY)
        await office.writer.write(lambda into: import_(into, content, system("test")))
        projection = Projection.of(office, parse_url(server.url, at.state, None))
        await projection.start()
        stack.push_async_callback(projection.stop)
        await projection.follow(office.writer.head, 10)
        staff = StaffRoom(office, projection)
        rooms = (
            staff,
            DeskRoom(office, projection),
            ReportRoom(office, projection),
            CaseRoom(office, projection),
        )
        kinds = {name: kind for room in rooms for name, kind in room.releases.items()}
        released = ReleaseRoom(office, kinds)
        await released.start()
        stack.push_async_callback(released.stop)
        routes = [route for room in (*rooms, released) for route in room.routes]
        await stack.enter_async_context(opened(Door(app(routes, staff, office), at.state)))
        desk = OpenDesk(at, office, server, routes, people.DEFAULT if hires else None, staff=staff)
        desk.released = released
        stack.push_async_callback(desk.close)
        for who in (people.DEFAULT, people.OTHER) if hires else ():
            await desk.hire(who)
        yield desk
