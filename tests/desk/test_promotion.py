"""Blocks that follow the registry: of a source to its company, of a merged one to the survivor."""

import asyncio
from types import SimpleNamespace

import pytest

from smsfilter.desk import promotion
from smsfilter.desk.company import add, extend, merge
from smsfilter.desk.promotion import Promoted, Promotion
from smsfilter.rules.policy import Policy
from smsfilter.rules.registry import Company
from smsfilter.store.schema import block
from tests.fakes.registrar import BY, HOUR, Registrar, registry
from tests.fakes.registry import REGISTRY

FILE = registry(**REGISTRY)
ONE, OTHER = "8613800138000", "8613800138001"


@pytest.fixture
def desk(records):
    with Registrar(records) as desk:
        desk.take_in(FILE)
        yield desk


def run(desk: Registrar) -> Promoted:
    office = SimpleNamespace(
        records=desk.records,
        writer=desk.writer,
        vault=desk.vault,
        policy=Policy(version="1"),
        clock=lambda: desk.now,
    )
    return asyncio.run(promotion.run(office))


def own(**what) -> Company:
    return Company.model_validate(what)


def test_a_source_gets_a_company(desk):
    desk.block_source("1064000", ONE)
    desk.block_source("1064000", OTHER)
    desk.block_source("1063000", ONE)
    desk.block("delta", OTHER)
    assert run(desk) == Promoted()
    desk.do(add, "delta", own(sources=["1064"]), BY)
    assert run(desk) == Promoted(targets=1, put=1, ended=2)
    assert desk.live() == {(ONE, "delta"), (OTHER, "delta"), (ONE, "source:1063000")}
    act = desk.acts()[-1]
    assert (act.action, act.actor) == ("blocks promoted", "system:promotion")
    assert act.detail == {
        "targets": {"source:1064000": "delta"},
        "blocks_new": 1,
        "blocks_ended": 2,
    }
    ended = [row for row in desk.rows(block) if row.ended_at is not None]
    assert {(row.end_reason, row.ended_by) for row in ended} == {
        ("company known", "system:promotion")
    }
    assert {row.changed_seq for row in ended} == {act.seq}
    assert run(desk) == Promoted()


def test_whoever_bought_a_source_since_is_not_the_one_reported(desk):
    desk.now += HOUR
    desk.block_source("10657555")
    desk.now += 100 * HOUR
    content = FILE.model_dump()
    content["companies"]["bravo"]["sources"] += content["companies"]["acme"]["sources"]
    content["companies"]["acme"]["sources"] = []
    desk.take_in(registry(**content))
    desk.now += 1_000 * HOUR
    assert run(desk) == Promoted()
    assert desk.live() == {(ONE, "source:10657555")}


def test_a_source_that_imitates_stays_a_source(desk):
    desk.block_source("АСМЕ")
    assert run(desk) == Promoted()
    desk.do(extend, "bravo", own(headers=["АСМЕ"]), BY)
    assert run(desk).targets == 1
    assert desk.live() == {(ONE, "bravo")}


def test_a_person_s_number_that_is_a_company_s(desk):
    desk.block_source("13911112222", ONE)
    ((_, target),) = desk.live()
    assert target.startswith("source:#c")
    assert "13911112222" not in target
    desk.do(extend, "bravo", own(sources=["13911112222"]), BY)
    assert run(desk) == Promoted(targets=1, put=1, ended=1)
    assert desk.live() == {(ONE, "bravo")}
    assert "13911112222" not in str(desk.acts()[-1])


def test_a_company_that_left_the_registry_takes_no_blocks(desk):
    desk.block_source("10658888")
    desk.take_in(registry())
    assert run(desk) == Promoted()
    assert desk.live() == {(ONE, "source:10658888")}


def test_a_block_put_in_the_moment_of_a_merger_is_the_survivor_s(desk):
    desk.do(merge, "bravo", "charlie", BY)
    desk.do(merge, "charlie", "acme", BY)
    desk.block("bravo")  # decided before, committed after
    desk.block_source("10658888", OTHER)
    assert run(desk) == Promoted(targets=2, put=2, ended=2)
    assert desk.live() == {(ONE, "acme"), (OTHER, "acme")}


def test_one_run_may_take_many_transactions(desk, monkeypatch):
    monkeypatch.setattr(promotion, "AT_ONCE", 2)
    for n in range(5):
        desk.block_source(f"106400{n}")
    desk.do(add, "delta", own(sources=["1064"]), BY)
    assert run(desk) == Promoted(targets=5, put=1, ended=5)
    assert desk.live() == {(ONE, "delta")}
    acts = [act for act in desk.acts() if act.action == "blocks promoted"]
    assert [len(act.detail["targets"]) for act in acts] == [2, 2, 1]


def test_what_was_done_meanwhile_is_not_done_again(desk):
    desk.block_source("1064000")
    desk.do(add, "delta", own(sources=["1064"]), BY)
    found = [Promotion("source:1064000", "delta", "company known")]
    assert desk.do(promotion.promote, found).targets == 1
    before = len(desk.acts())
    assert desk.do(promotion.promote, found) == Promoted()
    assert len(desk.acts()) == before
