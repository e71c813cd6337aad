"""Errors of the program's own, said without what a customer wrote, and not in a storm."""

import traceback
from time import monotonic
from typing import Any, Final

SAID_EVERY_S: Final = 1.0
"""A line about errors of one kind of work, at most."""


class Failures:
    """Counts the errors of one kind of work."""

    def __init__(self) -> None:
        self._count = 0  # not said yet
        self._said_at = float("-inf")

    def said(self, error: Exception) -> dict[str, Any] | None:
        """Give what a line says of an error: its kind and place, as its text may hold a number.

        None where a line was written a moment ago; the next one says how many there were.
        """
        self._count += 1
        now = monotonic()
        if now - self._said_at < SAID_EVERY_S:
            return None
        last = traceback.extract_tb(error.__traceback__)[-1]
        said = {
            "error": type(error).__name__,
            "where": f"{last.filename}:{last.lineno}, in {last.name}",
            "also": self._count - 1,
        }
        self._count, self._said_at = 0, now
        return said
