"""A scripted SMSC on a real port: it records every octet and does what the test tells it.

By default it accepts every bind, answers every request with ESME_ROK and numbers its messages.
Everything else is a plain attribute that a test sets, before or in the middle of traffic: refuse
binds, give other statuses, withhold answers and release them later, answer late, twice, or with
garbage, stop reading, die and come back on the same port. It keeps what came in order, with the
connection it came on: tests assert on that record, never on what the proxy says of itself.
"""

import asyncio
import itertools
import socket
import ssl
from collections.abc import Callable, Iterable
from typing import Self

from smsfilter.smpp.const import (
    BIND_RECEIVER,
    BIND_TRANSCEIVER,
    BIND_TRANSMITTER,
    DATA_SM,
    QUERY_SM,
    RESPONSE_BIT,
    SUBMIT_MULTI,
    SUBMIT_SM,
    UNBIND,
)
from tests.fakes import wire
from tests.fakes.changes import TIMEOUT_S, Changes
from tests.fakes.leg import Leg, describe

BINDS = frozenset({BIND_RECEIVER, BIND_TRANSMITTER, BIND_TRANSCEIVER})
MESSAGES = frozenset({SUBMIT_SM, DATA_SM})

Status = int | Callable[[bytes], int]
Answer = Callable[["SMSCConnection", bytes], bytes | None]
Accepted = Callable[["SMSCConnection", bytes, str], None]


def _status(status: Status, pdu: bytes) -> int:
    return status(pdu) if callable(status) else status


class SMSCConnection(Leg):
    """One connection as the SMSC sees it."""

    def __init__(self, smsc: "FakeSMSC") -> None:
        super().__init__(smsc.changes)
        self.smsc = smsc
        self.bound: int | None = None
        """command_id of the bind that was accepted; None before it and after unbind."""
        self.system_id = b""
        self.held: list[bytes] = []
        """Requests whose answers are withheld, oldest first."""
        self.said: list[bytes] = []
        """Every deliver_sm that was sent."""
        self._expected: dict[int, asyncio.Future[bytes | None]] = {}
        self._numbers = itertools.count(1)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Register with the SMSC."""
        super().connection_made(transport)
        self.smsc.connections.append(self)
        if not self.smsc.reading:
            self.pause_reading()
        self.changes.notify()

    def pdu_received(self, pdu: bytes) -> None:
        """Record with the SMSC, and answer as scripted."""
        self.smsc.arrivals.append((self, pdu))
        if len(pdu) < wire.HEADER.size or wire.header(pdu).command_length < wire.HEADER.size:
            return
        command_id = wire.header(pdu).command_id
        if command_id in MESSAGES:
            self.smsc.note_submit(pdu)
        if command_id & RESPONSE_BIT:
            self._settle(wire.header(pdu).sequence_number, pdu)
            return
        if command_id in self.smsc.hold:
            self.held.append(pdu)
        elif self.smsc.delay_s:
            asyncio.get_running_loop().call_later(self.smsc.delay_s, self.answer, pdu)
        else:
            self.answer(pdu)

    def answer(self, pdu: bytes) -> None:
        """Answer one request now."""
        answer = self.smsc.answer(self, pdu)
        if answer and not self.transport.is_closing():
            self.send_raw(answer)

    def release(self, count: int | None = None) -> None:
        """Answer withheld requests, oldest first; all of them unless a count is given."""
        released, self.held = self.held[:count], self.held[len(self.held[:count]) :]
        for pdu in released:
            self.answer(pdu)

    def next_number(self) -> int:
        """The next sequence_number for a request of the SMSC."""
        return next(self._numbers)

    def deliver_sm(
        self, source: str, destination: str, text: bytes | str = b"hi", *, esm_class: int = 0
    ) -> bytes:
        """Send a deliver_sm and return its octets."""
        pdu = wire.deliver_sm(self.next_number(), source, destination, text, esm_class=esm_class)
        self.said.append(pdu)
        self.send_raw(pdu)
        return pdu

    def send_receipt(self, submit: bytes, message_id: str, state: str = "DELIVRD") -> bytes:
        """Send the delivery receipt for a submit_sm and return its octets."""
        sent = wire.read_submit_sm(submit)
        return self.deliver_sm(
            sent.destination.decode(),
            sent.source.decode(),
            wire.receipt_text(message_id, state),
            esm_class=0x04,
        )

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody will answer any more."""
        super().connection_lost(exc)
        for sequence_number in tuple(self._expected):
            self._settle(sequence_number, None)

    def expect(self, request: bytes) -> "asyncio.Future[bytes | None]":
        """Send a request; its response, or None where the connection ends without one."""
        future: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        if self.ended is not None:
            future.set_result(None)
            return future
        self._expected[wire.header(request).sequence_number] = future
        self.send_raw(request)
        return future

    def _settle(self, sequence_number: int, response: bytes | None) -> None:
        future = self._expected.pop(sequence_number, None)
        if future is not None and not future.done():
            future.set_result(response)

    async def response_to(self, request: bytes, timeout_s: float = TIMEOUT_S) -> bytes:
        """Wait for the peer's response to a request that was sent on this connection."""
        asked = wire.header(request)

        def found() -> bytes | None:
            for pdu in self.received:
                head = wire.header(pdu)
                if head.command_id & RESPONSE_BIT and head.sequence_number == asked.sequence_number:
                    return pdu
            return None

        def what() -> str:
            return f"a response to {asked}; received {describe(self.received)}"

        answer = await self.changes.until(found, what, timeout_s)
        assert answer is not None
        return answer


class FakeSMSC:
    """A listening SMSC. Its attributes are its script; its lists are its record."""

    def __init__(self) -> None:
        self.changes = Changes()
        self.connections: list[SMSCConnection] = []
        self.arrivals: list[tuple[SMSCConnection, bytes]] = []
        """Every PDU of every connection in order of arrival."""
        self._submits: list[bytes] = []
        self.bind_status: Status = 0
        self.submit_status: Status = 0
        self.hold: set[int] = set()
        """command_ids of requests that are not answered until released."""
        self.delay_s = 0.0
        self.receipts = False
        """Send a delivery receipt behind the response where registered_delivery asks for it."""
        self.reading = True
        """Set to False: connections made from now on are never read."""
        self.answer: Answer = self.default_answer
        """What to say to a request; replace it to say anything else."""
        self.message_ids: list[str] = []
        self.accepted: Accepted | None = None
        """Called for each message with its message_id, before that goes out."""
        self._server: asyncio.Server | None = None
        self._port = 0
        self._rcvbuf: int | None = None
        self.tls: ssl.SSLContext | None = None
        """For connections made after `listen`."""

    @classmethod
    async def start(
        cls, port: int = 0, *, rcvbuf: int | None = None, tls: ssl.SSLContext | None = None
    ) -> Self:
        """Listen on 127.0.0.1; `rcvbuf` makes a small receive buffer, to be full soon."""
        smsc = cls()
        smsc._port, smsc._rcvbuf, smsc.tls = port, rcvbuf, tls
        await smsc.listen()
        return smsc

    # life and death

    @property
    def port(self) -> int:
        """The port it listens, or has listened, on."""
        return self._port

    async def listen(self) -> None:
        """Listen; after `stop` or `kill` on the same port as before."""
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self._rcvbuf is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._rcvbuf)
        sock.bind(("127.0.0.1", self._port))
        self._port = sock.getsockname()[1]
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: SMSCConnection(self), sock=sock, ssl=self.tls
        )

    def stop_listening(self) -> None:
        """Refuse new connections; those that stand go on."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def stop(self) -> None:
        """Stop listening and close every connection with FIN."""
        await self._end(Leg.hang_up)

    async def kill(self) -> None:
        """Stop listening and reset every connection, as a machine that dies and comes back."""
        await self._end(Leg.abort)

    async def _end(self, how: Callable[[Leg], None]) -> None:
        self.stop_listening()
        for connection in self.open_connections():
            how(connection)
            if connection.transport.get_write_buffer_size():
                connection.abort()
        await self.changes.until(
            lambda: not self.open_connections(), "the end of all connections of the SMSC"
        )

    # the script

    def default_answer(self, connection: SMSCConnection, pdu: bytes) -> bytes | None:
        """Answer as an SMSC in good health does, with the scripted statuses."""
        command_id = wire.header(pdu).command_id
        if command_id in BINDS:
            return self._answer_bind(connection, pdu)
        if command_id in MESSAGES or command_id == SUBMIT_MULTI:
            return self._answer_message(connection, pdu)
        if command_id == UNBIND:
            connection.bound = None
        if command_id == QUERY_SM:
            message_id = pdu[16 : pdu.index(b"\0", 16)]
            return wire.response(pdu, 0, wire.cstring(message_id) + b"\0\x02\0")
        return wire.response(pdu)

    def _answer_bind(self, connection: SMSCConnection, pdu: bytes) -> bytes:
        status = _status(self.bind_status, pdu)
        if status:
            return wire.response(pdu, status)
        connection.bound = wire.header(pdu).command_id
        connection.system_id = pdu[16 : pdu.index(b"\0", 16)]
        self.changes.notify()
        return wire.response(pdu, 0, wire.cstring("SMSC"))

    def _answer_message(self, connection: SMSCConnection, pdu: bytes) -> bytes:
        status = _status(self.submit_status, pdu)
        if status:
            return wire.response(pdu, status)
        message_id = f"{len(self.message_ids) + 1:08x}"
        self.message_ids.append(message_id)
        if self.accepted is not None:
            self.accepted(connection, pdu, message_id)
        if (
            self.receipts
            and connection.bound == BIND_TRANSCEIVER
            and wire.header(pdu).command_id == SUBMIT_SM
            and wire.read_submit_sm(pdu).registered_delivery & 1
        ):
            loop = asyncio.get_running_loop()
            loop.call_soon(connection.send_receipt, pdu, message_id)
        none_unsuccessful = b"\0" if wire.header(pdu).command_id == SUBMIT_MULTI else b""
        return wire.response(pdu, 0, wire.cstring(message_id) + none_unsuccessful)

    def release(self, count: int | None = None) -> None:
        """Answer withheld requests on every connection and withhold no more."""
        if count is None:
            self.hold.clear()
        for connection in self.open_connections():
            connection.release(count)

    # the record

    @property
    def received(self) -> list[bytes]:
        """The octets of every PDU of every connection, in order of arrival."""
        return [pdu for _, pdu in self.arrivals]

    def of_kind(self, command_ids: Iterable[int]) -> list[bytes]:
        """The recorded PDUs with one of these command_ids."""
        wanted = frozenset(command_ids)
        return [
            pdu
            for pdu in self.received
            if len(pdu) >= wire.HEADER.size and wire.header(pdu).command_id in wanted
        ]

    def submits(self) -> list[bytes]:
        """The octets of every submit_sm and data_sm that came."""
        return list(self._submits)

    def note_submit(self, pdu: bytes) -> None:
        """Enter one submit_sm or data_sm in the record."""
        self._submits.append(pdu)

    def forget(self) -> None:
        """Drop the record, but for the binds of the connections that stand."""
        self.connections = self.open_connections()
        for connection in self.connections:
            for record in (connection.received, connection.received_at):
                del record[1:]
            connection.said.clear()
        self.arrivals.clear()
        self._submits.clear()
        self.message_ids.clear()

    def destinations(self) -> list[str]:
        """The destination_addr of every submit_sm that came."""
        return wire.destinations(self.of_kind({SUBMIT_SM}))

    def open_connections(self) -> list[SMSCConnection]:
        """Connections that have not ended."""
        return [connection for connection in self.connections if connection.ended is None]

    def bound_connections(self, system_id: bytes | str | None = None) -> list[SMSCConnection]:
        """Open connections with an accepted bind, of one account or of all."""
        return [
            connection
            for connection in self.open_connections()
            if connection.bound is not None
            and (system_id is None or connection.system_id == wire.octets_of(system_id))
        ]

    async def wait_for(self, n_submits: int, timeout_s: float = TIMEOUT_S) -> list[bytes]:
        """Wait until that many submit_sm and data_sm have come, and return all of them."""
        await self.changes.until(
            lambda: len(self._submits) >= n_submits,
            lambda: f"{n_submits} submits at the SMSC; it has {describe(self._submits)}",
            timeout_s,
        )
        return self.submits()

    async def wait_for_pdu(
        self, command_id: int, count: int = 1, timeout_s: float = TIMEOUT_S
    ) -> bytes:
        """Wait until `count` PDUs with this command_id have come, and return the last."""
        await self.changes.until(
            lambda: len(self.of_kind({command_id})) >= count,
            lambda: f"{count} of 0x{command_id:08x} at the SMSC; it has {describe(self.received)}",
            timeout_s,
        )
        return self.of_kind({command_id})[-1]

    async def wait_bound(
        self, system_id: bytes | str | None = None, timeout_s: float = TIMEOUT_S
    ) -> SMSCConnection:
        """Wait for an accepted bind and return the newest connection that has one."""
        found = await self.changes.until(
            lambda: self.bound_connections(system_id),
            lambda: f"a bind at the SMSC; it has {describe(self.received)}",
            timeout_s,
        )
        return found[-1]

    async def wait_connection(self, count: int = 1, timeout_s: float = TIMEOUT_S) -> SMSCConnection:
        """Wait until `count` connections were made in all, and return the last of these."""
        await self.changes.until(
            lambda: len(self.connections) >= count,
            lambda: f"{count} connections at the SMSC; it had {len(self.connections)}",
            timeout_s,
        )
        return self.connections[count - 1]

    async def wait_no_connection(self, timeout_s: float = TIMEOUT_S) -> None:
        """Wait until no connection is left."""
        await self.changes.until(
            lambda: not self.open_connections(),
            lambda: f"the end of {len(self.open_connections())} connections at the SMSC",
            timeout_s,
        )
