"""Steady traffic that goes on whatever happens: paced, and back again after each end.

What a sender does is recorded by its ESMEs; nothing is asserted here.
"""

import asyncio
import itertools
import random
from time import monotonic

from tests.fakes import wire
from tests.fakes.calm import customer
from tests.fakes.esme import FakeESME
from tests.fakes.history import mark

TICK_S = 0.05
WINDOW = 400
"""Unanswered messages of one session at which it waits."""
AGAIN_S = 0.1
"""How long a sender waits before it connects anew."""

_marks = itertools.count(1)


class Sender:
    """One session after the other, as one account."""

    def __init__(
        self, port: int, account: str, source: str, rate: float, chance: random.Random
    ) -> None:
        self.port = port
        self.account = account
        self.source = source
        self.blocked: list[str] = []
        """Customers, some of whom are written to as well: the same list for all senders."""
        self.esmes: list[FakeESME] = []
        """Its connections since the last `forget`, the newest last."""
        self.ok_at = 0.0
        """When the SMSC last took a message, in monotonic seconds."""
        self.count = 0
        self.going = asyncio.Event()
        self._rate = rate
        self._chance = chance
        self._open: set[asyncio.Future[bytes]] = set()
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            await self.going.wait()
            try:
                esme = await FakeESME.connect(self.port)
                self.esmes.append(esme)
                await esme.bound("trx", self.account, **mark(next(_marks)))
                await self._send(esme)
            except (OSError, TimeoutError, AssertionError):
                if self.esmes and self.esmes[-1].ended is None:
                    await self.esmes[-1].close()
                await asyncio.sleep(AGAIN_S)

    async def _send(self, esme: FakeESME) -> None:
        due = 0.0
        while esme.ended is None and not esme.eof:
            await asyncio.sleep(TICK_S)
            await self.going.wait()
            due = min(due + self._rate * TICK_S, WINDOW)
            pdus = [self._message(esme) for _ in range(min(int(due), WINDOW - len(self._open)))]
            due -= len(pdus)
            for pdu in pdus:
                future = esme.expect(pdu)
                self._open.add(future)
                future.add_done_callback(self._answered)
            self.count += len(pdus)
            if not esme.transport.is_closing():
                esme.send_raw(b"".join(pdus))

    def _message(self, esme: FakeESME) -> bytes:
        to = customer()
        if self.blocked and self._chance.random() < 0.1:
            to = self._chance.choice(self.blocked)
        receipt = int(self._chance.random() < 0.05)
        return esme.submit_octets(self.source, to, b"x" * 60, registered_delivery=receipt)

    def _answered(self, future: asyncio.Future[bytes]) -> None:
        self._open.discard(future)
        if future.cancelled() or future.exception():
            return
        if not wire.header(future.result()).command_status:
            self.ok_at = monotonic()

    async def rest(self, within_s: float) -> None:
        """Send no more, and wait until all is answered or the sessions have ended."""
        self.going.clear()
        if self._open:
            await asyncio.wait(self._open, timeout=within_s)

    def forget(self) -> None:
        """Keep only the connection that stands."""
        self.esmes = [esme for esme in self.esmes if esme.ended is None]
        for esme in self.esmes:
            esme.forget()

    async def stop(self) -> None:
        """Close what stands."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        for esme in self.esmes:
            if esme.ended is None:
                await esme.close()
