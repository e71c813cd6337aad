"""Other programs that tests start: tied to the life of the test process, heard line by line.

A run of the tests that is killed must leave no server behind, and two runs on one machine must not
meet. A program's lines are taken as they come, and whoever waits for one is woken by it;
`wait_until` is only for programs that tell nobody when they are ready.
"""

import asyncio
import contextlib
import shutil
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.fakes.changes import TIMEOUT_S, Changes

STOP_TIMEOUT_S = 15.0


def tethered(command: Sequence[str]) -> list[str]:
    """The command, ended by the kernel when this process is gone."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", *command] if setpriv else list(command)


def free_port() -> int:
    """A TCP port that was free a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def wait_until(found: Callable[[], bool], what: str, timeout_s: float) -> None:
    """Wait for another process without an event to wait for; the only place that polls."""
    deadline = time.monotonic() + timeout_s
    while not found():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout_s:g} s: {what}")
        time.sleep(0.01)


class Program:
    """A subprocess of the test's event loop."""

    def __init__(self, changes: Changes, take_line: Callable[[str], None]) -> None:
        self.changes = changes
        self.take_line = take_line
        self.stderr: list[str] = []
        self.exit_status: int | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        """Start it and take its lines from now on."""
        self._process = await asyncio.create_subprocess_exec(
            *tethered(command),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=env,
            cwd=cwd,
            limit=1 << 20,
        )
        self._tasks = [
            asyncio.create_task(self._reap()),
            asyncio.create_task(self._read(self._process.stderr, self.stderr.append)),
            asyncio.create_task(self._read(self._process.stdout, self.take_line)),
        ]

    async def _read(self, stream: asyncio.StreamReader | None, take: Callable[[str], None]) -> None:
        assert stream is not None
        while line := await stream.readline():
            take(line.decode("utf-8", "replace").rstrip("\n"))
            self.changes.notify()

    async def _reap(self) -> None:
        self.exit_status = await self._process.wait()
        self.changes.notify()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def signal(self, signum: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(signum)

    def tell(self, line: str) -> None:
        """Write a line to its stdin."""
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")

    def stop_reading(self) -> None:
        """Take nothing more from its stdout: let the pipe fill."""
        self._tasks.pop().cancel()

    def read_again(self) -> None:
        """Take up its stdout where it was left."""
        self._tasks.append(asyncio.create_task(self._read(self._process.stdout, self.take_line)))

    async def wait_exit(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """Wait until it has ended and all its output is read; its exit status."""
        if len(self._tasks) < 3:
            self.read_again()
        await self.changes.until(
            lambda: self.exit_status is not None,
            lambda: f"the end of process {self.pid}; its stderr: {self.stderr[-20:]}",
            timeout_s,
        )
        await asyncio.wait_for(asyncio.gather(*self._tasks), TIMEOUT_S)
        assert self.exit_status is not None
        return self.exit_status

    async def close(self) -> None:
        """End it in whatever state it is."""
        if not self._tasks:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self.wait_exit()
