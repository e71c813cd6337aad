"""A program of the project as a subprocess: started as an operator starts it, asked by its log.

It is told everything by files, and says everything by its log lines and its admin port. Whatever a
test did to it, at the end it must have stopped when told to, with status 0, without an unhandled
exception and without a traceback: a test that passes beside a crash would be worth nothing. No
method sleeps; each waits for an event and says what it saw instead.
"""

import asyncio
import contextlib
import http.client
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from tests.fakes.changes import TIMEOUT_S, Changes
from tests.fakes.process import STOP_TIMEOUT_S, Program
from tests.vocabulary import log_events

ROOT = Path(__file__).parents[2]
START_TIMEOUT_S = 20.0  # an interpreter and its imports, on cores that others use too


class Answer(NamedTuple):
    """What the admin port said."""

    status: int
    body: str


class Daemon:
    """A directory with `smsfilter.yaml`, and the program that runs with it."""

    def __init__(
        self,
        directory: Path,
        wrapper: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = directory
        self.wrapper = wrapper
        self.env = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
        self.config_path = directory / "smsfilter.yaml"
        self.changes = Changes()
        self.log: list[dict[str, Any]] = []
        """Every log line so far, parsed."""
        self.garbled: list[str] = []
        """Lines on stdout that are no JSON."""
        self._program: Program | None = None
        self._expected_exit: int | None = 0
        directory.mkdir(parents=True, exist_ok=True)

    @property
    def program(self) -> Program:
        """The daemon's process."""
        assert self._program is not None, "the daemon was not started"
        return self._program

    @property
    def pid(self) -> int:
        """The daemon's process id."""
        return self.program.pid

    @property
    def exit_status(self) -> int | None:
        """How the daemon ended; None while it runs."""
        return self._program.exit_status if self._program else None

    @property
    def stderr(self) -> list[str]:
        """The lines on its stderr."""
        return self._program.stderr if self._program else []

    @property
    def admin_port(self) -> int:
        """The port of metrics and health."""
        return self._port_in("admin")

    def _port_in(self, field: str) -> int:
        found = self.logged("listening")
        assert found, "the daemon does not listen yet"
        value = found[-1][field]
        address: str = value if isinstance(value, str) else value[0]
        return int(address.rpartition(":")[2])

    async def run(self, command: str, *, wait: bool = True) -> None:
        """Start it and, unless told otherwise, wait until it listens."""
        since = len(self.log)
        self._expected_exit = 0
        self._program = Program(self.changes, self._take_log_line)
        daemon = (sys.executable, "-m", "smsfilter", command, "-c", str(self.config_path))
        await self._program.start([*self.wrapper, *daemon], env=self.env, cwd=self.directory)
        if wait:
            await self.wait_for_log("listening", since=since, timeout_s=START_TIMEOUT_S)

    def _take_log_line(self, line: str) -> None:
        try:
            self.log.append(json.loads(line))
        except ValueError:
            self.garbled.append(line)

    def stop_reading_log(self) -> None:
        """Take nothing more from its stdout, as a stalled log collector does."""
        self.program.stop_reading()

    def read_log_again(self) -> None:
        """Take up its stdout again where it was left."""
        self.program.read_again()

    def signal(self, signum: signal.Signals) -> None:
        """Send the daemon a signal."""
        self.program.signal(signum)

    async def wait_exit(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """Wait until the daemon has ended and all its output is read; its exit status."""
        try:
            return await self.program.wait_exit(timeout_s)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.story()}") from None

    async def kill(self) -> None:
        """End the daemon as kill -9 does."""
        self._expected_exit = -signal.SIGKILL
        self.signal(signal.SIGKILL)
        await self.wait_exit()

    def expect_exit(self, status: int | None) -> None:
        """Say what exit status the test provokes; None if it does not matter."""
        self._expected_exit = status

    async def stop(self) -> None:
        """Stop the daemon as systemd does, and hold what must be true of every end."""
        if self._program is None:
            return
        if self.exit_status is None:
            self.signal(signal.SIGTERM)
        status = await self.wait_exit()
        self.assert_clean()
        if self._expected_exit is not None:
            assert status == self._expected_exit, f"exit status {status}\n{self.story()}"

    def assert_clean(self) -> None:
        """No exception that nobody caught, no traceback, no line that is no known log line."""
        unhandled = "\n".join(line["exception"] for line in self.logged("unhandled"))
        assert not unhandled, f"{unhandled}\n{self.story()}"
        assert not any("Traceback" in line for line in self.stderr), self.story()
        assert not self.garbled, f"no JSON on stdout: {self.garbled[:5]}"
        unknown = {line["event"] for line in self.log} - log_events()
        assert not unknown, f"log events that nobody knows: {unknown}"

    # what it says

    def logged(self, *events: str, since: int = 0, **fields: Any) -> list[dict[str, Any]]:
        """The log lines of these events that have these fields."""
        return [
            line
            for line in self.log[since:]
            if line.get("event") in events
            and all(line.get(name) == value for name, value in fields.items())
        ]

    async def wait_for_log(
        self, *events: str, since: int = 0, timeout_s: float = TIMEOUT_S, **fields: Any
    ) -> dict[str, Any]:
        """Wait for a log line of one of these events with these fields; the last of them."""

        def found() -> list[dict[str, Any]]:
            lines = self.logged(*events, since=since, **fields)
            if not lines and self.exit_status is not None:
                raise AssertionError(f"the daemon ended with {self.exit_status}\n{self.story()}")
            return lines

        wanted = "/".join(events) + (f" with {fields}" if fields else "")
        lines = await self.changes.until(
            found, lambda: f"log line {wanted}\n{self.story()}", timeout_s
        )
        return lines[-1]

    def story(self) -> str:
        """The last of what the daemon wrote, for the message of a failing test."""
        lines = [json.dumps(line, ensure_ascii=False) for line in self.log[-15:]]
        return "\n".join(["--- log", *lines, "--- stderr", *self.stderr[-40:]])

    async def get(self, path: str) -> Answer:
        """Ask the admin port."""
        port = self.admin_port

        def ask() -> Answer:
            with contextlib.closing(
                http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
            ) as connection:
                connection.request("GET", path)
                response = connection.getresponse()
                return Answer(response.status, response.read().decode())

        return await asyncio.to_thread(ask)

    async def metrics(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        """All metrics: (name, sorted labels) → value."""
        answer = await self.get("/metrics")
        assert answer.status == 200, answer
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(answer.body)
            for sample in family.samples
        }

    async def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric over every sample that has these labels; 0 without one."""
        wanted = set(labels.items())
        return sum(
            value
            for (found, pairs), value in (await self.metrics()).items()
            if found == name and wanted <= set(pairs)
        )

    # what it uses

    def rss_kib(self) -> int:
        """Resident memory of the daemon."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise AssertionError("no VmRSS")

    def cpu_s(self) -> float:
        """CPU seconds the daemon has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def descriptors(self) -> int:
        """Open file descriptors of the daemon."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))
