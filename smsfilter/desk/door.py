"""The doors of the desk: its UNIX socket, and the addresses where staff reach it over TCP.

On the socket the kernel says who is on the other end. On TCP it is whoever has a login; there no
other program's word is taken for where a request comes from, and whoever is slow, or one too many,
is let go of.
"""

import asyncio
import contextlib
import os
import socket
import ssl
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from smsfilter import tls
from smsfilter.deskconfig import SOCKET
from smsfilter.peopleconfig import DeskListen

GRACE_S: Final = 5
"""How long requests under way may take once the desk stops."""
CONNECTIONS_MOST: Final = 512
"""At once, on one address: staff of a whole province; what is over it is answered 503."""
SLOW_S: Final = 60.0
"""How long a request may take to arrive, and an answer to be taken."""
_CREDENTIALS: Final = struct.Struct("3i")  # struct ucred: pid, uid, gid


class _LocalProtocol(H11Protocol):
    """Has for its client what the kernel says of the other end: ("uid:0", pid)."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        sock = transport.get_extra_info("socket")
        octets = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid, uid, _ = _CREDENTIALS.unpack(octets)
        self.client = (f"uid:{uid}", pid)


class _RemoteProtocol(H11Protocol):
    """Lets go of whoever does not get a request across, or does not take the answer."""

    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._wait()

    def _wait(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
        self._waiting = self.loop.call_later(SLOW_S, self._look)

    def _look(self) -> None:
        cycle = self.cycle
        is_ours = cycle is not None and not cycle.response_complete and not cycle.more_body
        if is_ours and not self.flow.write_paused:
            self._wait()
        else:
            self.transport.abort()


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # signals are the program's


class _Served:
    """An app on a socket that listens."""

    def __init__(
        self, app: ASGIApp, protocol: type[H11Protocol], connections_most: int | None = None
    ) -> None:
        self._server = _Server(
            uvicorn.Config(
                app,
                http=protocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,  # a header must not say who asks
                limit_concurrency=connections_most,
                timeout_graceful_shutdown=GRACE_S,
            )
        )
        self._task: asyncio.Task[None] | None = None

    def serve(self, listener: socket.socket, context: ssl.SSLContext | None = None) -> None:
        listener.setblocking(False)
        self._server.config.load()
        self._server.config.ssl = context
        self._task = asyncio.create_task(self._server.serve([listener]), name="api")

    async def close(self) -> None:
        """Let what is under way end, then close."""
        self._server.should_exit = True
        if self._task is not None:
            await self._task


class Door(_Served):
    """Serves an app on `state_dir/desk.sock` (0600)."""

    def __init__(self, app: ASGIApp, state_dir: Path) -> None:
        super().__init__(app, _LocalProtocol)
        self.path = state_dir / SOCKET

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
        self.serve(listener)

    async def close(self) -> None:
        """Let what is under way end, then close."""
        await super().close()
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()


class StaffDoor(_Served):
    """Serves an app on one address of `desk.listen`, with TLS where it says so."""

    def __init__(self, app: ASGIApp, listen: DeskListen) -> None:
        super().__init__(app, _RemoteProtocol, CONNECTIONS_MOST)
        self._listen = listen
        self._context: ssl.SSLContext | None = None
        self.address = ""
        """Where it listens, with the port that the system has chosen if it was 0."""

    def open(self) -> None:
        """Listen. Raises OSError, tls.FileError."""
        if self._listen.tls is not None:
            self._context = self._listen.tls.read().context
        listener = _listener(self._listen)
        host, port = listener.getsockname()[:2]
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self.serve(listener, self._context)

    def renew(self) -> None:
        """Take over a renewed certificate: for whoever connects from now on. tls.FileError."""
        section = self._listen.tls
        if section is None or self._context is None:
            return
        section.read()
        try:
            self._context.load_cert_chain(section.certificate, section.key, password="")
        except OSError as error:  # it was renewed again, just between
            raise tls.FileError("certificate", f"{section.certificate}: {error}") from None


def _listener(listen: DeskListen) -> socket.socket:
    host, port = listen.address
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise OSError(error.errno, f"cannot listen on {listen.address}: {error.strerror}") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(CONNECTIONS_MOST)
    except OSError as error:
        listener.close()
        raise OSError(error.errno, f"cannot listen on {listen.address}: {error.strerror}") from None
    return listener
