"""One end of a TCP connection that tests hold: what came is recorded, what goes is scripted.

Base of both fakes. Octets arrive as whole PDUs in order; anything may be sent, in any shape, and
the connection may be treated in every way that real peers treat it: closed, reset, closed in one
direction, not read at all, fed octet by octet. It never reacts by itself; subclasses answer.
"""

import asyncio
import socket
import struct
from time import monotonic
from typing import cast

from smsfilter.smpp.const import COMMAND_NAMES
from tests.fakes import wire
from tests.fakes.changes import TIMEOUT_S, Changes

FIN = "fin"
RST = "rst"
LOCAL = "local"


class Leg(asyncio.Protocol):
    """A connection, its recorded PDUs, and all the ways to misuse it."""

    def __init__(self, changes: Changes) -> None:
        self.changes = changes
        self.received: list[bytes] = []
        """Every PDU that came, as octets, in order."""
        self.received_at: list[float] = []
        """When each came, in monotonic seconds."""
        self.eof = False
        """The peer has sent FIN."""
        self.ended: str | None = None
        """How the connection ended: FIN or RST by the peer, or LOCAL."""
        self.keep_open_at_eof = False
        """Answer FIN with silence: go on sending on a half-closed connection."""
        self._buffer = bytearray()
        self._hung_up = False

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        self.transport = cast(asyncio.Transport, transport)
        self.changes.notify()

    def data_received(self, data: bytes) -> None:
        """Record every PDU that is whole by now and let the subclass answer it."""
        self._buffer += data
        for pdu in wire.cut(self._buffer):
            self.received.append(pdu)
            self.received_at.append(monotonic())
            self.pdu_received(pdu)
        self.changes.notify()

    def eof_received(self) -> bool:
        """The peer has sent FIN."""
        self.eof = True
        self.changes.notify()
        return self.keep_open_at_eof

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, for whatever reason."""
        if self._hung_up and not self.eof:
            self.ended = LOCAL
        else:
            self.ended = RST if exc is not None else FIN
        self.changes.notify()

    # for the subclass

    def pdu_received(self, pdu: bytes) -> None:
        """One whole PDU has come."""

    # for the test

    @property
    def socket(self) -> socket.socket:
        """The socket underneath."""
        return cast(socket.socket, self.transport.get_extra_info("socket"))

    @property
    def partial(self) -> bytes:
        """Octets that came and are no whole PDU yet."""
        return bytes(self._buffer)

    def sent_by_peer(self, command_id: int) -> list[bytes]:
        """The PDUs that came with this command_id."""
        return [pdu for pdu in self.received if wire.header(pdu).command_id == command_id]

    def send_raw(self, octets: bytes) -> None:
        """Send octets as they are."""
        self.transport.write(octets)

    async def send_slowly(self, octets: bytes, piece: int = 1) -> None:
        """Send octets in pieces, each as a segment of its own."""
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(octets), piece):
            self.transport.write(octets[at : at + piece])
            await asyncio.sleep(0)

    def pause_reading(self) -> None:
        """Read nothing from now on: let the peer's octets pile up."""
        self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        self.transport.resume_reading()

    def half_close(self) -> None:
        """Send FIN and go on reading."""
        self.transport.write_eof()

    def hang_up(self) -> None:
        """Close with FIN once everything is written."""
        self._hung_up = True
        self.transport.close()

    def abort(self) -> None:
        """Close with RST at once."""
        self._hung_up = True
        if not self.transport.is_closing():
            linger = struct.pack("ii", 1, 0)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.transport.abort()

    async def close(self) -> None:
        """Close with FIN and wait until it is done; octets nobody takes are thrown away."""
        if self.transport.get_write_buffer_size():
            self.abort()
        else:
            self.hang_up()
        await self.wait_ended()

    async def wait_ended(self, timeout_s: float = TIMEOUT_S) -> str:
        """Wait for the end of the connection and say how it came."""
        return (
            await self.changes.until(
                lambda: self.ended,
                lambda: f"the end of {self}; received {describe(self.received)}",
                timeout_s,
            )
            or ""
        )

    async def wait_eof(self, timeout_s: float = TIMEOUT_S) -> None:
        """Wait for the peer's FIN, or for the end of the connection."""
        await self.changes.until(
            lambda: self.eof or self.ended,
            lambda: f"FIN on {self}; received {describe(self.received)}",
            timeout_s,
        )


def describe(pdus: list[bytes], last: int = 5) -> str:
    """A short text of recorded PDUs, for the message of a failing test."""
    if not pdus:
        return "nothing"
    shown = "; ".join(name_of(pdu) for pdu in pdus[-last:])
    return f"{len(pdus)} PDUs, the last: {shown}"


def name_of(pdu: bytes) -> str:
    """The header of a PDU in words."""
    if len(pdu) < wire.HEADER.size:
        return f"octets {pdu.hex()}"
    head = wire.header(pdu)
    name = COMMAND_NAMES.get(head.command_id, f"0x{head.command_id:08x}")
    return f"{name} #{head.sequence_number} status 0x{head.command_status:02x}"
