"""The index held against the records: what is missing, what has ended, what nobody knows.

Nothing is changed. Both sides are read in small portions, so Redis is never held up; of what the
records know only a hash of each pair is kept, eight octets, to tell it from what they do not.
"""

from array import array
from bisect import bisect_left
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from redis.exceptions import ResponseError
from sqlalchemy import Connection

from smsfilter.desk.indexing import TOGETHER
from smsfilter.desk.pairs import START, Page, Pair, Pairs, Place, companies_known
from smsfilter.log import mask_destination, mask_source
from smsfilter.rules.registry import COMPANY_ID, RegistryFile
from smsfilter.store import keys, registry
from smsfilter.store.reading import reading
from smsfilter.store.records import Records

if TYPE_CHECKING:
    from redis.asyncio import Redis

SHOWN_MOST: Final = 20
SCANNED: Final = 500
"""Keys of one SCAN."""


@dataclass(slots=True)
class Listed:
    """How many there are, and the first of them as they may be shown."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def note(self, pairs: Iterable[Pair]) -> None:
        """Count some more."""
        for pair in pairs:
            self.count += 1
            if len(self.first) < SHOWN_MOST:
                self.first.append(shown(pair))


@dataclass(slots=True)
class Difference:
    """Between the records and the index."""

    missing: Listed = field(default_factory=Listed)
    """Pairs of live blocks that are not in Redis."""
    ended: Listed = field(default_factory=Listed)
    """Pairs in Redis whose blocks have all ended."""
    unknown: Listed = field(default_factory=Listed)
    """Pairs in Redis that no block ever made: of an operator."""
    unreadable: int = 0
    """Keys and members in Redis that nobody asks for: `smsfilter index lint` names them."""
    nameless: int = 0
    """Live blocks whose customer's number was erased."""
    registry: str = "same"
    """`same`, `different`, `missing`, or `not in the records`: it is kept by hand."""
    pairs: int = 0
    """Pairs of live blocks that are in Redis."""

    @property
    def in_step(self) -> bool:
        """Whether Redis holds what the records say. Unknown pairs are no fault: they block."""
        same = self.registry in ("same", "not in the records")
        return same and not (self.missing.count or self.ended.count)


class Comparison:
    """Compares one index with the records."""

    def __init__(self, client: "Redis", prefix: str, records: Records, pairs: Pairs) -> None:
        self._client = client
        self._prefix = prefix
        self._records = records
        self._pairs = pairs
        self._known = array("q")
        self.unreadable = 0

    async def run(self, registry_of: Callable[[Connection], RegistryFile]) -> Difference:
        """Compare everything. Raises RecordsAway, SealError and what Redis raises."""
        found = Difference()
        await self._from_records(found)
        async for some in self.unknown():
            found.unknown.note(some)
        found.unreadable = self.unreadable
        found.registry = await self._registry(registry_of)
        return found

    async def unknown(self) -> AsyncIterator[list[Pair]]:
        """Give the pairs in Redis that no block ever made, some at a time."""
        if not self._known:
            await self._from_records(Difference())
        async for some in self._from_redis():
            strange = [pair for pair in some if not self._is_known(pair)]
            if strange:  # also what was blocked since the records were read
                yield await reading(self._records, partial(self._strangers, found=strange))

    async def surplus(self) -> AsyncIterator[list[Pair]]:
        """Give the pairs in Redis that no live block makes, also those whose blocks have ended."""
        live, more = array("q"), cast("Place | None", START)
        while more is not None:
            page: Page = await reading(self._records, partial(self._pairs.all, after=more))
            live.extend(map(hash, page.live))
            more = page.after
        self._known = array("q", sorted(live))
        async for some in self._from_redis():
            if found := [pair for pair in some if not self._is_known(pair)]:
                yield found

    def _strangers(self, connection: Connection, found: Sequence[Pair]) -> list[Pair]:
        return [pair for pair in found if not self._pairs.known(connection, pair)]

    async def _from_records(self, found: Difference) -> None:
        """Look for the pair of every block in Redis."""
        place: Place | None = START
        known: array[int] = array("q")
        while place is not None:
            page: Page = await reading(self._records, partial(self._pairs.all, after=place))
            there = await self._are_there([*page.live, *page.ended])
            found.pairs += sum(there[: len(page.live)])
            live = zip(page.live, there, strict=False)
            found.missing.note(pair for pair, is_there in live if not is_there)
            ended = zip(page.ended, there[len(page.live) :], strict=True)
            found.ended.note(pair for pair, is_there in ended if is_there)
            found.nameless += len(page.nameless)
            known.extend(map(hash, page.live))
            known.extend(map(hash, page.ended))
            place = page.after
        self._known = array("q", sorted(known))

    async def _are_there(self, pairs: Sequence[Pair]) -> list[bool]:
        there: list[bool] = []
        for at in range(0, len(pairs), TOGETHER):
            async with self._client.pipeline(transaction=False) as pipe:
                for number, member in pairs[at : at + TOGETHER]:
                    pipe.sismember(keys.block(self._prefix, number), member)
                there += [reply == 1 for reply in await pipe.execute(raise_on_error=False)]
        return there

    async def _from_redis(self) -> AsyncIterator[list[Pair]]:
        """Give what stands in Redis, as far as the path might ask for it."""
        head = f"{self._prefix}block:{{"
        pattern, cursor, more = keys.literally(head) + "*", 0, True
        while more:
            cursor, batch = await self._client.scan(cursor, pattern, SCANNED)
            more = cursor != 0
            async with self._client.pipeline(transaction=False) as pipe:
                for key in batch:
                    pipe.smembers(key)
                replies: list[Any] = await pipe.execute(raise_on_error=False)
            numbers = [_text(key).removeprefix(head).removesuffix("}") for key in batch]
            yield list(self._readable(zip(numbers, replies, strict=True)))

    def _readable(self, sets: Iterable[tuple[str, Any]]) -> Iterable[Pair]:
        for number, members in sets:
            if isinstance(members, ResponseError) or not (number.isascii() and number.isdigit()):
                self.unreadable += 1
                continue
            if isinstance(members, Exception):
                raise members
            for octets in members:
                member = _text(octets)
                if member == "*" or COMPANY_ID.fullmatch(member) or _is_source(member):
                    yield Pair(number, member)
                else:
                    self.unreadable += 1

    def _is_known(self, pair: Pair) -> bool:
        wanted = hash(pair)
        at = bisect_left(self._known, wanted)
        return at < len(self._known) and self._known[at] == wanted

    async def _registry(self, registry_of: Callable[[Connection], RegistryFile]) -> str:
        def read(connection: Connection) -> bytes | None:
            known = companies_known(connection)
            return registry.canonical(registry_of(connection)) if known else None

        text = await reading(self._records, read)
        if text is None:
            return "not in the records"
        named = await registry.version(self._client, self._prefix)
        if named is None:
            return "missing"
        return "same" if named == registry.version_of(text) else "different"


def shown(pair: Pair) -> str:
    """Say a pair as it may be shown: 138****8000 and who is blocked."""
    kind, found, source = pair.member.partition("source:")
    member = f"source:{mask_source(source)}" if found and not kind else pair.member
    return f"{mask_destination(pair.number)} {member}"


def _text(octets: bytes | str) -> str:
    return octets.decode("utf-8", "replace") if isinstance(octets, bytes) else octets


def _is_source(member: str) -> bool:
    return len(member) > len("source:") and member.startswith("source:")
