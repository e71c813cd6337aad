"""Reports in a steady stream, as the customers of 500 companies send them, and what became of them.

Every reporter sends one report, so that afterwards each has one row and one answer, whatever was
doubled, put off or cut in parts on the way.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from smsfilter.smpp.const import ESME_ROK, ESME_RX_R_APPN
from tests.fakes.desk import Desk
from tests.fakes.handset import GBK, UCS_2, Delivery, Handsets

COMPANIES = 500
PER_SECOND = 5_000 / 60
TICK_S = 0.1
MULTIPART, DOUBLED, UNMATCHED = 0.20, 0.05, 0.10


def registry() -> dict[str, Any]:
    """500 companies with a source each."""
    return {
        "companies": {
            f"company{n}": {"accounts": [f"acc{n}"], "sources": [source_of(n)]}
            for n in range(COMPANIES)
        }
    }


def source_of(company: int) -> str:
    """The source of a company."""
    return f"1065{company:04d}"


@dataclass
class Sent:
    """One report on its way."""

    number: str
    company: int | None
    """None: of nobody who is known."""
    deliveries: list[Delivery]
    took_s: float | None = None
    """From the first part to ESME_ROK for the last, the double included."""


@dataclass
class Load:
    """A stream of reports. The same seed gives the same reports."""

    handsets: Handsets
    seed: int = 5
    per_second: float = PER_SECOND
    sent: list[Sent] = field(default_factory=list)
    backlog: int = 0
    """Reports without ESME_ROK when the last one was sent."""

    async def run(self, seconds: float) -> None:
        """Send for so long, then wait until all are accepted."""
        loop, chance = asyncio.get_running_loop(), random.Random(self.seed)
        tasks: list[asyncio.Task[None]] = []
        began = loop.time()
        while (elapsed := loop.time() - began) < seconds:
            while len(self.sent) < (elapsed + TICK_S) * self.per_second:
                tasks.append(asyncio.create_task(self._report(chance)))
                await asyncio.sleep(0)
            await asyncio.sleep(TICK_S - (loop.time() - began) % TICK_S)
        self.backlog = sum(not task.done() for task in tasks)
        await asyncio.gather(*tasks)

    async def _report(self, chance: random.Random) -> None:
        n = len(self.sent)
        number = f"86139{n:08d}"
        company = None if chance.random() < UNMATCHED else chance.randrange(COMPANIES)
        source = "10691111" if company is None else source_of(company)
        text = source if company is None else f"{source}*恭喜您获得大奖第{n}名"
        if company is not None and chance.random() < MULTIPART:
            text += "请速回复领取" * chance.randrange(12, 30)
        handset = self.handsets[number]
        began = time.monotonic()
        sent = Sent(number, company, handset.send(text, chance.choice((UCS_2, GBK))))
        self.sent.append(sent)
        if chance.random() < DOUBLED:
            sent.deliveries += [
                self.handsets.deliver(number, each.part, each.data_coding)
                for each in tuple(sent.deliveries)
            ]
        for delivery in sent.deliveries:
            await delivery.done(120.0)
        sent.took_s = time.monotonic() - began

    @property
    def times(self) -> Sequence[float]:
        """How long each took, the shortest first."""
        return sorted(each.took_s for each in self.sent if each.took_s is not None)

    def told(self) -> str:
        """The figures in a line."""
        times = self.times
        shown = [f"{name} {times[int(at * (len(times) - 1))] * 1000:.0f} ms" for name, at in _SHOWN]
        return f"{len(self.sent)} reports; ESME_ROK {', '.join(shown)}; backlog {self.backlog}"


_SHOWN = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("most", 1.0))


async def in_force_times(desk: Desk, samples: int) -> list[float]:
    """Seconds from a deliver_sm to the first refusal at the proxy, the shortest first."""
    esme = await desk.site.esme("acc1")
    times = []
    for n in range(samples):
        number = f"86136{n:08d}"
        assert (await esme.submit(source_of(1), number)).command_status == ESME_ROK
        began = time.monotonic()
        desk.handsets[number].send(f"{source_of(1)}*贷款")
        while (await esme.submit(source_of(1), number)).command_status != ESME_RX_R_APPN:
            assert time.monotonic() - began < 5, "not in force within 5 s"
        times.append(time.monotonic() - began)
    return sorted(times)
