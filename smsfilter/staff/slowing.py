"""Whoever guesses passwords is slowed down, by the account that they guess at and by where from.

Every attempt counts as failed from its beginning, so that a hundred at the same time are a hundred;
one that succeeds is taken back. All is in memory, and bounded: a restart forgives.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

ACCOUNT_FREE: Final = 3
ADDRESS_FREE: Final = 10
"""Failures without a delay; an address may be that of a whole office."""
DELAY_S_MOST: Final = 60
"""A person whose account is guessed at waits so long at most."""
FORGOTTEN_S: Final = 900
_KEPT_MOST: Final = 10_000
"""Accounts and addresses; beyond it the ones that failed longest ago are forgotten."""


class Key(NamedTuple):
    """What is slowed down: an account or an address."""

    kind: str
    name: str


def keys(account: str, address: str) -> tuple[Key, Key]:
    """Return what an attempt counts for."""
    return Key("account", account), Key("address", address)


@dataclass(slots=True)
class _Failures:
    count: int = 0
    last_at: float = 0.0
    next_at: float = 0.0


class Slowing:
    """Counts failures; the time is an argument, in seconds."""

    def __init__(self) -> None:
        self._failed: OrderedDict[Key, _Failures] = OrderedDict()

    def begin(self, tried: Sequence[Key], now: float) -> float:
        """Count an attempt and return 0, or return how many seconds it comes too early."""
        early = max((self._of(key, now).next_at - now for key in tried), default=0.0)
        if early > 0:
            return early
        for key in tried:
            found = self._failed.setdefault(key, self._of(key, now))
            self._failed.move_to_end(key)
            found.count += 1
            found.last_at = now
            free = ACCOUNT_FREE if key.kind == "account" else ADDRESS_FREE
            if found.count >= free:
                found.next_at = now + min(2.0 ** min(found.count - free, 16), DELAY_S_MOST)
        while len(self._failed) > _KEPT_MOST:
            self._failed.popitem(last=False)
        return 0.0

    def succeeded(self, account: Key, address: Key) -> None:
        """Take an attempt back: the account is forgiven all, the address this one."""
        self._failed.pop(account, None)
        found = self._failed.get(address)
        if found is not None:
            found.count -= 1
            found.next_at = 0.0 if found.count < ADDRESS_FREE else found.next_at

    def _of(self, key: Key, now: float) -> _Failures:
        found = self._failed.get(key)
        if found is None or now - found.last_at > FORGOTTEN_S:
            self._failed.pop(key, None)
            return _Failures()
        return found
