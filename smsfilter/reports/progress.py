"""The messages that are being taken: each by a task, up to a limit, of all connections together.

A task outlives its connection: a report that is under way becomes durable, though its answer
cannot be sent any more and the SMSC brings it again. So those of a broken connection take room.
"""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Final

from smsfilter import log, tasks
from smsfilter.deskmetrics import CentreMetrics, Outcome
from smsfilter.reports.failures import Failures
from smsfilter.reports.sms import TEMPORARY, Delivered
from smsfilter.smpp.const import ESME_ROK, ESME_RX_T_APPN

COUNT_MOST: Final = 256
"""Messages: they are committed in groups, and hardly an SMSC has a larger window."""
OCTETS_MOST: Final = 4 << 20

Take = Callable[[Delivered], Awaitable[int]]
"""Takes a message, and gives the command_status to answer with."""


class InProgress:
    """Messages between their coming and their answer."""

    def __init__(self, take: Take, metrics: CentreMetrics) -> None:
        self._take = take
        self._metrics = metrics
        self._tasks: set[asyncio.Task[None]] = set()
        self._octets = 0
        self.count = 0
        self._failures = Failures()

    def admit(self, message: Delivered) -> bool:
        """Let a message in, to be started next; False where there is no room for it."""
        weight = _weight(message)
        if self.count >= COUNT_MOST or self._octets + weight > OCTETS_MOST:
            return False
        self.count += 1
        self._octets += weight
        return True

    def start(self, message: Delivered, answer: Callable[[Delivered, int], bool]) -> None:
        """Take a message that was let in; `answer` says whether it could be answered."""
        task = asyncio.get_running_loop().create_task(self._taken(message, answer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finish(self, within_s: float) -> None:
        """Wait for those under way."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=within_s)

    async def cancel(self) -> None:
        """Break off those under way."""
        await tasks.ended(self._tasks)

    async def _taken(self, message: Delivered, answer: Callable[[Delivered, int], bool]) -> None:
        began = monotonic()
        try:
            status = await self._take(message)
            outcome = _outcome(status)
        except Exception as error:
            status, outcome = ESME_RX_T_APPN, Outcome.FAILED
            if said := self._failures.said(error):
                log.get().error("centre_failed", **said)
        finally:
            self.count -= 1
            self._octets -= _weight(message)
        if not answer(message, status):
            outcome = Outcome.UNSENT
        self._metrics.deliveries[outcome] += 1
        self._metrics.answer_seconds.observe(monotonic() - began)


def _weight(message: Delivered) -> int:
    return len(message.octets) + sum(map(len, message.tlvs.values()))


def _outcome(status: int) -> Outcome:
    if status == ESME_ROK:
        return Outcome.TAKEN
    return Outcome.TEMPORARY if status in TEMPORARY else Outcome.REFUSED
