"""What people see of the demo: a live table in a terminal, plain lines elsewhere, the end of both.

A frame explains what happens while it happens: who sends on which road, what became of it, and
why. Lays out what it is given and counts nothing itself; customers' numbers are masked before
they come here.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from smsfilter.cli.demo.handset import Shown
from smsfilter.cli.demo.simulator import SHORT_CODE
from smsfilter.cli.demo.summary import Line, Phase, Summary, added
from smsfilter.smpp.const import ESME_ROK, STATUS_NAMES

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

WIDE: Final = 104
"""Columns from which the name of the command_status has room beside the reason."""
PLAIN_WIDTH: Final = 100
"""Columns where there is no terminal to ask."""
LINE_EACH_S: Final = 1.0
TEXTS: Final = 3
"""Of the handset's and the clerk's, so that the whole picture fits into 24 lines."""


class Frame(NamedTuple):
    """One moment of the demo."""

    proxy: str
    smsc: str
    company: str
    """Whom the customer reports."""
    customer: str
    now: float
    """Seconds since the beginning, as all times here."""
    report: float
    end: float
    phase: Phase
    is_over: bool
    """Nobody sends any more."""
    newest: Shown | None
    """What the customer's handset shows."""
    story: Sequence[Shown]
    """What was reported, what the customer texted, and the answers."""
    clerk: Sequence[str]
    """What the clerk has decided, in a line for each case."""
    lines: Sequence[Line]
    reasons: Mapping[tuple[str, int], str]
    """By account and command_status, what the proxy's log says of it."""


class LiveView:
    """The table, in its place on the screen."""

    def __init__(self, console: "Console") -> None:
        from rich.live import Live  # noqa: PLC0415 - start-up of the other commands stays light

        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._live.start()

    def show(self, frame: Frame) -> None:
        """Draw this moment over the one before."""
        self._live.update(picture(frame, self._console.width), refresh=True)

    def close(self) -> None:
        """Clear the place, and give the terminal back."""
        self._live.stop()


class PlainView:
    """A line each second, and one for what happens."""

    def __init__(self, console: "Console") -> None:
        self._console = console
        self._due = 0.0
        self._headline: tuple[str, str] | None = None
        self._texts = self._cases = 0

    def show(self, frame: Frame) -> None:
        """Print what is new."""
        if self._headline is None:
            self._print(f"smsfilter demo: {way(frame)}")
        for shown in frame.story[self._texts :]:
            self._print(f"{_clock(frame.now)}  the handset of {frame.customer}, {spoken(shown)}")
        self._texts = len(frame.story)
        for decided in frame.clerk[self._cases :]:
            self._print(f"{_clock(frame.now)}  {decided}")
        self._cases = len(frame.clerk)
        if (new := headline(frame)) != self._headline:
            self._headline = new
            self._print("\n".join(new))
        if frame.now >= self._due:
            self._due = frame.now + LINE_EACH_S
            self._print(f"{_clock(frame.now)}  {_progress(frame.lines)}")

    def close(self) -> None:
        """Leave an empty line between the course and the end."""
        self._print("")

    def _print(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)


def picture(frame: Frame, width: int, texts: int | None = None) -> "RenderableType":
    """Lay one moment out for a terminal, with so many of the handset's texts."""
    from rich.console import Group  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    title = Table.grid(expand=True)
    title.add_column()
    title.add_column(justify="right")
    clock = f"{_clock(frame.now)} of {_clock(frame.end)}"
    title.add_row(Text("smsfilter demo", "bold"), Text(clock, "dim"))
    first, second = headline(frame)
    if texts is None:
        texts = TEXTS - len(frame.clerk[-1:])
    return Group(
        title,
        Text(way(frame), "dim", no_wrap=True, overflow="ellipsis"),
        Text(first, "bold yellow" if frame.phase else "bold"),
        Text(second),
        table(frame, width),
        *handset(frame, texts),
        *(Text(each, "bold", no_wrap=True, overflow="ellipsis") for each in frame.clerk[-1:]),
    )


def handset(frame: Frame, texts: int) -> list["Text"]:
    """Lay out what the customer's handset shows, a line for each text."""
    from rich.text import Text  # noqa: PLC0415

    shown = frame.story or ([frame.newest] if frame.newest else [])
    return [
        Text(f"The handset of {frame.customer}:", "bold"),
        *(
            Text(
                f"  {spoken(each)}",
                "" if each.is_own else "cyan",
                no_wrap=True,
                overflow="ellipsis",
            )
            for each in shown[-texts:]
        ),
    ]


def told(decided: Mapping[str, Any]) -> str:
    """Say what the clerk has made of a case, and by what."""
    by = f"{decided['rule']}: {', '.join(decided['records'][:1])}" if decided["rule"] else "no rule"
    return f"The clerk decides case {decided['case']}: {decided['outcome']} ({by})"


def spoken(shown: Shown) -> str:
    """Give one text in a line."""
    return f"{'to' if shown.is_own else 'from'} {shown.peer}: {shown.text}"


def way(frame: Frame) -> str:
    """Say what a message passes."""
    return f"senders → smsfilter proxy {frame.proxy} → simulated SMSC {frame.smsc}"


def headline(frame: Frame) -> tuple[str, str]:
    """Say in two lines what is going on."""
    company, customer = frame.company, frame.customer
    if frame.is_over:
        return (
            "All is sent and counted.",
            "The ledger of the desk is exported and verified.",
        )
    if frame.phase is Phase.BEFORE:
        return (
            "Who is approved gets through, who is not does not.",
            f"At {_clock(frame.report)} the customer {customer} will report {company} by SMS.",
        )
    if frame.phase is Phase.AGAIN:
        return (
            f"{customer} has taken the report back.",
            f"Every road of {company} to that customer is open again.",
        )
    return (
        f"{customer} has reported {company} to {SHORT_CODE}.",
        f"Every road of {company} to that customer is closed. All else goes on.",
    )


def table(frame: Frame, width: int) -> "Table":
    """Lay out the roads: two rows for each, as what was reported is one customer's affair."""
    from rich import box  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    gap = 1 if width >= WIDE else 0  # beside the one of the box; without it 80 columns suffice
    found = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, gap, 0, 0), header_style="bold")
    found.add_column("sender")
    found.add_column("to")
    found.add_column("forwarded", justify="right")
    found.add_column("refused", justify="right")
    found.add_column("last answer", no_wrap=True)
    company = road = ""
    for line in frame.lines:
        if line.company != company:
            company = line.company
            approval = "approved" if line.approved else "not approved"
            found.add_row(Text.assemble((company, "bold"), (f", {approval}", "dim")))
        total = line.total
        name = "" if line.road == road else f"  {line.road}"
        road = line.road
        found.add_row(
            name,
            line.customer,
            f"{total.forwarded:,}",
            f"{total.refused:,}",
            Text(*_answer(line, frame, width)),
        )
    return found


def _answer(line: Line, frame: Frame, width: int) -> tuple[str, str]:
    """Give the last answer in words, and its colour."""
    if line.status is None:
        return "", ""
    name = STATUS_NAMES.get(line.status, "")
    reason = frame.reasons.get((line.account, line.status), "")
    words = [name, reason] if width >= WIDE else [reason or name]
    text = " ".join((f"0x{line.status:02X}", *filter(None, words)))
    return text, "green" if line.status == ESME_ROK else "red"


def _progress(lines: Sequence[Line]) -> str:
    pair = added(line.total for line in lines if line.accused and line.to_reporter)
    rest = added(line.total for line in lines if not (line.accused and line.to_reporter))
    shown = next(line for line in lines if line.accused and line.to_reporter)
    return (
        f"{shown.company} to {shown.customer}: {pair.forwarded:,} forwarded, "
        f"{pair.refused:,} refused; all others: {rest.forwarded:,} forwarded, "
        f"{rest.refused:,} refused"
    )


def ending(summary: Summary, log_line: str) -> "RenderableType":
    """Lay out the promises and what was counted, and a line of the proxy's log as a witness."""
    from rich.console import Group  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    promises = Table.grid(padding=(0, 2, 0, 0))
    promises.add_column(no_wrap=True)
    promises.add_column(no_wrap=True)
    promises.add_column()  # may fold where columns are few
    for promise in summary.promises:
        verdict = Text("ok", "green") if promise.held else Text("BROKEN", "bold red")
        promises.add_row(verdict, promise.text, promise.evidence)
    said = [Text("The proxy's log says why:", "bold"), Text(log_line)] if log_line else []
    head = "Counted at the senders and at the simulated SMSC, read in the exported ledger:"
    return Group(Text(head, "bold"), promises, *said)


def _clock(seconds: float) -> str:
    minutes, second = divmod(int(seconds), 60)
    return f"{minutes}:{second:02}"
