"""An open desk with people at it, and with what one proxy has recorded.

Who asks is told by a token that is the person's id: how people log in is tried elsewhere.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import insert, update

from smsfilter.desk.entrance import Asker
from smsfilter.ledger.actor import system
from smsfilter.staff.room import StaffRoom
from smsfilter.store.schema import metadata, staff
from smsfilter.store.writer import Transaction
from tests.fakes.desks import OpenDesk, open_desk
from tests.fakes.recorded import SECOND, Recorded
from tests.fakes.redis_server import RedisServer

HOUR = 3600 * SECOND
PROXY = "p1"
BRANCHES = {
    "north": {"name": "North", "prefixes": ["86138"]},
    "south": {"name": "South", "prefixes": ["86139"]},
    "coast": {"name": "Coast", "parent": "south", "prefixes": ["86137"]},
}
PEOPLE = {
    "li": ("clerk", "north"),
    "bo": ("clerk", "north"),
    "su": ("supervisor", "north"),
    "ma": ("clerk", "south"),
    "hu": ("headquarters", "hq"),
}
"""Who they are, and where."""


class Person:
    """Somebody at the desk, over its real socket."""

    def __init__(self, desk: OpenDesk, name: str) -> None:
        self.name = name
        self._http = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=str(desk.at.state / "desk.sock")),
            base_url="http://desk/v1",
            headers={"Authorization": f"Bearer {name}"},
        )

    async def get(self, path: str, status: int = 200, **query: Any) -> Any:
        """Ask, and hold the status of the answer."""
        response = await self._http.get(path, params=query)
        assert response.status_code == status, response.text
        return response.json()

    async def post(self, path: str, body: Any = None, status: int = 200) -> Any:
        """Have something done, and hold the status of the answer."""
        response = await self._http.post(path, json=body)
        assert response.status_code == status, response.text
        return response.json()

    async def leave(self) -> None:
        """Close the connection."""
        await self._http.aclose()


class Clerks:
    """The people of a desk, by their ids, and the records of its proxy."""

    def __init__(self, desk: OpenDesk) -> None:
        self.desk = desk
        self.now = desk.office.clock()
        self.people = {name: Person(desk, name) for name in PEOPLE}
        self.proxy = Recorded(
            desk.at.folder / "copy", desk.at.state / "keys" / "decisions" / f"{PROXY}.key", PROXY
        )
        self.proxy.segment(1, at=self.now - 100 * HOUR)
        self.complete()

    def __getitem__(self, name: str) -> Person:
        return self.people[name]

    def complete(self) -> None:
        """All that the proxy records is here, and stays so for the test."""
        self._copied(self.now + 100 * HOUR)

    def missing(self) -> None:
        """What the proxy has recorded of late is not here."""
        self._copied(self.now - 90 * HOUR)

    def _copied(self, at: int) -> None:
        stamp = self.proxy.folder / "copied"
        stamp.touch()
        os.utime(stamp, ns=(at * 1000, at * 1000))

    def change(self, table: str, row: int, **values: Any) -> None:
        """Change a row, for what only time would bring about."""
        of = metadata.tables[table]

        def work(transaction: Transaction) -> None:
            transaction.connection.execute(update(of).where(of.c.id == row).values(values))

        self.desk.office.writer.submit(work).result()


def _hire(transaction: Transaction) -> None:
    for name, (role, branch) in PEOPLE.items():
        transaction.connection.execute(
            insert(staff).values(
                id=name,
                person=f"p-{name}",
                name=name,
                branch=branch,
                roles=role,
                state="active",
                added_by="test",
                added_at=transaction.now,
                changed_seq=0,
            )
        )
    transaction.enter("staff hired", system("test"))


async def _identify(_room: StaffRoom, token: str | None, _client: str) -> Asker | None:
    if token is None:
        return None
    role, branch = PEOPLE[token]
    return Asker(f"staff:{token}", frozenset((role,)), "socket", branch, token)


@asynccontextmanager
async def desk_of_clerks(
    folder: Path,
    urls: tuple[str, str | None],
    server: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Clerks]:
    """Open a desk with PEOPLE and BRANCHES."""
    monkeypatch.setattr(StaffRoom, "identify", _identify)
    section = {"branches": BRANCHES, "decisions": [{"proxy": PROXY, "path": "copy"}]}
    async with open_desk(folder, urls, server, **section) as desk:
        await desk.office.writer.write(_hire)
        clerks = Clerks(desk)
        yield clerks
        for each in clerks.people.values():
            await each.leave()
