"""Intake: from a message of the SMSC to its answer.

A message is read, matched and filed in one transaction; where it has put or ended a block, the
index follows; then the answer to the customer is released and the SMSC told ESME_ROK. What cannot
be made durable or in force now is answered as temporary: the SMSC delivers it again, and the copy
is found.
"""

import contextlib
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Final, Protocol

from smsfilter import log
from smsfilter.desk.indexing import IndexAway
from smsfilter.desk.office import Office
from smsfilter.deskmetrics import IntakeMetrics
from smsfilter.reports import receipts, recourse
from smsfilter.reports.answers import confirm, unconfirmed
from smsfilter.reports.failures import Failures
from smsfilter.reports.filing import Filing
from smsfilter.reports.heard import Decided, Filed, Heard
from smsfilter.reports.held import SWEEP_MOST, Added, Held
from smsfilter.reports.parse import Appeal, Withdrawal, parse
from smsfilter.reports.sms import Delivered
from smsfilter.reports.triage import Triage
from smsfilter.rules.numbers import readings
from smsfilter.smpp.const import ESME_ROK, ESME_RX_T_APPN
from smsfilter.store.reading import reading
from smsfilter.store.records import RecordsAway
from smsfilter.store.transaction import Transaction

CONFIRM_AFTER_US: Final = 5_000_000
"""A report that is not confirmed by then was left by a desk that ended, or the index was away."""
IN_FORCE_WITHIN_S: Final = 2.0
"""How long a message waits for its block to be in the index before it is put off."""
SHORT_MOST: Final = 6
"""Digits of a short code: no customer has one, and machines answer machines."""
_INTERNATIONAL, _ALPHANUMERIC = 1, 5  # SMPP v3.4 §5.2.5


class Index(Protocol):
    """The index as the intake needs it: desk/projection.py."""

    async def follow(self, seq: int, within_s: float = IN_FORCE_WITHIN_S) -> None:
        """Return once everything up to this row of the ledger is in force; IndexAway."""


Suspect = Callable[[Transaction, Filed, Heard], None]
"""Told, in its transaction, of a report on a pair that was blocked before."""


class Intake:
    """Takes what customers send, by SMS, by phone or in a file."""

    def __init__(
        self,
        office: Office,
        filing: Filing,
        triage: Triage,
        *,
        index: Index,
        suspect: Suspect,
        released: Callable[[], None],
        metrics: IntakeMetrics,
    ) -> None:
        self._office = office
        self._filing = filing
        self.decide = triage.decide
        self._index = index
        self._suspect = suspect
        self._released = released
        self._metrics = metrics
        self._held = Held(office, filing)
        self._country_code = office.policy.country_code
        self._failures = Failures()

    # --- by SMS

    async def take(self, message: Delivered) -> int:
        """Take a message of the SMSC, and return the command_status of its answer."""
        reporter = self._handset(message)
        try:
            if receipts.is_receipt(message):
                await self._receipt(message, reporter)
            elif reporter is None:
                self._metrics.filed["no_handset"] += 1
                log.get().warning("report_from_no_handset", octets=len(message.source))
            else:
                await self._report(message, reporter)
        except (RecordsAway, IndexAway) as error:
            self._metrics.put_off += 1
            log.get().warning("report_put_off", error=str(error))
            return ESME_RX_T_APPN
        return ESME_ROK

    def _handset(self, message: Delivered) -> str | None:
        """The customer's number as blocks are keyed (E.164 digits).

        None for short codes, service numbers and names: only a number of the own country, or one
        that is said to be another's, is a person's.
        """
        found = readings(message.source, self._country_code)
        if not found or len(found[0]) <= SHORT_MOST or message.source_ton == _ALPHANUMERIC:
            return None
        digits = found[0].decode()
        is_said = message.source_ton == _INTERNATIONAL or message.source[:1] in (b"+", b"0")
        return digits if is_said or digits.startswith(self._country_code) else None

    async def _receipt(self, message: Delivered, reporter: str | None) -> None:
        vault = self._office.vault

        def work(transaction: Transaction) -> bool:
            customer = None if reporter is None else vault.find(transaction.connection, reporter)
            return receipts.take(transaction, message, customer, anybody=reporter is None)

        matched = await self._office.writer.write(work)
        self._metrics.filed["receipt" if matched else "receipt_unmatched"] += 1

    async def _report(self, message: Delivered, reporter: str) -> None:
        since = monotonic()
        heard = await self._held.heard(message, reporter)
        if isinstance(heard, Heard):
            filed = await self.file(heard)
            if filed.must_follow:
                self._metrics.in_force_seconds.observe(monotonic() - since)
            return
        self._metrics.filed["part"] += 1
        if isinstance(heard, Added) and not heard.is_confirmed:
            await self.again(heard.report)

    async def again(self, report: int) -> None:
        """See to it that a report which was filed before is in force. Raises IndexAway."""
        await self._index.follow(self._office.writer.head, IN_FORCE_WITHIN_S)
        await self._confirm([report])

    # --- what was left behind

    async def sweep(self) -> None:
        """Take up what has waited: parts without the rest, reports that were never confirmed.

        Raises RecordsAway, IndexAway.
        """
        for heard in await self._held.due():
            try:
                await self.file(heard)
            except IndexAway:
                continue  # it is filed: the index is asked for all of them below
            except RecordsAway:
                raise
            except Exception as error:  # the others must not wait for this one
                if said := self._failures.said(error):
                    log.get().error("report_failed", **said)
        before = self._office.clock() - CONFIRM_AFTER_US
        late = await reading(
            self._office.records, lambda connection: unconfirmed(connection, before, SWEEP_MOST)
        )
        if late:
            await self._index.follow(self._office.writer.head, IN_FORCE_WITHIN_S)
            await self._confirm(late, is_told=False)

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
        work: Callable[[Transaction], Filed]
        if isinstance(parsed, Withdrawal | Appeal):
            order = recourse.withdraw if isinstance(parsed, Withdrawal) else recourse.appeal
            number = parsed.id

            def work(transaction: Transaction) -> Filed:
                return order(self._filing, transaction, heard, number)
        else:
            decided = await self.decide(parsed, heard)

            def work(transaction: Transaction) -> Filed:
                filed = self._filing.file(transaction, heard, decided)
                if filed.was_blocked:
                    self._suspect(transaction, filed, heard)
                return filed

        filed = await self._office.writer.write(work)
        self._metrics.filed["copy" if filed.is_copy else filed.state] += 1
        return filed

    async def match(self, report_id: int, decided: Decided) -> bool:
        """Have what follows from a report whose sender is known by now in force.

        False where it is not looked for any more. Raises RecordsAway.
        """
        filed = await self._office.writer.write(
            lambda transaction: self._filing.matched(transaction, report_id, decided)
        )
        if filed is None:
            return False
        with contextlib.suppress(IndexAway):  # it is filed: the sweep goes on with it
            await self.settle(filed)
        return True

    async def settle(self, filed: Filed) -> None:
        """Wait until what was filed is in force, then release its answer. Raises IndexAway."""
        if not filed.is_confirmed:
            try:
                await self._index.follow(filed.entered.seq, IN_FORCE_WITHIN_S)
            except IndexAway:
                if filed.must_follow:
                    raise
                return  # the sweep releases it
            await self._confirm([filed.report])
        self._released()

    async def _confirm(self, reports: Sequence[int], *, is_told: bool = True) -> None:
        await self._office.writer.write(
            lambda transaction: confirm(transaction, reports, is_told=is_told)
        )
        self._released()
