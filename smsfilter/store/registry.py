"""The registry in Redis: which account and source belong to which company, replaced as a whole.

A version is named by its content, so the same file loaded twice is the same version. It is one
HASH, written together with the pointer to it in one MULTI that WATCHes the pointer: no reader sees
half of it, and of two that load at the same time one is told so. The HASH before it lives on for a
minute, for a reader that has just read the pointer. The layout is private: companies and all are
one JSON field, as Redis copies 5 MB sooner than it walks 50,000 fields, and must not keep the
look-ups of messages waiting.
"""

import asyncio
import gc
import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError
from redis.exceptions import WatchError

from smsfilter.rules.senders import RegistryFile
from smsfilter.store import keys

if TYPE_CHECKING:
    from redis.asyncio import Redis

LAYOUT: Final = b"1"
LINGER_S: Final = 60
"""How long a version that was replaced can still be read."""


class RegistryError(ValueError):
    """What is in Redis is no registry of ours, or changed under our hands."""


async def save(client: "Redis", prefix: str, content: RegistryFile, owner: str = "file") -> str:
    """Put `content` in force in place of any other, and return its version.

    Nothing is written when it is in force already, of the same owner. RegistryError: somebody
    else loaded another one at the same moment, and that one stands.
    """
    text = canonical(content)
    new = version_of(text)
    pointer, fields = prefix + keys.REGISTRY_VERSION, keys.registry(prefix, new)
    async with client.pipeline(transaction=True) as pipe:
        await pipe.watch(pointer)
        old = _text(await pipe.get(pointer))
        if old == new and _text((await pipe.hmget(fields, ["owner"]))[0]) == owner:
            return new
        pipe.multi()  # type: ignore[no-untyped-call]
        pipe.delete(fields)  # it may be left from before, about to expire
        pipe.hset(
            fields,
            mapping={
                "layout": LAYOUT,
                "json": text,
                "owner": owner,
                "loaded_at": str(int(time.time())),
            },
        )
        pipe.set(pointer, new)
        if old is not None and old != new:
            pipe.expire(keys.registry(prefix, old), LINGER_S)
        try:
            await pipe.execute()
        except WatchError:
            raise RegistryError(
                "another registry was loaded at the same moment and is in force:"
                " look at it (registry show), then load again"
            ) from None
    return new


async def version(client: "Redis", prefix: str) -> str | None:
    """Return the version in force, or None when no registry was loaded."""
    return _text(await client.get(prefix + keys.REGISTRY_VERSION))


async def load(client: "Redis", prefix: str) -> tuple[str, RegistryFile] | None:
    """Return the registry in force with its version, or None when none was loaded.

    RegistryError: the pointer leads to nothing, or to what is not whole.
    """
    for _ in range(2):  # once more if it was replaced between the two commands, long ago
        named = await version(client, prefix)
        if named is None:
            return None
        fields: Any = await client.hgetall(keys.registry(prefix, named))
        if fields:
            # Off the loop: it takes 15 µs a source, and messages are on their way.
            return named, await asyncio.to_thread(_content, named, fields)
    raise RegistryError(f"registry {named} is named by registry:version but is not there")


async def origin(client: "Redis", prefix: str, named: str) -> tuple[str, int]:
    """Return who put a version in force, and when (Unix seconds)."""
    owner, at = await client.hmget(keys.registry(prefix, named), ["owner", "loaded_at"])
    return _text(owner) or "unknown", int(_text(at) or 0)


def canonical(content: RegistryFile) -> bytes:
    """Return the one spelling of a registry that its version is taken from."""
    plain = content.model_dump(mode="json", exclude_defaults=True)
    return json.dumps(plain, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def version_of(text: bytes) -> str:
    """Return the version whose canonical spelling is `text`."""
    return hashlib.sha256(text).hexdigest()[:12]


def _content(named: str, fields: dict[bytes, bytes]) -> RegistryFile:
    if fields.get(b"layout") != LAYOUT:
        raise RegistryError(
            f"registry {named} was written by another version of smsfilter: load it again"
        )
    text = fields.get(b"json", b"")
    if version_of(text) != named:
        raise RegistryError(f"registry {named} was altered in Redis: load it again")
    try:
        with uncollected():
            return RegistryFile.model_validate_json(text)
    except ValidationError as error:
        problem: Any = error.errors(include_url=False)[0]
        raise RegistryError(f"registry {named} is not valid: {problem['msg']}") from None


@contextmanager
def uncollected() -> Iterator[None]:
    """Keep the collector of cycles away while something large and free of them is built.

    It would look through all of it again and again, with every thread stopped: for 50,000
    sources that is more than the building itself.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _text(value: Any) -> str | None:
    return value.decode() if isinstance(value, bytes) else value
