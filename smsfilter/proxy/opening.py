"""The time before a bind is accepted: who may ask, the SMSC is dialled, its answer is passed on.

Nothing but a well-formed bind that passes the operator's checks takes a connection of the SMSC.
What an ESME sends before that, or behind a bind that waits, is answered here and never kept.
After a refused bind the ESME may try another; its SMSC connection is closed.
"""

import asyncio
from time import monotonic
from typing import Protocol

from smsfilter import log
from smsfilter.proxy.bind import STRANGERS
from smsfilter.proxy.close import Leg, Why
from smsfilter.proxy.dial import dial
from smsfilter.proxy.hub import Hub
from smsfilter.proxy.legs import Pair, SmscLeg
from smsfilter.proxy.octets import nack, respond
from smsfilter.proxy.session import Session
from smsfilter.proxy.tls import names_of
from smsfilter.rules.policy import AccountPolicy
from smsfilter.rules.verdict import ANSWERS, Reason
from smsfilter.smpp.const import (
    ALERT_NOTIFICATION,
    BIND_RECEIVER,
    BIND_TRANSCEIVER,
    BIND_TRANSMITTER,
    CANCEL_SM,
    DATA_SM,
    ENQUIRE_LINK,
    ESME_RINVCMDID,
    ESME_RINVCMDLEN,
    GENERIC_NACK,
    HEADER_LENGTH,
    QUERY_SM,
    REPLACE_SM,
    RESPONSE_BIT,
    STATUS_NAMES,
    SUBMIT_MULTI,
    SUBMIT_SM,
    UNBIND,
)
from smsfilter.smpp.errors import Malformed
from smsfilter.smpp.framer import Framer, Span
from smsfilter.smpp.peek import Bind, peek_bind
from smsfilter.smpp.session import State
from smsfilter.tls import told

BOUND_AS = {
    BIND_TRANSMITTER: State.BOUND_TX,
    BIND_RECEIVER: State.BOUND_RX,
    BIND_TRANSCEIVER: State.BOUND_TRX,
}
"""SMPP v3.4 §2.2."""
ONCE_BOUND = frozenset(
    {*(SUBMIT_SM, SUBMIT_MULTI, DATA_SM, REPLACE_SM, QUERY_SM, CANCEL_SM, UNBIND), ENQUIRE_LINK}
)
"""Requests that an ESME may make, but not yet. All others are nacked, now as later."""


class Opener(Pair, Protocol):
    """What the opening does with its relay."""

    hub: Hub
    session: Session
    esme: asyncio.Transport | None
    smsc: asyncio.Transport | None
    smsc_leg: SmscLeg | None
    closing: bool
    waits_since: float

    def to_esme(self, octets: bytes) -> None:
        """Send to the ESME."""

    def smsc_made(self, transport: asyncio.Transport, leg: SmscLeg, upstream: str) -> None:
        """The SMSC has taken a connection."""

    def bound(self) -> None:
        """The SMSC has accepted the bind."""

    def go_on(self) -> None:
        """Decide what came meanwhile."""

    def close(self, leg: Leg, why: Why) -> None:
        """End the session."""


class Opening:
    """One connection of an ESME that is not bound yet."""

    __slots__ = ("_bind", "_command_id", "_entered", "_relay", "_sequence_number", "_task")

    def __init__(self, relay: Opener) -> None:
        self._relay = relay
        self._bind: Bind | None = None
        self._command_id = 0
        self._sequence_number = 0
        self._entered = False  # the bind counts as one of its account's sessions
        self._task: asyncio.Task[None] | None = None

    # --- from the ESME

    def take(self) -> None:
        """Answer what the ESME has sent so far."""
        relay = self._relay
        framer = relay.session.from_esme
        while framer.ready() and not relay.closing:
            buffer, spans = framer.take(1)
            for span in spans:
                self._handle(buffer, span)
            if framer.broken is not None:
                relay.to_esme(nack(framer.broken.sequence_number, ESME_RINVCMDLEN))
                relay.close(Leg.ESME, Why.FRAMING)

    def _handle(self, buffer: bytes, span: Span) -> None:
        relay = self._relay
        start, end, command_id, _, sequence_number = span
        if command_id == ENQUIRE_LINK and end - start == HEADER_LENGTH:
            relay.to_esme(respond(ENQUIRE_LINK, sequence_number, 0))
        elif command_id in BOUND_AS:
            self._asked(buffer, span)
        elif command_id & RESPONSE_BIT:
            relay.hub.metrics.pdus_dropped["esme", "unexpected_response"] += 1
        elif command_id == ALERT_NOTIFICATION:  # has no response (SMPP v3.4 §4.12)
            relay.hub.metrics.pdus_dropped["esme", "unexpected_request"] += 1
        elif command_id in ONCE_BOUND:
            kind, status = ANSWERS[Reason.NOT_BOUND_FOR_THIS]
            relay.hub.metrics.refused[kind, Reason.NOT_BOUND_FOR_THIS] += 1
            relay.to_esme(relay.session.refusal(command_id, sequence_number, status))
        else:
            kind, status = ANSWERS[Reason.UNKNOWN_COMMAND]
            relay.hub.metrics.refused[kind, Reason.UNKNOWN_COMMAND] += 1
            relay.to_esme(nack(sequence_number, status))

    def _asked(self, buffer: bytes, span: Span) -> None:
        """A bind: check it, and dial the SMSC for it."""
        relay = self._relay
        start, end, command_id, _, sequence_number = span
        if relay.session.state is not State.OPEN:
            status = ANSWERS[Reason.ALREADY_BOUND].command_status
            relay.hub.metrics.binds[Reason.ALREADY_BOUND] += 1
            relay.to_esme(respond(command_id, sequence_number, status))
            return
        try:
            bind = peek_bind(buffer, start, end)
        except Malformed as error:
            relay.hub.metrics.binds[Reason.MALFORMED] += 1
            relay.to_esme(respond(command_id, sequence_number, error.command_status))
            return
        self._bind, self._command_id, self._sequence_number = bind, command_id, sequence_number
        relay.session.state = State.BINDING
        self._task = asyncio.get_running_loop().create_task(self._go(bind, buffer[start:end]))

    async def _go(self, bind: Bind, octets: bytes) -> None:
        relay, hub = self._relay, self._relay.hub
        account = bind.system_id.decode("latin-1")
        peer = relay.session.peer
        try:
            reason = self._objection(bind)
            delay = hub.binds.delay(hub.gate.judge.policy, peer, account, reason)
            if delay:
                relay.waits_since = monotonic() + delay
                await asyncio.sleep(delay)
                reason = reason or self._objection(bind)
            if reason is not None:
                self._refuse(reason)
                return
            self._enter(account)
            timeouts = hub.config.timeouts
            try:
                within_s = timeouts.connect.total_seconds()
                transport, leg, upstream = await dial(
                    hub.config.smsc, within_s, lambda: SmscLeg(relay), hub.keyring
                )
            except OSError as error:
                self._refuse(Reason.SMSC_UNAVAILABLE, why=told(error))
                return
            relay.smsc_made(transport, leg, str(upstream.address))
            transport.write(octets)
        except Exception as error:
            relay.crash(error)

    def _objection(self, bind: Bind) -> Reason | None:
        hub = self._relay.hub
        if hub.gate.paused:
            return Reason.PAUSED
        if hub.memory.is_short:
            return Reason.TOO_MANY_SESSIONS
        policy, peer = hub.gate.judge.policy, self._relay.session.peer
        certificate = names_of(self._relay.esme)
        return hub.binds.objection(policy, peer, bind, self._command_id, certificate)

    def _refuse(self, reason: Reason, **told: str) -> None:
        """Refuse the bind without the SMSC, or because there is none."""
        status = ANSWERS[reason].command_status
        self._relay.hub.metrics.binds[reason] += 1
        self._refused(respond(self._command_id, self._sequence_number, status))
        self._tell_refused(reason, status, told)

    def _refused(self, answer: bytes) -> None:
        """Back to the beginning: the ESME may try another bind."""
        relay = self._relay
        self._leave()
        relay.to_esme(answer)
        relay.session.state = State.OPEN
        relay.waits_since = monotonic()
        relay.session.from_smsc = Framer(relay.hub.config.limits.pdu)  # begins anew with the next
        if relay.smsc is not None:
            smsc, relay.smsc, relay.smsc_leg = relay.smsc, None, None
            smsc.close()

    # --- from the SMSC

    def from_smsc(self) -> None:
        """Look for the answer to the bind."""
        relay = self._relay
        framer = relay.session.from_smsc
        while framer.ready() and relay.session.state is State.BINDING and relay.smsc is not None:
            buffer, spans = framer.take(1)
            for span in spans:
                self._answer(buffer, span)
            if framer.broken is not None:
                self._refuse(Reason.SMSC_UNAVAILABLE, why="the SMSC does not speak SMPP")
                relay.close(Leg.SMSC, Why.FRAMING)

    def _answer(self, buffer: bytes, span: Span) -> None:
        start, end, command_id, status, sequence_number = span
        relay = self._relay
        expected = (self._command_id | RESPONSE_BIT, GENERIC_NACK)
        if command_id in expected and sequence_number == self._sequence_number:
            if status or command_id == GENERIC_NACK:
                self._refused_by_smsc(buffer[start:end], status)
            else:
                self._accepted(buffer[start:end])
        elif command_id & RESPONSE_BIT:
            relay.hub.metrics.pdus_dropped["smsc", "unexpected_response"] += 1
        elif relay.smsc is not None:
            if command_id == ENQUIRE_LINK and end - start == HEADER_LENGTH:
                relay.smsc.write(respond(ENQUIRE_LINK, sequence_number, 0))
            else:
                relay.hub.metrics.pdus_dropped["smsc", "unexpected_request"] += 1
                relay.smsc.write(nack(sequence_number, ESME_RINVCMDID))

    def _accepted(self, octets: bytes) -> None:
        relay, bind = self._relay, self._bind
        if bind is None:
            return
        session, hub = relay.session, relay.hub
        account = bind.system_id.decode("latin-1")
        state = BOUND_AS[self._command_id]
        own = hub.gate.judge.policy.accounts.get(account, AccountPolicy())
        session.bound(state, account, bind.interface_version, hub.config.limits.pdu, own.error_body)
        hub.binds.accepted(session.peer, account)
        hub.metrics.binds["accepted"] += 1
        relay.to_esme(octets)
        log.get().info(
            "session_bound", account=account, peer=session.peer, bound_as=state.name.lower()
        )
        relay.bound()
        relay.go_on()

    def _refused_by_smsc(self, octets: bytes, status: int) -> None:
        relay, bind = self._relay, self._bind
        if bind is not None:
            relay.hub.binds.failed(relay.session.peer, bind.system_id.decode("latin-1"))
        relay.hub.metrics.binds["refused_by_smsc"] += 1
        self._refused(octets)
        self._tell_refused("refused_by_smsc", status, {})

    def smsc_lost(self, error: Exception | None) -> None:
        """The SMSC has hung up on the bind."""
        relay = self._relay
        if relay.session.state is State.BINDING:
            why = told(error) if error else "the SMSC closed the connection"
            self._refuse(Reason.SMSC_UNAVAILABLE, why=why)

    # --- the end

    def timed_out(self) -> None:
        """The whole bind took too long."""
        relay = self._relay
        if relay.session.state is State.BINDING and self._entered:
            self._refuse(Reason.SMSC_UNAVAILABLE, why="the SMSC does not answer the bind")
        relay.close(Leg.ESME, Why.BIND_TIMEOUT)

    def cancel(self) -> None:
        """The ESME has gone."""
        if self._task is not None:
            self._task.cancel()
        self._leave()

    def _enter(self, account: str) -> None:
        self._relay.hub.binds.enter(account)
        self._entered = True

    def _leave(self) -> None:
        if self._entered and self._bind is not None:
            self._entered = False
            self._relay.hub.binds.leave(self._bind.system_id.decode("latin-1"))

    def _tell_refused(self, reason: str, status: int, told: dict[str, str]) -> None:
        session, bind = self._relay.session, self._bind
        account = bind.system_id.decode("latin-1") if bind else None
        if reason in (*STRANGERS, Reason.PASSWORD_TOO_LONG) and account:
            self._relay.hub.binds.failed(session.peer, account)
        if not self._relay.hub.binds.is_told(reason):
            return
        name = STATUS_NAMES.get(status, f"0x{status:02X}")
        log.get().warning(
            "bind_refused", account=account, peer=session.peer, reason=reason, status=name, **told
        )
