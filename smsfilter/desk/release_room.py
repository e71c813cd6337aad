"""What waits for a second person, as it is asked for over the API, and what keeps it moving."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any, Final, TypeVar

from prometheus_client.registry import Collector
from pydantic import Field
from sqlalchemy import ColumnElement, Connection, Row, and_, or_, select
from starlette.routing import Route

from smsfilter import log, tasks
from smsfilter.desk import releases
from smsfilter.desk.api import PAGE, Asked, route
from smsfilter.desk.hands import Hand, hand
from smsfilter.desk.office import Office
from smsfilter.desk.problems import Problem, invalid, not_found
from smsfilter.desk.releases import Kind, Released
from smsfilter.flow.rights import Right
from smsfilter.rules.policy import Model
from smsfilter.store.reading import reading
from smsfilter.store.records import RecordsAway, RecordsError
from smsfilter.store.schema import release
from smsfilter.store.seal import SealError
from smsfilter.store.transaction import Transaction

T = TypeVar("T")
SWEEP_S: Final = 60.0
RETRY_S: Final = 5.0
ANSWER_S: Final = 30.0
"""How long an answer waits for work that takes longer than a transaction."""
_STATES: Final = ("waiting", "all")
_COLUMNS: Final = (
    "kind",
    "subject",
    "branch",
    "state",
    "asked_by",
    "asked_at",
    "expires_at",
    "released_by",
    "released_at",
    "done_at",
)


class _Refuse(Model):
    reason: Annotated[str, Field(max_length=200)] = ""


class ReleaseRoom:
    """Requests of every room that brings kinds of them."""

    def __init__(self, office: Office, kinds: Mapping[str, Kind]) -> None:
        self._office = office
        self._kinds = kinds
        self._tasks: set[asyncio.Task[Any]] = set()
        self.releases: Mapping[str, Kind] = {}
        self.collectors: Sequence[Collector] = ()
        self.routes: Sequence[Route] = (
            route(
                "/releases",
                self.list,
                right=Right.LOGGED_IN,
                query=PAGE | {"state": "waiting (the default) or all"},
            ),
            route("/releases/{id}", self.show, right=Right.LOGGED_IN),
            route("/releases/{id}/grant", self.grant, "POST", right=Right.LOGGED_IN),
            route(
                "/releases/{id}/refuse", self.refuse, "POST", right=Right.LOGGED_IN, body=_Refuse
            ),
            route("/releases/{id}/take-back", self.take_back, "POST", right=Right.LOGGED_IN),
            route("/releases/{id}/half", self.half, "POST", right=Right.LOGGED_IN),
        )

    async def start(self) -> None:
        """Go on with what was released, and let go what is late."""
        self._begin(self._resume())
        self._begin(self._sweep())

    async def stop(self) -> None:
        """End; what is not done is gone on with at the next start."""
        await tasks.ended(list(self._tasks))

    def missing(self) -> dict[str, str]:
        """Nothing keeps it from its work."""
        return {}

    def reload(self) -> None:
        """It has read no file."""

    # --- looking

    async def list(self, asked: Asked) -> Any:
        """List what waits: what you asked for, and what you may release; the newest first."""
        before, limit = asked.before()
        state = asked.query.get("state", "waiting")
        if state not in _STATES:
            raise invalid("state is waiting or all")

        def look(connection: Connection) -> list[dict[str, Any]]:
            person = _person(connection, asked)
            query = select(release).where(self._visible(person)).order_by(release.c.id.desc())
            if state == releases.WAITING:
                query = query.where(release.c.state == state)
            if before is not None:
                query = query.where(release.c.id < before)
            return [self._told(row, person) for row in connection.execute(query.limit(limit))]

        found = await reading(self._office.records, look)
        return {"items": found, "next": str(found[-1]["id"]) if len(found) == limit else None}

    async def show(self, asked: Asked) -> Any:
        """Show one, and, while it waits, what exactly is asked for; numbers are masked."""
        wanted, vault = asked.id(), self._office.vault

        def look(connection: Connection) -> dict[str, Any]:
            person = _person(connection, asked)
            row = releases.find(connection, wanted)
            branches = self._office.branches
            if row is None or not releases.may_see(row, person, self._kinds, branches):
                raise not_found(f"release {wanted}")
            shown = self._told(row, person)
            kind = self._kinds.get(row.kind)
            if row.state == releases.WAITING and kind is not None:
                shown["asks"] = dict(kind.told(connection, releases.opened(vault, row)))
            return shown

        shown = await reading(self._office.records, look)
        await self._office.writer.write(
            lambda into: into.enter(
                "release shown",
                asked.by,
                object=f"release:{wanted}",
                detail={"kind": shown["kind"], "subject": shown["subject"]},
            )
        )
        return shown

    def _visible(self, person: Hand) -> ColumnElement[bool]:
        if person.may(Right.READ_LEDGER):
            return release.c.id > 0
        theirs = [name for name, kind in self._kinds.items() if person.may(kind.grant)]
        within = self._office.branches.within(person.branch)
        may: ColumnElement[bool] = release.c.kind.in_(theirs)
        if within is not None:
            may = and_(may, release.c.branch.in_(within))
        return or_(release.c.asked_by == person.id, may)

    def _told(self, row: Row[Any], person: Hand) -> dict[str, Any]:
        half = row.half_enc is not None and row.asked_by == person.id
        said = {"id": row.id} | {name: getattr(row, name) for name in _COLUMNS}
        return said | {"yours": row.asked_by == person.id, "half": half}

    # --- the steps

    async def grant(self, asked: Asked) -> Any:
        """Release what another person asked for, so that it is done."""
        wanted, office = asked.id(), self._office
        released, said = await asked.write(
            lambda into: releases.grant(
                into,
                office.vault,
                self._kinds,
                office.branches,
                wanted,
                by=asked.by,
                person=asked.known.staff,
            )
        )
        kind = self._kinds[released.kind]
        if kind.work is not None:
            task = self._begin(self._do(released))
            await asyncio.wait({task}, timeout=ANSWER_S)
            if task.done() and not task.cancelled():
                said |= {"state": releases.DONE, **task.result()}
        if kind.after is not None:
            said |= await kind.after()
        return said

    async def refuse(self, asked: Asked) -> Any:
        """Let it not be done."""
        wanted, office = asked.id(), self._office
        reason = office.masked(asked.body(_Refuse).reason)
        return await asked.write(
            lambda into: releases.refuse(
                into,
                self._kinds,
                office.branches,
                wanted,
                by=asked.by,
                person=asked.known.staff,
                reason=reason,
            )
        )

    async def take_back(self, asked: Asked) -> Any:
        """Ask for it no more."""
        wanted, by, person = asked.id(), asked.by, asked.known.staff
        return await asked.write(
            lambda into: releases.take_back(into, wanted, by=by, person=person)
        )

    async def half(self, asked: Asked) -> Any:
        """Fetch your half of the code that the release made: it is given out once."""
        vault, wanted = self._office.vault, asked.id()
        return await asked.write(
            lambda into: releases.fetch_half(
                into, vault, wanted, by=asked.by, person=asked.known.staff
            )
        )

    # --- what runs

    def _begin(self, work: Any) -> "asyncio.Task[Any]":
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _do(self, released: Released) -> dict[str, Any]:
        """Work until it is done, however often the records are away meanwhile."""
        work = self._kinds[released.kind].work
        assert work is not None  # noqa: S101 - said by whoever begins it
        while True:
            try:
                counts = dict(await work(released))
                entered = {name: each for name, each in counts.items() if isinstance(each, int)}
                await self._office.writer.write(partial(_finish, released, entered))
            except (RecordsAway, RecordsError) as error:
                log.get().warning("release_put_off", release=released.id, error=str(error))
                await asyncio.sleep(RETRY_S)
            except Exception as error:  # whatever it is, what was released has to be done
                log.get().error("unhandled", where="releases", exc_info=error)
                await asyncio.sleep(RETRY_S)
            else:
                return counts

    async def _resume(self) -> None:
        """Go on with each; one that cannot be opened keeps no other from its end."""
        for row in await self._until(releases.unfinished):
            kind = self._kinds.get(row.kind)
            if kind is None or kind.work is None:
                continue
            try:
                released = releases.resumed(self._office.vault, row, kind)
            except (Problem, SealError) as error:
                log.get().error("release_put_off", release=row.id, error=str(error))
            else:
                self._begin(self._do(released))

    async def _until(self, look: Callable[[Connection], T]) -> T:
        while True:
            try:
                return await reading(self._office.records, look)
            except (RecordsAway, RecordsError) as error:
                log.get().warning("release_put_off", release=0, error=str(error))
                await asyncio.sleep(RETRY_S)

    async def _sweep(self) -> None:
        while True:
            try:
                await self._office.writer.write(releases.expire)
            except (RecordsAway, RecordsError) as error:
                log.get().warning("release_put_off", release=0, error=str(error))
            await asyncio.sleep(SWEEP_S)


def _finish(released: Released, counts: Mapping[str, Any], transaction: Transaction) -> None:
    releases.finish(transaction, released, counts)


def _person(connection: Connection, asked: Asked) -> Hand:
    """Return who asks, as the records have them. Raises Problem."""
    found = None if asked.known.staff is None else hand(connection, asked.known.staff)
    if found is None:
        raise Problem(HTTPStatus.FORBIDDEN, "releases are for people of the staff")
    return found
