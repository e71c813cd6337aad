"""Other programs that tests start: tied to the life of the test process, on ports of their own.

A run of the tests that is killed must leave no server behind, and two runs on one machine must not
meet. Whatever can be awaited is awaited elsewhere; `wait_until` is for programs that tell nobody
when they are ready.
"""

import shutil
import socket
import time
from collections.abc import Callable, Sequence


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
