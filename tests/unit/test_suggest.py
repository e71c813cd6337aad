"""Suggestions: each rule says what it should, in its order, and names its records."""

from dataclasses import replace

import pytest

from smsfilter.flow.case import Outcome
from smsfilter.flow.suggest import CAMPAIGN_LEAST, RULES, Facts, suggest

REPORTS = ("report:1",)
ACME = Facts(company="acme", reports=REPORTS)
SENT = replace(ACME, forwards=("record:edge/3/17",), is_complete=True)
BEFORE = (("case:4", "not_spam"), ("case:5", "not_spam"))
CROWD = tuple(f"report:{n}" for n in range(CAMPAIGN_LEAST))
REFERRED = Facts(reports=REPORTS, is_complete=True)

CASES = [
    (
        replace(SENT, forwarded_after=("incident:2",)),
        (Outcome.UPHELD, "forwarded_after_block", ("incident:2",)),
    ),
    (
        replace(SENT, earlier=BEFORE),
        (Outcome.NOT_SPAM, "as_decided_before", ("case:4", "case:5")),
    ),
    (SENT, (Outcome.UPHELD, "sent_by_company", ("record:edge/3/17",))),
    (replace(SENT, is_complete=False), (Outcome.UPHELD, "sent_by_company", ("record:edge/3/17",))),
    (
        replace(ACME, campaign=CROWD, campaign_customers=CAMPAIGN_LEAST),
        (Outcome.UPHELD, "campaign", CROWD),
    ),
    (replace(REFERRED, is_handset=True), (Outcome.REFERRED, "not_through_us", REPORTS)),
    (REFERRED, (Outcome.REFERRED, "not_through_us", REPORTS)),
    (replace(ACME, is_complete=True), (Outcome.REFERRED, "not_sent_by_company", REPORTS)),
    (
        Facts(is_unmatched=True, search_over=True, reports=REPORTS),
        (Outcome.UNRESOLVABLE, "nobody_found", REPORTS),
    ),
]


@pytest.mark.parametrize(("facts", "said"), CASES)
def test_a_rule_says_what_follows(facts, said):
    found = suggest(facts)
    assert found is not None
    assert found[:3] == said
    assert found.why


def test_each_rule_has_a_case_here():
    assert {rule.name for rule in RULES} == {said[1] for _, said in CASES}


SILENT = [
    ACME,  # no records of those days: nothing follows from there being none
    replace(ACME, campaign=CROWD[:-1], campaign_customers=CAMPAIGN_LEAST - 1),
    replace(ACME, is_complete=True, sent_earlier=True),  # reported late, perhaps
    replace(REFERRED, sent_earlier=True),
    replace(REFERRED, is_complete=False),
    replace(REFERRED, is_undecided=True),  # messages of it came: a person names the company
    Facts(is_unmatched=True, is_complete=True, reports=REPORTS),
    Facts(is_unmatched=True, is_complete=True, campaign=CROWD, campaign_customers=99),
]


@pytest.mark.parametrize("facts", SILENT)
def test_nothing_is_suggested_where_nothing_follows(facts):
    assert suggest(facts) is None


def test_decisions_that_differ_say_nothing():
    facts = replace(SENT, earlier=(("case:4", "not_spam"), ("case:5", "upheld")))
    assert suggest(facts).rule == "sent_by_company"


def test_what_was_decided_for_others_does_not_outweigh_the_records():
    facts = replace(
        ACME,
        is_complete=True,
        earlier=(("case:4", "upheld"),),
        campaign=CROWD,
        campaign_customers=CAMPAIGN_LEAST,
    )
    assert suggest(facts).rule == "not_sent_by_company"
