"""How long the report centre waits before it connects again. No clock: the jitter is passed in."""

from collections.abc import Callable
from typing import Final

FIRST_S: Final = 0.5
MOST_S: Final = 30.0
REFUSED_FIRST_S: Final = 5.0
REFUSED_MOST_S: Final = 60.0
"""A wrong password is not tried often: some SMSCs bar an account for that."""
STEADY_S: Final = 10.0
"""A bind that has stood for so long was no failure."""

Jitter = Callable[[float, float], float]
"""A random number between two: `random.uniform`."""


class Backoff:
    """Pauses that double with each failure, each by chance, so that not all come back at once."""

    def __init__(self, jitter: Jitter) -> None:
        self._jitter = jitter
        self._failures = 0
        self._refusals = 0

    def failed(self) -> float:
        """Seconds to wait after a connection that could not be made, or has ended."""
        most = min(MOST_S, FIRST_S * 2.0 ** min(self._failures, 16))
        self._failures += 1
        return self._jitter(0.0, most)

    def refused(self) -> float:
        """Seconds to wait after a bind that was refused for good."""
        most = min(REFUSED_MOST_S, REFUSED_FIRST_S * 2.0 ** min(self._refusals, 16))
        self._refusals += 1
        return self._jitter(most / 2, most)

    def bound_for(self, seconds: float) -> None:
        """A bind has stood for so long."""
        self._refusals = 0
        if seconds >= STEADY_S:
            self._failures = 0
