"""The index held against the records, written anew, and what an operator put there by hand."""

import json
import resource
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml
from sqlalchemy import insert

from smsfilter.cli.main import main
from smsfilter.config import load, load_config
from smsfilter.desk import adoption
from smsfilter.desk.founding import found
from smsfilter.desk.office import Office
from smsfilter.desk.pairs import Pair
from smsfilter.ledger.actor import local
from smsfilter.store import keys
from smsfilter.store.records import Records
from smsfilter.store.schema import block, customer
from smsfilter.store.seal import place
from tests.fakes.books import BY, Books, pairs
from tests.fakes.redis_server import RedisServer

pytestmark = pytest.mark.redis

ANNA, BERT, CARL = "8613800138000", "8613900139000", "8615000150000"


@pytest.fixture
async def books(records: Records, redis_server: RedisServer, redis_client) -> AsyncIterator[Books]:
    """Books over the worker's Redis, which is empty."""
    books = await Books(records, redis_server.url).open()
    yield books
    await books.close()


async def test_what_is_the_same_is_in_step(books: Books) -> None:
    await books.add_company("acme", "1065", account="acme")
    await books.put(ANNA, "acme", "bravo")
    await books.end(ANNA, "bravo")
    await books.follow()
    found = await books.projection.compare()
    assert found.in_step
    assert (found.pairs, found.registry, found.unknown.count) == (1, "same", 0)


async def test_each_difference_is_found_and_mended(books: Books, redis_client) -> None:
    await books.add_company("acme", "1065", account="acme")
    await books.put(ANNA, "acme", "bravo")
    await books.put(BERT, "acme")
    await books.end(ANNA, "bravo")
    await books.follow()
    async with books.alone() as projection:
        redis_client.srem(keys.block("", BERT), "acme")
        redis_client.sadd(keys.block("", ANNA), "bravo", "byhand", "source:13900139000")
        redis_client.sadd(keys.block("", CARL), "*")
        redis_client.sadd(keys.block("", "misspelt"), "acme")
        redis_client.sadd(keys.block("", CARL), "")
        redis_client.delete("registry:version")
        before = pairs(redis_client)
        found = await projection.compare()
        assert pairs(redis_client) == before
        assert not found.in_step
        assert found.missing.first == ["139****9000 acme"]
        assert found.ended.first == ["138****8000 bravo"]
        assert set(found.unknown.first) == {
            "138****8000 byhand",
            "138****8000 source:139****9000",
            "150****0000 *",
        }
        assert (found.unreadable, found.registry) == (2, "missing")

        counts = await projection.rebuild()
        assert (counts.added, counts.removed) == (1, 1)
        found = await projection.compare()
        assert found.in_step
        assert found.unknown.count == 3
        assert pairs(redis_client) == before - {(ANNA, "bravo")} | {(BERT, "acme")}


async def test_a_recycled_number_s_old_block_is_no_unknown_one(books: Books, redis_client) -> None:
    await books.put(ANNA, "acme")
    await books.recycle(ANNA)
    await books.put(ANNA, "bravo")
    await books.follow()
    redis_client.sadd(keys.block("", ANNA), "acme")
    found = await books.projection.compare()
    assert (found.ended.count, found.unknown.count, found.missing.count) == (1, 0, 0)


async def test_what_is_adopted_survives(books: Books, redis_client) -> None:
    by = local("root")
    redis_client.sadd(keys.block("", ANNA), "acme", "source:13900139000", "*")
    await books.put(BERT, "acme")
    await books.follow()
    adopting = (books.projection, books.writer, books.vault, by, "86")
    assert await adoption.adopt_all(*adopting) == 3
    await books.follow()
    assert await adoption.adopt_all(*adopting) == 0
    rows = books.entered("block adopted")
    assert [row.actor for row in rows] == ["local:root"] * 3
    targets = {json.loads(row.body)["detail"]["target"] for row in rows}
    assert targets == {"acme", "*", f"source:#{books.numbered(BERT)}"}
    before = pairs(redis_client)
    redis_client.flushall()
    await books.put(CARL, "acme")
    await books.follow()
    assert pairs(redis_client) == before | {(CARL, "acme")}
    again = Pair(ANNA, "acme")
    work = lambda t: adoption.adopt(t, books.vault, again, BY, "86")  # noqa: E731
    assert not await books.writer.write(work)


# the command


@pytest.fixture
def config(tmp_path: Path, redis_server: RedisServer, redis_client) -> Path:
    """A configuration with the desk's keys and records in place."""
    content = {
        "proxy": {"listen": "127.0.0.1:0", "smsc": "127.0.0.1:1", "policy": "policy.yaml"},
        "redis": {"url": redis_server.url},
        "state_dir": "state",
    }
    path = tmp_path / "smsfilter.yaml"
    path.write_text(yaml.safe_dump(content))
    (tmp_path / "policy.yaml").write_text("version: 1\n")
    (tmp_path / "state").mkdir()
    loaded = load_config(path)
    found(loaded, local("ops", "command"))
    return path


def test_the_command_writes_and_compares(config: Path, redis_client, capsys) -> None:
    assert main(["rebuild", "--compare", "-c", str(config)]) == 0
    assert redis_client.dbsize() == 0
    redis_client.sadd(keys.block("", ANNA), "byhand")
    assert main(["rebuild", "-c", str(config)]) == 0
    out, err = capsys.readouterr()
    assert "the index is written: 0 added, 0 removed" in out
    assert "in Redis, but in no record: 1\n  138****8000 byhand" in out
    assert "cure: smsfilter block adopt --all" in err
    assert redis_client.get("index:epoch").startswith(b"desk-")
    assert main(["rebuild", "--compare", "--json", "-c", str(config)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["in_step"], found["unknown"]["count"]) == (True, 1)


def test_an_index_of_a_desk_is_not_marked_by_hand(config: Path, redis_client, capsys) -> None:
    assert main(["rebuild", "-c", str(config)]) == 0
    epoch = redis_client.get("index:epoch")
    assert main(["index", "ready", "-c", str(config)]) == 1
    assert "the index is a desk's, which marks it by itself" in capsys.readouterr().err
    assert redis_client.get("index:epoch") == epoch
    redis_client.delete("index:epoch")
    assert main(["index", "ready", "-c", str(config)]) == 0


def test_the_command_needs_the_records_alone(config: Path, capsys) -> None:
    office = Office.of(load(config))
    office.writer.start()
    try:
        assert main(["rebuild", "-c", str(config)]) == 1
    finally:
        office.writer.stop()
        office.records.close()
    assert "is in use by another desk" in capsys.readouterr().err


def test_the_command_says_what_is_missing(config: Path, redis_server, capsys) -> None:
    text = config.read_text().replace(redis_server.url, "redis://127.0.0.1:1/0")
    config.write_text(text)
    assert main(["rebuild", "-c", str(config)]) == 1
    assert "Connection refused" in capsys.readouterr().err
    (config.parent / "state" / "keys" / "token.key").unlink()
    assert main(["rebuild", "-c", str(config)]) == 1
    assert "token.key: No such file" in capsys.readouterr().err


# many


async def fill(books: Books, count: int) -> None:
    """Put so many blocks of as many customers into the records, past the ledger."""
    seal = books.vault._seal
    with books.records.to_write() as connection, connection.begin():
        for start in range(0, count, 10_000):
            numbers = [(f"c{n}", f"86138{n:08d}") for n in range(start, min(start + 10_000, count))]
            people = [
                {
                    "id": name,
                    "token": seal.token(digits),
                    "number_enc": seal.close(
                        digits.encode(), place("customer", "number_enc", name)
                    ),
                    "first_at": 0,
                }
                for name, digits in numbers
            ]
            live = [
                {
                    "customer": name,
                    "target": "acme",
                    "reason": "test",
                    "created_at": 0,
                    "changed_seq": 1,
                }
                for name, _ in numbers
            ]
            connection.execute(insert(customer), people)
            connection.execute(insert(block), live)


@pytest.mark.parametrize(
    "count",
    [5_000, pytest.param(1_000_000, marks=pytest.mark.scale)],
)
async def test_many_blocks_take_little_memory(
    tmp_path: Path, redis_server: RedisServer, redis_client, count: int
) -> None:
    records = Records(f"sqlite:///{tmp_path}/records.db")
    records.migrate()
    books = await Books(records, redis_server.url).open()
    await fill(books, count)
    await books.close()
    redis_client.flushall()
    async with books.alone() as projection:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        counts = await projection.rebuild()
        found = await projection.compare()
        grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert counts.added == found.pairs == count
    assert (found.in_step, found.unknown.count) == (True, 0)
    assert grown_mib < 100
    records.close()
