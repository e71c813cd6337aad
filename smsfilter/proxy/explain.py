"""Why a message would pass or not: the gate's own reading, questions and verdict, told in full.

One PDU goes through a turn of its own, exactly as in the gate; only the asking is left to the
caller, who may have Redis or two lists to answer with. Nothing here decides anything.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import hiredis

from smsfilter.metrics import Metrics
from smsfilter.proxy.session import Session
from smsfilter.proxy.turn import Batch, Turn
from smsfilter.rules.judge import Decision, Facts, Judge, Line
from smsfilter.rules.verdict import ANSWERS, Kind, Reason
from smsfilter.smpp.framer import Framer
from smsfilter.smpp.session import State
from smsfilter.store.index import Replies, pack

Command = list[bytes]
Ask = Callable[[list[Command]], Awaitable[Replies | None]]
"""Answers commands in order; None = the index cannot be asked or not be trusted."""

PDU_MOST = 1 << 24
EPOCH_QUESTION = "EPOCH"


@dataclass(slots=True)
class Explanation:
    """A verdict, and everything it came from."""

    decision: Decision
    line: Line | None
    """None when the PDU was refused for what it is, before anybody asked who sends."""
    readings: tuple[bytes, ...]
    asked: list[tuple[Command, object]]
    """Commands to Redis and their replies."""


async def explain(
    octets: bytes, account: str, judge: Judge, ask: Ask, now: float, *, prefix: str = ""
) -> Explanation:
    """What the gate would do with this PDU of an ESME bound as transceiver under `account`.

    `now` is in Unix seconds. Raises PDUError when `octets` are not one whole PDU, ValueError when
    it is no submission.
    """
    turn = _turn(octets, account)
    batch = Batch(judge, prefix, now)
    turn.scan(batch)
    commands = _unpacked(batch)
    replies = await ask(commands) if commands else []
    answered = None if replies is None else [None, *replies, None]
    blocks, granted = batch.answers(answered if commands else [])
    asked = list(zip(commands, replies or [None] * len(commands), strict=True))
    for message, blocked, approved in turn.answered(batch, blocks, granted):
        _, route, readings, schedule = message
        decision = judge.decide(route.line, Facts(readings, blocked, approved, schedule, now))
        return Explanation(decision, route.line, readings, asked)
    return _settled_by_scan(turn)


def _turn(octets: bytes, account: str) -> Turn:
    framer = Framer(PDU_MOST)
    framer.feed(octets)
    buffer, spans = framer.take(2)
    if framer.broken is not None:
        raise framer.broken
    if len(spans) != 1 or len(buffer) != len(octets):
        raise ValueError("not one whole PDU")
    session = Session("127.0.0.1", PDU_MOST, PDU_MOST)
    session.bound(State.BOUND_TRX, account, 0x34, PDU_MOST)
    return Turn(session, buffer, spans, 0.0, Metrics())


def _unpacked(batch: Batch) -> list[Command]:
    """The batch's questions as words, without those for the epoch."""
    reader = hiredis.Reader()
    reader.feed(batch.octets(pack(EPOCH_QUESTION)))
    commands: list[Command] = []
    while (command := reader.gets()) is not False:
        commands.append(command)
    return commands[1:-1]


def _settled_by_scan(turn: Turn) -> Explanation:
    """What was refused, or passed, without a question to the index."""
    decision = Decision(Kind.FORWARD, None, "", 0, ())
    for *_, rule, reason, status, kind, _ in turn.noted:
        if kind != Kind.FORWARD and reason is not None:
            decision = Decision(Kind(kind), Reason(reason), rule or "", status, ())
    if turn.cuts and not turn.noted:
        kind, status = ANSWERS[Reason.UNKNOWN_COMMAND]
        decision = Decision(kind, Reason.UNKNOWN_COMMAND, "", status, ())
    return Explanation(decision, None, (), [])
