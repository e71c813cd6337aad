"""A desk that only takes messages: the report centre's bind without what stands behind it."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from smsfilter.deskconfig import CentreTimeouts, ReportCentreConfig
from smsfilter.deskmetrics import CentreMetrics
from smsfilter.reports.bind import Centre
from smsfilter.reports.sms import Delivered
from smsfilter.smpp.const import ESME_ROK
from tests.fakes.changes import Changes

Take = Callable[[Delivered], Awaitable[int]]


class BareDesk:
    """A centre, and the desk behind it: takes what comes as the test says."""

    def __init__(self, config: ReportCentreConfig, take: Take | None = None) -> None:
        self.changes = Changes()
        self.metrics = CentreMetrics()
        self.taken: list[Delivered] = []
        self._take = take
        self.centre = Centre(config, self._deliver, self.metrics, self._pause)
        self.running: asyncio.Task[None] | None = None

    async def _deliver(self, message: Delivered) -> int:
        self.taken.append(message)
        self.changes.notify()
        return ESME_ROK if self._take is None else await self._take(message)

    def start(self) -> None:
        self.running = asyncio.create_task(self.centre.run())

    async def wait_taken(self, count: int) -> list[Delivered]:
        return await self.changes.until(
            lambda: self.taken if len(self.taken) >= count else [],
            lambda: f"{count} messages at the desk; it has {len(self.taken)}",
        )

    async def tried(self, count: int) -> None:
        """Wait until so many attempts to be bound have failed."""
        await self.changes.until(
            lambda: self.metrics.binds["unavailable"] >= count, f"{count} failed attempts"
        )

    def _pause(self, _least: float, _most: float) -> float:
        self.changes.notify()
        return 0.0

    async def close(self) -> None:
        if self.running is not None:
            await self.centre.stop()
            await self.running


def configured(port: int, password_file: Path | None = None, **options: Any) -> ReportCentreConfig:
    timeouts = {
        "connect": "2s",
        "bind": "2s",
        "enquire_link": "30s",
        "response": "30s",
        "drain": "1s",
        **options.pop("timeouts", {}),
    }
    return ReportCentreConfig(
        smsc=options.pop("smsc", (f"127.0.0.1:{port}",)),
        system_id="centre",
        password_file=password_file,
        timeouts=CentreTimeouts(**timeouts),
        **options,
    )
