"""Whatever is written, a reading is a number, spellings agree, and the fast way is the slow one."""

from hypothesis import given
from hypothesis import strategies as st

from smsfilter.rules.numbers import Reader, mask, readings

COUNTRY_CODES = st.sampled_from(["86", "1", "7", "91", "55", "39", "49", "62", "65", "852", "420"])
MOBILE = st.from_regex(r"1[3-9][0-9]{9}", fullmatch=True)
SEPARATORS = st.text(" -.()", max_size=2)
LOOSE = st.text("0123456789+ -.()86", max_size=24).map(str.encode)


@given(st.one_of(st.binary(max_size=24), LOOSE), COUNTRY_CODES)
def test_readings_are_distinct_numbers(destination: bytes, country_code: str) -> None:
    found = readings(destination, country_code)
    assert len(set(found)) == len(found) <= 4
    for number in found:
        assert number.isdigit()
        assert len(number) <= 15
        assert number[:1] != b"0"


@given(st.data(), COUNTRY_CODES)
def test_numbers_that_are_plain_together_are_each_their_own_only_reading(
    data: st.DataObject, country_code: str
) -> None:
    """A blank at the end of the last one would go to Redis in a command of the wrong length."""
    code, size = country_code.encode(), data.draw(st.integers(7, 11))
    national = st.integers(2 * 10 ** (size - 1), 10**size - 1)
    number = national.map(lambda n: code + str(n).encode())
    odd = st.builds(lambda a, b: a + b, number, st.sampled_from([b" ", b"0", b"\n", b"-"]))
    pair = st.builds(lambda a, b: a + b" " + b, number, number)
    destinations = data.draw(st.lists(number | odd | pair, min_size=1, max_size=3))
    if Reader(country_code).are_plain(destinations):
        assert len(set(map(len, destinations))) == 1
        for destination in destinations:
            assert readings(destination, country_code) == (destination,)


@given(LOOSE, COUNTRY_CODES)
def test_digits_are_never_invented(destination: bytes, country_code: str) -> None:
    written = bytes(octet for octet in destination if chr(octet).isdigit()).lstrip(b"0")
    for number in readings(destination, country_code):
        rest = number.removeprefix(country_code.encode()).lstrip(b"0")
        assert written.endswith(rest)


@given(
    MOBILE,
    st.sampled_from(["", "0", "86", "+86", "0086", "086", "860", "+860", "8686", "+8686"]),
    st.lists(SEPARATORS, min_size=12, max_size=12),
)
def test_every_spelling_of_a_mobile_number_is_one_customer(
    national: str, before: str, gaps: list[str]
) -> None:
    spaced = "".join(gap + digit for gap, digit in zip(gaps, national, strict=False))
    assert readings((before + spaced + gaps[-1]).encode(), "86")[0] == b"86" + national.encode()


@given(MOBILE, MOBILE, st.sampled_from(["", "0", "86", "+86", "860", "8686"]))
def test_two_customers_share_no_reading(one: str, other: str, before: str) -> None:
    shared = set(readings((before + one).encode(), "86")) & set(readings(other.encode(), "86"))
    assert bool(shared) is (one == other)


@given(st.from_regex(r"[1-9][0-9]{0,14}", fullmatch=True), COUNTRY_CODES)
def test_the_fast_way_says_what_the_complete_one_says(digits: str, country_code: str) -> None:
    plain = readings(digits.encode(), country_code)
    assert readings(b" " + digits.encode(), country_code) == plain  # a blank takes the slow way
    if plain == (digits.encode(),):
        assert readings(b"+" + digits.encode(), country_code) == plain


@given(st.from_regex(r"[1-9][0-9]{0,14}", fullmatch=True), COUNTRY_CODES)
def test_an_international_number_is_never_read_as_national(digits: str, country_code: str) -> None:
    if not digits.startswith(country_code):
        assert readings(b"+" + digits.encode(), country_code) == (digits.encode(),)


@given(LOOSE, COUNTRY_CODES)
def test_the_canonical_reading_reads_as_itself(destination: bytes, country_code: str) -> None:
    found = readings(destination, country_code)
    if found:
        assert found[0] in readings(b"+" + found[0], country_code)
        assert found[0] in readings(found[0], country_code)


@given(st.text(max_size=20))
def test_a_mask_shows_seven_digits_at_most(text: str) -> None:
    assert sum(char != "*" for char in mask(text)) <= 7


@given(st.text("0123456789", max_size=20))
def test_a_mask_hides_something(digits: str) -> None:
    assert mask(digits) == "" or "*" in mask(digits)
