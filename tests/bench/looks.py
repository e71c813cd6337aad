"""How long clerks wait for a look: `python -m tests.bench --desk`.

A real desk on its TCP door. 200 clerks look at a case each second, on connections of their own;
each look is a committed row of the ledger. Meanwhile customers send 1,000 reports a minute. Looks
are asked for when their time has come, answered or not, and a late one counts from then on: a desk
that stalls does not look faster for it. Once more with 5 ms added to each commit.
"""

import asyncio
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sqlalchemy import func, select

from smsfilter.store.schema import ledger
from tests.fakes.archive import fill
from tests.fakes.desk import Desk
from tests.fakes.people import bearer, hired
from tests.fakes.redis_server import RedisServer
from tests.fakes.report_load import Load, registry
from tests.fakes.site import Site
from tests.fakes.smsc import FakeSMSC

CLERKS: Final = 200
"""Each looks once a second."""
REPORTS_PER_MINUTE: Final = 1_000
WANTED_S: Final = 0.200
SLOW_MS: Final = 5
ARCHIVE: Final = 100_000
PATH: Final = "/v1/cases/{id}"
ACTION: Final = "case shown"

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Looks:
    """What clerks saw of one run."""

    added_ms: int
    times: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    entered: int = 0
    reports: int = 0
    backlog: int = 0
    """Reports without ESME_ROK when the last one was sent."""
    cpu: float = 0.0
    """Of the desk, in cores."""

    def at(self, part: float) -> float:
        """The time within which such a part of them was answered, in seconds."""
        times = sorted(self.times)
        return times[int(part * (len(times) - 1))]

    @property
    def faults(self) -> list[str]:
        """What was not as it has to be."""
        asked = len(self.times)
        found = [
            f"{n} looks answered {status}" for status, n in self.statuses.items() if status != 200
        ]
        if self.entered != asked:
            found.append(f"{asked} looks, {self.entered} rows in the ledger")
        return found


async def measure(seconds: float, archive: int = ARCHIVE) -> list[Looks]:
    """Both runs, each on a desk of its own."""
    return [await _run(added, seconds, archive) for added in (0, SLOW_MS)]


async def _run(added_ms: int, seconds: float, archive: int) -> Looks:
    server = RedisServer.started()
    smsc = await FakeSMSC.start()
    try:
        with tempfile.TemporaryDirectory(prefix="smsfilter-bench-") as folder:
            site = Site(Path(folder), server, smsc, registry=None, index_ready=False)
            desk = Desk(site, over={"desk": {"listen": "127.0.0.1:0"}})
            if added_ms:
                desk.wrapper = (sys.executable, "-m", "tests.fakes.slow_disk")
                desk.env["SLOW_DISK_MS"] = str(added_ms)
            try:
                return await looked(desk, Looks(added_ms), seconds, archive)
            finally:
                await desk.close()
                await site.close()
    finally:
        await smsc.stop()
        server.close()


async def looked(desk: Desk, looks: Looks, seconds: float, archive: int) -> Looks:
    """Have a desk that was not started looked at for so long."""
    state = desk.site.directory / "state"
    await desk.init()
    await desk.load_companies(registry())
    await asyncio.to_thread(fill, state / "records.db", state, archive, time.time_ns() // 1000)
    names = [f"clerk.{n}" for n in range(CLERKS)]
    for name in names:
        await asyncio.to_thread(hired, f"sqlite:///{state}/records.db", name, ("clerk",))
    await desk.start()
    until = time.monotonic() + 120
    while "index" in (await desk.get("/readyz")).body:  # a new Redis: all blocks are put first
        assert time.monotonic() < until, desk.story()
        await asyncio.sleep(0.2)
    before = await _entered(desk)
    connect = _door(desk)
    clerks = [_Clerk(name, connect, looks, archive) for name in names]
    for each in clerks:
        await each.look(n=1, due=time.monotonic())  # its connection, and the desk's caches
    looks.times.clear()
    looks.statuses.clear()
    before = await _entered(desk)
    load = Load(desk.handsets, per_second=REPORTS_PER_MINUTE / 60)
    cpu, began = desk.cpu_s(), time.monotonic()
    sending = asyncio.create_task(load.run(seconds))
    starts = [began + n / CLERKS for n in range(CLERKS)]
    await asyncio.gather(*(each.work(at, seconds) for each, at in zip(clerks, starts, strict=True)))
    looks.cpu = (desk.cpu_s() - cpu) / (time.monotonic() - began)
    await sending
    for each in clerks:
        each.close()
    looks.entered = await _entered(desk) - before
    looks.reports, looks.backlog = len(load.sent), load.backlog
    return looks


class _Clerk:
    """Looks at one case a second, on one connection."""

    def __init__(
        self, name: str, connect: Callable[[], Awaitable[Streams]], looks: Looks, cases: int
    ) -> None:
        self._head = f"Host: desk\r\nAuthorization: {bearer(name)['Authorization']}\r\n\r\n"
        self._connect = connect
        self._looks = looks
        self._cases = cases
        self._streams: Streams | None = None
        self._seed = hash(name)

    async def work(self, start: float, seconds: float) -> None:
        """Look for so long."""
        for n in range(int(seconds)):
            due = start + n
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            await self.look((self._seed + n * 7919) % self._cases + 1, due)

    async def look(self, n: int, due: float) -> None:
        """Look at one case, and note what became of it."""
        if self._streams is None or self._streams[0].at_eof():  # it was idle for too long
            self.close()
            self._streams = await self._connect()
        reader, writer = self._streams
        writer.write(f"GET {PATH.format(id=n)} HTTP/1.1\r\n{self._head}".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        (length,) = (
            int(line.split(b":")[1])
            for line in head.lower().split(b"\r\n")
            if line.startswith(b"content-length")
        )
        await reader.readexactly(length)
        self._looks.times.append(time.monotonic() - due)
        self._looks.statuses[int(head.split()[1])] += 1

    def close(self) -> None:
        """Hang up."""
        if self._streams is not None:
            self._streams[1].close()


def _door(desk: Desk) -> Callable[[], Awaitable[Streams]]:
    """How to come in: by the TCP door that the desk's log names."""
    path, *addresses = desk.logged("listening")[-1]["listen"]
    if not addresses:
        return lambda: asyncio.open_unix_connection(path)
    host, _, port = addresses[0].rpartition(":")
    return lambda: asyncio.open_connection(host, int(port))


async def _entered(desk: Desk) -> int:
    query = select(func.count()).select_from(ledger).where(ledger.c.action == ACTION)
    return await desk.look(lambda connection: connection.scalar(query) or 0)


def table(runs: Sequence[Looks]) -> str:
    """The figures, as Markdown."""
    lines = [
        f"| {CLERKS} looks a second | p50 ms | p99 ms | most ms | reports meanwhile | cores "
        "| to be reached |",
        "|---|---:|---:|---:|---:|---:|---|",
    ]
    for each in runs:
        disk = f"{each.added_ms} ms more a commit" if each.added_ms else "as the disk is"
        figures = " | ".join(f"{each.at(part) * 1000:.0f}" for part in (0.5, 0.99, 1.0))
        lines.append(
            f"| {disk} | {figures} | {each.reports}, {each.backlog} behind | {each.cpu:.2f} "
            f"| p99 {WANTED_S * 1000:.0f} |"
        )
    return "\n".join(lines)
