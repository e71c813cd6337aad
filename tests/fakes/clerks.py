"""An open desk with people of several branches at it, and with what one proxy has recorded."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import update

from smsfilter.store.schema import metadata
from smsfilter.store.transaction import Transaction
from tests.fakes.desks import OpenDesk, open_desk
from tests.fakes.recorded import SECOND, Recorded
from tests.fakes.redis_server import RedisServer

T = TypeVar("T")
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


class Clerks:
    """The people of a desk, by their ids, and the records of its proxy."""

    def __init__(self, desk: OpenDesk) -> None:
        self.desk = desk
        self.now = desk.office.clock()
        self.proxy = Recorded(
            desk.at.folder / "copy", desk.at.state / "keys" / "decisions" / f"{PROXY}.key", PROXY
        )
        self.proxy.segment(1, at=self.now - 100 * HOUR)
        self.complete()

    def __getitem__(self, name: str) -> OpenDesk:
        """The desk, asked by one of PEOPLE."""
        return self.desk.as_(name)

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

        self.do(work)

    def do(self, work: Callable[[Transaction], T]) -> T:
        """Have something done in a transaction."""
        return self.desk.office.writer.submit(work).result()


@asynccontextmanager
async def desk_of_clerks(
    folder: Path,
    urls: tuple[str, str | None],
    server: RedisServer,
) -> AsyncIterator[Clerks]:
    """Open a desk with PEOPLE and BRANCHES."""
    more: dict[str, Any] = {"branches": BRANCHES, "decisions": [{"proxy": PROXY, "path": "copy"}]}
    async with open_desk(folder, urls, server, **more) as desk:
        for name, (role, branch) in PEOPLE.items():
            await desk.hire(name, role, branch=branch)
        yield Clerks(desk)
