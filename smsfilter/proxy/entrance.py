"""In front of a connection that a balancer made: reads its PROXY header, then steps aside.

The header comes before everything else, TLS included. What follows it in the same octets goes to
the protocol behind; the connection is that protocol's from the beginning, so that it can be closed
at any time.
"""

import asyncio
from collections.abc import Callable
from typing import cast

from smsfilter.proxy.proxy_protocol import HeaderError, parse


class Entrance(asyncio.Protocol):
    """Tells `came` who is behind the balancer, or `refused` what is wrong with the header."""

    def __init__(
        self,
        behind: asyncio.Protocol,
        came: Callable[[str | None], None],
        refused: Callable[[Exception], None],
    ) -> None:
        self._behind = behind
        self._came = came
        self._refused = refused
        self._octets = bytearray()
        self._deaf = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Pass it on."""
        self._transport = cast(asyncio.Transport, transport)
        self._behind.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Look for the header, and give way."""
        if self._deaf:
            return
        self._octets += data
        try:
            header = parse(self._octets)
        except HeaderError as error:
            self._deaf = True
            self._refused(error)
            return
        if header is None:
            return
        self._transport.set_protocol(self._behind)
        self._came(header.peer)
        if rest := bytes(self._octets[header.length :]):
            self._behind.data_received(rest)

    def eof_received(self) -> bool | None:
        """Pass it on."""
        return self._behind.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass it on."""
        self._behind.connection_lost(exc)
