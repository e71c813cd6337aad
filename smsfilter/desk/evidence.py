"""What the proxies recorded, as the desk reads it: whom a customer heard from, and what is proven.

Which proxies must have records is said by `desk.decisions`. One whose folder or key is not there
counts as a gap, and so does the time since a copy was made: nothing follows from what may be
missing. Everything here reads files and is for a thread.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time
from pathlib import Path
from threading import Lock
from typing import Final
from zoneinfo import ZoneInfo

from smsfilter.config import Config
from smsfilter.decisions.manifest import Expected
from smsfilter.decisions.tokens import Tokens
from smsfilter.desk.keybox import OWN_PROXY, PROXIES
from smsfilter.desk.keys import FOLDER as KEYS
from smsfilter.desk.matching import WINDOW, Forward
from smsfilter.desk.office import Office
from smsfilter.store import keyfiles, segments
from smsfilter.store.decisions import Folder, Records
from smsfilter.store.keyfiles import KeyFileError

STAMP: Final = "copied"
"""A file in a copy: its time is the moment when the copying began."""
_SETTLED_NS: Final = 2_000_000_000
"""A folder that changed so lately may change again within the same tick of the file system."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that must have records."""

    name: str
    path: Path
    key: Path
    since: int = 0
    """When it went into service, in µs."""
    is_copy: bool = False


def proxies(config: Config, zone: ZoneInfo) -> tuple[Proxy, ...]:
    """Return the proxies that must have records: those listed, or the one beside the desk."""
    own, keys = config.state_dir / segments.FOLDER, config.state_dir / KEYS
    listed = config.desk.decisions if config.desk is not None else None
    if listed is None:
        return (Proxy(config.decisions.name, own, keys / OWN_PROXY),)
    found = []
    for one in listed:
        is_copy = one.path != own
        key = keys / PROXIES / f"{one.proxy}.key" if is_copy else keys / OWN_PROXY
        since = 0
        if one.since is not None:
            since = int(datetime.combine(one.since, time(), zone).timestamp() * 1e6)
        found.append(Proxy(one.proxy, one.path, one.key or key, since, is_copy))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the folders looked like when they were listed."""

    changed: tuple[int, ...]
    """When each was changed last, and each copy made, in ns; 0 where it is not there."""

    def is_settled(self, now: int) -> bool:
        """Whether a change since then would show; `now` in µs."""
        return max(self.changed, default=0) + _SETTLED_NS < now * 1000


class Evidence:
    """The decision records of all proxies."""

    def __init__(self, office: Office) -> None:
        zone = ZoneInfo(office.policy.timezone)
        self.proxies = proxies(office.config, zone)
        self._clock = office.clock
        self._lock = Lock()
        self._held: Records | None = None
        self._seen = _Seen(())

    def records(self, *, fresh: bool = False) -> Records:
        """Return the records as they are now. They are listed anew when a folder has changed."""
        now = self._clock()
        with self._lock:
            seen = _Seen(tuple(_changed(path) for one in self.proxies for path in _looked_at(one)))
            held = self._held
            if fresh or held is None or seen != self._seen or _may_pass(held):
                held, self._seen = self._listed(now), seen
                self._held = held if seen.is_settled(now) else None
            held.now = now
            return held

    def _listed(self, now: int) -> Records:
        folders, absent = [], []
        for one in self.proxies:
            try:
                tokens = Tokens(keyfiles.read(one.key))
            except KeyFileError:
                absent.append(Expected(one.name, one.since))
                continue
            copied_at = _changed(one.path / STAMP) // 1000 if one.is_copy else None
            folders.append(Folder(one.path, tokens, one.name, one.since, copied_at))
        return Records(folders, now, absent=absent)

    def forwards(self, digits: str, since: int, source: str = "") -> Sequence[Forward] | None:
        """Return what was forwarded to a customer (E.164 digits) in the 72 hours from `since` on.

        None while records of that time are missing, or are not here yet. µs UTC. Sources that may
        be a person's number stand there as tokens: only `source` is named in what is returned.
        """
        records = self.records()
        until = since + WINDOW
        copies = (folder.copied_at for folder in records.folders)
        if records.absent or any(at is not None and at < until for at in copies):
            return None
        found = records.forwards(digits, since)
        if _may_pass(records):
            return None
        names = records.names(source)
        return [
            Forward(one.companies[0] or None, source if one.source in names else one.source, one.at)
            for one in found
        ]


def _may_pass(records: Records) -> bool:
    """Whether something could not be read that may be readable soon; a closed segment never is."""
    return any(path.suffix != ".seg" for path in records.damaged)


def _looked_at(one: Proxy) -> tuple[Path, ...]:
    return (one.path, one.key, one.path / STAMP) if one.is_copy else (one.path, one.key)


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
