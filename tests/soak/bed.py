"""The daemon with a wire that can be broken on each side, and steady traffic through it."""

import asyncio
import contextlib
import json
import random
from pathlib import Path
from time import monotonic
from typing import Self

from smsfilter.smpp.const import DELIVER_SM
from tests.fakes.calm import BLOCKED
from tests.fakes.chaos import ChaosProxy
from tests.fakes.esme import FakeESME
from tests.fakes.history import Block, Broken, History, broken, slowest_s
from tests.fakes.redis_server import RedisServer
from tests.fakes.signs import WITHIN_S as SEEN_WITHIN_S
from tests.fakes.signs import Fault, Uses, unseen
from tests.fakes.site import Site
from tests.fakes.smsc import FakeSMSC
from tests.soak.load import Sender

RATE = 2000
"""Messages a second: what two cores carry beside both ends, which are in Python as well."""
ACCOUNTS = (("acme", "10657555"),) * 6 + (("bravo", "10658888"),) * 2
SMSC_REFUSES = 0x401
"""What the SMSC says to some messages; the proxy has no such status."""
TIMEOUTS = {"bind": "3s", "connect": "1s", "partial": "2s", "unread": "2s", "response": "3s"}
WITHIN_S = 15.0
"""How soon all is well again: the longest time-out, and what a busy machine adds."""
ROUTINE = frozenset({"refused", "refused_summary", "session_bound", "session_closed"})


class Bed:
    """Everything that a soak needs; `start` and `stop` it."""

    def __init__(self, directory: Path, chance: random.Random) -> None:
        self.directory = directory
        self.chance = chance
        self.redis = RedisServer.started()
        self.senders: list[Sender] = []
        self.strangers: list[FakeESME] = []
        """Sessions that are no sender's, of this round."""
        self.blocked = [BLOCKED]
        """Customers who have blocked acme, and are written to all the same."""
        self.blocks = [Block(BLOCKED, "acme", 0.0)]
        self.rounds = 0
        self.slowest_s = 0.0
        self.story: list[str] = []
        """The log of the last round, without what is routine."""
        self._log_from = 0

    async def start(self) -> Self:
        """Start all parts; traffic is under way when this returns."""
        self.smsc = await FakeSMSC.start()
        self.smsc.receipts = True
        self.smsc.submit_status = lambda pdu: SMSC_REFUSES if pdu[15] % 16 == 7 else 0
        self.smsc_wire = await ChaosProxy.start(self.smsc.port)
        self.redis_wire = await ChaosProxy.start(self.redis.port)
        config = {
            "proxy": {"smsc": [f"127.0.0.1:{self.smsc_wire.port}"], "timeouts": TIMEOUTS},
            "redis": {"url": self.redis_wire.url, "deadline": "200ms"},
            "log": {"decisions": "refused"},
        }
        self.site = Site(self.directory / "site", self.redis, self.smsc, config=config)
        await self.refill()
        await self.site.start()
        self.esme_wire = await ChaosProxy.start(self.site.port)
        for number, (account, source) in enumerate(ACCOUNTS):
            port = (self.esme_wire if number % 2 else self.site).port
            rate = RATE / len(ACCOUNTS)
            chance = random.Random(self.chance.random())
            sender = Sender(port, account, source, rate, chance)
            sender.blocked = self.blocked
            self.senders.append(sender)
        self.go()
        await self.well()
        return self

    async def refill(self) -> None:
        """Empty the index and fill it, the epoch last."""
        self.redis.client().flushall()
        for number in self.blocked:
            self.site.block(number, "acme")
        await self.site.fill()

    def go(self) -> None:
        """Let traffic flow."""
        for sender in self.senders:
            sender.going.set()

    async def well(self) -> None:
        """Wait until every sender's messages pass again."""
        since = monotonic()
        async with asyncio.timeout(WITHIN_S):
            while not all(sender.ok_at > since for sender in self.senders):  # noqa: ASYNC110
                await asyncio.sleep(0.02)  # eight connections that may be others by now

    async def rest(self) -> None:
        """Stop the traffic, and wait for what is under way."""
        await asyncio.gather(*(sender.rest(WITHIN_S) for sender in self.senders))
        standing = {esme.sent[0] for esme in self.esmes if esme.ended is None and esme.sent}

        def gone() -> bool:
            connections = self.smsc.open_connections()
            return all(not one.received or one.received[0] in standing for one in connections)

        await self.smsc.changes.until(gone, "the end of the SMSC's side of what has ended", 10)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WITHIN_S):
                while not self._is_delivered():  # noqa: ASYNC110 - at eight ends
                    await asyncio.sleep(0.02)

    def _is_delivered(self) -> bool:
        """Whether the receipts have reached those who are there to take them."""
        said = {one.received[0]: one.said for one in self.smsc.connections if one.received}
        standing = [one for one in self.esmes if one.ended is None and not one.eof and one.sent]
        return all(
            len(esme.sent_by_peer(DELIVER_SM)) >= len(said.get(esme.sent[0], ()))
            for esme in standing
        )

    @property
    def esmes(self) -> list[FakeESME]:
        """All sessions of this round."""
        return [*self.strangers, *(esme for sender in self.senders for esme in sender.esmes)]

    async def seen(self, fault: Fault) -> None:
        """Wait until the log has told of the fault and of its end, as long as it may take."""
        log_from = self._log_from

        def told() -> bool:
            return not list(unseen([fault], self.site.log[log_from:]))

        with contextlib.suppress(TimeoutError):
            await self.site.changes.until(told, "the fault in the log", SEEN_WITHIN_S)

    def judge(self, fault: Fault) -> list[Broken]:
        """Which promises this round has broken; then forget it."""
        history = History.of(self.esmes, self.smsc.connections, self.blocks)
        history.statuses = frozenset({0, SMSC_REFUSES})
        log = self.site.log[self._log_from :]
        found = list(broken(history)) + list(unseen([fault], log))
        self.story = [json.dumps(line) for line in log if line["event"] not in ROUTINE]
        self.slowest_s = max(map(slowest_s, history.sessions), default=0.0)
        self._forget()
        return found

    def _forget(self) -> None:
        for sender in self.senders:
            sender.forget()
        self.strangers = [esme for esme in self.strangers if esme.ended is None]
        self.smsc.forget()
        now = monotonic()
        self.blocks = [block for block in self.blocks if block.until > now]
        self.site.assert_clean()
        self.site.log[:] = [line for line in self.site.log if line["event"] not in ROUTINE]
        self._log_from = len(self.site.log)

    async def uses(self) -> Uses:
        """What the daemon has in its hands, at rest."""
        return await Uses.of(self.site)

    async def stop(self) -> None:
        """End it all."""
        self.redis.resume()
        for sender in self.senders:
            await sender.stop()
        await self.site.close()
        for chaos in (self.esme_wire, self.smsc_wire, self.redis_wire):
            await chaos.stop()
        await self.smsc.stop()
        self.redis.close()
