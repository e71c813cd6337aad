"""Every way in which a YAML file can be wrong, and the place and words that report it."""

from pathlib import Path

import pytest

from smsfilter.config import Config
from smsfilter.rules.policy import Mode, Policy
from smsfilter.yamlfile import ConfigError, Document, load_yaml, read_document

_ID = Policy.model_json_schema()["$defs"]["BlockRule"]["properties"]["id"]


def problems(text: str, model: type = Policy) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        load_yaml(text, model)
    return [str(problem).removeprefix("<text>:") for problem in raised.value.problems]


def test_scalars_mean_what_they_say() -> None:
    policy = load_yaml(
        """
        version: 1
        country_code: 86
        refused_destinations: [0123, 10, "010"]
        rules: [{id: no, type: block, mode: off, status: 0x0B}]
        accounts:
          012345: {max_sessions: 8}
          off: {}
          22:00: {}
          null: {}
        """,
        Policy,
    )

    assert policy.country_code == "86"
    assert policy.refused_destinations == ("0123", "10", "010")
    assert policy.rules[0].id == "no"
    assert policy.rules[0].mode is Mode.OFF
    assert policy.rules[0].status == 0x0B
    assert list(policy.accounts) == ["012345", "off", "22:00", "null"]


@pytest.mark.parametrize("nothing", ["", " ~", " null", " # a comment"])
def test_nothing_is_none_where_that_is_allowed(nothing: str) -> None:
    policy = load_yaml(f"accounts:\n  acme:\n    max_sessions:{nothing}\n", Policy)

    assert policy.accounts["acme"].max_sessions is None


def test_quoted_nothing_is_text() -> None:
    document = Document("f", "a: '~'\nb: 'null'\nc: ''\nd: NULL\n")

    assert document.data == {"a": "~", "b": "null", "c": "", "d": "NULL"}


def test_nothing_where_something_is_needed() -> None:
    assert problems("version: 1\nrules:\n") == [
        "2:7: nothing is written here; remove the key for its default, or put the text in quotes"
    ]


@pytest.mark.parametrize("text", ["", "\n", "# only a comment\n", "---\n", "~\n"])
def test_an_empty_file_is_an_error(text: str) -> None:
    assert problems(text) == ["1:1: the file is empty; nothing is set by it"]


@pytest.mark.parametrize("text", ["- a\n- b\n", "enforce\n", "'version: 1'\n"])
def test_a_file_of_another_kind(text: str) -> None:
    assert problems(text) == ["1:1: must be a section with keys below it"]


def test_all_errors_at_once_in_the_order_of_the_file() -> None:
    assert problems(
        "verson: 1\n"
        "country_code: +86\n"
        "mode: shaddow\n"
        "rules:\n"
        "  - {id: blocked, type: blok}\n"
        "  - {id: blocked}\n"
        "  - {id: approval, type: approval, on_eror: pass}\n"
        "  - {id: Replace, type: replace, mode: of}\n"
        "  - 5\n"
        "accounts:\n"
        "  acme: {addresses: [192.0.2.1/24], max_sessions: 0}\n"
        "  acme: {}\n"
    ) == [
        "1:1: unknown key 'verson'; did you mean 'version'?",
        "2:15: not an E.164 country code: one to three digits, without + or 00",
        "3:7: 'shaddow' is not allowed here; did you mean 'shadow'?",
        "5:25: unknown type 'blok'; did you mean 'block'?",
        "6:5: 'type' is missing: one of approval, block, lists, replace, scheduled, "
        "signature, source",
        "7:36: unknown key 'on_eror'; did you mean 'on_error'?",
        "8:10: not a rule's id: a small letter, then small letters, digits and _",
        "8:40: 'of' is not allowed here; did you mean 'off'?",
        "9:5: must be a section with keys below it",
        "11:22: '192.0.2.1/24' is not an IP network: write one such as 192.0.2.0/24 "
        "or 2001:db8::/32",
        "11:51: '0' must be 1 or more",
        "12:3: 'acme' is given twice; the first is in line 11",
    ]


def test_unknown_keys_far_from_all_known_ones_list_those() -> None:
    assert problems("accounts: {a: {colour: red}}") == [
        "1:16: unknown key 'colour'; known here: addresses, bind_types, certificates, "
        "error_body, failed_bind_delay, max_sessions, mode, rate, status, window"
    ]


def test_every_member_of_a_union_is_not_repeated() -> None:
    assert len(problems("accounts: {a: {addresses: [x, y]}}")) == 2


def test_keys_of_a_mapping_are_checked_where_they_stand() -> None:
    text = "accounts:\n  a: {status: {blocked_by_reprt: 0x0B}}\n  abcdefghijklmnop: {}\n"

    assert problems(text) == [
        "2:16: 'blocked_by_reprt' is not allowed here; did you mean 'blocked_by_report'?",
        "3:3: 'abcdefghijklmnop' is too long: at most 15 characters",
    ]


def test_a_missing_key_says_what_it_is_for() -> None:
    text = "proxy:\n  listen: [0.0.0.0:2775]\nredis: {url: 'embedded:'}\n"

    assert problems(text, Config) == [
        "2:3: 'smsc' is missing: the SMSCs, tried in order, such as [\"192.0.2.1:2775\"]"
    ]


def test_wrong_shapes() -> None:
    text = (
        "rules: {a: b}\nrefused_destinations: 5\naccounts: [a]\nmode: [enforce]\ntimezone: {a: b}\n"
    )

    assert problems(text) == [
        "1:8: must be a list, such as [a, b]",
        "2:23: must be a list, such as [a, b]",
        "3:11: must be a section with keys below it",
        "4:7: ['enforce'] is not allowed here; did you mean 'enforce'?",
        "5:11: must be a single value",
    ]


def test_anchors_and_merge_keys() -> None:
    policy = load_yaml(
        "accounts:\n"
        "  acme: &usual {max_sessions: 8, mode: shadow}\n"
        "  bravo: *usual\n"
        "  charlie: {<<: *usual, max_sessions: 2}\n"
        "  delta: {max_sessions: 3, <<: [{mode: enforce}, *usual]}\n",
        Policy,
    )

    assert policy.accounts["bravo"] == policy.accounts["acme"]
    assert policy.accounts["charlie"].max_sessions == 2
    assert policy.accounts["charlie"].mode is Mode.SHADOW
    assert policy.accounts["delta"].max_sessions == 3
    assert policy.accounts["delta"].mode is Mode.ENFORCE


def test_an_error_in_a_merged_mapping_is_found_where_it_is_written() -> None:
    text = "accounts:\n  a: &x {max_sesions: 2}\n  b: {<<: *x}\n"

    assert problems(text) == ["2:10: unknown key 'max_sesions'; did you mean 'max_sessions'?"]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("accounts: &a\n  x: *a\n", "1:11"),
        ("accounts:\n  x: &x {<<: *x}\n", "2:6"),
        ("accounts:\n  x: &x {<<: [{max_sessions: 2, <<: *x}]}\n", "2:6"),
    ],
)
def test_an_anchor_inside_itself(text: str, place: str) -> None:
    assert problems(text) == [f"{place}: an anchor is used inside itself"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("mode: enforce\n\tunknown: refuse\n", "2:1: not YAML: a tab; indent with spaces"),
        (
            "mode: enforce: shadow\n",
            "1:14: not YAML: a second ': ' in a line, or wrong indentation; "
            "put the value in quotes",
        ),
        ("timezone: @x\n", "1:11: not YAML: a value cannot begin with '@'; put it in quotes"),
        ("rules: [a\nmode: x\n", None),
        ("mode: 'enforce\n", None),
        ("mode: *enforce\n", None),
        ("mode: enforce\n---\nmode: shadow\n", None),
        ("mode: !secret enforce\n", "1:7: tags such as !secret are not supported"),
        ("[a, b]: c\n", None),
        ("{<<: 5}\n", "1:6: '<<' takes a mapping, such as *anchor"),
        ("mode: enforce\ntimezone: a\x07b\n", "2:12: not YAML: control characters are not allowed"),
        ("[" * 100_000, None),  # libyaml may have a limit of its own, and refuse it first
        ("[" * 100, "1:41: not YAML: nested deeper than 40"),
    ],
)
def test_what_is_not_yaml_or_not_ours(text: str, problem: str | None) -> None:
    found = problems(text)

    line, column, message = found[0].split(":", 2)
    assert int(line) >= 1
    assert int(column) >= 1
    assert message.strip()
    if problem is not None:
        assert found == [problem]


def test_aliases_cannot_grow_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smsfilter.yamlfile.VALUES_MAX", 1_000)
    text = "a: &a [x, x, x, x, x, x, x, x, x]\n"
    for name, last in zip("bcdef", "abcde", strict=True):
        text += f"{name}: &{name} [{', '.join([f'*{last}'] * 9)}]\n"

    assert len(problems(text)) == 1
    assert "more than 1,000 values, aliases included" in problems(text)[0]


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    missing, directory = tmp_path / "missing.yaml", tmp_path

    for path, why in ((missing, "No such file or directory"), (directory, "Is a directory")):
        with pytest.raises(ConfigError) as raised:
            read_document(path)
        assert str(raised.value) == f"{path}: cannot be read: {why}"


def test_a_file_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_bytes("# 某公司\nmode: é".encode() + "é".encode("latin-1") + b"\n")

    with pytest.raises(ConfigError) as raised:
        load_yaml(path, Policy)

    assert str(raised.value) == f"{path}:2:8: octet 0xe9 is not UTF-8; save the file in UTF-8"


def test_a_file_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smsfilter.yamlfile.OCTETS_MAX", 1 << 20)

    with pytest.raises(ConfigError, match="is longer than 1 MiB"):
        load_yaml(Path("/dev/zero"), Policy)


def test_marks_and_line_ends_of_other_systems(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_bytes(b"\xef\xbb\xbfversion: 1\r\nmode: shadow\r\nx: 1\r\n")

    with pytest.raises(ConfigError) as raised:
        load_yaml(path, Policy)

    assert [(p.line, p.column) for p in raised.value.problems] == [(3, 1)]


def test_columns_count_characters_not_octets() -> None:
    assert problems("accounts: {某公司: {x: 1}}")[0].startswith("1:18: unknown key 'x'")
