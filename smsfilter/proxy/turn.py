"""One session's part of a batch: what its PDUs ask, and what goes where once that is answered.

`scan` walks the PDUs in order, collects the questions of submissions and settles everything else
at once; `settle` takes the replies and leaves `forward` (octets for the SMSC: the buffer itself
where nothing was taken out) and `answers` (octets for the ESME). No I/O, and in the common case no
object per PDU but one tuple.
"""

import math
from collections.abc import Iterator
from typing import Protocol

from smsfilter.log import Decision as Logged
from smsfilter.metrics import Metrics
from smsfilter.proxy.route import Route
from smsfilter.proxy.session import MEMO_MOST, Session, nack, without
from smsfilter.rules.judge import Decision, Effect, Facts, Judge, Line, Step
from smsfilter.rules.verdict import ANSWERS, Kind, Reason
from smsfilter.smpp.const import (
    ALERT_NOTIFICATION,
    BIND_RECEIVER,
    BIND_TRANSCEIVER,
    BIND_TRANSMITTER,
    CANCEL_SM,
    DATA_SM,
    DATA_SM_RESP,
    DELIVER_SM_RESP,
    ENQUIRE_LINK,
    ENQUIRE_LINK_RESP,
    ESME_RINVCMDID,
    GENERIC_NACK,
    QUERY_SM,
    REPLACE_SM,
    RESPONSE_BIT,
    SUBMIT_MULTI,
    SUBMIT_SM,
    UNBIND,
    UNBIND_RESP,
)
from smsfilter.smpp.errors import Malformed, PDUError
from smsfilter.smpp.framer import Span
from smsfilter.smpp.pdu import decode
from smsfilter.smpp.peek import (
    peek_data_sm,
    peek_replace_sm,
    peek_submit_multi,
    peek_submit_sm,
    scan_submit_sm,
)
from smsfilter.store.index import Replies

Message = tuple[Span, Route, tuple[bytes, ...], bytes | None]
"""A submission that waits for its verdict: span, route, readings, schedule."""

_PASSED_RESPONSES = frozenset(
    {DELIVER_SM_RESP, DATA_SM_RESP, ENQUIRE_LINK_RESP, UNBIND_RESP, GENERIC_NACK}
)
_PASSED_REQUESTS = frozenset({QUERY_SM, CANCEL_SM, UNBIND, ENQUIRE_LINK})
_BINDS = frozenset({BIND_TRANSMITTER, BIND_RECEIVER, BIND_TRANSCEIVER})


class Batch:
    """The questions of many sessions that share one round trip, under one snapshot."""

    log_all = False
    """Whether forwarded messages are noted as well."""
    paused = False
    """The proxy drains: submissions are put off."""

    def __init__(self, judge: Judge, prefix: str, now: float) -> None:
        self.judge = judge
        self.prefix = prefix
        self.now = now
        """Unix time in seconds: schedules and validities are judged by it."""
        self.sent = 0.0
        self.commands: list[bytes] = []
        self.approvals: dict[bytes, int] = {}
        self.turns: list[tuple[Waiting, Turn]] = []

    def octets(self, epoch: bytes) -> bytes:
        """All questions, the epoch asked for before and after them."""
        return b"".join([epoch, *self.commands, *self.approvals, epoch])

    def answers(self, replies: Replies | None) -> tuple[Replies | None, list[bool | None]]:
        """The replies to `octets` taken apart: those about blocks, and whether each is approved.

        None = could not be looked up, or cannot be trusted.
        """
        if not replies:
            return (None if replies is None else []), [None] * len(self.approvals)
        blocks = 1 + len(self.commands)
        approvals = replies[blocks : blocks + len(self.approvals)]
        granted = [1 in reply if isinstance(reply, list) else None for reply in approvals]
        return replies[1:blocks], granted


class Waiting(Protocol):
    """A session with PDUs to decide, as the gate sees it."""

    def begin_turn(self, most: int) -> "Turn | None":
        """Hand over at most `most` PDUs; None when the session has gone."""

    def finish_turn(self, turn: "Turn") -> None:
        """The turn is settled: send what it leaves."""

    def crash(self, error: Exception) -> None:
        """Something was wrong with this session that is nobody else's fault."""


class Turn:
    """The PDUs of one session that are decided together.

    What most turns never have stands as a default of the class: making a turn is then cheap, which
    counts where each PDU comes alone.
    """

    plain = True
    """Every message passes unremarked if the replies are the expected ones."""
    first = 0
    version = ""
    unbound = False
    """The ESME unbinds in this turn: what follows is refused."""
    forward = b""
    grants: frozenset[int] = frozenset()
    """The numbers of the approval questions that its messages hang on."""
    requests: tuple[tuple[int, int], ...] = ()
    cuts: tuple[tuple[int, int], ...] = ()
    answers: tuple[bytes, ...] = ()
    noted: tuple[Logged, ...] = ()
    failed: tuple[tuple[tuple[bytes, ...], Replies], ...] = ()
    """Look-ups that Redis answered with an error: readings and replies."""

    def __init__(
        self, session: Session, buffer: bytes, spans: list[Span], fed_at: float, metrics: Metrics
    ) -> None:
        self.session = session
        self.buffer = buffer
        self.spans = spans
        self.fed_at = fed_at
        self.metrics = metrics
        self.expected: Replies = []
        self.messages: list[Message] = []
        self.submits: list[int] = []

    # --- first half: what has to be asked

    def scan(self, batch: Batch) -> None:
        """Read all PDUs, append what is asked to the batch, settle what needs no question."""
        judge, buffer, session = batch.judge, self.buffer, self.session
        self.version = judge.version
        if batch.log_all:
            self.plain = False
        if session.memo_judge is not judge or batch.now >= session.memo_until:
            session.memo.clear()
            session.memo_judge = judge
            session.memo_until = math.inf
        commands, messages, expected = batch.commands, self.messages, self.expected
        self.first = len(commands)
        memo, read, refused = session.memo, judge.read, judge.refused
        may_submit = session.may_submit() and not batch.paused
        last = None
        for span in self.spans:
            start, end, command_id, _, sequence_number = span
            if command_id != SUBMIT_SM or not may_submit:
                self._other(span, batch)
                may_submit = may_submit and not self.unbound
                continue
            found = scan_submit_sm(buffer, start + 16, end)
            if found is None or (at := found.end()) + buffer[at - 1] != end:
                try:
                    self.metrics.trailing_nuls += peek_submit_sm(buffer, start, end).trailing_nuls
                except Malformed as error:
                    self._malformed(span, error)
                    continue
                assert found is not None  # noqa: S101 - the peek has scanned the same octets
            source, destination, schedule = found.groups()
            if source != last:
                route = memo.get(source) or self._learn(source, batch)
                if route.approval:
                    self._want(route.approval, batch)
                if not route.line.plain:
                    self.plain = False
                heads, tail, clean, last = route.heads, route.tail, route.clean, source
            readings = read(destination)
            for reading in readings:
                commands.append(heads[len(reading)] + reading + tail)
                expected.append(clean)
            if schedule is not None or not readings or not refused.isdisjoint(readings):
                self.plain = False
            messages.append((span, route, readings, schedule))
            self.submits.append(sequence_number)

    def _learn(self, source: bytes, batch: Batch) -> Route:
        """What `source` means for this account, kept until the registry or a validity changes."""
        route = Route(batch.judge.line(self.session.account, source, batch.now), batch.prefix)
        memo = self.session.memo
        if len(memo) >= MEMO_MOST:
            memo.clear()
        memo[source] = route
        sender = route.line.sender
        if sender is not None and sender.valid_until is not None:
            self.session.memo_until = min(self.session.memo_until, sender.valid_until)
        return route

    def _want(self, approval: bytes, batch: Batch) -> None:
        """Ask once per batch whether this company may send groups from this source."""
        number = batch.approvals.setdefault(approval, len(batch.approvals))
        if number not in self.grants:
            self.grants |= {number}

    def _ask(self, span: Span, source: bytes, destination: bytes, batch: Batch) -> None:
        """Ask for a submission that is not a submit_sm."""
        route = self.session.memo.get(source) or self._learn(source, batch)
        if route.approval:
            self._want(route.approval, batch)
        readings = batch.judge.read(destination)
        for reading in readings:
            batch.commands.append(route.heads[len(reading)] + reading + route.tail)
            self.expected.append(route.clean)
        self.plain = False
        self.messages.append((span, route, readings, None))

    def _other(self, span: Span, batch: Batch) -> None:
        """Everything but a submit_sm that may be submitted."""
        start, end, command_id, _, sequence_number = span
        session = self.session
        if command_id & RESPONSE_BIT:
            if command_id not in _PASSED_RESPONSES:
                self.cuts += ((start, end),)
                self.metrics.pdus_dropped["esme", "unexpected_response"] += 1
        elif command_id == ALERT_NOTIFICATION:  # has no response (SMPP v3.4 §4.12)
            self.cuts += ((start, end),)
            self.metrics.pdus_dropped["esme", "unexpected_request"] += 1
        elif command_id in _PASSED_REQUESTS:
            try:
                decode(self.buffer[start:end])
            except PDUError as error:
                self._malformed(span, error)
                return
            self.requests += ((command_id, sequence_number),)
            self.unbound = self.unbound or command_id == UNBIND
        elif command_id in (SUBMIT_SM, DATA_SM, SUBMIT_MULTI, REPLACE_SM):
            if self.unbound or not session.may_submit():
                self._refuse(span, Reason.NOT_BOUND_FOR_THIS)
            elif batch.paused:
                self._refuse(span, Reason.PAUSED)
            else:
                self._submission(span, batch)
        elif command_id in _BINDS:
            self._refuse(span, Reason.ALREADY_BOUND)
        else:
            self.cuts += ((start, end),)
            self.metrics.refused[Kind.PERMANENT, Reason.UNKNOWN_COMMAND] += 1
            self.answers += (nack(sequence_number, ESME_RINVCMDID),)

    def _submission(self, span: Span, batch: Batch) -> None:
        start, end, command_id, _, _ = span
        try:
            if command_id == DATA_SM:
                peek = peek_data_sm(self.buffer, start, end)
                self._ask(span, peek.source, peek.destinations[0], batch)
            elif command_id == REPLACE_SM:
                peek = peek_replace_sm(self.buffer, start, end)
                self._replace(span, peek.source, batch)
            else:
                peek = peek_submit_multi(self.buffer, start, end)
                self._refuse(span, Reason.NOT_ALLOWED_HERE)
            self.metrics.trailing_nuls += peek.trailing_nuls
        except Malformed as error:
            self._malformed(span, error)

    def _replace(self, span: Span, source: bytes, batch: Batch) -> None:
        route = self.session.memo.get(source) or self._learn(source, batch)
        facts = Facts((), False, True, None, batch.now, replaces=True)
        if self._apply(span, route.line, facts, batch.judge):
            self.requests += ((REPLACE_SM, span[4]),)

    def _malformed(self, span: Span, error: PDUError) -> None:
        tlvs = error.command_status == ANSWERS[Reason.MALFORMED_TLVS].command_status
        self._refuse(span, Reason.MALFORMED_TLVS if tlvs else Reason.MALFORMED)

    def _refuse(self, span: Span, reason: Reason) -> None:
        """Refuse for what the PDU or the session is, whatever the policy says."""
        kind, status = ANSWERS[reason]
        self._cut(span, kind, reason, status)
        account = self.session.account
        self.noted += ((account, None, "", "", None, reason, status, kind, self.version),)

    def _cut(self, span: Span, kind: Kind, reason: Reason, status: int) -> None:
        start, end, command_id, _, sequence_number = span
        self.cuts += ((start, end),)
        self.answers += (self.session.refusal(command_id, sequence_number, status),)
        self.session.refused += 1
        self.metrics.refused[kind, reason] += 1

    # --- second half: what the replies say

    def settle(self, batch: Batch, replies: Replies | None, approved: list[bool | None]) -> None:
        """Decide each message. `replies` are those of the whole batch; None = away.

        `approved` is by the number of the batch's approval question.
        """
        first = self.first
        if (
            self.plain
            and replies is not None
            and replies[first : first + len(self.expected)] == self.expected
            and all(approved[grant] for grant in self.grants)
        ):
            passed = len(self.messages)
            self.session.submitted(self.submits, self.fed_at)
        else:
            passed = self._judge(batch, replies, approved)
        self.session.forwarded += passed
        self.metrics.forwarded += passed
        if self.requests:
            for command_id, sequence_number in self.requests:
                self.session.requested(command_id, sequence_number, self.fed_at)
        self.forward = without(self.buffer, self.cuts) if self.cuts else self.buffer

    def _judge(self, batch: Batch, replies: Replies | None, approved: list[bool | None]) -> int:
        """Message by message: clean ones pass at once, the others walk the rules."""
        passed = 0
        submits: list[int] = []
        for message, blocked, granted in self.answered(batch, replies, approved):
            span, route, readings, schedule = message
            if (
                route.line.plain
                and blocked is False
                and (granted or not route.approval)
                and schedule is None
                and readings
                and batch.judge.refused.isdisjoint(readings)
            ):
                forward = True
                if batch.log_all:
                    self._note(route.line, readings, None, None)
            else:
                facts = Facts(readings, blocked, granted, schedule, batch.now)
                forward = self._apply(span, route.line, facts, batch.judge)
            if forward:
                passed += 1
                if span[2] == SUBMIT_SM:
                    submits.append(span[4])
                else:
                    self.requests += ((span[2], span[4]),)
        self.session.submitted(submits, self.fed_at)
        return passed

    def answered(
        self, batch: Batch, replies: Replies | None, approved: list[bool | None]
    ) -> Iterator[tuple[Message, bool | None, bool | None]]:
        """Each message, whether it is blocked, and whether its sender is approved.

        None = could not be looked up. See `settle` for the arguments.
        """
        at = self.first
        for message in self.messages:
            _, route, readings, _ = message
            mine = None if replies is None else replies[at : at + len(readings)]
            at += len(readings)
            blocked = _blocked(mine, route.clean)
            if blocked is None and mine is not None:
                self.failed += ((readings, mine),)
            granted = approved[batch.approvals[route.approval]] if route.approval else None
            yield message, blocked, granted

    def _apply(self, span: Span, line: Line, facts: Facts, judge: Judge) -> bool:
        """Walk the rules for one message; True = it goes on."""
        decision = judge.decide(line, facts)
        for step in decision.steps:
            if step.effect == Effect.SHADOW and step.reason is not None:
                self.metrics.shadow[step.rule, step.reason] += 1
            elif step.effect == Effect.BYPASS:
                self.metrics.bypassed[step.rule] += 1
            if step.reason is not None:
                self._note(line, facts.readings, step, decision)
        if decision.kind is Kind.FORWARD:
            return True
        assert decision.reason is not None  # noqa: S101 - a refusal has a reason
        self._cut(span, decision.kind, decision.reason, decision.command_status)
        return False

    def _note(
        self, line: Line, readings: tuple[bytes, ...], step: Step | None, decision: Decision | None
    ) -> None:
        rule, reason, kind, status = None, None, Kind.FORWARD, 0
        if step is not None:
            rule, reason = step.rule, step.reason
            if step.effect == Effect.REFUSE and decision is not None:
                kind, status = decision.kind, decision.command_status
        destination = readings[0] if readings else b""
        who = (line.account, line.company, line.source, destination)
        self.noted += ((*who, rule, reason, status, kind, self.version),)


def _blocked(replies: Replies | None, clean: list[int]) -> bool | None:
    """Whether any reading of the destination has a block; None = not surely known."""
    if replies is None:
        return None
    if all(reply == clean for reply in replies):
        return False
    if any(isinstance(reply, list) and 1 in reply for reply in replies):
        return True
    return None
