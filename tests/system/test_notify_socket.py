"""What the service manager hears of the real daemon, on a socket like its own (sd_notify(3))."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MakeDesk, MakeSite
from tests.fakes.changes import TIMEOUT_S

pytestmark = [pytest.mark.system, pytest.mark.redis]


class Manager:
    """The end of NOTIFY_SOCKET that systemd holds."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(str(path))

    def env(self, **more: str) -> dict[str, str]:
        return {"NOTIFY_SOCKET": str(self.path), **more}

    async def falls_silent(self, name: str, after_s: float) -> None:
        """Wait until this has not been said for so long."""
        with contextlib.suppress(TimeoutError):
            while True:
                await self.hears(name, after_s)

    async def hears(self, name: str, timeout_s: float = TIMEOUT_S) -> dict[str, str]:
        """Wait for the next message that has this assignment; all of its assignments."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(timeout_s):
            while True:
                message = (await loop.sock_recv(self._socket, 4096)).decode()
                said = dict(line.split("=", 1) for line in message.splitlines())
                if name in said:
                    return said

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path / "notify")
    yield manager
    manager.close()


async def test_it_says_when_it_is_ready_reloads_and_stops(
    make_site: MakeSite, manager: Manager
) -> None:
    site = await make_site(env=manager.env())
    ready = await manager.hears("READY")
    assert ready["READY"] == "1"
    assert str(site.port) in ready["STATUS"]

    await site.reload({"mode": "shadow"})
    assert "MONOTONIC_USEC" in await manager.hears("RELOADING")
    assert (await manager.hears("READY"))["READY"] == "1"

    site.policy_path.write_text("mode: maybe\n")
    assert (await site.reload())["event"] == "config_rejected"
    await manager.hears("RELOADING")
    await manager.hears("READY")  # it goes on with the old one

    site.signal(signal.SIGTERM)
    await manager.hears("STOPPING")
    assert await site.wait_exit() == 0


async def test_the_desk_says_so_too(make_desk: MakeDesk, manager: Manager) -> None:
    desk = await make_desk(started=False)
    desk.env |= manager.env(WATCHDOG_USEC="30000000")
    await desk.start()
    await manager.hears("READY")
    await manager.hears("WATCHDOG")
    desk.signal(signal.SIGHUP)
    assert "MONOTONIC_USEC" in await manager.hears("RELOADING")
    await manager.hears("READY")
    desk.signal(signal.SIGTERM)
    await manager.hears("STOPPING")
    assert await desk.wait_exit() == 0


async def test_it_feeds_the_watchdog_only_while_its_loop_turns(
    make_site: MakeSite, manager: Manager
) -> None:
    watched: dict[str, Any] = {"WATCHDOG_USEC": "2000000"}
    site = await make_site(env=manager.env(**watched))
    for _ in range(3):
        assert (await manager.hears("WATCHDOG"))["WATCHDOG"] == "1"
    os.kill(site.pid, signal.SIGSTOP)
    try:
        async with asyncio.timeout(6):
            await manager.falls_silent("WATCHDOG", 2.5)
    finally:
        os.kill(site.pid, signal.SIGCONT)
    await manager.hears("WATCHDOG")
