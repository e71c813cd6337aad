"""What is wrong in the index, as people fill it by hand: keys and members that nobody will ask for.

A block under a misspelt number, or of a company that the registry does not know, blocks nothing,
and nothing on the message path can notice. So `lint` reads the whole index and holds each key and
member against the very functions by which the path makes its questions. It changes nothing; each
finding names the command that would. `ready` marks the index as filled.
"""

import re
import secrets
import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from redis.exceptions import NoPermissionError, ResponseError

from smsfilter.rules.headers import fold, source_forms
from smsfilter.rules.numbers import Reader
from smsfilter.rules.policy import Policy
from smsfilter.rules.registry import COMPANY_ID
from smsfilter.rules.senders import Registry
from smsfilter.store import claim, keys, registry
from smsfilter.store.epoch import EpochGuard
from smsfilter.store.registry import RegistryError

if TYPE_CHECKING:
    from redis.asyncio import Redis

BATCH: Final = 500
"""Keys asked about in one round trip: Redis is never held for longer than the path can wait."""
FINDINGS_MOST: Final = 1_000
SOUGHT_MOST: Final = 1_000_000
"""Keys looked through for a first approval; beyond, it is not said that there is none."""

_READY: Final = "smsfilter index ready"
_LOAD: Final = "smsfilter registry load registry.yaml"
_KEY: Final = re.compile(r"(block|approved):\{([^{}]*)\}", re.DOTALL)
_NEARLY: Final = re.compile(
    r"\W*(block(?:s|ed)?|approv(?:al|als|ed|e))\W*[:._/-]\W*(.*?)\s*", re.DOTALL | re.IGNORECASE
)
"""Names that somebody meant to be asked for."""
_NUMBER: Final = re.compile(r"[+\d][\d .()-]*")


class Finding(NamedTuple):
    """Something that is missing or wrong in the index, and the command that cures it."""

    key: str
    problem: str
    cure: str = ""

    def __str__(self) -> str:
        return f"{self.key}: {self.problem}" if self.key else self.problem


async def ready(client: "Redis", prefix: str) -> str:
    """Mark the index as filled, and return the epoch that says so."""
    epoch = f"{secrets.token_hex(8)}:{time.time_ns() // 1_000_000}"
    await client.set(prefix + keys.EPOCH, epoch)
    return epoch


async def is_a_desk_s(client: "Redis", prefix: str) -> bool:
    """Whether a desk looks after the index, and marks it by itself."""
    with suppress(ResponseError):  # another type: no epoch of anybody
        return claim.is_a_desk_s(await client.get(prefix + keys.EPOCH))
    return False


async def missing(client: "Redis", prefix: str, policy: Policy | None = None) -> list[Finding]:
    """Name what an index cannot do without: a registry, and at least one approval."""
    policy = policy or Policy()
    found, known = await _registry(client, prefix, policy)
    companies = list(known.companies) if known else []
    if not await any_approval(client, prefix, companies, policy):
        key = keys.approved(prefix, companies[0] if companies else "company")
        found.append(Finding("", "no company is approved to send", _redis("SADD", key, "*")))
    return found


async def any_approval(client: "Redis", prefix: str, companies: list[str], policy: Policy) -> bool:
    """Whether anybody is approved to send, as far as can be found out in a moment."""
    if companies and policy.unknown == "refuse":
        return await _any_of(client, [keys.approved(prefix, name) for name in companies])
    return await _any_at_all(client, prefix, "approved:{")


async def _any_of(client: "Redis", names: list[str]) -> bool:
    for start in range(0, len(names), BATCH):
        if await client.exists(*names[start : start + BATCH]):
            return True
    return False


async def _any_at_all(client: "Redis", prefix: str, beginning: str) -> bool:
    """Whether a key begins so; True as well if that would take too long to find out."""
    cursor = 0
    for _ in range(SOUGHT_MOST // BATCH):
        cursor, found = await client.scan(cursor, keys.literally(prefix + beginning) + "*", BATCH)
        if found:
            return True
        if cursor == 0:
            return False
    return True


async def lint(client: "Redis", prefix: str, policy: Policy | None = None) -> list[Finding]:
    """Look through the whole index; at most FINDINGS_MOST findings, then one that says so."""
    policy = policy or Policy()
    about_registry, known = await _registry(client, prefix, policy)
    found = dict.fromkeys([*await _foundations(client, prefix), *about_registry])
    checks = _Checks(prefix, policy, known)
    cursor, more = 0, True
    while more and len(found) <= FINDINGS_MOST:
        cursor, batch = await client.scan(cursor, keys.literally(prefix) + "*", BATCH)
        more = cursor != 0
        found |= dict.fromkeys(await _check(client, batch, checks))
    if len(found) > FINDINGS_MOST:
        last = Finding("", f"there are more than {FINDINGS_MOST}: cure these, then look again")
        return [*list(found)[:FINDINGS_MOST], last]
    return list(found)


async def _foundations(client: "Redis", prefix: str) -> list[Finding]:
    """Whether Redis may drop keys by itself, and whether the index is marked as filled."""
    found: list[Finding] = []
    with suppress(NoPermissionError):
        eviction = str((await client.info("memory")).get("maxmemory_policy", ""))
        if eviction.startswith("allkeys-"):
            problem = f"maxmemory-policy {eviction} may evict blocks, so the index is not trusted"
            cure = "redis-cli CONFIG SET maxmemory-policy noeviction"
            found.append(Finding("", problem, cure))
    guard = EpochGuard()
    try:
        epoch: object = await client.get(prefix + keys.EPOCH)
    except ResponseError as error:
        epoch = error
    if not guard.trusted(epoch, epoch):
        problem = "the index does not count as filled, so it is not used"
        found.append(Finding("", f"{guard.why}: {problem}", _READY))
    return found


async def _registry(
    client: "Redis", prefix: str, policy: Policy
) -> tuple[list[Finding], Registry | None]:
    try:
        loaded = await registry.load(client, prefix)
    except (RegistryError, ResponseError) as error:
        return [Finding(prefix + keys.REGISTRY_VERSION, str(error), _LOAD)], None
    if loaded is None:
        return [Finding("", "no registry: it is not known which company sends", _LOAD)], None
    return [], Registry(loaded[1], ZoneInfo(policy.timezone))


class _Place(NamedTuple):
    """Where the members of a key belong, once its name is cured."""

    key: str
    kind: str
    name: str
    """What stands in the braces: a number or a company."""


async def _check(client: "Redis", batch: Sequence[bytes | str], checks: "_Checks") -> list[Finding]:
    """Hold one batch of keys against the checks: the names first, then what the sets hold.

    The cures of a key are to be done in order: those of members are for where they are by then.
    """
    found: list[Finding] = []
    ours = [(key, *told) for key in batch if (told := checks.told(key)) is not None]
    async with client.pipeline(transaction=False) as pipe:
        for key, *_ in ours:
            pipe.smembers(key)
        answers: list[Any] = await pipe.execute(raise_on_error=False)
    for (key, problem, cure, place), answer in zip(ours, answers, strict=True):
        shown = _text(key)
        if isinstance(answer, ResponseError) and str(answer).startswith("WRONGTYPE"):
            actual = _text(await client.type(key))
            is_asked_for = checks.asks_for(key)
            wrong = f"is a {actual} and not a set"
            found.append(
                Finding(shown, f"{wrong}: each look-up of it fails", _redis("DEL", shown))
                if is_asked_for
                else Finding(shown, f"{problem}; it {wrong}")
            )
            continue
        if problem:
            found.append(Finding(shown, problem, cure))
        if isinstance(answer, Exception):
            raise answer
        if place:
            for octets in sorted(answer):
                found += checks.member(shown, place, _text(octets))
    return found


class _Checks:
    """What the path would ask for, under one policy and registry."""

    def __init__(self, prefix: str, policy: Policy, known: Registry | None) -> None:
        self._prefix = prefix
        self._country_code = policy.country_code
        self._free = policy.unknown == "account"
        self._known = known
        self._read = Reader(policy.country_code)
        self._now = time.time()
        self._judged = lru_cache(maxsize=1 << 16)(self._judge_company)

    def asks_for(self, key: bytes | str) -> bool:
        """Whether the path may ask for a key of this form."""
        return _KEY.fullmatch(_text(key).removeprefix(self._prefix)) is not None

    def told(self, key: bytes | str) -> tuple[str, str, _Place | None] | None:
        """Say what is wrong with a key's name, what cures it, and where its members belong.

        No place: they are of no use anywhere. None: the key is nobody's who meant the path.
        """
        shown = _text(key)
        bare = shown.removeprefix(self._prefix)
        if found := _KEY.fullmatch(bare):
            kind, name = found[1], found[2]
            problem, place = self._block(name) if kind == "block" else self._approved(name)
            cure = _move(shown, place.key) if place else _redis("DEL", shown)
            return problem, cure if problem else "", place
        found = _NEARLY.fullmatch(bare)
        if found is None:
            return None
        if found[1].lower().startswith("b"):
            part, shape = _NUMBER.search(found[2]), keys.block(self._prefix, "number")
            place = self._block(part[0])[1] if part else None
        else:
            part, shape = COMPANY_ID.search(found[2]), keys.approved(self._prefix, "company")
            place = self._approved(part[0])[1] if part else None
        problem = f"is never asked for: keys are written {shape}"
        return problem, _move(shown, place.key) if place else "", place

    def _block(self, number: str) -> tuple[str, _Place | None]:
        """Check that a block stands under the canonical form of a number."""
        canonical = self._canonical(number)
        if canonical is None:
            return "is no number that a message can be sent to", None
        place = _Place(keys.block(self._prefix, canonical), "block", canonical)
        if canonical == number:
            return "", place
        return f"the canonical form of this number is {canonical}: messages may miss it", place

    def _approved(self, company: str) -> tuple[str, _Place | None]:
        """Check that an approval is one of a known company."""
        problem, better = self._judged(company)
        if problem and not better:
            return problem, None
        name = better or company
        return problem, _Place(keys.approved(self._prefix, name), "approved", name)

    def member(self, key: str, place: _Place, member: str) -> Iterator[Finding]:
        """Check one member of a set; it is cured in its place."""
        if member == "*":
            return
        if not member:
            problem, better = "has an empty member, which means nobody", ""
        elif place.kind == "approved":
            problem, better = self._judge_approval(place.name, member)
        elif member.startswith("source:"):
            normalised = "source:" + self._normalised(member.removeprefix("source:"))
            problem = "" if normalised == member else f"{member!r} is asked for as {normalised!r}"
            better = normalised
        else:
            problem, better = self._judged(member)
        if problem:
            cure = _redis("SREM", place.key, member)
            add = f"{_redis('SADD', place.key, better)} && " if better else ""
            yield Finding(key, problem, add + cure)

    def _canonical(self, number: str) -> str | None:
        found = self._read(number.encode()) if number.isascii() else ()
        return found[0].decode() if found else None

    def _normalised(self, source: str) -> str:
        return source_forms(source.encode(), self._country_code).normalised

    def _judge_company(self, name: str) -> tuple[str, str]:
        """Say what is wrong with a company's id, and which one is likely meant."""
        if self._known is None or name in self._known.companies:
            return "", ""
        if self._free and COMPANY_ID.fullmatch(name):
            return "", ""
        meant = {
            company
            for holding in self._known.who(name, self._now, self._country_code)
            for company in holding.companies
        } or {company for company in self._known.companies if fold(company) == fold(name)}
        if len(meant) == 1:
            better = meant.pop()
            return f"{name!r} is no company of the registry; it points to {better!r}", better
        return f"{name!r} is no company of the registry", ""

    def _judge_approval(self, company: str, member: str) -> tuple[str, str]:
        """Say what is wrong with a source that a company is approved for, and what is right.

        It is asked for as the normalised source, and as the prefix or header of the registry.
        """
        holdings = self._known.who(member, self._now, self._country_code) if self._known else []
        matched = [holding for holding in holdings if holding.kind in ("source", "header")]
        names = {holding.name for holding in matched}
        normalised = self._normalised(member)
        if member not in names and member != normalised:
            return f"{member!r} is asked for as {normalised!r}", normalised
        owners = {owner for holding in matched for owner in holding.companies}
        if self._known and company in self._known.companies and company not in owners:
            whose = f"a source of {', '.join(sorted(owners))}" if owners else "nobody's source"
            return f"{member!r} is {whose} now, and not {company}'s", ""
        return "", ""


def _text(octets: bytes | str) -> str:
    return octets.decode("utf-8", "replace") if isinstance(octets, bytes) else octets


def _move(key: str, to: str) -> str:
    return f"{_redis('SUNIONSTORE', to, to, key)} && {_redis('DEL', key)}"


def _redis(*words: str) -> str:
    return shlex.join(("redis-cli", *words))
