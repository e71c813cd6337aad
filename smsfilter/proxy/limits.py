"""How much an account may submit: a rate over all its sessions, a window for each of them.

What is over a limit is answered at once, with a status that senders try again, and reading goes
on: a stream that is held up would hide the answers that open the window again. Clocks are
monotonic and passed in.
"""

import sys

from smsfilter.rules.policy import AccountPolicy
from smsfilter.rules.verdict import Reason

NO_LIMIT = sys.maxsize


class Bucket:
    """A second's worth of an account's rate, refilled as time goes by; it may run into debt."""

    __slots__ = ("_at", "_tokens")

    def __init__(self) -> None:
        self._tokens = 0.0
        self._at = float("-inf")

    def left(self, rate: int, now: float) -> int:
        """How many messages may be taken at `now` (monotonic seconds)."""
        self._tokens = min(self._tokens + (now - self._at) * rate, rate)
        self._at = now
        return max(int(self._tokens), 0)

    def take(self, count: int) -> None:
        """Take `count` messages out."""
        self._tokens -= count


class Allowances:
    """The buckets of the accounts that the policy gives a rate."""

    def __init__(self) -> None:
        self._buckets: dict[str, Bucket] = {}

    def left(
        self, account: str, limits: AccountPolicy, in_flight: int, now: float
    ) -> tuple[int, Reason]:
        """How many messages a session may submit at `now`, and the reason to refuse more."""
        window = NO_LIMIT if limits.window is None else max(limits.window - in_flight, 0)
        if limits.rate is None:
            return window, Reason.WINDOW
        left = self._buckets.setdefault(account, Bucket()).left(limits.rate, now)
        return (window, Reason.WINDOW) if window < left else (left, Reason.RATE)

    def take(self, account: str, count: int) -> None:
        """Note that this account has submitted `count` messages."""
        bucket = self._buckets.get(account)
        if bucket is not None:
            bucket.take(count)
