"""Who the company is: accounts, resellers, prefixes in time, headers; and who is accused."""

import json
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from smsfilter.rules.senders import Holding, Registry, RegistryFile, Sender
from smsfilter.rules.verdict import Reason

SHANGHAI = ZoneInfo("Asia/Shanghai")
FILE: dict[str, Any] = {
    "companies": {
        "acme": {
            "name": "Acme Trading",
            "accounts": ["acme", "acme2"],
            "sources": [
                "10657555",
                {"prefix": "106905551", "valid_from": "2026-01-01", "valid_to": "2026-06-30"},
            ],
            "headers": ["ACME", "某公司"],
            "signatures": ["某公司"],
        },
        "bravo": {
            "accounts": ["bravo"],
            "sources": ["1065755501", {"prefix": "106905551", "valid_from": "2026-07-01"}],
            "headers": ["Bravo Bank", "Café"],
        },
        "carol": {"accounts": ["carol"], "sources": ["+86 95588"]},
    },
    "resellers": {"resell7": {"may_send_for": ["acme", "carol"]}},
}
REGISTRY = Registry(RegistryFile.model_validate(FILE), SHANGHAI)


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=SHANGHAI).timestamp()


SPRING = at("2026-03-01")


def resolve(
    account: str,
    source: bytes | str,
    when: float = SPRING,
    unknown: Any = "refuse",
    code: str = "86",
) -> Sender:
    octets = source if isinstance(source, bytes) else source.encode()
    return REGISTRY.resolve(account, octets, when, unknown, code)


def test_an_own_account_sends_from_its_own_source() -> None:
    assert resolve("acme", "10657555") == Sender(
        company="acme",
        refusal=None,
        source="10657555",
        matched="10657555",
        accused=("acme", "source:10657555", "*"),
        valid_until=at("2026-07-01"),
        look_alike=False,
    )


@pytest.mark.parametrize("account", ["acme", "acme2", "resell7"])
@pytest.mark.parametrize(
    ("source", "normalised", "matched"),
    [
        ("10657555", "10657555", "10657555"),
        ("106575550042", "106575550042", "10657555"),  # a sub-code
        ("+8610657555", "10657555", "10657555"),
        ("8610657555", "10657555", "10657555"),
        ("008610657555", "10657555", "10657555"),
        ("1065-7555 (9)", "106575559", "10657555"),
        ("1069055512", "1069055512", "106905551"),
        ("ACME", "acme", "ACME"),
        ("acme", "acme", "ACME"),
        ("A CME", "acme", "ACME"),
        ("ＡＣＭＥ", "acme", "ACME"),
        ("AC\u200bME", "acme", "ACME"),
        ("某公司", "某公司", "某公司"),
        ("某公司".encode("gbk"), "某公司", "某公司"),
        ("某 公司".encode("gbk"), "某公司", "某公司"),
    ],
)
def test_every_spelling_of_an_own_source_passes(
    account: str, source: bytes | str, normalised: str, matched: str
) -> None:
    found = resolve(account, source)
    assert (found.company, found.refusal, found.look_alike) == ("acme", None, False)
    assert (found.source, found.matched) == (normalised, matched)
    assert found.accused == ("acme", f"source:{normalised}", "*")


@pytest.mark.parametrize(
    ("source", "accused"),
    [
        ("", ("acme", "source:", "*")),
        ("   ", ("acme", "source:", "*")),
        ("10086", ("acme", "source:10086", "*")),  # nobody's
        ("1065755", ("acme", "source:1065755", "*")),  # shorter than the prefix
        ("1065755501", ("acme", "bravo", "source:1065755501", "*")),  # longer, another's
        ("8610657555017", ("acme", "bravo", "source:10657555017", "*")),
        ("Bravo Bank", ("acme", "bravo", "source:bravobank", "*")),
        ("ACMEX", ("acme", "source:acmex", "*")),
        ("ACME\x01", ("acme", "source:0x41434d4501", "*")),
        (b"\xff\xfe", ("acme", "source:0xfffe", "*")),
        ("00010657555", ("acme", "source:00010657555", "*")),
    ],
)
def test_an_own_account_is_held_to_its_own_sources(source: bytes | str, accused: Any) -> None:
    found = resolve("acme", source)
    assert (found.company, found.refusal) == ("acme", Reason.SOURCE_MISMATCHED)
    assert found.accused == accused


def test_the_longest_prefix_of_the_whole_registry_owns_a_source() -> None:
    assert resolve("bravo", "10657555019").refusal is None
    assert resolve("bravo", "10657555019").accused == ("bravo", "source:10657555019", "*")
    assert resolve("acme", "10657555019").refusal is Reason.SOURCE_MISMATCHED
    assert resolve("acme", "10657555029").refusal is None


def test_a_reseller_sends_for_whom_it_may() -> None:
    assert resolve("resell7", "95588").company == "carol"
    assert resolve("resell7", "+8695588").accused == ("carol", "source:95588", "*")
    found = resolve("resell7", "1065755501")
    assert (found.company, found.refusal) == ("bravo", Reason.SOURCE_MISMATCHED)
    assert found.accused == ("bravo", "source:1065755501", "*")


@pytest.mark.parametrize("source", ["", "10086", "NOBODY", "13800138000", b"\xff", "106575"])
def test_a_reseller_needs_a_source_that_somebody_owns(source: bytes | str) -> None:
    found = resolve("resell7", source)
    assert (found.company, found.refusal) == (None, Reason.UNKNOWN_SENDER)
    assert found.accused == (f"source:{found.source}", "*")


@pytest.mark.parametrize("account", ["ACME", "acme ", "acme3", "", "source:x", "*", "\xe9"])
def test_an_unknown_account_is_refused_and_its_source_still_accuses(account: str) -> None:
    found = resolve(account, "10657555")
    assert (found.company, found.refusal) == (None, Reason.UNKNOWN_SENDER)
    assert found.accused == ("acme", "source:10657555", "*")
    assert resolve(account, "").accused == ("source:", "*")


def test_an_unknown_account_may_be_its_own_company() -> None:
    found = resolve("new1", "10699999", unknown="account")
    assert (found.company, found.refusal, found.matched) == ("new1", None, None)
    assert found.accused == ("new1", "source:10699999", "*")
    assert resolve("new1", "", unknown="account").refusal is None
    assert resolve("new1", "Some Name", unknown="account").refusal is None


@pytest.mark.parametrize(
    "source", ["10657555", "+8610657555123", "ACME", "АСМЕ", "１０６５７５５５"]
)
def test_but_not_with_the_source_of_a_company(source: str) -> None:
    found = resolve("new1", source, unknown="account")
    assert (found.company, found.refusal) == ("new1", Reason.SOURCE_MISMATCHED)
    assert found.accused == ("new1", "acme", f"source:{found.source}", "*")


@pytest.mark.parametrize("account", ["a" * 65, "source:acme", "*", "", "a b", "\xe9"])
def test_nor_under_a_name_that_can_be_no_company(account: str) -> None:
    found = resolve(account, "10699999", unknown="account")
    assert (found.company, found.refusal) == (None, Reason.UNKNOWN_SENDER)
    assert found.accused == ("source:10699999", "*")


def test_nor_under_the_name_of_a_company_whose_account_it_is_not() -> None:
    file = RegistryFile.model_validate({"companies": {"zed": {"accounts": ["z1"]}}})
    found = Registry(file, UTC).resolve("zed", b"123", 0.0, "account", "86")
    assert (found.company, found.refusal) == (None, Reason.UNKNOWN_SENDER)


@pytest.mark.parametrize("account", ["acme", "bravo", "resell7", "new1"])
@pytest.mark.parametrize(
    "source",
    [
        *("АСМЕ", "ΑCΜΕ", "Acmé", "A.C.M.E", "AC-ME", "\u202eACME", "ＡСＭＥ", b"\xc1CME"),
        *("１０６５７５５５", "1065\u00a07555", "1065_7555", "1065\x017555", "＋８６10657555"),
    ],
)
def test_a_look_alike_accuses_whom_it_imitates_and_is_refused(
    account: str, source: bytes | str
) -> None:
    found = resolve(account, source)
    assert found.look_alike
    expected = Reason.UNKNOWN_SENDER if account == "new1" else Reason.SOURCE_MISMATCHED
    assert found.refusal is expected
    assert "acme" in found.accused
    assert found.matched in ("ACME", "10657555")


@pytest.mark.parametrize("source", ["ACNE", "ACME2", "4CME", "A1", "某公", "某公司2", "АБВГ"])
def test_a_name_of_its_own_is_no_look_alike(source: str) -> None:
    found = resolve("new1", source, unknown="account")
    assert (found.company, found.refusal, found.look_alike) == ("new1", None, False)
    assert found.accused == ("new1", f"source:{found.source}", "*")


def test_a_registered_header_is_never_a_look_alike_of_another() -> None:
    file = {"companies": {"latin": {"headers": ["MTC"]}, "cyrillic": {"headers": ["МТС"]}}}
    resellers = {"r": {"may_send_for": ["latin", "cyrillic"]}}
    registry = Registry(RegistryFile.model_validate({**file, "resellers": resellers}), UTC)

    def accused(source: str) -> tuple[str, ...]:
        return registry.resolve("r", source.encode(), 0.0, "refuse", "7").accused[:-2]

    assert accused("MTC") == accused("mtc") == ("latin",)
    assert accused("МТС") == accused("мтс") == ("cyrillic",)
    assert accused("MТC") == ("latin", "cyrillic")  # neither: imitates both


def test_a_header_in_latin_1_is_the_same_header() -> None:
    found = resolve("bravo", b"Caf\xe9")
    assert (found.company, found.refusal, found.matched) == ("bravo", None, "Café")
    assert resolve("bravo", "CAFÉ").refusal is None
    assert resolve("bravo", "Cafe").look_alike


def test_headers_are_matched_whole() -> None:
    assert resolve("resell7", "ACME Trading").refusal is Reason.UNKNOWN_SENDER
    assert resolve("resell7", "ACM").refusal is Reason.UNKNOWN_SENDER


def test_a_prefix_changes_hands_at_midnight_of_the_timezone() -> None:
    before, after = at("2026-07-01") - 0.001, at("2026-07-01")
    assert resolve("acme", "106905551", before).refusal is None
    assert resolve("acme", "106905551", after).refusal is Reason.SOURCE_MISMATCHED
    assert resolve("bravo", "106905551", before).refusal is Reason.SOURCE_MISMATCHED
    assert resolve("bravo", "106905551", after).refusal is None
    assert resolve("resell7", "106905551", after).accused[0] == "bravo"
    assert resolve("resell7", "106905551", before).accused[0] == "acme"
    assert resolve("resell7", "106905551", at("2025-12-31")).refusal is Reason.UNKNOWN_SENDER


def test_valid_until_is_the_next_boundary() -> None:
    assert resolve("acme", "ACME", at("2025-01-01")).valid_until == at("2026-01-01")
    assert resolve("acme", "ACME", at("2026-01-01")).valid_until == at("2026-07-01")
    assert resolve("acme", "ACME", at("2026-07-01")).valid_until is None


def test_days_and_points_in_time() -> None:
    sources = [
        {"prefix": "1", "valid_to": "2026-01-31"},
        {"prefix": "2", "valid_to": "2026-01-31T12:00"},
        {"prefix": "3", "valid_from": "2026-01-31 12:00:00"},
        {"prefix": "4", "valid_from": "2026-01-31", "valid_to": "2026-01-31"},
        {"prefix": "5", "valid_to": "9999-12-31"},
    ]
    file = RegistryFile.model_validate(
        {"companies": {"a": {"accounts": ["a"], "sources": sources}}}
    )
    registry = Registry(file, SHANGHAI)

    def valid(when: str) -> str:
        found = (registry.resolve("a", p.encode(), at(when), "refuse", "86") for p in "12345")
        return "".join(one.source for one in found if one.refusal is None)

    assert valid("2026-01-30T23:59") == "125"
    assert valid("2026-01-31T00:00") == "1245"
    assert valid("2026-01-31T11:59:59.9") == "1245"
    assert valid("2026-01-31T12:00") == "1345"
    assert valid("2026-02-01T00:00") == "35"


def test_a_prefix_registered_with_the_country_code_matches_without_it() -> None:
    companies = {
        "a": {"accounts": ["a"], "sources": ["+8610657555"]},
        "b": {"accounts": ["b"], "sources": ["106575"]},
        "c": {"accounts": ["c"], "sources": ["8610"]},  # a short code of its own
    }
    registry = Registry(RegistryFile.model_validate({"companies": companies}), UTC)

    def owner(source: bytes) -> str | None:
        found = (registry.resolve(a, source, 0.0, "refuse", "86") for a in companies)
        return next((one.company for one in found if one.refusal is None), None)

    assert owner(b"10657555") == owner(b"8610657555") == owner(b"+86106575559") == "a"
    assert owner(b"10657599") == owner(b"8610657599") == "b"
    assert owner(b"8610") == owner(b"861012") == "c"
    assert owner(b"1099999") is None  # 86 in front of it would be c's, but nobody wrote one


def test_sources_of_another_country() -> None:
    companies = {"a": {"accounts": ["a"], "sources": ["1065", "12025550123"]}}
    registry = Registry(RegistryFile.model_validate({"companies": companies}), UTC)
    for source in (b"10657555", b"12025550123", b"2025550123", b"+12025550123", b"+1-202-555-0123"):
        assert registry.resolve("a", source, 0.0, "refuse", "1").refusal is None, source
    assert registry.resolve("a", b"3025550123", 0.0, "refuse", "1").refusal is not None


def test_who() -> None:
    def who(name: str, when: float = SPRING) -> list[Holding]:
        return REGISTRY.who(name, when, "86")

    header = Holding("header", "ACME", ("acme",))
    assert who("acme") == [
        Holding("company", "acme", ("acme",)),
        Holding("account", "acme", ("acme",)),
        header,
    ]
    assert who("ACME") == [header]
    assert who("resell7") == [Holding("reseller", "resell7", ("acme", "carol"))]
    assert who("+8610690555199") == [Holding("source", "106905551", ("acme",), at("2026-07-01"))]
    assert who("106905551", at("2027-01-01")) == [Holding("source", "106905551", ("bravo",))]
    assert who("АСМЕ") == [Holding("look-alike", "ACME", ("acme",))]
    assert who("nobody") == who("") == who("10086") == []


def test_a_registry_file_survives_its_own_json() -> None:
    file = RegistryFile.model_validate(FILE)
    written = file.model_dump_json(exclude_defaults=True)
    assert RegistryFile.model_validate_json(written) == file
    acme = json.loads(written)["companies"]["acme"]
    assert acme["sources"] == [
        "10657555",
        {"prefix": "106905551", "valid_from": "2026-01-01", "valid_to": "2026-06-30"},
    ]
    assert RegistryFile.model_validate(file.model_dump()) == file


def test_the_schema_allows_a_source_as_plain_digits() -> None:
    definitions = RegistryFile.model_json_schema()["$defs"]
    assert {"type": "string"} in definitions["Source"]["anyOf"]
    dated = next(one for one in definitions["Source"]["anyOf"] if one.get("type") == "object")
    assert set(dated["properties"]) == {"prefix", "valid_from", "valid_to"}
    assert dated["additionalProperties"] is False


def load(**companies: Any) -> RegistryFile:
    return RegistryFile.model_validate({"companies": companies})


@pytest.mark.parametrize(
    ("companies", "message"),
    [
        (
            {"a": {"accounts": ["x"]}, "b": {"accounts": ["x"]}},
            "account x is owned by both a and b",
        ),
        ({"a": {"sources": ["1065"]}, "b": {"sources": ["1065"]}}, "1065 is owned by both a and b"),
        (
            {
                "a": {"sources": [{"prefix": "1065", "valid_to": "2026-07-01"}]},
                "b": {"sources": [{"prefix": "+1065", "valid_from": "2026-07-01"}]},
            },
            "at the same time",
        ),
        ({"a": {"headers": ["ACME"]}, "b": {"headers": ["Ａcme "]}}, "is the same as ACME of a"),
        ({"a": {"headers": ["12306"]}}, "write it under `sources`"),
        ({"a": {"headers": ["１２３06"]}}, "write it under `sources`"),
        ({"a": {"headers": [""]}}, "not a header"),
        ({"a": {"headers": ["\u200b"]}}, "not a header"),
        ({"a": {"headers": ["A\nB"]}}, "no control characters"),
        ({"a": {"headers": ["A\u202eB"]}}, "no control characters"),
        ({"a": {"sources": ["ACME"]}}, "names belong under `headers`"),
        ({"a": {"sources": [""]}}, "not a source"),
        ({"a": {"sources": ["1" * 21]}}, "1 to 20 digits"),
        ({"a": {"sources": [{"prefix": "1", "valid_form": "2026-01-01"}]}}, "Extra inputs"),
        ({"a": {"sources": [{"prefix": "1", "valid_from": "soon"}]}}, "not a date"),
        ({"a": {"sources": [{"prefix": "1", "valid_from": "2026-02-30"}]}}, "not a date"),
        ({"a": {"sources": [{"prefix": "1", "valid_from": 20260101}]}}, "not a date"),
        (
            {"a": {"sources": [{"prefix": "1", "valid_to": "2026-01-01T00:00Z"}]}},
            "without an offset",
        ),
        (
            {
                "a": {
                    "sources": [{"prefix": "1", "valid_from": "2026-02", "valid_to": "2026-01-01"}]
                }
            },
            "not a date",
        ),
        (
            {
                "a": {
                    "sources": [
                        {"prefix": "1", "valid_from": "2026-02-02", "valid_to": "2026-02-01"}
                    ]
                }
            },
            "valid_to lies before valid_from",
        ),
        ({"a": {"accounts": ["x" * 16]}}, "not a system_id"),
        ({"a": {"accounts": ["é"]}}, "not a system_id"),
        ({"a": {"acounts": ["x"]}}, "Extra inputs"),
        ({"source:1": {}}, "not a company id"),
        ({"*": {}}, "not a company id"),
        ({"-a": {}}, "not a company id"),
        ({"a{b}": {}}, "not a company id"),
        ({"a" * 65: {}}, "not a company id"),
        ({"某公司": {}}, "not a company id"),
    ],
)
def test_a_bad_registry_is_refused_by_name(companies: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        load(**companies)


@pytest.mark.parametrize(
    "companies",
    [
        {"a": {"accounts": ["x", "x"]}},
        {"a": {"sources": ["1065"]}, "b": {"sources": ["10657"]}},
        {"a": {"sources": ["1065", {"prefix": "1065", "valid_to": "2026-01-01"}]}},
        {
            "a": {"sources": [{"prefix": "1065", "valid_to": "2026-06-30"}]},
            "b": {"sources": [{"prefix": "1065", "valid_from": "2026-07-01"}]},
        },
        {"a": {"headers": ["ACME", "acme", "Ａcme"]}},
        {"a": {"headers": ["51job", "360°", "7-Eleven", "C&A"]}},
        {"a": {"headers": ["A1"]}, "b": {"headers": ["AL"]}},
        {"a-1.x_Y": {}},
        {},
    ],
)
def test_a_good_registry_is_taken(companies: dict[str, Any]) -> None:
    assert set(load(**companies).companies) == set(companies)


@pytest.mark.parametrize(
    ("resellers", "message"),
    [
        ({"x": {"may_send_for": ["a"]}}, "x cannot be a reseller"),
        ({"r": {"may_send_for": ["a", "b"]}}, "r may send for b, which is no company"),
        ({"r": {"may_send_for": ["a/b"]}}, "not a company id"),
        ({"r" * 16: {"may_send_for": []}}, "not a system_id"),
        ({"r": {}}, "Field required"),
    ],
)
def test_a_bad_reseller_is_refused_by_name(resellers: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        RegistryFile.model_validate(
            {"companies": {"a": {"accounts": ["x"]}}, "resellers": resellers}
        )


def test_a_bad_company_is_not_called_unknown_as_well() -> None:
    bad = {"companies": {"a": {"headers": ["123"]}}, "resellers": {"r": {"may_send_for": ["a"]}}}
    with pytest.raises(ValidationError) as caught:
        RegistryFile.model_validate(bad)
    assert [error["loc"] for error in caught.value.errors()] == [("companies", "a", "headers", 0)]


def test_companies_must_be_given() -> None:
    with pytest.raises(ValidationError, match="Field required"):
        RegistryFile.model_validate({})


def test_all_that_is_ambiguous_is_named_at_once() -> None:
    both = {"accounts": ["x"], "sources": ["1065"], "headers": ["Same"]}
    with pytest.raises(ValidationError) as caught:
        load(a=both, b=both)
    assert [part in str(caught.value) for part in ("account x", "header Same", "source 1065")] == [
        True
    ] * 3


# signatures of texts

SIGNED = Registry(
    RegistryFile.model_validate(
        {
            "companies": {
                "acme": {
                    "accounts": ["acme"],
                    "sources": ["10657555"],
                    "signatures": ["Acme 贸易"],
                },
                "bravo": {"accounts": ["bravo"], "sources": ["10658888"], "signatures": ["乙公司"]},
                "carol": {"sources": ["10659999"], "signatures": ["乙公司"]},
            },
            "resellers": {"resell7": {"may_send_for": ["acme", "bravo"]}},
        }
    ),
    ZoneInfo("Asia/Shanghai"),
)


@pytest.mark.parametrize(
    ("account", "source", "name", "foreign", "accused"),
    [
        ("acme", "10657555", "Acme贸易", False, ["acme"]),
        ("acme", "10657555", "ＡＣＭＥ 贸易", False, ["acme"]),
        ("acme", "10657555", "乙公司", True, ["acme", "bravo", "carol"]),
        ("acme", "10657555", "丙公司", False, ["acme"]),
        ("bravo", "10658888", "乙公司", False, ["bravo", "carol"]),
        (
            "bravo",
            "10658888",
            "АСМЕ贸易",
            True,
            ["bravo", "acme"],
        ),  # Cyrillic
        ("resell7", "10657555", "乙公司", True, ["acme", "bravo", "carol"]),
        ("resell7", "10658888", "乙公司", False, ["bravo", "carol"]),
        ("stranger", "10650000", "Acme贸易", True, ["acme"]),
    ],
)
def test_whom_a_signature_points_to(
    account: str, source: str, name: str, foreign: bool, accused: list[str]
) -> None:
    found = SIGNED.resolve(account, source.encode(), SPRING, "refuse", "86", signatures=(name,))
    assert found.foreign_signature is foreign
    assert list(found.accused) == [*accused, f"source:{source}", "*"]
    plain = SIGNED.resolve(account, source.encode(), SPRING, "refuse", "86")
    assert found.refusal == plain.refusal, "that is the business of another rule"


def test_who_has_a_signature() -> None:
    for name in ("乙公司", "【乙公司】"):
        assert SIGNED.who(name, SPRING, "86") == [Holding("signature", name, ("bravo", "carol"))]


@pytest.mark.parametrize("signature", ["", " ", "\u200b", "【乙公司】", "[x", "乙" * 41])
def test_what_can_be_no_signature(signature: str) -> None:
    with pytest.raises(ValidationError, match="signature"):
        RegistryFile.model_validate({"companies": {"acme": {"signatures": [signature]}}})
