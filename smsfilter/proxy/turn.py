"""The second half of a turn: what the replies say of each message, and what goes where.

`settle` leaves `forward` (octets for the SMSC: the buffer itself where nothing was taken out) and
`answers` (octets for the ESME). A plain run whose replies are all clean passes as a whole; the
rules are walked only for a message that has something against it. No I/O.
"""

from collections.abc import Iterator
from typing import cast

from smsfilter.proxy.batch import Batch, Passed
from smsfilter.proxy.multi import settle_multi
from smsfilter.proxy.octets import edited
from smsfilter.proxy.scan import Readings, Run, Scan
from smsfilter.rules.judge import Decision, Facts, Target
from smsfilter.rules.verdict import Kind
from smsfilter.smpp.const import SUBMIT_MULTI, SUBMIT_MULTI_RESP, SUBMIT_SM
from smsfilter.smpp.framer import Span
from smsfilter.store.index import Replies

FORWARDED = Decision(Kind.FORWARD, None, "", 0, ())


class Turn(Scan):
    """One session's part of a batch, from octets to octets."""

    forward = b""
    passed = 0
    """How many messages are in it."""
    failed: tuple[tuple[Readings, Replies], ...] = ()
    """Look-ups that Redis answered with an error: readings and replies."""

    def settle(self, batch: Batch, replies: Replies | None, approved: list[bool | None]) -> None:
        """Decide each message. `replies` are those of the whole batch; None = away.

        `approved` is by the number of the batch's approval question.
        """
        session, passed = self.session, 0
        numbers: list[int] = []
        for run in self.runs:
            granted = None if run.grant is None else approved[run.grant]
            if (
                run.readings is None
                and replies is not None
                and run.route.line.plain
                and (granted or run.grant is None)
                and not batch.log_all
            ):
                numbers += self._pass_clean(run, batch, replies, granted)
            else:
                passed += self._judge(run, batch, replies, granted, numbers)
        session.submitted(numbers, self.fed_at)
        passed += len(numbers)
        self.passed = passed
        session.forwarded += passed
        self.metrics.forwarded += passed
        for command_id, sequence_number in self.requests:
            session.requested(command_id, sequence_number, self.fed_at)
        self.forward = edited(self.buffer, self.edits) if self.edits else self.buffer

    def _pass_clean(
        self, run: Run, batch: Batch, replies: Replies, granted: bool | None
    ) -> list[int]:
        """Pass those of a plain run that nobody has blocked; their sequence_numbers."""
        spans, clean = run.spans, run.route.clean
        mine = replies[run.first : run.first + len(spans)]
        numbers = [span[4] for span in spans]
        customers = cast("list[bytes]", run.destinations)  # a plain run has no list among them
        if mine.count(clean) != len(spans):
            customers = customers.copy()
            odd = [place for place, reply in enumerate(mine) if reply != clean]
            passes = [
                self._passes(run, spans[n], (customers[n],), mine[n], granted=granted, batch=batch)
                for n in odd
            ]
            for place, passed in zip(reversed(odd), reversed(passes), strict=True):
                del customers[place]  # it is on record by itself
                if not passed:
                    del numbers[place]
        batch.passed.append(Passed(run.route.line, customers))
        return numbers

    def _passes(
        self,
        run: Run,
        span: Span,
        readings: Readings,
        reply: object,
        *,
        granted: bool | None,
        batch: Batch,
    ) -> bool:
        """Walk the rules for one message of a plain run, and cut it out if they refuse it."""
        blocked = self._blocked(readings, [reply], run.route.clean)
        facts = facts_of(run, readings, blocked, granted, batch.now)
        decision = self._decide(run.route.line, facts, batch)
        batch.record(run.route.line, readings, decision, checked=blocked is not None)
        if decision.kind is not Kind.FORWARD:
            self._cut(span, decision)
        return decision.kind is Kind.FORWARD

    def _judge(
        self,
        run: Run,
        batch: Batch,
        replies: Replies | None,
        granted: bool | None,
        numbers: list[int],
    ) -> int:
        """Walk the rules for each item; submit_sm that pass go to `numbers`, others are counted."""
        decisions = []
        items = list(self.answered(run, replies))
        for destination, readings, blocked in items:
            facts = facts_of(run, readings, blocked, granted, batch.now)
            decision = self._decide(run.route.line, facts, batch, destination)
            decisions.append(decision)
            if batch.log_all and not any(step.reason for step in decision.steps):
                self._note(run.route.line, readings or (destination,), None, None)
        passed = 0
        is_multi = run.spans[0][2] == SUBMIT_MULTI
        if is_multi:
            passed, decisions = self._multi(run.spans[0], decisions)
        for decision, (_, readings, blocked) in zip(decisions, items, strict=True):
            batch.record(run.route.line, readings or (), decision, checked=blocked is not None)
        if is_multi:
            return passed
        for span, decision in zip(run.spans, decisions, strict=True):
            if decision.kind is not Kind.FORWARD:
                self._cut(span, decision)
            elif span[2] == SUBMIT_SM:
                numbers.append(span[4])
            else:
                passed += 1
                self.requests += ((span[2], span[4]),)
        return passed

    def answered(
        self, run: Run, replies: Replies | None
    ) -> Iterator[tuple[bytes | None, Readings | None, bool | None]]:
        """Each destination of a run, its readings, and whether it is blocked; None = not known."""
        at = run.first
        for destination, readings in run.items():
            asked = len(readings or ())
            mine = None if replies is None else replies[at : at + asked]
            at += asked
            yield destination, readings, self._blocked(readings or (), mine, run.route.clean)

    def _blocked(
        self, readings: Readings, replies: Replies | None, clean: list[int]
    ) -> bool | None:
        """Whether any reading of the destination has a block; None = not surely known."""
        if replies is None:
            return None
        if replies.count(clean) == len(replies):
            return False
        if any(isinstance(reply, list) and 1 in reply for reply in replies):
            return True
        self.failed += ((readings, replies),)
        return None

    def _multi(self, span: Span, decisions: list[Decision]) -> tuple[int, list[Decision]]:
        """Forward what is left of a submit_multi: how many entries, and what became of each."""
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
            return 0, list(found.refused)
        if found.missing:
            session.merges[number] = found.missing
        self.requests += ((SUBMIT_MULTI, number),)
        return len(decisions) - len(found.refused), decisions


def facts_of(
    run: Run, readings: Readings | None, blocked: bool | None, approved: bool | None, now: float
) -> Facts:
    """What the rules are asked about."""
    target = Target.LIST if readings is None else Target.NUMBER
    return Facts(readings or (), blocked, approved, run.schedule, now, target)
