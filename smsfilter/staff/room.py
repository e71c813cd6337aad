"""The staff in the desk: who comes in, and what they are asked for."""

import asyncio
import pwd
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Final

from prometheus_client.registry import Collector
from starlette.routing import Route

from smsfilter import log, tasks
from smsfilter.desk.entrance import Asker
from smsfilter.desk.office import Office
from smsfilter.desk.projection import Projection
from smsfilter.desk.releases import Kind
from smsfilter.flow.rights import OPERATOR, Right, Role
from smsfilter.staff import changing, login, looking, rota_routes, tally
from smsfilter.staff.changing import Changing
from smsfilter.staff.login import Logins
from smsfilter.staff.passwords import Passwords
from smsfilter.staff.sessions import CALLER, Caller, Sessions
from smsfilter.staff.tally import Tally
from smsfilter.store.records import RecordsAway, RecordsError

SOCKET: Final = "socket"
"""The origin of whoever comes by the UNIX socket."""
_UID: Final = "uid:"
_PURGE_S: Final = 3600.0


class StaffRoom:
    """Accounts, sessions, releases and duty."""

    def __init__(self, office: Office, _projection: Projection) -> None:
        self._office = office
        self._passwords = Passwords()
        self._sessions = Sessions(office)
        self._tally = Tally()
        self._tasks: list[asyncio.Task[None]] = []
        logins = Logins(office, self._sessions, self._passwords, self._tally)
        changes = Changing(office)
        self.releases: Mapping[str, Kind] = changes.kinds
        self.routes: Sequence[Route] = (
            *login.routes(logins),
            *looking.routes(office),
            *changing.routes(changes),
            *rota_routes.routes(office),
        )
        self.collectors: Sequence[Collector] = ()

    async def start(self) -> None:
        """Begin to enter what is summed up."""
        self._tasks.append(asyncio.create_task(self._keep_entering(), name="tally"))

    async def stop(self) -> None:
        """Enter what there is, and end."""
        await tasks.ended(self._tasks)
        with suppress(RecordsAway, RecordsError):
            await self.flush()
        self._passwords.close()

    def missing(self) -> dict[str, str]:
        """Nothing keeps it from its work."""
        return {}

    def reload(self) -> None:
        """It has read no file."""

    async def flush(self) -> None:
        """Enter failed logins and refused requests now. Raises RecordsAway, RecordsError."""
        await self._tally.enter(self._office.writer)

    async def identify(self, token: str | None, client: str) -> Asker | None:
        """Return who asks. Raises Problem."""
        origin = SOCKET if client.startswith(_UID) else client
        CALLER.set(Caller(origin))
        if token is not None:
            session = await self._sessions.of(token)
            CALLER.set(Caller(origin, session))
            return session.asker(origin)
        if not client.startswith(_UID):
            return None
        name = _user(int(client.removeprefix(_UID)))
        return Asker(f"local:{name}", frozenset((OPERATOR,)), SOCKET)

    async def denied(self, asker: Asker, right: Right, path: str) -> None:
        """Somebody asked for what their roles do not allow."""
        role = next((each for each in (*Role, OPERATOR) if each in asker.roles), "none")
        self._tally.refused(asker.as_(role), right, path)

    async def _keep_entering(self) -> None:
        purged = 0.0
        while True:
            await asyncio.sleep(tally.EVERY_S)
            try:
                await self.flush()
                now = asyncio.get_running_loop().time()
                if now - purged > _PURGE_S:
                    await self._sessions.purge()
                    purged = now
            except (RecordsAway, RecordsError) as error:
                log.get().warning("tally_put_off", error=str(error))


@lru_cache(maxsize=64)
def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
