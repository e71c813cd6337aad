"""The programs of the demo: smsfilter's own commands, each as a process of its own.

They are the same that an operator runs, told everything by files and heard by their log. The
kernel kills them should the demo be killed, and a Ctrl-C in the terminal is for the demo alone,
which ends them in order.
"""

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

from smsfilter.cli import loginfile
from smsfilter.store.embedded import UNTIL_PARENT_ENDS

START_TIMEOUT_S: Final = 20.0
STOP_TIMEOUT_S: Final = 3.0

_OURS: Final = re.compile("SMSFILTER__|NOTIFY_SOCKET|WATCHDOG_")  # meant for another smsfilter

Event = dict[str, Any]
"""A line of a log."""


class DemoError(Exception):
    """The demo cannot begin or go on, for a reason that fits on a line."""


class Done(NamedTuple):
    """What a command has come to."""

    status: int
    out: str
    err: str


async def command(*words: str, login: Path | None = None) -> Done:
    """Run `smsfilter WORDS` to its end, as whoever has logged in with the file `login`."""
    process = await _spawn(("smsfilter", *words), subprocess.PIPE, login)
    try:
        out, err = await process.communicate()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    return Done(await process.wait(), out.decode(), err.decode())


async def succeed(*words: str, login: Path | None = None) -> str:
    """Run `smsfilter WORDS`, and return what it printed. Raises DemoError with its last words."""
    done = await command(*words, login=login)
    if done.status:
        last = (done.err or done.out).strip().rpartition("\n")[2]
        raise DemoError(last or f"smsfilter {words[0]}: exit status {done.status}")
    return done.out


class Program:
    """One that runs until it is stopped; `heard` is given each line of its log."""

    def __init__(self, name: str, heard: Callable[[Event], None]) -> None:
        self.name = name
        self.failed = ""
        """Why it has ended, if it has."""
        self._heard = heard
        self._last_words = ""
        self._said: dict[str, Event] = {}
        self._news = asyncio.Event()
        self._hearing: asyncio.Task[None] | None = None

    @property
    def is_started(self) -> bool:
        """Whether there is a process to stop."""
        return self._hearing is not None

    async def start(
        self, *words: str, module: str = "smsfilter", login: Path | None = None
    ) -> None:
        """Start `smsfilter WORDS`, or another module of Python."""
        self._process = await _spawn((module, *words), subprocess.STDOUT, login)
        self._hearing = asyncio.create_task(self._hear())

    async def says(self, name: str, **fields: object) -> Event:
        """Wait until it has logged such an event. Raises DemoError."""
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                while True:
                    event = self._said.get(name)
                    if event is not None and fields.items() <= event.items():
                        return event
                    if self.failed:
                        raise DemoError(self.failed)
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            why = f"the {self.name} has not said {name} after {START_TIMEOUT_S:g} s"
            raise DemoError(why) from None

    async def ends(self) -> None:
        """Wait for what should not happen; `failed` says why it did."""
        assert self._hearing is not None  # noqa: S101 - it is started before it is waited for
        await asyncio.shield(self._hearing)

    async def stop(self) -> None:
        """End it, by force if it takes too long."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self.ends()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self.ends()

    async def _hear(self) -> None:
        """Take its log, line by line, until its end."""
        async for line in cast(asyncio.StreamReader, self._process.stdout):
            self._take(line.decode("utf-8", "replace").strip())
        status = await self._process.wait()
        how = f"exit status {status}" if status >= 0 else f"killed by signal {-status}"
        self.failed = f"the {self.name} has ended: {self._last_words or how}"
        self._news.set()

    def _take(self, line: str) -> None:
        try:
            event = json.loads(line)
            name = event["event"]
        except (ValueError, TypeError, KeyError):
            self._last_words = line or self._last_words
            return
        self._said[name] = event
        self._news.set()
        self._heard(event)


async def _spawn(
    words: tuple[str, ...], stderr: int, login: Path | None
) -> asyncio.subprocess.Process:
    """Start a module of Python, as whoever has logged in with the file `login`."""
    program = [sys.executable, "-m", *words]
    env = {name: value for name, value in os.environ.items() if not _OURS.match(name)}
    if sys.platform == "linux":
        program[:0] = [sys.executable, "-ISc", UNTIL_PARENT_ENDS, str(os.getpid())]
    return await asyncio.create_subprocess_exec(
        *program,
        env=env if login is None else env | {loginfile.ENV: str(login)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=stderr,
        start_new_session=True,
    )
