"""Customers' numbers as people write them at the desk."""

from typing import Annotated, Final

from pydantic import Field

from smsfilter.desk.problems import invalid
from smsfilter.rules.numbers import customer_key

NO_CUSTOMER: Final = "not a number of a customer: write it as 13800138000 or +8613800138000"

Number = Annotated[str, Field(min_length=1, max_length=40)]
"""A number in the body of a request."""


def digits_of(written: str, country_code: str) -> str:
    """Return the number (E.164 digits) that the records know a customer by. Raises Problem."""
    digits = customer_key(written, country_code)
    if digits is None:
        raise invalid(NO_CUSTOMER)
    return digits
