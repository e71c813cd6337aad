"""Whose a reported source is, and was lately: the registry of the records with its past.

The proxies know the registry of now. A report tells of a message that is hours old, and a prefix
may have been sold since, so that whoever owned it at any time of the last 72 hours is named. Rows
that have left the registry stay in the records for this, and a company that was merged is named by
the one that goes on. Built once per change of the registry; looking up does no I/O.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import tzinfo
from math import inf
from typing import Any, Final, NamedTuple, Self

from sqlalchemy import Connection, func, or_, select

from smsfilter.desk.holdings import moment
from smsfilter.rules.headers import fold, shapes, source_forms
from smsfilter.rules.numbers import subscriber
from smsfilter.rules.registry import Company, RegistryFile, Source
from smsfilter.rules.senders import Registry
from smsfilter.rules.signatures import BRACKETS
from smsfilter.store.registry import uncollected
from smsfilter.store.schema import company, company_source, reseller_grant

REGISTRY: Final = (company, company_source, reseller_grant)
"""The tables that the registry is kept in."""
WINDOW: Final = 72 * 3600 * 1_000_000
"""µs for which an owner answers for what came from a source."""
_KEPT: Final = 2 * WINDOW
"""µs of the past that are loaded: a report is tried again for as long as it looks back."""


@dataclass(frozen=True, slots=True)
class Owned:
    """Whose a source is."""

    source: str
    """As in the members `source:…` of blocks."""
    companies: tuple[str, ...]
    """Every company that owns it or owned it in the time asked for, as they are called now."""
    matched: str | None
    """The prefix or header that it was last found by."""
    look_alike: bool
    """It imitates what the companies own, and is nobody's own."""


class _Held(Source):
    """A prefix that counts only while it stood in the registry, too."""

    since: float
    until: float

    def span(self, tz: tzinfo) -> tuple[float, float]:
        """Cut the validity to the time in the registry, in Unix time."""
        start, end = Source.span(self, tz)
        return max(start, self.since), min(end, self.until)


class _Name(NamedTuple):
    """A header or signature in the time that it stood in the registry (Unix time)."""

    company: str
    raw: str
    since: float
    until: float


class _Names:
    """Names by what is the same (their fold) and by what looks the same (their shapes)."""

    def __init__(self) -> None:
        self._same: dict[str, list[_Name]] = {}
        self._alike: dict[str, list[_Name]] = {}

    def add(self, name: _Name) -> None:
        """Know one more."""
        self._same.setdefault(fold(name.raw), []).append(name)
        for shape in shapes(name.raw):
            self._alike.setdefault(shape, []).append(name)

    def same(self, texts: Iterable[str], start: float, end: float) -> list[_Name]:
        """Those that any of the texts spells, and that stood from `start` to `end` at some time."""
        return _standing(self._same, map(fold, texts), start, end)

    def alike(self, texts: Iterable[str], start: float, end: float) -> list[_Name]:
        """Those that any of the texts looks like."""
        forms = (shape for text in texts for shape in shapes(text))
        return _standing(self._alike, forms, start, end)


def _standing(
    known: dict[str, list[_Name]], forms: Iterable[str], start: float, end: float
) -> list[_Name]:
    found = (name for form in dict.fromkeys(forms) for name in known.get(form, ()))
    return [name for name in found if name.since <= end and start < name.until]


class Owners:
    """The registry of the records as it is, and as it was for the time that counts."""

    def __init__(
        self,
        rows: Iterable[Any],
        merged: dict[str, str],
        *,
        tz: tzinfo,
        country_code: str,
        seq: int,
    ) -> None:
        self.seq = seq
        """The newest change of the registry that is in it: see `registry_seq`."""
        self.country_code = country_code
        self._merged = merged
        self._headers, self._signatures = _Names(), _Names()
        prefixes: dict[str, list[Source]] = {}
        for row in rows:
            since = row.since / 1_000_000
            until = inf if row.ended_at is None else row.ended_at / 1_000_000
            if row.kind == "prefix":
                prefixes.setdefault(row.company, []).append(_held(row, since, until))
            elif row.kind in ("header", "signature"):
                names = self._headers if row.kind == "header" else self._signatures
                names.add(_Name(row.company, row.raw, since, until))
        companies = {
            key: Company.model_construct(sources=tuple(held)) for key, held in prefixes.items()
        }
        self._registry = Registry(RegistryFile.model_construct(companies=companies), tz)

    @classmethod
    def load(
        cls,
        connection: Connection,
        tz: tzinfo,
        country_code: str,
        now: int,
        *,
        since: int | None = None,
    ) -> Self:
        """Build it from the records, with their past from `since` on (µs; 144 hours before now).

        It takes some 20 µs a source: not on the loop. `tz` and `country_code` are the policy's.
        """
        kept = now - _KEPT if since is None else since
        rows = connection.execute(
            select(
                company_source.c.company,
                company_source.c.kind,
                company_source.c.norm,
                company_source.c.raw,
                company_source.c.valid_from,
                company_source.c.valid_to,
                company_source.c.since,
                company_source.c.ended_at,
            ).where(
                company_source.c.kind != "account",
                or_(company_source.c.ended_at.is_(None), company_source.c.ended_at > kept),
            )
        )
        merged = select(company.c.id, company.c.merged_into).where(
            company.c.merged_into.is_not(None)
        )
        with uncollected():
            return cls(
                rows,
                {each.id: each.merged_into for each in connection.execute(merged)},
                tz=tz,
                country_code=country_code,
                seq=registry_seq(connection),
            )

    def of(self, written: str | bytes, now: int, since: int | None = None) -> Owned:
        """Say whose a source is at `now`, or was at any time from `since` on (72 hours before).

        `written` is as customers or senders spell it; times in µs UTC. A name that somebody owns is
        theirs, whomever else it looks like.
        """
        octets = written.encode() if isinstance(written, str) else written
        forms = source_forms(octets, self.country_code)
        start, end = _window(now, since)
        numbers = self._registry.owners_between(octets, start, end, self.country_code)
        if forms.digits is not None:
            found = [(each.companies[0], each.name) for each in numbers]
            return self._owned(forms.normalised, found, False)
        same = self._headers.same(forms.texts, start, end)
        if same:
            return self._owned(forms.normalised, [(n.company, n.raw) for n in same], False)
        found = [(key, each.name) for each in numbers for key in each.companies]
        found += [(n.company, n.raw) for n in self._headers.alike(forms.texts, start, end)]
        return self._owned(forms.normalised, found, True)

    def signed(self, name: str, now: int, since: int | None = None) -> Owned:
        """Say whose signature a name is, with or without its brackets: who is meant, not proven."""
        start, end = _window(now, since)
        texts = (name.strip(BRACKETS),)
        same = self._signatures.same(texts, start, end)
        found = same or self._signatures.alike(texts, start, end)
        normalised = source_forms(texts[0].encode(), self.country_code).normalised
        return self._owned(normalised, [(n.company, n.raw) for n in found], not same)

    def is_subscriber(self, written: str) -> bool:
        """Whether a source reads as a person's number, which never stands in clear."""
        return subscriber(written.encode(), self.country_code) is not None

    def survivor(self, company_id: str) -> str:
        """Name the company that goes on where this one was merged, else this one."""
        while company_id in self._merged:
            company_id = self._merged[company_id]
        return company_id

    def _owned(self, normalised: str, found: list[tuple[str, str]], look_alike: bool) -> Owned:
        companies = tuple(dict.fromkeys(self.survivor(key) for key, _ in found))
        matched = found[-1][1] if found else None
        return Owned(normalised, companies, matched, look_alike and bool(found))


def registry_seq(connection: Connection) -> int:
    """Return the seq of the newest change of companies, sources or resellers; 0 before any."""
    newest = (connection.scalar(select(func.max(table.c.changed_seq))) for table in REGISTRY)
    return max(seq or 0 for seq in newest)


def _window(now: int, since: int | None) -> tuple[float, float]:
    return (now - WINDOW if since is None else since) / 1_000_000, now / 1_000_000


def _held(row: Any, since: float, until: float) -> Source:
    return _Held.model_construct(
        prefix=row.norm,
        valid_from=moment(row.valid_from),
        valid_to=moment(row.valid_to),
        since=since,
        until=until,
    )
