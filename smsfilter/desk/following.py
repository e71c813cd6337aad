"""Whether a change is in force already: said with the answer to whoever made it."""

from collections.abc import Awaitable, Callable
from typing import Any

from smsfilter.store.projection import IndexAway
from smsfilter.store.writer import Entered

Follow = Callable[[int], Awaitable[None]]
"""Returns once the index has everything up to a row of the ledger; raises IndexAway."""


async def in_force(follow: Follow, entered: Entered | None) -> dict[str, Any]:
    """Wait until the index has followed, and say if it has; `why` not, where it is away.

    The change stands on the records either way, and the desk goes on trying.
    """
    if entered is None:
        return {"in_force": True}
    try:
        await follow(entered.seq)
    except IndexAway as error:
        return {"in_force": False, "why": str(error)}
    return {"in_force": True}
