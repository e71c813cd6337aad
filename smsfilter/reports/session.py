"""The report centre's session with its SMSC: octets and times in, values and octets out. No I/O.

The centre is the ESME, a transceiver. Whatever is done to a session, `take` then gives what is to
be sent and what has happened. Every request of the SMSC is answered exactly once, by the session
itself or by `answer`; a response is never answered. What the SMSC may send when stands in
smpp/session.py. Times are monotonic seconds.
"""

from collections.abc import Callable
from typing import Final

from smsfilter.deskmetrics import CentreMetrics, Outcome
from smsfilter.reports.events import (
    Answered,
    Bind,
    Bound,
    Ended,
    Event,
    Limits,
    Unreadable,
    Why,
)
from smsfilter.reports.octets import (
    MESSAGES,
    bind_transceiver,
    delivered_by,
    generic_nack,
    message_id_in,
    request,
    response,
    submit_sm,
)
from smsfilter.reports.sms import Answer, Delivered, Outgoing
from smsfilter.smpp.const import (
    BIND_TRANSCEIVER,
    ENQUIRE_LINK,
    ESME_RINVBNDSTS,
    ESME_RINVCMDID,
    ESME_ROK,
    ESME_RUNKNOWNERR,
    ESME_RX_P_APPN,
    ESME_RX_T_APPN,
    GENERIC_NACK,
    RESPONSE_BIT,
    SUBMIT_SM,
    UNBIND,
)
from smsfilter.smpp.errors import PDUError
from smsfilter.smpp.framer import Framer, Span
from smsfilter.smpp.pdu import decode
from smsfilter.smpp.session import SMSC_MAY_SEND, State, after_esme, after_smsc

PDU_MOST: Final = 70_000
"""Octets: a full message_payload (65,535) and what stands around it."""
PDUS_AT_ONCE: Final = 256
SEQUENCE_NUMBER_MOST: Final = 0x7FFFFFFF  # SMPP v3.4 §3.2
UNBIND_WITHIN_S: Final = 2.0


class Session:
    """One connection, from the bind on.

    `admit` is asked for each message whether there is room for it.
    """

    def __init__(
        self,
        bind: Bind,
        limits: Limits,
        metrics: CentreMetrics,
        admit: Callable[[Delivered], bool],
        now: float,
    ) -> None:
        self.state = State.OPEN
        self._bind = bind
        self._limits = limits
        self._metrics = metrics
        self._admit = admit
        self._framer = Framer(PDU_MOST)
        self._out: list[bytes] = []
        self._events: list[Event] = []
        self._last_number = 0
        self._submits: dict[int, float] = {}  # sequence_number → until when; the oldest first
        self._open: dict[Delivered, None] = {}
        self._heard_at = now
        self._asked_at: float | None = None  # since when an enquire_link is unanswered
        self._parting: int | None = None  # sequence_number of the SMSC's unbind, not answered yet
        self._until = now + limits.bind_s  # while binding or parting
        self._unbind_number: int | None = None
        self._draining = False
        self._bind_number = self._next_number()
        self._out.append(bind_transceiver(bind, self._bind_number))
        self.state = after_esme(self.state, BIND_TRANSCEIVER)

    # --- what may be asked of it

    @property
    def bound(self) -> bool:
        """Whether SMS may be submitted."""
        return self.state is State.BOUND_TRX and not self._draining

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self.state is State.CLOSED

    @property
    def room(self) -> int:
        """How many SMS may be submitted now."""
        return self._limits.window - len(self._submits) if self.bound else 0

    @property
    def in_flight(self) -> int:
        """How many SMS wait for their answer."""
        return len(self._submits)

    @property
    def quiet(self) -> bool:
        """Whether neither side owes the other an answer."""
        return not self._open and not self._submits

    def take(self) -> tuple[bytes, list[Event]]:
        """Give what is to be sent, and what has happened, since the last time."""
        octets, events = b"".join(self._out), self._events
        self._out, self._events = [], []
        return octets, events

    # --- what the centre does

    def submit(self, sms: Outgoing, now: float) -> int:
        """Send an SMS, for which there must be `room`; give its sequence_number.

        Raises PDUError where no submit_sm can carry it.
        """
        if self.room <= 0:
            raise RuntimeError("the window is full, or nothing may be submitted")
        number = self._next_number()
        self._out.append(submit_sm(self._bind, sms, number))
        self._submits[number] = now + self._limits.response_s
        return number

    def answer(self, delivered: Delivered, status: int) -> bool:
        """Answer a message; False where that is not possible any more, or has been done."""
        if self.ended or delivered not in self._open:
            return False
        del self._open[delivered]
        self._out.append(response(delivered.command_id, delivered.sequence_number, status))
        self._part()
        return True

    def drain(self) -> None:
        """Take nothing new: messages are answered as temporary, SMS cannot be submitted."""
        self._draining = True

    def unbind(self, now: float) -> None:
        """Say the last; the end follows within UNBIND_WITHIN_S."""
        if self.state is State.BOUND_TRX:
            self.state = after_esme(self.state, UNBIND)
            self._until = now + UNBIND_WITHIN_S
            self._unbind_number = self._next_number()
            self._out.append(request(UNBIND, self._unbind_number))
        elif self._parting is None:
            self.end(Why.STOPPED)

    def lost(self, why: Why) -> None:
        """The connection is gone; after an unbind that is what was to be."""
        if self._unbind_number is not None:
            why = Why.STOPPED
        elif self._parting is not None:
            why = Why.UNBOUND
        self.end(why)

    def end(self, why: Why, status: int = ESME_ROK) -> None:
        """Say no more; the connection is to go."""
        if self.ended:
            return
        self.state = State.CLOSED
        self._submits_unanswered()
        self._open.clear()
        self._events.append(Ended(why, status))

    # --- time

    def next_deadline(self) -> float:
        """When `tick` has something to do, if nothing else happens before."""
        if self.ended:
            return float("inf")
        oldest = next(iter(self._submits.values()), float("inf"))
        if self.state is not State.BOUND_TRX:
            return min(oldest, self._until)
        if self._asked_at is not None:
            return min(oldest, self._asked_at + self._limits.response_s)
        return min(oldest, self._heard_at + self._limits.enquire_link_s)

    def tick(self, now: float) -> None:
        """Do what is due at `now`."""
        if self.ended:
            return
        late = [number for number, until in self._submits.items() if until <= now]
        for number in late:
            del self._submits[number]
            self._events.append(Answered(number, None))
        if self.state is State.BOUND_TRX:
            self._enquire(now)
        elif self._until <= now:
            self._give_up()
        elif late:
            self._part()

    def _enquire(self, now: float) -> None:
        if self._asked_at is not None:
            if self._asked_at + self._limits.response_s <= now:
                self.end(Why.SILENT)
        elif self._heard_at + self._limits.enquire_link_s <= now:
            self._asked_at = now
            self._out.append(request(ENQUIRE_LINK, self._next_number()))

    def _give_up(self) -> None:
        """Wait no longer, for the answer to a bind or unbind or for what parting waits for."""
        if self.state is State.BINDING:
            self.end(Why.BIND_TIMEOUT)
        elif self._parting is not None:
            self._open.clear()
            self._submits_unanswered()
            self._part()
        else:
            self.end(Why.STOPPED)

    # --- what the SMSC says

    def receive(self, octets: bytes, now: float, received_at: int) -> None:
        """Take octets that came at `now`; `received_at` is in µs since 1970."""
        framer = self._framer
        framer.feed(octets)
        while not self.ended:
            buffer, spans = framer.take(PDUS_AT_ONCE)
            for span in spans:
                self._heard_at, self._asked_at = now, None
                self._pdu(buffer, span, now, received_at)
                if self.ended:
                    return
            if framer.broken is not None:
                error = framer.broken
                self._out.append(generic_nack(error.sequence_number, error.command_status))
                self.end(Why.FRAMING)
            if not spans:
                return

    def _pdu(self, buffer: bytes, span: Span, now: float, received_at: int) -> None:
        start, end, command_id, status, number = span
        if command_id & RESPONSE_BIT:
            self._response(buffer[start:end], command_id, status, number)
        elif command_id in MESSAGES:
            self._message(buffer[start:end], command_id, number, received_at)
        elif command_id not in SMSC_MAY_SEND[self.state]:
            self._metrics.dropped["unexpected_request"] += 1
            self._out.append(generic_nack(number, ESME_RINVCMDID))
        elif command_id == ENQUIRE_LINK:
            self._out.append(response(ENQUIRE_LINK, number))
        elif command_id == UNBIND:
            self._unbind_asked(number, now)
        # what is left is alert_notification, which has no response (SMPP v3.4 §4.12)

    def _message(self, octets: bytes, command_id: int, number: int, received_at: int) -> None:
        if self.state in (State.OPEN, State.BINDING):
            self._metrics.dropped["unexpected_request"] += 1
            self._out.append(response(command_id, number, ESME_RINVBNDSTS))
            return
        if self._draining or self.state is not State.BOUND_TRX:
            self._metrics.deliveries[Outcome.STOPPING] += 1
            self._out.append(response(command_id, number, ESME_RX_T_APPN))
            return
        try:
            pdu = decode(octets)
        except PDUError as error:
            self._metrics.deliveries[Outcome.MALFORMED] += 1
            self._events.append(Unreadable(command_id, str(error)))
            self._out.append(response(command_id, number, ESME_RX_P_APPN))
            return
        delivered = delivered_by(pdu, received_at)
        if not self._admit(delivered):
            self._metrics.deliveries[Outcome.BUSY] += 1
            self._out.append(response(command_id, number, ESME_RX_T_APPN))
            return
        self._open[delivered] = None
        self._events.append(delivered)

    def _response(self, octets: bytes, command_id: int, status: int, number: int) -> None:
        is_nack = command_id == GENERIC_NACK
        if self.state is State.BINDING and number == self._bind_number:
            if is_nack or command_id == BIND_TRANSCEIVER | RESPONSE_BIT:
                self._bind_answered(command_id, status)
                return
        elif number in self._submits and (is_nack or command_id == SUBMIT_SM | RESPONSE_BIT):
            del self._submits[number]
            message_id = b"" if is_nack or status else message_id_in(octets)
            # a nack with status 0 has accepted nothing all the same
            refused = status or (ESME_RUNKNOWNERR if is_nack else ESME_ROK)
            self._events.append(Answered(number, Answer(refused, message_id)))
            self._part()
            return
        elif number == self._unbind_number:
            if is_nack or command_id == UNBIND | RESPONSE_BIT:
                self.end(Why.STOPPED)
                return
        elif command_id == ENQUIRE_LINK | RESPONSE_BIT:
            return
        self._metrics.dropped["unexpected_response"] += 1

    def _bind_answered(self, command_id: int, status: int) -> None:
        if command_id == GENERIC_NACK or status:
            self.end(Why.REFUSED, status or ESME_RUNKNOWNERR)
            return
        self.state = after_smsc(self.state, command_id, status)
        self._events.append(Bound())

    def _unbind_asked(self, number: int, now: float) -> None:
        if self.state is State.UNBOUND:  # both have said it, or the SMSC says it twice
            self._out.append(response(UNBIND, number))
            return
        self.state = after_smsc(self.state, UNBIND, ESME_ROK)
        self._parting = number
        self._until = now + self._limits.drain_s
        self._part()

    def _part(self) -> None:
        """Answer the SMSC's unbind once neither side owes anything, and end."""
        if self._parting is not None and self.quiet:
            self._out.append(response(UNBIND, self._parting))
            self.end(Why.UNBOUND)

    def _submits_unanswered(self) -> None:
        self._events += [Answered(number, None) for number in self._submits]
        self._submits.clear()

    # --- octets

    def _next_number(self) -> int:
        """The next sequence_number, from 1 on, that no SMS without an answer has."""
        number = self._last_number
        while True:
            number = number % SEQUENCE_NUMBER_MOST + 1
            if number not in self._submits:
                self._last_number = number
                return number
