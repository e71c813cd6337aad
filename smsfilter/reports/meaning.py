"""What a message to the report centre can mean: a closed set."""

from dataclasses import dataclass
from enum import StrEnum

from smsfilter.reports.source import Source


@dataclass(frozen=True, slots=True)
class Report:
    """A source and what it sent."""

    source: Source
    text: str
    """The offending text, verbatim."""


@dataclass(frozen=True, slots=True)
class NumberOnly:
    """A source without a text."""

    source: Source


@dataclass(frozen=True, slots=True)
class TextOnly:
    """A text without a source: the customer has to be asked."""

    text: str


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """The customer takes a report back."""

    id: int | None
    """The report's counter; None where `written` is no number of a report."""
    written: str


@dataclass(frozen=True, slots=True)
class Appeal:
    """The customer does not agree with the result."""

    id: int | None
    written: str
    reason: str
    """What the customer says about it, verbatim; may be empty."""


class Why(StrEnum):
    """Why a message says nothing."""

    EMPTY = "empty"
    NO_WORDS = "no_words"
    TOO_SHORT = "too_short"
    NOT_A_NUMBER = "not_a_number"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Nonsense:
    """Nothing that can be acted on."""

    why: Why


Parsed = Report | NumberOnly | TextOnly | Withdrawal | Appeal | Nonsense
