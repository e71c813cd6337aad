"""The course of `smsfilter demo`: senders send, a customer reports one and takes it back.

Lasts as long as asked for, and longer on a machine too busy to put every promise to the test in
that time. The customer texts the short code, as customers do: what is sent after its answer to the
SMSC counts as sent after the report. The figures at the end are taken once every sender has had
its last answer; then the ledger of the desk is exported and verified.
"""

import asyncio
import contextlib
import json
import sys
import threading
import time
from collections.abc import Awaitable, Coroutine
from typing import TYPE_CHECKING, Any, Final, TypeVar

from rich.console import Console

from smsfilter.cli.demo import ledger, senders
from smsfilter.cli.demo.handset import Handset
from smsfilter.cli.demo.program import DemoError, Event
from smsfilter.cli.demo.senders import ACCUSED, COMPANIES, REPORTER, ROADS
from smsfilter.cli.demo.simulator import HOST, SHORT_CODE, Arrival, Brought
from smsfilter.cli.demo.summary import (
    Checked,
    Line,
    Phase,
    Reports,
    Summary,
    answered,
    proven,
    summarise,
)
from smsfilter.cli.demo.view import (
    PLAIN_WIDTH,
    Frame,
    LiveView,
    PlainView,
    ending,
    picture,
    table,
    told,
)
from smsfilter.rules.numbers import mask
from smsfilter.rules.verdict import Reason
from smsfilter.smpp.const import ESME_ROK, STATUS_NAMES

if TYPE_CHECKING:
    from smsfilter.cli.demo.site import Site

T = TypeVar("T")

REPORT_AT: Final = 0.4
"""The part of the time after which the customer reports."""
TAKE_BACK_AT: Final = 0.75
"""The part of the time after which the customer takes the report back."""
REFRESH_S: Final = 0.125
PATIENCE_S: Final = 15.0
"""How much longer a busy machine may take, for each phase and for each text to the short code."""
ENOUGH: Final = 3
"""Messages on each line, in each phase."""
LAST_WORDS_S: Final = 1.0
"""How long to wait for a program that went away to say why."""


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
        console.print(
            picture(last, console.width, len(last.story))
            if in_place
            else table(last, console.width)
        )
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
        self._handset = Handset(REPORTER, site.smsc)
        self._reasons: dict[tuple[str, int], str] = {}
        self._moment, self._halt = senders.Moment(), threading.Event()
        self._senders = [
            senders.Sender(road, site.port, self._moment, self._halt) for road in ROADS
        ]
        self._began = time.monotonic()
        self._report, self._end = seconds * REPORT_AT, seconds
        self._in_force_s = 0.0
        self._taken_at = 0.0
        self._decided: list[Event] = []
        self._proof = Checked(1, "not asked for")
        site.arrived, site.refused = self._arrived, self._refused
        site.decided = self._decided.append

    async def run(self) -> Summary:
        """Go through it, and return what was counted."""
        try:
            await self._send()
            await self._check()
            self._look()
            whole, edited = await ledger.check(self._site, ACCUSED.encode())
        finally:
            if self._view is not None:
                self._view.close()
        handset = self._handset
        reports = Reports(
            handset.texts,
            self._site.smsc.taken,
            handset.answers,
            self._in_force_s,
            len(self._decided),
            handset.results,
            handset.result_at - self._taken_at,
        )
        further = (*answered(reports), *proven(self._proof, whole, edited))
        return summarise(self._lines(), self._tally.strays, further)

    async def _send(self) -> None:
        """Have the senders send, and the customer text, until the end of the time."""
        try:
            for sender in self._senders:
                sender.start()
            for sender in self._senders:
                await asyncio.wrap_future(sender.bound)
            self._began = time.monotonic()
            await self._until(self._report, Phase.BEFORE)
            brought = await self._taken(self._handset.report(ROADS[0].source))
            self._in_force_s, self._taken_at = brought.seconds, time.monotonic()
            self._moment.phase = Phase.AFTER
            await self._site.begin_clerk()
            await self._until(0, Phase.AFTER, 0, results=1)
            await self._site.end_clerk()
            await self._until(self._end * TAKE_BACK_AT, Phase.AFTER)
            self._proof = await self._meanwhile(ledger.prove(self._site))
            self._moment.phase = Phase.TAKING_BACK
            await self._until(0, Phase.TAKING_BACK, 1)  # all before it has had its answer
            await self._taken(self._handset.take_back())
            await self._until(0, Phase.TAKING_BACK, 1)  # the answer comes once it is in force
            self._moment.phase = Phase.AGAIN
            await self._until(self._end, Phase.AGAIN)
        finally:
            self._halt.set()
            ends = [asyncio.to_thread(sender.join, senders.ANSWER_S) for sender in self._senders]
            await asyncio.gather(*ends)

    async def _until(
        self, due: float, phase: Phase, enough: int = ENOUGH, results: int = 0
    ) -> None:
        """Let them send until `due`, and until there is enough on each line and no text is open.

        `results` is how many cases the customer has to have been told of.
        """
        late = max(due, self._now()) + PATIENCE_S
        while True:
            await self._check()
            self._look()
            is_enough = all(line.counts[phase].sent >= enough for line in self._lines())
            is_enough &= self._handset.answers >= self._handset.texts
            is_enough &= self._handset.results >= results
            if self._now() >= (due if is_enough else late):
                return
            await asyncio.sleep(REFRESH_S)

    async def _meanwhile(self, work: Coroutine[Any, Any, T]) -> T:
        """Let them send while something else is done."""
        async with asyncio.TaskGroup() as group:
            task = group.create_task(work)
            while not task.done():
                self._look()
                await asyncio.sleep(REFRESH_S)
        return task.result()

    async def _taken(self, texting: Awaitable[Brought]) -> Brought:
        """Wait until the short code has taken a text. Raises DemoError where it does not."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                brought = await texting
        except TimeoutError:
            await self._check()
            raise DemoError(f"{SHORT_CODE} has taken no text in {PATIENCE_S:g} s") from None
        if brought.status != ESME_ROK:
            name = STATUS_NAMES.get(brought.status, "")
            raise DemoError(f"{SHORT_CODE} refused a text: 0x{brought.status:02X} {name}")
        return brought

    async def _check(self) -> None:
        """Nobody may have dropped out."""
        failed = next((sender.failed for sender in self._senders if sender.failed), "")
        if failed:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORDS_S):
                    await self._site.ends()
        if self._site.failed or failed:
            raise DemoError(self._site.failed or failed)

    def _arrived(self, arrival: Arrival) -> None:
        """Count a message at the SMSC, and show what is for the handset; in the SMSC's thread."""
        if arrival.account != SHORT_CODE:
            self._tally.add(arrival)
        if arrival.destination == REPORTER.encode():
            self._handset.take(arrival)

    def _refused(self, event: Event) -> None:
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

    def _look(self) -> None:
        if self._view is not None:
            self._view.show(self.frame())

    def frame(self) -> Frame:
        """Take a picture of this moment."""
        return Frame(
            f"{HOST}:{self._site.port}",
            f"{HOST}:{self._site.smsc.port}",
            COMPANIES[ACCUSED]["name"],
            mask(REPORTER),
            min(self._now(), self._end),
            self._report,
            self._end,
            self._moment.phase,
            self._halt.is_set(),
            self._handset.newest,
            list(self._handset.story),
            [told(each) for each in self._decided],
            self._lines(),
            self._reasons,
        )
