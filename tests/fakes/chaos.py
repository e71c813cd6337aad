"""A TCP connection that can be made bad while it is in use: stands between any two ends.

Whoever connects to its port is connected to the port behind it: ESME and proxy, proxy and SMSC,
proxy and Redis. Each direction has switches of its own. At most one piece of 64 KiB is in its
hands per direction, so what it does not pass on piles up at the ends, as it would in a network.
"""

import asyncio
import contextlib
import socket
import struct
from typing import Self

from tests.fakes.changes import Changes

PIECE_MOST = 64 << 10
BACKLOG = 1024


class Way:
    """The switches of one direction. Each may be set at any time."""

    def __init__(self) -> None:
        self.delay_s = 0.0
        """How long each piece is held up."""
        self.piece = 0
        """Pass octets on in pieces of that many, each a segment of its own; 0 = as they come."""
        self.dropping = False
        """Take octets and throw them away."""
        self.octets = 0
        """How many were passed on."""
        self._flows = asyncio.Event()
        self._flows.set()

    def stall(self) -> None:
        """Take nothing, say nothing, keep the connection."""
        self._flows.clear()

    def flow(self) -> None:
        """Take up where it was left."""
        self._flows.set()

    async def flowing(self) -> None:
        """Wait while stalled."""
        await self._flows.wait()

    def heal(self) -> None:
        """Pass everything on as it comes. What was dropped stays lost."""
        self.delay_s, self.piece, self.dropping = 0.0, 0, False
        self.flow()


class Link:
    """One connection through the proxy: two sockets, two pumps."""

    def __init__(self, proxy: "ChaosProxy", client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client, self._server = client, server
        self._deaf: set[Way] = set()
        pumps = ((proxy.to_server, client, server), (proxy.to_client, server, client))
        self._pumps = [asyncio.create_task(self._pump(*pump)) for pump in pumps]
        self.task = asyncio.create_task(self._live())

    async def _live(self) -> None:
        try:
            await asyncio.gather(*self._pumps)
        except OSError:
            self._reset()
        finally:
            for pump in self._pumps:
                pump.cancel()
            await asyncio.gather(*self._pumps, return_exceptions=True)
            self._client.close()
            self._server.close()
            self._proxy.links.discard(self)
            self._proxy.changes.notify()

    async def _pump(self, way: Way, source: socket.socket, sink: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await way.flowing()
            octets = await loop.sock_recv(source, PIECE_MOST)
            if octets and way.delay_s:
                await asyncio.sleep(way.delay_s)
            await way.flowing()
            if not octets:
                self._end(way, sink)
                return
            if way.dropping or way in self._deaf:
                continue
            piece = way.piece or len(octets)
            for at in range(0, len(octets), piece):
                await loop.sock_sendall(sink, octets[at : at + piece])
                way.octets += len(octets[at : at + piece])
                if piece < len(octets):
                    await asyncio.sleep(0)

    def _end(self, way: Way, sink: socket.socket) -> None:
        if way not in self._deaf:
            with contextlib.suppress(OSError):  # gone meanwhile
                sink.shutdown(socket.SHUT_WR)

    def half_close(self, way: Way) -> None:
        """Send FIN in this direction; what still comes for it is lost."""
        sink = self._server if way is self._proxy.to_server else self._client
        self._end(way, sink)
        self._deaf.add(way)

    def cut(self) -> None:
        """Reset both ends."""
        self._reset()
        for pump in self._pumps:
            pump.cancel()

    def _reset(self) -> None:
        _set_to_reset(self._client)
        _set_to_reset(self._server)


class ChaosProxy:
    """Listens on a port of its own, for the one behind it."""

    def __init__(self, behind: int) -> None:
        self.changes = Changes()
        self.behind = behind
        self.to_server = Way()
        self.to_client = Way()
        self.links: set[Link] = set()
        """The connections that stand."""
        self.connections = 0
        """How many were made in all."""
        self.port = 0
        self._listening: socket.socket | None = None
        self._connecting: set[asyncio.Task[None]] = set()

    @classmethod
    async def start(cls, behind: int) -> Self:
        """Listen on 127.0.0.1 for the server on the port `behind`."""
        proxy = cls(behind)
        proxy.listen()
        return proxy

    @property
    def url(self) -> str:
        """Where to find a Redis behind it."""
        return f"redis://127.0.0.1:{self.port}/0"

    def listen(self) -> None:
        """Listen; after `refuse` on the same port as before."""
        self._listening = socket.create_server(("127.0.0.1", self.port), backlog=BACKLOG)
        self._listening.setblocking(False)
        self.port = self._listening.getsockname()[1]
        asyncio.get_running_loop().add_reader(self._listening, self._accept, self._listening)

    def refuse(self) -> None:
        """Refuse new connections; those that stand go on."""
        if self._listening is not None:
            asyncio.get_running_loop().remove_reader(self._listening)
            self._listening.close()
            self._listening = None

    def cut(self) -> None:
        """Reset every connection."""
        for link in list(self.links):
            link.cut()

    def half_close(self, way: Way) -> None:
        """Send FIN in one direction of every connection, and nothing after it."""
        for link in self.links:
            link.half_close(way)

    def heal(self) -> None:
        """Be an ordinary piece of wire again."""
        self.to_server.heal()
        self.to_client.heal()
        if self._listening is None:
            self.listen()

    async def stop(self) -> None:
        """Close everything."""
        self.refuse()
        await asyncio.gather(*self._connecting)
        self.cut()
        await self.changes.until(lambda: not self.links, "the end of all connections")

    def _accept(self, listening: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionAbortedError):  # who has gone already
            client, _ = listening.accept()
            client.setblocking(False)
            self.connections += 1
            task = asyncio.create_task(self._connect(client))
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)

    async def _connect(self, client: socket.socket) -> None:
        server = socket.socket()
        server.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(server, ("127.0.0.1", self.behind))
        except OSError:
            _set_to_reset(client)
            client.close()
            server.close()
            return
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.links.add(Link(self, client, server))
        self.changes.notify()


def _set_to_reset(end: socket.socket) -> None:
    """Let the socket send RST once it is closed."""
    with contextlib.suppress(OSError):  # closed already
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
