"""Every spelling of a customer's number leads to the key of its block, and none to another's."""

import pytest

from smsfilter.rules.numbers import Reader, mask, readings

CUSTOMER = b"8613800138000"

SPELLINGS = [
    b"8613800138000",
    b"+8613800138000",
    b"008613800138000",
    b"13800138000",
    b"013800138000",
    b"08613800138000",
    b"86013800138000",
    b"+86013800138000",
    b"0086013800138000",
    b"860013800138000",
    b"868613800138000",
    b"+868613800138000",
    b"00868613800138000",
    b"+86 138-0013.8000",
    b"(+86) 13800138000",
    b"0086 138 0013 8000",
    b"(0)138 0013 8000",
    b" 13800138000 ",
]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_spelling_reads_first_as_the_canonical_number(spelling: bytes) -> None:
    assert readings(spelling, "86")[0] == CUSTOMER


@pytest.mark.parametrize(
    ("destination", "expected"),
    [
        (b"8613800138000", (b"8613800138000",)),
        (b"+8613800138000", (b"8613800138000",)),
        (b"13800138000", (b"8613800138000", b"13800138000")),
        (b"86013800138000", (b"8613800138000", b"86013800138000")),
        (b"868613800138000", (b"8613800138000", b"868613800138000")),
        (b"08613800138000", (b"8613800138000",)),
        # a land line with its trunk 0
        (b"01062200000", (b"861062200000", b"8601062200000")),
        # eleven digits that are no Chinese mobile number are another country's first
        (b"12025550123", (b"12025550123", b"8612025550123")),
        (b"85212345678", (b"85212345678", b"8685212345678")),
        # thirteen digits of a machine
        (b"1440000000000", (b"1440000000000", b"861440000000000")),
        (b"861440000000000", (b"1440000000000", b"861440000000000")),
        # short codes
        (b"10086", (b"10086",)),
        (b"10086999", (b"10086999", b"8610086999")),
        (b"+8610086999", (b"10086999", b"8610086999")),
        (b"010086999", (b"10086999", b"8610086999")),
        (b"868610086999", (b"10086999", b"8610086999", b"868610086999")),
        (b"86", (b"86",)),
        (b"860", (b"860",)),
    ],
)
def test_readings_in_china(destination: bytes, expected: tuple[bytes, ...]) -> None:
    assert readings(destination, "86") == expected


@pytest.mark.parametrize(
    ("destination", "expected"),
    [
        # clean twins: numbers that differ from the customer's in what counts
        (b"+13800138000", (b"13800138000",)),
        (b"0013800138000", (b"13800138000",)),
        (b"+8613800138001", (b"8613800138001",)),
        (b"+4915112345678", (b"4915112345678",)),
        (b"+85291234567", (b"85291234567",)),
        (b"8513800138000", (b"8513800138000", b"868513800138000")),
        (b"+380013800138", (b"380013800138",)),
    ],
)
def test_other_customers_never_read_as_this_one(
    destination: bytes, expected: tuple[bytes, ...]
) -> None:
    assert CUSTOMER not in expected
    assert readings(destination, "86") == expected


@pytest.mark.parametrize(
    "destination",
    [
        b"",
        b"+",
        b"00",
        b"0",
        b" ",
        b"000",
        b"0008613800138000",
        b"00013800138000",
        b"+013800138000",
        b"+008613800138000",
        b"++8613800138000",
        b"00+8613800138000",
        b"86+13800138000",
        b"8613800138000\x00",
        b"\x008613800138000",
        b"8613800138000\n",
        b"8613800138000\r\n",
        b"\t8613800138000",
        b"86138\xc2\xa000138000",
        b"86138\xe2\x80\x8b00138000",
        b"86138\xc2\xad00138000",
        b"8613800138000x1",
        b"8613800138000p1",
        b"8613800138000#",
        b"*8613800138000",
        b"861380013800O",
        b"tel:+8613800138000",
        b"8613800138000;8613800138001",
        b"8613800138000,8613800138001",
        b"8613800138000/8613800138001",
        "８６１３８００１３８０００".encode(),
        "٨٦١٣٨٠٠١٣٨٠٠٠".encode(),
        "²".encode(),
        b"1795113800138000",  # carriers' dial prefixes in front of a whole number
        b"17951013800138000",
        b"19313800138000",
        b"019313800138000",
        b"179511012345678",
        b"1259313800138000",
        b"12583113800138000",
        b"1252013800138000",
        b"1795108613800138000",
        b"8613800138000123",
        b"+8613800138000123",
        b"1" * 16,
        b"1" * 64,
    ],
)
def test_what_cannot_be_read_has_no_reading(destination: bytes) -> None:
    assert readings(destination, "86") == ()


def test_fifteen_digits_are_a_number() -> None:
    assert readings(b"+" + b"4" * 15, "86") == (b"4" * 15,)


@pytest.mark.parametrize(
    ("country_code", "destination", "expected"),
    [
        ("1", b"2025550123", (b"12025550123", b"2025550123")),
        ("1", b"12025550123", (b"12025550123",)),
        ("1", b"+112025550123", (b"12025550123", b"112025550123")),
        ("91", b"919123456789", (b"919123456789",)),
        # national numbers of India begin with the country's own code as well
        ("91", b"9123456789", (b"919123456789", b"9123456789")),
        ("91", b"09123456789", (b"919123456789", b"9109123456789")),
        ("55", b"55991234567", (b"5555991234567", b"55991234567")),
        ("55", b"5555991234567", (b"5555991234567",)),
        # Italy keeps the 0
        ("39", b"0612345678", (b"39612345678", b"390612345678")),
        ("39", b"+390612345678", (b"39612345678", b"390612345678")),
        ("49", b"491511234567", (b"491511234567",)),
        ("49", b"01511234567", (b"491511234567", b"4901511234567")),
        ("65", b"91234567", (b"6591234567", b"91234567")),
        ("852", b"91234567", (b"85291234567", b"91234567")),
        ("7", b"77012345678", (b"77012345678",)),
        # national, or the country code doubled
        ("62", b"+6262211234567", (b"6262211234567", b"62211234567")),
        # may be national, or may have lost a 0 of its 00
        ("62", b"062211234567", (b"6262211234567", b"62062211234567", b"62211234567")),
    ],
)
def test_readings_in_other_countries(
    country_code: str, destination: bytes, expected: tuple[bytes, ...]
) -> None:
    assert set(readings(destination, country_code)) == set(expected)
    assert readings(destination, country_code)[0] == expected[0]


def test_a_reader_reads_like_the_function() -> None:
    read = Reader("86")
    assert [read(spelling) for spelling in SPELLINGS] == [readings(s, "86") for s in SPELLINGS]


@pytest.mark.parametrize(
    ("digits", "masked"),
    [
        ("13800138000", "138****8000"),
        ("8613800138000", "138****8000"),
        ("861062200000", "861*****0000"),
        ("868613800138000", "868********8000"),
        ("12025550123", "120****0123"),
        ("4791234567", "********67"),
        ("10086999", "******99"),
        ("1234567", "*****67"),
        ("123456", "******"),
        ("10086", "*****"),
        ("1", "*"),
        ("", ""),
        ("1380013800x", "***********"),
        ("１３８００１３８０００", "***********"),
        ("+8613800138000", "**************"),
    ],
)
def test_mask(digits: str, masked: str) -> None:
    assert mask(digits) == masked
