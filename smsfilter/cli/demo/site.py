"""What the demo sets up: a private Redis that is filled, a simulated SMSC, and a real proxy.

Everything lives in one temporary directory and ends with it. The proxy is the same command that
an operator runs, as a process of its own, told everything by files and heard by its log; it is
killed by the kernel should the demo be killed. Must not leave a process or a file behind, however
the demo ends, and must say in one line why it cannot begin.
"""

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, cast
from urllib.parse import quote

from smsfilter.cli.demo import senders
from smsfilter.cli.demo.simulator import HOST, Arrival, Simulator
from smsfilter.rules.policy import Policy
from smsfilter.rules.senders import RegistryFile
from smsfilter.store import keys, lint, registry
from smsfilter.store.connect import client, parse_url
from smsfilter.store.embedded import UNTIL_PARENT_ENDS, EmbeddedError, EmbeddedServer

if TYPE_CHECKING:
    from redis.asyncio import Redis

START_TIMEOUT_S: Final = 20.0
STOP_TIMEOUT_S: Final = 3.0


class DemoError(Exception):
    """The demo cannot begin or go on, for a reason that fits on a line."""


class Site:
    """`async with Site(port)`: all of it is up, and afterwards all of it is gone.

    `arrived` is called for each message at the SMSC, in the SMSC's thread, and `refused` with each
    line of the proxy's log that says so; set them to listen.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.admin = ""
        self.arrived: Callable[[Arrival], None] = lambda _: None
        self.refused: Callable[[dict[str, Any]], None] = lambda _: None
        self.failed = ""
        """Why the proxy has ended, if it has."""
        self._last_words = ""
        self._listening: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except (OSError, EmbeddedError) as error:
            await self._stack.aclose()
            raise DemoError(str(error)) from error
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _start(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="smsfilter-demo-"))
        self._stack.callback(shutil.rmtree, self.directory, ignore_errors=True)
        server = EmbeddedServer(self.directory / "store")
        self.redis_socket = server.socket_path
        self._stack.callback(self._remove_socket_directory)
        await self._stack.enter_async_context(server)
        url = f"unix://{quote(str(self.redis_socket))}"
        self.redis: Redis = client(parse_url(url, self.directory))
        self._stack.push_async_callback(self.redis.aclose)
        await self._fill()
        self.smsc = Simulator(self._arrived)
        self.smsc.start()
        self._stack.callback(self.smsc.stop)
        self._write_files(url)
        await self._start_proxy()

    def _remove_socket_directory(self) -> None:
        """Of a socket whose path would have been too long, if nobody else has one there."""
        with contextlib.suppress(OSError):
            self.redis_socket.parent.rmdir()

    async def _fill(self) -> None:
        """Do what an operator does: registry, approvals, and the index marked as filled."""
        content = {"companies": senders.COMPANIES, "resellers": senders.RESELLERS}
        await registry.save(self.redis, "", RegistryFile.model_validate(content), owner="demo")
        for company in senders.APPROVED:
            await self.redis.sadd(keys.approved("", company), "*")
        await lint.ready(self.redis, "")

    async def block(self, company: str, customer: str) -> None:
        """Write the block; it is in force when this returns."""
        await self.redis.sadd(keys.block("", customer), company)

    def _arrived(self, arrival: Arrival) -> None:
        self.arrived(arrival)

    # --- the proxy

    def _write_files(self, redis_url: str) -> None:
        import yaml  # noqa: PLC0415 - start-up of the other commands stays light

        config = {
            "proxy": {
                "listen": [f"{HOST}:{self.port}"],
                "smsc": [f"{HOST}:{self.smsc.port}"],
                "policy": "policy.yaml",
                "admin": f"{HOST}:0",
                "timeouts": {"drain": "1s"},
            },
            # A laptop that has other things to do must not make the demo speak of look-ups.
            "redis": {"url": redis_url, "deadline": "1s"},
            "state_dir": str(self.directory / "state"),
        }
        policy = Policy().model_dump(mode="json", exclude_none=True)
        for path, content in ((self.config_file, config), (self.policy_file, policy)):
            path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")

    @property
    def config_file(self) -> Path:
        """Where the proxy's configuration is."""
        return self.directory / "smsfilter.yaml"

    @property
    def policy_file(self) -> Path:
        """Where the proxy's policy is."""
        return self.directory / "policy.yaml"

    async def _start_proxy(self) -> None:
        """Return once it listens, and know its ports."""
        command = [sys.executable, "-m", "smsfilter", "proxy", "-c", str(self.config_file)]
        if sys.platform == "linux":
            command[:0] = [sys.executable, "-ISc", UNTIL_PARENT_ENDS, str(os.getpid())]
        ours = re.compile("SMSFILTER__|NOTIFY_SOCKET|WATCHDOG_")  # meant for another proxy
        self._process = await asyncio.create_subprocess_exec(
            *command,
            env={name: value for name, value in os.environ.items() if not ours.match(name)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a Ctrl-C in the terminal is for us, who end it in order
        )
        self._hearing = asyncio.create_task(self._hear())
        self._stack.push_async_callback(self._stop_proxy)
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await self._listening
        except TimeoutError:
            raise DemoError(f"the proxy does not listen after {START_TIMEOUT_S:g} s") from None

    async def _hear(self) -> None:
        """Take the proxy's log, line by line, until its end."""
        stdout = cast(asyncio.StreamReader, self._process.stdout)
        async for line in stdout:
            self._take(line.decode("utf-8", "replace").strip())
        status = await self._process.wait()
        how = f"exit status {status}" if status >= 0 else f"killed by signal {-status}"
        self.failed = f"the proxy has ended: {self._last_words or how}"
        if not self._listening.done():
            self._listening.set_exception(DemoError(self.failed))

    def _take(self, line: str) -> None:
        try:
            event = json.loads(line)
            name = event["event"]
        except (ValueError, TypeError, KeyError):
            self._last_words = line or self._last_words
            return
        if name == "listening" and not self._listening.done():
            self.port = int(event["listen"][0].rpartition(":")[2])
            self.admin = event["admin"]
            self._listening.set_result(None)
        elif name == "refused":
            self.refused(event)

    async def proxy_ends(self) -> None:
        """Wait for what should not happen; `failed` says why it did."""
        await asyncio.shield(self._hearing)

    async def _stop_proxy(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await asyncio.shield(self._hearing)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._hearing
