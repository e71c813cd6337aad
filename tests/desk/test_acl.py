"""The ACL users of docs/redis-keys.md, on a real Redis that lets in nobody else."""

import asyncio
import re
from pathlib import Path

import pytest
import redis

from smsfilter.desk import companies
from smsfilter.desk.indexing import IndexAway
from smsfilter.desk.office import now_us
from smsfilter.desk.projection import Projection
from smsfilter.store import keys
from smsfilter.store.address import parse_url
from smsfilter.store.records import Records
from tests.conftest import MakeSite
from tests.fakes.books import Books, pairs
from tests.fakes.redis_server import RedisServer

pytestmark = [pytest.mark.system, pytest.mark.redis]

ANNA = "8613800138000"
DOCUMENT = Path(__file__).parents[2] / "docs" / "redis-keys.md"
PASSWORD = "a word of four"


class Guarded(Books):
    """Books whose projection enters as the user `desk`."""

    def made(self) -> Projection:
        return Projection(
            self.records,
            self.writer,
            parse_url(self.url, Path(), PASSWORD),
            self.vault,
            companies.load,
            prefix="",
            country_code="86",
            clock=now_us,
            **self.options,
        )


@pytest.fixture
def guarded(own_redis: RedisServer) -> RedisServer:
    """A Redis with these users, and root for the test itself."""
    client = own_redis.client()
    version = client.info()["redis_version"]
    if int(str(version).partition(".")[0]) < 7:
        pytest.skip(f"redis {version} has no %R~")
    lines = re.findall(r"^ACL SETUSER .*$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(lines) == 3
    for line in lines:
        words = re.sub(r">PASSWORD\d?", ">" + PASSWORD.replace(" ", "_"), line).split()
        client.execute_command(*(word.replace("_", " ") if ">" in word else word for word in words))
    client.execute_command("ACL", "SETUSER", "root", "on", f">{PASSWORD}", "~*", "+@all")
    client.execute_command("AUTH", "root", PASSWORD)
    client.execute_command("ACL", "SETUSER", "default", "off")
    return own_redis


async def test_the_desk_s_user_can_do_what_the_desk_does(
    guarded: RedisServer, tmp_path: Path
) -> None:
    records = Records(f"sqlite:///{tmp_path}/records.db")
    records.migrate()
    url = f"redis://desk@127.0.0.1:{guarded.port}/0"
    books = Guarded(records, url, replicas=1)
    await books.open()
    await books.add_company("acme", "1065", account="acme")
    guarded.client().set(keys.block("", ANNA), "no set")
    await books.put(ANNA, "acme", "bravo")
    with pytest.raises(IndexAway, match="0 of 1 replicas have it"):
        await books.follow(within_s=5)
    await books.close()
    books.options = {}
    await books.open()
    await books.follow()
    await books.end(ANNA, "bravo")
    await books.follow()
    found = await books.projection.compare()
    assert (found.in_step, found.registry) == (True, "same")
    async with books.alone() as projection:
        await projection.rebuild()
    assert pairs(guarded.client()) == {(ANNA, "acme")}
    with redis.Redis(port=guarded.port, username="desk", password=PASSWORD) as client:
        for command in (("SADD", "approved:{acme}", "*"), ("FLUSHALL",), ("KEYS", "*")):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*command)
    records.close()


async def test_the_proxy_s_user_reads_and_writes_nothing(
    guarded: RedisServer, make_site: MakeSite, tmp_path: Path
) -> None:
    password = tmp_path / "password"
    password.write_text(PASSWORD)
    site = await make_site(
        redis=guarded,
        registry=None,
        approved={},
        index_ready=False,
        started=False,
        policy={"rules": [{"id": "blocked", "type": "block"}]},
        config={
            "redis": {
                "url": f"redis://smsfilter@127.0.0.1:{guarded.port}/0",
                "password_file": str(password),
            }
        },
    )
    records = Records(f"sqlite:///{tmp_path}/records.db")
    records.migrate()
    books = Guarded(records, f"redis://desk@127.0.0.1:{guarded.port}/0")
    await books.open()
    await books.add_company("acme", "10657555", account="acme")
    await books.put(ANNA, "acme")
    await books.follow()
    await books.close()
    records.close()
    await site.start()
    esme = await site.esme()
    async with asyncio.timeout(10):
        while (await esme.submit("10657555", "8613900139000")).command_status:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert (await esme.submit("10657555", ANNA)).command_status == 0x66
    assert not site.logged("lookup_failed")
    with redis.Redis(port=guarded.port, username="smsfilter", password=PASSWORD) as client:
        key = keys.block("", ANNA)
        for command in (("SREM", key, "acme"), ("DEL", key), ("SET", "index:epoch", "x:1")):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*command)
