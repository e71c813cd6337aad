"""Why a message would pass or not: the gate's own reading, questions and verdict, told in full.

One PDU goes through a turn of its own, exactly as in the gate; only the asking is left to the
caller, who may have Redis or two lists to answer with. Nothing here decides anything.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple

import hiredis

from smsfilter.metrics import Metrics
from smsfilter.proxy.batch import Batch
from smsfilter.proxy.limits import Allowances
from smsfilter.proxy.multi import settle_multi
from smsfilter.proxy.session import Session
from smsfilter.proxy.turn import FORWARDED, Turn, facts_of
from smsfilter.rules.judge import Decision, Judge, Line
from smsfilter.rules.verdict import ANSWERS, Kind, Reason
from smsfilter.smpp.const import SUBMIT_MULTI
from smsfilter.smpp.framer import Framer, Span
from smsfilter.smpp.session import State
from smsfilter.store.index import Replies, pack

Command = list[bytes]
Ask = Callable[[list[Command]], Awaitable[Replies | None]]
"""Answers commands in order; None = the index cannot be asked or not be trusted."""

PDU_MOST = 1 << 24
EPOCH_QUESTION = "EPOCH"


class Entry(NamedTuple):
    """One destination, and the verdict on it."""

    readings: tuple[bytes, ...] | None
    """None for a distribution list."""
    decision: Decision


@dataclass(slots=True)
class Explanation:
    """A verdict, and everything it came from."""

    decision: Decision
    """What the ESME is answered, or FORWARD, where a submit_multi may have lost entries."""
    line: Line | None
    """None when the PDU was refused for what it is, before anybody asked who sends."""
    entries: list[Entry]
    """One, but as many as a submit_multi has destinations."""
    asked: list[tuple[Command, object]]
    """Commands to Redis and their replies."""


async def explain(
    octets: bytes, account: str, judge: Judge, ask: Ask, now: float, *, prefix: str = ""
) -> Explanation:
    """What the gate would do with this PDU of an ESME bound as transceiver under `account`.

    `now` is in Unix seconds. Raises PDUError when `octets` are not one whole PDU, ValueError when
    it is nothing that is ever answered.
    """
    turn = _turn(octets, account)
    batch = Batch(judge, prefix, now, 0.0, Allowances())
    turn.scan(batch)
    commands = _unpacked(batch)
    replies = await ask(commands) if commands else []
    answered = None if replies is None else [None, *replies, None]
    granted = batch.granted(answered)
    asked = list(zip(commands, replies or [None] * len(commands), strict=True))
    for run in turn.runs:  # of one PDU there is one
        approved = None if run.grant is None else granted[run.grant]
        entries = [
            Entry(readings, judge.decide(run.route.line, facts))
            for readings, blocked in turn.answered(run, answered)
            for facts in (facts_of(run, readings, blocked, approved, now),)
        ]
        decision = entries[0].decision
        if run.spans[0][2] == SUBMIT_MULTI:
            decision = _of_all(turn.buffer, run.spans[0], [entry.decision for entry in entries])
        return Explanation(decision, run.route.line, entries, asked)
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
    if turn.edits and not turn.noted:
        if not turn.answers:
            raise ValueError("nobody asked for it: it would be dropped, and not answered")
        kind, status = ANSWERS[Reason.UNKNOWN_COMMAND]
        decision = Decision(kind, Reason.UNKNOWN_COMMAND, "", status, ())
    return Explanation(decision, None, [], [])


def _of_all(buffer: bytes, span: Span, decisions: list[Decision]) -> Decision:
    """What becomes of a submit_multi."""
    settled = settle_multi(buffer, span, decisions, is_open=False, is_merged=False)
    if not settled.answer:
        return FORWARDED
    status = int.from_bytes(settled.answer[8:12], "big")
    return settled.refused[0]._replace(command_status=status)
