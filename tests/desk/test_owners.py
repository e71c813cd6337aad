"""Whose a source is and was: over imports, validities and mergers, 72 hours back."""

from zoneinfo import ZoneInfo

import pytest

from smsfilter.desk.company import extend, merge
from smsfilter.desk.owners import WINDOW, Owned, Owners, registry_seq
from smsfilter.rules.registry import Company
from tests.fakes.registrar import BY, HOUR, START, Registrar, registry
from tests.fakes.registry import REGISTRY

FILE = registry(**REGISTRY)
ZONE = ZoneInfo("Asia/Shanghai")


@pytest.fixture
def desk(records):
    with Registrar(records) as desk:
        yield desk


def owners(desk: Registrar) -> Owners:
    return desk.look(Owners.load, ZONE, "86", desk.now)


def of(desk: Registrar, written: str) -> tuple[str, ...]:
    return owners(desk).of(written, desk.now).companies


WHOSE = {
    "10657555": (("acme",), "10657555"),
    "1065755501": (("acme",), "10657555"),
    "+86 106-5755-501": (("acme",), "10657555"),
    "10658888": (("bravo",), "10658888"),
    "acme": (("acme",), "ACME"),
    "Ａ ＣＭＥ": (("acme",), "ACME"),
    "某公司": (("acme",), "某公司"),
    "1065": ((), None),
    "DELTA": ((), None),
    "13800138000": ((), None),
}


def test_who_owns_it_now(desk):
    desk.take_in(FILE)
    book = owners(desk)
    found = {written: book.of(written, desk.now) for written in WHOSE}
    assert {written: (one.companies, one.matched) for written, one in found.items()} == WHOSE
    assert not any(one.look_alike for one in found.values())


def test_whom_it_imitates(desk):
    desk.take_in(FILE)
    found = owners(desk).of("АСМЕ", desk.now)  # Cyrillic
    assert (found.companies, found.matched, found.look_alike) == (("acme",), "ACME", True)
    assert found.source == "асме"
    found = owners(desk).of("１0657555", desk.now)
    assert (found.companies, found.look_alike) == (("acme",), True)


def test_one_company_s_name_is_its_own_whatever_it_looks_like(desk):
    desk.take_in(registry(companies={"a": {"headers": ["ACME"]}, "b": {"headers": ["A-CME"]}}))
    assert owners(desk).of("acme", desk.now) == Owned("acme", ("a",), "ACME", False)
    found = owners(desk).of("A.CME", desk.now)
    assert (sorted(found.companies), found.look_alike) == (["a", "b"], True)


def test_a_signature_is_told_apart(desk):
    desk.take_in(FILE)
    found = owners(desk).signed("【某公司】", desk.now)
    assert (found.companies, found.source, found.look_alike) == (("acme",), "某公司", False)
    assert owners(desk).signed("ACME", desk.now).companies == ()


def moved() -> list:
    """A prefix that goes from one company to another."""
    return [
        registry(companies={"old": {"sources": ["1065"], "headers": ["X"]}, "new": {}}),
        registry(companies={"old": {}, "new": {"sources": ["1065"], "headers": ["X"]}}),
    ]


def test_what_has_moved_is_of_both_for_72_hours(desk):
    before, after = moved()
    desk.take_in(before)
    desk.now += HOUR
    desk.take_in(after)
    for hours, companies in ((0, ("old", "new")), (71, ("old", "new")), (1, ("new",))):
        desk.now += hours * HOUR
        assert of(desk, "10651") == of(desk, "x") == companies


def test_one_book_serves_while_nothing_changes(desk):
    before, after = moved()
    desk.take_in(before)
    desk.now += 1
    desk.take_in(after)
    book = owners(desk)
    assert book.of("1065", START + WINDOW).companies == ("old", "new")
    assert book.of("1065", START + WINDOW + 1).companies == ("new",)
    assert book.seq == desk.look(registry_seq) == 2
    desk.block("new")
    assert desk.look(registry_seq) == 2
    desk.do(extend, "new", Company.model_validate({"headers": ["Y"]}), BY)
    assert desk.look(registry_seq) == 4


def test_a_longer_prefix_takes_it_over(desk):
    desk.take_in(registry(companies={"a": {"sources": ["1065"]}}))
    desk.now += 100 * HOUR
    assert of(desk, "106577") == ("a",)
    both = {"a": {"sources": ["1065"]}, "b": {"sources": ["10657"]}}
    desk.take_in(registry(companies=both))
    assert of(desk, "106577") == ("a", "b")
    assert of(desk, "10655") == ("a",)
    desk.now += 73 * HOUR
    assert of(desk, "106577") == ("b",)


def test_a_validity_of_the_registry_counts_in_the_policy_s_time(desk):
    desk.now = START + 16 * HOUR  # midnight of 2026-01-02 in Shanghai
    desk.take_in(
        registry(
            companies={
                "a": {"sources": [{"prefix": "1065", "valid_to": "2026-01-05"}]},
                "b": {"sources": [{"prefix": "1065", "valid_from": "2026-01-06"}]},
            }
        )
    )
    turn = START + (16 + 4 * 24) * HOUR
    for at, companies in ((turn - 1, ("a",)), (turn, ("a", "b")), (turn + WINDOW, ("b",))):
        desk.now = at
        assert of(desk, "1065") == companies


def test_what_nobody_owned_before_is_of_the_one_who_came(desk):
    desk.take_in(registry())
    desk.now += HOUR
    desk.take_in(FILE)
    assert of(desk, "10657555") == ("acme",)


def test_what_has_left_the_registry_was_somebody_s(desk):
    desk.take_in(FILE)
    desk.now += HOUR
    desk.take_in(registry())
    assert of(desk, "10657555") == ("acme",)
    desk.now += 73 * HOUR
    assert of(desk, "10657555") == ()


def test_a_merged_company_is_called_by_the_one_that_goes_on(desk):
    desk.take_in(FILE)
    desk.do(merge, "bravo", "charlie", BY)
    desk.do(merge, "charlie", "acme", BY)
    assert of(desk, "10658888") == ("acme",)
    assert of(desk, "BRAVO") == ("acme",)
    assert owners(desk).survivor("bravo") == "acme"


@pytest.mark.parametrize(
    ("written", "is_person"),
    [
        ("13800138000", True),
        ("+86 138-0013-8000", True),
        ("+85291234567", True),
        ("10657555011", False),
        ("95588", False),
        ("ACME", False),
        ("", False),
    ],
)
def test_a_person_s_number(written, is_person):
    assert Owners([], {}, tz=ZONE, country_code="86", seq=0).is_subscriber(written) is is_person
