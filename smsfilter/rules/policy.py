"""The policy file as a model: what is refused, in which order, how strictly, and for whom.

Ops edit it as YAML; `smsfilter.config` reads the text and reports errors by line and column. The
model is frozen: a reload builds a new one and swaps it whole. `version_hash` names the content
in every decision.
"""

import hashlib
import re
from datetime import timedelta
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
    field_validator,
)

from smsfilter.rules.verdict import ANSWERS, Kind, Reason
from smsfilter.smpp.const import STATUS_BY_NAME, STATUS_NAMES

_DURATION = re.compile(r"([0-9]{1,9})(ms|s|m|h|d)")
_UNIT_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def _duration(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("not a duration: write a number and a unit: 50ms, 10s, 5m, 48h or 180d")
    return timedelta(milliseconds=int(found[1]) * _UNIT_MS[found[2]])


def _duration_text(value: timedelta) -> str:
    ms = round(value.total_seconds() * 1000)
    for unit in ("d", "h", "m", "s"):
        if ms and ms % _UNIT_MS[unit] == 0:
            return f"{ms // _UNIT_MS[unit]}{unit}"
    return f"{ms}ms"


Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    PlainSerializer(_duration_text),
    WithJsonSchema({"type": "string", "pattern": r"^[0-9]{1,9}(ms|s|m|h|d)$"}),
]
"""A span of time, written `50ms`, `10s`, `5m`, `48h` or `180d`."""


def _status(value: object) -> int:
    if isinstance(value, str) and value in STATUS_BY_NAME:
        return STATUS_BY_NAME[value]
    try:
        number = int(value, 0) if isinstance(value, str) else int(str(value))
    except ValueError:
        raise ValueError(
            "not a command_status: write a name such as ESME_RINVDSTADR or a number such as 0x0B"
        ) from None
    if not 1 <= number <= 0xFFFF:
        raise ValueError("a refusal needs a command_status from 0x01 to 0xFFFF")
    return number


Status = Annotated[
    int,
    BeforeValidator(_status),
    PlainSerializer(lambda n: STATUS_NAMES.get(n, f"0x{n:02X}")),
    WithJsonSchema({"type": "string", "examples": ["ESME_RINVDSTADR", "0x0B"]}),
]
"""A command_status other than ESME_ROK: by name or by number (SMPP v3.4 §5.1.3)."""


class Model(BaseModel):
    """Base of every configuration model: frozen, and a key that is not known is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


class Mode(StrEnum):
    """How strictly a rule, an account or the whole policy is taken."""

    ENFORCE = "enforce"
    SHADOW = "shadow"
    OFF = "off"


class OnError(StrEnum):
    """What a rule says when its look-up could not be made."""

    TEMPORARY = "temporary"
    PASS = "pass"  # noqa: S105 - a verdict, not a password


def _identifier(value: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,31}", value):
        raise ValueError("not a rule's id: a small letter, then small letters, digits and _")
    return value


class BaseRule(Model):
    """What all rules share."""

    id: Annotated[str, AfterValidator(_identifier)] = Field(
        description="what logs and metrics call the rule"
    )
    mode: Mode = Field(
        Mode.ENFORCE, description="enforce; shadow: only count what it would refuse; off"
    )
    on_error: OnError = Field(
        OnError.TEMPORARY, description="what it says when Redis cannot answer: temporary or pass"
    )
    status: Status | None = Field(
        None, description="the command_status of its permanent refusals, by name or number"
    )


class SourceRule(BaseRule):
    """The source_addr must belong to a company that this account may send for."""

    type: Literal["source"]


class SignatureRule(BaseRule):
    """A signature at the head or tail of a text must not be another company's than the source."""

    type: Literal["signature"]


class BlockRule(BaseRule):
    """The company must not be one that this customer has blocked."""

    type: Literal["block"]


class ApprovalRule(BaseRule):
    """The company must be approved to send groups from this source."""

    type: Literal["approval"]
    require: Literal["always"] = Field("always", description="which messages need an approval")


class ScheduledRule(BaseRule):
    """A message may be scheduled at most `max_ahead`: a later one would outlive a later block."""

    type: Literal["scheduled"]
    max_ahead: Duration = Field(
        timedelta(0), description="how far in the future a delivery may lie; 0s: not at all"
    )


class ReplaceRule(BaseRule):
    """replace_sm would change a message that was judged before: refused."""

    type: Literal["replace"]


class ListsRule(BaseRule):
    """submit_multi to a distribution list, whose members nobody here can look up: refused."""

    type: Literal["lists"]


Rule = Annotated[
    SourceRule | SignatureRule | BlockRule | ApprovalRule | ScheduledRule | ReplaceRule | ListsRule,
    Field(discriminator="type"),
]

DEFAULT_RULES: tuple[Rule, ...] = (
    SourceRule(id="source", type="source"),
    SignatureRule(id="signature", type="signature"),
    BlockRule(id="blocked", type="block"),
    ApprovalRule(id="approval", type="approval"),
    ScheduledRule(id="scheduled", type="scheduled"),
    ReplaceRule(id="replace", type="replace"),
    ListsRule(id="lists", type="lists"),
)


def _certificate(value: str) -> str:
    kind, _, name = value.partition(":")
    if kind == "sha256":
        name = name.replace(":", "").lower()
        known = re.fullmatch(r"[0-9a-f]{64}", name) is not None
    elif kind == "dns":
        name = name.lower()
        known = re.fullmatch(r"[a-z0-9*._-]{1,253}", name) is not None
    else:
        known = kind == "cn" and 1 <= len(name) <= 64
    if not known:
        raise ValueError(
            "not a name of a certificate: write sha256: and its fingerprint of 64 hex digits, "
            "cn: and the common name of its subject, or dns: and a DNS name of its subjectAltName"
        )
    return f"{kind}:{name}"


CertificateName = Annotated[
    str,
    AfterValidator(_certificate),
    WithJsonSchema({"type": "string", "pattern": "^(sha256|cn|dns):.+$"}),
]
"""`sha256:…`, `cn:…` or `dns:…`; fingerprints and DNS names in small letters, without colons."""


class AccountPolicy(Model):
    """What differs for one account (system_id)."""

    mode: Literal[Mode.ENFORCE, Mode.SHADOW] = Field(
        Mode.ENFORCE, description="shadow: only count what would be refused of this account"
    )
    addresses: tuple[IPv4Network | IPv6Network, ...] = Field(
        (), description="where it may connect from, as networks; empty: anywhere"
    )
    certificates: tuple[CertificateName, ...] = Field(
        (),
        description="the client certificates it may bind with, as sha256:…, cn:… or dns:…; "
        "empty: none is needed",
    )
    max_sessions: Annotated[int, Field(ge=1)] | None = Field(
        None, description="how many binds it may hold at once"
    )
    rate: Annotated[int, Field(ge=1)] | None = Field(
        None, description="how many messages a second it may submit, over all its sessions"
    )
    window: Annotated[int, Field(ge=1)] | None = Field(
        None, description="how many unanswered requests each of its sessions may have"
    )
    bind_types: tuple[Literal["tx", "rx", "trx"], ...] = Field(
        (), description="as what it may bind: tx, rx, trx; empty: as any"
    )
    failed_bind_delay: Duration = Field(
        timedelta(seconds=32),
        description="the longest that a bind waits after failed ones; 0s: it never waits",
    )
    error_body: Literal["auto", "none", "nul"] = Field(
        "auto",
        description="the body of a refused submit_sm's response: none, an empty message_id (nul), "
        "or what belongs to the interface_version of its bind (auto)",
    )
    status: dict[Reason, Status] = Field(
        {}, description="reason: command_status, for this account alone"
    )


def _country_code(value: str) -> str:
    if not re.fullmatch(r"[1-9][0-9]{0,2}", value):
        raise ValueError("not an E.164 country code: one to three digits, without + or 00")
    return value


def _destination(value: str) -> str:
    if not re.fullmatch(r"[0-9]{1,15}", value):
        raise ValueError("not a destination: its digits alone, at most 15, such as 10086999")
    return value


class Policy(Model):
    """`policy.yaml`, version 1."""

    version: Literal["1"] = Field("1", description="the version of this format")
    country_code: Annotated[str, AfterValidator(_country_code)] = Field(
        "86", description="E.164 country code by which national numbers are read"
    )
    timezone: str = Field("Asia/Shanghai", description="of the dates in the registry")
    mode: Literal[Mode.ENFORCE, Mode.SHADOW] = Field(
        Mode.ENFORCE, description="shadow: refuse nothing for the rules' sake, only count it"
    )
    unknown: Literal["refuse", "account"] = Field(
        "refuse", description="an unregistered account: refused, or a company of its own"
    )
    refused_destinations: tuple[Annotated[str, AfterValidator(_destination)], ...] = Field(
        (), description="numbers that no sender may reach, such as the report centre"
    )
    rules: tuple[Rule, ...] = Field(DEFAULT_RULES, description="in order: the first refusal wins")
    accounts: dict[Annotated[str, Field(min_length=1, max_length=15)], AccountPolicy] = Field(
        {}, description="system_id: what differs for it"
    )

    @field_validator("rules")
    @classmethod
    def _one_rule_per_type(cls, rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
        for attribute in ("id", "type"):
            names = [getattr(rule, attribute) for rule in rules]
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"more than one rule with {attribute} {', '.join(twice)}")
        return rules

    def version_hash(self) -> str:
        """Twelve hex digits that name this content in logs and decisions."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]

    def answer(self, reason: Reason, rule: BaseRule | None, account: str) -> tuple[Kind, int]:
        """How `reason` is answered: the account's status, else the rule's, else the table's."""
        kind, status = ANSWERS[reason]
        own = self.accounts.get(account)
        if own is not None and reason in own.status:
            status = own.status[reason]
        elif rule is not None and rule.status is not None and kind is Kind.PERMANENT:
            status = rule.status
        return kind, status
