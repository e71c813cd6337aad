"""Whether a fault could be seen from outside, and whether what it took was given back.

Pure, like the history checker, and of the same voice: both give the broken promises in words.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from tests.fakes.history import Broken
from tests.fakes.site import Site

WITHIN_S = 10.0
"""How soon a fault, and its end, must be seen."""


class Fault(NamedTuple):
    """What was done, when (Unix time), and the log events that have to tell of it."""

    name: str
    began: float
    ended: float
    shows: str = ""
    """Has to be there within ten seconds of the beginning; empty = it is nobody's concern."""
    heals: str = ""
    """Has to have the last word, within ten seconds of the end."""


class Uses(NamedTuple):
    """What the daemon has in its hands."""

    rss_kib: int
    descriptors: int
    sessions: float
    in_flight: float

    @classmethod
    async def of(cls, site: Site) -> "Uses":
        """What it has now."""
        metrics = await site.metrics()
        total = dict.fromkeys(("smsfilter_sessions", "smsfilter_in_flight"), 0.0)
        for (name, _), value in metrics.items():
            if name in total:
                total[name] += value
        return cls(site.rss_kib(), site.descriptors(), *total.values())


def unseen(faults: Iterable[Fault], log: Iterable[Mapping[str, Any]]) -> Iterator[Broken]:
    """Faults that the log does not tell of in time, or whose end it does not tell of."""
    lines = [(datetime.fromisoformat(line["ts"]).timestamp(), line["event"]) for line in log]
    for fault in faults:
        until = fault.ended + WITHIN_S
        shown = [at for at, it in lines if it == fault.shows and fault.began <= at <= until]
        healed = [at for at, it in lines if it == fault.heals and fault.began <= at <= until]
        if fault.shows and not (shown and shown[0] <= fault.began + WITHIN_S):
            yield Broken("faults are seen", f"{fault.name}: no {fault.shows}")
        if fault.heals and max(healed, default=0.0) < max(shown, default=1.0):
            yield Broken("faults are seen", f"{fault.name}: no {fault.heals} at last")


def kept(before: Uses, after: Uses, rss_kib_more: int) -> Iterator[Broken]:
    """What was not given back. A few descriptors come and go with the connection to Redis."""
    if after.rss_kib > before.rss_kib + rss_kib_more:
        yield Broken("bounded", f"{after.rss_kib - before.rss_kib} KiB more than before")
    if after.descriptors > before.descriptors + 2:
        yield Broken("bounded", f"{after.descriptors - before.descriptors} descriptors more")
    if after.sessions != before.sessions:
        yield Broken("bounded", f"{after.sessions:.0f} sessions, not {before.sessions:.0f}")
    if after.in_flight:
        yield Broken("bounded", f"{after.in_flight:.0f} requests in flight with nobody asking")
