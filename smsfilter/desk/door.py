"""The UNIX socket of the desk: whose it is, and who is on the other end of a connection."""

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from smsfilter.deskconfig import SOCKET

GRACE_S: Final = 5
"""How long requests under way may take once the desk stops."""
_CREDENTIALS: Final = struct.Struct("3i")  # struct ucred: pid, uid, gid


class _Protocol(H11Protocol):
    """Has for its client what the kernel says of the other end: ("uid:0", pid)."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        sock = transport.get_extra_info("socket")
        octets = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid, uid, _ = _CREDENTIALS.unpack(octets)
        self.client = (f"uid:{uid}", pid)


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # signals are the program's


class Door:
    """Serves an app on `state_dir/desk.sock` (0600)."""

    def __init__(self, app: ASGIApp, state_dir: Path) -> None:
        self.path = state_dir / SOCKET
        self._server = _Server(
            uvicorn.Config(
                app,
                http=_Protocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=GRACE_S,
            )
        )
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Listen. Raises OSError."""
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()  # of a desk that was killed: the lock says that none runs
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            listener.bind(str(self.path))
            listener.listen(64)
        except OSError as error:
            listener.close()
            raise OSError(error.errno, f"{self.path}: {error.strerror}") from None
        finally:
            os.umask(before)
        listener.setblocking(False)
        self._task = asyncio.create_task(self._server.serve([listener]), name="api")

    async def close(self) -> None:
        """Let what is under way end, then close."""
        self._server.should_exit = True
        if self._task is not None:
            await self._task
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
