"""Cases in the desk: who works on them, what is due, and what a clerk is told of them."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, Final

from prometheus_client.registry import Collector
from starlette.routing import Route

from smsfilter import log, tasks
from smsfilter.cases import branching, clerk_routes, daily_routes, opening, routes
from smsfilter.cases.assigning import Assigning
from smsfilter.cases.escalating import Escalating
from smsfilter.cases.figures import CaseMetrics, figures
from smsfilter.cases.warning import Warnings
from smsfilter.cases.webhook import Webhook
from smsfilter.desk.evidence import Evidence
from smsfilter.desk.office import Office
from smsfilter.desk.projection import Projection
from smsfilter.desk.releases import Kind
from smsfilter.reports.filing import Filing
from smsfilter.reports.replies import load_replies
from smsfilter.reports.results import close_unreceipted
from smsfilter.staff.roster import Rosters
from smsfilter.store.reading import reading
from smsfilter.store.records import RecordsAway, RecordsError
from smsfilter.store.seal import SealError

CLOSE_S: Final = 60.0
CLOSE_MOST: Final = 200
"""Cases that are closed in one transaction: others wait for no more."""
RETRY_S: Final = 5.0
ASSIGN_S: Final = 1.0
ESCALATE_S: Final = 2.0
COUNT_S: Final = 10.0


class CaseRoom:
    """Cases from their reports to the answers."""

    def __init__(self, office: Office, projection: Projection) -> None:
        desk = office.config.desk
        assert desk is not None  # noqa: S101 - the desk does not start without it
        self._office = office
        self._filing = filing = Filing.of(office)
        evidence = Evidence(office)
        self.routes: Sequence[Route] = (
            *daily_routes.routes(office),
            *clerk_routes.routes(office, projection.follow, filing, evidence),
            *routes.routes(office, evidence, lambda: filing.answers),
            *opening.routes(office),
        )
        rosters = Rosters(office)
        self._assigning = Assigning(office, rosters)
        self._warnings = Warnings(office.vault, filing.replies, hooked=desk.webhook is not None)
        self._metrics = CaseMetrics()
        self._escalating = Escalating(office, rosters, self._warnings, self._metrics)
        self._webhook = None if desk.webhook is None else Webhook(office, desk.webhook)
        self.releases: Mapping[str, Kind] = {}
        self.collectors: Sequence[Collector] = (self._metrics,)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin to look after cases by itself."""
        works: list[Coroutine[Any, Any, None]] = [
            self._keep(self._close, CLOSE_S),
            self._keep(self._assigning.look, ASSIGN_S),
            self._keep(self._escalating.look, ESCALATE_S),
            self._keep(self._count, COUNT_S),
            self._sort(),
        ]
        if self._webhook is not None:
            works.append(self._webhook.run())
        self._tasks = [asyncio.create_task(work) for work in works]

    async def stop(self) -> None:
        """End what runs."""
        await tasks.ended(self._tasks)

    async def _count(self) -> None:
        """Count the open cases, for whoever reads the metrics."""
        self._metrics.figures = await reading(self._office.records, figures)

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
        self._filing.replies = self._warnings.replies = load_replies(desk.replies)
