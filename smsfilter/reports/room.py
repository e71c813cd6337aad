"""The report centre in the desk: its bind, the intake, the outbox, and what they are asked for."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final
from zoneinfo import ZoneInfo

from prometheus_client.registry import Collector
from sqlalchemy import Connection
from starlette.routing import Route

from smsfilter import log, tasks
from smsfilter.desk import incidents
from smsfilter.desk.evidence import Evidence
from smsfilter.desk.indexing import IndexAway
from smsfilter.desk.office import Office
from smsfilter.desk.owners import REGISTRY, Owners
from smsfilter.desk.projection import Projection
from smsfilter.desk.releases import Kind
from smsfilter.deskmetrics import CentreMetrics, IndexFigures, IndexMetrics, IntakeMetrics
from smsfilter.reports.bind import Centre
from smsfilter.reports.failures import Failures
from smsfilter.reports.filing import Filing
from smsfilter.reports.heard import Filed, Heard
from smsfilter.reports.intake import Intake
from smsfilter.reports.outbox import Outbox
from smsfilter.reports.replies import load_replies
from smsfilter.reports.routes import routes
from smsfilter.reports.sms import Delivered
from smsfilter.reports.triage import Triage
from smsfilter.reports.unmatched import Unmatched
from smsfilter.store.reading import reading
from smsfilter.store.records import RecordsAway, RecordsError
from smsfilter.store.transaction import Transaction

SWEEP_S: Final = 5.0
UNMATCHED_S: Final = 60.0


class ReportRoom:
    """What customers send, and what they are answered."""

    def __init__(self, office: Office, projection: Projection) -> None:
        desk = office.config.desk
        assert desk is not None  # noqa: S101 - the desk does not start without it
        self._office = office
        self._owners: Owners | None = None
        self._owners_of = 0
        metrics = IntakeMetrics()
        centre_metrics = CentreMetrics()
        index_metrics = IndexMetrics(lambda: _figures(projection))
        self.releases: Mapping[str, Kind] = {}
        self.collectors: Sequence[Collector] = (centre_metrics, metrics, index_metrics)
        self._filing = filing = Filing.of(office)
        triage = Triage(
            self._known_owners,
            Evidence(office).forwards,
            desk.unblockable(),
            office.policy.country_code,
            office.clock,
        )
        self.centre = Centre(desk.report_centre, self._take, centre_metrics)
        self.outbox = Outbox(office, self.centre, desk.report_centre.window, metrics)
        self.intake = Intake(
            office,
            filing,
            triage,
            index=projection,
            suspect=_open_incident,
            released=self.outbox.wake,
            metrics=metrics,
        )
        self.unmatched = Unmatched(office, triage, self.intake, self._known_owners)
        self._failures = Failures()
        self._tasks: list[asyncio.Task[None]] = []
        self.routes: Sequence[Route] = routes(office, filing, self.intake)

    async def start(self) -> None:
        """Bind, and take up what was left."""
        for work in (
            self.centre.run(),
            self.outbox.run(),
            self._keep(self.intake.sweep, SWEEP_S),
            self._keep(self.unmatched.look, UNMATCHED_S),
        ):
            self._tasks.append(asyncio.create_task(work))

    async def stop(self) -> None:
        """Finish what is under way at the SMSC, write down what became of it, then end."""
        self.outbox.end()
        await self.centre.stop()
        await self.outbox.ended()
        await tasks.ended(self._tasks)

    def reload(self) -> None:
        """Take over the texts of the replies. Raises ConfigError: the old ones stay."""
        desk = self._office.config.desk
        assert desk is not None  # noqa: S101 - the desk does not start without it
        self._filing.replies = load_replies(desk.replies)

    def missing(self) -> dict[str, str]:
        """Why no report can come in."""
        return {} if self.centre.bound else {"centre": self.centre.why}

    async def _take(self, message: Delivered) -> int:
        return await self.intake.take(message)

    async def _keep(self, work: Callable[[], Awaitable[object]], pause_s: float) -> None:
        """Do something again and again, until cancelled."""
        while True:
            try:
                await work()
            except (RecordsAway, RecordsError, IndexAway) as error:
                log.get().warning("reports_wait", error=str(error))
            except Exception as error:  # whatever it is, it must not be the last time
                if said := self._failures.said(error):
                    log.get().error("report_failed", **said)
            await asyncio.sleep(pause_s)

    async def _known_owners(self) -> Owners:
        """Whose sources are whose, as the records have it now."""
        changes = self._office.writer.touched(*REGISTRY)
        if self._owners is None or self._owners_of != changes:
            self._owners = await reading(self._office.records, self._load_owners)
            self._owners_of = changes
        return self._owners

    def _load_owners(self, connection: Connection) -> Owners:
        policy = self._office.policy
        zone = ZoneInfo(policy.timezone)
        return Owners.load(connection, zone, policy.country_code, self._office.clock())


def _figures(projection: Projection) -> IndexFigures:
    state, counts = projection.state, projection.counts
    return IndexFigures(
        state.ready,
        state.lag,
        state.lag_s,
        state.unconfirmed,
        counts.runs,
        state.failures,
        counts.lost,
    )


def _open_incident(transaction: Transaction, filed: Filed, heard: Heard) -> None:
    if filed.target is not None:
        incidents.opened(transaction, filed.report, filed.customer, filed.target, heard.at)
