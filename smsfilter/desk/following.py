"""Whether a change is in force already: said with the answer to whoever made it."""

from collections.abc import Awaitable, Callable
from typing import Any

from smsfilter.desk.indexing import IndexAway

Follow = Callable[[int], Awaitable[None]]
"""Returns once the index has everything up to a row of the ledger; raises IndexAway."""


async def in_force(follow: Follow, seq: int) -> dict[str, Any]:
    """Wait until the index has followed, and say if it has; `why` not, where it is away.

    The change stands on the records either way, and the desk goes on trying.
    """
    try:
        await follow(seq)
    except IndexAway as error:
        return {"in_force": False, "why": str(error)}
    return {"in_force": True}
