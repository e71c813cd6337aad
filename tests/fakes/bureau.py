"""The intake with its records and without the programs around it: what customers send goes in as
the SMSC would bring it, and everything that comes of it can be looked at.

Time stands still unless a test moves it. The index is one that a test can take away; it knows what
is in force by what the records said when it was followed, so that a status that came too early
shows. Texts are encoded by the handsets of tests/fakes/handset.py.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Table, select

from smsfilter.config import Config
from smsfilter.desk import companies
from smsfilter.desk.indexing import IndexAway
from smsfilter.desk.keys import Keys
from smsfilter.desk.matching import Forward
from smsfilter.desk.office import Office
from smsfilter.desk.owners import Owners
from smsfilter.desk.vault import Vault
from smsfilter.deskmetrics import IntakeMetrics
from smsfilter.ledger.actor import system
from smsfilter.ledger.chain import Entry, parse
from smsfilter.reports.filing import Filing
from smsfilter.reports.heard import Filed, Heard
from smsfilter.reports.intake import Index, Intake
from smsfilter.reports.outbox import Outbox
from smsfilter.reports.replies import Replies
from smsfilter.reports.sms import Answer, Delivered, Outgoing
from smsfilter.reports.triage import Triage
from smsfilter.reports.unmatched import Unmatched
from smsfilter.rules.policy import Policy
from smsfilter.rules.registry import RegistryFile
from smsfilter.smpp.const import DELIVER_SM, ESME_ROK
from smsfilter.store import ledger
from smsfilter.store.records import Records, RecordsError
from smsfilter.store.schema import case_file, metadata, mo_part, report, sms_out
from smsfilter.store.seal import Seal
from smsfilter.store.writer import Writer
from tests.fakes.handset import GSM, SHORT_CODE, UCS_2, Joining, Part, split
from tests.fakes.process import wait_until
from tests.fakes.registrar import START, live
from tests.fakes.registry import REGISTRY

T = TypeVar("T")

SECOND, MINUTE, HOUR = 1_000_000, 60_000_000, 3_600_000_000
"""µs."""
ANNA, BERT, CARL = "8613800138000", "8613900139000", "8615000150000"


class FakeIndex:
    """An index that can be away; what was in force is what the records said at `follow`."""

    def __init__(self, records: Records, vault: Vault) -> None:
        self._records = records
        self._vault = vault
        self.away = ""
        """Why it cannot be written; '' while it can."""
        self.pairs: set[tuple[str, str]] = set()
        """Numbers and targets in force."""

    async def follow(self, seq: int, within_s: float = 2.0) -> None:
        """Take over the records."""
        assert seq > 0, "there is nothing to follow"
        if self.away:
            raise IndexAway(self.away)
        with self._records.reading() as connection:
            assert ledger.head(connection)[0] >= seq, "a row that is not there was asked for"
            self.pairs = live(connection, self._vault)


class FakeCentre:
    """A bind that answers as told."""

    def __init__(self) -> None:
        self.bound = True
        self.sent: list[Outgoing] = []
        self.answers: list[Answer | Exception | asyncio.Future[Answer]] = []
        """What to say to the next submissions; then each is accepted."""

    async def submit(self, sms: Outgoing) -> Answer:
        """Take an SMS."""
        self.sent.append(sms)
        answer = self.answers.pop(0) if self.answers else self.accepted()
        if isinstance(answer, asyncio.Future):
            return await answer
        if isinstance(answer, Exception):
            raise answer
        return answer

    def accepted(self) -> Answer:
        """The answer to the latest SMS, with an id of its own."""
        return Answer(ESME_ROK, f"{len(self.sent):08d}".encode())


@dataclass
class Bureau:
    """The intake over `records`. `now` is µs UTC."""

    records: Records
    now: int = START
    forwards: list[Forward] | None = field(default_factory=list)
    """What was forwarded to whoever reports; None where that cannot be read."""
    index: Index | None = None

    def __post_init__(self) -> None:
        self.metrics = IntakeMetrics()
        self.suspected: list[Filed] = []
        self.released = 0
        self.vault = Vault(Seal({"k1": bytes(32)}, {"k1": bytes(32)}))
        self.fake_index = FakeIndex(self.records, self.vault)
        self.centre = FakeCentre()
        self._numbers = iter(range(1, 1 << 31))
        self._references = iter(range(1, 1 << 16))
        self._open()

    def _open(self) -> None:
        self.writer = Writer(self.records, lambda: self.now)
        config = Config.model_validate(
            {
                "proxy": {"listen": ["127.0.0.1:0"], "smsc": ["127.0.0.1:1"]},
                "redis": {"url": "redis://127.0.0.1:1/0"},
            }
        )
        keys = Keys.of(dict.fromkeys(("token", "data", "sign"), bytes(32)))
        policy = Policy.model_validate({"version": "1"})
        self.office = Office(
            config, policy, self.records, self.writer, self.vault, keys, lambda: self.now
        )
        filing = Filing(self.vault, Replies.model_validate({}), "86")
        triage = Triage(
            self.owners, lambda *_: self.forwards, {"110", SHORT_CODE}, "86", lambda: self.now
        )
        self.intake = Intake(
            self.office,
            filing,
            triage,
            index=self.index or self.fake_index,
            suspect=lambda _, filed, _heard: self.suspected.append(filed),
            released=self._released,
            metrics=self.metrics,
        )
        self.unmatched = Unmatched(self.office, triage, self.intake, self.owners)
        self.outbox = Outbox(self.office, self.centre, 10, self.metrics)
        wait_until(self._start, "the records are free", 10.0)

    def _released(self) -> None:
        self.released += 1

    def close(self) -> None:
        """Stop writing."""
        self.writer.stop()

    def reopen(self) -> Self:
        """Begin again, as a desk that was killed: what was in memory is gone."""
        self.writer.stop()
        self._open()
        return self

    def _start(self) -> bool:
        """Start the writer; False while PostgreSQL has not noticed that the old one is gone."""
        try:
            self.writer.start()
        except RecordsError:
            return False
        return True

    async def owners(self) -> Owners:
        """Whose sources are whose now."""
        return self.look(lambda at: Owners.load(at, ZoneInfo("Asia/Shanghai"), "86", self.now))

    def later(self, duration: int) -> None:
        """Let time go by, in µs."""
        self.now += duration

    def register(self, **changes: Any) -> None:
        """Import the companies of the tests, with changes."""
        content = {**REGISTRY, "companies": {**REGISTRY["companies"], **changes}}
        file = RegistryFile.model_validate(content)
        self.writer.submit(lambda into: companies.import_(into, file, system("test"))).result()

    # --- what customers send

    def message(self, number: str, octets: bytes, coding: int = GSM, **fields: Any) -> Delivered:
        """A message as the SMSC brings it."""
        values: dict[str, Any] = {
            "command_id": DELIVER_SM,
            "sequence_number": next(self._numbers),
            "source": number.encode(),
            "source_ton": 1,
            "source_npi": 1,
            "destination": SHORT_CODE.encode(),
            "esm_class": 0,
            "protocol_id": 0,
            "data_coding": coding,
            "octets": octets,
            "tlvs": {},
            "received_at": self.now,
        }
        return Delivered(**(values | fields))

    def parts(
        self, number: str, text: str, coding: int = UCS_2, joining: Joining = "udh8"
    ) -> list[Delivered]:
        """The messages that a text comes as; always the same for the same text, reference aside."""
        reference = next(self._references)
        return [self.part(number, each, coding) for each in split(text, coding, reference, joining)]

    def part(self, number: str, part: Part, coding: int = UCS_2) -> Delivered:
        """One of them."""
        tlvs = dict(part.tlvs)
        octets = tlvs.get(0x0424, part.octets)
        return self.message(number, octets, coding, esm_class=part.esm_class, tlvs=tlvs)

    async def takes(self, *messages: Delivered) -> list[int]:
        """Have messages taken one after the other; the statuses of their answers."""
        return [await self.intake.take(each) for each in messages]

    async def says(self, number: str, text: str, coding: int = UCS_2) -> None:
        """A customer sends a text, and each part of it is accepted."""
        statuses = await self.takes(*self.parts(number, text, coding))
        assert set(statuses) == {ESME_ROK}, statuses

    async def enters(self, number: str, text: str, channel: str = "phone") -> Filed:
        """Somebody enters a report for a customer."""
        by = system("test")
        return await self.intake.file(
            Heard(channel, number, text.encode(), text.encode(), text, by=by)
        )

    async def sends(self) -> list[str]:
        """Have everything sent that is due; the texts."""
        before = len(self.centre.sent)
        await self.outbox.look()
        await self.outbox.ended()
        return [self.text_of(each) for each in self.centre.sent[before:]]

    def text_of(self, sms: Outgoing) -> str:
        """What an SMS says."""
        return sms.octets.decode("utf-16-be" if sms.data_coding == UCS_2 else "ascii")

    # --- what came of it

    def look(self, work: Callable[[Connection], T]) -> T:
        """Read something."""
        with self.records.reading() as connection:
            return work(connection)

    def rows(self, table: Table) -> Sequence[Any]:
        """Every row of a table, the oldest first."""
        key = next(iter(table.c))
        return self.look(lambda at: at.execute(select(table).order_by(key)).all())

    @property
    def reports(self) -> Sequence[Any]:
        """Every message that was filed."""
        return self.rows(report)

    @property
    def cases(self) -> Sequence[Any]:
        """Every case."""
        return self.rows(case_file)

    @property
    def sms(self) -> Sequence[Any]:
        """Every answer."""
        return self.rows(sms_out)

    @property
    def states(self) -> list[str]:
        """What became of each message."""
        return [each.state for each in self.reports]

    @property
    def answers(self) -> list[str]:
        """What was answered, in order."""
        return [each.kind for each in self.sms]

    @property
    def live(self) -> set[tuple[str, str]]:
        """The live blocks."""
        return self.look(lambda at: live(at, self.vault))

    @property
    def in_force(self) -> set[tuple[str, str]]:
        """What the index has."""
        return self.fake_index.pairs

    def text(self, row: Any) -> str:
        """The offending text of a report."""
        return self.vault.open(row.text_enc, "report", "text_enc", row.id).decode()

    def reply(self, row: Any) -> str:
        """The text of an answer."""
        return self.vault.open(row.text_enc, "sms_out", "text_enc", row.id).decode()

    def acts(self, action: str = "") -> list[Entry]:
        """What the ledger says, the oldest first."""
        entries = self.look(lambda at: [parse(row.body) for row in ledger.rows(at)])
        return [each for each in entries if not action or each.action == action]

    def dump(self) -> str:
        """Every value of every table, as somebody with the database reads them."""
        values = []
        for table in metadata.sorted_tables:
            for row in self.rows(table):
                for value in row:
                    values.append(
                        value.decode("latin-1") if isinstance(value, bytes) else str(value)
                    )
        return "\n".join(values)

    def waiting_parts(self) -> int:
        """Parts that belong to no report yet."""
        return sum(each.report is None for each in self.rows(mo_part))

    def detail(self, action: str) -> Any:
        """The detail of the newest row of the ledger of one kind."""
        return json.loads(json.dumps(self.acts(action)[-1].detail))
