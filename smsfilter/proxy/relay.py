"""One ESME connection and the SMSC connection of its own: octets in, octets out.

The relay moves what a turn of the gate leaves, passes the SMSC's PDUs on, and keeps the two legs'
fates together. It never sends a request of its own but one unbind, when the ESME has gone. Reading
from the ESME pauses for a full SMSC buffer or too much that is undecided; the SMSC is never held
up, so an ESME that does not read loses its session. Until the bind is accepted `Opening` has the
word.
"""

import asyncio
import sys
from time import monotonic, time

from smsfilter import log
from smsfilter.proxy.close import Leg, Why
from smsfilter.proxy.downlink import pass_down
from smsfilter.proxy.hub import Hub
from smsfilter.proxy.legs import SmscLeg
from smsfilter.proxy.octets import nack
from smsfilter.proxy.opening import Opening
from smsfilter.proxy.parting import end, part, parted
from smsfilter.proxy.session import Session
from smsfilter.proxy.turn import Turn
from smsfilter.smpp.const import ESME_RINVCMDLEN
from smsfilter.smpp.receipt import Receipt
from smsfilter.smpp.session import State
from smsfilter.tls import told

UNREAD_SOME = 1 << 20
"""Unread octets for an ESME at which its time starts to run."""
UNTAKEN_MOST = 256 << 10
"""Octets the SMSC has not taken at which reading from the ESME pauses."""


class Relay:
    """A pair of connections, from accept to the end of both."""

    __slots__ = (
        "_busy",
        "_opening",
        "_since",
        "closing",
        "ended",
        "esme",
        "esme_full_since",
        "fed_at",
        "heard_at",
        "hub",
        "opened_at",
        "reading_paused",
        "session",
        "smsc",
        "smsc_is_full",
        "smsc_leg",
        "upstream",
        "waits_since",
    )

    def __init__(self, hub: Hub, peer: str) -> None:
        limits = hub.config.limits
        now = monotonic()
        self.hub = hub
        self.session = Session(peer, limits.pdu_before_bind, limits.pdu)
        self.esme: asyncio.Transport | None = None
        self.smsc: asyncio.Transport | None = None
        self.smsc_leg: SmscLeg | None = None
        self.upstream = ""
        self.opened_at = time()
        self._since = now
        self.fed_at = now
        """When the oldest undecided octets came, in monotonic seconds."""
        self.heard_at = now
        """When the ESME last sent something, in monotonic seconds."""
        self.waits_since = now
        """Since when the bind is awaited, in monotonic seconds."""
        self.esme_full_since: float | None = None
        self.smsc_is_full = False
        self.reading_paused = False
        self.closing = False
        self._busy = False  # a turn is wanted or in flight
        self.ended: Why | None = None
        """How the ESME has gone, once it has; its last octets may be undecided."""
        self._opening: Opening | None = Opening(self)

    # --- the ESME's leg

    def esme_made(self, transport: asyncio.Transport) -> None:
        """The ESME is connected."""
        self.esme = transport
        transport.set_write_buffer_limits(high=UNREAD_SOME)

    def esme_refused(self, why: Why, error: Exception) -> None:
        """It did not get as far as SMPP: no PROXY header, or no TLS."""
        if not self.closing:
            log.get().debug("connection_refused", peer=self.session.peer, why=why, said=told(error))
            self.close(Leg.ESME, why)

    def from_esme(self, data: bytes) -> None:
        """Keep the octets; have them decided if a turn is not under way already."""
        if self.closing or self.ended is not None:
            return
        framer = self.session.from_esme
        self.heard_at = now = monotonic()
        if not framer.size:
            self.fed_at = now
        if framer.feed(data) and not self._busy:
            if self._opening is None and not self.smsc_is_full:
                self._busy = True
                self.hub.gate.want(self)
            else:
                self.go_on()
        if framer.size > self.hub.memory.undecided_most:
            self._pause_reading()

    def go_on(self) -> None:
        """Have decided what is there to decide."""
        if self._opening is not None:
            self._opening.take()
        if self._opening is None and not (self._busy or self.smsc_is_full or self.closing):
            if self.session.from_esme.ready():
                self._busy = True
                self.hub.gate.want(self)
            elif self.ended is not None:
                part(self)

    def begin_turn(self, most: int) -> Turn | None:
        """See `gate.Waiting`."""
        self._busy = False
        if self.closing or self.ended is Why.RESET:
            return None
        session = self.session
        framer = session.from_esme
        buffer, spans = framer.take(most)
        if not spans:
            self._after_turn()
            return None
        self._busy = True
        turn = Turn(session, buffer, spans, self.fed_at, self.hub.metrics)
        if framer.size:
            self.fed_at = monotonic()
        return turn

    def finish_turn(self, turn: Turn) -> None:
        """See `gate.Waiting`."""
        self._busy = False
        if self.closing or self.ended is Why.RESET or self.smsc is None:
            return
        if turn.unbound:
            self.session.state = State.UNBOUND
        if turn.forward:
            self.smsc.write(turn.forward)
        if turn.answers:
            self.to_esme(b"".join(turn.answers))
        if turn.count:
            self.hub.metrics.added_seconds.observe(monotonic() - turn.fed_at, turn.count)
        framer = self.session.from_esme
        if framer.size or framer.broken or self.reading_paused or self.ended:
            self._after_turn()

    def _after_turn(self) -> None:
        framer = self.session.from_esme
        if framer.broken is not None:
            self.to_esme(nack(framer.broken.sequence_number, ESME_RINVCMDLEN))
            self.close(Leg.ESME, Why.FRAMING)
            return
        self.go_on()
        if self.reading_paused and self._has_room() and not self.smsc_is_full:
            self.resume_reading()

    def to_esme(self, octets: bytes) -> None:
        """Send to the ESME; one that does not read at all is closed."""
        if self.esme is None or not octets:
            return
        self.esme.write(octets)
        if self.esme_full_since is not None:
            self.look_at_unread()

    def look_at_unread(self) -> None:
        """Close an ESME that leaves too much unread."""
        esme = self.esme
        if esme is not None and esme.get_write_buffer_size() > self.hub.memory.unread_most:
            self.unread()

    def unread(self) -> None:
        """The ESME does not read what it is sent: what is left for it is thrown away."""
        if self.esme is not None:
            self.esme.abort()
        self.close(Leg.ESME, Why.UNREAD)

    def esme_full(self, full: bool) -> None:
        """See `legs.Pair`."""
        self.esme_full_since = monotonic() if full else None

    def esme_ended(self) -> None:
        """FIN: what was read is still decided and forwarded, then the SMSC leg is unbound."""
        if self.closing and self.esme is not None:
            self.esme.close()
        if self.closing or self.ended is not None:
            return
        self.ended = Why.UNBOUND if self.session.state is State.UNBOUND else Why.CLOSED
        if self._opening is not None:
            self.close(Leg.ESME, self.ended)
        elif not self._busy:
            self.go_on()

    def esme_lost(self, error: Exception | None) -> None:
        """The connection is gone. Where that is news (RST), the undecided is dropped."""
        self.esme = None
        if self.ended is None and not self.closing:
            self.ended = Why.RESET if error else Why.CLOSED
            if self._opening is not None:
                self.close(Leg.ESME, self.ended)
            else:
                self.ended = Why.RESET
                part(self)
        self._leave_if_done()

    def _has_room(self) -> bool:
        """Whether more may wait for a verdict."""
        return self.session.from_esme.size <= self.hub.memory.undecided_most

    def _pause_reading(self) -> None:
        if not self.reading_paused and self.esme is not None:
            self.reading_paused = True
            self.esme.pause_reading()

    def resume_reading(self) -> None:
        """Read from the ESME, if that was paused."""
        if self.reading_paused and self.esme is not None and self.ended is None:
            self.esme.resume_reading()
        self.reading_paused = False

    # --- the SMSC's leg

    def smsc_made(self, transport: asyncio.Transport, leg: SmscLeg, upstream: str) -> None:
        """The SMSC has taken a connection for this ESME."""
        self.smsc, self.smsc_leg, self.upstream = transport, leg, upstream
        transport.set_write_buffer_limits(high=UNTAKEN_MOST)

    def from_smsc(self, data: bytes) -> None:
        """Pass the SMSC's PDUs on to the ESME."""
        session, smsc = self.session, self.smsc
        framer = session.from_smsc
        if smsc is None or not framer.feed(data):
            return
        if self._opening is not None:
            self._opening.from_smsc()
            if self._opening is not None or self.smsc is None:
                return
        buffer, spans = framer.take(sys.maxsize)
        if spans:
            receipts: list[Receipt] = []
            down, back = pass_down(session, buffer, spans, self.hub.metrics, receipts)
            if receipts:
                self.hub.gate.record_receipts(session, receipts)
            if not self.closing:
                self.to_esme(down)
            if back:
                smsc.write(back)
        if framer.broken is not None:
            smsc.write(nack(framer.broken.sequence_number, ESME_RINVCMDLEN))
            self.close(Leg.SMSC, Why.FRAMING)
        elif session.parted:
            parted(self)

    def smsc_full(self, full: bool) -> None:
        """See `legs.Pair`: reading from the ESME stops until the SMSC has taken some."""
        self.smsc_is_full = full
        if full:
            self._pause_reading()
        else:
            self.go_on()
            if self.reading_paused and self._has_room():
                self.resume_reading()

    def smsc_lost(self, leg: SmscLeg, error: Exception | None) -> None:
        """The SMSC leg has ended, so the ESME's ends too."""
        if leg is not self.smsc_leg:
            return  # of an earlier bind, which was refused
        self.smsc = self.smsc_leg = None
        if self._opening is not None and not self.closing:
            self._opening.smsc_lost(error)
        elif not self.closing:
            if self.ended is not None:
                self.close(Leg.ESME, self.ended)
            else:
                why = Why.RESET if error else Why.CLOSED
                self.close(Leg.SMSC, Why.UNBOUND if self.session.state is State.UNBOUND else why)
        self._leave_if_done()

    # --- bind, unbind and the end

    def bound(self) -> None:
        """The SMSC has accepted the bind: the gate has the word from now on."""
        self._opening = None

    def close(self, leg: Leg, why: Why) -> None:
        """End both legs: the ESME's at once, the SMSC's after an unbind where it is bound."""
        if self.closing:
            return
        self.closing = True
        self.hub.metrics.closes[leg, why] += 1
        self._tell(leg, why)
        if self._opening is not None:
            self._opening.cancel()
        else:
            self.hub.binds.leave(self.session.account)
        end(self, leg, why)
        self._leave_if_done()

    def _leave_if_done(self) -> None:
        if self.closing and self.esme is None and self.smsc is None:
            self.hub.gone(self)

    def crash(self, error: Exception) -> None:
        """An error of our own: this session ends, the others go on."""
        session = self.session
        log.get().error("unhandled", account=session.account, peer=session.peer, exc_info=error)
        self._busy = False
        self.close(Leg.PROXY, Why.CRASHED)

    def unrecorded(self) -> None:
        """See `gate.Waiting`."""
        self._busy = False
        self.close(Leg.PROXY, Why.UNRECORDED)

    def bind_timed_out(self) -> None:
        """The whole bind took too long."""
        if self._opening is not None:
            self._opening.timed_out()
        else:
            self.close(Leg.ESME, Why.BIND_TIMEOUT)

    def stalled(self) -> None:
        """The SMSC takes no octet: what is left for it is thrown away."""
        if self.smsc is not None:
            self.smsc.abort()
        self.close(Leg.SMSC, Why.STALLED)

    def awaits_rest(self) -> bool:
        """Whether the beginning of a PDU is here and its rest is not."""
        framer = self.session.from_esme
        return framer.size > 0 and not framer.ready() and not self._busy

    def quiet(self) -> bool:
        """Whether nothing is undecided or unanswered."""
        return not (self._busy or self.session.in_flight())

    def _tell(self, leg: Leg, why: Why) -> None:
        session = self.session
        bound = self._opening is None
        write = log.get().info if bound else log.get().debug
        write(
            "session_closed",
            account=session.account or None,
            peer=session.peer,
            who=leg,
            why=why,
            forwarded=session.forwarded,
            refused=session.refused,
            unanswered=session.in_flight(),
            seconds=round(monotonic() - self._since, 1),
        )
