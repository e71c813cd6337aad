"""What is committed in the records is in force in Redis, and stays so whatever Redis does."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from smsfilter.desk.indexing import IndexAway, IndexTaken
from smsfilter.store import keys, registry
from smsfilter.store.connect import client as connected_client
from smsfilter.store.connect import parse_url
from smsfilter.store.records import Records
from tests.conftest import MakeRedis
from tests.fakes.books import Books, pairs, until
from tests.fakes.redis_server import RedisServer

pytestmark = [pytest.mark.redis, pytest.mark.asyncio]

ANNA, BERT, CARL = "8613800138000", "8613900139000", "8615000150000"


@pytest.fixture
async def books(records: Records, redis_server: RedisServer, redis_client) -> AsyncIterator[Books]:
    """Books over the worker's Redis, which is empty."""
    books = await Books(records, redis_server.url).open()
    yield books
    await books.close()


def seq_of(client) -> int:
    return int(client.get("index:epoch").decode().rpartition(":")[2])


async def test_a_block_is_in_force_once_it_is_followed(books: Books, redis_client) -> None:
    seq = await books.put(ANNA, "acme", "source:1065755501", "*")
    await books.follow(seq)
    assert pairs(redis_client) == {(ANNA, "acme"), (ANNA, "source:1065755501"), (ANNA, "*")}
    assert redis_client.get("index:epoch").decode() == f"{books.epoch()}:{seq_of(redis_client)}"
    assert seq_of(redis_client) >= seq
    assert (books.projection.state.ready, books.projection.state.lag) == (True, 0)


async def test_a_block_that_ends_is_taken_out_and_nothing_else(books: Books, redis_client) -> None:
    redis_client.sadd(keys.block("", ANNA), "byhand")
    await books.put(ANNA, "acme", "bravo")
    await books.follow()
    await books.end(ANNA, "acme")
    await books.follow()
    assert pairs(redis_client) == {(ANNA, "bravo"), (ANNA, "byhand")}


async def test_one_row_of_the_ledger_says_what_came_into_force(books: Books) -> None:
    await books.put(ANNA, "acme", "bravo")
    await books.follow()
    await books.marked()
    rows = await until(lambda: books.entered("blocks in force"))
    detail = json.loads(rows[0].body)["detail"]
    assert (rows[0].actor, detail["count"]) == ("system:projection", 2)
    await books.follow()  # the row itself as well
    await books.reopen()
    await books.follow()
    assert len(books.entered("blocks in force")) == 1


async def test_a_handset_as_a_source_is_spelled_as_the_path_asks_for_it(
    books: Books, redis_client
) -> None:
    await books.put(BERT, "acme")
    await books.put(ANNA, f"source:#{books.numbered(BERT)}")
    await books.follow()
    assert pairs(redis_client) == {(BERT, "acme"), (ANNA, "source:13900139000")}
    await books.end(ANNA, f"source:#{books.numbered(BERT)}")
    await books.follow()
    assert pairs(redis_client) == {(BERT, "acme")}


async def test_a_recycled_number_inherits_nothing_and_loses_nothing(
    books: Books, redis_client
) -> None:
    await books.put(ANNA, "acme", "bravo")
    await books.follow()
    await books.recycle(ANNA)
    await books.put(ANNA, "acme")  # another person's block: the same pair
    await books.follow()
    assert pairs(redis_client) == {(ANNA, "acme")}


async def test_a_number_that_was_erased_is_said_and_holds_nobody_up(
    books: Books, redis_client
) -> None:
    await books.put(ANNA, "acme")
    await books.follow()
    books.forget(ANNA)
    redis_client.flushall()
    await books.put(BERT, "acme")
    await books.follow()
    assert pairs(redis_client) == {(BERT, "acme")}


async def test_a_merger_leaves_no_moment_without_the_block(books: Books, redis_client) -> None:
    """The survivor's pairs are there before its registry, and the old ones until after it."""
    await books.add_company("acme", "1065", account="acme")
    await books.add_company("bravo", "1066", account="bravo")
    numbers = [f"86138{n:08d}" for n in range(300)]
    for number in numbers:
        await books.put(number, "acme")
    await books.follow()
    with redis_client.monitor() as monitor:
        await books.merge("acme", "bravo")
        await books.follow()
        redis_client.get("the end")
        seen = [words for words in _commands(monitor) if words[0] in ("SADD", "SET", "SREM")]
    first = {name: index for index, (name, *_) in reversed(list(enumerate(seen)))}
    last = {name: index for index, (name, *_) in enumerate(seen)}
    pointer = next(index for index, words in enumerate(seen) if words[1] == "registry:version")
    assert last["SADD"] < pointer < first["SREM"] < last["SREM"] < last["SET"]
    assert pairs(redis_client) == {(number, "bravo") for number in numbers}


def _commands(monitor) -> list[list[str]]:
    words: list[list[str]] = []
    while not words or words[-1][:2] != ["GET", "the end"]:
        command = monitor.next_command()["command"]
        words.append(command.split(" ") if command != "GET the end" else ["GET", "the end"])
    return words


async def test_the_registry_is_this_desk_s(
    books: Books, redis_server: RedisServer, redis_client
) -> None:
    await books.add_company("acme", "1065", account="acme")
    await books.follow()
    redis = connected_client(parse_url(redis_server.url, Path()))
    version, content = await registry.load(redis, "")
    assert list(content.companies) == ["acme"]
    owner, _ = await registry.origin(redis, "", version)
    assert owner.startswith("desk:")
    await registry.save(redis, "", content.model_copy(update={"companies": {}}))
    await until(lambda: redis_client.get("registry:version") == version.encode())
    await redis.aclose()


async def test_without_companies_in_the_records_the_registry_is_the_operator_s(
    books: Books, redis_server: RedisServer
) -> None:
    redis = connected_client(parse_url(redis_server.url, Path()))
    content = {"companies": {"acme": {"sources": ["1065"]}}}
    version = await registry.save(redis, "", registry.RegistryFile.model_validate(content))
    await books.put(ANNA, "acme")
    await books.follow()
    assert await registry.version(redis, "") == version
    await redis.aclose()


async def test_many_who_wait_share_a_run(books: Books, redis_client) -> None:
    await books.follow(await books.put(CARL, "acme"))
    before = books.projection.counts.runs
    seqs = await asyncio.gather(*(books.put(f"86138{n:08d}", "acme") for n in range(200)))
    await asyncio.gather(*(books.follow(seq) for seq in seqs))
    assert len(pairs(redis_client)) == 201
    assert books.projection.counts.runs - before < 100


async def test_more_than_a_page_in_one_act(books: Books, redis_client) -> None:
    targets = [f"company-{n}" for n in range(2_345)]
    await books.put(ANNA, *targets)
    await books.follow()
    assert pairs(redis_client) == {(ANNA, target) for target in targets}
    await books.end(ANNA, *targets[:2_222])
    await books.follow()
    assert pairs(redis_client) == {(ANNA, target) for target in targets[2_222:]}


async def test_a_key_of_another_type_is_put_aside_with_what_it_held(
    books: Books, redis_client
) -> None:
    await books.put(ANNA, "acme")
    await books.follow()
    key = keys.block("", ANNA)
    redis_client.set(key, "what somebody wrote")
    await books.put(ANNA, "bravo")
    await books.follow()
    assert pairs(redis_client) == {(ANNA, "acme"), (ANNA, "bravo")}
    assert redis_client.get(keys.aside("", ANNA)) == b"what somebody wrote"


async def test_under_a_prefix(records: Records, redis_server: RedisServer, redis_client) -> None:
    books = await Books(records, redis_server.url, prefix="sms*[x]:").open()
    await books.put(ANNA, "acme")
    await books.follow()
    assert redis_client.smembers("sms*[x]:block:{8613800138000}") == {b"acme"}
    assert redis_client.get("sms*[x]:index:epoch").startswith(b"desk-")
    await books.close()


# an index that was somebody else's


async def test_an_index_filled_by_hand_becomes_this_desk_s_with_all_it_holds(
    records: Records, redis_server: RedisServer, redis_client
) -> None:
    redis_client.sadd(keys.block("", ANNA), "byhand")
    redis_client.sadd(keys.approved("", "acme"), "*")
    redis_client.set("index:epoch", "0011223344556677:1795746049134")
    books = await Books(records, redis_server.url).open()
    await books.put(ANNA, "acme")
    await books.follow()
    assert pairs(redis_client) == {(ANNA, "byhand"), (ANNA, "acme")}
    assert redis_client.smembers("approved:{acme}") == {b"*"}
    assert redis_client.get("index:epoch").decode().startswith(f"{books.epoch()}:")
    detail = json.loads(books.entered("index taken over")[0].body)["detail"]
    assert (detail["was"], detail["why"]) == ("0011223344556677:1795746049134", "filled by hand")
    await books.close()


async def test_an_index_of_another_desk_is_left_alone(
    records: Records, redis_server: RedisServer, redis_client
) -> None:
    redis_client.set("index:epoch", "desk-0badcafe-001122334455:7")
    books = await Books(records, redis_server.url).open()
    await books.put(ANNA, "acme")
    with pytest.raises(IndexAway, match="belongs to another desk"):
        await books.follow(within_s=0.5)
    assert redis_client.dbsize() == 1
    assert not books.projection.state.ready
    async with books.alone() as projection:
        with pytest.raises(IndexTaken, match="--take-over"):
            await projection.rebuild()
        await projection.rebuild(take_over=True)
    assert pairs(redis_client) == {(ANNA, "acme")}


async def test_records_that_are_older_than_the_index_take_a_new_epoch(
    books: Books, redis_client
) -> None:
    await books.put(ANNA, "acme")
    await books.follow()
    epoch = books.epoch()
    await books.close()
    redis_client.set("index:epoch", f"{epoch}:1000000")
    redis_client.sadd(keys.block("", BERT), "acme")  # of a report that the records have lost
    await books.open()
    await books.follow()
    assert books.epoch() != epoch
    assert redis_client.get("index:epoch").decode().startswith(f"{books.epoch()}:")
    assert pairs(redis_client) == {(ANNA, "acme"), (BERT, "acme")}


async def test_an_epoch_that_this_desk_has_left_is_an_old_copy(books: Books, redis_client) -> None:
    await books.put(ANNA, "acme")
    await books.follow()
    first = redis_client.get("index:epoch")
    redis_client.set("index:epoch", "0011223344556677:5")
    await until(lambda: redis_client.get("index:epoch").startswith(b"desk-"))
    second = books.epoch()
    redis_client.delete(keys.block("", ANNA))
    redis_client.set("index:epoch", first)
    await until(lambda: books.epoch() != second)
    await books.follow(await books.put(BERT, "acme"))
    assert pairs(redis_client) == {(ANNA, "acme"), (BERT, "acme")}


async def test_replicas_have_to_have_it(make_redis: MakeRedis, records: Records) -> None:
    master = make_redis(["--repl-diskless-sync-delay", "0"])
    books = await Books(records, master.url, replicas=1).open()
    seq = await books.put(ANNA, "acme")
    with pytest.raises(IndexAway, match="0 of 1 replicas have it"):
        await books.follow(seq, within_s=2.5)
    replica = make_redis(["--replicaof", "127.0.0.1", str(master.port)])
    await books.follow(seq)
    assert pairs(replica.client()) == {(ANNA, "acme")}
    await books.close()
