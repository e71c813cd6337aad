"""Whether what Redis says of itself lets an absent key mean "no block".

It is asked at each new connection and every two seconds. An index that may lose blocks, by
evicting them or by no longer being the master's, is not trusted. No I/O.
"""

from typing import Final

QUESTIONS: Final = (("INFO", "memory"), ("INFO", "stats"), ("INFO", "replication"))
"""Commands, each with one reply."""
NO_MASTER: Final = "Redis is no longer the master"
_UNTOLD: Final = "Redis does not tell its health"


class Health:
    """What one Redis has said so far. `as_master`: it is of use only as the master."""

    def __init__(self, *, as_master: bool) -> None:
        self._as_master = as_master
        self._evicted: int | None = None

    def begin(self) -> None:
        """Forget what the last connection was told: another server may have been at its end."""
        self._evicted = None

    def untold(self, replies: list[object]) -> str:
        """Why it has not told; '' where it has. The reply of `GET index:epoch` follows the others.

        It is nothing to go by then, and the epoch is not known either.
        """
        error = next((r for r in replies if isinstance(r, Exception)), None)
        if error is None:
            return "" if _told(replies).get("evicted_keys", "").isdecimal() else _UNTOLD
        if str(error).startswith("LOADING"):
            return "Redis is loading its data"
        return (
            f"index:epoch: {error}" if error is replies[len(QUESTIONS)] else f"{_UNTOLD}: {error}"
        )

    def distrust(self, replies: list[object]) -> str:
        """Why an absent key may not be trusted, by what it has told; '' where it may."""
        told = _told(replies)
        eviction, evicted = told.get("maxmemory_policy", ""), int(told["evicted_keys"])
        grown = self._evicted is not None and evicted > self._evicted
        self._evicted = evicted
        if eviction.startswith("allkeys-"):
            return f"maxmemory-policy {eviction} may evict blocks: set noeviction"
        if grown and not eviction.startswith(("noeviction", "volatile-")):
            return "Redis evicts keys: set maxmemory-policy noeviction"
        if self._as_master and told.get("role") != "master":
            return NO_MASTER
        return ""


def _told(replies: list[object]) -> dict[str, str]:
    told: dict[str, str] = {}
    for reply in replies[: len(QUESTIONS)]:
        text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else ""
        for line in text.splitlines():
            name, _, value = line.partition(":")
            told[name] = value
    return told
