"""One session's part of a batch: what its PDUs ask, and what goes where once that is answered.

`scan` walks the PDUs in order, collects the questions of submissions and settles everything else
at once; `settle` takes the replies and leaves `forward` (octets for the SMSC: the buffer itself
where nothing was taken out) and `answers` (octets for the ESME). No I/O, and in the common case no
object per PDU but one tuple.
"""

import math
from collections.abc import Iterator

from smsfilter.log import Decision as Logged
from smsfilter.metrics import Metrics
from smsfilter.proxy.batch import Batch
from smsfilter.proxy.limits import NO_LIMIT
from smsfilter.proxy.multi import settle_multi
from smsfilter.proxy.octets import Edit, edited, nack
from smsfilter.proxy.route import Route
from smsfilter.proxy.session import MEMO_MOST, Session
from smsfilter.proxy.signed import Signed
from smsfilter.rules.judge import Decision, Effect, Facts, Line, Step, Target
from smsfilter.rules.signatures import may_be_signed
from smsfilter.rules.verdict import ANSWERS, Kind, Reason
from smsfilter.smpp.const import (
    ALERT_NOTIFICATION,
    BINDS,
    CANCEL_SM,
    DATA_SM,
    DATA_SM_RESP,
    DELIVER_SM_RESP,
    ENQUIRE_LINK,
    ENQUIRE_LINK_RESP,
    ESM_CLASS_UDHI,
    ESME_RINVCMDID,
    GENERIC_NACK,
    QUERY_SM,
    REPLACE_SM,
    RESPONSE_BIT,
    SUBMIT_MULTI,
    SUBMIT_MULTI_RESP,
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

Message = tuple[Span, Route, tuple[bytes, ...] | None, bytes | None]
"""A submission that waits for its verdict: span, route, readings, schedule.

A submit_multi has one for each entry; without readings it is a distribution list.
"""

NO_NAMES: tuple[str, ...] = ()
FORWARDED = Decision(Kind.FORWARD, None, "", 0, ())

_PASSED_RESPONSES = frozenset(
    {DELIVER_SM_RESP, DATA_SM_RESP, ENQUIRE_LINK_RESP, UNBIND_RESP, GENERIC_NACK}
)
_PASSED_REQUESTS = frozenset({QUERY_SM, CANCEL_SM, UNBIND, ENQUIRE_LINK})


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
    allowance = NO_LIMIT
    """How many messages its account may submit now, and what to call it if there are more."""
    limit = Reason.RATE
    requests: tuple[tuple[int, int], ...] = ()
    edits: tuple[Edit, ...] = ()
    """What does not reach the SMSC as it came."""
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
        signed = self._signed(batch)
        may_submit = session.may_submit() and not batch.paused
        if session.account in judge.limits:
            self._limit(batch)
        allowance = self.allowance
        last, last_names = None, NO_NAMES
        for span in self.spans:
            start, end, command_id, _, sequence_number = span
            if command_id != SUBMIT_SM or not may_submit or len(messages) >= allowance:
                self._other(span, batch)
                may_submit = may_submit and not self.unbound
                if batch.full:
                    self._stop_at(end)
                    break
                continue
            found = scan_submit_sm(buffer, start + 16, end)
            trailing = 0
            if found is None or (at := found.end()) + buffer[at - 1] != end:
                try:
                    trailing = peek_submit_sm(buffer, start, end).trailing_nuls
                except Malformed as error:
                    self._malformed(span, error)
                    continue
                assert found is not None  # noqa: S101 - the peek has scanned the same octets
                self.metrics.trailing_nuls += trailing
            source, destination, schedule = found.groups()
            names = NO_NAMES
            if signed is not None:
                if at + buffer[at - 1] != end or buffer[found.end(2) + 1] & ESM_CLASS_UDHI:
                    names = signed.names(buffer, span, source, (destination,), trailing)
                elif may_be_signed(text := buffer[at:end]):
                    names = signed.read(buffer[at - 3], text)
            if source != last or names != last_names:
                route = memo.get((source, names)) or self._learn(source, names, batch)
                if route.approval:
                    self._want(route.approval, batch)
                if not route.line.plain:
                    self.plain = False
                heads, tail, clean = route.heads, route.tail, route.clean
                last, last_names = source, names
            readings = read(destination)
            for reading in readings:
                commands.append(heads[len(reading)] + reading + tail)
                expected.append(clean)
            if schedule is not None or not readings or not refused.isdisjoint(readings):
                self.plain = False
            messages.append((span, route, readings, schedule))
            self.submits.append(sequence_number)
        if allowance != NO_LIMIT:
            batch.allowances.take(session.account, len(messages))

    def _limit(self, batch: Batch) -> None:
        """See how much the account may submit."""
        session = self.session
        account, limits = session.account, batch.judge.limits[session.account]
        in_flight = session.messages_in_flight()
        self.allowance, self.limit = batch.allowances.left(account, limits, in_flight, batch.at)

    def _stop_at(self, end: int) -> None:
        """The batch is full: what comes behind `end` has to wait for the next one."""
        rest = self.buffer[end:]
        if rest:
            self.buffer = self.buffer[:end]
            self.session.from_esme.give_back(rest)

    def _signed(self, batch: Batch) -> Signed | None:
        """What reads the signatures of texts, where the registry knows any."""
        if not batch.judge.reads_signatures:
            return None
        if self.session.signed is None:
            self.session.signed = Signed()
        return self.session.signed

    def _learn(self, source: bytes, names: tuple[str, ...], batch: Batch) -> Route:
        """What they mean for this account, kept until the registry or a validity changes."""
        line = batch.judge.line(self.session.account, source, batch.now, names)
        route = Route(line, batch.prefix)
        memo = self.session.memo
        if len(memo) >= MEMO_MOST:
            memo.clear()
        memo[source, names] = route
        sender = route.line.sender
        if sender is not None and sender.valid_until is not None:
            self.session.memo_until = min(self.session.memo_until, sender.valid_until)
        return route

    def _want(self, approval: bytes, batch: Batch) -> None:
        """Ask once per batch whether this company may send groups from this source."""
        number = batch.approvals.setdefault(approval, len(batch.approvals))
        if number not in self.grants:
            self.grants |= {number}

    def _ask(
        self,
        span: Span,
        source: bytes,
        destinations: tuple[bytes | None, ...],
        schedule: bytes | None,
        batch: Batch,
        *,
        nuls: int,
    ) -> None:
        """Ask for a submission that is not a submit_sm."""
        self.plain = False
        self.metrics.trailing_nuls += nuls
        judge = batch.judge
        signed, names = self._signed(batch), NO_NAMES
        if signed is not None:
            names = signed.names(self.buffer, span, source, destinations, nuls)
        route = self.session.memo.get((source, names)) or self._learn(source, names, batch)
        if route.approval:
            self._want(route.approval, batch)
        for destination in destinations:
            readings = None if destination is None else judge.read(destination)
            for reading in readings or ():
                batch.commands.append(route.heads[len(reading)] + reading + route.tail)
                self.expected.append(route.clean)
            self.messages.append((span, route, readings, schedule))

    def _other(self, span: Span, batch: Batch) -> None:
        """Everything but a submit_sm that may be submitted."""
        start, end, command_id, _, sequence_number = span
        session = self.session
        if command_id & RESPONSE_BIT:
            if command_id not in _PASSED_RESPONSES:
                self.edits += ((start, end, b""),)
                self.metrics.pdus_dropped["esme", "unexpected_response"] += 1
        elif command_id == ALERT_NOTIFICATION:  # has no response (SMPP v3.4 §4.12)
            self.edits += ((start, end, b""),)
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
            elif len(self.messages) >= self.allowance:
                self._refuse(span, self.limit)
            else:
                self._submission(span, batch)
        elif command_id in BINDS:
            self._refuse(span, Reason.ALREADY_BOUND)
        else:
            self.edits += ((start, end, b""),)
            self.metrics.refused[Kind.PERMANENT, Reason.UNKNOWN_COMMAND] += 1
            self.answers += (nack(sequence_number, ESME_RINVCMDID),)

    def _submission(self, span: Span, batch: Batch) -> None:
        start, end, command_id, _, _ = span
        try:
            if command_id == DATA_SM:
                source, destinations, schedule, nuls = peek_data_sm(self.buffer, start, end)
                self._ask(span, source, destinations, schedule, batch, nuls=nuls)
            elif command_id == SUBMIT_MULTI:
                multi = peek_submit_multi(self.buffer, start, end)
                self._ask(span, *multi[:3], batch, nuls=multi.trailing_nuls)
            else:
                peek = peek_replace_sm(self.buffer, start, end)
                self.metrics.trailing_nuls += peek.trailing_nuls
                self._replace(span, peek.source, batch)
        except Malformed as error:
            self._malformed(span, error)

    def _replace(self, span: Span, source: bytes, batch: Batch) -> None:
        route = self.session.memo.get((source, ())) or self._learn(source, (), batch)
        facts = Facts((), False, True, None, batch.now, Target.MESSAGE)
        decision = self._decide(route.line, facts, batch)
        if decision.kind is Kind.FORWARD:
            self.requests += ((REPLACE_SM, span[4]),)
        else:
            self._cut(span, decision)

    def _malformed(self, span: Span, error: PDUError) -> None:
        tlvs = error.command_status == ANSWERS[Reason.MALFORMED_TLVS].command_status
        self._refuse(span, Reason.MALFORMED_TLVS if tlvs else Reason.MALFORMED)

    def _refuse(self, span: Span, reason: Reason) -> None:
        """Refuse for what the PDU or the session is, whatever the policy says."""
        kind, status = ANSWERS[reason]
        self._cut(span, Decision(kind, reason, "", status, ()))
        account = self.session.account
        self.noted += ((account, None, "", "", None, reason, status, kind, self.version),)

    def _cut(self, span: Span, decision: Decision) -> None:
        """Answer one PDU in the SMSC's place."""
        start, end, command_id, _, sequence_number = span
        self.edits += ((start, end, b""),)
        self.answers += (
            self.session.refusal(command_id, sequence_number, decision.command_status),
        )
        self._count(decision)

    def _count(self, decision: Decision) -> None:
        assert decision.reason is not None  # noqa: S101 - a refusal has a reason
        self.session.refused += 1
        self.metrics.refused[decision.kind, decision.reason] += 1

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
        self.forward = edited(self.buffer, self.edits) if self.edits else self.buffer

    def _judge(self, batch: Batch, replies: Replies | None, approved: list[bool | None]) -> int:
        """Message by message: clean ones pass at once, the others walk the rules."""
        passed = 0
        submits: list[int] = []
        multis: dict[Span, list[Decision]] = {}
        for message, blocked, granted in self.answered(batch, replies, approved):
            span, route, readings, schedule = message
            decision = FORWARDED
            if not (
                route.line.plain
                and blocked is False
                and (granted or not route.approval)
                and schedule is None
                and readings
                and batch.judge.refused.isdisjoint(readings)
            ):
                decision = self._decide(
                    route.line, facts_of(message, blocked, granted, batch.now), batch
                )
            elif batch.log_all:
                self._note(route.line, readings, None, None)
            if span[2] == SUBMIT_MULTI:
                multis.setdefault(span, []).append(decision)
            elif decision.kind is not Kind.FORWARD:
                self._cut(span, decision)
            else:
                passed += 1
                if span[2] == SUBMIT_SM:
                    submits.append(span[4])
                else:
                    self.requests += ((span[2], span[4]),)
        self.session.submitted(submits, self.fed_at)
        return passed + sum(self._multi(span, decisions) for span, decisions in multis.items())

    def _multi(self, span: Span, decisions: list[Decision]) -> int:
        """Forward what is left of a submit_multi; how many of its entries that is."""
        number, session = span[4], self.session
        is_open = (SUBMIT_MULTI_RESP, number) in session.open_others
        is_open = is_open or (SUBMIT_MULTI, number) in self.requests
        found = settle_multi(
            self.buffer, span, decisions, is_open=is_open, is_merged=number in session.merges
        )
        self.edits += found.edits
        for decision in found.refused:
            self._count(decision)
        if found.answer:
            self.answers += (found.answer,)
            return 0
        if found.missing:
            session.merges[number] = found.missing
        self.requests += ((SUBMIT_MULTI, number),)
        return len(decisions) - len(found.refused)

    def answered(
        self, batch: Batch, replies: Replies | None, approved: list[bool | None]
    ) -> Iterator[tuple[Message, bool | None, bool | None]]:
        """Each message, whether it is blocked, and whether its sender is approved.

        None = could not be looked up. See `settle` for the arguments.
        """
        at = self.first
        for message in self.messages:
            _, route, readings, _ = message
            asked = len(readings or ())
            mine = None if replies is None else replies[at : at + asked]
            at += asked
            blocked = _blocked(mine, route.clean)
            if blocked is None and mine is not None and readings:
                self.failed += ((readings, mine),)
            granted = approved[batch.approvals[route.approval]] if route.approval else None
            yield message, blocked, granted

    def _decide(self, line: Line, facts: Facts, batch: Batch) -> Decision:
        """Walk the rules for one message, and note what they have against it."""
        decision = batch.judge.decide(line, facts)
        for step in decision.steps:
            if step.effect == Effect.SHADOW and step.reason is not None:
                self.metrics.shadow[step.rule, step.reason] += 1
            elif step.effect == Effect.BYPASS:
                self.metrics.bypassed[step.rule] += 1
            if step.reason is not None:
                self._note(line, facts.readings, step, decision)
        return decision

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


def facts_of(message: Message, blocked: bool | None, approved: bool | None, now: float) -> Facts:
    """What the rules are asked about."""
    _, _, readings, schedule = message
    target = Target.LIST if readings is None else Target.NUMBER
    return Facts(readings or (), blocked, approved, schedule, now, target)


def _blocked(replies: Replies | None, clean: list[int]) -> bool | None:
    """Whether any reading of the destination has a block; None = not surely known."""
    if replies is None:
        return None
    if all(reply == clean for reply in replies):
        return False
    if any(isinstance(reply, list) and 1 in reply for reply in replies):
        return True
    return None
