"""Codes in halves, passwords, and what guessing costs: each on its own."""

import asyncio

import pytest

from smsfilter.staff import codes, passwords
from smsfilter.staff.codes import Code, FirstHalf
from smsfilter.staff.passwords import PasswordError, Passwords
from smsfilter.staff.slowing import (
    ACCOUNT_FREE,
    ADDRESS_FREE,
    DELAY_S_MOST,
    FORGOTTEN_S,
    Slowing,
    keys,
)


def test_both_halves_are_needed_whichever_comes_first():
    code = Code.make()

    assert codes.fits(code.hash, code.first, code.second)
    assert codes.fits(code.hash, code.second, code.first)
    for first, second in ((code.first, code.first), (code.second, ""), (code.first, codes.half())):
        assert not codes.fits(code.hash, first, second)
    assert not codes.fits(None, code.first, code.second)


def test_a_half_is_read_as_people_write_it():
    code = Code("ABOI-EFGH-JKLM-NPQR", codes.half())

    assert codes.fits(code.hash, " ab01 efgh jklmnpqr", code.second.lower().replace("-", ""))


def test_nobody_enrols_while_the_second_half_has_not_been_made():
    begun, second = FirstHalf(codes.half()), codes.half()

    assert codes.waits_for_second(begun.hash)
    assert not codes.fits(begun.hash, begun.first, "")
    assert not codes.fits(begun.hash, begun.first, second)
    assert codes.fits(codes.completed(begun.hash, second), begun.first, second)


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("short", "at least 12"),
        ("x" * 129, "at most 128"),
        ("my Li.Wei password", "li.wei"),
        ("ababababababab", "different"),
    ],
)
def test_passwords_that_will_not_do(password, why):
    with pytest.raises(PasswordError, match=why):
        passwords.check(password, "li.wei")


async def test_a_hash_tells_its_password_from_others():
    hashes = Passwords()
    try:
        kept = await hashes.hash("über den Fluss gehen")

        found = await asyncio.gather(
            hashes.fits(kept, "u\u0308ber den Fluss gehen"),  # as another keyboard writes it
            hashes.fits(kept, "unter den Fluss gehen"),
            hashes.fits(None, "über den Fluss gehen"),
            hashes.fits("not a hash", "über den Fluss gehen"),
        )
        assert found == [True, False, False, False]
    finally:
        hashes.close()


def test_the_third_failure_costs_a_second_and_each_one_more_twice_that():
    slowing, now, delays = Slowing(), 0.0, []
    for n in range(ACCOUNT_FREE + 8):
        tried = keys("li.wei", f"10.0.0.{n}")
        assert slowing.begin(tried, now) == 0
        if n >= ACCOUNT_FREE - 1:
            delays.append(slowing.begin(tried, now))
            now += delays[-1]

    assert delays == [1, 2, 4, 8, 16, 32, DELAY_S_MOST, DELAY_S_MOST, DELAY_S_MOST]


def test_many_at_the_same_time_are_many():
    slowing, tried = Slowing(), keys("li.wei", "10.0.0.1")

    assert [slowing.begin(tried, 0.0) > 0 for _ in range(6)] == [False] * 3 + [True] * 3


def test_whoever_gets_in_is_forgiven_and_time_forgives_all():
    slowing, tried = Slowing(), keys("li.wei", "10.0.0.1")
    for _ in range(3):
        slowing.begin(tried, 0.0)
    slowing.succeeded(*tried)
    assert slowing.begin(tried, 0.0) == 0

    for second in (10, 20, 30, 40):
        slowing.begin(tried, second)
    assert slowing.begin(tried, 40) > 0
    assert slowing.begin(tried, 40 + FORGOTTEN_S + 1) == 0


def test_an_address_that_guesses_at_many_accounts_is_slowed_too():
    slowing = Slowing()
    waits = [slowing.begin(keys(f"p{n}", "10.0.0.1"), 0.0) for n in range(ADDRESS_FREE + 1)]

    assert waits[:-1] == [0.0] * ADDRESS_FREE
    assert waits[-1] > 0
    assert slowing.begin(keys("p0", "10.0.0.2"), 0.0) == 0


def test_what_is_kept_of_guesses_is_bounded():
    slowing = Slowing()
    for n in range(6_000):
        slowing.begin(keys(f"p{n}", f"10.0.{n // 250}.{n % 250}"), 0.0)

    assert len(slowing._failed) <= 10_000
