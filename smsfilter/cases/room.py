"""Cases in the desk: who works on them, what is due, and what a clerk is told of them."""

from collections.abc import Sequence

from prometheus_client.registry import Collector
from starlette.routing import Route

from smsfilter.cases import clerk_routes
from smsfilter.desk.evidence import Evidence
from smsfilter.desk.office import Office
from smsfilter.desk.projection import Projection
from smsfilter.reports.filing import Filing
from smsfilter.reports.replies import load_replies


class CaseRoom:
    """Cases from their reports to the answers."""

    def __init__(self, office: Office, projection: Projection) -> None:
        desk = office.config.desk
        assert desk is not None  # noqa: S101 - the desk does not start without it
        self._office = office
        self._filing = filing = Filing(
            office.vault, load_replies(desk.replies), office.policy.country_code
        )
        self.routes: Sequence[Route] = (
            *clerk_routes.routes(office, projection.follow, filing, Evidence(office)),
        )
        self.collectors: Sequence[Collector] = ()

    async def start(self) -> None:
        """Nothing runs in it."""

    async def stop(self) -> None:
        """Nothing runs in it."""

    def missing(self) -> dict[str, str]:
        """Nothing keeps it from its work."""
        return {}

    def reload(self) -> None:
        """Take over the texts of the replies. Raises ConfigError: the old ones stay."""
        desk = self._office.config.desk
        assert desk is not None  # noqa: S101 - the desk does not start without it
        self._filing.replies = load_replies(desk.replies)
