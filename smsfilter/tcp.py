"""A TCP connection to an SMSC, and the socket options of every SMPP connection."""

import asyncio
import errno
import os
import socket
from typing import Any

from smsfilter.ends import Upstream

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


async def connect(upstream: Upstream, protocol: asyncio.Protocol, **tls: Any) -> asyncio.Transport:
    """Connect `protocol` from the address that the SMSC is to see; `tls` is asyncio's.

    Raises OSError.
    """
    host, port = upstream.address
    local = (upstream.source_address, 0) if upstream.source_address else None
    transport, _ = await asyncio.get_running_loop().create_connection(
        lambda: protocol, host, port, local_addr=local, **tls
    )
    if transport.is_closing():  # lost before it was handed over: nothing would ever tell of it
        raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
    tune(transport.get_extra_info("socket"))
    return transport
