"""A simulated SMSC for the demo: a real SMPP server on a real port, in a thread of its own.

Takes every bind, numbers its messages, sends a delivery receipt to a transceiver that asks for
one, and reports each message before it answers it: whoever has had an answer can rely on its
having been counted. What is sent to the short code it brings to the short code's bind, until it is
taken or refused for good. It stands where the operator's SMSC would stand and knows nothing of the
proxy in front of it, nor of its rules: what it counts is what came over the wire.
"""

import asyncio
import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Final, NamedTuple, cast

from smsfilter.smpp import const as c
from smsfilter.smpp.errors import PDUError
from smsfilter.smpp.framer import Framer
from smsfilter.smpp.pdu import PDU, build, decode
from smsfilter.smpp.session import ESME_MAY_SEND, State, after_esme, after_smsc

HOST: Final = "127.0.0.1"
SHORT_CODE: Final = "10086999"
"""Whom customers text, and the account that it is bound with."""
PDU_MAX: Final = 70_000
"""Octets: a full message_payload (65,535) and what stands around it."""
PDUS_AT_ONCE: Final = 256
SHORT_MESSAGE_MOST: Final = 254  # octets (SMPP v3.4 §5.2.21)
STOP_TIMEOUT_S: Final = 5.0
BRING_AGAIN_S: Final = 0.2
"""After a temporary status, or while the short code is not bound."""

_MESSAGES: Final = frozenset({c.SUBMIT_SM, c.DATA_SM})
_TEMPORARY: Final = frozenset({c.ESME_RX_T_APPN, c.ESME_RMSGQFUL, c.ESME_RTHROTTLED})


class Arrival(NamedTuple):
    """A message that has reached the SMSC."""

    account: str
    source: bytes
    destination: bytes
    message: bytes
    data_coding: int = 0


class Brought(NamedTuple):
    """What the short code has said of a message."""

    status: int
    seconds: float
    """From the first octet of the first deliver_sm."""


class Simulator:
    """The SMSC, from `start` to `stop`; `arrived` is called in its thread for each message.

    Raises OSError where it cannot listen on `port`.
    """

    def __init__(self, arrived: Callable[[Arrival], None], port: int = 0) -> None:
        self.taken = 0
        """Messages that the short code has answered with ESME_ROK."""
        self._arrived = arrived
        self._sessions: set[_Session] = set()
        self._bringing: set[asyncio.Task[Brought]] = set()
        self._socket = socket.create_server((HOST, port))
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="simulated-smsc", daemon=True)
        self.port: int = self._socket.getsockname()[1]
        """Where it is; connections wait until `start`."""

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def stop(self) -> None:
        """End it, with all its connections, if it has not ended."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(STOP_TIMEOUT_S)

    def text(self, customer: str, text: bytes) -> "Future[Brought]":
        """Have a customer text the short code, in GSM 03.38; called in any thread."""
        message = Arrival("", customer.encode(), SHORT_CODE.encode(), text)
        return asyncio.run_coroutine_threadsafe(self._bring(message), self._loop)

    def _take(self, arrival: Arrival) -> None:
        """Report a message, and bring it on its way where it is for the short code."""
        self._arrived(arrival)
        if arrival.destination == SHORT_CODE.encode():
            task = self._loop.create_task(self._bring(arrival))
            self._bringing.add(task)
            task.add_done_callback(self._bringing.discard)

    async def _bring(self, message: Arrival) -> Brought:
        began: float | None = None
        while True:
            bound = next((each for each in self._sessions if each.is_short_code), None)
            if bound is not None:
                began = began or time.monotonic()
                status = await bound.bring(message)
                if status is not None and status not in _TEMPORARY:
                    self.taken += status == c.ESME_ROK
                    return Brought(status, time.monotonic() - began)
            await asyncio.sleep(BRING_AGAIN_S)

    def _run(self) -> None:
        with contextlib.closing(self._loop):
            self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        numbers = itertools.count(1)
        server = await self._loop.create_server(
            lambda: _Session(self._take, numbers, self._sessions), sock=self._socket
        )
        await self._stop.wait()
        server.close()
        for session in self._sessions:
            session.transport.abort()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        await asyncio.sleep(0)  # the sockets are closed in the next turn


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
        self._brought: dict[int, asyncio.Future[int | None]] = {}

    @property
    def is_short_code(self) -> bool:
        """Whether messages to the short code can be brought here."""
        return self._account == SHORT_CODE and self._state is State.BOUND_TRX

    async def bring(self, message: Arrival) -> int | None:
        """Deliver a message; the command_status of the answer, None where none came."""
        number = next(self._own_numbers)
        fits = len(message.message) <= SHORT_MESSAGE_MOST
        fields = {
            "source_addr": message.source,
            "destination_addr": message.destination,
            "data_coding": message.data_coding,
            "short_message": message.message if fits else b"",
        }
        tlvs = [] if fits else [(c.TAG_MESSAGE_PAYLOAD, message.message)]
        answer: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self._brought[number] = answer
        self._send(PDU(c.DELIVER_SM, 0, number, fields, tlvs))
        return await answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._sessions.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._sessions.discard(self)
        for answer in self._brought.values():
            if not answer.done():
                answer.set_result(None)

    def data_received(self, data: bytes) -> None:
        if not self._framer.feed(data):
            return
        while self._framer.ready():
            octets, spans = self._framer.take(PDUS_AT_ONCE)
            for start, end, command_id, status, sequence_number in spans:
                if command_id & c.RESPONSE_BIT:
                    self._answered(sequence_number, status)
                else:
                    self._take(octets[start:end], command_id, sequence_number)
            if len(spans) < PDUS_AT_ONCE:
                break
        if self._framer.broken is not None:
            self._send(PDU(c.GENERIC_NACK, c.ESME_RINVCMDLEN))
            self.transport.close()

    def _answered(self, sequence_number: int, status: int) -> None:
        answer = self._brought.pop(sequence_number, None)
        if answer is not None and not answer.done():
            answer.set_result(status)

    def _take(self, octets: bytes, command_id: int, sequence_number: int) -> None:
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
            coding = pdu.fields["data_coding"]
            self._arrived(Arrival(self._account, source, destination, pdu.message, coding))
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
