"""Accept ESMEs: within the limits, and never in a way that could hold up those who are in.

The sockets are accepted by hand and not by the event loop's server, because running out of file
descriptors has to pause accepting, say so once a second at most, and leave everyone else alone.
Where a balancer stands in front, the peer is whom its PROXY header names, once that is read.
"""

import asyncio
import errno
import resource
import socket
from collections import Counter
from collections.abc import Iterable
from functools import partial

from smsfilter import log
from smsfilter.config import Limits
from smsfilter.ends import Address, Listen
from smsfilter.proxy.close import Leg, Why
from smsfilter.proxy.entrance import Entrance
from smsfilter.proxy.handshakes import Handshakes
from smsfilter.proxy.hub import Hub
from smsfilter.proxy.legs import EsmeLeg
from smsfilter.proxy.relay import Relay
from smsfilter.proxy.tls import CrowdedError, TLSTransport
from smsfilter.tcp import tune

BACKLOG = 1024
ACCEPTS_AT_ONCE = 64
"""Connections taken in one turn of the loop: a storm of them shares the loop with traffic."""
DESCRIPTORS_PER_SESSION = 2
DESCRIPTORS_BESIDE = 64
"""Listening sockets, Redis, log, admin connections, what the interpreter holds."""
PAUSE_S = 1.0
"""How long accepting rests when there are no descriptors left."""
_OUT_OF_ROOM = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


def too_few_descriptors(sessions: int) -> tuple[int, int] | None:
    """How many file descriptors `sessions` may need and how many are allowed; None = it fits."""
    needed = sessions * DESCRIPTORS_PER_SESSION + DESCRIPTORS_BESIDE
    allowed, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (needed, allowed) if allowed != resource.RLIM_INFINITY and allowed < needed else None


class Listener:
    """The listening sockets, and the relays of all who came in through them."""

    def __init__(self, hub: Hub, limits: Limits) -> None:
        self._hub = hub
        hub.gone = self._gone
        self._limits = limits
        self._handshakes = Handshakes(limits.handshakes)
        self._sockets: dict[socket.socket, Listen] = {}
        self._by_peer: Counter[str] = Counter()
        self._counted: dict[Relay, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.relays: set[Relay] = set()
        self.empty = asyncio.Event()
        """Set while there is no relay."""
        self.empty.set()
        self.pauses = 0
        """How often accepting had to rest."""

    def listen(self, ends: Iterable[Listen]) -> list[str]:
        """Listen, and say where. Raises OSError when one of the addresses cannot be had."""
        try:
            for end in ends:
                self._sockets |= dict.fromkeys(_bind(*end.address), end)
        except OSError:
            self.stop()
            raise
        for sock in self._sockets:
            sock.listen(BACKLOG)
            self._watch(sock)
        return [str(Address(*sock.getsockname()[:2])) for sock in self._sockets]

    def stop(self) -> None:
        """Take no more connections."""
        for sock in self._sockets:
            asyncio.get_running_loop().remove_reader(sock)
            sock.close()
        self._sockets = {}

    def _gone(self, relay: object) -> None:
        if isinstance(relay, Relay) and relay in self.relays:
            self.relays.remove(relay)
            peer = self._counted.pop(relay, None)
            if peer is not None:
                self._by_peer[peer] -= 1
                if not self._by_peer[peer]:
                    del self._by_peer[peer]
            if not self.relays:
                self.empty.set()

    def _watch(self, sock: socket.socket) -> None:
        if sock in self._sockets:
            asyncio.get_running_loop().add_reader(sock, self._accept, sock)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(ACCEPTS_AT_ONCE):
            try:
                sock, address = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _OUT_OF_ROOM:
                    raise
                self._rest(listening, error)
                return
            self._enter(sock, address[0], self._sockets[listening])

    def _rest(self, listening: socket.socket, error: OSError) -> None:
        """Leave those who wait in the backlog there for a second."""
        self.pauses += 1
        log.get().error("accept_paused", why=error.strerror, sessions=len(self.relays))
        loop = asyncio.get_running_loop()
        loop.remove_reader(listening)
        loop.call_later(PAUSE_S, self._watch, listening)

    def _enter(self, sock: socket.socket, peer: str, end: Listen) -> None:
        behind_balancer = end.is_balancer(peer)
        crowded = not behind_balancer and self._by_peer[peer] >= self._limits.per_ip
        full = len(self.relays) >= self._limits.sessions or self._hub.memory.is_short
        if crowded or full:
            self._hub.metrics.closes[Leg.PROXY, Why.TOO_MANY] += 1
            sock.close()
            return
        sock.setblocking(False)
        tune(sock)
        relay = Relay(self._hub, peer)
        self.relays.add(relay)
        self.empty.clear()
        protocol = self._secured(relay, end)
        if behind_balancer:
            refused = partial(relay.esme_refused, Why.PROXY_HEADER)
            protocol = Entrance(protocol, partial(self._introduced, relay), refused)
        else:
            self._count(relay, peer)
        task = asyncio.get_running_loop().create_task(self._connect(relay, protocol, sock))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _count(self, relay: Relay, peer: str) -> None:
        self._by_peer[peer] += 1
        self._counted[relay] = peer
        log.get().debug("session_opened", peer=peer)

    def _introduced(self, relay: Relay, peer: str | None) -> None:
        """The balancer has said who is behind it; None = nobody but itself."""
        if peer is not None:
            relay.session.peer = peer
        if self._by_peer[relay.session.peer] >= self._limits.per_ip:
            relay.close(Leg.PROXY, Why.TOO_MANY)
        elif relay in self.relays:
            self._count(relay, relay.session.peer)

    def _secured(self, relay: Relay, end: Listen) -> asyncio.Protocol:
        """Put TLS in front of the ESME's leg where the address asks for it."""
        leg = EsmeLeg(relay)
        if end.tls is None:
            return leg

        def decided(error: Exception | None) -> None:
            if isinstance(error, CrowdedError):
                relay.close(Leg.PROXY, Why.TOO_MANY_HANDSHAKES)
            elif error is not None:
                relay.esme_refused(Why.HANDSHAKE, error)

        context = self._hub.keyring.context(end.tls)
        return TLSTransport(context, leg, decided, handshakes=self._handshakes)

    async def _connect(self, relay: Relay, protocol: asyncio.Protocol, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(lambda: protocol, sock)
        except OSError:
            sock.close()
            relay.close(Leg.ESME, Why.RESET)


def _bind(host: str, port: int) -> list[socket.socket]:
    """Bind one socket for each address that `host` stands for."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    bound: list[socket.socket] = []
    for family, kind, protocol, _, address in dict.fromkeys(found):
        sock = socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol)
        bound.append(sock)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            sock.bind(address)
        except OSError as error:
            for each in bound:
                each.close()
            why = error.strerror or str(error)
            raise OSError(error.errno, f"cannot listen on {Address(host, port)}: {why}") from None
    return bound
