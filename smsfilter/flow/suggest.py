"""What a case may be decided to be, suggested from its evidence by named rules.

The rules are asked in order and the first that says something is the suggestion; it names the rule
and the records that it rests on, and decides nothing: a person does. Whatever is not surely known
makes a rule keep silent, above all decision records that are not complete.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from smsfilter.flow.case import Outcome

CAMPAIGN_LEAST: Final = 5
"""Customers who reported one text within a week, from which on it is a campaign: as many as the
first step of the ladder against a sender."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the evidence of a case comes to; records are named as `report:7` or `case:3`."""

    company: str | None = None
    """Whom the case is about, where that is a company."""
    is_undecided: bool = False
    """A person has yet to say whose the source is: it is blocked, as messages of it came."""
    is_unmatched: bool = False
    """Nobody was found who has sent it."""
    is_handset: bool = False
    """A person's number was reported."""
    search_over: bool = False
    """The time in which records may still arrive is over."""
    is_complete: bool = False
    """The decision records of the three days before the report are all there."""
    reports: Sequence[str] = ()
    """The reports of the case."""
    forwards: Sequence[str] = ()
    """Messages of the company, or from the source, forwarded to the customer in these days."""
    sent_earlier: bool = False
    """Such messages came before these days: it may be one of them that is reported so late."""
    forwarded_after: Sequence[str] = ()
    """Incidents: forwarded although it was blocked."""
    campaign: Sequence[str] = ()
    """Reports of the same text, from whatever source, one of each customer."""
    campaign_customers: int = 0
    earlier: Sequence[tuple[str, str]] = ()
    """Decided cases of other customers about the same company and text, and their outcomes."""


class Suggestion(NamedTuple):
    """An outcome, and what it follows from."""

    outcome: Outcome
    rule: str
    records: tuple[str, ...]
    why: str


class Rule(NamedTuple):
    """One rule."""

    name: str
    judge: Callable[[Facts], tuple[Outcome, Sequence[str], str] | None]


def suggest(facts: Facts) -> Suggestion | None:
    """Return the suggestion of the first rule that says something; None where none does."""
    for rule in RULES:
        if (said := rule.judge(facts)) is not None:
            outcome, records, why = said
            return Suggestion(outcome, rule.name, tuple(records), why)
    return None


_Said = tuple[Outcome, Sequence[str], str] | None


def _forwarded_after_block(facts: Facts) -> _Said:
    if not facts.forwarded_after:
        return None
    return Outcome.UPHELD, facts.forwarded_after, "it was forwarded although it was blocked"


def _as_decided_before(facts: Facts) -> _Said:
    outcomes = {outcome for _, outcome in facts.earlier}
    if facts.company is None or _surely_not_sent(facts) or len(outcomes) != 1:
        return None
    (outcome,) = outcomes
    cases = [case for case, _ in facts.earlier]
    return Outcome(outcome), cases, f"the same text of {facts.company} was decided so before"


def _sent_by_company(facts: Facts) -> _Said:
    if facts.company is None or not facts.forwards:
        return None
    return (
        Outcome.UPHELD,
        facts.forwards,
        f"{facts.company} has sent to this customer in the 72 hours before the report",
    )


def _campaign(facts: Facts) -> _Said:
    if facts.company is None or _surely_not_sent(facts):
        return None
    if facts.campaign_customers < CAMPAIGN_LEAST:
        return None
    why = f"{facts.campaign_customers} customers reported the same text within 7 days"
    return Outcome.UPHELD, facts.campaign, why


def _not_through_us(facts: Facts) -> _Said:
    if facts.company is not None or facts.is_undecided or facts.forwards or facts.sent_earlier:
        return None
    if facts.is_handset:
        why = "a person's number: its messages do not come this way"
    elif facts.is_complete and not facts.is_unmatched:
        why = "nobody owns the source, and nothing of it was forwarded to this customer"
    else:
        return None
    return Outcome.REFERRED, facts.reports, why


def _not_sent_by_company(facts: Facts) -> _Said:
    """The customer has a message in the company's name that did not come this way.

    That is not for the company to answer for, and not for us to call harmless: whoever looks into
    other ways in (another operator's network, a false base station) has to see it.
    """
    if facts.company is None or not _surely_not_sent(facts):
        return None
    why = f"nothing of {facts.company} was forwarded to this customer in the 72 hours before"
    return Outcome.REFERRED, facts.reports, f"{why}: it came another way"


def _nobody_found(facts: Facts) -> _Said:
    if not (facts.is_unmatched and facts.search_over):
        return None
    return Outcome.UNRESOLVABLE, facts.reports, "nobody was found in 72 hours who has sent it"


def _surely_not_sent(facts: Facts) -> bool:
    return facts.is_complete and not facts.forwards and not facts.sent_earlier


RULES: Final = (
    Rule("forwarded_after_block", _forwarded_after_block),
    Rule("as_decided_before", _as_decided_before),
    Rule("sent_by_company", _sent_by_company),
    Rule("campaign", _campaign),
    Rule("not_through_us", _not_through_us),
    Rule("not_sent_by_company", _not_sent_by_company),
    Rule("nobody_found", _nobody_found),
)
"""In the order in which they are asked."""
