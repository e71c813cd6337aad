"""Ending tasks of asyncio, in one way."""

import asyncio
from collections.abc import Iterable
from typing import Any


async def ended(tasks: Iterable["asyncio.Task[Any]"]) -> None:
    """Cancel tasks and wait until each has ended; what they raise is let go."""
    every = list(tasks)
    for task in every:
        task.cancel()
    await asyncio.gather(*every, return_exceptions=True)
