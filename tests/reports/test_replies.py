"""Replies fit one SMS, say nothing that is not so, and are checked when they are loaded."""

from pathlib import Path

import pytest

from smsfilter.reports.ids import WIDTH_MAX, spell
from smsfilter.reports.parse import Appeal, Withdrawal, parse
from smsfilter.reports.replies import OUTCOME_MAX, Outcome, Replies, encode, excess, load_replies
from smsfilter.smpp.text import GSM, UCS_2, decode_text
from smsfilter.yamlfile import ConfigError

EXAMPLE = Path(__file__).parents[2] / "config" / "replies.yaml"
LONGEST = "9" * WIDTH_MAX


def test_the_file_that_is_shipped_says_what_is_said_without_one() -> None:
    assert load_replies(EXAMPLE) == Replies()
    written = EXAMPLE.read_text(encoding="utf-8")
    assert all(f"\n{outcome}: " in written for outcome in Outcome)


@pytest.mark.parametrize("outcome", Outcome)
def test_a_reply_is_one_message(outcome: Outcome) -> None:
    text = Replies().text(outcome, id=LONGEST, result="字" * OUTCOME_MAX)
    data_coding, octets = encode(text)
    assert data_coding == UCS_2
    assert len(octets) <= 140
    assert not {"{", "}"} & set(text)


def test_only_one_reply_says_that_a_company_is_blocked() -> None:
    texts = Replies().model_dump()
    assert {name for name, text in texts.items() if "企业" in text} == {"blocked"}
    saying = {name for name, text in texts.items() if "不能再向您" in text}
    assert saying == {"blocked", "source_only"}


def test_what_a_reply_asks_for_is_understood() -> None:
    replies = Replies()
    for outcome in (Outcome.BLOCKED, Outcome.SOURCE_ONLY, Outcome.UNMATCHED):
        asked = replies.text(outcome, id=spell(10)).partition("“")[2].partition("”")[0]
        assert parse(asked) == Withdrawal(10, "101")
    asked = replies.text(Outcome.RESULT, id=spell(10), result="属实")
    assert parse(asked.partition("“")[2].partition("”")[0]) == Appeal(10, "101", "")


def test_a_result_that_does_not_fit_is_not_sent() -> None:
    words = {"upheld": "spam", "not_spam": "no", "unresolvable": "open", "referred": "other"}
    content = {"result": "Report {id}: {outcome}. " + "x" * 80, "outcomes": words}
    replies = Replies.model_validate(content)
    assert replies.text(Outcome.RESULT, id="101", result="not spam").startswith("Report 101: not")
    with pytest.raises(ValueError, match="does not fit"):
        replies.text(Outcome.RESULT, id="101", result="不是垃圾短信")
    with pytest.raises(ValueError, match="does not fit"):
        replies.text(Outcome.RESULT, id="101", result="x" * (OUTCOME_MAX + 1))
    with pytest.raises(ValueError, match="does not fit"):
        replies.text(Outcome.BLOCKED, id="1" * (WIDTH_MAX + 1))


@pytest.mark.parametrize(
    ("text", "over"),
    [
        ("x" * 160, 0),
        ("x" * 161, 1),
        ("x" * 158 + "€", 0),
        ("x" * 159 + "€", 1),
        ("字" * 70, 0),
        ("字" * 71, 1),
        ("字" * 68 + "😀", 0),
        ("字" * 69 + "😀", 1),
        ("x" * 70 + "字", 1),
    ],
)
def test_length_is_counted_as_the_network_does(text: str, over: int) -> None:
    assert excess(text) == over


def test_a_text_is_encoded_as_gsm_where_that_holds_it() -> None:
    assert encode("Report 101 [ok]") == (GSM, b"Report 101 \x1b\x3cok\x1b\x3e")
    data_coding, octets = encode("编号101")
    assert decode_text(data_coding, octets) == "编号101"


def problem(tmp_path: Path, text: str) -> str:
    path = tmp_path / "replies.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as raised:
        load_replies(path)
    assert len(raised.value.problems) == 1
    return str(raised.value).removeprefix(str(path))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("blocked: 编号{idd}", ":1:10: unknown placeholder {idd}; did you mean 'id'?"),
        ("blocked: 编号{nr}", ":1:10: unknown placeholder {nr}; there are id, outcome"),
        ("\nblocked: 编号{id:05}", ":2:10: unknown placeholder {id:05}"),
        ("blocked: 编号{id", ":1:10: a brace that belongs to no placeholder"),
        ("blocked: '{{id}}'", ":1:10: a brace that belongs to no placeholder"),
        ("blocked: ''", ":1:10: an empty text cannot be sent"),
        ("blocked:", ":1:9: nothing is written here"),
        ("blocked: 编号{outcome}", ":1:10: {outcome} is known in 'result' only"),
        ("result: 编号{id}", ":1:9: needs {outcome}, else it says nothing"),
        ("blockd: 编号{id}", ":1:1: unknown key 'blockd'; did you mean 'blocked'?"),
        (f"nonsense: {'字' * 71}", ":1:11: does not fit one SMS (70 of UCS-2): 1 too many"),
        (f"blocked: {'字' * 59}{{id}}", ":1:10: does not fit one SMS (70 of UCS-2): 1 too many"),
        (f"result: {'字' * 45}{{outcome}}", ":1:9: does not fit one SMS (70 of UCS-2): 1 too"),
        (f"nonsense: {'x' * 161}", ":1:11: does not fit one SMS (160 of GSM 03.38): 1 too many"),
        (f"result: {'x' * 109}{{outcome}}", ":1:9: does not fit one SMS (160 of GSM 03.38): 1"),
        ("", ":1:1: the file is empty"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, text: str, expected: str) -> None:
    assert problem(tmp_path, text).startswith(expected)
