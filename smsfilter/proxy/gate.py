"""Where all sessions' submissions are decided together: one round trip to Redis per batch.

While a batch is on the wire the next one grows by itself, round-robin over the sessions, so there
is no timer; where none is, what arrives goes at once. A batch takes one
snapshot of policy and registry and is judged by that same one. The index failing, being late or
not being trusted is an answer like any other: the rules say what it means.
"""

import asyncio
from collections import deque
from time import monotonic, time
from typing import Protocol

from smsfilter import log
from smsfilter.log import Decision as Logged
from smsfilter.log import DecisionLog
from smsfilter.metrics import Metrics
from smsfilter.proxy.batch import Batch
from smsfilter.proxy.limits import Allowances
from smsfilter.proxy.recorder import Recorder
from smsfilter.proxy.session import Session
from smsfilter.proxy.turn import Turn
from smsfilter.rules.judge import Judge
from smsfilter.rules.verdict import Reason
from smsfilter.smpp.receipt import Receipt
from smsfilter.store.epoch import EpochGuard
from smsfilter.store.index import Index, Replies

TURN_MOST = 256
"""PDUs of one session in one batch, so that a flood waits for its turn like everyone."""
IN_FLIGHT_MOST = 1
"""Batches on the wire at once: one, so that the next one grows meanwhile. A second would save
nothing but a part of Redis's round trip, and cost a wake-up on both ends for half a batch."""

TOLD_EVERY_S = 1.0
"""How often a look-up that Redis answers with an error is logged."""


class Waiting(Protocol):
    """A session with PDUs to decide, as the gate sees it."""

    def begin_turn(self, most: int) -> Turn | None:
        """Hand over at most `most` PDUs; None when the session has gone."""

    def finish_turn(self, turn: Turn) -> None:
        """The turn is settled: send what it leaves."""

    def unrecorded(self) -> None:
        """The turn must not be sent, as it could not be put on record."""

    def crash(self, error: Exception) -> None:
        """Something was wrong with this session that is nobody else's fault."""


Turns = list[tuple[Waiting, Turn]]


class Gate:
    """Collects sessions that have something to decide, and decides. `judge` may be swapped."""

    def __init__(
        self,
        index: Index,
        guard: EpochGuard,
        judge: Judge,
        metrics: Metrics,
        decisions: DecisionLog,
        *,
        recorder: Recorder | None = None,
    ) -> None:
        self.judge = judge
        self.paused = False
        """The proxy drains: submissions are put off."""
        self._index = index
        self._guard = guard
        self._metrics = metrics
        self._decisions = decisions
        self._recorder = recorder
        self._allowances = Allowances()
        self._waiting: deque[Waiting] = deque()
        self._in_flight = 0
        self._scheduled = False
        self._at_work = False  # what a session wants meanwhile has to wait for the next turn
        self._told = 0.0
        self._loop = asyncio.get_running_loop()

    def want(self, session: Waiting) -> None:
        """`session` has PDUs to decide; it is called back by `begin_turn`.

        At once where nothing is under way: to wait for others would cost this one a turn of the
        loop, and they share the next batch.
        """
        self._waiting.append(session)
        if self._at_work or self._scheduled or self._in_flight >= IN_FLIGHT_MOST:
            self._schedule()
        else:
            self._flush()

    def _schedule(self) -> None:
        if not self._scheduled and self._in_flight < IN_FLIGHT_MOST:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        self._at_work = True
        batch = Batch(self.judge, self._index.prefix, time(), monotonic(), self._allowances)
        batch.log_all, batch.paused = self._decisions.wants_forwarded, self.paused
        if not self.paused and self._recorder is not None and self._recorder.refuses:
            batch.paused, batch.paused_for = True, Reason.UNRECORDED
        waiting = self._waiting
        turns: Turns = []
        for _ in range(len(waiting)):
            if batch.full:
                break
            session = waiting.popleft()
            before = len(batch.commands), batch.asked, len(batch.approvals), len(batch.judged)
            turn = session.begin_turn(TURN_MOST)
            if turn is None:
                continue
            try:
                turn.scan(batch)
            except Exception as error:  # one session's fault must stay its own
                batch.roll_back(*before)
                session.crash(error)
                continue
            turns.append((session, turn))
        if turns:
            self._ask(batch, turns)
        self._at_work = False
        if waiting:
            self._schedule()

    def _ask(self, batch: Batch, turns: Turns) -> None:
        if not batch.commands and not batch.approvals:
            self._settle(batch, turns, [], trusted=True)
            return
        octets = batch.octets(self._index.epoch_command)
        self._in_flight += 1
        self._metrics.batch_size.observe(batch.asked - 1)
        sent = monotonic()

        def done(replies: Replies | None) -> None:
            self._in_flight -= 1
            self._at_work = True
            if replies is None:
                self._settle(batch, turns, [], trusted=False)
            else:
                self._metrics.lookup_seconds.observe(monotonic() - sent)
                trusted = self._guard.trusted(replies[0], replies[-1])
                self._settle(batch, turns, replies, trusted=trusted)
            self._at_work = False
            if self._waiting:
                self._schedule()

        self._index.ask(octets, batch.asked + len(batch.approvals) + 1, done)

    def _settle(self, batch: Batch, turns: Turns, replies: Replies, *, trusted: bool) -> None:
        known = replies if trusted else None
        granted = batch.granted(known)
        settled: Turns = []
        for session, turn in turns:
            before = len(batch.passed), len(batch.judged)
            try:
                turn.settle(batch, known, granted)
            except Exception as error:  # one session's fault must stay its own
                del batch.passed[before[0] :], batch.judged[before[1] :]
                session.crash(error)
                continue
            settled.append((session, turn))
        recorded = self._record(batch, asked=bool(replies), trusted=trusted)
        noted: list[Logged] = []
        for session, turn in settled:
            if turn.passed and not recorded:
                session.unrecorded()
                continue
            try:
                session.finish_turn(turn)
            except Exception as error:  # likewise
                session.crash(error)
                continue
            if turn.noted:
                noted += turn.noted
            if turn.failed and batch.at >= self._told + TOLD_EVERY_S:
                self._told = batch.at
                _tell_failed(turn)
        if noted:
            self._decisions.write(noted, batch.now)

    def _record(self, batch: Batch, *, asked: bool, trusted: bool) -> bool:
        """Put the batch on record before anything of it is sent; False: it must not be sent."""
        if self._recorder is None or not (batch.passed or batch.judged):
            return True
        seq = self._guard.seq  # what the proxy had known before, where it could not ask
        if trusted:
            seq = self._guard.first_seq if asked else 0
        return self._recorder.write(batch, seq)

    def record_receipts(self, session: Session, receipts: list[Receipt]) -> None:
        """Put the SMSC's receipts for a session on record."""
        if self._recorder is not None:
            self._recorder.write_receipts(session, receipts, self.judge, time())


def _tell_failed(turn: Turn) -> None:
    """Name the key and the error of one look-up that failed."""
    readings, replies = turn.failed[0]
    for reading, reply in zip(readings, replies, strict=True):
        if isinstance(reply, Exception):
            key = f"block:{{{log.mask_destination(reading)}}}"
            log.get().error("lookup_failed", key=key, error=str(reply), also=len(turn.failed) - 1)
            return
