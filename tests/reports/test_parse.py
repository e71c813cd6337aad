"""Every message of texts.yaml, and what has to hold of any message."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from smsfilter.deskconfig import DeskConfig
from smsfilter.reports.ids import spell
from smsfilter.reports.parse import (
    HEAD_MAX,
    Appeal,
    Nonsense,
    NumberOnly,
    Parsed,
    Report,
    TextOnly,
    Why,
    Withdrawal,
    parse,
)
from smsfilter.reports.source import Kind, is_never_block
from smsfilter.rules.headers import source_forms

NEVER_BLOCK = DeskConfig.model_fields["never_block"].default
Row = dict[str, Any]
ROWS: list[Row] = yaml.safe_load((Path(__file__).parent / "texts.yaml").read_text(encoding="utf-8"))


def as_row(text: str, found: Parsed) -> Row:
    """How the table would say it."""
    match found:
        case Report(source, body):
            row = {"source": source.normalised, "body": body, "kind": str(source.kind)}
        case NumberOnly(source):
            row = {"source": source.normalised, "kind": str(source.kind)}
        case TextOnly(body):
            row = {"body": body}
        case Withdrawal(number, _):
            row = {"withdraw": "none" if number is None else str(number)}
        case Appeal(number, _, reason):
            row = {"appeal": "none" if number is None else str(number)}
            row |= {"body": reason} if reason else {}
        case Nonsense(why):
            row = {"nonsense": str(why)}
    if row.get("kind") == "number":
        del row["kind"]
    return {"text": text, **row}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: ascii(row["text"])[1:-1] or "empty")
def test_a_message_is_read_as_the_table_says(row: Row) -> None:
    assert as_row(row["text"], parse(row["text"])) == row


def test_the_table_has_every_outcome_and_no_message_twice() -> None:
    assert len(ROWS) >= 120
    assert len({row["text"] for row in ROWS}) == len(ROWS)
    kinds = {type(parse(row["text"])) for row in ROWS}
    assert kinds == {Report, NumberOnly, TextOnly, Withdrawal, Appeal, Nonsense}
    assert {row["nonsense"] for row in ROWS if "nonsense" in row} == set(Why)


def test_what_was_written_is_kept_beside_its_normal_form() -> None:
    found = parse("举报 ＋86 138-0013-8000：您好")
    assert isinstance(found, Report)
    assert found.source.written == "＋86 138-0013-8000"
    assert found.source.member == "source:13800138000"
    assert parse("撤销 １０２") == Withdrawal(None, "１０２")


def test_other_countries_have_other_numbers() -> None:
    assert parse("56161 cheap loans", "44") == parse("56161*cheap loans", "44")
    assert isinstance(parse("56161 cheap loans", "86"), TextOnly)
    found = parse("+44 7700 900123: cheap loans", "44")
    assert isinstance(found, Report)
    assert found.source.normalised == "7700900123"


@pytest.mark.parametrize("head", ["106575550001*", "您好", "【某公司】", "撤销101 "])
def test_a_message_of_any_length_is_read_by_its_head(head: str) -> None:
    long, longer = parse(head + "贷款" * HEAD_MAX), parse(head + "贷款" * 30_000)
    assert type(long) is type(longer)
    if isinstance(longer, Report):
        assert longer.text.endswith("贷款" * 30_000)


WORDS = st.sampled_from(
    [
        *("106575550001", "13800138000", "95588", "+86", "0086", "101", "１０６", "12:30", "5折"),
        *(
            "*",
            "＊",
            "#",
            " ",
            "　",
            "\n",
            "：",
            "，",
            "内容：",
            "号码：",
            "举报",
            "撤销",
            "申诉",
            "CX",
        ),
        *(
            "【某公司】",
            "[ACME]",
            "ACME",
            "(",
            "）",
            "“",
            "\u200b",
            "\ufeff",
            "\u202e",
            "\u20e3",
            "①",
        ),
        *("⑩", "㈱", "…", "½", "\ufffd", "😀", "Fw:", "验证码", "元"),
    ]
)
TEXTS = st.one_of(st.text(max_size=200), st.lists(WORDS | st.text(max_size=5)).map("".join))
CODES = st.sampled_from(["86", "1", "44", "852"])


@given(TEXTS, CODES)
@example("a" + "\u200b" * HEAD_MAX + "*b", "86")
@example("1" * 10_000, "86")
@example("取消" + "谢" * 300 + "x", "86")  # patterns that try every way to split this never end
@example("\ud800106575550001*\udfff", "86")
def test_any_text_is_read_and_what_is_quoted_is_a_slice_of_it(text: str, code: str) -> None:
    match parse(text, code):
        case Report(source, body):
            assert source.written in text
            assert body in text
            assert body.strip()
            assert source.normalised
        case NumberOnly(source):
            assert source.written in text
        case TextOnly(body):
            assert body in text
            assert body.strip()
        case Withdrawal(_, written) | Appeal(_, written, _):
            assert written in text
        case Nonsense(why):
            assert why in Why


NUMBERS = st.from_regex(
    r"106[0-9]{5,17}|1[3-9][0-9]{9}|95[0-9]{3}|0755[1-9][0-9]{7}", fullmatch=True
)
BODIES = st.text(min_size=1).filter(lambda body: body[0].isalpha()).map(lambda body: f"您{body}")


@given(
    NUMBERS,
    st.sampled_from(["", "+86", "0086", "86", "+86 ", "(+86)"]),
    st.sampled_from(["*", "＊", " ", "　", "\t", "\n", "#", "：", " * ", "，"]),
    BODIES,
)
def test_a_report_is_split_at_its_separator(
    number: str, code: str, separator: str, body: str
) -> None:
    if number.startswith("0"):
        code = ""
    found = parse(f"{code}{number}{separator}{body}")
    assert isinstance(found, Report)
    assert found.text == body
    assert found.source.normalised == number
    assert found.source.kind is Kind.NUMBER


@given(NUMBERS)
def test_a_number_as_normalised_is_read_as_itself(number: str) -> None:
    found = parse(f"{number}*您好")
    assert isinstance(found, Report)
    again = source_forms(found.source.normalised.encode(), "86")
    assert again.normalised == found.source.normalised


@given(st.integers(1, 10**11 - 1), st.sampled_from(["撤销", "撤回 ", "取消编号", "CX"]))
def test_every_report_can_be_withdrawn_and_appealed(n: int, verb: str) -> None:
    assert parse(f"{verb}{spell(n)}") == Withdrawal(n, spell(n))
    assert parse(f"申诉{spell(n)}") == Appeal(n, spell(n), "")


@pytest.mark.parametrize("prefix", ["", "0", "86", "+86", "0086"])
@pytest.mark.parametrize("number", NEVER_BLOCK)
def test_numbers_that_must_reach_everybody(prefix: str, number: str) -> None:
    found = parse(f"{prefix}{number}*测试")
    assert isinstance(found, Report)
    assert is_never_block(found.source.normalised, NEVER_BLOCK, "86")


@pytest.mark.parametrize(
    "source",
    [
        "95588",
        "1100",
        "11010",
        "100869990",
        "10086",
        "1010086999",
        "13800138110",
        "110a",
        "acme",
        "",
    ],
)
def test_the_list_is_exact(source: str) -> None:
    assert not is_never_block(source, NEVER_BLOCK, "86")


@pytest.mark.parametrize(
    "text",
    [
        "张三13800138000*还钱",
        "A138 0013 8000*hi",
        "138OO138OOO*hi",
        "手机13800138000*hi",
        "【张三13800138000】*还钱",
        "号码：张三13800138000，内容：还钱",
    ],
)
def test_a_name_with_somebody_s_number_is_no_header(text: str) -> None:
    found = parse(text)
    assert isinstance(found, TextOnly) or (
        isinstance(found, Report) and found.source.kind is Kind.SIGNATURE
    )


@pytest.mark.parametrize(("header", "code"), [("CM10086123", "86"), ("JD618618618", "86")])
def test_a_header_may_have_digits(header: str, code: str) -> None:
    found = parse(f"{header}*sale", code)
    assert isinstance(found, Report)
    assert found.source.normalised == header.lower()
