"""The registry in the records: what a file says is in force, and nothing is ever deleted."""

import pytest

from smsfilter.desk import companies
from smsfilter.desk.companies import CompanyError
from smsfilter.desk.company import merge
from smsfilter.store.schema import company, company_source, reseller_grant
from tests.fakes.registrar import BY, HOUR, START, Registrar, registry
from tests.fakes.registry import REGISTRY

FILE = registry(**REGISTRY)


@pytest.fixture
def desk(records):
    with Registrar(records) as desk:
        yield desk


def without(*gone: str):
    content = FILE.model_dump(exclude={"companies": set(gone)})
    for reseller in content["resellers"].values():
        reseller["may_send_for"] = [k for k in reseller["may_send_for"] if k not in gone]
    return registry(**content)


def test_what_was_taken_in_is_given_out(desk):
    changes = desk.take_in(FILE)
    assert desk.load() == FILE
    assert changes.companies_added == ("acme", "bravo", "charlie")
    assert (changes.added, changes.ended, changes.unchanged) == (14, 0, 0)
    (act,) = desk.acts()
    assert (act.action, act.actor, act.seq) == ("registry imported", "local:wang", 1)
    assert act.detail["digest"] == changes.digest
    assert ["header", "added", "acme", "某公司"] in act.detail["changes"]
    for table in (company, company_source, reseller_grant):
        assert {row.changed_seq for row in desk.rows(table)} == {1}


def test_the_same_once_more_changes_nothing(desk):
    desk.take_in(FILE)
    before = [desk.rows(table) for table in (company, company_source, reseller_grant)]
    desk.now += HOUR
    changes = desk.take_in(desk.load())
    assert (changes.added, changes.ended, changes.unchanged) == (0, 0, 14)
    assert changes.entered is None
    assert [desk.rows(table) for table in (company, company_source, reseller_grant)] == before
    assert len(desk.acts()) == 1


def test_what_is_missing_has_ended_and_is_kept(desk):
    desk.take_in(FILE)
    desk.now += HOUR
    changes = desk.take_in(without("bravo"))
    assert changes.companies_ended == ("bravo",)
    assert desk.load() == without("bravo")
    rows = [row for row in desk.rows(company_source) if row.company == "bravo"]
    assert {(row.since, row.ended_at, row.changed_seq) for row in rows} == {
        (START, START + HOUR, 2)
    }
    assert len(rows) == 3
    assert {row.id: row.state for row in desk.rows(company)}["bravo"] == "ended"


def test_it_may_come_back(desk):
    desk.take_in(FILE)
    desk.take_in(without("bravo"))
    changes = desk.take_in(FILE)
    assert changes.companies_added == ("bravo",)
    assert desk.load() == FILE
    assert desk.count(company) == 3
    assert desk.count(company_source) == 12 + 3


def test_a_company_that_somebody_has_blocked_stays_and_owns_nothing(desk):
    desk.take_in(FILE)
    blocked = desk.block("bravo")
    changes = desk.take_in(without("bravo"))
    assert (changes.companies_ended, changes.companies_kept) == ((), ("bravo",))
    content = desk.load()
    assert (
        content.companies["bravo"]
        == registry(companies={"bravo": {"name": "Bravo Retail"}}).companies["bravo"]
    )
    assert desk.take_in(content).entered is None
    desk.unblock(blocked)
    assert desk.take_in(without("bravo")).companies_ended == ("bravo",)
    assert desk.load() == without("bravo")


def test_the_order_of_a_list_is_kept(desk):
    def sources(*prefixes: str):
        return registry(companies={"acme": {"sources": list(prefixes)}})

    for prefixes in ("1 2 3", "3 1 2", "3 9 1 2", "2", "8 2 7 2 2", "2 2"):
        file = sources(*prefixes.split())
        desk.take_in(file)
        assert desk.load() == file
        assert desk.take_in(file).entered is None


def test_to_remove_one_item_changes_one_row(desk):
    desk.take_in(registry(companies={"acme": {"sources": ["1", "2", "3"]}}))
    changes = desk.take_in(registry(companies={"acme": {"sources": ["2", "3"]}}))
    assert (changes.ended, changes.unchanged) == (1, 2)
    assert [row.changed_seq for row in desk.rows(company_source)] == [2, 1, 1]


def test_a_new_spelling_or_validity_is_a_row_of_its_own(desk):
    desk.take_in(registry(companies={"acme": {"sources": ["10657555"], "headers": ["ACME"]}}))
    dated = {"prefix": "10657555", "valid_to": "2026-06-30T08:00"}
    file = registry(companies={"acme": {"sources": [dated], "headers": ["Acme"]}})
    assert desk.take_in(file).added == 2
    assert desk.load() == file
    assert [row.norm for row in desk.rows(company_source)] == [
        *("10657555", "acme"),
        *("10657555", "acme"),
    ]


def test_a_reseller_that_may_send_for_nobody_is_no_unknown_account(desk):
    file = registry(resellers={"resell7": {"may_send_for": []}})
    desk.take_in(file)
    assert desk.load() == file
    assert desk.take_in(file).entered is None
    desk.take_in(registry())
    assert desk.load() == registry()


def test_a_name_as_long_as_it_likes(desk):
    file = registry(companies={"acme": {"headers": ["ﷺ" * 500], "name": "某" * 5_000}})
    desk.take_in(file)
    assert desk.load() == file


def test_a_merged_company_does_not_come_back(desk):
    desk.take_in(FILE)
    desk.do(merge, "bravo", "acme", BY)
    with pytest.raises(CompanyError, match="bravo was merged into acme: write what is its own"):
        desk.take_in(FILE)
    assert len(desk.acts()) == 2


def test_the_row_of_a_large_import_has_the_counts_and_the_first_names(desk):
    many = registry(
        companies={
            f"c{n:04}": {"accounts": [f"a{n}"], "sources": [f"106{n:05}"], "headers": [f"HEAD {n}"]}
            for n in range(700)
        }
    )
    changes = desk.take_in(many)
    (act,) = desk.acts()
    assert changes.added == act.detail["added"] == 2_100
    assert len(act.detail["changes"]) == 2 * companies.LISTED_MOST
    assert desk.load() == many


@pytest.mark.parametrize(
    "size", [2_000, pytest.param(50_000, marks=pytest.mark.slow, id="50000-slow")]
)
def test_many_sources(desk, size):
    def content(*, without: int):
        return registry(
            companies={
                f"c{n}": {"sources": [f"106{n:04}{k:03}" for k in range(100) if k != without]}
                for n in range(size // 100)
            }
        )

    desk.take_in(content(without=-1))
    few = content(without=50)
    changes = desk.take_in(few)
    assert (changes.ended, changes.unchanged) == (size // 100, size - size // 100)
    assert desk.load() == few
    assert {row.changed_seq for row in desk.rows(company_source)} == {1, 2}
