"""`smsfilter top`: what the running proxy does now, in a terminal.

Reads /status of the admin port once a second and shows what changed in between: rates, verdicts by
reason, latency, Redis, sessions. Only looks: it can change nothing, and a proxy that goes away
while it is watched is waited for. Names come from whoever binds, so nothing but printable
characters of them reaches the terminal. The shape of /status is told in admin.py.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from smsfilter.cli.printable import printable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

DEFAULT_ADMIN = ("127.0.0.1", 9775)
REFRESH_S = 1.0
TIMEOUT_S = 3.0
PLAIN_WIDTH = 120
"""Columns where there is no terminal to ask."""
LINES_BESIDE = 9
"""Lines of a screen that are no rows: the tables' heads, blanks, the count of sessions."""


class UnreachableError(Exception):
    """There is no status to be had; the message says why, for people."""


class Sample(NamedTuple):
    """A status and when it was read (monotonic)."""

    status: dict[str, Any]
    at: float


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "top",
        help="watch sessions, rates, verdicts and latency of the running proxy",
        description="Show what the running proxy does, refreshed each second; Ctrl-C ends it. "
        "One snapshot where the output is no terminal.",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("-c", "--config", metavar="FILE", help="smsfilter.yaml, for proxy.admin")
    where.add_argument(
        "--admin", metavar="HOST:PORT", type=_address, help="the admin port (127.0.0.1:9775)"
    )
    parser.add_argument("--once", action="store_true", help="one snapshot, and exit")
    parser.add_argument("--json", action="store_true", help="one snapshot as JSON, and exit")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Show snapshots until Ctrl-C, or one."""
    from rich.console import Console  # noqa: PLC0415 - start-up stays light

    console = Console()
    try:
        address = _admin_of(args.config) if args.config else args.admin or DEFAULT_ADMIN
        if args.json:
            print(json.dumps(fetch(address), indent=2, ensure_ascii=False))
        elif args.once or not console.is_terminal:
            if not console.is_terminal:
                console = Console(width=PLAIN_WIDTH)
            console.print(view(Sample(fetch(address), time.monotonic()), None, address))
        else:
            _watch(console, address)
    except UnreachableError as error:
        print(f"smsfilter top: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


def fetch(address: tuple[str, int]) -> dict[str, Any]:
    """Read /status; UnreachableError says what is wrong."""
    from http.client import HTTPConnection, HTTPException  # noqa: PLC0415

    where = _where(address)
    connection = HTTPConnection(*address, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/status")
        response = connection.getresponse()
        status, body = response.status, response.read()
    except OSError as error:
        raise UnreachableError(
            f"no proxy answers at {where} ({error.strerror or error}). Does it run? "
            "Its address is proxy.admin of the configuration: name it by -c FILE or --admin."
        ) from None
    except HTTPException:
        status, body = 0, b""
    finally:
        connection.close()
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    if status != 200 or not isinstance(found, dict) or "messages" not in found:
        raise UnreachableError(
            f"what answers at {where} is not the admin port of a proxy"
        ) from None
    return found


def _where(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not 0 < int(port) <= 0xFFFF:
        raise argparse.ArgumentTypeError(f"not HOST:PORT, such as 127.0.0.1:9775: {text}")
    return host, int(port)


def _admin_of(config: str) -> tuple[str, int]:
    from smsfilter.config import load_config  # noqa: PLC0415

    admin = load_config(config).proxy.admin
    if admin is None:
        raise UnreachableError(f"{config} has no admin port: proxy.admin is null")
    if admin.port == 0:
        raise UnreachableError(
            f"{config} lets the system choose the admin port: "
            "give it by --admin; the log event `listening` names it"
        )
    anywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - dialled, not listened on
    return anywhere.get(admin.host, admin.host), admin.port


def _watch(console: "Console", address: tuple[str, int]) -> None:
    from rich.live import Live  # noqa: PLC0415

    sample, before = Sample(fetch(address), time.monotonic()), None
    with Live(console=console, screen=True, auto_refresh=False) as live:
        trouble = ""
        while True:
            live.update(view(sample, before, address, trouble, console.height), refresh=True)
            time.sleep(REFRESH_S)
            try:
                newer = Sample(fetch(address), time.monotonic())
            except UnreachableError as error:
                trouble, before = str(error), None
            else:
                trouble, before, sample = "", sample, newer


# --- what is shown -----------------------------------------------------------------------------


def view(
    now: Sample,
    before: Sample | None,
    address: tuple[str, int],
    trouble: str = "",
    lines: int | None = None,
) -> "RenderableType":
    """Lay one status out; rates and latency are those since `before`, or since the start.

    `lines` is the height of the screen, None where there is none.
    """
    from rich.console import Group  # noqa: PLC0415

    if before is not None and now.status.get("uptime_s", 0) < before.status.get("uptime_s", 0):
        before = None  # another process
    head = [*_head(now.status, address, trouble), _latency(now, before)]
    verdicts = _verdicts(now, before)
    if lines is None:
        shown = len(now.status.get("sessions") or ())
    else:
        shown = max(lines - len(head) - verdicts.row_count - LINES_BESIDE, 1)
    return Group(*head, verdicts, *_sessions(now, before, shown))


def _head(status: dict[str, Any], address: tuple[str, int], trouble: str) -> "Iterator[Text]":
    from rich.text import Text  # noqa: PLC0415

    state = printable(status.get("state", ""))
    yield Text.assemble(
        ("smsfilter ", "bold"),
        (printable(status.get("version", "")), "bold"),
        f" at {_where(address)}   up {_age(status.get('uptime_s'))}   {state}   ",
        ("ready", "green") if status.get("ready") else ("not ready", "bold red"),
    )
    redis = status.get("redis") or {}
    up = redis.get("state") == "up"
    line = Text.assemble("redis ", (printable(redis.get("state", "?")), _colour(up)))
    line.append(f" {printable(redis.get('endpoint', ''))}")
    if redis.get("why"):
        line.append(f" ({printable(redis['why'])})", "red")
    line.append("   index ")
    indexed = bool(status.get("index_ready"))
    line.append("ready" if indexed else "not ready", _colour(indexed))
    line.append(f"   policy {printable(status.get('policy_version') or '-')}")
    if status.get("config_stale"):
        line.append(" (the files on disk were refused: see config_rejected in the log)", "bold red")
    line.append(f"   registry {printable(status.get('registry_version') or '-')}")
    yield line
    lag, dropped = status.get("loop_lag_s") or 0.0, status.get("log_dropped") or 0
    line = Text(f"in flight {status.get('in_flight', 0):,}   loop lag {_span(lag)}")
    if dropped:
        line.append(f"   {dropped:,} log lines dropped", "red")
    yield line
    for missing in status.get("missing") or ():
        yield Text(f"missing: {printable(missing)}", "bold red")
    if trouble:
        yield Text(trouble, "bold red")


def _verdicts(now: Sample, before: Sample | None) -> "Table":
    table = _table("verdict", "reason", "/s", "total", "share", texts=2)
    counts = dict(_counts(now.status))
    earlier = dict(_counts(before.status)) if before else None
    judged = sum(n for (kind, _), n in counts.items() if kind in now.status.get("messages", {}))
    for (kind, reason), n in counts.items():
        seconds = now.at - before.at if before else 0.0
        change = n - earlier.get((kind, reason), 0) if earlier is not None else None
        share = f"{n / judged:.1%}" if judged and kind in now.status["messages"] else ""
        style = "yellow" if kind == "refuse_temporary" else "red" if kind == "bypassed" else ""
        cells = (_cell(kind), _cell(reason), _rate(change, seconds), f"{n:,}", share)
        table.add_row(*cells, style=style)
    return table


def _counts(status: dict[str, Any]) -> Iterator[tuple[tuple[str, str], int]]:
    """Every counter of the status: forwarded first, the rest by their number."""
    messages = status.get("messages", {})
    yield ("forward", ""), messages.get("forward", {}).get("", 0)
    rest = {
        (kind, reason): n
        for kind, reasons in messages.items()
        for reason, n in reasons.items()
        if kind != "forward"
    }
    rest |= {
        ("shadow", f"{rule}: {reason}"): n
        for rule, reasons in status.get("shadow", {}).items()
        for reason, n in reasons.items()
    }
    rest |= {("bypassed", rule): n for rule, n in status.get("bypassed", {}).items()}
    yield from sorted(rest.items(), key=lambda item: -item[1])


def _latency(now: Sample, before: Sample | None) -> "Text":
    from rich.text import Text  # noqa: PLC0415

    from smsfilter.exposition import quantile  # noqa: PLC0415

    line = Text()
    for key, name, shown in (
        ("added_seconds", "added", _span),
        ("lookup_seconds", "look-up", _span),
        ("batch_size", "batch", lambda value: f"{value:,.0f}"),
    ):
        found = now.status.get(key) or {"bounds": [], "counts": []}
        counts = found["counts"]
        earlier = ((before.status.get(key) or {}) if before else {}).get("counts")
        if earlier and len(earlier) == len(counts):
            counts = [n - m for n, m in zip(counts, earlier, strict=True)]
        values = [quantile(found["bounds"], counts, q) for q in (0.5, 0.99, 0.999)]
        line.append(f"{name} ")
        line.append(" / ".join("-" if v is None else shown(v) for v in values), "bold")
        line.append("   ")
    line.append(f"(p50 / p99 / p99.9, {'last second' if before else 'since start'})", "dim")
    return line


def _sessions(
    now: Sample, before: Sample | None, shown: int
) -> "tuple[RenderableType, RenderableType]":
    columns = ("account", "peer", "state", "since", "/s", "forwarded", "refused", "in flight")
    table = _table(*columns, texts=3)
    sessions = now.status.get("sessions") or []
    earlier = {_key(row): row for row in (before.status.get("sessions") or [])} if before else {}

    def change(row: dict[str, Any]) -> int | None:
        old = earlier.get(_key(row))
        return None if old is None else sum(row[k] - old[k] for k in ("forwarded", "refused"))

    ranked = sorted(sessions, key=lambda row: (-(change(row) or 0), -row["forwarded"]))
    for row in ranked[:shown]:
        seconds = now.at - before.at if before else 0.0
        table.add_row(
            *(_cell(row.get(key) or "-") for key in ("account", "peer")),
            _cell(str(row["state"]).removeprefix("bound_")),
            _age(time.time() - row["since"]),
            _rate(change(row), seconds),
            *(f"{row[key]:,}" for key in ("forwarded", "refused", "in_flight")),
        )
    total = now.status.get("sessions_total", len(sessions))
    by_state = (now.status.get("sessions_by_state") or {}).items()
    states = [f"{n:,} {printable(state)}" for state, n in by_state if n]
    more = f" (the busiest {shown:,} shown)" if total > shown else ""
    return _cell(f"{total:,} sessions{more}   {', '.join(states)}"), table


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    return row.get("account"), row.get("peer"), row.get("since")


def _table(*columns: str, texts: int = 1) -> "Table":
    """Make a table whose first columns are text, and whose others are numbers."""
    from rich import box  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        is_text = number < texts  # where the screen is narrow text is cut, and no number
        table.add_column(column, justify="left" if is_text else "right", no_wrap=not is_text)
    return table


def _cell(text: object) -> "Text":
    """Give a line or a cell: not read as markup, cut where it does not fit."""
    from rich.text import Text  # noqa: PLC0415

    return Text(printable(text), no_wrap=True, overflow="ellipsis")


def _colour(good: bool) -> str:
    return "green" if good else "bold red"


def _rate(change: int | None, seconds: float) -> str:
    if change is None or seconds <= 0:
        return ""
    rate = change / seconds
    return f"{rate:,.0f}" if rate >= 10 or rate == 0 else f"{rate:.1f}"


def _span(seconds: float) -> str:
    if seconds < 0.0009995:
        return f"{seconds * 1e6:.0f} µs"
    return f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _age(seconds: float | None) -> str:
    minutes, second = divmod(int(max(seconds or 0, 0)), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days}d {hour:02}h"
    return f"{hour}h {minute:02}m" if hour else f"{minute}m {second:02}s"
