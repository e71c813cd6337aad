"""What a restored desk does first: what only the index knows becomes blocks, and stays."""

import pytest
from sqlalchemy import select, update

from smsfilter.desk.indexing import IndexTaken
from smsfilter.desk.office import Office
from smsfilter.desk.restore import End, enter
from smsfilter.desk.settling import settle
from smsfilter.ledger.actor import local
from smsfilter.store import customers, ledger
from smsfilter.store.connect import Unreachable, parse_url
from smsfilter.store.schema import block, index_state
from smsfilter.store.transaction import Transaction
from tests.fakes.desks import At, blocked

ANNA, BERT, CARL = "8613800138000", "8613800138001", "8613800138002"
HANDSET = "8613700137000"


@pytest.fixture(params=["sqlite", "postgresql"])
def office(request, tmp_path, redis_client, redis_server):
    """A desk with a block that is live and one that has ended, just restored."""
    urls = None
    if request.param == "postgresql":
        urls = request.getfixturevalue("postgres").database(migrated=False)
    desk = At(tmp_path, urls, redis_url=redis_server.url)
    desk.found()
    with desk.writing() as office:
        blocked(office.writer, office.vault, [ANNA])
        (ended,) = blocked(office.writer, office.vault, [BERT])

        def restore(transaction: Transaction) -> None:
            transaction.connection.execute(
                update(block).where(block.c.id == ended).values(ended_at=1, end_reason="withdrawn")
            )
            seq, last, chain = ledger.head(transaction.connection)
            enter(transaction, local("ops"), End(chain, seq, last, transaction.now))

        office.writer.submit(restore).result()
        yield office


def live(office: Office) -> set[tuple[str, str]]:
    with office.records.reading() as connection:
        rows = connection.execute(select(block).where(block.c.ended_at.is_(None))).all()
        numbers = office.vault.numbers(connection, [row.customer for row in rows])
    return {(numbers[row.customer], row.target) for row in rows}


def entered(office: Office) -> list[str]:
    with office.records.reading() as connection:
        return [row.action for row in ledger.rows(connection)][4:]


async def test_what_the_index_has_is_kept(office, redis_client):
    address = parse_url(office.config.redis.url, office.config.state_dir, None)
    redis_client.sadd(f"block:{{{ANNA}}}", "acme")
    redis_client.sadd(f"block:{{{BERT}}}", "acme")  # reported again
    redis_client.sadd(f"block:{{{CARL}}}", "bravo", f"source:{HANDSET}")
    redis_client.set("block:{8613800138009}", "not a set")

    assert await settle(office, address) == 3

    pairs = live(office)
    by_handset = {target for number, target in pairs if number == CARL} - {"bravo"}
    assert pairs - {(CARL, target) for target in by_handset} == {
        (ANNA, "acme"),
        (BERT, "acme"),
        (CARL, "bravo"),
    }
    with office.records.reading() as connection:
        handset = customers.find(connection, office.keys.seal, HANDSET)
    assert by_handset == {f"source:#{handset}"}
    assert entered(office) == ["block adopted"] * 3 + ["index adopted"]
    assert await settle(office, address) is None  # once


async def test_an_empty_index_has_nothing_to_keep(office):
    address = parse_url(office.config.redis.url, office.config.state_dir, None)
    assert await settle(office, address) == 0
    assert live(office) == {(ANNA, "acme")}


async def test_it_is_done_again_where_redis_was_away(office, tmp_path, redis_client):
    nowhere = parse_url(f"unix://{tmp_path}/none.sock", office.config.state_dir, None)
    with pytest.raises(Unreachable):
        await settle(office, nowhere)
    redis_client.sadd(f"block:{{{CARL}}}", "acme")
    address = parse_url(office.config.redis.url, office.config.state_dir, None)
    assert await settle(office, address) == 1


async def test_the_index_of_another_desk_is_left_alone(office, redis_client):
    redis_client.set("index:epoch", "desk-00000000-112233445566:5")
    redis_client.sadd(f"block:{{{CARL}}}", "acme")
    address = parse_url(office.config.redis.url, office.config.state_dir, None)
    with pytest.raises(IndexTaken, match="belongs to another desk"):
        await settle(office, address)
    assert live(office) == {(ANNA, "acme")}
    assert await settle(office, address, take_over=True) == 1


async def test_a_desk_that_was_not_restored_adopts_nothing(office, redis_client):
    await office.writer.write(
        lambda transaction: transaction.connection.execute(update(index_state).values(adopts=False))
    )
    redis_client.sadd(f"block:{{{CARL}}}", "acme")
    address = parse_url(office.config.redis.url, office.config.state_dir, None)
    assert await settle(office, address) is None
    assert live(office) == {(ANNA, "acme")}
