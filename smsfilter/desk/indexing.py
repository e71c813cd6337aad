"""Bringing the index up to the records, on one connection: what is written, and in which order.

Pairs are added first, then the registry is swapped, then ended pairs are removed, then replicas
have it, and last the epoch says up to which row of the ledger all this is so. A company that was
merged is so never without its block under either name. `index:epoch` is WATCHed from the first
step to the last: where anything happens to it, a FLUSHALL for one, the epoch is not written, and
the work begins anew.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from redis.exceptions import ResponseError
from sqlalchemy import Connection

from smsfilter import log
from smsfilter.desk.pairs import (
    NOTHING,
    START,
    Page,
    Pair,
    Pairs,
    Place,
    companies_changed,
    companies_known,
)
from smsfilter.log import mask_destination
from smsfilter.rules.senders import RegistryFile
from smsfilter.store import keys, ledger, registry
from smsfilter.store.claim import Claim, Found, judge, marker, owner
from smsfilter.store.line import Command, Line
from smsfilter.store.reading import reading
from smsfilter.store.records import Records

if TYPE_CHECKING:
    from redis.asyncio import Redis

T = TypeVar("T")

TOGETHER: Final = 256
"""Commands of one round trip: Redis is held for less than a millisecond, as the path waits."""
REPLICAS_MS: Final = 1_000
"""How long replicas may take to have what was written."""

ReadRegistry = Callable[[Connection], RegistryFile]


class IndexAway(Exception):  # noqa: N818 - what happened
    """The index cannot be brought up to the records now; `str()` is the reason in a line."""


class IndexTaken(IndexAway):
    """The index belongs to another desk: no waiting cures it."""


@dataclass(slots=True)
class Identity:
    """As whom the desk writes, and how far it knows to have got."""

    desk: str
    epoch: str
    seq: int
    replid: str

    @property
    def owner(self) -> str:
        """How the registry names its owner."""
        return owner(self.desk)


@dataclass(slots=True)
class Counts:
    """What was done to the index since the start."""

    runs: int = 0
    added: int = 0
    removed: int = 0
    lost: int = 0
    """How often the index was found emptied, old or another's."""


@dataclass(frozen=True, slots=True)
class Means:
    """What indexing works with. `renew(why, old)` gives `me` a new epoch, once it is on record."""

    client: "Redis"
    prefix: str
    records: Records
    pairs: Pairs
    registry: ReadRegistry
    me: Identity
    counts: Counts
    replicas: int
    take_over: bool
    renew: Callable[[str, str], Awaitable[None]]


class _Seen(NamedTuple):
    """What Redis says of itself before anything is written."""

    raw: bytes | None
    registry: str | None
    replid: str


@dataclass(frozen=True, slots=True)
class _Look:
    """What the records say, in one state of them."""

    found: Found
    head: int
    registry: RegistryFile | None = None
    put: Page = NOTHING
    lifted: Page = NOTHING


class Indexing:
    """The work on one connection; gone with it."""

    def __init__(self, means: Means, line: Line) -> None:
        self._means = means
        self._line = line
        self._filled: tuple[bytes, int] | None = None
        """The epoch under which this connection has written everything, and up to which seq."""
        self._strange: tuple[_Seen, _Look] | None = None
        """What was seen of an index that is not known to be this desk's."""
        self._registry: tuple[str | None, ...] = ()
        """The one version of the registry that belongs into the index; empty: not known yet."""
        self._unwatched = False
        """A transaction has ended the WATCH, so that what happens to the epoch goes unnoticed."""
        self.behind: Place | None = None
        """How far everything was written again beside the traffic; None: that is not needed."""

    async def step(self) -> int | None:
        """Bring the index up to the newest row of the ledger, and return its seq.

        None: nothing is known of what is there, so it has to be filled first. Raises IndexAway,
        and what Redis, the records and the vault raise; then this connection is of no more use.
        """
        seen = await self._seen()
        look = await self._reading(lambda connection: self._look(connection, seen))
        if look.found.claim is not Claim.OURS:
            self._strange = seen, look
            return None
        self._compare(seen, look)
        await self._advance(seen, look)
        self._means.me.seq = look.head
        return look.head

    async def fill(self) -> None:
        """Write everything, after a step that gave None; the next step sets the epoch."""
        assert self._strange is not None  # noqa: S101 - see above
        seen, look = self._strange
        raw = seen.raw or b""
        if look.found.claim is Claim.LOST:
            raw = await self._mark_lost(seen)
        else:
            await self._claim(seen, look.found)
        began = monotonic()
        place: Place | None = START
        while place is not None:
            place = await self._write_part(place)
        self._registry = ()
        self._filled, self.behind = (raw, look.head), None
        log.get().info("index_filled", seq=look.head, seconds=round(monotonic() - began, 3))

    async def again(self) -> None:
        """Write another part of everything again, without haste."""
        if self.behind is not None:
            self.behind = await self._write_part(self.behind)

    # --- looking

    async def _seen(self) -> _Seen:
        prefix, self._unwatched = self._means.prefix, False
        _, raw, named, replication = await self._line.ask(
            [
                ("WATCH", prefix + keys.EPOCH),
                ("GET", prefix + keys.EPOCH),
                ("GET", prefix + keys.REGISTRY_VERSION),
                ("INFO", "replication"),
            ]
        )
        if isinstance(raw, ResponseError) and str(raw).startswith("WRONGTYPE"):
            raw = b""  # no epoch at all; it is replaced
        for reply in (raw, named, replication):
            if isinstance(reply, Exception):
                raise reply
        told = dict(line.split(":", 1) for line in replication.decode().splitlines() if ":" in line)
        if told.get("role") != "master":
            raise IndexAway("READONLY: Redis is a replica now")
        version = None if named is None else named.decode("utf-8", "replace")
        return _Seen(raw, version, told.get("master_replid", ""))

    def _look(self, connection: Connection, seen: _Seen) -> _Look:
        means = self._means
        head, _, _ = ledger.head(connection)
        if self._filled is not None and seen.raw == self._filled[0]:
            found = Found(Claim.OURS, self._filled[1])
        else:
            found = judge(seen.raw, means.me.desk, means.me.epoch, head)
        look = _Look(found, head)
        if found.claim is not Claim.OURS:
            return look
        due = seen.registry not in self._registry or companies_changed(connection, found.seq)
        if due and companies_known(connection):
            look = replace(look, registry=means.registry(connection))
        elif due:
            self._registry = (seen.registry,)  # the operator's own
        if head == found.seq:
            return look
        return replace(
            look,
            put=means.pairs.put(connection, found.seq, head),
            lifted=means.pairs.lifted(connection, found.seq, head),
        )

    async def _reading(self, work: Callable[[Connection], T]) -> T:
        return await reading(self._means.records, work)

    def _compare(self, seen: _Seen, look: _Look) -> None:
        """Notice an index that went back, or that moved to another server."""
        me = self._means.me
        if self._filled is None and look.found.seq < me.seq:
            self._means.counts.lost += 1
            log.get().warning("index_went_back", seq=look.found.seq, was=me.seq)
            self.behind = START
        elif self._filled is None and me.replid and seen.replid != me.replid:
            log.get().warning("index_moved", seq=look.found.seq)
            self.behind = START
        me.replid = seen.replid

    # --- writing

    async def _advance(self, seen: _Seen, look: _Look) -> None:
        new = f"{self._means.me.epoch}:{look.head}"
        if look.registry is None and seen.raw == new.encode():
            await self._line.do([("UNWATCH",)])
            return
        since = look.found.seq
        async for page in self._pages(look.put, self._means.pairs.put, since, look.head):
            await self._add(page.live)
            _say_nameless(page)
        if look.registry is not None:
            await self._swap_registry(look.registry, seen.registry)
        async for page in self._pages(look.lifted, self._means.pairs.lifted, since, look.head):
            await self._remove(page.ended)
        if self._unwatched:
            raise IndexAway("a key of another type stood in the place of a block")
        await self._replicated()
        await self._set_epoch(new)
        self._filled = None
        self._means.counts.runs += 1

    async def _pages(
        self, first: Page, read: Callable[..., Page], since: int, to: int
    ) -> AsyncIterator[Page]:
        """Give the first page, and then those after it."""
        page = first
        yield page
        while page.after is not None:
            page = await self._reading(partial(read, since=since, to=to, after=page.after))
            yield page

    async def _swap_registry(self, content: RegistryFile, named: str | None) -> None:
        means = self._means
        version = await registry.save(means.client, means.prefix, content, means.me.owner)
        self._registry = (version,)
        if version != named:
            log.get().info("registry_projected", version=version, before=named)

    async def _replicated(self) -> None:
        wanted = self._means.replicas
        if wanted:
            (have,) = await self._line.do([("WAIT", wanted, REPLICAS_MS)])
            if have < wanted:
                raise IndexAway(f"{have} of {wanted} replicas have it")

    async def _set_epoch(self, new: str) -> None:
        name = self._means.prefix + keys.EPOCH
        *_, done = await self._line.do([("MULTI",), ("SET", name, new), ("EXEC",)])
        if done is None:
            raise IndexAway("index:epoch was changed by others meanwhile")

    async def _mark_lost(self, seen: _Seen) -> bytes:
        """Set a mark in place of the epoch, so that an index lost once more is noticed."""
        if self._means.me.seq:
            self._means.counts.lost += 1
            log.get().error("index_lost", epoch=_text(seen.raw))
        raw = marker()
        await self._set_epoch(raw)
        return raw.encode()

    async def _claim(self, seen: _Seen, found: Found) -> None:
        """Make an index this desk's own that carries another epoch."""
        if found.claim is Claim.ANOTHERS and not self._means.take_over:
            raise IndexTaken(
                f"the index belongs to another desk (epoch {_text(seen.raw)}):"
                " name another redis.url or redis.prefix, or run smsfilter rebuild --take-over"
            )
        if found.claim in (Claim.FORMER, Claim.AHEAD):
            self._means.counts.lost += 1
        await self._means.renew(str(found.claim), _text(seen.raw) or "")
        log.get().warning("index_taken_over", epoch=_text(seen.raw), why=str(found.claim))

    async def _write_part(self, place: Place) -> Place | None:
        page: Page = await self._reading(
            lambda connection: self._means.pairs.all(connection, place)
        )
        await self._add(page.live)
        _say_nameless(page)
        await self._remove(page.ended)
        return page.after

    async def _add(self, pairs: Sequence[Pair]) -> None:
        self._means.counts.added += await self._each("SADD", pairs)

    async def _remove(self, pairs: Sequence[Pair]) -> None:
        self._means.counts.removed += await self._each("SREM", pairs)

    async def _each(self, command: str, pairs: Sequence[Pair]) -> int:
        """Do the same to each pair, and return how many it made a difference to."""
        changed, prefix = 0, self._means.prefix
        for some in _batches(pairs):
            commands: list[Command] = [
                (command, keys.block(prefix, number), member) for number, member in some
            ]
            wrong: dict[str, None] = {}
            for pair, reply in zip(some, await self._line.ask(commands), strict=True):
                if isinstance(reply, ResponseError) and str(reply).startswith("WRONGTYPE"):
                    wrong[pair.number] = None
                elif isinstance(reply, Exception):
                    raise reply
                else:
                    changed += reply
            if wrong:
                await self._put_aside(wrong)
        return changed

    async def _put_aside(self, numbers: Iterable[str]) -> None:
        """Put away what is no SET and stands in a customer's place.

        In one transaction with the pairs of that number, which a look-up would miss otherwise.
        """
        prefix = self._means.prefix
        for number in numbers:
            standing = await self._reading(partial(self._means.pairs.of_number, digits=number))
            key = keys.block(prefix, number)
            commands: list[Command] = [("RENAME", key, keys.aside(prefix, number))]
            commands += [("SADD", key, pair.member) for pair in sorted(standing)]
            await self._line.do([("UNWATCH",), ("MULTI",), *commands, ("EXEC",)])
            log.get().error("block_put_aside", key=f"block:{{{mask_destination(number)}}}")
        self._unwatched = True


def _batches(pairs: Sequence[Pair]) -> Iterator[Sequence[Pair]]:
    for at in range(0, len(pairs), TOGETHER):
        yield pairs[at : at + TOGETHER]


def _say_nameless(page: Page) -> None:
    for block_id in page.nameless:
        log.get().error("block_nameless", block=block_id)


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else raw.decode("utf-8", "replace")
