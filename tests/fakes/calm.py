"""A site that many tests of one file share, and visitors that leave it as they found it.

Starting the daemon costs more than most tests. Where nothing is done to the daemon itself, a file
starts one site, and each test brings ESMEs of its own: when they are gone and the SMSC has no
connection left, the next test finds a site at rest.
"""

import contextlib
import itertools
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from tests.fakes.esme import FakeESME
from tests.fakes.redis_server import RedisServer
from tests.fakes.site import Site
from tests.fakes.smsc import FakeSMSC

BLOCKED = "8613800138001"
"""The customer who has blocked acme."""

_customers = itertools.count(8613900000000)


def customer() -> str:
    """A customer nobody else writes to."""
    return str(next(_customers))


@contextlib.asynccontextmanager
async def calm_site(directory: Path, smsc: FakeSMSC, **options: Any) -> AsyncIterator[Site]:
    """A started site with a Redis of its own. Options are those of `Site`."""
    server = RedisServer.started()
    try:
        site = Site(directory / "site", server, smsc, **options)
        site.block(BLOCKED, "acme")
        await site.fill()
        await site.start()
        try:
            yield site
        finally:
            await site.close()
    finally:
        server.close()


class Visitors:
    """ESMEs of one test: connect them by calling this."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._esmes: list[FakeESME] = []

    async def __call__(
        self,
        account: str | None = "acme",
        kind: str = "trx",
        fields: Mapping[str, Any] | None = None,
        port: int | None = None,
        **options: Any,
    ) -> FakeESME:
        """Connect an ESME, bound unless the account is None; `fields` are those of its bind."""
        esme = await self.site.legs.esme(port or self.site.port, **options)
        self._esmes.append(esme)
        return esme if account is None else await esme.bound(kind, account, **(fields or {}))

    async def leave(self) -> None:
        """Close them all, restore the SMSC's good manners, and wait until it is alone."""
        smsc = self.site.smsc
        for esme in self._esmes:
            if esme.ended is None:
                await esme.close()
        smsc.hold.clear()
        smsc.bind_status = smsc.submit_status = 0
        smsc.delay_s = 0.0
        smsc.answer = smsc.default_answer
        for connection in smsc.open_connections():
            connection.resume_reading()
        await smsc.wait_no_connection()
