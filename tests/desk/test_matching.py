"""Whom a report names: every row of the rule, with what the reporter got before it."""

from datetime import UTC
from types import SimpleNamespace

import pytest

from smsfilter.desk.matching import SOURCES_MOST, Forward, Kind, Reported, decide
from smsfilter.desk.owners import Owners
from tests.fakes.registrar import HOUR, START

NOW = START + 100 * HOUR


def row(company: str, kind: str, raw: str, since: int = -1000, ended: int | None = None):
    """A row of company_source; hours before now."""
    return SimpleNamespace(
        company=company,
        kind=kind,
        norm=raw,
        raw=raw,
        valid_from=None,
        valid_to=None,
        since=NOW + since * HOUR,
        ended_at=None if ended is None else NOW + ended * HOUR,
    )


OWNERS = Owners(
    [
        row("acme", "prefix", "10657555"),
        row("acme", "header", "ACME"),
        row("acme", "signature", "某公司"),
        row("bravo", "prefix", "10658888"),
        row("bravo", "signature", "乙公司"),
        row("charlie", "signature", "乙公司"),
        row("acme", "prefix", "10651", ended=-10),
        row("bravo", "prefix", "10651", since=-10),
        row("acme", "prefix", "10652", ended=-100),
        row("bravo", "prefix", "10652", since=-100),
        row("left", "prefix", "10653", ended=-5),
        row("gone", "prefix", "10654"),
        row("acme", "prefix", "13911112222"),
    ],
    {"gone": "acme"},
    tz=UTC,
    country_code="86",
    seq=1,
)


def got(source: str, company: str | None, hours_ago: int = 1) -> Forward:
    return Forward(company, source, NOW - hours_ago * HOUR)


CASES = {
    # by the registry, now and over the last 72 hours
    "its own source": ("10657555", [], "company", "acme"),
    "a sub-code of it": ("1065755501", [], "company", "acme"),
    "its header": ("acme", [], "company", "acme"),
    "moved longer ago": ("10652", [], "company", "bravo"),
    "left the registry since": ("10653", [], "company", "left"),
    "of a company merged since": ("10654", [], "company", "acme"),
    "another sent from it": ("10657555", [got("10657555", "bravo")], "company", "acme"),
    "a handset that is registered": ("13911112222", [], "company", "acme"),
    # two by the registry
    "moved within 72 hours": ("10651", [], "several", None),
    "moved, and one of them sent": ("10651", [got("10651", "acme")], "several", None),
    # nobody by the registry: what reached the reporter
    "one sent from it": ("1069", [got("1069", "acme")], "company", "acme"),
    "one sent twice": ("1069", [got("1069", "acme"), got("1069", "acme", 9)], "company", "acme"),
    "one sent from beyond it": ("1069", [got("10690001", "acme")], "company", "acme"),
    "two sent from beyond it": (
        "1069",
        [got("10690001", "acme"), got("10690002", "bravo")],
        "several",
        None,
    ),
    "one from it, another from beyond": (
        "1069",
        [got("1069", "acme"), got("10690002", "bravo")],
        "company",
        "acme",
    ),
    "two through a reseller": (
        "1069",
        [got("1069", "acme"), got("1069", "bravo")],
        "several",
        None,
    ),
    "one that was merged since": (
        "1069",
        [got("1069", "acme"), got("1069", "gone")],
        "company",
        "acme",
    ),
    "sent before the 72 hours": ("1069", [got("1069", "acme", 73)], "referred", None),
    "only from elsewhere": ("1069", [got("10657555", "acme")], "referred", None),
    "sent by nobody known": ("1069", [got("1069", None)], "source", None),
    "a header that one sent from": ("DELTA", [got("delta", "acme")], "company", "acme"),
    "half of a header": ("DEL", [got("delta", "acme")], "referred", None),
    "a handset that one sent from": (
        "13800138000",
        [got("13800138000", "acme")],
        "company",
        "acme",
    ),
    # not through us
    "a handset": ("13800138000", [], "referred", None),
    "a handset abroad": ("+85291234567", [], "referred", None),
    "never on this path": ("1069", [], "referred", None),
    "records away": ("1069", None, "none", None),
    "its own source, records away": ("10657555", None, "company", "acme"),
    # look-alikes: who sent it, else whom it imitates
    "imitates one": ("АСМЕ", [], "company", "acme"),
    "imitates one, another sent it": ("АСМЕ", [got("асме", "bravo")], "company", "bravo"),
}


@pytest.mark.parametrize(("written", "forwards", "kind", "company"), CASES.values(), ids=CASES)
def test_whom_a_report_names(written, forwards, kind, company):
    match = decide(OWNERS, forwards, Reported(written, NOW), NOW)
    assert (match.kind, match.company) == (kind, company)
    assert bool(match.blocked_sources) is (kind in ("source", "several"))


@pytest.mark.parametrize(
    ("written", "forwards", "kind", "company"),
    [
        ("10657555", [], "company", "acme"),
        ("1069", [got("1069001", "acme")], "company", "acme"),
        ("1069", [got("1069001", "acme"), got("1069002", "bravo")], "several", None),
        ("1069", [], "none", None),
        ("1069", None, "none", None),
        ("13800138000", [], "referred", None),
        ("13800138000", None, "none", None),
    ],
)
def test_a_number_only(written, forwards, kind, company):
    match = decide(OWNERS, forwards, Reported(written, NOW, number_only=True), NOW)
    assert (match.kind, match.company) == (kind, company)


@pytest.mark.parametrize(
    ("written", "forwards", "kind", "company"),
    [
        ("某公司", [got("1069", "acme")], "company", "acme"),
        ("【某公司】", [got("1069", "gone")], "company", "acme"),
        ("某公司", [got("1069", "bravo")], "none", None),
        ("某公司", [], "none", None),
        ("某公司", None, "none", None),
        ("乙公司", [got("1069", "bravo")], "company", "bravo"),
        ("乙公司", [got("1069", "bravo"), got("1068", "charlie")], "none", None),
        ("丙公司", [got("1069", "acme")], "none", None),
    ],
)
def test_a_signature_needs_a_message_of_that_company(written, forwards, kind, company):
    match = decide(OWNERS, forwards, Reported(written, NOW, by="signature"), NOW)
    assert (match.kind, match.company, match.blocked_sources) == (kind, company, ())


def test_what_is_tried_again_looks_back_from_the_report():
    reported = Reported("10651", NOW - 10 * HOUR, number_only=True)
    late = NOW + 65 * HOUR  # the move is 75 hours ago, the report is not
    assert decide(OWNERS, [], reported, late).kind is Kind.SEVERAL
    assert decide(OWNERS, [], Reported("10651", late), late).company == "bravo"


def test_what_came_from_beyond_is_blocked_in_full():
    forwards = [got("1069002", "bravo"), got("1069001", "acme"), got("1069002", "bravo", 2)]
    match = decide(OWNERS, forwards, Reported("+86 1069", NOW), NOW)
    assert match.source == "1069"
    assert match.blocked_sources == ("1069", "1069002", "1069001")
    assert match.evidence == {
        "by": "forwards",
        "companies": ["bravo", "acme"],
        "forwards": 3,
        "last_forward_at": NOW - HOUR,
    }
    many = [got(f"1069{n:03}", None) for n in range(50)]
    assert len(decide(OWNERS, many, Reported("1069", NOW), NOW).blocked_sources) == SOURCES_MOST


@pytest.mark.parametrize("written", ["13911112222", "13800138000", "+86 138 0013 8000"])
@pytest.mark.parametrize("forwards", [[], [got("13800138000", "acme")]])
def test_no_number_is_in_the_evidence(written, forwards):
    match = decide(OWNERS, forwards, Reported(written, NOW), NOW)
    assert match.is_subscriber
    assert "13800138000" not in str(match.evidence)
    assert "13911112222" not in str(match.evidence)
