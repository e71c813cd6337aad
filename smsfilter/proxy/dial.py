"""TCP and TLS to the SMSC, and the socket options of both legs."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import TypeVar

from smsfilter.ends import Upstream
from smsfilter.proxy.keyring import Keyring
from smsfilter.proxy.tls import TLSTransport

P = TypeVar("P", bound=asyncio.Protocol)

KEEPALIVE_IDLE_S, KEEPALIVE_EVERY_S, KEEPALIVE_TIMES = 60, 10, 3
USER_TIMEOUT_MS = 30_000
"""How long sent octets may stay unacknowledged (RFC 5482): a dead peer is found within it."""


def tune(sock: socket.socket) -> None:
    """No Nagle, and a peer that is gone is noticed. UNIX sockets and the like are left alone."""
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_EVERY_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_TIMES)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)


async def dial(
    upstreams: Sequence[Upstream], within_s: float, factory: Callable[[], P], keyring: Keyring
) -> tuple[asyncio.Transport, P, Upstream]:
    """Connect to the first SMSC that takes a connection, TLS included, within `within_s` seconds.

    Raises OSError (TimeoutError is one) with what the last one said.
    """
    failure: OSError = ConnectionError("no SMSC is configured")
    for upstream in upstreams:
        leg = factory()
        try:
            async with asyncio.timeout(within_s):
                if upstream.tls is None:
                    transport: asyncio.Transport = await _connect(upstream, leg)
                else:
                    context = keyring.context(upstream.tls)
                    transport = await _secure(upstream, leg, context)
        except OSError as error:
            failure = error
            continue
        return transport, leg, upstream
    raise failure


async def _connect(upstream: Upstream, protocol: asyncio.Protocol) -> asyncio.Transport:
    host, port = upstream.address
    local = (upstream.source_address, 0) if upstream.source_address else None
    transport, _ = await asyncio.get_running_loop().create_connection(
        lambda: protocol, host, port, local_addr=local
    )
    tune(transport.get_extra_info("socket"))
    return transport


async def _secure(
    upstream: Upstream, leg: asyncio.Protocol, context: ssl.SSLContext
) -> TLSTransport:
    """Connect, and wait for the end of the handshake."""
    over: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    def decided(error: Exception | None) -> None:
        if not over.done():
            over.set_result(error)

    host = upstream.address.host
    name = (upstream.tls.server_name if upstream.tls else None) or host
    transport = TLSTransport(context, leg, decided, name)
    tcp = await _connect(upstream, transport)
    try:
        error = await over
        if error is not None:
            raise error
    except BaseException:
        tcp.abort()
        raise
    return transport
