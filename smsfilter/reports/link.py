"""One connection to the SMSC: moves octets, times and values between the session and asyncio.

Everything that happens goes through `_turn`: the session is told, what it has to say is written,
what has happened is passed on, the timer is set anew. Messages are taken by tasks of their own,
which outlive the connection: a report that is under way becomes durable, though its answer cannot
be sent any more.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Final, Protocol, cast

from smsfilter import log
from smsfilter.deskmetrics import CentreMetrics, Submitted
from smsfilter.reports.events import Answered, Bound, Ended, Event, Unreadable, Why
from smsfilter.reports.session import Session
from smsfilter.reports.sms import Answer, Delivered, NoAnswer, NotBound, Outgoing
from smsfilter.smpp.const import COMMAND_NAMES

UNREAD_MOST: Final = 1 << 20
"""Octets of answers that the SMSC has not read: 60,000 of them. It does not read at all."""
CLOSE_WITHIN_S: Final = 2.0
"""For the last octets to be taken when a connection is closed."""

AT_ONCE: Final = frozenset({Why.SILENT, Why.UNREAD, Why.BIND_TIMEOUT, Why.CRASHED})
"""Ends after which the SMSC is not waited for."""


class Owner(Protocol):
    """What a connection tells."""

    def bind_accepted(self, link: "Link") -> None:
        """The SMSC has accepted the bind."""

    def delivered(self, link: "Link", message: Delivered) -> None:
        """A message is to be taken, and answered by `link.answer`."""


class Link(asyncio.Protocol):
    """A connection to the SMSC, from the bind to the end."""

    def __init__(
        self, owner: Owner, make_session: Callable[[float], Session], metrics: CentreMetrics
    ) -> None:
        self._owner = owner
        self._make_session = make_session
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._answers: dict[int, asyncio.Future[Answer | None]] = {}
        self._waiting: deque[asyncio.Future[None]] = deque()  # SMS for which there is no room
        self._quiet = asyncio.Event()
        self._said_unreadable = False
        self._gone = False
        self.session: Session
        self.end: Ended | None = None
        """Why it has ended."""
        self.closed: asyncio.Future[Ended] = self._loop.create_future()
        """Done when the connection is gone."""

    # --- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Bind at once."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=UNREAD_MOST)
        self.session = self._make_session(monotonic())
        self._turn()

    def data_received(self, data: bytes) -> None:
        """Octets of the SMSC."""
        try:
            self.session.receive(data, monotonic(), time.time_ns() // 1000)
            self._turn()
        except Exception as error:
            log.get().error("unhandled", where="report centre", exc_info=error)
            self.session.end(Why.CRASHED)
            self._turn()

    def eof_received(self) -> bool:
        """FIN: nothing more can be asked, and nothing is answered to."""
        self.session.lost(Why.CLOSED)
        self._turn()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone, for whatever reason."""
        self._gone = True
        self.session.lost(Why.CLOSED if exc is None else Why.RESET)
        self._turn()
        if self._timer is not None:
            self._timer.cancel()
        if self.end is not None and not self.closed.done():
            self.closed.set_result(self.end)

    def pause_writing(self) -> None:
        """More than UNREAD_MOST is unread."""
        self.session.end(Why.UNREAD)
        self._loop.call_soon(self._turn)  # asyncio is in the middle of a write

    # --- what the centre does

    async def submit(self, sms: Outgoing) -> Answer:
        """Send an SMS once there is room for it, and wait for its answer.

        Raises NotBound, NoAnswer, or PDUError where no submit_sm can carry it.
        """
        await self._room()
        number = self.session.submit(sms, monotonic())
        answered: asyncio.Future[Answer | None] = self._loop.create_future()
        self._answers[number] = answered
        self._turn()
        answer = await answered
        if answer is None:
            raise NoAnswer("the SMSC has not answered")
        return answer

    def answer(self, message: Delivered, status: int) -> bool:
        """Answer a message; False where its connection is gone, or it was given up."""
        sent = self.session.answer(message, status)
        self._turn()
        return sent

    async def part(self, within_s: float) -> None:
        """Take nothing new, let what is under way end, unbind, close."""
        self.session.drain()
        self._turn()
        try:
            async with asyncio.timeout(within_s):
                await self._quiet.wait()
        except TimeoutError:
            pass  # what is unanswered by now comes again
        self.session.unbind(monotonic())
        self._turn()
        await self.closed

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    async def _room(self) -> None:
        while self.session.room <= 0:
            if not self.session.bound:
                raise NotBound("the connection to the SMSC has ended")
            turn: asyncio.Future[None] = self._loop.create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                self._wake()  # this turn may have been given for nothing
                raise

    def _wake(self) -> None:
        """Let as many SMS go on as there is room for; all of them where none can be sent."""
        count = self.session.room if self.session.bound else len(self._waiting)
        while count > 0 and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                count -= 1

    # --- the session and what comes of it

    def _turn(self) -> None:
        octets, events = self.session.take()
        if octets and self._transport is not None and not self._transport.is_closing():
            self._transport.write(octets)
        for event in events:
            self._happened(event)
        if self.session.quiet:
            self._quiet.set()
        else:
            self._quiet.clear()
        self._wake()
        self._set_timer()

    def _happened(self, event: Event) -> None:
        match event:
            case Delivered():
                self._owner.delivered(self, event)
            case Answered(number, answer):
                self._answered(number, answer)
            case Bound():
                self._owner.bind_accepted(self)
            case Unreadable(command_id, why):
                if not self._said_unreadable:  # one line a connection; the metric has them all
                    self._said_unreadable = True
                    command = COMMAND_NAMES[command_id]
                    log.get().warning("centre_unreadable", command=command, why=why)
            case Ended():
                self.end = event
                self._close(event.why)

    def _answered(self, number: int, answer: Answer | None) -> None:
        result = Submitted.REFUSED
        if answer is None:
            result = Submitted.UNANSWERED
        elif answer.accepted:
            result = Submitted.ACCEPTED
        elif answer.temporary:
            result = Submitted.TEMPORARY
        self._metrics.submits[result] += 1
        waiter = self._answers.pop(number, None)
        if waiter is not None and not waiter.done():
            waiter.set_result(answer)

    def _close(self, why: Why) -> None:
        if self._transport is None or self._gone:
            return
        if why in AT_ONCE:
            self._transport.abort()
        else:
            self._transport.close()
            self._loop.call_later(CLOSE_WITHIN_S, self._transport.abort)

    def _set_timer(self) -> None:
        deadline = self.session.next_deadline()
        if deadline == float("inf"):
            return
        when = self._loop.time() + max(deadline - monotonic(), 0.0)
        if self._timer is not None and not self._timer.cancelled():
            if self._timer.when() <= when:
                return  # it looks again when it is due
            self._timer.cancel()
        self._timer = self._loop.call_at(when, self._due)

    def _due(self) -> None:
        self._timer = None
        self.session.tick(monotonic())
        self._turn()
