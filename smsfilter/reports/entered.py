"""Reports that somebody enters for a customer: on the phone, or from a file.

They say the same as an SMS and are read by the same parser, so that nothing can be reported in one
way and not in the other. Pure.
"""

import json
from typing import Annotated, Final

from pydantic import Field

from smsfilter.desk.written import NO_CUSTOMER, Number
from smsfilter.ledger.actor import Actor
from smsfilter.reports.filing import Heard
from smsfilter.reports.parse import NumberOnly, Parsed, Report, parse
from smsfilter.rules.numbers import customer_key
from smsfilter.rules.policy import Model

NO_SOURCE: Final = "source: not a number or a header that an SMS can come from"
NO_TEXT: Final = "text: a header alone names nobody for sure: the text is needed as well"


class Entry(Model):
    """A report as it is entered."""

    customer: Number
    source: Annotated[str, Field(min_length=1, max_length=80)]
    text: Annotated[str, Field(max_length=10_000)] = ""
    note: Annotated[str, Field(max_length=2_000)] = ""
    """For whoever looks at it later; kept sealed, as it may name somebody."""
    received_at: Annotated[int, Field(ge=0, lt=1 << 62)] | None = None
    """When the customer said it, µs UTC, where that was before."""


def read(entry: Entry, country_code: str) -> Parsed:
    """Read an entry as the SMS that it stands for. Raises ValueError: what is wrong in it."""
    if customer_key(entry.customer, country_code) is None:
        raise ValueError(f"customer: {NO_CUSTOMER}")
    parsed = parse(_message(entry), country_code)
    if isinstance(parsed, Report | NumberOnly):
        return parsed
    alone = not entry.text and isinstance(parse(f"{entry.source}*x", country_code), Report)
    raise ValueError(NO_TEXT if alone else NO_SOURCE)


def heard(entry: Entry, channel: str, by: Actor, country_code: str) -> Heard:
    """Return an entry as something heard. Raises ValueError: what is wrong in it."""
    read(entry, country_code)
    reporter = customer_key(entry.customer, country_code)
    assert reporter is not None  # noqa: S101 - read() has looked
    message = _message(entry)
    key = f"{channel}|{'' if entry.received_at is None else entry.received_at}|{message}"
    kept = entry.model_dump(exclude={"customer"}, exclude_defaults=True)
    return Heard(
        channel,
        reporter,
        key.encode(),
        json.dumps(kept, ensure_ascii=False, sort_keys=True).encode(),
        message,
        by=by,
        at=entry.received_at,
    )


def note(raw: bytes) -> str:
    """Return the note of an entry that was kept as `raw`."""
    found: str = json.loads(raw).get("note", "")
    return found


def _message(entry: Entry) -> str:
    return f"{entry.source}*{entry.text}" if entry.text else entry.source
