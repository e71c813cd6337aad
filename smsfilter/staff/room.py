"""The staff in the desk: who comes in, and what they are asked for."""

import pwd
from collections.abc import Sequence
from functools import lru_cache

from prometheus_client.registry import Collector
from starlette.routing import Route

from smsfilter.desk.entrance import Asker
from smsfilter.desk.office import Office
from smsfilter.desk.projection import Projection
from smsfilter.flow.rights import OPERATOR, Right, Role


class StaffRoom:
    """Accounts, sessions, releases and duty."""

    def __init__(self, office: Office, _projection: Projection) -> None:
        self._office = office
        self.routes: Sequence[Route] = ()
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

    async def identify(self, token: str | None, client: str) -> Asker | None:
        """Return who asks."""
        if not client.startswith("uid:"):
            return None
        name = _user(int(client.removeprefix("uid:")))
        return Asker(f"local:{name}", frozenset((OPERATOR, *Role)), "socket")

    async def denied(self, asker: Asker, right: Right, path: str) -> None:
        """Somebody asked for what their roles do not allow."""


@lru_cache(maxsize=64)
def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
