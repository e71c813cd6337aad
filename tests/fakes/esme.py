"""A scripted ESME: binds, submits, records every octet, and misbehaves when told to.

Requests of the SMSC (deliver_sm, data_sm, enquire_link, unbind) are answered by itself unless
`auto_answer` is off, and kept for `recv`. Responses go to whoever sent the request, matched by
sequence_number in the order of sending; what matches nothing goes to `recv` too, so that a test
sees it. A request that gets no answer fails with the list of what did come.
"""

import asyncio
import itertools
import socket
import ssl
from collections import deque
from collections.abc import Iterable
from time import monotonic
from typing import Any, Self

from smsfilter.proxy.tls import TLSTransport
from smsfilter.smpp import pdu as codec
from smsfilter.smpp.const import (
    BIND_RECEIVER,
    BIND_TRANSCEIVER,
    BIND_TRANSMITTER,
    DATA_SM,
    DELIVER_SM,
    ENQUIRE_LINK,
    GENERIC_NACK,
    RESPONSE_BIT,
    UNBIND,
)
from smsfilter.smpp.pdu import PDU
from tests.fakes import wire
from tests.fakes.certificates import HOST
from tests.fakes.changes import TIMEOUT_S, Changes
from tests.fakes.leg import Leg, describe, name_of

BIND_KINDS = {
    "tx": BIND_TRANSMITTER,
    "rx": BIND_RECEIVER,
    "trx": BIND_TRANSCEIVER,
    "transmitter": BIND_TRANSMITTER,
    "receiver": BIND_RECEIVER,
    "transceiver": BIND_TRANSCEIVER,
}


class FakeESME(Leg):
    """One connection of a bulk sender."""

    def __init__(self, *, auto_answer: bool = True) -> None:
        super().__init__(Changes())
        self.auto_answer = auto_answer
        self.sent: list[bytes] = []
        """The octets of every request that was sent through this object's methods."""
        self.sent_at: list[float] = []
        """When each was sent, in monotonic seconds."""
        self._numbers = itertools.count(1)
        self._open: dict[int, deque[tuple[int, asyncio.Future[bytes]]]] = {}
        self._inbox: deque[bytes] = deque()

    @classmethod
    async def connect(
        cls,
        port: int,
        host: str = "127.0.0.1",
        *,
        auto_answer: bool = True,
        local_host: str | None = None,
        rcvbuf: int | None = None,
        tls: ssl.SSLContext | None = None,
        before: bytes = b"",
        half_closing: bool = False,
    ) -> Self:
        """Connect; `local_host` chooses the address it comes from, `rcvbuf` a small buffer.

        `before` are octets that are sent before everything else, TLS included. `half_closing` is
        for TLS whose `half_close` works: asyncio's own has none, so it is the daemon's then, and
        who is not let in is an ESME that has ended.
        """
        loop = asyncio.get_running_loop()
        sock = socket.socket()
        sock.setblocking(False)
        try:
            if rcvbuf is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
            if local_host is not None:
                sock.bind((local_host, 0))
            async with asyncio.timeout(TIMEOUT_S):
                await loop.sock_connect(sock, (host, port))
                await loop.sock_sendall(sock, before)
        except BaseException:
            sock.close()
            raise
        if tls is not None and half_closing:
            esme, over = cls(auto_answer=auto_answer), loop.create_future()
            transport = TLSTransport(tls, esme, over.set_result, HOST)
            await loop.create_connection(lambda: transport, sock=sock)
            if await over is not None:
                transport.abort()
            return esme
        _, esme = await loop.create_connection(
            lambda: cls(auto_answer=auto_answer),
            sock=sock,
            ssl=tls,
            server_hostname=HOST if tls is not None else None,
        )
        return esme

    # what comes

    def pdu_received(self, pdu: bytes) -> None:
        """Hand a response to its request, answer a request, keep the rest."""
        head = wire.header(pdu) if len(pdu) >= wire.HEADER.size else None
        if head is not None and head.command_id & RESPONSE_BIT and self._matched(head, pdu):
            return
        self._inbox.append(pdu)
        if head is None or not self.auto_answer or self.transport.is_closing():
            return
        if head.command_id in (DELIVER_SM, DATA_SM):
            self.send_raw(wire.response(pdu, 0, b"\0"))
        elif head.command_id in (ENQUIRE_LINK, UNBIND):
            self.send_raw(wire.response(pdu))

    def _matched(self, head: wire.Header, pdu: bytes) -> bool:
        waiting = self._open.get(head.sequence_number)
        if not waiting:
            return False
        command_id, future = waiting[0]
        if head.command_id not in (command_id | RESPONSE_BIT, GENERIC_NACK):
            return False
        waiting.popleft()
        if not waiting:
            del self._open[head.sequence_number]
        if future.done():  # nobody waits for it any more
            return False
        future.set_result(pdu)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail every request that is still open."""
        super().connection_lost(exc)
        for waiting in self._open.values():
            for _, future in waiting:
                if not future.done():
                    future.set_exception(ConnectionResetError(f"ended ({self.ended}) unanswered"))
                    future.exception()  # the test may not be waiting for it

    # what goes

    def next_number(self) -> int:
        """The next sequence_number."""
        return next(self._numbers)

    def post(self, request: bytes) -> asyncio.Future[bytes]:
        """Send a request; the future gives the octets of its response."""
        future = self.expect(request)
        self.send_raw(request)
        return future

    def expect(self, request: bytes) -> asyncio.Future[bytes]:
        """Wait for the response to a request that the test sends by itself."""
        head = wire.header(request)
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._open.setdefault(head.sequence_number, deque()).append((head.command_id, future))
        self.sent.append(request)
        self.sent_at.append(monotonic())
        if self.ended is not None:
            future.set_exception(ConnectionResetError(f"ended ({self.ended}) before the request"))
            future.exception()
        return future

    async def response(self, future: asyncio.Future[bytes], timeout_s: float = TIMEOUT_S) -> PDU:
        """Wait for the response that `post` or `expect` promised, and decode it."""
        try:
            async with asyncio.timeout(timeout_s):
                return codec.decode(await future)
        except TimeoutError:
            raise TimeoutError(
                f"no response within {timeout_s:g} s; received {describe(self.received)}"
            ) from None

    async def request(self, request: PDU | bytes, timeout_s: float = TIMEOUT_S) -> PDU:
        """Send one request and return its response."""
        octets = request if isinstance(request, bytes) else codec.build(request)
        return await self.response(self.post(octets), timeout_s)

    async def bind(
        self,
        kind: str = "trx",
        system_id: bytes | str = "acme",
        password: bytes | str = "secret",
        *,
        timeout_s: float = TIMEOUT_S,
        **fields: Any,
    ) -> PDU:
        """Bind as tx, rx or trx and return the response, whatever its status."""
        pdu = wire.bind(BIND_KINDS[kind], self.next_number(), system_id, password, **fields)
        return await self.request(pdu, timeout_s)

    async def bound(self, kind: str = "trx", system_id: bytes | str = "acme", **more: Any) -> Self:
        """Bind, and fail unless it was accepted."""
        answer = await self.bind(kind, system_id, **more)
        assert answer.command_status == 0, f"bind refused with 0x{answer.command_status:02x}"
        return self

    def submit_octets(
        self,
        source: bytes | str,
        destination: bytes | str,
        text: bytes | str = b"hi",
        **fields: Any,
    ) -> bytes:
        """A submit_sm with the next sequence_number, or the one given."""
        number = fields.pop("sequence_number", None)
        return wire.submit_sm(
            self.next_number() if number is None else number, source, destination, text, **fields
        )

    async def submit(
        self,
        source: bytes | str,
        destination: bytes | str,
        text: bytes | str = b"hi",
        *,
        timeout_s: float = TIMEOUT_S,
        **fields: Any,
    ) -> PDU:
        """Submit one message and return its response."""
        return await self.request(
            self.submit_octets(source, destination, text, **fields), timeout_s
        )

    async def submit_all(
        self,
        source: bytes | str,
        destinations: Iterable[bytes | str],
        text: bytes | str = b"hi",
        *,
        timeout_s: float = 30.0,
        **fields: Any,
    ) -> list[PDU]:
        """Submit to all destinations in one write and return the responses in that order."""
        pdus = [self.submit_octets(source, to, text, **fields) for to in destinations]
        futures = [self.expect(pdu) for pdu in pdus]
        self.send_raw(b"".join(pdus))
        return [await self.response(future, timeout_s) for future in futures]

    async def enquire_link(self) -> PDU:
        """Ask whether the other end is alive."""
        return await self.request(wire.pack(ENQUIRE_LINK, self.next_number()))

    async def unbind(self) -> PDU:
        """Unbind and return the response."""
        return await self.request(wire.pack(UNBIND, self.next_number()))

    # what came unasked

    async def recv_raw(self, timeout_s: float = TIMEOUT_S) -> bytes:
        """The octets of the next PDU that is no response to a request of this ESME."""
        await self.changes.until(
            lambda: self._inbox or self.ended,
            lambda: f"a PDU from the SMSC; received {describe(self.received)}",
            timeout_s,
        )
        if not self._inbox:
            raise ConnectionResetError(f"ended ({self.ended}) with nothing to receive")
        return self._inbox.popleft()

    async def recv(self, timeout_s: float = TIMEOUT_S) -> PDU:
        """The next PDU that is no response to a request of this ESME."""
        return codec.decode(await self.recv_raw(timeout_s))

    def forget(self) -> None:
        """Drop the record of all that was sent and came, but for the bind."""
        for record in (self.sent, self.sent_at, self.received, self.received_at):
            del record[1:]
        self._inbox.clear()

    def unasked(self) -> list[str]:
        """What waits for `recv`, in words."""
        return [name_of(pdu) for pdu in self._inbox]
