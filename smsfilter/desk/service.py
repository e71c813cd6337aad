"""The desk as a whole: its parts put together, its start, its every second, its stop.

What customers send is a room of its own, and what staff will do others: each is given the office
and the index, and brings tasks to run, routes to answer, counters to show.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from prometheus_client.registry import Collector
from starlette.routing import Route

from smsfilter import log, tasks
from smsfilter.admin import Admin
from smsfilter.config import ConfigError, Loaded
from smsfilter.desk import promotion
from smsfilter.desk.api import app
from smsfilter.desk.door import Door, StaffDoor
from smsfilter.desk.entrance import Entrance
from smsfilter.desk.indexing import IndexTaken
from smsfilter.desk.office import Office, check
from smsfilter.desk.projection import Projection
from smsfilter.desk.release_room import ReleaseRoom
from smsfilter.desk.releases import Kind
from smsfilter.desk.room import DeskRoom
from smsfilter.desk.settling import settle
from smsfilter.deskconfig import DeskConfig
from smsfilter.deskmetrics import DeskMetrics
from smsfilter.flow.clock import JUMP_US
from smsfilter.ledger.actor import system
from smsfilter.notify import Notify
from smsfilter.store.connect import Unreachable, parse_url
from smsfilter.store.embedded import EmbeddedError, EmbeddedServer
from smsfilter.store.keyfiles import KeyFileError
from smsfilter.store.records import RecordsAway, RecordsError
from smsfilter.store.seal import SealError
from smsfilter.store.transaction import Transaction
from smsfilter.tls import FileError

TICK_S: Final = 1.0
CHECKPOINT_S: Final = 60.0
PROMOTE_S: Final = 60.0
"""How often it is looked whether a source has got a company, beside after each change."""
JUMP_S: Final = JUMP_US / 1e6
"""How far the wall clock may run from the monotonic one before it is noted."""
STUCK_S: Final = 10.0
"""Age of the last tick at which /livez says that the desk hangs."""
_BY: Final = system("clock")


class Room(Protocol):
    """A part of the desk that runs in it."""

    routes: Sequence[Route]
    collectors: Sequence[Collector]
    releases: Mapping[str, Kind]
    """What two people do here, by its name."""

    async def start(self) -> None:
        """Begin."""

    async def stop(self) -> None:
        """End what is under way, then return."""

    def missing(self) -> dict[str, str]:
        """What keeps it from its work, each with its cure; empty where nothing does."""

    def reload(self) -> None:
        """Take over the files that may change while it runs. Raises ConfigError."""


class Staff(Room, Entrance, Protocol):
    """The room that knows who comes in."""


class StartError(Exception):
    """The desk cannot start, for a reason that fits on a line."""


class Service:
    """One desk, from start to stop."""

    def __init__(
        self,
        loaded: Loaded,
        staff: Callable[[Office, Projection], Staff],
        rooms: Sequence[Callable[[Office, Projection], Room]],
        notify: Notify,
    ) -> None:
        self._loaded = loaded
        self._make_staff = staff
        self._make_rooms = (DeskRoom, *rooms)
        self._notify = notify
        self._rooms: list[Room] = []
        self._doors: list[StaffDoor] = []
        self._stack = contextlib.AsyncExitStack()
        self._beat = time.monotonic()
        self._projection: Projection | None = None
        self._office: Office | None = None
        self.metrics = DeskMetrics()

    async def start(self) -> None:
        """Come up. Raises StartError."""
        desk = self._loaded.config.desk
        if desk is None:
            raise StartError("the configuration has no section `desk`")
        try:
            await self._start(desk)
        except (
            ConfigError,
            KeyFileError,
            RecordsError,
            RecordsAway,
            EmbeddedError,
            Unreachable,
            IndexTaken,
            SealError,
            FileError,
            OSError,
        ) as error:
            raise StartError(str(error)) from error

    async def stop(self) -> None:
        """End every part, the last that came up first."""
        await self._stack.aclose()

    def heartbeat(self) -> float:
        """When the loop last came round, by the monotonic clock."""
        return self._beat

    async def reload(self) -> None:
        """SIGHUP: texts of replies and certificates anew; all else only by a restart."""
        self._notify.reloading()
        try:
            for room in self._rooms:
                await asyncio.to_thread(room.reload)
            for door in self._doors:
                await asyncio.to_thread(door.renew)
        except (ConfigError, FileError) as error:
            log.get().error("config_rejected", errors=str(error).splitlines())
        else:
            log.get().info("config_reloaded", program="desk")
        self._notify.ready()

    async def _start(self, desk: DeskConfig) -> None:
        config, stack = self._loaded.config, self._stack
        office = self._office = Office.of(self._loaded)
        stack.callback(office.records.close)
        await asyncio.to_thread(check, office.records, office.keys)
        await asyncio.to_thread(office.writer.start)
        stack.push_async_callback(self._close_ledger, office)
        address = parse_url(config.redis.url, config.state_dir, config.redis.password())
        if address.state_dir is not None:
            await stack.enter_async_context(EmbeddedServer(address.state_dir))
        await settle(office, address)
        projection = self._projection = Projection.of(office, address)
        stack.push_async_callback(projection.stop)
        await projection.start()
        staff = self._make_staff(office, projection)
        rooms = [staff, *(make(office, projection) for make in self._make_rooms)]
        kinds = {name: kind for room in rooms for name, kind in room.releases.items()}
        for room in (*rooms, ReleaseRoom(office, kinds)):
            self._rooms.append(room)
            stack.push_async_callback(room.stop)
            await room.start()
            self.metrics.add(room.collectors)
        self._listen(desk, office, staff)
        for work in (self._keep_alive(), self._tick(office), self._keep_promoting(office)):
            task = asyncio.create_task(work)
            stack.push_async_callback(tasks.ended, [task])
        log.get().info("ready")

    def _listen(self, desk: DeskConfig, office: Office, entrance: Entrance) -> None:
        routes = [route for room in self._rooms for route in room.routes]
        served = app(routes, entrance, office)
        door = Door(served, office.config.state_dir)
        self._doors += [StaffDoor(served, listen) for listen in desk.listen]
        every: tuple[Door | StaffDoor, ...] = (door, *self._doors)
        for each in every:
            each.open()
            self._stack.push_async_callback(each.close)
        where = None
        if desk.admin is not None:
            admin = Admin(desk.admin, self.metrics.render, self._readiness, self._liveness)
            try:
                admin.start()
            except OSError as error:
                why = f"cannot listen on {desk.admin}: {error.strerror}"
                raise OSError(error.errno, why) from None
            self._stack.callback(admin.stop)
            where = f"{desk.admin.host}:{admin.port}"
        doors = [str(door.path), *(each.address for each in self._doors)]
        log.get().info("listening", listen=doors, admin=where)

    async def _close_ledger(self, office: Office) -> None:
        """Sign the end of the ledger, then stop writing."""
        with contextlib.suppress(RecordsAway, RecordsError):
            await office.writer.write(Transaction.checkpoint)
        await asyncio.to_thread(office.writer.stop)

    # --- every second

    async def _keep_alive(self) -> None:
        """Beat, for whoever looks whether the loop hangs; it waits for nothing else."""
        while True:
            self._beat = time.monotonic()
            self._notify.watchdog()
            await asyncio.sleep(TICK_S)

    async def _tick(self, office: Office) -> None:
        signed = time.monotonic()
        ahead = office.clock() / 1e6 - time.monotonic()
        while True:
            now = time.monotonic()
            with contextlib.suppress(RecordsAway):
                if office.writer.unsigned and now - signed >= CHECKPOINT_S:
                    await office.writer.write(Transaction.checkpoint)
                    signed = now
                jumped = office.clock() / 1e6 - now - ahead
                if abs(jumped) > JUMP_S:
                    ahead += jumped
                    await self._note_jump(office, jumped)
            await asyncio.sleep(TICK_S)

    async def _note_jump(self, office: Office, seconds: float) -> None:
        log.get().warning("clock_jumped", seconds=round(seconds))
        detail = {"seconds": round(seconds)}
        await office.writer.write(
            lambda transaction: transaction.enter("clock jumped", _BY, detail=detail)
        )

    async def _keep_promoting(self, office: Office) -> None:
        """Have source blocks become company blocks wherever a company is known by now."""
        while True:
            try:
                done = await promotion.run(office)
            except (RecordsAway, RecordsError) as error:
                log.get().warning("promotion_put_off", error=str(error))
            else:
                if done.targets:
                    log.get().info("blocks_promoted", targets=done.targets, put=done.put)
            await asyncio.sleep(PROMOTE_S)

    # --- health

    def _readiness(self) -> tuple[bool, dict[str, Any]]:
        missing: dict[str, str] = {}
        if self._projection is not None and not self._projection.state.ready:
            missing["index"] = self._projection.state.error
        for room in self._rooms:
            missing |= room.missing()
        return not missing, {"missing": missing}

    def _liveness(self) -> tuple[bool, dict[str, Any]]:
        age = time.monotonic() - self._beat
        return age < STUCK_S, {"loop_age_s": round(age, 1)}
