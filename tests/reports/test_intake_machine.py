"""Messages, redeliveries, faults and restarts in any order: the promises of the intake hold.

What was acknowledged is on the records once and its pair in force; nobody is told before; each
report has one answer, sent once where nothing crashed; what counts is exact.
"""

import asyncio
import tempfile
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from smsfilter.reports.sms import Delivered, NoAnswer
from smsfilter.smpp.const import ESME_ROK, ESME_RX_T_APPN
from smsfilter.store.records import Records, RecordsAway
from smsfilter.store.transaction import Transaction
from tests.fakes.bureau import ANNA, BERT, SECOND, Bureau
from tests.fakes.fresh import FreshFile

NUMBERS = (ANNA, BERT)
TEXTS = {
    "10657555*您中奖了": "acme",
    "10657555*又中奖了": "acme",
    "10658888*贷款" + "请速回复" * 40: "bravo",
    "10661234*谁知道呢": None,
}
_FRESH: dict[str, FreshFile] = {}


def fresh(folder: Path) -> Records:
    """Records without a row, made from a template that was migrated once."""
    if not _FRESH:
        _FRESH["file"] = FreshFile(Path(tempfile.mkdtemp()))
    return Records(_FRESH["file"].copy(folder / "records.db"))


class IntakeMachine(RuleBasedStateMachine):
    """A desk that is brought messages, and is not always well."""

    @initialize()
    def opened(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.loop = asyncio.new_event_loop()
        self.bureau = Bureau(fresh(Path(self.folder.name)))
        self.bureau.register()
        self.parts = {
            (number, text): self.bureau.parts(number, text) for number in NUMBERS for text in TEXTS
        }
        self.heard: set[tuple[str, str]] = set()
        """Texts of which a part has come."""
        self.told: dict[tuple[str, str], set[int]] = {}
        """Which parts were acknowledged."""
        self.has_crashed = False

    def teardown(self) -> None:
        if hasattr(self, "bureau"):
            self.bureau.close()
            self.bureau.records.close()
            self.loop.close()
            self.folder.cleanup()

    def run(self, work):
        return self.loop.run_until_complete(work)

    def came(self, number: str, text: str, part: int, status: int) -> None:
        self.heard.add((number, text))
        assert status in (ESME_ROK, ESME_RX_T_APPN)
        if status == ESME_ROK:
            self.told.setdefault((number, text), set()).add(part)

    # what comes

    @rule(number=st.sampled_from(NUMBERS), text=st.sampled_from(list(TEXTS)), data=st.data())
    def message(self, number: str, text: str, data: st.DataObject) -> None:
        """One part of a text, for the first time or again."""
        parts = self.parts[number, text]
        part = data.draw(st.integers(0, len(parts) - 1))
        (status,) = self.run(self.bureau.takes(parts[part]))
        self.came(number, text, part, status)

    @rule(number=st.sampled_from(NUMBERS), text=st.sampled_from(list(TEXTS)))
    def together(self, number: str, text: str) -> None:
        """All parts and the double of the first at the same time."""
        parts = self.parts[number, text]
        coming: list[Delivered] = [*parts, parts[0]]

        async def take() -> list[int]:
            return await asyncio.gather(*map(self.bureau.intake.take, coming))

        for place, status in enumerate(self.run(take())):
            self.came(number, text, place % len(parts), status)

    # what goes wrong

    @rule(away=st.sampled_from(["", "OOM", "READONLY"]))
    def index(self, away: str) -> None:
        self.bureau.fake_index.away = away

    @rule(number=st.sampled_from(NUMBERS), text=st.sampled_from(list(TEXTS)))
    def refused_by_the_database(self, number: str, text: str) -> None:
        """The commit fails with everything in it."""

        def full(transaction: Transaction) -> None:
            raise RecordsAway("database or disk is full")

        real = self.bureau.writer.write

        async def write(work):
            def fails(transaction: Transaction) -> None:
                work(transaction)
                full(transaction)

            return await real(fails)

        self.bureau.writer.write = write  # type: ignore[method-assign]
        (status,) = self.run(self.bureau.takes(self.parts[number, text][0]))
        self.bureau.writer.write = real  # type: ignore[method-assign]
        assert status == ESME_RX_T_APPN

    @rule()
    def restarted(self) -> None:
        self.bureau.reopen()

    @rule()
    def killed_while_an_sms_was_sent(self) -> None:
        async def begun() -> None:
            never = asyncio.get_running_loop().create_future()
            self.bureau.centre.answers = [never] * 10
            await self.bureau.outbox.look()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
            await asyncio.sleep(0)
            self.bureau.centre.answers = []

        self.has_crashed = True
        self.run(begun())
        self.bureau.reopen()

    # what the desk does by itself

    @rule(seconds=st.integers(1, 90))
    def time_goes_by(self, seconds: int) -> None:
        """Less than five minutes in all: nothing that comes again is the customer's."""
        if self.bureau.now - START_AT < 200 * SECOND:
            self.bureau.later(seconds * SECOND)

    @precondition(lambda self: not self.bureau.fake_index.away)
    @rule()
    def swept(self) -> None:
        self.run(self.bureau.intake.sweep())

    @rule(is_answered=st.booleans())
    def sent(self, is_answered: bool) -> None:
        if not is_answered:
            self.has_crashed = True
            self.bureau.centre.answers = [NoAnswer()]
        self.run(self.bureau.sends())
        self.bureau.centre.answers = []

    # what holds at any time

    @invariant()
    def what_was_told_is_in_force(self) -> None:
        if not hasattr(self, "bureau"):
            return
        for (number, text), parts in self.told.items():
            company = TEXTS[text]
            if company is not None and 0 in parts:
                assert (number, company) in self.bureau.in_force

    @invariant()
    def every_report_is_there_once(self) -> None:
        if not hasattr(self, "bureau"):
            return
        reports = self.bureau.reports
        assert len({each.fingerprint for each in reports}) == len(reports)
        assert len(reports) <= len(self.heard) * 2
        whole = {key for key, parts in self.told.items() if len(parts) == len(self.parts[key])}
        named = [each for each in reports if each.state in ("blocked", "referred")]
        assert len(named) >= len(whole)
        assert all(each.counted for each in named)
        assert len(self.bureau.live) == len(
            {(each.customer, each.reported_norm) for each in named if each.state == "blocked"}
        )

    @invariant()
    def each_has_one_answer_and_it_is_sent_once(self) -> None:
        if not hasattr(self, "bureau"):
            return
        sms = self.bureau.sms
        assert len(sms) == len(self.bureau.reports)
        confirmed = {each.id for each in self.bureau.reports if each.confirmed_at is not None}
        for each in sms:
            assert (each.state == "held") == (each.report not in confirmed)
            assert each.attempts <= (2 if each.maybe_twice or self.has_crashed else 1)
        if not self.has_crashed:
            assert len(self.bureau.centre.sent) == sum(each.state == "sent" for each in sms)


START_AT = Bureau.__dataclass_fields__["now"].default

IntakeMachine.TestCase.settings = settings(
    max_examples=25,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestIntakeMachine = IntakeMachine.TestCase
