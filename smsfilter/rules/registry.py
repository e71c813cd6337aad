"""The registry as operators write it: companies with what is their own, and resellers.

Whatever is ambiguous is refused here, with the names of both sides: a prefix that two companies
own at the same time, an account that is both a reseller's and a company's own, headers that
differ only in case. What has passed can be compiled without asking again. No look-up happens
here, and nothing is guessed.
"""

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from itertools import combinations
from math import inf
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    Field,
    GetJsonSchemaHandler,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import CoreSchema

from smsfilter.rules.headers import fold, has_controls, shapes, source_digits
from smsfilter.rules.policy import Model
from smsfilter.rules.signatures import BRACKETS, SIGNATURE_MOST

COMPANY_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SYSTEM_ID_MAX = 15  # SMPP v3.4 §4.1.1: 16 octets with the NUL
_SOURCE_MAX = 20  # SMPP v3.4 §4.4.1: 21 octets with the NUL


def _company_id(value: str) -> str:
    if not COMPANY_ID.fullmatch(value):
        raise ValueError(
            "not a company id: up to 64 letters, digits, dots, dashes and underscores of ASCII, "
            "the first a letter or digit"
        )
    return value


def _system_id(value: str) -> str:
    if not (value.isascii() and value.isprintable() and 1 <= len(value) <= _SYSTEM_ID_MAX):
        raise ValueError(f"not a system_id: 1 to {_SYSTEM_ID_MAX} printable ASCII characters")
    return value


def _prefix(value: str) -> str:
    found = source_digits(value)
    if found is None or len(found[0]) > _SOURCE_MAX:
        raise ValueError(f"not a source: 1 to {_SOURCE_MAX} digits; names belong under `headers`")
    return found[0]


def _header(value: str) -> str:
    if has_controls(value) or not any(shapes(value)):
        raise ValueError("not a header: it needs something to be seen, and no control characters")
    if any(source_digits(shape) for shape in shapes(value)):
        raise ValueError("a header of digits only is matched as a number: write it under `sources`")
    return value


def _name(value: str) -> str:
    if has_controls(value):
        raise ValueError("not a name: it has control characters")
    return value


def _signature(value: str) -> str:
    if has_controls(value):
        raise ValueError("not a signature: it has control characters")
    if any(bracket in value for bracket in BRACKETS):
        raise ValueError("a signature is written without its brackets")
    if not any(shapes(value)) or len(value) > SIGNATURE_MOST:
        raise ValueError(f"not a signature: 1 to {SIGNATURE_MOST} characters that can be seen")
    return value


def _moment(value: object) -> date:
    if isinstance(value, str):
        try:
            value = date.fromisoformat(value) if len(value) <= 10 else datetime.fromisoformat(value)
        except ValueError:
            raise ValueError("not a date: write 2026-01-31, or 2026-01-31T08:00") from None
    if not isinstance(value, date):
        raise ValueError("not a date: write 2026-01-31, or 2026-01-31T08:00")
    if isinstance(value, datetime) and value.tzinfo is not None:
        raise ValueError("write it without an offset: times are in the policy's timezone")
    return value


CompanyId = Annotated[
    str,
    AfterValidator(_company_id),
    WithJsonSchema({"type": "string", "pattern": f"^{COMPANY_ID.pattern}$"}),
]
SystemId = Annotated[str, AfterValidator(_system_id)]
Header = Annotated[str, AfterValidator(_header)]
Moment = Annotated[
    date,
    PlainValidator(_moment),
    WithJsonSchema({"type": "string", "examples": ["2026-01-31", "2026-01-31T08:00"]}),
]
"""In the policy's timezone: a day, which counts as a whole, or a point in time."""


class Source(Model):
    """A number prefix of a company, sub-codes included; plain digits where it has no validity."""

    prefix: Annotated[str, AfterValidator(_prefix)]
    valid_from: Moment | None = None
    valid_to: Moment | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_digits(cls, value: object) -> object:
        return {"prefix": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _lasts(self) -> Self:
        start, end = self.span(UTC)
        if start >= end:
            raise ValueError("valid_to lies before valid_from")
        return self

    @model_serializer(mode="plain")
    def _to_digits(self) -> str | dict[str, str]:
        ends = {"valid_from": self.valid_from, "valid_to": self.valid_to}
        dated = {key: moment.isoformat() for key, moment in ends.items() if moment}
        return {"prefix": self.prefix, **dated} if dated else self.prefix

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"anyOf": [{"type": "string"}, handler(core)]}

    def span(self, tz: tzinfo) -> tuple[float, float]:
        """Give the first moment of validity and the first after it, in Unix time."""
        end = self.valid_to
        if end is not None and not isinstance(end, datetime):
            end = None if end == date.max else end + timedelta(days=1)
        return (
            -inf if self.valid_from is None else _unix_time(self.valid_from, tz),
            inf if end is None else _unix_time(end, tz),
        )


def _unix_time(moment: date, tz: tzinfo) -> float:
    point = moment if isinstance(moment, datetime) else datetime.combine(moment, time.min)
    return point.replace(tzinfo=tz).timestamp()


class Company(Model):
    """A legal entity: whatever stands here is its own, and falls under blocks of it."""

    name: Annotated[str, AfterValidator(_name)] | None = None
    accounts: tuple[SystemId, ...] = ()
    sources: tuple[Source, ...] = ()
    headers: tuple[Header, ...] = ()
    signatures: tuple[Annotated[str, AfterValidator(_signature)], ...] = ()


class Reseller(Model):
    """An account that sends for others: the company comes from the source."""

    may_send_for: tuple[CompanyId, ...]


class RegistryFile(Model):
    """The registry as operators write it."""

    companies: dict[CompanyId, Company]
    resellers: dict[SystemId, Reseller] = Field(default_factory=dict)

    @field_validator("companies")
    @classmethod
    def _nothing_owned_twice(cls, companies: dict[str, Company]) -> dict[str, Company]:
        problems = [*_shared_names(companies), *_shared_prefixes(companies)]
        if problems:
            raise ValueError("; ".join(problems))
        return companies

    @field_validator("resellers")
    @classmethod
    def _resellers_fit(
        cls, resellers: dict[str, Reseller], seen: ValidationInfo
    ) -> dict[str, Reseller]:
        companies: dict[str, Company] = seen.data.get("companies", {})
        owners = {account: key for key, own in companies.items() for account in own.accounts}
        problems = [
            f"{account} cannot be a reseller: it is an account of {owners[account]}'s own"
            for account in resellers
            if account in owners
        ]
        if "companies" in seen.data:
            problems += [
                f"{account} may send for {company}, which is no company of this registry"
                for account, reseller in resellers.items()
                for company in reseller.may_send_for
                if company not in companies
            ]
        if problems:
            raise ValueError("; ".join(problems))
        return resellers


def _shared_names(companies: dict[str, Company]) -> list[str]:
    """Find accounts and headers that two companies claim."""
    problems = []
    accounts: dict[str, str] = {}
    headers: dict[str, tuple[str, str]] = {}
    for company, own in companies.items():
        for account in own.accounts:
            owner = accounts.setdefault(account, company)
            if owner != company:
                problems.append(f"account {account} is owned by both {owner} and {company}")
        for header in own.headers:
            owner, theirs = headers.setdefault(fold(header), (company, header))
            if owner != company:
                problems.append(
                    f"header {header} of {company} is the same as {theirs} of {owner} "
                    "(case, width and spaces do not count)"
                )
    return problems


def _shared_prefixes(companies: dict[str, Company]) -> list[str]:
    """Find prefixes that two companies claim at the same time."""
    claims: dict[str, list[tuple[str, float, float]]] = {}
    for company, own in companies.items():
        for source in own.sources:
            claims.setdefault(source.prefix, []).append((company, *source.span(UTC)))
    return [
        f"source {prefix} is owned by both {one} and {other} at the same time"
        for prefix, held in claims.items()
        for (one, start, end), (other, from_, to) in combinations(held, 2)
        if one != other and start < to and from_ < end
    ]
