"""The questions of many sessions that share one round trip to Redis, under one snapshot."""

from smsfilter.proxy.limits import Allowances
from smsfilter.rules.judge import Judge
from smsfilter.store.index import Replies

QUESTIONS_MOST = 2048
"""Questions about customers in one batch: some 200 KiB of commands, a millisecond of Redis."""


class Batch:
    """What is asked at one time. `now` is Unix time, `at` monotonic, both in seconds."""

    log_all = False
    """Whether forwarded messages are noted as well."""
    paused = False
    """The proxy drains: submissions are put off."""

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
        self.approvals: dict[bytes, int] = {}

    @property
    def full(self) -> bool:
        """Whether it asks enough for one round trip."""
        return len(self.commands) >= QUESTIONS_MOST

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
