"""What is to be done about a report: by what it says, the registry, and what was forwarded."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Final

from smsfilter.desk.matching import Forward, Kind, Match, Reported, decide
from smsfilter.desk.owners import WINDOW, Owners
from smsfilter.reports.heard import Decided, Heard
from smsfilter.reports.parse import Nonsense, NumberOnly, Parsed, Report, TextOnly
from smsfilter.reports.replies import Outcome
from smsfilter.reports.source import Kind as Named
from smsfilter.reports.source import is_never_block
from smsfilter.rules.numbers import subscriber

Forwards = Callable[[str, int, str], Sequence[Forward] | None]
"""What was forwarded to a number (E.164 digits) since a time (µs UTC), with one source that may be
a person's number named; None where unreadable."""
KnownOwners = Callable[[], Awaitable[Owners]]

_OUTCOMES: Final = {
    Kind.COMPANY: ("blocked", Outcome.BLOCKED),
    Kind.SOURCE: ("to_decide", Outcome.SOURCE_ONLY),
    Kind.SEVERAL: ("to_decide", Outcome.SOURCE_ONLY),
    Kind.REFERRED: ("referred", Outcome.REFERRED),
    Kind.NONE: ("unmatched", Outcome.UNMATCHED),
}


class Triage:
    """Decides, and changes nothing."""

    def __init__(
        self,
        owners: KnownOwners,
        forwards: Forwards,
        never_block: Collection[str],
        country_code: str,
        clock: Callable[[], int],
    ) -> None:
        self._owners = owners
        self._forwards = forwards
        self._never_block = never_block
        self._country_code = country_code
        self._clock = clock

    async def decide(self, parsed: Parsed, heard: Heard) -> Decided:
        """Say what is to be done about a message that says `parsed`."""
        if isinstance(parsed, Nonsense):
            return Decided("nonsense", Outcome.NONSENSE)
        if isinstance(parsed, TextOnly):
            return Decided("needs_info", Outcome.ASK_NUMBER, text=parsed.text)
        assert isinstance(parsed, Report | NumberOnly)  # noqa: S101 - orders are no reports
        text = parsed.text if isinstance(parsed, Report) else ""
        source = parsed.source
        if is_never_block(source.normalised, self._never_block, self._country_code):
            return Decided("never_block", Outcome.NEVER_BLOCK, source=source.normalised, text=text)
        is_signature = source.kind is Named.SIGNATURE
        number_only = isinstance(parsed, NumberOnly)
        now = self._clock()
        reported = Reported(
            written=source.written,
            at=now if heard.at is None else max(heard.at, now - WINDOW),
            by="signature" if is_signature else "source",
            number_only=number_only,
        )
        match = await self._match(reported, heard.reporter)
        if is_signature and match.kind is Kind.NONE:
            return Decided("needs_info", Outcome.ASK_NUMBER, text=text)
        return self._decided(reported, match, text, completes=number_only)

    async def by_registry(self, reported: Reported) -> Decided | None:
        """Say whom a report names by the registry alone; None where that does not tell."""
        match = decide(await self._owners(), (), reported, self._clock())
        return self._decided(reported, match) if match.kind is Kind.COMPANY else None

    async def again(self, reported: Reported, reporter: str) -> Decided | None:
        """Say whom a report names that named nobody when it came; None where it still does not."""
        match = await self._match(reported, reporter)
        return None if match.kind is Kind.NONE else self._decided(reported, match)

    async def _match(self, reported: Reported, reporter: str) -> Match:
        """Ask the registry, and what was forwarded only where that leaves a doubt."""
        owners, now = await self._owners(), self._clock()
        match = decide(owners, (), reported, now)
        if match.kind is Kind.COMPANY:
            return match
        forwards = await asyncio.to_thread(
            self._forwards, reporter, reported.at - WINDOW, match.source
        )
        return decide(owners, forwards, reported, now)

    def _decided(
        self, reported: Reported, match: Match, text: str = "", *, completes: bool = False
    ) -> Decided:
        state, reply = _OUTCOMES[match.kind]
        handset = subscriber(reported.written.encode(), self._country_code)
        sources = tuple(
            f"+{handset.decode()}" if handset is not None and each == match.source else each
            for each in match.blocked_sources
            if not is_never_block(each, self._never_block, self._country_code)
        )
        return Decided(
            state,
            reply,
            company=match.company,
            sources=sources,
            source=match.source if handset is None else None,
            source_customer=handset.decode() if handset is not None else None,
            text=text,
            completes=completes,
            match_kind=match.kind.value,
            evidence=json.dumps(match.evidence, sort_keys=True),
        )
