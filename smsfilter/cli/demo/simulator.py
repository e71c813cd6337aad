"""A simulated SMSC for the demo: a real SMPP server on a real port, in a thread of its own.

Takes every bind, numbers its messages, sends a delivery receipt to a transceiver that asks for
one, and reports each message before it answers it: whoever has had an answer can rely on its
having been counted. It stands where the operator's SMSC would stand and knows nothing of the
proxy in front of it, nor of its rules: what it counts is what came over the wire.
"""

import asyncio
import contextlib
import itertools
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple, cast

from smsfilter.smpp import const as c
from smsfilter.smpp.errors import PDUError
from smsfilter.smpp.framer import Framer
from smsfilter.smpp.pdu import PDU, build, decode
from smsfilter.smpp.session import ESME_MAY_SEND, State, after_esme, after_smsc

HOST: Final = "127.0.0.1"
PDU_MAX: Final = 70_000
"""Octets: a full message_payload (65,535) and what stands around it."""
PDUS_AT_ONCE: Final = 256
STOP_TIMEOUT_S: Final = 5.0

_MESSAGES: Final = frozenset({c.SUBMIT_SM, c.DATA_SM})


class Arrival(NamedTuple):
    """A message that has reached the SMSC."""

    account: str
    source: bytes
    destination: bytes
    message: bytes


class Simulator:
    """The SMSC, from `start` to `stop`; `arrived` is called in its thread for each message."""

    def __init__(self, arrived: Callable[[Arrival], None]) -> None:
        self._arrived = arrived
        self._socket = socket.create_server((HOST, 0))
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="simulated-smsc", daemon=True)
        self.port: int = self._socket.getsockname()[1]
        """Chosen by the system; connections wait until `start`."""

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def stop(self) -> None:
        """End it, with all its connections."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(STOP_TIMEOUT_S)

    def _run(self) -> None:
        with contextlib.closing(self._loop):
            self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        sessions: set[_Session] = set()
        numbers = itertools.count(1)
        server = await self._loop.create_server(
            lambda: _Session(self._arrived, numbers, sessions), sock=self._socket
        )
        await self._stop.wait()
        server.close()
        for session in sessions:
            session.transport.abort()
        await asyncio.sleep(0)  # their sockets are closed in the next turn


class _Session(asyncio.Protocol):
    """One connection to the SMSC."""

    def __init__(
        self,
        arrived: Callable[[Arrival], None],
        message_numbers: Iterator[int],
        sessions: "set[_Session]",
    ) -> None:
        self._arrived = arrived
        self._message_numbers = message_numbers
        self._sessions = sessions
        self._own_numbers = itertools.count(1)
        self._framer = Framer(PDU_MAX)
        self._state = State.OPEN
        self._account = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._sessions.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._sessions.discard(self)

    def data_received(self, data: bytes) -> None:
        if not self._framer.feed(data):
            return
        while self._framer.ready():
            octets, spans = self._framer.take(PDUS_AT_ONCE)
            for start, end, command_id, _status, sequence_number in spans:
                self._take(octets[start:end], command_id, sequence_number)
            if len(spans) < PDUS_AT_ONCE:
                break
        if self._framer.broken is not None:
            self._send(PDU(c.GENERIC_NACK, c.ESME_RINVCMDLEN))
            self.transport.close()

    def _take(self, octets: bytes, command_id: int, sequence_number: int) -> None:
        if command_id & c.RESPONSE_BIT:
            return
        response = PDU(command_id | c.RESPONSE_BIT, 0, sequence_number)
        try:
            pdu = decode(octets)
        except PDUError as error:
            if response.command_id not in c.COMMAND_NAMES:
                response.command_id = c.GENERIC_NACK
            response.command_status = error.command_status
            self._send(response)
            return
        if command_id not in ESME_MAY_SEND[self._state]:
            response.command_status = c.ESME_RINVBNDSTS
            self._send(response)
            return
        self._state = after_esme(self._state, command_id)
        self._answer(pdu, response)

    def _answer(self, pdu: PDU, response: PDU) -> None:
        if pdu.command_id in c.BINDS:
            self._account = pdu.fields["system_id"].decode("latin-1")
            self._state = after_smsc(self._state, response.command_id, c.ESME_ROK)
            response.fields["system_id"] = b"SMSC"
        elif pdu.command_id in _MESSAGES:
            source, destination = pdu.fields["source_addr"], pdu.fields["destination_addr"]
            self._arrived(Arrival(self._account, source, destination, pdu.message))
            response.fields["message_id"] = b"%08x" % next(self._message_numbers)
        elif pdu.command_id not in (c.ENQUIRE_LINK, c.UNBIND):  # it keeps nothing to ask about
            response.command_status = c.ESME_RSYSERR
        self._send(response)
        if "message_id" in response.fields:
            self._send_receipt(pdu, response.fields["message_id"])

    def _send_receipt(self, pdu: PDU, message_id: bytes) -> None:
        """Say that the message was delivered, where that is asked for and can be received."""
        wanted = pdu.command_id == c.SUBMIT_SM and pdu.fields["registered_delivery"] & 1
        if not wanted or self._state is not State.BOUND_TRX:
            return
        text = b"id:%s sub:001 dlvrd:001 stat:DELIVRD err:000" % message_id
        fields = {
            "source_addr": pdu.fields["destination_addr"],
            "destination_addr": pdu.fields["source_addr"],
            "esm_class": c.ESM_CLASS_DELIVERY_RECEIPT,
            "short_message": text,
        }
        self._send(PDU(c.DELIVER_SM, 0, next(self._own_numbers), fields))

    def _send(self, pdu: PDU) -> None:
        self.transport.write(build(pdu))
