"""The first half of a turn: one session's PDUs read in order, and what has to be asked for them.

Submissions that mean the same (one source, one signature) and have nothing odd about them form a
run: their questions are packed and their replies looked at together, at the cost of a few list
items each. Everything that needs no question is settled at once. No I/O.
"""

import math
from collections.abc import Iterator, Sequence

from smsfilter.log import Decision as Logged
from smsfilter.metrics import Metrics
from smsfilter.proxy.batch import Batch
from smsfilter.proxy.limits import NO_LIMIT
from smsfilter.proxy.octets import Edit, nack
from smsfilter.proxy.route import Route
from smsfilter.proxy.session import MEMO_MOST, Session
from smsfilter.proxy.signed import Destinations, Signed
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

Readings = tuple[bytes, ...]

NO_NAMES: tuple[str, ...] = ()
_PASSED_RESPONSES = frozenset(
    {DELIVER_SM_RESP, DATA_SM_RESP, ENQUIRE_LINK_RESP, UNBIND_RESP, GENERIC_NACK}
)
_PASSED_REQUESTS = frozenset({QUERY_SM, CANCEL_SM, UNBIND, ENQUIRE_LINK})
_SUBMISSIONS = frozenset({SUBMIT_SM, DATA_SM, SUBMIT_MULTI, REPLACE_SM})


class Run:
    """Submissions in a row that are judged by the same route.

    In a plain run each destination is its own only reading and nothing is scheduled; any other has
    one PDU, but an item for each of its destinations.
    """

    __slots__ = ("destinations", "first", "grant", "readings", "route", "schedule", "spans")

    def __init__(self, route: Route, spans: list[Span], first: int, grant: int | None) -> None:
        self.route = route
        self.spans = spans
        self.first = first
        """The place of its first reply among those of the batch."""
        self.grant = grant
        """The number of its approval question; None = it hangs on none."""
        self.destinations: Sequence[bytes | None] = ()
        """None for a distribution list."""
        self.readings: list[Readings | None] | None = None
        """Where it is not plain: those of each destination."""
        self.schedule: bytes | None = None

    def items(self) -> Iterator[tuple[bytes | None, Readings | None]]:
        """Each destination and its readings."""
        if self.readings is not None:
            return zip(self.destinations, self.readings, strict=True)
        return ((to, (to,)) for to in self.destinations if to is not None)


class Scan:
    """The PDUs of one session that are decided together.

    What most turns never have stands as a default of the class: making a turn is then cheap, which
    counts where each PDU comes alone.
    """

    version = ""
    unbound = False
    """The ESME unbinds in this turn: what follows is refused."""
    allowance = NO_LIMIT
    """How many more messages its account may submit, and what to call it if there are more."""
    limit = Reason.RATE
    count = 0
    """How many messages there are to decide: one for each destination."""
    requests: tuple[tuple[int, int], ...] = ()
    """Commands and sequence_numbers of what passes, but for submit_sm."""
    edits: tuple[Edit, ...] = ()
    """What does not reach the SMSC as it came."""
    answers: tuple[bytes, ...] = ()
    noted: tuple[Logged, ...] = ()

    def __init__(
        self, session: Session, buffer: bytes, spans: list[Span], fed_at: float, metrics: Metrics
    ) -> None:
        self.session = session
        self.buffer = buffer
        self.spans = spans
        self.fed_at = fed_at
        self.metrics = metrics
        self.runs: list[Run] = []

    def scan(self, batch: Batch) -> None:
        """Read all PDUs, append what is asked to the batch, settle what needs no question."""
        judge, buffer, session = batch.judge, self.buffer, self.session
        self.version = judge.version
        if session.memo_judge is not judge or batch.now >= session.memo_until:
            session.memo.clear()
            session.memo_judge = judge
            session.memo_until = math.inf
        memo = session.memo
        signed = self._signed(batch)
        may_submit = session.may_submit() and not batch.paused
        if session.account in judge.limits:
            self._limit(batch)
        room = self.allowance
        route, last, last_names = None, None, NO_NAMES
        spans: list[Span] = []
        destinations: list[bytes] = []
        for span in self.spans:
            start, end, command_id, _, _ = span
            if command_id != SUBMIT_SM or not may_submit or len(spans) >= room:
                if route is not None and spans:
                    self._ask_together(route, spans, destinations, batch)
                    spans, destinations = [], []
                self._other(span, batch)
                may_submit, room = may_submit and not self.unbound, self.allowance
                if batch.full:
                    self._stop_at(end)
                    break
                continue
            found = scan_submit_sm(buffer, start + 16, end)
            nuls = 0
            if found is None or (at := found.end()) + buffer[at - 1] != end:
                try:
                    nuls = peek_submit_sm(buffer, start, end).trailing_nuls
                except Malformed as error:
                    self._malformed(span, error, batch)
                    continue
                assert found is not None  # noqa: S101 - the peek has scanned the same octets
                self.metrics.trailing_nuls += nuls
            source, destination, schedule = found.groups()
            names = NO_NAMES
            if signed is not None:
                if at + buffer[at - 1] != end or buffer[found.end(2) + 1] & ESM_CLASS_UDHI:
                    names = signed.names(buffer, span, source, (destination,), nuls)
                elif may_be_signed(text := buffer[at:end]):
                    names = signed.read(buffer[at - 3], text)
            if source != last or names != last_names:
                if route is not None and spans:
                    self._ask_together(route, spans, destinations, batch)
                    spans, destinations, room = [], [], self.allowance
                route = memo.get((source, names)) or self._learn(source, names, batch)
                last, last_names = source, names
            if schedule is None:
                spans.append(span)
                destinations.append(destination)
            else:
                assert route is not None  # noqa: S101 - `last` has no source to begin with
                self._ask(route, span, (destination,), schedule, batch)
                room = self.allowance
        if route is not None and spans:
            self._ask_together(route, spans, destinations, batch)

    # --- what is asked

    def _ask_together(
        self, route: Route, spans: list[Span], destinations: list[bytes], batch: Batch
    ) -> None:
        """Ask for submit_sm of one route: in one piece if nothing about them is odd."""
        judge, count = batch.judge, len(spans)
        if not judge.read.are_plain(destinations) or not judge.refused.isdisjoint(destinations):
            for span, destination in zip(spans, destinations, strict=True):
                self._ask(route, span, (destination,), None, batch)
            return
        run = Run(route, spans, batch.asked, batch.want(route.approval))
        run.destinations = destinations
        head, tail = route.heads[len(destinations[0])], route.tail
        batch.ask(head + (tail + head).join(destinations) + tail, count)
        self.runs.append(run)
        self._take(count, batch)

    def _ask(
        self,
        route: Route,
        span: Span,
        destinations: Destinations,
        schedule: bytes | None,
        batch: Batch,
    ) -> None:
        """Ask for one PDU, under every reading of its destinations."""
        run = Run(route, [span] * len(destinations), batch.asked, batch.want(route.approval))
        run.destinations, run.readings, run.schedule = destinations, [], schedule
        for destination in destinations:
            readings = None if destination is None else batch.judge.read(destination)
            run.readings.append(readings)
            for reading in readings or ():
                batch.ask(route.heads[len(reading)] + reading + route.tail, 1)
        self.runs.append(run)
        self._take(len(destinations), batch)

    def _limit(self, batch: Batch) -> None:
        """See how much the account may submit."""
        session = self.session
        account, limits = session.account, batch.judge.limits[session.account]
        in_flight = session.messages_in_flight()
        self.allowance, self.limit = batch.allowances.left(account, limits, in_flight, batch.at)

    def _take(self, count: int, batch: Batch) -> None:
        """Count messages, also against the account's limits."""
        self.count += count
        if self.allowance != NO_LIMIT:
            self.allowance -= count
            batch.allowances.take(self.session.account, count)

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

    # --- everything but a submit_sm that may be submitted

    def _other(self, span: Span, batch: Batch) -> None:
        start, end, command_id, _, sequence_number = span
        if command_id in _SUBMISSIONS:
            self._submission(span, batch)
        elif command_id & RESPONSE_BIT:
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
                self._malformed(span, error, batch)
                return
            self.requests += ((command_id, sequence_number),)
            self.unbound = self.unbound or command_id == UNBIND
        elif command_id in BINDS:
            self._refuse(span, Reason.ALREADY_BOUND, batch)
        else:
            self.edits += ((start, end, b""),)
            self.metrics.refused[Kind.PERMANENT, Reason.UNKNOWN_COMMAND] += 1
            self.answers += (nack(sequence_number, ESME_RINVCMDID),)

    def _submission(self, span: Span, batch: Batch) -> None:
        """One that may not be submitted now, or that is no submit_sm."""
        start, end, command_id, _, _ = span
        if self.unbound or not self.session.may_submit():
            self._refuse(span, Reason.NOT_BOUND_FOR_THIS, batch)
        elif batch.paused:
            self._refuse(span, batch.paused_for, batch)
        elif self.allowance <= 0:
            self._refuse(span, self.limit, batch)
        else:
            try:
                if command_id == DATA_SM:
                    source, to, schedule, nuls = peek_data_sm(self.buffer, start, end)
                    self._ask_alone(span, source, to, schedule, nuls, batch=batch)
                elif command_id == SUBMIT_MULTI:
                    multi = peek_submit_multi(self.buffer, start, end)
                    self._ask_alone(span, *multi[:4], batch=batch)
                else:
                    source, _, _, nuls = peek_replace_sm(self.buffer, start, end)
                    self.metrics.trailing_nuls += nuls
                    self._replace(span, source, batch)
            except Malformed as error:
                self._malformed(span, error, batch)

    def _ask_alone(
        self,
        span: Span,
        source: bytes,
        destinations: Destinations,
        schedule: bytes | None,
        nuls: int,
        *,
        batch: Batch,
    ) -> None:
        self.metrics.trailing_nuls += nuls
        signed, names = self._signed(batch), NO_NAMES
        if signed is not None:
            names = signed.names(self.buffer, span, source, destinations, nuls)
        route = self.session.memo.get((source, names)) or self._learn(source, names, batch)
        self._ask(route, span, destinations, schedule, batch)

    def _replace(self, span: Span, source: bytes, batch: Batch) -> None:
        route = self.session.memo.get((source, NO_NAMES)) or self._learn(source, NO_NAMES, batch)
        facts = Facts((), False, True, None, batch.now, Target.MESSAGE)
        decision = self._decide(route.line, facts, batch)
        batch.record(route.line, (), decision, checked=True)
        if decision.kind is Kind.FORWARD:
            self.requests += ((REPLACE_SM, span[4]),)
        else:
            self._cut(span, decision)

    # --- refusals

    def _malformed(self, span: Span, error: PDUError, batch: Batch) -> None:
        tlvs = error.command_status == ANSWERS[Reason.MALFORMED_TLVS].command_status
        self._refuse(span, Reason.MALFORMED_TLVS if tlvs else Reason.MALFORMED, batch)

    def _refuse(self, span: Span, reason: Reason, batch: Batch) -> None:
        """Refuse for what the PDU or the session is, whatever the policy says."""
        kind, status = ANSWERS[reason]
        decision = Decision(kind, reason, "", status, ())
        self._cut(span, decision)
        if span[2] in _SUBMISSIONS:
            batch.record(None, (), decision, checked=False)
        noted = (self.session.account, None, "", "", None, reason, status, kind, self.version)
        self.noted += (noted,)

    def _cut(self, span: Span, decision: Decision) -> None:
        """Answer one PDU in the SMSC's place."""
        start, end, command_id, _, sequence_number = span
        status = decision.command_status
        self.edits += ((start, end, b""),)
        self.answers += (self.session.refusal(command_id, sequence_number, status),)
        self._count(decision)

    def _count(self, decision: Decision) -> None:
        assert decision.reason is not None  # noqa: S101 - a refusal has a reason
        if decision.reason is Reason.ALREADY_BOUND:  # a bind is no message
            self.metrics.binds[decision.reason] += 1
            return
        self.session.refused += 1
        self.metrics.refused[decision.kind, decision.reason] += 1

    def _decide(
        self, line: Line, facts: Facts, batch: Batch, destination: bytes | None = None
    ) -> Decision:
        """Walk the rules for one message, and note what they have against it."""
        decision = batch.judge.decide(line, facts)
        for step in decision.steps:
            if step.reason is None:
                continue
            if step.effect == Effect.SHADOW:
                self.metrics.shadow[step.rule, step.reason] += 1
            elif step.effect == Effect.BYPASS and decision.kind is Kind.FORWARD:
                self.metrics.bypassed[step.rule] += 1
            self._note(line, facts.readings or (destination,), step, decision)
        return decision

    def _note(
        self,
        line: Line,
        shown: tuple[bytes | None, ...],
        step: Step | None,
        decision: Decision | None,
    ) -> None:
        rule, reason, kind, status = None, None, Kind.FORWARD, 0
        if step is not None:
            rule, reason = step.rule, step.reason
            if step.effect == Effect.REFUSE and decision is not None:
                kind, status = decision.kind, decision.command_status
        who = (line.account, line.company, line.source, shown[0] or b"")
        self.noted += ((*who, rule, reason, status, kind, self.version),)
