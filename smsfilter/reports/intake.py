"""Intake: from a message of the SMSC to its answer.

A message is read, matched and filed in one transaction; where it has put or ended a block, the
index follows; then the answer to the customer is released and the SMSC told ESME_ROK. What cannot
be made durable or in force now is answered as temporary: the SMSC delivers it again, and the copy
is found.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from typing import Final, Protocol

from smsfilter import log
from smsfilter.desk.matching import Forward, Kind, Match, Reported, decide
from smsfilter.desk.office import Office
from smsfilter.desk.owners import WINDOW, Owners
from smsfilter.deskmetrics import IntakeMetrics
from smsfilter.reports import receipts, recourse
from smsfilter.reports.filing import Decided, Filed, Filing, Heard, confirm, unconfirmed
from smsfilter.reports.held import SWEEP_MOST, Added, Held
from smsfilter.reports.parse import (
    Appeal,
    Nonsense,
    NumberOnly,
    Parsed,
    Report,
    TextOnly,
    Withdrawal,
    parse,
)
from smsfilter.reports.replies import Outcome
from smsfilter.reports.sms import Delivered
from smsfilter.reports.source import Kind as Named
from smsfilter.reports.source import is_never_block, subscriber
from smsfilter.rules.numbers import readings
from smsfilter.smpp.const import ESME_ROK, ESME_RX_T_APPN
from smsfilter.store.projection import IndexAway
from smsfilter.store.records import RecordsAway
from smsfilter.store.writer import Transaction

CONFIRM_AFTER_US: Final = 5_000_000
"""A report that is not confirmed by then was left by a desk that ended, or the index was away."""
IN_FORCE_WITHIN_S: Final = 2.0
"""How long a message waits for its block to be in the index before it is put off."""


class Index(Protocol):
    """The index as the intake needs it: store/projection.py."""

    async def follow(self, seq: int, within_s: float = IN_FORCE_WITHIN_S) -> None:
        """Return once everything up to this row of the ledger is in force; IndexAway."""


Forwards = Callable[[str, int], Sequence[Forward] | None]
"""What was forwarded to a number (E.164 digits) since a time (µs UTC); None where unreadable."""
Suspect = Callable[[Transaction, Filed], None]
"""Told, in its transaction, of a report on a pair that was blocked before."""


class Intake:
    """Takes what customers send, by SMS, by phone or in a file."""

    def __init__(
        self,
        office: Office,
        filing: Filing,
        *,
        owners: Callable[[], Awaitable[Owners]],
        index: Index,
        forwards: Forwards,
        suspect: Suspect,
        released: Callable[[], None],
        metrics: IntakeMetrics,
    ) -> None:
        self._office = office
        self._filing = filing
        self._owners = owners
        self._index = index
        self._forwards = forwards
        self._suspect = suspect
        self._released = released
        self._metrics = metrics
        self._held = Held(office)
        desk = office.config.desk
        self._never_block = desk.unblockable() if desk is not None else frozenset()
        self._country_code = office.policy.country_code

    # --- by SMS

    async def take(self, message: Delivered) -> int:
        """Take a message of the SMSC, and return the command_status of its answer."""
        reporter = self._handset(message.source)
        since = monotonic()
        try:
            if receipts.is_receipt(message):
                await self._receipt(message, reporter)
                return ESME_ROK
            if reporter is None:
                self._metrics.filed["no_handset"] += 1
                log.get().warning("report_from_no_handset", octets=len(message.source))
                return ESME_ROK
            await self._report(message, reporter)
        except (RecordsAway, IndexAway) as error:
            self._metrics.put_off += 1
            log.get().warning("report_put_off", error=str(error))
            return ESME_RX_T_APPN
        self._metrics.in_force_seconds.observe(monotonic() - since)
        return ESME_ROK

    def _handset(self, source: bytes) -> str | None:
        """The customer's number as blocks are keyed (E.164 digits); None for short codes."""
        found = readings(source, self._country_code)
        if not found or len(found[0]) <= SHORT_MOST:
            return None
        return found[0].decode()

    async def _receipt(self, message: Delivered, reporter: str | None) -> None:
        vault = self._office.vault

        def work(transaction: Transaction) -> bool:
            customer = None if reporter is None else vault.find(transaction.connection, reporter)
            return receipts.take(transaction, message, customer)

        matched = await self._office.writer.write(work)
        self._metrics.filed["receipt" if matched else "receipt_unmatched"] += 1

    async def _report(self, message: Delivered, reporter: str) -> None:
        heard = await self._held.heard(message, reporter)
        if isinstance(heard, Heard):
            await self.file(heard)
            return
        self._metrics.filed["part"] += 1
        if isinstance(heard, Added):
            await self.again(heard.report)

    async def again(self, report: int) -> None:
        """See to it that a report which was filed before is in force. Raises IndexAway."""
        await self._index.follow(self._office.writer.head, IN_FORCE_WITHIN_S)
        await self._office.writer.write(lambda transaction: confirm(transaction, [report]))
        self._released()

    async def sweep(self) -> None:
        """Take up what has waited: parts without the rest, reports that were never confirmed.

        Raises RecordsAway, IndexAway.
        """
        for heard in await self._held.due():
            await self.file(heard)
        before = self._office.clock() - CONFIRM_AFTER_US
        late = await asyncio.to_thread(self._unconfirmed, before)
        if late:
            await self._index.follow(self._office.writer.head, IN_FORCE_WITHIN_S)
            await self._office.writer.write(lambda transaction: confirm(transaction, late))
            self._released()

    def _unconfirmed(self, before: int) -> list[int]:
        with self._office.records.reading() as connection:
            return unconfirmed(connection, before, SWEEP_MOST)

    # --- whatever the way

    async def file(self, heard: Heard) -> Filed:
        """File a message and have what follows from it in force.

        Raises RecordsAway where nothing was filed, IndexAway where it is and is not in force yet.
        """
        filed = await self.enter(heard)
        await self.settle(filed)
        return filed

    async def enter(self, heard: Heard) -> Filed:
        """File a message; `settle` has to follow. Raises RecordsAway: nothing was filed."""
        parsed = parse(heard.text, self._country_code)
        if isinstance(parsed, Withdrawal):
            filed = await self._office.writer.write(
                lambda transaction: recourse.withdraw(self._filing, transaction, heard, parsed.id)
            )
        elif isinstance(parsed, Appeal):
            filed = await self._office.writer.write(
                lambda transaction: recourse.appeal(self._filing, transaction, heard, parsed.id)
            )
        else:
            decided = await self.decide(parsed, heard)
            filed = await self._office.writer.write(
                lambda transaction: self._filed(transaction, heard, decided)
            )
        self._metrics.filed["copy" if filed.is_copy else filed.state] += 1
        return filed

    def _filed(self, transaction: Transaction, heard: Heard, decided: Decided) -> Filed:
        filed = self._filing.file(transaction, heard, decided)
        if filed.was_blocked:
            self._suspect(transaction, filed)
        return filed

    async def settle(self, filed: Filed) -> None:
        """Wait until what was filed is in force, then release its answer. Raises IndexAway."""
        if filed.must_follow:
            await self._index.follow(filed.entered.seq, IN_FORCE_WITHIN_S)
        if not filed.is_confirmed:
            await self._office.writer.write(
                lambda transaction: confirm(transaction, [filed.report])
            )
        self._released()

    async def decide(self, parsed: Parsed, heard: Heard) -> Decided:
        """Say what is to be done about a report."""
        if isinstance(parsed, Nonsense):
            return Decided("nonsense", Outcome.NONSENSE)
        if isinstance(parsed, TextOnly):
            return Decided("needs_info", Outcome.ASK_NUMBER, text=parsed.text)
        assert isinstance(parsed, Report | NumberOnly)  # noqa: S101 - orders were taken out before
        text = parsed.text if isinstance(parsed, Report) else ""
        source = parsed.source
        if is_never_block(source.normalised, self._never_block, self._country_code):
            return Decided("never_block", Outcome.NEVER_BLOCK, source=source.normalised, text=text)
        match = await self.match(parsed, heard)
        if source.kind is Named.SIGNATURE and match.kind is Kind.NONE:
            return Decided("needs_info", Outcome.ASK_NUMBER, text=text)
        return self._decided(match, text, completes=isinstance(parsed, NumberOnly))

    async def match(self, parsed: Report | NumberOnly, heard: Heard) -> Match:
        """Find whom a report names, by the registry and by what was forwarded."""
        owners = await self._owners()
        now = self._office.clock()
        at = now if heard.at is None else max(heard.at, now - WINDOW)
        reported = Reported(
            written=parsed.source.written,
            at=at,
            by="signature" if parsed.source.kind is Named.SIGNATURE else "source",
            number_only=isinstance(parsed, NumberOnly),
        )
        match = decide(owners, (), reported, now)
        if match.kind is Kind.COMPANY:
            return match
        forwards = await asyncio.to_thread(self._forwards, heard.reporter, at - WINDOW)
        return decide(owners, forwards, reported, now)

    def _decided(self, match: Match, text: str, *, completes: bool) -> Decided:
        state, reply = _OUTCOMES[match.kind]
        handset = subscriber(match.source, self._country_code)
        return Decided(
            state,
            reply,
            company=match.company,
            sources=match.blocked_sources,
            source=None if match.is_subscriber else match.source,
            source_customer=handset if match.is_subscriber else None,
            text=text,
            completes=completes,
            match_kind=match.kind.value,
            evidence=json.dumps(match.evidence, sort_keys=True),
        )


SHORT_MOST: Final = 6
"""Digits of a short code: no customer has one, and machines answer machines."""
_OUTCOMES: Final = {
    Kind.COMPANY: ("blocked", Outcome.BLOCKED),
    Kind.SOURCE: ("to_decide", Outcome.SOURCE_ONLY),
    Kind.SEVERAL: ("to_decide", Outcome.SOURCE_ONLY),
    Kind.REFERRED: ("referred", Outcome.REFERRED),
    Kind.NONE: ("unmatched", Outcome.UNMATCHED),
}
