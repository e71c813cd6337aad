"""Sources as numbers and as text: what is the same, what looks the same, and what is neither."""

import unicodedata

import pytest

from smsfilter.rules import headers
from smsfilter.rules.headers import SourceForms, fold, shapes, source_digits, source_forms


@pytest.mark.parametrize(
    "variant",
    [
        *("ACME", "acme", "Acme", "A C M E", " ACME ", "ＡＣＭＥ", "ａｃｍｅ", "A\u00a0CME"),
        *("AC\u3000ME", "AC\u200bME", "AC\u200dME", "\ufeffACME", "AC\u00adME", "\u200eACME"),
        *("ACME\ufe0f", "𝐀𝐂𝐌𝐄", "Ⓐⓒⓜⓔ"),
    ],
)
def test_variants_that_mean_nothing_fold_to_the_same(variant: str) -> None:
    assert fold(variant) == "acme"


LOOK_ALIKES = [
    "АСМЕ",  # Cyrillic
    "ΑCΜΕ",  # Greek
    "AϹME",
    "acмe",
    "Ácme",
    "A\u0336C\u0336M\u0336E",
    "A.C.M.E",
    "AC-ME",
    "AC_ME",
    "ᎪᏟᎷᎬ",
    "ꓮꓚꓟꓰ",
    "ᴀᴄᴍᴇ",
    "ACME\x01",
    "AC\x00ME",
    "\u202eACME",
    "AC\u2066ME",
]


@pytest.mark.parametrize("look_alike", LOOK_ALIKES)
def test_look_alikes_have_the_shape_but_not_the_fold(look_alike: str) -> None:
    assert "acme" in shapes(look_alike)
    assert fold(look_alike) != "acme"


@pytest.mark.parametrize(
    "other", ["ACNE", "ACME2", "ACMEX", "4CME", "AC3E", "ACM", "ECMA", "某公司", "АБВГ", "A+CME"]
)
def test_other_names_have_other_shapes(other: str) -> None:
    assert not set(shapes(other)) & set(shapes("ACME"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("A1", "AL"),  # digits stand for themselves
        ("B0B", "BOB"),
        ("AT&T", "ATT"),
        ("C&A", "CA"),
        ("नाम", "नमी"),  # vowel signs are not accents
        ("กา", "กี"),
        ("カ", "ガ"),
        ("未来", "末来"),
        ("土", "士"),
    ],
)
def test_honest_pairs_stay_apart(one: str, other: str) -> None:
    assert not set(shapes(one)) & set(shapes(other))


@pytest.mark.parametrize(
    ("registered", "imitation"),
    [
        ("МЕГАФОН", "MEГAФOH"),
        ("Мегафон", "Meгaфoн"),
        ("ΝΕΟΣ", "νεoς"),
        ("Hello", "Ηello"),
        ("BANK", "ВANK"),
        ("bank", "вank"),
        ("Lodz", "Łódź"),
        ("人口", "人ロ"),
        ("10657555", "１０６５７５５５"),
        ("10657555", "١٠٦٥٧٥٥٥"),
    ],
)
def test_shapes_meet_whichever_side_is_the_original(registered: str, imitation: str) -> None:
    assert set(shapes(registered)) & set(shapes(imitation))


def test_the_table_names_each_look_alike_once_and_in_the_form_it_is_met_in() -> None:
    rows = "".join(headers._LOOK_ALIKES.values())
    assert len(set(rows)) == len(rows)
    for char in rows:
        assert not char.isascii()
        assert unicodedata.normalize("NFD", unicodedata.normalize("NFKC", char)) == char


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10657555", ("10657555", False)),
        ("+8610657555", ("8610657555", True)),
        ("008610657555", ("8610657555", True)),
        ("1065 7555", ("10657555", False)),
        ("(010) 6575-5550", ("01065755550", False)),
        ("0", ("0", False)),
        ("", None),
        ("+", None),
        ("00", None),
        ("000123", None),
        ("+0123", None),
        ("++123", None),
        ("ACME", None),
        ("1065A", None),
        ("1065\x007555", None),
        ("１０６５", None),
        ("1065²", None),
    ],
)
def test_source_digits(text: str, expected: tuple[str, bool] | None) -> None:
    assert source_digits(text) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (b"10657555", SourceForms("10657555", "10657555", False, ())),
        (b"8610657555", SourceForms("10657555", "10657555", True, ())),
        (b"+86 1065-7555", SourceForms("10657555", "10657555", True, ())),
        (b"008610657555", SourceForms("10657555", "10657555", True, ())),
        (b"8610086", SourceForms("10086", "10086", True, ())),
        (b"86123", SourceForms("86123", "86123", False, ())),  # a short code of its own
        (b"+86123", SourceForms("123", "123", True, ())),
        (b"86", SourceForms("86", "86", False, ())),
        (b"+86", SourceForms("86", "86", False, ())),
        (b"+14155550123", SourceForms("14155550123", "14155550123", False, ())),
        (b"", SourceForms("", None, False, ("",))),
        (b"  ", SourceForms("", None, False, ("  ",))),
        (b"A CME", SourceForms("acme", None, False, ("A CME",))),
        (b"ACME\x01", SourceForms("0x41434d4501", None, False, ("ACME\x01",))),
        ("\u202eABC".encode(), SourceForms("0xe280ae414243", None, False, ("\u202eABC", "鈥瓵BC"))),
        (b"\xff\xfe", SourceForms("0xfffe", None, False, ("ÿþ",))),
        ("某公司".encode(), SourceForms("某公司", None, False, ("某公司",))),
        ("某公司".encode("gbk"), SourceForms("某公司", None, False, ("某公司", "Ä³¹«Ë¾"))),
        ("你好".encode(), SourceForms("你好", None, False, ("你好", "浣犲ソ"))),
        (b"Caf\xe9", SourceForms("0x436166e9", None, False, ("Café",))),
        (b"000123", SourceForms("000123", None, False, ("000123",))),
    ],
)
def test_source_forms(source: bytes, expected: SourceForms) -> None:
    assert source_forms(source, "86") == expected


def test_short_codes_of_a_one_digit_country_code_keep_their_digits() -> None:
    assert source_forms(b"12345", "1").normalised == "12345"
    assert source_forms(b"123456", "1").normalised == "123456"
    assert source_forms(b"12025550123", "1").normalised == "2025550123"
