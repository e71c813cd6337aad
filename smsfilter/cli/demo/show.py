"""The course of `smsfilter demo`: senders send, a customer reports, the counts are compared.

Lasts as long as asked for, and longer on a machine too busy to put every promise to the test in
that time. The block is written as an operator writes it, by one SADD; what is sent after Redis
has confirmed it counts as sent after it. The figures at the end are taken once every sender has
had its last answer.
"""

import asyncio
import contextlib
import json
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console

from smsfilter.cli.demo import senders
from smsfilter.cli.demo.senders import ACCUSED, COMPANIES, REPORTER, ROADS
from smsfilter.cli.demo.simulator import HOST
from smsfilter.cli.demo.site import DemoError
from smsfilter.cli.demo.summary import Count, Line, Summary, summarise
from smsfilter.cli.demo.view import PLAIN_WIDTH, Frame, LiveView, PlainView, ending, picture, table
from smsfilter.rules.numbers import mask
from smsfilter.rules.verdict import Reason
from smsfilter.store import keys

if TYPE_CHECKING:
    from smsfilter.cli.demo.site import Site

REPORT_AT: Final = 0.4
"""The part of the time after which the customer reports."""
REFRESH_S: Final = 0.125
PATIENCE_S: Final = 15.0
"""How much longer a busy machine may take to send enough, before the report and after it."""
ENOUGH: Final = 3
"""Messages on each line, before the report and after it."""
LAST_WORDS_S: Final = 1.0
"""How long to wait for a proxy that went away to say why."""


async def show(site: "Site", seconds: float, *, as_json: bool) -> int:
    """Run the demo on `site`; 0 when every promise was kept."""
    if sys.stdout.encoding.lower() != "utf-8" and hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # a header of the demo is not ASCII
    console = Console()
    in_place = sys.stdout.isatty() and console.is_terminal and not console.is_dumb_terminal
    if not in_place:
        console = Console(width=PLAIN_WIDTH, force_terminal=False)
    view = None if as_json else LiveView(console) if in_place else PlainView(console)
    course = Course(site, seconds, view)
    summary = await course.run()
    if as_json:
        print(json.dumps(summary.as_json(), indent=2, ensure_ascii=False))
    else:
        last = course.frame()
        console.print(picture(last, console.width) if in_place else table(last, console.width))
        console.print(ending(summary, course.witness))
    return 0 if summary.held else 1


class Course:
    """One run of the demo."""

    def __init__(self, site: "Site", seconds: float, view: LiveView | PlainView | None) -> None:
        self.witness = ""
        """What the proxy's log says of one message that came by a side road."""
        self._site = site
        self._view = view
        self._tally = senders.Tally()
        self._reasons: dict[tuple[str, int], str] = {}
        self._block, self._halt = threading.Event(), threading.Event()
        self._senders = [senders.Sender(road, site.port, self._block, self._halt) for road in ROADS]
        self._began = time.monotonic()
        self._report, self._end = seconds * REPORT_AT, seconds
        site.arrived, site.refused = self._tally.add, self._refused

    async def run(self) -> Summary:
        """Go through it, and return what was counted."""
        try:
            for sender in self._senders:
                sender.start()
            for sender in self._senders:
                await asyncio.wrap_future(sender.bound)
            self._began = time.monotonic()
            await self._until(self._report, lambda line: line.before)
            await self._site.block(ACCUSED, REPORTER)
            self._block.set()
            self._report = self._now()
            await self._until(max(self._end, self._report), lambda line: line.after)
        finally:
            self._halt.set()
            ends = [asyncio.to_thread(sender.join, senders.ANSWER_S) for sender in self._senders]
            await asyncio.gather(*ends)
            if self._view is not None:
                self._view.close()
        await self._check()
        return summarise(self._lines(), self._tally.strays)

    async def _until(self, due: float, count: Callable[[Line], Count]) -> None:
        """Let them send until `due`, and until each line has sent enough by `count`."""
        while True:
            await self._check()
            if self._view is not None:
                self._view.show(self.frame())
            enough = all(count(line).sent >= ENOUGH for line in self._lines())
            if self._now() >= due + (0 if enough else PATIENCE_S):
                return
            await asyncio.sleep(REFRESH_S)

    async def _check(self) -> None:
        """Nobody may have dropped out."""
        failed = next((sender.failed for sender in self._senders if sender.failed), "")
        if failed:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORDS_S):
                    await self._site.proxy_ends()
        if self._site.failed or failed:
            raise DemoError(self._site.failed or failed)

    def _refused(self, event: dict[str, Any]) -> None:
        """Take a line of the proxy's log."""
        account, reason = event["account"], event["reason"]
        self._reasons[account, int(event["status"], 16)] = reason
        if not self.witness and reason == Reason.BLOCKED_BY_REPORT and account not in COMPANIES:
            fields = ("event", "account", "company", "reason", "status")
            self.witness = " ".join(f"{name}={event[name]}" for name in fields)

    def _now(self) -> float:
        return time.monotonic() - self._began

    def _lines(self) -> list[Line]:
        return senders.lines(self._senders, self._tally)

    def frame(self) -> Frame:
        """Take a picture of this moment."""
        key = keys.block("", REPORTER.replace(REPORTER[2:], mask(REPORTER)))
        return Frame(
            f"{HOST}:{self._site.port}",
            f"{HOST}:{self._site.smsc.port}",
            COMPANIES[ACCUSED]["name"],
            mask(REPORTER),
            f"SADD {key} {ACCUSED}",
            min(self._now(), self._end),
            self._report,
            self._end,
            self._block.is_set(),
            self._lines(),
            self._reasons,
        )
