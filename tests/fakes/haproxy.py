"""HAProxy in front of the daemon, as tests/peers/haproxy.cfg says."""

import shutil
import socket
from pathlib import Path
from string import Template
from typing import Self

from tests.fakes.changes import Changes
from tests.fakes.peer import SCRIPTS, START_TIMEOUT_S, PeerMissingError
from tests.fakes.process import Program, free_port, wait_until


def _listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


class HAProxy:
    """A running HAProxy and the ports of its three ways to the daemon."""

    def __init__(self) -> None:
        self.ports = {name: free_port() for name in ("v1", "v2", "tls")}
        self.lines: list[str] = []
        self.program = Program(Changes(), self.lines.append)

    @classmethod
    async def start(cls, directory: Path, plain_port: int, secured_port: int) -> Self:
        """Start it in front of two ports of the daemon."""
        binary = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
        if binary is None:
            raise PeerMissingError("haproxy is not installed")
        haproxy = cls()
        template = Template((SCRIPTS / "haproxy.cfg").read_text())
        named = {f"{name}_port": port for name, port in haproxy.ports.items()}
        config = directory / "haproxy.cfg"
        config.write_text(
            template.substitute(named, plain_port=plain_port, secured_port=secured_port)
        )
        await haproxy.program.start([binary, "-db", "-f", str(config)], cwd=directory)
        wait_until(
            lambda: all(_listens(port) for port in haproxy.ports.values()),
            f"HAProxy listens: {haproxy.program.stderr}",
            START_TIMEOUT_S,
        )
        return haproxy

    async def close(self) -> None:
        """End it."""
        await self.program.close()
