"""The registry in a real Redis: whole or not at all, the same content the same version."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC
from typing import Any

import pytest
import redis
import redis.asyncio

from smsfilter.rules.senders import Registry, RegistryFile
from smsfilter.store import registry
from smsfilter.store.registry import RegistryError
from tests.fakes.redis_server import RedisServer

pytestmark = pytest.mark.redis


def content(**companies: Any) -> RegistryFile:
    return RegistryFile.model_validate({"companies": companies})


ACME = RegistryFile.model_validate(
    {
        "companies": {
            "acme": {
                "name": "Acme Trading",
                "accounts": ["acme", "acme2"],
                "sources": [
                    "10657555",
                    {"prefix": "106905551", "valid_from": "2026-01-01", "valid_to": None},
                    {"prefix": "1069", "valid_from": "2026-01-01T08:00", "valid_to": "2027-01-01"},
                ],
                "headers": ["ACME", "某公司"],
                "signatures": ["某公司"],
            }
        },
        "resellers": {"resell7": {"may_send_for": ["acme"]}},
    }
)
BRAVO = content(bravo={"sources": ["10658888"]})


@pytest.fixture
async def store(
    redis_server: RedisServer, redis_client: redis.Redis
) -> AsyncIterator[redis.asyncio.Redis]:
    async with redis.asyncio.Redis(unix_socket_path=str(redis_server.socket_path)) as client:
        yield client


async def test_what_is_saved_is_loaded(store: redis.asyncio.Redis) -> None:
    assert await registry.load(store, "") is None
    assert await registry.version(store, "") is None
    version = await registry.save(store, "", ACME)
    assert await registry.version(store, "") == version
    assert await registry.load(store, "") == (version, ACME)
    owner, at = await registry.origin(store, "", version)
    assert owner == "file"
    assert abs(at - time.time()) < 60


async def test_another_one_takes_its_place(store: redis.asyncio.Redis) -> None:
    first = await registry.save(store, "", ACME)
    second = await registry.save(store, "", BRAVO, owner="desk")
    assert first != second
    assert await registry.load(store, "") == (second, BRAVO)
    assert (await registry.origin(store, "", second))[0] == "desk"
    # the one before stays for whoever has just read the pointer, and then goes
    assert 0 < await store.ttl(f"registry:{first}") <= 60
    assert await store.ttl(f"registry:{second}") == -1


async def test_back_to_the_one_before(store: redis.asyncio.Redis) -> None:
    first = await registry.save(store, "", ACME)
    second = await registry.save(store, "", BRAVO)
    assert await registry.save(store, "", ACME) == first
    assert await store.ttl(f"registry:{first}") == -1
    assert await store.ttl(f"registry:{second}") > 0
    assert await registry.load(store, "") == (first, ACME)


async def test_the_same_again_writes_nothing(store: redis.asyncio.Redis) -> None:
    version = await registry.save(store, "", ACME)
    await store.hset(f"registry:{version}", "loaded_at", "7")
    assert await registry.save(store, "", ACME.model_copy(deep=True)) == version
    assert await registry.origin(store, "", version) == ("file", 7)
    await store.delete(f"registry:{version}")  # but if it was lost, it is written
    assert await registry.save(store, "", ACME) == version
    assert await registry.load(store, "") == (version, ACME)


def test_the_order_of_companies_is_not_content() -> None:
    one = content(acme={"sources": ["1"]}, bravo={"sources": ["2"]})
    other = content(bravo={"sources": ["2"]}, acme={"sources": ["1"]})
    assert registry.canonical(one) == registry.canonical(other)
    assert registry.canonical(one) != registry.canonical(content(acme={"sources": ["1"]}))


async def test_a_prefix_keeps_two_apart(store: redis.asyncio.Redis) -> None:
    await registry.save(store, "one:", ACME)
    await registry.save(store, "two:", BRAVO)
    assert (await registry.load(store, "one:") or ("", None))[1] == ACME
    assert (await registry.load(store, "two:") or ("", None))[1] == BRAVO
    assert await registry.load(store, "") is None
    assert all(key.startswith((b"one:", b"two:")) for key in await store.keys())


async def test_of_two_loaders_one_is_told(
    store: redis.asyncio.Redis, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other loader comes between our reading of the pointer and our MULTI."""
    await registry.save(store, "", ACME)
    rival = await registry.save(store, "", BRAVO)
    await registry.save(store, "", ACME)

    def interleaved(value: bytes) -> str:
        redis_client.set("registry:version", rival)
        return value.decode()

    monkeypatch.setattr(registry, "_text", interleaved)
    with pytest.raises(RegistryError, match="another registry was loaded at the same moment"):
        await registry.save(store, "", content(charlie={"sources": ["3"]}))
    monkeypatch.undo()
    assert await registry.load(store, "") == (rival, BRAVO)


async def test_many_loaders_at_once_leave_one_whole_registry(store: redis.asyncio.Redis) -> None:
    files = [content(**{f"company{n}": {"sources": [f"1{n}"]}}) for n in range(8)]
    results = await asyncio.gather(
        *(registry.save(store, "", file) for file in files), return_exceptions=True
    )
    won = [result for result in results if isinstance(result, str)]
    assert won
    assert all(isinstance(result, str | RegistryError) for result in results)
    loaded = await registry.load(store, "")
    assert loaded is not None
    assert loaded[0] in won
    assert loaded[1] in files


async def test_readers_never_see_half(store: redis.asyncio.Redis) -> None:
    files = [
        content(**{f"c{n}": {"sources": [f"{k}{n}"]} for n in range(100)}) for k in range(1, 5)
    ]
    await registry.save(store, "", files[0])
    done = False

    async def read() -> int:
        count = 0
        while not done:
            loaded = await registry.load(store, "")
            assert loaded is not None
            assert loaded[1] in files
            count += 1
        return count

    readers = [asyncio.create_task(read()) for _ in range(3)]
    for file in files * 10:
        await registry.save(store, "", file)
    done = True
    assert all(count > 0 for count in await asyncio.gather(*readers))


# --- what is not ours, or not whole


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda r, key: r.delete(key), "is not there"),
        (lambda r, key: r.hset(key, "layout", "2"), "another version of smsfilter"),
        (lambda r, key: r.hdel(key, "layout"), "another version of smsfilter"),
        (lambda r, key: r.hset(key, "json", '{"companies": {}}'), "altered in Redis"),
        (lambda r, key: r.hdel(key, "json"), "altered in Redis"),
    ],
)
async def test_damage_is_refused(
    store: redis.asyncio.Redis, redis_client: redis.Redis, damage: Any, complaint: str
) -> None:
    version = await registry.save(store, "", ACME)
    damage(redis_client, f"registry:{version}")
    with pytest.raises(RegistryError, match=complaint):
        await registry.load(store, "")


async def test_invalid_content_is_refused(
    store: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version whose hash is right and whose content no longer passes, as after an upgrade."""
    with monkeypatch.context() as patch:
        patch.setattr(registry, "canonical", lambda _content: b'{"companies": {"a": {"x": 1}}}')
        await registry.save(store, "", ACME)
    with pytest.raises(RegistryError, match="is not valid"):
        await registry.load(store, "")


async def test_a_wrong_type_is_an_error(
    store: redis.asyncio.Redis, redis_client: redis.Redis
) -> None:
    redis_client.sadd("registry:version", "x")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        await registry.load(store, "")


async def test_fifty_thousand_prefixes(store: redis.asyncio.Redis) -> None:
    large = content(
        **{
            f"company{n}": {
                "name": f"Company {n}",
                "accounts": [f"account{n}"],
                "sources": [f"1065{n * 50 + k:07d}" for k in range(50)],
                "headers": [f"HEADER{n}"],
            }
            for n in range(1000)
        }
    )
    await store.slowlog_reset()
    start = time.process_time()  # other tests may have the machine meanwhile
    version = await registry.save(store, "", large)
    loaded = await registry.load(store, "")
    assert loaded is not None
    compiled = Registry(loaded[1], UTC)
    took = time.process_time() - start
    assert loaded[0] == version
    assert compiled.who("1065004999901", 0, "86")[0].companies == ("company999",)
    assert took < 2, f"{took:.2f} s"
    # Redis, which answers the look-ups of messages meanwhile, was not held up
    slowest = max((entry["duration"] for entry in await store.slowlog_get()), default=0)
    assert slowest < 50_000, f"a command of {slowest} µs"
