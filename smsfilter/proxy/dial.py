"""TCP to the SMSC, and the socket options of both legs."""

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import TypeVar

from smsfilter.config import Upstream

P = TypeVar("P", bound=asyncio.BaseProtocol)

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
    upstreams: Sequence[Upstream], within_s: float, factory: Callable[[], P]
) -> tuple[asyncio.Transport, P, Upstream]:
    """Connect to the first SMSC that takes a connection within `within_s` seconds.

    Raises OSError (TimeoutError is one) with what the last one said.
    """
    loop = asyncio.get_running_loop()
    failure: OSError = ConnectionError("no SMSC is configured")
    for upstream in upstreams:
        host, port = upstream.address
        local = (upstream.source_address, 0) if upstream.source_address else None
        try:
            async with asyncio.timeout(within_s):
                transport, protocol = await loop.create_connection(
                    factory, host, port, local_addr=local
                )
        except OSError as error:
            failure = error
            continue
        tune(transport.get_extra_info("socket"))
        return transport, protocol, upstream
    raise failure
