"""TCP and TLS to the SMSC of an ESME."""

import asyncio
import errno
import os
import ssl
from collections.abc import Callable, Sequence
from typing import TypeVar

from smsfilter.ends import Upstream
from smsfilter.proxy.keyring import Keyring
from smsfilter.proxy.tls import TLSTransport
from smsfilter.tcp import connect

P = TypeVar("P", bound=asyncio.Protocol)


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
                    transport: asyncio.Transport = await connect(upstream, leg)
                else:
                    context = keyring.context(upstream.tls)
                    transport = await _secure(upstream, leg, context)
        except OSError as error:
            failure = error
            continue
        return transport, leg, upstream
    raise failure


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
    tcp = await connect(upstream, transport)
    try:
        error = await over
        if error is not None:
            raise error
        if transport.is_closing():  # lost since, and its leg has been told
            raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
    except BaseException:
        tcp.abort()
        raise
    return transport
