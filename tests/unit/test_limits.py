"""How much an account may submit, by a clock of the test's own."""

from hypothesis import given
from hypothesis import strategies as st

from smsfilter.proxy.limits import NO_LIMIT, Allowances, Bucket
from smsfilter.rules.policy import AccountPolicy
from smsfilter.rules.verdict import Reason


def limits(**fields: int) -> AccountPolicy:
    return AccountPolicy.model_validate(fields)


def test_a_second_of_the_rate_at_once_then_as_time_goes_by() -> None:
    bucket = Bucket()
    assert bucket.left(10, 100.0) == 10
    bucket.take(10)
    assert bucket.left(10, 100.05) == 0
    assert bucket.left(10, 100.31) == 3
    assert bucket.left(10, 1000.0) == 10


def test_what_was_taken_in_advance_is_waited_for() -> None:
    bucket = Bucket()
    assert bucket.left(10, 0.0) == 10
    bucket.take(30)
    assert bucket.left(10, 1.9) == 0
    assert bucket.left(10, 3.0) == 10


@given(st.integers(1, 50), st.lists(st.tuples(st.floats(0, 0.5), st.integers(0, 80)), max_size=40))
def test_never_more_than_the_rate_and_one_second(rate: int, steps: list[tuple[float, int]]) -> None:
    bucket, now, taken = Bucket(), 0.0, 0
    for wait, wanted in steps:
        now += wait
        count = min(wanted, bucket.left(rate, now))
        bucket.take(count)
        taken += count
        assert taken <= rate * (now + 1) + 1e-6


def test_the_narrower_limit_decides_and_is_named() -> None:
    both = Allowances()
    assert both.left("acme", limits(window=3), 1, 0.0) == (2, Reason.WINDOW)
    assert both.left("acme", limits(window=3), 9, 0.0) == (0, Reason.WINDOW)
    assert both.left("acme", limits(rate=5), 9, 0.0) == (5, Reason.RATE)
    both.take("acme", 4)
    assert both.left("acme", limits(rate=5, window=3), 0, 0.0) == (1, Reason.RATE)
    assert both.left("acme", limits(), 0, 0.0)[0] == NO_LIMIT
    both.take("nobody", 4)
