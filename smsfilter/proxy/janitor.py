"""The time-outs of all sessions, looked at once a second in one place.

No timer is set per session or per PDU: a session that lives costs one comparison or two. Clocks
are monotonic, so a clock that is set does not end sessions.
"""

import asyncio
import select
from dataclasses import dataclass

from smsfilter.config import Timeouts
from smsfilter.proxy.close import Leg, Why
from smsfilter.proxy.relay import Relay
from smsfilter.smpp.session import State


@dataclass(slots=True)
class _Progress:
    """How many octets a leg had left to take, and since when it has taken none."""

    left: int
    since: float


class Janitor:
    """Ends sessions that wait too long for something. Durations are in seconds."""

    def __init__(self, timeouts: Timeouts) -> None:
        self._bind = timeouts.bind.total_seconds()
        self._partial = timeouts.partial.total_seconds()
        self._unread = timeouts.unread.total_seconds()
        self._response = timeouts.response.total_seconds()
        self._idle = timeouts.idle.total_seconds()
        self._progress: dict[tuple[Relay, Leg], _Progress] = {}

    def sweep(self, relays: set[Relay], now: float) -> None:
        """Look at every session; `now` is in monotonic seconds."""
        for relay in list(relays):
            if not relay.closing:
                self._look_at(relay, now)
        for key in [key for key in self._progress if key[0].closing]:
            del self._progress[key]

    def _look_at(self, relay: Relay, now: float) -> None:
        session = relay.session
        if relay.esme is not None and relay.reading_paused and _is_broken(relay.esme):
            relay.esme.abort()  # no loop reports RST while reading is paused
        elif session.state in (State.OPEN, State.BINDING):
            if now - relay.waits_since > self._bind:
                relay.bind_timed_out()
        elif relay.esme_full_since is not None and now - relay.esme_full_since > self._unread:
            relay.unread()
        elif relay.esme_full_since is not None and relay.hub.memory.is_short:
            relay.look_at_unread()
        elif self._stuck(relay, Leg.SMSC, relay.smsc, now):
            relay.stalled()
        elif self._stuck(relay, Leg.ESME, relay.esme, now):
            relay.unread()
        elif relay.awaits_rest() and now - relay.fed_at > self._partial:
            relay.close(Leg.ESME, Why.PARTIAL_TIMEOUT)
        elif self._unanswered(relay, now):
            relay.close(Leg.SMSC, Why.RESPONSE_TIMEOUT)
        elif self._idle and now - relay.heard_at > self._idle:
            relay.close(Leg.ESME, Why.IDLE_TIMEOUT)

    def _unanswered(self, relay: Relay, now: float) -> bool:
        oldest = relay.session.oldest()
        return oldest is not None and now - oldest > self._response

    def _stuck(
        self, relay: Relay, leg: Leg, transport: asyncio.Transport | None, now: float
    ) -> bool:
        """Whether this leg has octets to take and has taken none for too long."""
        left = transport.get_write_buffer_size() if transport is not None else 0
        if not left:
            if self._progress:
                self._progress.pop((relay, leg), None)
            return False
        progress = self._progress.get((relay, leg))
        if progress is None or left < progress.left:
            self._progress[relay, leg] = _Progress(left, now)
            return False
        progress.left = left
        return now - progress.since > self._unread


def _is_broken(transport: asyncio.Transport) -> bool:
    """Whether the peer has broken the connection, although nobody reads from it."""
    sock = transport.get_extra_info("socket")
    if sock is None or sock.fileno() < 0:
        return False
    poll = select.poll()
    poll.register(sock.fileno(), 0)  # errors and hang-ups are always told
    return bool(poll.poll(0))
