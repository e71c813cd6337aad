"""The desk's own room: what every desk answers, whatever else runs in it."""

from collections.abc import Sequence

from prometheus_client.registry import Collector
from starlette.routing import Route

from smsfilter.desk import audit, backup, block_routes, company_routes
from smsfilter.desk.office import Office
from smsfilter.desk.projection import Projection


class DeskRoom:
    """Companies, blocks, ledger and backup, as people ask for them."""

    def __init__(self, office: Office, projection: Projection) -> None:
        self.routes: Sequence[Route] = (
            *audit.routes(office),
            *backup.routes(office),
            *company_routes.routes(office, projection.follow),
            *block_routes.routes(office, projection),
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
        """It has read no file."""
