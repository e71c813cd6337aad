"""The questions of many sessions that share one round trip to Redis, under one snapshot."""

from collections.abc import Sequence
from typing import NamedTuple

from smsfilter.proxy.limits import Allowances
from smsfilter.rules.judge import Decision, Judge, Line
from smsfilter.rules.verdict import Kind, Reason
from smsfilter.store.index import Replies

QUESTIONS_MOST = 2048
"""Questions about customers in one batch: some 200 KiB of commands, a millisecond of Redis."""


class Passed(NamedTuple):
    """A run of clean messages: who sends, and to which numbers."""

    line: Line
    numbers: Sequence[bytes]


class Judged(NamedTuple):
    """A verdict on one destination."""

    line: Line | None
    """None where it was refused before anybody asked who sends."""
    readings: tuple[bytes, ...]
    kind: Kind
    reason: Reason | None
    """Also of a forward: what a rule in shadow, or one that could not be asked, had against it."""
    checked: bool
    """Whether it is known if the customer has a block."""


class Batch:
    """What is asked at one time. `now` is Unix time, `at` monotonic, both in seconds."""

    log_all = False
    """Whether forwarded messages are noted as well."""
    paused = False
    """Submissions are put off."""
    paused_for = Reason.PAUSED

    def __init__(
        self, judge: Judge, prefix: str, now: float, at: float, allowances: Allowances
    ) -> None:
        self.judge = judge
        self.prefix = prefix
        self.now = now
        """Schedules and validities are judged by it."""
        self.at = at
        self.allowances = allowances
        self.commands: list[bytes] = []
        """Questions about customers, one or more in each piece."""
        self.asked = 1
        """How many questions there are, the one for the epoch included: the next reply's place."""
        self.approvals: dict[bytes, int] = {}
        self.passed: list[Passed] = []
        """What goes on record as forwarded with nothing to say about it."""
        self.judged: list[Judged] = []
        """What goes on record message by message."""

    @property
    def full(self) -> bool:
        """Whether it asks enough for one round trip."""
        return self.asked > QUESTIONS_MOST

    def ask(self, commands: bytes, count: int) -> None:
        """Put `count` questions about customers."""
        self.commands.append(commands)
        self.asked += count

    def want(self, approval: bytes) -> int | None:
        """The number of an approval question, which is put once; None where there is none."""
        return self.approvals.setdefault(approval, len(self.approvals)) if approval else None

    def record(
        self, line: Line | None, readings: tuple[bytes, ...], decision: Decision, *, checked: bool
    ) -> None:
        """Put one verdict on record."""
        reason = decision.reason
        if reason is None:
            reason = next((step.reason for step in decision.steps if step.reason), None)
        self.judged.append(Judged(line, readings, decision.kind, reason, checked))

    def roll_back(self, commands: int, asked: int, approvals: int, judged: int) -> None:
        """Take back what was put since there were so many of each."""
        del self.judged[judged:]
        del self.commands[commands:]
        self.asked = asked
        for extra in list(self.approvals)[approvals:]:
            del self.approvals[extra]

    def octets(self, epoch: bytes) -> bytes:
        """All questions, the epoch asked for before and after them."""
        return b"".join([epoch, *self.commands, *self.approvals, epoch])

    def granted(self, replies: Replies | None) -> list[bool | None]:
        """Whether each approval question was answered with yes; None = not surely known."""
        if not replies:
            return [None] * len(self.approvals)
        approvals = replies[self.asked : self.asked + len(self.approvals)]
        return [1 in reply if isinstance(reply, list) else None for reply in approvals]
