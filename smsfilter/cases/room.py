"""Cases in the desk: who works on them, what is due, and what a clerk is told of them."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

from prometheus_client.registry import Collector
from starlette.routing import Route

from smsfilter import log, tasks
from smsfilter.cases import branching, clerk_routes, opening, routes
from smsfilter.desk.evidence import Evidence
from smsfilter.desk.office import Office
from smsfilter.desk.projection import Projection
from smsfilter.reports.filing import Filing
from smsfilter.reports.replies import load_replies
from smsfilter.reports.results import close_unreceipted
from smsfilter.store.records import RecordsAway, RecordsError
from smsfilter.store.seal import SealError

CLOSE_S: Final = 60.0
CLOSE_MOST: Final = 200
"""Cases that are closed in one transaction: others wait for no more."""
RETRY_S: Final = 5.0


class CaseRoom:
    """Cases from their reports to the answers."""

    def __init__(self, office: Office, projection: Projection) -> None:
        desk = office.config.desk
        assert desk is not None  # noqa: S101 - the desk does not start without it
        self._office = office
        self._filing = filing = Filing(
            office.vault, load_replies(desk.replies), office.policy.country_code
        )
        evidence = Evidence(office)
        self.routes: Sequence[Route] = (
            *clerk_routes.routes(office, projection.follow, filing, evidence),
            *routes.routes(office, evidence, lambda: filing.answers),
            *opening.routes(office),
        )
        self.collectors: Sequence[Collector] = ()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin to look after cases by itself."""
        for work in (self._keep(self._close, CLOSE_S), self._sort()):
            self._tasks.append(asyncio.create_task(work))

    async def stop(self) -> None:
        """End what runs."""
        await tasks.ended(self._tasks)

    async def _close(self) -> None:
        """Close cases whose receipt has never come."""
        while await self._office.writer.write(partial(close_unreceipted, most=CLOSE_MOST)):
            pass

    async def _sort(self) -> None:
        """Sort customers into branches, once that can be done."""
        while True:
            try:
                moved = await branching.run(self._office)
            except (RecordsAway, RecordsError, SealError) as error:
                log.get().warning("branches_wait", error=str(error))
                await asyncio.sleep(RETRY_S)
                continue
            if moved:
                log.get().info("customers_sorted", moved=moved)
            return

    async def _keep(self, work: Callable[[], Awaitable[object]], pause_s: float) -> None:
        """Do something again and again, until cancelled."""
        while True:
            try:
                await work()
            except (RecordsAway, RecordsError) as error:
                log.get().warning("cases_wait", error=str(error))
            except Exception as error:  # whatever it is, it must not be the last time
                log.get().error("unhandled", where="cases", exc_info=error)
            await asyncio.sleep(pause_s)

    def missing(self) -> dict[str, str]:
        """Nothing keeps it from its work."""
        return {}

    def reload(self) -> None:
        """Take over the texts of the replies. Raises ConfigError: the old ones stay."""
        desk = self._office.config.desk
        assert desk is not None  # noqa: S101 - the desk does not start without it
        self._filing.replies = load_replies(desk.replies)
