"""What Redis says of itself, and whether an absent key may be trusted by it."""

import hiredis
import pytest

from smsfilter.store.health import NO_MASTER, Health


def said(policy: str = "noeviction", evicted: int = 0, role: str = "master") -> list[object]:
    memory = f"# Memory\r\nused_memory:1\r\nmaxmemory_policy:{policy}\r\n"
    stats = f"# Stats\r\nevicted_keys:{evicted}\r\n"
    return [memory.encode(), stats.encode(), f"role:{role}\r\n".encode(), b"e:1"]


def test_keys_that_are_evicted_count_within_one_connection() -> None:
    health = Health(as_master=False)
    assert health.distrust(said("unknown", 5)) == ""
    assert health.distrust(said("unknown", 5)) == ""
    assert "evicts keys" in health.distrust(said("unknown", 6))
    health.begin()
    assert health.distrust(said("unknown", 9)) == ""
    assert health.distrust(said("volatile-ttl", 10)) == ""
    assert "set noeviction" in health.distrust(said("allkeys-lru", 10))


@pytest.mark.parametrize(("as_master", "why"), [(True, NO_MASTER), (False, "")])
def test_a_replica_is_of_no_use_where_the_master_was_asked_for(as_master: bool, why: str) -> None:
    assert Health(as_master=as_master).distrust(said(role="slave")) == why


@pytest.mark.parametrize(
    ("at", "reply", "why"),
    [
        (0, hiredis.ReplyError("LOADING Redis is loading"), "Redis is loading its data"),
        (1, hiredis.ReplyError("NOPERM"), "Redis does not tell its health: NOPERM"),
        (3, hiredis.ReplyError("WRONGTYPE x"), "index:epoch: WRONGTYPE x"),
        (1, b"evicted_keys:many\r\n", "Redis does not tell its health"),
        (1, None, "Redis does not tell its health"),
        (0, b"\xff\xfe", ""),
    ],
)
def test_what_is_not_told(at: int, reply: object, why: str) -> None:
    replies = said()
    replies[at] = reply
    assert Health(as_master=False).untold(replies) == why
