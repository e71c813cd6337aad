"""Who the company is: the registry, and what an account and a source_addr mean under it.

`Registry` is compiled from a registry file once, and replaced as a whole. `resolve` answers two
questions that must not be confused: may this account send from this source (`refusal`), and whose
blocks does the message fall under (`accused`). The second names everybody that account and source
point to, also where the first is a refusal, as the rule for it may be in shadow.

A source belongs to the company with the longest prefix of the whole registry, valid at the time
of the message. Only then is it asked whether this account may use it.
"""

from bisect import bisect_right
from dataclasses import dataclass
from datetime import tzinfo
from math import inf
from typing import Literal, NamedTuple

from smsfilter.rules.headers import CODED_FROM, SourceForms, fold, shapes, source_forms
from smsfilter.rules.registry import COMPANY_ID, Company, RegistryFile, Reseller, Source
from smsfilter.rules.signatures import BRACKETS
from smsfilter.rules.verdict import Reason

__all__ = ["Company", "Holding", "Registry", "RegistryFile", "Reseller", "Sender", "Source"]


@dataclass(frozen=True, slots=True)
class Sender:
    """What an account and a source mean at one time."""

    company: str | None
    refusal: Reason | None
    """Why this account may not send from this source."""
    source: str
    """The source in the one form that stands for all its spellings."""
    matched: str | None
    """The prefix or header, as the registry has it, that the source was found by or imitates."""
    accused: tuple[str, ...]
    """Who a customer may have blocked to be spared this message: the members to ask for."""
    valid_until: float | None
    """When the answer may change by itself, in Unix time; None = never."""
    look_alike: bool
    """The source imitates `matched` in other letters."""
    foreign_signature: bool = False
    """The text is signed with the name of another company than the one that sends."""


class Holding(NamedTuple):
    """One thing that the registry knows of a name, as `registry who` shows it."""

    kind: Literal["company", "account", "reseller", "source", "header", "look-alike", "signature"]
    name: str
    companies: tuple[str, ...]
    valid_until: float | None = None


class _Claim(NamedTuple):
    company: str
    prefix: str
    start: float
    end: float


class _Found(NamedTuple):
    """Whom a source points to. More than one only as a look-alike."""

    companies: tuple[str, ...] = ()
    matched: str | None = None
    look_alike: bool = False
    end: float = inf


class Registry:
    """A registry file, compiled: immutable, and replaced as a whole."""

    def __init__(self, file: RegistryFile, tz: tzinfo) -> None:
        self.companies = file.companies
        self._accounts = {
            account: company for company, own in file.companies.items() for account in own.accounts
        }
        self._resellers = {account: own.may_send_for for account, own in file.resellers.items()}
        self._claims: dict[str, list[_Claim]] = {}
        self._headers: dict[str, tuple[str, str]] = {}
        self._shapes: dict[str, dict[str, str]] = {}
        self._signatures: dict[str, dict[str, None]] = {}
        for company, own in file.companies.items():
            for source in own.sources:
                claim = _Claim(company, source.prefix, *source.span(tz))
                self._claims.setdefault(source.prefix, []).append(claim)
            for header in own.headers:
                self._headers[fold(header)] = (company, header)
                for shape in shapes(header):
                    self._shapes.setdefault(shape, {}).setdefault(company, header)
            for signature in own.signatures:
                for form in {fold(signature), *shapes(signature)}:
                    self._signatures.setdefault(form, {})[company] = None
        self.has_signatures = bool(self._signatures)
        self._sizes = sorted({len(prefix) for prefix in self._claims}, reverse=True)
        ends = {end for held in self._claims.values() for claim in held for end in claim[2:]}
        self._boundaries = sorted(ends - {inf, -inf})

    def resolve(
        self,
        account: str,
        source: bytes,
        at: float,
        unknown: Literal["refuse", "account"],
        country_code: str,
        *,
        signatures: tuple[str, ...] = (),
    ) -> Sender:
        """Say who sends and who is accused when `account` sends from `source` at Unix time `at`.

        `account` is the system_id with its octets as Latin-1; `signatures` are the names found in
        the text.
        """
        forms = source_forms(source, country_code)
        found = self._find(forms, at, country_code)
        company, refusal = self._sends(account, found, unknown)
        signers = self._signers(signatures)
        pointed = (*(() if company is None else (company,)), *found.companies, *signers)
        return Sender(
            company=company,
            refusal=refusal,
            source=forms.normalised,
            matched=found.matched,
            accused=tuple(dict.fromkeys((*pointed, f"source:{forms.normalised}", "*"))),
            valid_until=self._next_boundary(at),
            look_alike=found.look_alike,
            foreign_signature=bool(signers) and company not in signers,
        )

    def who(self, name: str, at: float, country_code: str) -> list[Holding]:
        """Everything that `name` is: company, account, reseller, source, header, signature."""
        holdings = []
        if name in self.companies:
            holdings.append(Holding("company", name, (name,)))
        if name in self._accounts:
            holdings.append(Holding("account", name, (self._accounts[name],)))
        if name in self._resellers:
            holdings.append(Holding("reseller", name, self._resellers[name]))
        forms = source_forms(name.encode(), country_code)
        found = self._find(forms, at, country_code)
        if found.matched is not None:
            kind: Literal["source", "header", "look-alike"]
            kind = "look-alike" if found.look_alike else "header" if forms.texts else "source"
            until = None if found.end == inf else found.end
            holdings.append(Holding(kind, found.matched, found.companies, until))
        signers = self._signers((name.strip(BRACKETS),))
        if signers:
            holdings.append(Holding("signature", name, tuple(signers)))
        return holdings

    def owners_between(
        self, source: bytes, start: float, end: float, country_code: str
    ) -> list[Holding]:
        """Whose `source` was from Unix time `start` to `end`, both included, the first owner first.

        Each is said once, by the last prefix or header that it was found by.
        """
        forms = source_forms(source, country_code)
        held: dict[tuple[str, ...], Holding] = {}
        for at in sorted(self._turns(forms, start, end, country_code)):
            found = self._find(forms, at, country_code)
            if found.matched is not None:
                kind: Literal["source", "look-alike"]
                kind = "look-alike" if found.look_alike else "source"
                held[found.companies] = Holding(kind, found.matched, found.companies)
        return list(held.values())

    def _turns(self, forms: SourceForms, start: float, end: float, country_code: str) -> set[float]:
        """`start`, and when up to `end` a prefix of this source began or ceased to count."""
        read = [forms.digits] if forms.digits is not None else []
        for shape in dict.fromkeys(shape for text in forms.texts for shape in shapes(text)):
            number = source_forms(shape.encode(), country_code)
            read += [] if number.digits is None else [number.digits]
        spelled = [digits for bare in read for digits in (bare, country_code + bare)]
        prefixes = {digits[:size] for digits in spelled for size in self._sizes}
        claims = [claim for prefix in prefixes for claim in self._claims.get(prefix, ())]
        turns = {turn for claim in claims for turn in (claim.start, claim.end)}
        return {start, *(turn for turn in turns if start < turn <= end)}

    def _signers(self, signatures: tuple[str, ...]) -> dict[str, None]:
        """Whose names these are, or look like."""
        signers: dict[str, None] = {}
        for name in signatures:
            for form in dict.fromkeys((fold(name), *shapes(name))):
                signers |= self._signatures.get(form, {})
        return signers

    def _sends(
        self, account: str, found: _Found, unknown: Literal["refuse", "account"]
    ) -> tuple[str | None, Reason | None]:
        """Which company sends, and whether this account may send from its source."""
        owner = found.companies[0] if found.companies else None
        own = self._accounts.get(account)
        if own is not None:
            fits = owner == own and not found.look_alike
            return own, None if fits else Reason.SOURCE_MISMATCHED
        may_send_for = self._resellers.get(account)
        if may_send_for is not None:
            if owner is None:
                return None, Reason.UNKNOWN_SENDER
            fits = owner in may_send_for and not found.look_alike
            return owner, None if fits else Reason.SOURCE_MISMATCHED
        is_free_id = COMPANY_ID.fullmatch(account) and account not in self.companies
        if unknown == "account" and is_free_id:
            return account, None if owner is None else Reason.SOURCE_MISMATCHED
        return None, Reason.UNKNOWN_SENDER

    def _find(self, forms: SourceForms, at: float, country_code: str) -> _Found:
        """Whom a source belongs to, else whom it imitates."""
        if forms.digits is not None:
            return self._find_number(forms, at, country_code)
        for folded in map(fold, forms.texts):
            if folded in self._headers:
                company, spelled = self._headers[folded]
                return _Found((company,), spelled)
        imitated: dict[str, str] = {}
        for shape in dict.fromkeys(shape for text in forms.texts for shape in shapes(text)):
            number = source_forms(shape.encode(), country_code)
            if number.digits is not None:
                found = self._find_number(number, at, country_code)
                imitated.update((company, found.matched or "") for company in found.companies)
            for company, header in self._shapes.get(shape, {}).items():
                imitated.setdefault(company, header)
        if not imitated:
            return _Found()
        return _Found(tuple(imitated), next(iter(imitated.values())), look_alike=True)

    def _find_number(self, forms: SourceForms, at: float, country_code: str) -> _Found:
        """Find the longest prefix, whether source or registry has the country code before it."""
        digits = forms.digits or ""
        least = 1 if forms.international else CODED_FROM
        bare = self._longest(digits, at, 1)
        coded = self._longest(country_code + digits, at, least)
        if coded and (bare is None or len(coded.prefix) > len(country_code + bare.prefix)):
            bare = coded
        return _Found((bare.company,), bare.prefix, end=bare.end) if bare else _Found()

    def _longest(self, digits: str, at: float, least: int) -> _Claim | None:
        for size in self._sizes:
            if least <= size <= len(digits):
                for claim in self._claims.get(digits[:size], ()):
                    if claim.start <= at < claim.end:
                        return claim
        return None

    def _next_boundary(self, at: float) -> float | None:
        place = bisect_right(self._boundaries, at)
        return self._boundaries[place] if place < len(self._boundaries) else None
