"""A write with an idempotency key: done once, answered as often as it is asked."""

import asyncio

import pytest
from sqlalchemy import delete, update

from smsfilter.store.schema import answered, block

ANNA = "8613800138000"
BODY = {"customer": ANNA, "target": "acme", "reason": "by letter"}
KEY = {"Idempotency-Key": "a-1"}


async def put(desk, body=BODY, headers=KEY, path="/blocks"):
    return await desk.http.post(path, json=body, headers=headers)


def gone(desk, which=None):
    """Change the rows of keys as a desk that was killed, or time, would have left them."""

    def work(transaction):
        transaction.connection.execute(which)

    desk.office.writer.submit(work).result()


async def test_it_is_done_once_and_answered_as_before(open_desk):
    first = await put(open_desk)
    assert first.json() == {"id": 1, "changed": True, "in_force": True}
    assert "idempotent-replayed" not in first.headers
    again = await put(open_desk)
    assert (again.status_code, again.content) == (200, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["content-type"] == "application/json"
    assert len(open_desk.entries("block added")) == 1
    (entry,) = open_desk.entries("answer repeated")
    assert entry.actor == first_actor(open_desk)


def first_actor(desk):
    return desk.entries("block added")[0].actor


async def test_without_a_key_it_is_done_again(open_desk):
    await put(open_desk, headers={})
    again = await put(open_desk, headers={})
    assert again.json()["changed"] is False
    assert open_desk.rows("answered") == []


async def test_another_request_with_the_key_is_refused(open_desk):
    await put(open_desk)
    for body, path in (
        (BODY | {"target": "*"}, "/blocks"),
        ({"reason": "consent"}, "/blocks/1/remove"),
    ):
        other = await put(open_desk, body, path=path)
        assert other.status_code == 422
        assert "another request" in other.json()["detail"]
        assert other.json()["cure"]
    assert open_desk.blocked(ANNA) == {"acme"}


@pytest.mark.parametrize("key", ["", "x" * 65, "a b"])
async def test_what_is_no_key(open_desk, key):
    assert (await put(open_desk, headers={"Idempotency-Key": key})).status_code == 422
    assert open_desk.rows("block") == []


async def test_what_was_refused_may_be_asked_again(open_desk):
    refused = await put(open_desk, BODY | {"target": "nobody"})
    assert refused.status_code == 409
    assert open_desk.rows("answered") == []
    assert (await put(open_desk)).status_code == 200


async def test_one_under_way_is_waited_for(open_desk):
    held, done = asyncio.Event(), asyncio.Event()
    write = open_desk.office.writer.write

    async def slowly(work):
        held.set()
        await done.wait()
        return await write(work)

    object.__setattr__(open_desk.office.writer, "write", slowly)
    first = asyncio.create_task(put(open_desk))
    await held.wait()
    second = await put(open_desk)
    assert (second.status_code, "under way" in second.text) == (409, True)
    done.set()
    assert (await first).status_code == 200
    open_desk.office.writer.write = write
    assert (await put(open_desk)).headers["idempotent-replayed"] == "true"


async def test_a_desk_that_ended_before_it_had_said_so(open_desk):
    await put(open_desk)
    gone(open_desk, update(answered).values(status=None, answer_enc=None))
    again = await put(open_desk)
    assert again.status_code == 409
    assert "it was done" in again.json()["detail"]
    assert "show" in again.json()["cure"]
    assert len(open_desk.rows("block")) == 1


async def test_the_key_is_kept_with_the_act_or_not_at_all(open_desk):
    """What fails leaves no key behind: the act is still to be done."""
    failing = open_desk.office.writer.write

    async def fail(work):
        def broken(transaction):
            work(transaction)
            raise RuntimeError("power cut")

        return await failing(broken)

    open_desk.office.writer.write = fail
    assert (await put(open_desk)).status_code == 500
    open_desk.office.writer.write = failing
    assert (open_desk.rows("answered"), open_desk.rows("block")) == ([], [])
    assert (await put(open_desk)).json()["changed"] is True


async def test_it_is_forgotten_after_a_day(open_desk):
    await put(open_desk)
    gone(open_desk, update(answered).values(at=answered.c.at - 86_401 * 1_000_000))
    again = await put(open_desk)
    assert again.json()["changed"] is False
    assert len(open_desk.rows("answered")) == 1
    assert "idempotent-replayed" not in again.headers


async def test_the_answer_is_sealed_and_the_request_only_known_again(open_desk):
    await put(open_desk)
    (row,) = open_desk.rows("answered")
    assert row.status == 200
    assert b"changed" not in row.answer_enc
    assert ANNA not in str(row)


async def test_a_look_by_post_is_never_answered_from_what_is_kept(open_desk):
    await put(open_desk, headers={})
    for _ in range(2):
        said = await put(open_desk, {"customer": ANNA}, path="/blocks/of")
        assert len(said.json()["items"]) == 1
    assert len(open_desk.entries("blocks listed")) == 2
    assert open_desk.rows("answered") == []


async def test_what_takes_several_transactions_is_answered_as_before(open_desk):
    await put(open_desk, headers={})
    body = {"rows": [{"customer": ANNA}]}
    first = await put(open_desk, body, path="/blocks/recycle")
    gone(open_desk, delete(block).where(block.c.id < 0))
    again = await put(open_desk, body, path="/blocks/recycle")
    assert again.content == first.content
    assert again.headers["idempotent-replayed"] == "true"
