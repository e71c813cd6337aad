"""One snapshot of policy and registry, and the verdict it gives.

The gate and `smsfilter explain` both come here: `line` says what an account and a source_addr
mean and what has to be asked for them, `decide` takes the answers and walks the rules in order.
The first refusal wins. A `Line` is `plain` when clean answers let its message pass with nothing
to say about it: the gate then forwards without a walk. No verdict is kept anywhere.
"""

from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple

from smsfilter.rules.numbers import Reader
from smsfilter.rules.policy import (
    ApprovalRule,
    BaseRule,
    BlockRule,
    ListsRule,
    Mode,
    OnError,
    Policy,
    ReplaceRule,
    Rule,
    ScheduledRule,
    SignatureRule,
    SourceRule,
)
from smsfilter.rules.senders import Registry, Sender
from smsfilter.rules.verdict import Kind, Reason
from smsfilter.smpp.errors import Malformed
from smsfilter.smpp.times import seconds_ahead

DESTINATION = BaseRule(id="destination")
"""What is asked of the destination before any rule: can it be read, and may it be sent to."""


class Effect:
    """What a step of a walk led to; strings, as `explain` prints them."""

    OK = "ok"
    REFUSE = "refuse"
    SHADOW = "shadow"
    BYPASS = "bypass"
    OFF = "off"


class Step(NamedTuple):
    """One rule's part in a verdict."""

    rule: str
    effect: str
    reason: Reason | None


class Decision(NamedTuple):
    """A verdict with its reason, and how it came about."""

    kind: Kind
    reason: Reason | None
    rule: str
    command_status: int
    steps: tuple[Step, ...]


class Target(Enum):
    """What a message goes to: most rules are not asked about all of these."""

    NUMBER = auto()
    LIST = auto()
    """A distribution list of the SMSC, whose members are not known (SMPP v3.4 §4.5.1.2)."""
    MESSAGE = auto()
    """An earlier message, which a replace_sm would change."""


class Facts(NamedTuple):
    """What is known of one message once the index has answered; None = could not be looked up."""

    readings: tuple[bytes, ...]
    """Every plausible reading of the destination; empty = it cannot be read, or is no number."""
    blocked: bool | None
    approved: bool | None
    schedule: bytes | None
    now: float
    """Unix time in seconds."""
    target: Target = Target.NUMBER


@dataclass(slots=True, eq=False)
class Line:
    """What an account and a source_addr mean under one snapshot."""

    account: str
    sender: Sender | None
    """None while there is no registry: nothing can be said of who sends."""
    members: tuple[str, ...]
    """What is asked for in `block:{…}` of the destination."""
    approval: tuple[str, tuple[str, ...]] | None
    """The company and the members asked for in its `approved:{…}`; None = nothing to ask."""
    plain: bool = False

    @property
    def company(self) -> str | None:
        """The company that sends, where it is known."""
        return self.sender.company if self.sender else None

    @property
    def source(self) -> str:
        """The normalised source, for logs."""
        return self.sender.source if self.sender else ""


class Judge:
    """A policy and a registry that are in force together."""

    __slots__ = (
        *("_shadowed", "limits", "policy", "read", "refused", "registry", "reads_signatures"),
        *("rules", "version"),
    )

    def __init__(self, policy: Policy, registry: Registry | None) -> None:
        self.policy = policy
        self.registry = registry
        self.version = policy.version_hash()
        self.read = Reader(policy.country_code)
        self.rules: tuple[Rule, ...] = policy.rules
        self.refused = frozenset(
            readings[0]
            for readings in map(self.read, map(str.encode, policy.refused_destinations))
            if readings
        )
        self.limits = {name: own for name, own in policy.accounts.items() if own.rate or own.window}
        """The accounts that may not submit as much as they like."""
        self.reads_signatures = registry is not None and registry.has_signatures
        """Whether a text can tell who sends."""
        self._shadowed = {name for name, own in policy.accounts.items() if own.mode is Mode.SHADOW}

    def line(
        self, account: str, source: bytes, now: float, signatures: tuple[str, ...] = ()
    ) -> Line:
        """What `account`, `source` and the text's signatures mean at `now` (Unix seconds)."""
        if self.registry is None:
            return Line(account, None, ("*",), None)
        sender = self.registry.resolve(
            account,
            source,
            now,
            self.policy.unknown,
            self.policy.country_code,
            signatures=signatures,
        )
        approval = None
        if sender.company is not None and self._active(ApprovalRule):
            registered = None if sender.look_alike else sender.matched
            wanted = (sender.source, registered, "*")
            approval = (sender.company, tuple(dict.fromkeys(m for m in wanted if m)))
        line = Line(account, sender, sender.accused, approval)
        clean = Facts((b"0",), False, True, None, now)
        line.plain = all(
            step.effect in (Effect.OK, Effect.OFF) for step in self.decide(line, clean).steps
        )
        return line

    def decide(self, line: Line, facts: Facts) -> Decision:
        """Walk the rules in order. The first refusal that is enforced is the verdict."""
        steps: list[Step] = []
        shadow = self.policy.mode is Mode.SHADOW or line.account in self._shadowed
        for rule in (DESTINATION, *self.rules):
            if rule.mode is Mode.OFF:
                steps.append(Step(rule.id, Effect.OFF, None))
                continue
            reason = self._ask(rule, line, facts)
            if reason is None:
                steps.append(Step(rule.id, Effect.OK, None))
            elif shadow or rule.mode is Mode.SHADOW:
                steps.append(Step(rule.id, Effect.SHADOW, reason))
            elif reason is Reason.LOOKUP_UNAVAILABLE and rule.on_error is OnError.PASS:
                steps.append(Step(rule.id, Effect.BYPASS, reason))
            else:
                steps.append(Step(rule.id, Effect.REFUSE, reason))
                kind, status = self.policy.answer(reason, rule, line.account)
                return Decision(kind, reason, rule.id, status, tuple(steps))
        return Decision(Kind.FORWARD, None, "", 0, tuple(steps))

    def _active(self, rule_type: type[BaseRule]) -> bool:
        return any(isinstance(rule, rule_type) and rule.mode is not Mode.OFF for rule in self.rules)

    def _ask(self, rule: BaseRule, line: Line, facts: Facts) -> Reason | None:
        """The reason for which `rule` would refuse; None = it has nothing against the message."""
        if facts.target is Target.MESSAGE:
            return Reason.REPLACE_NOT_ALLOWED if isinstance(rule, ReplaceRule) else None
        asked = type(rule)  # isinstance, of pydantic's classes, would cost the most of a walk
        if asked is SourceRule:
            return line.sender.refusal if line.sender else Reason.LOOKUP_UNAVAILABLE
        if asked is SignatureRule:
            foreign = line.sender is not None and line.sender.foreign_signature
            return Reason.SOURCE_MISMATCHED if foreign else None
        if asked is BlockRule:
            if facts.blocked:
                return Reason.BLOCKED_BY_REPORT
            unsure = facts.blocked is None or line.sender is None
            return Reason.LOOKUP_UNAVAILABLE if unsure and facts.readings else None
        if asked is ApprovalRule:
            return self._approval(line, facts)
        if type(rule) is ScheduledRule:
            return self._scheduled(rule.max_ahead.total_seconds(), facts)
        if asked is ListsRule:
            return Reason.LIST_NOT_ALLOWED if facts.target is Target.LIST else None
        if asked is ReplaceRule:
            return None
        return self._destination(facts)

    def _approval(self, line: Line, facts: Facts) -> Reason | None:
        if line.sender is None:
            return Reason.LOOKUP_UNAVAILABLE
        if line.sender.company is None:
            return Reason.SENDER_NOT_APPROVED
        if facts.approved is None:
            return Reason.LOOKUP_UNAVAILABLE
        return None if facts.approved else Reason.SENDER_NOT_APPROVED

    def _scheduled(self, most_s: float, facts: Facts) -> Reason | None:
        if not facts.schedule:
            return None
        try:
            fits = most_s > 0 and seconds_ahead(facts.schedule, facts.now) <= most_s
        except Malformed:
            fits = False
        return None if fits else Reason.SCHEDULED_NOT_ALLOWED

    def _destination(self, facts: Facts) -> Reason | None:
        if facts.target is Target.LIST:
            return None
        if not facts.readings:
            return Reason.UNUSABLE_DESTINATION
        if not self.refused.isdisjoint(facts.readings):
            return Reason.DESTINATION_NOT_ALLOWED
        return None
