"""The desk's own room: what every desk answers, whatever else runs in it."""

from collections.abc import Mapping, Sequence
from typing import Any

from prometheus_client.registry import Collector
from starlette.routing import Route

from smsfilter.desk import audit, backup, block_routes, company_routes
from smsfilter.desk.ending import KIND, Ends, Recycles
from smsfilter.desk.following import in_force
from smsfilter.desk.office import Office
from smsfilter.desk.projection import Projection
from smsfilter.desk.releases import Kind


class DeskRoom:
    """Companies, blocks, ledger and backup, as people ask for them."""

    def __init__(self, office: Office, projection: Projection) -> None:
        async def after() -> Mapping[str, Any]:
            return await in_force(projection.follow, office.writer.head)

        ends, recycles = Ends(office, after), Recycles(office, after)
        self.releases: Mapping[str, Kind] = {Ends.KIND: ends.kind, KIND: recycles.kind}
        self.routes: Sequence[Route] = (
            *audit.routes(office),
            *backup.routes(office),
            *company_routes.routes(office, projection.follow),
            *block_routes.routes(office, projection, ends, recycles),
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
