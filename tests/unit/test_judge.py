"""The rules in their order, and what a failed look-up means to each of them."""

from typing import Any
from zoneinfo import ZoneInfo

import pytest

from smsfilter.rules.judge import Decision, Effect, Facts, Judge, Line, Target
from smsfilter.rules.policy import Policy
from smsfilter.rules.senders import Registry, RegistryFile
from smsfilter.rules.verdict import Kind, Reason

NOW = 1_795_000_000.0  # 2026-11-18 11:06:40 UTC
NUMBER = (b"8613800138000",)
REGISTRY = Registry(
    RegistryFile.model_validate(
        {
            "companies": {
                "acme": {"accounts": ["acme"], "sources": ["10657555"], "headers": ["ACME"]},
                "bravo": {"accounts": ["bravo"], "sources": ["10658888"]},
            },
            "resellers": {"resell7": {"may_send_for": ["acme"]}},
        }
    ),
    ZoneInfo("Asia/Shanghai"),
)


def judge(registry: Registry | None = REGISTRY, **policy: Any) -> Judge:
    return Judge(Policy.model_validate(policy), registry)


def rules(**changes: dict[str, Any]) -> list[dict[str, Any]]:
    """The default rules with what differs, by id."""
    names = {"source": "source", "blocked": "block", "approval": "approval"}
    names |= {"scheduled": "scheduled", "replace": "replace"}
    return [{"id": name, "type": kind, **changes.get(name, {})} for name, kind in names.items()]


def facts(
    readings: tuple[bytes, ...] = NUMBER,
    blocked: bool | None = False,
    approved: bool | None = True,
    schedule: bytes | None = None,
    target: Target = Target.NUMBER,
) -> Facts:
    return Facts(readings, blocked, approved, schedule, NOW, target)


def decide(
    one: Judge, account: str = "acme", source: bytes = b"10657555", **known: Any
) -> Decision:
    return one.decide(one.line(account, source, NOW), facts(**known))


def effects(decision: Decision) -> dict[str, str]:
    return {step.rule: step.effect for step in decision.steps}


# what is asked


def test_whom_an_own_account_accuses_and_what_approvals_are_asked() -> None:
    line = judge().line("acme", b"+8610657555012", NOW)
    assert line.company == "acme"
    assert line.source == "10657555012"
    assert line.members == ("acme", "source:10657555012", "*")
    assert line.approval == ("acme", ("10657555012", "10657555", "*"))
    assert line.plain


def test_another_companys_source_accuses_both() -> None:
    line = judge().line("acme", b"10658888", NOW)
    assert line.members == ("acme", "bravo", "source:10658888", "*")
    assert not line.plain


def test_nobodys_source_on_a_reseller_asks_for_no_approval() -> None:
    line = judge().line("resell7", b"999999", NOW)
    assert line.company is None
    assert line.members == ("source:999999", "*")
    assert line.approval is None
    assert not line.plain


def test_without_a_registry_only_blocks_of_everything_are_asked() -> None:
    line = judge(None).line("acme", b"10657555", NOW)
    assert (line.members, line.approval, line.company, line.source) == (("*",), None, None, "")
    assert not line.plain


def test_no_approval_is_asked_where_no_rule_wants_it() -> None:
    for one in (judge(rules=rules(approval={"mode": "off"})), judge(rules=rules()[:2])):
        line = one.line("acme", b"10657555", NOW)
        assert line.approval is None
        assert line.plain


# the verdicts, in the order of the rules


def test_a_clean_message_passes() -> None:
    decision = decide(judge())
    assert decision == Decision(Kind.FORWARD, None, "", 0, decision.steps)
    assert set(effects(decision).values()) == {Effect.OK}
    assert list(effects(decision)) == [
        *("destination", "source", "signature", "blocked", "approval", "scheduled"),
        *("replace", "lists"),
    ]


@pytest.mark.parametrize(
    ("account", "source", "known", "expected"),
    [
        ("acme", b"10657555", {"readings": ()}, ("unusable_destination", "destination", 0x0B)),
        ("acme", b"10658888", {}, ("source_mismatched", "source", 0x0A)),
        ("acme", b"", {}, ("source_mismatched", "source", 0x0A)),
        ("nobody", b"10657555", {}, ("unknown_sender", "source", 0x0A)),
        ("resell7", b"10658888", {}, ("source_mismatched", "source", 0x0A)),
        ("resell7", b"", {}, ("unknown_sender", "source", 0x0A)),
        ("acme", b"10657555", {"blocked": True}, ("blocked_by_report", "blocked", 0x66)),
        ("acme", b"10657555", {"approved": False}, ("sender_not_approved", "approval", 0x0A)),
        ("acme", b"10657555", {"blocked": None}, ("lookup_unavailable", "blocked", 0x58)),
        ("acme", b"10657555", {"approved": None}, ("lookup_unavailable", "approval", 0x58)),
        (
            *("acme", b"10657555", {"schedule": b"261201000000000R"}),
            ("scheduled_not_allowed", "scheduled", 0x61),
        ),
    ],
)
def test_refusals(
    account: str, source: bytes, known: dict[str, Any], expected: tuple[str, str, int]
) -> None:
    decision = decide(judge(), account, source, **known)
    assert (decision.reason, decision.rule, decision.command_status) == expected
    temporary = decision.reason is Reason.LOOKUP_UNAVAILABLE
    assert decision.kind is (Kind.TEMPORARY if temporary else Kind.PERMANENT)


def test_the_first_refusal_wins_in_the_order_of_the_file() -> None:
    wrong = {"blocked": True, "approved": False, "schedule": b"261201000000000R"}
    assert decide(judge(), source=b"10658888", **wrong).rule == "source"
    assert decide(judge(), **wrong).rule == "blocked"
    turned = judge(rules=list(reversed(rules())))
    assert decide(turned, source=b"10658888", **wrong).rule == "scheduled"
    assert [step.rule for step in decide(turned, **wrong).steps][-1] == "scheduled"


def test_a_block_found_under_one_reading_counts_more_than_a_failure_under_another() -> None:
    """`blocked` is True as soon as one reading has it; None only where none is known to."""
    assert decide(judge(), blocked=True, approved=None).reason is Reason.BLOCKED_BY_REPORT


def test_without_a_registry_nothing_can_be_decided_but_a_block_of_everything() -> None:
    one = judge(None)
    assert decide(one, approved=None).reason is Reason.LOOKUP_UNAVAILABLE
    unregistered = judge(None, rules=rules(source={"mode": "off"}))
    assert decide(unregistered, blocked=True).reason is Reason.BLOCKED_BY_REPORT
    assert decide(unregistered).reason is Reason.LOOKUP_UNAVAILABLE


@pytest.mark.parametrize(
    ("max_ahead", "schedule", "passes"),
    [
        ("0s", None, True),
        ("0s", b"000000000001000R", False),
        ("48h", b"000002000000000R", True),
        ("48h", b"000002000001000R", False),
        ("48h", b"261120190600000+", False),  # two days ahead, but said in UTC+0: nearly 56 h
        ("48h", b"261120100640032+", True),
        ("48h", b"250101000000000+", True),  # long past: delivered at once
        ("48h", b"abcdefghijklmnop", False),
        ("48h", b"261399000000000+", False),
        ("48h", b"26112010064003\xb2+", False),
    ],
)
def test_how_far_ahead_a_message_may_be_scheduled(
    max_ahead: str, schedule: bytes | None, passes: bool
) -> None:
    one = judge(rules=rules(scheduled={"max_ahead": max_ahead}))
    decision = decide(one, schedule=schedule)
    assert (decision.kind is Kind.FORWARD) is passes
    assert passes or decision.reason is Reason.SCHEDULED_NOT_ALLOWED


# modes


@pytest.mark.parametrize("where", ["rule", "account", "policy"])
def test_a_rule_in_shadow_says_what_it_would_have_done(where: str) -> None:
    policy: dict[str, Any] = {
        "rule": {"rules": rules(blocked={"mode": "shadow"})},
        "account": {"accounts": {"acme": {"mode": "shadow"}}},
        "policy": {"mode": "shadow"},
    }[where]
    decision = decide(judge(**policy), blocked=True)
    assert decision.kind is Kind.FORWARD
    assert [s for s in decision.steps if s.reason] == [
        ("blocked", Effect.SHADOW, Reason.BLOCKED_BY_REPORT)
    ]


def test_a_shadow_is_one_accounts_or_one_rules_only() -> None:
    one = judge(accounts={"acme": {"mode": "shadow"}})
    assert decide(one, "bravo", b"10658888", blocked=True).kind is Kind.PERMANENT
    two = judge(rules=rules(source={"mode": "shadow"}))
    assert decide(two, source=b"10658888", blocked=True).reason is Reason.BLOCKED_BY_REPORT


def test_in_shadow_even_what_cannot_be_read_or_looked_up_passes() -> None:
    one = judge(mode="shadow")
    for known in ({"readings": ()}, {"blocked": None}, {"approved": None}):
        assert decide(one, **known).kind is Kind.FORWARD
    assert decide(one, "nobody", b"1").kind is Kind.FORWARD


def test_a_rule_that_is_off_is_not_asked() -> None:
    decision = decide(judge(rules=rules(blocked={"mode": "off"})), blocked=True)
    assert decision.kind is Kind.FORWARD
    assert effects(decision)["blocked"] == Effect.OFF


def test_on_error_pass_is_for_its_rule_and_for_failed_lookups_only() -> None:
    one = judge(rules=rules(blocked={"on_error": "pass"}))
    decision = decide(one, blocked=None)
    assert decision.kind is Kind.FORWARD
    assert effects(decision)["blocked"] == Effect.BYPASS
    assert decide(one, blocked=True).reason is Reason.BLOCKED_BY_REPORT
    assert decide(one, blocked=None, approved=None).rule == "approval"
    assert decide(one, blocked=None, readings=()).reason is Reason.UNUSABLE_DESTINATION


def test_an_unknown_account_may_be_its_own_company() -> None:
    one = judge(unknown="account")
    line = one.line("newcomer", b"12345", NOW)
    assert line.members == ("newcomer", "source:12345", "*")
    assert line.approval == ("newcomer", ("12345", "*"))
    assert decide(one, "newcomer", b"12345").kind is Kind.FORWARD
    assert decide(one, "newcomer", b"10657555").reason is Reason.SOURCE_MISMATCHED
    assert decide(one, "newcomer", b"12345", approved=False).rule == "approval"


# destinations and replace_sm


def test_a_destination_that_may_not_be_sent_to_under_any_reading() -> None:
    one = judge(refused_destinations=["10086999", "13800138000"])
    for readings in ((b"10086999",), (b"8610086999", b"10086999"), (b"8613800138000",)):
        decision = decide(one, readings=readings)
        assert decision.reason is Reason.DESTINATION_NOT_ALLOWED
        assert decision.command_status == 0x0B
    assert decide(one, readings=(b"10086998",)).kind is Kind.FORWARD


def test_replace_sm_is_asked_of_nothing_but_its_rule() -> None:
    refused = decide(judge(), target=Target.MESSAGE, readings=(), blocked=None, approved=None)
    assert (refused.reason, refused.command_status) == (Reason.REPLACE_NOT_ALLOWED, 0x13)
    one = judge(rules=rules(replace={"mode": "off"}))
    assert decide(one, target=Target.MESSAGE, readings=()).kind is Kind.FORWARD


# statuses


def test_the_status_is_the_accounts_then_the_rules_then_the_tables() -> None:
    table = judge()
    rule = judge(rules=rules(blocked={"status": "ESME_RINVDSTADR"}))
    account = judge(
        rules=rules(blocked={"status": "ESME_RINVDSTADR"}),
        accounts={"acme": {"status": {"blocked_by_report": "0x45"}}},
    )
    assert [decide(one, blocked=True).command_status for one in (table, rule, account)] == [
        *(0x66, 0x0B, 0x45)
    ]
    other = decide(account, "bravo", b"10658888", blocked=True)
    assert other.command_status == 0x0B


def test_the_status_of_a_rule_is_not_for_its_failures() -> None:
    """A look-up that failed must stay temporary on the wire."""
    one = judge(rules=rules(blocked={"status": "0x0B"}))
    assert decide(one, blocked=None).command_status == 0x58


# the short cut


@pytest.mark.parametrize(
    "policy",
    [
        {},
        {"mode": "shadow"},
        {"rules": rules(blocked={"mode": "off"}, source={"mode": "off"})},
        {"rules": rules(source={"mode": "shadow"}, approval={"mode": "shadow"})},
        {"rules": rules(approval={"mode": "off"}), "unknown": "account"},
        {"rules": [], "unknown": "account"},
    ],
)
@pytest.mark.parametrize("account", ["acme", "bravo", "resell7", "nobody"])
@pytest.mark.parametrize("source", [b"10657555", b"10658888", b"", b"ACME", "АСМЕ".encode()])
def test_plain_means_that_a_walk_would_find_nothing_to_say(
    policy: dict[str, Any], account: str, source: bytes
) -> None:
    one = judge(**policy)
    line: Line = one.line(account, source, NOW)
    decision = one.decide(line, facts())
    silent = decision.kind is Kind.FORWARD and not any(step.reason for step in decision.steps)
    assert line.plain == silent
