"""SMPP stacks written by others, as programs that speak one small language.

Each script in tests/peers takes commands as JSON lines on stdin (`{"do": "bind", …}`) and tells
what happens as JSON lines on stdout (`{"event": "bound", …}`). A `Peer` is such a program: `tell`
gives a command, `wait_for` waits for an event. It says what the peer itself saw, in the peer's own
reading: that is what these tests are for.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

import pytest

from tests.fakes.changes import Changes
from tests.fakes.process import Program

SCRIPTS = Path(__file__).parents[1] / "peers"
START_TIMEOUT_S = 20.0
TRAFFIC_TIMEOUT_S = 30.0  # a thousand messages through an interpreter that shares two cores

Event = dict[str, Any]


class PeerMissingError(Exception):
    """The peer is not installed on this machine, and why."""


class Peer:
    """A running peer, and everything it said."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.changes = Changes()
        self.events: list[Event] = []
        self.garbled: list[str] = []
        self.program = Program(self.changes, self._take_line)

    @classmethod
    async def start(cls, name: str, command: Sequence[str], **env: str) -> Self:
        """Start a peer and wait until it takes commands."""
        peer = cls(name)
        await peer.program.start(command, env={**os.environ, **env})
        await peer.wait_for("started", timeout_s=START_TIMEOUT_S)
        return peer

    def _take_line(self, line: str) -> None:
        try:
            self.events.append(json.loads(line))
        except ValueError:
            self.garbled.append(line)

    def tell(self, do: str, **arguments: Any) -> int:
        """Give a command; the result is where its events begin."""
        self.program.tell(json.dumps({"do": do, **arguments}))
        return len(self.events)

    def said(self, event: str, since: int = 0, **fields: Any) -> list[Event]:
        """The events of this name with these fields."""
        return [
            found
            for found in self.events[since:]
            if found["event"] == event
            and all(found.get(name) == value for name, value in fields.items())
        ]

    async def wait_for(
        self,
        event: str,
        count: int = 1,
        since: int = 0,
        timeout_s: float = TRAFFIC_TIMEOUT_S,
        **fields: Any,
    ) -> list[Event]:
        """Wait until it has said this `count` times, and return all of them."""

        def found() -> list[Event]:
            events = self.said(event, since, **fields)
            if len(events) < count and self.program.exit_status is not None:
                raise AssertionError(f"{self.name} ended: {self.story()}")
            return events if len(events) >= count else []

        return await self.changes.until(
            found, lambda: f"{count} × {event} {fields} of {self.name}: {self.story()}", timeout_s
        )

    def story(self) -> str:
        """The last of what it said."""
        return "\n".join(
            [*map(str, self.events[-10:]), *self.garbled[-10:], *self.program.stderr[-20:]]
        )

    async def close(self) -> None:
        """End it."""
        await self.program.close()


def node_modules() -> Path:
    """The directory with node-smpp, installed once for each lock file."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise PeerMissingError(f"{program} is not installed")
    lock = (SCRIPTS / "package-lock.json").read_bytes()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    place = cache / f"smsfilter-test-peers-{sha256(lock).hexdigest()[:12]}"
    if not place.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix="smsfilter-npm-") as directory:
            for name in ("package.json", "package-lock.json", ".npmrc"):
                shutil.copy(SCRIPTS / name, directory)
            done = subprocess.run(
                ["npm", "ci"], cwd=directory, capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise PeerMissingError(f"npm ci failed: {done.stderr[-500:]}")
            Path(directory).chmod(0o755)
            # Another worker may have been quicker: then its directory is as good.
            with contextlib.suppress(OSError):
                (Path(directory) / "node_modules").rename(place)
    return place


async def start_node(script: str) -> Peer:
    """node-smpp, as client.js or smsc.js."""
    modules = node_modules()
    return await Peer.start(
        f"node-smpp ({script})", ["node", str(SCRIPTS / script)], NODE_PATH=str(modules)
    )


async def start_smpplib() -> Peer:
    """smpplib as a client."""
    return await Peer.start("smpplib", [sys.executable, str(SCRIPTS / "smpplib_client.py")])


class Closable(Protocol):
    """A peer of any kind."""

    async def close(self) -> None:
        """End it."""


P = TypeVar("P", bound=Closable)


@contextlib.contextmanager
def needed() -> Iterator[None]:
    """A test without its peer is skipped, or fails where it must not be missing."""
    try:
        yield
    except PeerMissingError as error:
        if os.environ.get("TEST_REQUIRE_PEERS") == "1":
            raise
        pytest.skip(str(error))


@contextlib.asynccontextmanager
async def running(starting: Awaitable[P]) -> AsyncIterator[P]:
    """A peer for as long as it is needed."""
    with needed():
        peer = await starting
    try:
        yield peer
    finally:
        await peer.close()
