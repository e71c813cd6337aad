"""A message on its way through the intake: as it came, as it was decided, as it was filed."""

from dataclasses import dataclass

from smsfilter.ledger.actor import Actor
from smsfilter.reports.replies import Outcome
from smsfilter.store.transaction import Entered


@dataclass(frozen=True, slots=True)
class Heard:
    """A message as it came, whatever it says."""

    channel: str
    """sms, phone or import."""
    reporter: str
    """E.164 digits."""
    key: bytes
    """What makes two messages the same: esm_class, data_coding and the exact octets."""
    raw: bytes
    text: str
    complete: bool = True
    parts: tuple[int, ...] = ()
    """The rows that it was joined from."""
    by: Actor | None = None
    """Who entered it; None = the customer, by SMS."""
    at: int | None = None
    """When the customer said it (µs UTC), where that was before it was entered."""


@dataclass(frozen=True, slots=True)
class Decided:
    """What is to be done about it."""

    state: str
    reply: Outcome
    company: str | None = None
    """The company that is to be blocked."""
    sources: tuple[str, ...] = ()
    """The sources that are to be blocked, where no one company is known: normalised, a person's
    number with + and its country code."""
    source: str | None = None
    """The reported source, normalised, where it is a service's."""
    source_customer: str | None = None
    """Its number (E.164 digits), where it is a handset's."""
    text: str = ""
    """The offending text, verbatim."""
    completes: bool = False
    """It is the number to a text that was sent before without one."""
    match_kind: str | None = None
    evidence: str | None = None


@dataclass(frozen=True, slots=True)
class Filed:
    """What was filed."""

    report: int
    customer: str
    state: str
    """What has become of it."""
    target: str | None
    """Whom its case is about: a company id, or source:…"""
    is_copy: bool
    """It was there before."""
    must_follow: bool
    """It asks for a block that is not known to be in force: nobody may be told before."""
    was_blocked: bool
    """The pair was blocked already when it came: something got through, or came another way."""
    is_confirmed: bool
    """Its answer was released: nothing is to be waited for."""
    entered: Entered
    """Its row of the ledger: the index has to follow up to there."""
