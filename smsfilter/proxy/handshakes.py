"""The TLS handshakes of ESMEs that are under way: how many there may be, and whose turn it is.

A handshake costs this process a thousand times what a PDU does, and anybody who can connect may
ask for one. So they take turns, a few in each turn of the loop, with everything else between. A
connection counts from its first octet on: one that says nothing costs nothing but its socket.
Where there are too many, whoever has kept us waiting makes room; if nobody has, the one that came
last is turned away, because those before it are being served as fast as can be.
"""

import asyncio
from collections import deque
from time import monotonic
from typing import Final, Protocol

AT_ONCE: Final = 2
"""Steps of handshakes in one turn of the loop: one with an RSA key of 2048 bits is a millisecond
or two."""
SILENT_MOST_S: Final = 1.0
"""How long a peer may be silent in its handshake before another may have its place: some round
trips on any network."""


class Shaking(Protocol):
    """A connection in the middle of its handshake."""

    def go_on(self) -> bool:
        """Do the next step with what has come; whether the peer has to say more."""

    def turn_away(self) -> None:
        """There is no room: close."""


class Handshakes:
    """Those of all listening addresses, `most` at once."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: deque[Shaking] = deque()
        self._silent: dict[Shaking, float] = {}
        """Whose peer has the word, since when in monotonic seconds; the longest come first."""
        self._scheduled = False

    @property
    def under_way(self) -> int:
        """How many there are."""
        return len(self._waiting) + len(self._silent)

    def want(self, one: Shaking) -> None:
        """Octets have come for `one`: it has its turn when those before it have had theirs."""
        is_new = self._silent.pop(one, None) is None
        if is_new and self.under_way >= self._most and not self._make_room():
            one.turn_away()
            return
        self._waiting.append(one)
        self._schedule()

    def over(self, one: Shaking) -> None:
        """Its handshake has ended, however that may be, or its connection has."""
        self._silent.pop(one, None)
        if one in self._waiting:
            self._waiting.remove(one)

    def _make_room(self) -> bool:
        oldest, since = next(iter(self._silent.items()), (None, 0.0))
        if oldest is None or monotonic() - since < SILENT_MOST_S:
            return False
        del self._silent[oldest]
        oldest.turn_away()
        return True

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._take_turns)

    def _take_turns(self) -> None:
        self._scheduled = False
        for _ in range(min(AT_ONCE, len(self._waiting))):
            one = self._waiting.popleft()
            if one.go_on():
                self._silent[one] = monotonic()
        if self._waiting:
            self._schedule()
