"""One company: added, extended, merged, looked at; who owns what is checked as in a file."""

import pytest

from smsfilter.desk import company as acts
from smsfilter.desk.companies import CompanyError
from smsfilter.rules.registry import Company
from smsfilter.store.schema import block, company, company_source
from tests.fakes.registrar import BY, HOUR, Registrar, registry
from tests.fakes.registry import REGISTRY

FILE = registry(**REGISTRY)
HANDSETS = ("8613800138000", "8613800138001", "8613800138002")


@pytest.fixture
def desk(records):
    with Registrar(records) as desk:
        desk.take_in(FILE)
        yield desk


def company_with(**own):
    return Company.model_validate(own)


def test_a_company_is_added(desk):
    own = company_with(name="Delta", accounts=["delta"], sources=["1065999"], headers=["DELTA"])
    entered = desk.do(acts.add, "delta", own, BY)
    assert desk.load().companies["delta"] == own
    act = desk.acts()[-1]
    assert (act.action, act.object, act.seq) == ("company added", "delta", entered.seq)
    assert act.detail["items"] == [["account", "delta"], ["prefix", "1065999"], ["header", "DELTA"]]
    assert {row.changed_seq for row in desk.rows(company_source) if row.company == "delta"} == {2}


TAKEN = (
    ("acme", {}, "acme is a company already"),
    ("no id", {}, "not a company id"),
    ("delta", {"accounts": ["bravo"]}, "account bravo is owned by both bravo and delta"),
    ("delta", {"accounts": ["resell7"]}, "resell7 cannot be a reseller"),
    ("delta", {"sources": ["10657555"]}, "source 10657555 is owned by both acme and delta"),
    ("delta", {"headers": ["Ａｃｍｅ"]}, "header Ａｃｍｅ of delta is the same as ACME of acme"),
)


def test_what_others_own_is_not_added(desk):
    for key, own, problem in TAKEN:
        with pytest.raises(CompanyError, match=problem):
            desk.do(acts.add, key, company_with(**own), BY)
    assert desk.load() == FILE
    assert len(desk.acts()) == 1


def test_what_others_owned_at_another_time_may_be_added(desk):
    was = {"prefix": "1064", "valid_to": "2026-01-31"}
    now = {"prefix": "1064", "valid_from": "2026-02-01"}
    desk.do(acts.add, "delta", company_with(sources=[was]), BY)
    desk.do(acts.add, "echo", company_with(sources=[now]), BY)
    with pytest.raises(CompanyError, match="source 1064 is owned by both"):
        desk.do(acts.add, "foxtrot", company_with(sources=["1064"]), BY)


def test_a_company_that_had_left_is_added_again(desk):
    desk.take_in(registry())
    own = company_with(name="Acme", accounts=["acme"])
    desk.do(acts.add, "acme", own, BY)
    assert desk.load() == registry(companies={"acme": own})


def test_a_company_is_given_more(desk):
    more = company_with(sources=["10657555", "1065700"], headers=["ACME 2"])
    desk.do(acts.extend, "acme", more, BY)
    own = desk.load().companies["acme"]
    assert own.name == "Acme Trading"
    assert [source.prefix for source in own.sources] == ["10657555", "106905551", "1065700"]
    assert own.headers == ("ACME", "某公司", "ACME 2")
    assert desk.acts()[-1].detail == {
        "added": 2,
        "items": [["prefix", "1065700"], ["header", "ACME 2"]],
    }
    assert desk.do(acts.extend, "acme", more, BY) is None
    desk.do(acts.extend, "acme", company_with(name="Acme Ltd"), BY)
    assert desk.load().companies["acme"].name == "Acme Ltd"


def test_only_a_company_of_the_registry_is_given_more(desk):
    content = desk.load()
    del content.companies["charlie"]
    desk.take_in(content)
    problems = {"delta": "there is no company delta", "charlie": "charlie has left the registry"}
    for key, problem in problems.items():
        with pytest.raises(CompanyError, match=problem):
            desk.do(acts.extend, key, company_with(headers=["X"]), BY)


def test_a_merger_moves_all_that_a_company_has(desk):
    desk.now += HOUR
    merged = desk.do(acts.merge, "bravo", "charlie", BY)
    assert (merged.items, merged.grants, merged.blocks) == (3, 1, 0)
    content = desk.load()
    assert "bravo" not in content.companies
    own = content.companies["charlie"]
    assert own.accounts == ("charlie", "bravo")
    assert [source.prefix for source in own.sources] == ["10659999", "10658888"]
    assert own.headers == ("BRAVO",)
    assert content.resellers["resell7"].may_send_for == ("acme", "charlie")
    rows = {row.id: row for row in desk.rows(company)}
    assert (rows["bravo"].state, rows["bravo"].merged_into) == ("merged", "charlie")
    assert {rows["bravo"].changed_seq, rows["charlie"].changed_seq} == {merged.entered.seq}
    past = [row for row in desk.rows(company_source) if row.company == "bravo"]
    assert {row.ended_at for row in past} == {desk.now}
    assert desk.take_in(content).entered is None


def test_what_both_had_is_there_once(desk):
    desk.do(acts.extend, "bravo", company_with(signatures=["某公司", "丙"]), BY)
    desk.do(acts.merge, "bravo", "acme", BY)
    content = desk.load()
    assert content.companies["acme"].signatures == ("某公司", "丙")
    assert content.resellers["resell7"].may_send_for == ("acme",)


def test_whoever_blocked_the_one_has_the_other_blocked(desk):
    one, both, other = HANDSETS
    desk.block("bravo", one)
    desk.block("bravo", both)
    desk.block("acme", both)
    desk.block("acme", other)
    old = desk.block("bravo", other)
    desk.unblock(old)
    desk.block("charlie", one)
    merged = desk.do(acts.merge, "bravo", "acme", BY)
    assert merged.blocks == 2
    assert desk.live() == {(number, "acme") for number in HANDSETS} | {(one, "charlie")}
    ended = [row for row in desk.rows(block) if row.end_reason == "merged"]
    assert {(row.target, row.ended_by) for row in ended} == {("bravo", "local:wang")}
    assert {row.changed_seq for row in ended} == {merged.entered.seq}
    (new,) = [row for row in desk.rows(block) if row.changed_seq == merged.entered.seq][-1:]
    assert (new.target, new.reason, new.in_force_at) == ("acme", "report", None)
    assert desk.acts()[-1].detail == {
        "into": "acme",
        "items": 3,
        "grants": 1,
        "blocks": 2,
        "blocks_new": 1,
    }


IMPOSSIBLE = (
    ("acme", "acme", "into itself"),
    ("nobody", "acme", "there is no company nobody"),
    ("acme", "nobody", "there is no company nobody"),
    ("bravo", "acme", "bravo was merged into charlie: use charlie"),
    ("acme", "bravo", "bravo was merged into charlie: use charlie"),
)


def test_mergers_that_cannot_be(desk):
    desk.do(acts.merge, "bravo", "charlie", BY)
    for one, other, problem in IMPOSSIBLE:
        with pytest.raises(CompanyError, match=problem):
            desk.do(acts.merge, one, other, BY)
    assert len(desk.acts()) == 2


def test_the_survivor_of_several_mergers(desk):
    desk.do(acts.merge, "bravo", "charlie", BY)
    desk.do(acts.merge, "charlie", "acme", BY)
    for key in ("acme", "bravo", "charlie"):
        assert desk.look(acts.survivor, key) == "acme"
    assert desk.look(acts.survivor, "nobody") == "nobody"


def test_a_list_in_pages(desk):
    desk.block("bravo", HANDSETS[0])
    desk.block("bravo", HANDSETS[1])
    desk.unblock(desk.block("acme"))
    first = desk.look(acts.list_, limit=2)
    assert [(one.id, one.blocks) for one in first] == [("acme", 0), ("bravo", 2)]
    assert [one.id for one in desk.look(acts.list_, "bravo", limit=2)] == ["charlie"]
    desk.do(acts.merge, "bravo", "acme", BY)
    (gone,) = desk.look(acts.list_, state="merged")
    assert (gone.id, gone.merged_into, gone.blocks) == ("bravo", "acme", 0)


def test_one_is_shown_with_its_past(desk):
    assert desk.look(acts.show, "nobody") is None
    desk.block("bravo")
    desk.do(acts.merge, "bravo", "acme", BY)
    gone, acme = (desk.look(acts.show, key) for key in ("bravo", "acme"))
    assert (gone.listed.state, gone.own, gone.resellers) == (
        "merged",
        company_with(name="Bravo Retail"),
        (),
    )
    assert {row.raw for row in gone.past} == {"bravo", "10658888", "BRAVO"}
    assert (acme.listed.blocks, acme.merged, acme.resellers) == (1, ("bravo",), ("resell7",))
    assert acme.own == desk.load().companies["acme"]
