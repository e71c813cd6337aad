"""Whom a report names, decided: one company, its source alone, or somebody out of reach.

Pure: what the registry and the decision records know comes in, a verdict with its reasons goes
out. A whole company is blocked only where nothing else is possible; where two are, the source is
blocked at once and a person decides; nothing is promised where the message cannot have come
through this path.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Literal, NamedTuple

from smsfilter.desk.owners import WINDOW, Owned, Owners
from smsfilter.rules.headers import source_forms

SOURCES_MOST: Final = 16
"""Sources that one report blocks: more than a customer gets from any sender in three days."""

__all__ = ["WINDOW", "Forward", "Kind", "Match", "Reported", "decide"]


class Kind(StrEnum):
    """What a report comes to."""

    COMPANY = "company"
    """One company: it is blocked as a whole, at once."""
    SOURCE = "source"
    """It came this way and nobody owns it: the source is blocked, a person decides."""
    SEVERAL = "several"
    """More than one company is possible: the source is blocked, a person decides."""
    REFERRED = "referred"
    """A person's number, or a source that was not on this path: no block."""
    NONE = "none"
    """Nobody yet: no block; to be tried again for 72 hours, as records may still arrive."""


class Forward(NamedTuple):
    """A message that a proxy forwarded to the customer who reports."""

    company: str | None
    source: str
    """Normalised, as decision records have it."""
    at: int
    """µs UTC."""


@dataclass(frozen=True, slots=True)
class Reported:
    """What a customer named."""

    written: str
    """The source as they wrote it."""
    at: int
    """When the report came, µs UTC."""
    by: Literal["source", "signature"] = "source"
    """signature: only by the name in the text, which anybody may write."""
    number_only: bool = False
    """Without the text that it sent."""


@dataclass(frozen=True, slots=True)
class Match:
    """Whom a report names."""

    kind: Kind
    company: str | None
    source: str
    """What was reported, normalised."""
    blocked_sources: tuple[str, ...]
    """The sources to block while a person decides, normalised: see `blocks.source_target`."""
    is_subscriber: bool
    """`source` is a person's number, which is stored as a customer only."""
    evidence: dict[str, Any]
    """What led to it, for the report's row and for whoever decides; no number is in it."""


def decide(
    owners: Owners, forwards: Sequence[Forward] | None, reported: Reported, now: int
) -> Match:
    """Say whom a report names, at `now` (µs UTC).

    `forwards` are those to the reporter in the 72 hours before the report, from whatever source, or
    None where the decision records cannot be read: then nothing follows from there being none.
    """
    since = reported.at - WINDOW
    recent = [each for each in forwards or () if since <= each.at <= now]
    if reported.by == "signature":
        return _by_signature(owners, owners.signed(reported.written, now, since), recent)
    owned = owners.of(reported.written, now, since)
    seen = _seen(owners, owned, reported.written, recent)
    match = _Found(owners, reported.written, owned, seen)
    if owned.companies and not owned.look_alike:
        return match.of(owned.companies, "registry")
    if seen:
        return match.of(owned_by(owners, seen), "forwards")
    if owned.companies:
        return match.of(owned.companies, "look-alike")
    if forwards is None or (reported.number_only and not match.is_subscriber):
        return match.nobody(Kind.NONE, "records away" if forwards is None else "nothing")
    return match.nobody(Kind.REFERRED, "subscriber" if match.is_subscriber else "nothing")


def owned_by(owners: Owners, forwards: Sequence[Forward]) -> tuple[str, ...]:
    """Return the companies that forwards were of, each once, as they are called now."""
    named = (owners.survivor(each.company) for each in forwards if each.company)
    return tuple(dict.fromkeys(named))


@dataclass(frozen=True, slots=True)
class _Found:
    """What is known of a reported source, and the matches that may be made of it."""

    owners: Owners
    written: str
    owned: Owned
    seen: list[Forward]

    @property
    def is_subscriber(self) -> bool:
        return self.owners.is_subscriber(self.written)

    def of(self, companies: tuple[str, ...], by: str) -> Match:
        """Name the one company, else the source for a person to decide on."""
        if len(companies) == 1:
            return self._match(Kind.COMPANY, by, companies)
        return self._match(Kind.SEVERAL if companies else Kind.SOURCE, by, companies)

    def nobody(self, kind: Kind, by: str) -> Match:
        """Name nobody."""
        return self._match(kind, by, ())

    def _match(self, kind: Kind, by: str, companies: tuple[str, ...]) -> Match:
        source, is_subscriber = self.owned.source, self.is_subscriber
        evidence: dict[str, Any] = {"by": by}
        if companies:
            evidence["companies"] = list(companies)
        if self.owned.matched is not None and not is_subscriber:
            evidence["matched"] = self.owned.matched
        if self.seen:
            evidence["forwards"] = len(self.seen)
            evidence["last_forward_at"] = max(each.at for each in self.seen)
        blocked: tuple[str, ...] = ()
        if kind in (Kind.SOURCE, Kind.SEVERAL):
            # What came begins with what was reported: a block has to name it in full.
            blocked = tuple(dict.fromkeys((source, *(each.source for each in self.seen))))
        return Match(
            kind=kind,
            company=companies[0] if kind is Kind.COMPANY else None,
            source=source,
            blocked_sources=blocked[:SOURCES_MOST],
            is_subscriber=is_subscriber,
            evidence=evidence,
        )


def _seen(owners: Owners, owned: Owned, written: str, recent: list[Forward]) -> list[Forward]:
    """Return the forwards from the reported source; where there are none, from one beyond it.

    Only a number may be cut short: customers leave off a sub-code, never half of a name.
    """
    exact = [each for each in recent if each.source == owned.source]
    if exact or source_forms(written.encode(), owners.country_code).digits is None:
        return exact
    return [each for each in recent if _goes_on(each.source, owned.source)]


def _goes_on(source: str, head: str) -> bool:
    return source.startswith(head) and source.isascii() and source.isdigit()


def _by_signature(owners: Owners, owned: Owned, recent: list[Forward]) -> Match:
    """Name the company whose signature it is, if a message of it reached this customer."""
    seen = [each for each in recent if each.company]
    seen = [each for each in seen if owners.survivor(each.company or "") in owned.companies]
    companies = owned_by(owners, seen)
    known = companies if len(companies) == 1 else owned.companies
    evidence: dict[str, Any] = {"by": "signature", "companies": list(known)}
    if seen:
        evidence["forwards"] = len(seen)
        evidence["last_forward_at"] = max(each.at for each in seen)
    one = len(companies) == 1
    return Match(
        kind=Kind.COMPANY if one else Kind.NONE,
        company=companies[0] if one else None,
        source=owned.source,
        blocked_sources=(),
        is_subscriber=False,
        evidence=evidence,
    )
