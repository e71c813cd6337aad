"""Awaiting that something becomes true, without polling and without sleeping.

Fakes call `notify` whenever their recorded history grows; a test awaits `until` with a predicate
over that history. The error of a wait that ran out says what was awaited and what there was
instead: a test that fails on another machine must be readable from its output alone.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

TIMEOUT_S = 5.0  # ample for one round trip on a busy machine of two cores


class Changes:
    """A condition variable for one event loop whose waiters cannot be forgotten or starved."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()

    def notify(self) -> None:
        """Let every waiter look again."""
        waiting, self._waiting = self._waiting, set()
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    async def until(
        self, found: Callable[[], T], what: str | Callable[[], str], timeout_s: float = TIMEOUT_S
    ) -> T:
        """Wait until `found()` is true, and return what it gave."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while not (value := found()):
            waiter: asyncio.Future[None] = loop.create_future()
            self._waiting.add(waiter)
            try:
                async with asyncio.timeout_at(deadline):
                    await waiter
            except TimeoutError:
                said = what if isinstance(what, str) else what()
                raise TimeoutError(f"not within {timeout_s:g} s: {said}") from None
            finally:
                self._waiting.discard(waiter)
        return value
