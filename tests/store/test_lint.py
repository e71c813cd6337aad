"""`index lint` on a real Redis: each slip of the hand is found, and what is right is not."""

import shlex
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis
import redis.asyncio

from smsfilter.rules.policy import Policy
from smsfilter.rules.senders import RegistryFile
from smsfilter.store import lint, registry
from smsfilter.store.epoch import EpochGuard
from smsfilter.store.lint import Finding
from tests.fakes.redis_server import RedisServer

pytestmark = pytest.mark.redis

REGISTRY = RegistryFile.model_validate(
    {
        "companies": {
            "acme": {
                "accounts": ["acme", "acme2"],
                "sources": ["10657555", "8610691111"],
                "headers": ["ACME", "某公司"],
            },
            "bravo": {"sources": ["10658888", {"prefix": "1069", "valid_to": "2020-01-01"}]},
        },
        "resellers": {"resell7": {"may_send_for": ["acme", "bravo"]}},
    }
)


@pytest.fixture
async def store(
    redis_server: RedisServer, redis_client: redis.Redis
) -> AsyncIterator[redis.asyncio.Redis]:
    """An index in good order."""
    async with redis.asyncio.Redis(unix_socket_path=str(redis_server.socket_path)) as client:
        await registry.save(client, "", REGISTRY)
        await lint.ready(client, "")
        yield client


async def one(store: redis.asyncio.Redis, **options: Any) -> Finding:
    (finding,) = await lint.lint(store, "", **options)
    return finding


async def cured(store: redis.asyncio.Redis, cure: str) -> list[Finding]:
    """Do what the cure says, as redis-cli would, and look again."""
    for command in cure.split(" && "):
        program, *words = shlex.split(command)
        assert program == "redis-cli"
        await store.execute_command(*words)
    return await lint.lint(store, "")


GOOD = [
    ("block:{8613800138000}", "acme"),
    ("block:{8613800138000}", "bravo"),
    ("block:{8613800138001}", "*"),
    ("block:{8613800138002}", "source:1065999"),
    ("block:{8613800138002}", "source:acmes"),
    ("block:{85291234567}", "acme"),
    ("block:{12025550123}", "acme"),
    ("block:{10010}", "acme"),
    ("block:{1064512345678}", "acme"),
    ("approved:{acme}", "*"),
    ("approved:{acme}", "10657555"),
    ("approved:{acme}", "1065755501"),
    ("approved:{acme}", "8610691111"),
    ("approved:{acme}", "acme"),
    ("approved:{acme}", "某公司"),
    ("approved:{bravo}", "10658888"),
]


async def test_what_is_right_is_not_found(store: redis.asyncio.Redis) -> None:
    for key, member in GOOD:
        await store.sadd(key, member)
    await store.zadd("recipients:{acme}", {"x": 1})
    await store.set("count:{acme}:day:1", "1")
    await store.set("blocklist", "somebody else's")
    await store.hset("session:blocked", "somebody", "else's")
    assert await lint.lint(store, "") == []


@pytest.mark.parametrize(
    ("key", "problem", "cured_key"),
    [
        ("block:{13800138000}", "canonical form of this number is 8613800138000", 8613800138000),
        ("block:{+8613800138000}", "canonical form", 8613800138000),
        ("block:{008613800138000}", "canonical form", 8613800138000),
        ("block:{86 138-0013-8000}", "canonical form", 8613800138000),
        ("block:{8608613800138000}", "no number", None),
        ("block:{abc}", "no number", None),
        ("block:{}", "no number", None),
        ("block:{１３８００１３８０００}", "no number", None),
        ("block:{12345678901234567}", "no number", None),
        ("block:8613800138000", "never asked for", 8613800138000),
        ("block:13800138000", "never asked for", 8613800138000),
        ("Block:{8613800138000}", "never asked for", 8613800138000),
        ("blocks:{8613800138000}", "never asked for", 8613800138000),
        ("block:(8613800138000)", "never asked for", 8613800138000),
        ("block:[8613800138000]", "never asked for", 8613800138000),
        ("block: {8613800138000}", "never asked for", 8613800138000),
        (" block:{8613800138000}", "never asked for", 8613800138000),
        ("{block:8613800138000}", "never asked for", 8613800138000),
        ("block:{8613800138000", "never asked for", 8613800138000),
        ("block_{8613800138000}", "never asked for", 8613800138000),
        ("blocked:{8613800138000}", "never asked for", 8613800138000),
    ],
)
async def test_keys_of_blocks(
    store: redis.asyncio.Redis, key: str, problem: str, cured_key: int | None
) -> None:
    await store.sadd(key, "acme")
    await store.sadd("block:{8613800138000}", "bravo")
    finding = await one(store)
    assert finding.key == key
    assert problem in finding.problem
    assert await cured(store, finding.cure) == []
    expected = {b"bravo", b"acme"} if cured_key else {b"bravo"}
    assert await store.smembers("block:{8613800138000}") == expected


@pytest.mark.parametrize(
    "key", ["approved:acme", "Approved:{acme}", "approval:{acme}", "approve:acme", "approved/acme"]
)
async def test_keys_of_approvals(store: redis.asyncio.Redis, key: str) -> None:
    await store.sadd(key, "*")
    finding = await one(store)
    assert (finding.key, "never asked for" in finding.problem) == (key, True)
    assert await cured(store, finding.cure) == []
    assert await store.smembers("approved:{acme}") == {b"*"}


@pytest.mark.parametrize(
    ("member", "problem", "better"),
    [
        ("", "empty member", None),
        ("ACME", "it points to 'acme'", "acme"),
        ("Acme", "it points to 'acme'", "acme"),
        ("acme2", "it points to 'acme'", "acme"),
        ("1065755501", "it points to 'acme'", "acme"),
        (" acme", "no company", "acme"),
        ("charlie", "no company of the registry", None),
        ("resell7", "no company of the registry", None),
        ("**", "no company of the registry", None),
        ("source:+861065999", "asked for as 'source:1065999'", "source:1065999"),
        ("source:Shop", "asked for as 'source:shop'", "source:shop"),
    ],
)
async def test_members_of_blocks(
    store: redis.asyncio.Redis, member: str, problem: str, better: str | None
) -> None:
    await store.sadd("block:{8613800138000}", "bravo", member)
    finding = await one(store)
    assert finding.key == "block:{8613800138000}"
    assert problem in finding.problem
    assert await cured(store, finding.cure) == []
    expected = {b"bravo"} | ({better.encode()} if better else set())
    assert await store.smembers("block:{8613800138000}") == expected


@pytest.mark.parametrize(
    ("member", "problem"),
    [
        ("", "empty member"),
        ("Acme", "asked for as 'acme'"),
        ("+8610657555", "asked for as '10657555'"),
        ("8610657555", "asked for as '10657555'"),
        ("10658888", "is a source of bravo now, and not acme's"),
        ("1069222", "nobody's source"),
        ("somebody", "nobody's source"),
    ],
)
async def test_members_of_approvals(store: redis.asyncio.Redis, member: str, problem: str) -> None:
    await store.sadd("approved:{acme}", "10657555", member)
    finding = await one(store)
    assert finding.key == "approved:{acme}"
    assert problem in finding.problem
    assert await cured(store, finding.cure) == []
    assert await store.sismember("approved:{acme}", "10657555")


async def test_approvals_of_unknown_companies(store: redis.asyncio.Redis) -> None:
    await store.sadd("approved:{charlie}", "*")
    assert "no company of the registry" in (await one(store)).problem
    await store.rename("approved:{charlie}", "approved:{ACME}")
    finding = await one(store)
    assert "it points to 'acme'" in finding.problem
    assert await cured(store, finding.cure) == []
    assert await store.smembers("approved:{acme}") == {b"*"}


@pytest.mark.parametrize(
    ("key", "member", "where", "better"),
    [
        ("block:{13800138000}", "ACME", "block:{8613800138000}", "acme"),
        ("block:13800138000", "ACME", "block:{8613800138000}", "acme"),
        ("block:{13800138000}", "charlie", "block:{8613800138000}", None),
        ("block:{abc}", "ACME", None, None),
        ("approved:{ACME}", "+8610657555", "approved:{acme}", "10657555"),
        ("Approved:{ACME}", "+8610657555", "approved:{acme}", "10657555"),
        ("approved:acme2", "10658888", "approved:{acme}", None),
        ("approved:{charlie}", "10658888", None, None),
    ],
)
async def test_key_and_member_both_wrong_are_cured_one_after_the_other(
    store: redis.asyncio.Redis, key: str, member: str, where: str | None, better: str | None
) -> None:
    await store.sadd(key, member)
    found = await lint.lint(store, "")
    assert [finding.key for finding in found] == [key] * (2 if where else 1)
    left = [await cured(store, finding.cure) for finding in found]
    assert left[-1] == []
    held = await store.smembers(where) if where else set()
    assert held == ({better.encode()} if better else set())
    assert not await store.exists(key)


async def test_a_misspelt_key_of_another_type_is_nobody_s_to_move(
    store: redis.asyncio.Redis, redis_client: redis.Redis
) -> None:
    redis_client.set("block:8613800138000", "somebody else's")
    assert (await one(store)).cure == ""


async def test_unknown_accounts_that_are_their_own_company(store: redis.asyncio.Redis) -> None:
    await store.sadd("block:{8613800138000}", "charlie")
    await store.sadd("approved:{charlie}", "*")
    assert len(await lint.lint(store, "")) == 2
    assert await lint.lint(store, "", Policy(unknown="account")) == []


async def test_another_country(store: redis.asyncio.Redis) -> None:
    await store.sadd("block:{919876543210}", "acme")
    await store.sadd("block:{9876543210}", "acme")
    finding = await one(store, policy=Policy(country_code="91"))
    assert finding.key == "block:{9876543210}"
    assert "919876543210" in finding.problem


@pytest.mark.parametrize("key", ["block:{8613800138000}", "approved:{acme}"])
async def test_wrong_types(store: redis.asyncio.Redis, redis_client: redis.Redis, key: str) -> None:
    redis_client.set(key, "acme")
    finding = await one(store)
    assert finding.key == key
    assert "is a string and not a set" in finding.problem
    redis_client.delete(key)
    redis_client.hset(key, "acme", "1")
    assert "is a hash" in (await one(store)).problem
    assert await cured(store, finding.cure) == []


async def test_the_epoch(store: redis.asyncio.Redis, redis_client: redis.Redis) -> None:
    redis_client.delete("index:epoch")
    finding = await one(store)
    assert "index:epoch is missing" in finding.problem
    assert finding.cure == "smsfilter index ready"
    redis_client.set("index:epoch", "yes")
    assert "not of the form epoch:seq" in (await one(store)).problem
    redis_client.delete("index:epoch")
    redis_client.sadd("index:epoch", "x")
    assert "WRONGTYPE" in (await one(store)).problem
    await lint.ready(store, "")
    assert await lint.lint(store, "") == []


async def test_the_registry(store: redis.asyncio.Redis, redis_client: redis.Redis) -> None:
    version = await registry.version(store, "")
    redis_client.hset(f"registry:{version}", "json", "{}")
    assert "altered in Redis" in (await one(store)).problem
    redis_client.delete("registry:version")
    finding = await one(store)
    assert "no registry" in finding.problem
    assert finding.cure.startswith("smsfilter registry load")
    await store.sadd("block:{8613800138000}", "charlie")
    assert await lint.lint(store, "") == [finding]  # whose companies nobody can know
    redis_client.sadd("registry:version", "x")
    assert "WRONGTYPE" in (await one(store)).problem


async def test_eviction(make_redis: Any) -> None:
    server = make_redis(["--maxmemory-policy", "allkeys-lru"])
    async with redis.asyncio.Redis(unix_socket_path=str(server.socket_path)) as client:
        await registry.save(client, "", REGISTRY)
        await lint.ready(client, "")
        finding = await one(client)
        assert "allkeys-lru may evict blocks" in finding.problem
        assert await cured(client, finding.cure) == []


@pytest.mark.parametrize("prefix", ["sms:", "[a]*?\\"])
async def test_a_prefix(store: redis.asyncio.Redis, redis_client: redis.Redis, prefix: str) -> None:
    redis_client.flushall()
    await registry.save(store, prefix, REGISTRY)
    await lint.ready(store, prefix)
    redis_client.sadd("block:{1380}", "not ours")
    redis_client.sadd("aXblock:{1380}", "not ours")
    redis_client.sadd(f"{prefix}block:{{8613800138000}}", "acme")
    assert await lint.lint(store, prefix) == []
    redis_client.sadd(f"{prefix}block:{{13800138000}}", "acme")
    (finding,) = await lint.lint(store, prefix)
    assert finding.key == f"{prefix}block:{{13800138000}}"
    assert f"{prefix}block:{{8613800138000}}" in finding.cure


async def test_names_that_are_no_text(
    store: redis.asyncio.Redis, redis_client: redis.Redis
) -> None:
    redis_client.sadd(b"block:{\xff\xfe}", "acme")
    redis_client.sadd("block:{8613800138000}", b"\xff\xfe")
    found = await lint.lint(store, "")
    assert {finding.key for finding in found} == {"block:{\ufffd\ufffd}", "block:{8613800138000}"}


async def test_many_keys_and_many_findings(
    store: redis.asyncio.Redis, redis_client: redis.Redis
) -> None:
    with redis_client.pipeline(transaction=False) as pipe:
        for number in range(20_000):
            pipe.sadd(f"block:{{86138{number:08d}}}", "acme")
        pipe.execute()
    redis_client.sadd("block:{13800138000}", "acme")
    assert (await one(store)).key == "block:{13800138000}"
    with redis_client.pipeline(transaction=False) as pipe:
        for number in range(2_000):
            pipe.sadd(f"block:{{138{number:08d}}}", "acme")
        pipe.execute()
    found = await lint.lint(store, "")
    assert len(found) == lint.FINDINGS_MOST + 1
    assert "more than 1000" in str(found[-1])


# --- ready


async def test_ready_is_trusted_and_each_time_another(store: redis.asyncio.Redis) -> None:
    guard = EpochGuard()
    seen = set()
    for _ in range(3):
        epoch = await lint.ready(store, "")
        assert await store.get("index:epoch") == epoch.encode()
        assert guard.trusted(epoch.encode(), epoch.encode()), guard.why
        seen.add(guard.epoch)
    assert len(seen) == 3


async def test_what_is_missing(store: redis.asyncio.Redis, redis_client: redis.Redis) -> None:
    (approvals,) = await lint.missing(store, "")
    assert "no company is approved" in approvals.problem
    assert approvals.cure == "redis-cli SADD 'approved:{acme}' '*'"
    await store.sadd("approved:{charlie}", "*")
    assert await lint.missing(store, "") == [approvals]
    assert await lint.missing(store, "", Policy(unknown="account")) == []
    await store.sadd("approved:{bravo}", "*")
    assert await lint.missing(store, "") == []
    redis_client.flushall()
    no_registry, no_approvals = await lint.missing(store, "")
    assert "no registry" in no_registry.problem
    assert "no company is approved" in no_approvals.problem
    with redis_client.pipeline(transaction=False) as pipe:
        for number in range(5_000):
            pipe.sadd(f"block:{{86138{number:08d}}}", "acme")
        pipe.execute()
    assert await lint.missing(store, "") == [no_registry, no_approvals]
    await store.sadd("approved:{charlie}", "*")
    assert await lint.missing(store, "") == [no_registry]
