"""`smsfilter demo`: proxy and desk at work, on this machine, in seconds, with nothing to set up.

Real senders speak through a real proxy to a simulated SMSC, over TCP. A customer reports a company
by SMS: every road of that company to that customer closes, while all else goes on, until the
customer takes the report back. The end says what was promised and what the two ends have counted,
and verifies the desk's ledger; exit status 1 if that does not agree.
`--serve` keeps it all up for a client of one's own, until Ctrl-C. Leaves nothing behind.
"""

import argparse
import asyncio
import signal
import sys
from collections.abc import Callable
from typing import Final

SECONDS: Final = 12.0
SECONDS_LEAST, SECONDS_MOST = 2.0, 3600.0
PORT: Final = 2775
"""Where SMPP is at home; only with --serve, as the demo itself has no need of a fixed one."""
INTERRUPTED: Final = 130
"""The exit status of what was ended by Ctrl-C, as shells have it."""


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "demo",
        help="see it work: senders, proxy, desk and a simulated SMSC on this machine",
        description="Run senders through a real proxy to a simulated SMSC, let a customer report "
        "a company by SMS and take it back, and verify the ledger of it. Needs nothing, leaves "
        "nothing. Exit status 1 if the counts at both ends do not agree with what was promised.",
    )
    parser.add_argument(
        "--seconds", type=_seconds, metavar="N", help=f"how long the senders send ({SECONDS:g})"
    )
    parser.add_argument(
        "--serve",
        action="store_true",
        help="keep everything up for a client of your own, until Ctrl-C; without senders, unless "
        "--seconds is given as well",
    )
    parser.add_argument(
        "--port",
        type=_port,
        metavar="PORT",
        help=f"where the proxy listens, and behind it the SMSC ({PORT} and {PORT + 1} with "
        "--serve, else any that are free)",
    )
    parser.add_argument("--json", action="store_true", help="print the summary alone, as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the demo; 1 when it cannot begin or a promise was not kept, 130 when it was cut short."""
    from smsfilter.cli.demo.program import DemoError  # noqa: PLC0415 - start-up stays light

    if args.json and args.serve:
        print("smsfilter demo: --json has nothing to say with --serve", file=sys.stderr)
        return 2
    try:
        return asyncio.run(_main(args))
    except DemoError as error:
        print(f"smsfilter demo: {error}", file=sys.stderr)
        return 1


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not SECONDS_LEAST <= seconds <= SECONDS_MOST:
        raise argparse.ArgumentTypeError(
            f"not a number from {SECONDS_LEAST:g} to {SECONDS_MOST:g}: {text}"
        )
    return seconds


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) <= 0xFFFF):
        raise argparse.ArgumentTypeError(f"not a port: {text}")
    return int(text)


def _beside(port: int) -> int:
    """Give the SMSC the next port where the proxy has one that is known beforehand."""
    return (port + 1) % 0x10000 if port else 0


async def _main(args: argparse.Namespace) -> int:
    """Run to the end, or until told to end: all is taken down in either case."""
    from smsfilter.cli.demo.program import DemoError  # noqa: PLC0415
    from smsfilter.cli.demo.serve import serve  # noqa: PLC0415
    from smsfilter.cli.demo.show import show  # noqa: PLC0415
    from smsfilter.cli.demo.site import Site  # noqa: PLC0415

    told = _cancelled_by_signals()
    port = args.port if args.port is not None else PORT if args.serve else 0
    status = INTERRUPTED
    try:
        async with Site(port, _beside(port)) as site:
            if args.seconds is not None or not args.serve:
                status = await show(site, args.seconds or SECONDS, as_json=args.json)
            if args.serve:
                status = 0 if status == INTERRUPTED else status
                await serve(site)
                raise DemoError(site.failed)
    except (asyncio.CancelledError, OSError):
        if not told():  # an OSError: the terminal went away as well
            raise
    return status


def _cancelled_by_signals() -> Callable[[], bool]:
    """Let the first signal to end cancel this task; the rest must not disturb the clearing up."""
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    seen: list[int] = []

    def end(signum: int) -> None:
        seen.append(signum)
        if len(seen) == 1 and task is not None:
            task.cancel()

    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(signum) is not signal.SIG_IGN:  # as under nohup
            loop.add_signal_handler(signum, end, signum)
    return lambda: bool(seen)
