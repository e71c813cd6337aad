"""What the commands of the desk say in the same words."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from smsfilter.cli.store import warn


def local_time(us: int | None) -> str:
    """Say a time (µs UTC) as people read it, with its offset; a dash for none."""
    if us is None:
        return "–"
    return datetime.fromtimestamp(us // 1_000_000).astimezone().strftime("%Y-%m-%d %H:%M:%S%z")


def due(us: int, now: int | None = None) -> str:
    """Say how far off a deadline (µs UTC) is: due in 3 h 10 min, late by 2 d 4 h."""
    if now is None:
        now = int(datetime.now().astimezone().timestamp()) * 1_000_000
    minutes = abs(us - now) // 60_000_000
    days, hours, rest = minutes // 1440, minutes // 60 % 24, minutes % 60
    span = f"{days} d {hours} h" if days else f"{hours} h {rest} min" if hours else f"{rest} min"
    return f"due in {span}" if us > now else f"late by {span}"


def say_force(said: dict[str, Any], where: str = "in force") -> None:
    """Say whether a change is in force."""
    if said.get("in_force"):
        print(where)
    elif "in_force" in said:
        warn(f"on record, and not in force yet: {said['why']}", "the desk goes on trying")


def say_json(said: Any) -> None:
    """Print JSON on a line."""
    print(json.dumps(said, ensure_ascii=False))


def say_timeline(said: dict[str, Any]) -> None:
    """Print what the ledger says."""
    from smsfilter.cli import table  # noqa: PLC0415 - start-up stays light

    rows = [
        (local_time(each["at"]), each["action"], each["object"], each["actor"])
        for each in said["timeline"]
    ]
    table.show(("when", "what", "of", "by"), rows, "the ledger says nothing of it")


@contextmanager
def progress(total: int, what: str) -> Iterator[Callable[[int], None]]:
    """Show a bar on a terminal; the function moves it on by so many."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console  # noqa: PLC0415 - start-up stays light
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.advance(task, done)
