"""Incidents and proofs of a desk, from what a proxy has recorded; on both databases."""

import asyncio
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, update
from structlog.testing import capture_logs

from smsfilter.decisions.layout import Kind
from smsfilter.decisions.manifest import Gap
from smsfilter.decisions.proof import Decided, Pair, Proof, Result
from smsfilter.desk import blocks, companies, incidents, proving
from smsfilter.desk import company as company_acts
from smsfilter.desk import segments as kept
from smsfilter.desk.collecting import Collecting
from smsfilter.desk.evidence import Evidence
from smsfilter.desk.incidents import HOUR, Counted, Incidents, judge
from smsfilter.desk.matching import WINDOW
from smsfilter.desk.office import Office
from smsfilter.desk.proving import Given, Subject, UnprovableError
from smsfilter.deskmetrics import ProofMetrics
from smsfilter.ledger.actor import system
from smsfilter.ledger.chain import parse
from smsfilter.rules.registry import Company, RegistryFile
from smsfilter.store import ledger
from smsfilter.store.schema import block, case_file, customer, incident, report
from smsfilter.store.transaction import Transaction
from tests.fakes.desks import At
from tests.fakes.recorded import SECOND, Recorded

ANNA, CLARA = "8613800138000", "8613700137000"
START = 1_790_000_000 * SECOND
BY = system("test")
ACME = RegistryFile.model_validate(
    {"companies": {"acme": {"sources": ["10657555"]}, "bravo": {"sources": ["10658888"]}}}
)


class Desk:
    """A desk at work with a copy of what one proxy has recorded. `now` is µs UTC."""

    def __init__(self, at: At, proxy: Recorded) -> None:
        self.now = START
        self.proxy = proxy
        self.office = Office.of(at.loaded, lambda: self.now)
        self.office.writer.start()
        self.restart()
        self.copied(START)

    def restart(self) -> None:
        self.evidence = Evidence(self.office)
        self.metrics = ProofMetrics()
        self.incidents = Incidents(self.office, self.evidence, self.metrics)

    def close(self) -> None:
        self.office.writer.stop()
        self.office.records.close()

    def copied(self, at: int) -> None:
        """What the proxy has recorded until `at` is here."""
        stamp = self.proxy.folder / "copied"
        stamp.touch()
        os.utime(stamp, ns=(at * 1000, at * 1000))

    def do(self, work: Any, *arguments: Any) -> Any:
        return self.office.writer.submit(lambda t: work(t, *arguments)).result()

    def reported(self, target: str = "acme", number: str = ANNA) -> int:
        """A report that blocks a target, or is on one that is blocked: the id of the report."""

        def work(transaction: Transaction) -> int:
            owner = self.office.vault.customer(transaction, number)
            was_blocked = blocks.live(transaction, owner, target) is not None
            known = transaction.connection.scalar(
                select(case_file.c.id).where(
                    case_file.c.customer == owner, case_file.c.target == target
                )
            )
            case = known or _add(
                transaction,
                case_file,
                customer=owner,
                target=target,
                state="blocked",
                opened_at=transaction.now,
                due_at=transaction.now,
                changed_seq=0,
            )
            new = _add(
                transaction,
                report,
                channel="sms",
                customer=owner,
                fingerprint=str(transaction.now),
                copies=1,
                received_at=transaction.now,
                complete=True,
                counted=True,
                state="blocked",
                case_id=case,
                changed_seq=0,
            )
            put = blocks.put(transaction, owner, target, "report", report=new, case_id=case)
            if was_blocked:
                incidents.opened(transaction, new, owner, target)
            transaction.enter("reported", BY, customer_id=owner, touches=put.touched)
            return new

        found: int = self.do(work)
        return found

    def copy(self, report_id: int) -> bool:
        """The same report once more."""

        def work(transaction: Transaction) -> bool:
            row = transaction.connection.execute(
                select(report).where(report.c.id == report_id)
            ).one()
            return incidents.opened(transaction, report_id, row.customer, "acme")

        done: bool = self.do(work)
        return done

    def decide(self) -> list[str]:
        """Let the job look into what is due; the results that it tells of."""
        with capture_logs() as logs:
            asyncio.run(self.incidents.once())
        return [line["result"] for line in logs if line["event"] == "incident"]

    def rows(self, table: Any) -> list[Any]:
        with self.office.records.reading() as connection:
            return list(connection.execute(select(table).order_by(table.c.id)).all())

    def entered(self, action: str) -> list[Any]:
        with self.office.records.reading() as connection:
            rows = [parse(row.body) for row in ledger.rows(connection)]
        return [row for row in rows if row.action == action]

    def prove(self, target: str = "acme", number: str = ANNA) -> Given:
        name = {"source": target[7:]} if target.startswith("source:") else {"company": target}
        with self.office.records.reading() as connection:
            subject = proving.by_pair(connection, self.office, number, **name)
            return proving.prove(connection, self.office, self.evidence, subject)


def _add(transaction: Transaction, table: Any, **values: Any) -> int:
    new = insert(table).values(**values).returning(table.c.id)
    found: int = transaction.connection.execute(new).scalar_one()
    return found


@pytest.fixture
def desk(tmp_path: Path, records_urls: tuple[str, str | None]) -> Iterator[Desk]:
    at = At(tmp_path / "desk", records_urls, decisions=[{"proxy": "p1", "path": "copy"}])
    at.state.mkdir()
    at.found()
    proxy = Recorded(at.folder / "copy", at.state / "keys" / "decisions" / "p1.key")
    desk = Desk(at, proxy)
    desk.do(companies.import_, ACME, BY)
    yield desk
    desk.close()


# what an incident comes to


def decided(at: int, **more: Any) -> Decided:
    found = Decided(at, "p1", 1, 0, Kind.FORWARD, ("acme",), "10657555", 5, "v1", "")
    return found._replace(**more)


def given(**lists: Any) -> Given:
    pair = Pair(frozenset({"acme"}), frozenset(), 50, START)
    names = ("violations", "doubtful", "refused", "before", "delivered_after", "gaps")
    proof = Proof(pair, START + HOUR, *(tuple(lists.get(name, ())) for name in names))
    subject = Subject(1, "c1", ANNA, "acme", 1, 1, START, START, 50)
    return Given(subject, proof, (), ())


BEFORE = decided(START - HOUR)
LATE = decided(START + 1, kind=Kind.RECEIPT, reason="DELIVRD")


@pytest.mark.parametrize(
    ("lists", "counted", "result"),
    [
        ({"violations": [decided(START + 1)]}, (1, 0), "forwarded"),
        ({"violations": [BEFORE], "gaps": [Gap("p1", 0, START * 2, "x")]}, (1, 0), "forwarded"),
        ({"gaps": [Gap("p1", START, START + 1, "x")]}, (1, 0), "not_provable"),
        ({"gaps": [Gap("p1", 0, START - WINDOW, "long ago")]}, (1, 0), "not_through_us"),
        ({"doubtful": [decided(START)]}, (1, 0), "not_provable"),
        ({"doubtful": [decided(START - WINDOW)]}, (1, 0), "not_through_us"),
        ({"before": [BEFORE]}, (1, 0), "not_through_us"),
        ({"before": [BEFORE, BEFORE]}, (1, 0), "accepted_before"),
        ({"before": [BEFORE, BEFORE]}, (2, 1), "not_through_us"),
        ({"before": [BEFORE, decided(START - WINDOW - 1)]}, (1, 0), "not_through_us"),
        ({"before": [BEFORE], "delivered_after": [LATE]}, (1, 0), "accepted_before"),
        ({"before": [BEFORE], "delivered_after": [LATE]}, (1, 1), "not_through_us"),
        (
            {"before": [BEFORE], "delivered_after": [LATE._replace(reason="EXPIRED")]},
            (1, 0),
            "not_through_us",
        ),
    ],
)
def test_what_an_incident_comes_to(
    lists: dict[str, Any], counted: tuple[int, int], result: str
) -> None:
    assert judge(given(**lists), START + HOUR, Counted(*counted)).result == result


def test_each_report_accounts_for_one_message(desk: Desk) -> None:
    proxy = desk.proxy
    two = [proxy.decided(ANNA, START - at, seq=1) for at in (5, 6)]
    proxy.segment(1, *two, at=START - HOUR)
    first = desk.reported()
    results = []
    for minutes in (10, 20):
        desk.now = START + minutes * 60 * SECOND
        desk.copied(desk.now)
        desk.reported()
        results += desk.decide()
    assert results == ["accepted_before", "not_through_us"]
    desk.now += HOUR
    desk.copied(desk.now)
    assert desk.copy(first)
    assert not desk.copy(first), "the SMSC brings it again"
    assert desk.decide() == ["not_through_us"]
    assert desk.metrics.incidents["not_through_us"] == 2
    one, two_, three = desk.entered("incident")
    assert sorted(one.detail["messages"]) == ["p1/1/3", "p1/1/7"]
    assert {row.object for row in (one, two_, three)} == {"block:1"}
    assert one.case_id == "1"
    assert desk.decide() == []


def test_what_a_customer_said_before_the_block_is_no_incident(desk: Desk) -> None:
    new = desk.reported()

    def work(transaction: Transaction, said_at: int) -> bool:
        row = transaction.connection.execute(select(report)).one()
        return incidents.opened(transaction, new, row.customer, "acme", said_at)

    assert not desk.do(work, START)
    assert desk.do(work, START + 1)


def test_two_reports_that_came_together_are_no_incident(desk: Desk) -> None:
    gate = threading.Event()
    held = desk.office.writer.submit(lambda _transaction: gate.wait(10))

    def work(transaction: Transaction) -> bool:
        owner = desk.office.vault.customer(transaction, ANNA)
        put = blocks.put(transaction, owner, "acme", "report")
        transaction.enter("reported", BY, customer_id=owner, touches=put.touched)
        return incidents.opened(transaction, 1, owner, "acme")

    both = [desk.office.writer.submit(work) for _ in range(2)]
    gate.set()
    held.result()
    assert [one.result() for one in both] == [False, False]


def test_it_waits_for_the_copy_and_says_so_after_an_hour(desk: Desk) -> None:
    desk.proxy.segment(1, desk.proxy.decided(ANNA, START - 5, seq=1), at=START - HOUR)
    desk.reported()
    desk.now += 10 * SECOND
    desk.reported()
    assert desk.decide() == []
    assert desk.decide() == [], "it is looked into again in a minute"
    desk.now += HOUR
    desk.restart()
    assert desk.decide() == ["not_provable"]
    desk.now += HOUR
    assert desk.decide() == [], "said before"
    desk.copied(desk.now)
    desk.now += HOUR
    assert desk.decide() == ["not_through_us"]
    assert [row.detail["result"] for row in desk.entered("incident")] == [
        "not_provable",
        "not_through_us",
    ]
    assert desk.entered("incident")[0].detail["missing"] == ["its records were copied before that"]
    (row,) = desk.rows(incident)
    assert (row.result, row.next_at) == ("not_through_us", None)


def test_it_does_not_wait_for_ever(desk: Desk) -> None:
    desk.reported()
    desk.now += 10 * SECOND
    desk.reported()
    desk.now += WINDOW
    assert desk.decide() == ["not_provable"]
    assert desk.rows(incident)[0].next_at is None


def test_a_block_that_has_ended_meanwhile_and_a_number_that_was_erased(desk: Desk) -> None:
    seq = desk.office.writer.head
    desk.reported()
    desk.now += 10 * SECOND
    desk.reported()
    desk.copied(desk.now)
    desk.proxy.segment(1, desk.proxy.decided(ANNA, START + 5, seq=seq + 1), at=START - HOUR)

    def end(transaction: Transaction) -> None:
        blocks.end(transaction, 1, "test", "withdrawn")
        transaction.enter("ended", BY, touches=[(block, 1)])

    desk.do(end)
    assert desk.decide() == ["forwarded"]
    with (
        desk.office.records.reading() as connection,
        pytest.raises(UnprovableError, match="withdrawn"),
    ):
        proving.by_id(connection, desk.office, 1)


# proofs


def proven(desk: Desk, *records: bytes, target: str = "acme", **more: Any) -> Given:
    """The proof of a block that was put at START, with what was recorded around it."""
    desk.reported(target, **more)
    desk.proxy.segment(1, *records, at=START - HOUR)
    desk.now += HOUR
    desk.copied(desk.now)
    return desk.prove(target, **more)


def after(desk: Desk, **more: Any) -> bytes:
    """A forward by a batch that had read a block put now."""
    return desk.proxy.decided(more.pop("to", ANNA), START + 5, seq=1 << 20, **more)


def test_a_company_that_was_merged_counts_as_the_one_that_goes_on(desk: Desk) -> None:
    desk.do(company_acts.merge, "bravo", "acme", BY)
    found = proven(desk, after(desk, company="bravo", source="10658888"))
    assert found.proof.result is Result.FORWARDED


def test_a_source_that_became_the_companys_later(desk: Desk) -> None:
    unnamed = after(desk, company="", source="1069000")
    anothers = after(desk, company="bravo", source="1069000")
    found = proven(desk, unnamed, anothers)
    assert found.proof.result is Result.PROVEN
    more = Company.model_validate({"sources": ["1069"]})
    desk.do(company_acts.extend, "acme", more, BY)
    (one,) = desk.prove().proof.violations
    assert (one.companies, one.source) == (("",), "1069000")


def test_a_source_whoever_sends_from_it(desk: Desk) -> None:
    found = proven(desk, after(desk, company="bravo", source="1069"), target="source:1069")
    assert found.proof.result is Result.FORWARDED


def test_a_source_that_is_a_persons_number(desk: Desk) -> None:
    def target(transaction: Transaction) -> str:
        vault = desk.office.vault
        return blocks.source_target(transaction, vault, "13900139000", "86")

    handset = desk.proxy.tokens.handset("13900139000")  # spelled as the proxies spell sources
    desk.reported(desk.do(target))
    desk.proxy.segment(1, after(desk, company="", source=handset), at=START - HOUR)
    desk.copied(desk.now)
    with desk.office.records.reading() as connection:
        subject = proving.by_pair(connection, desk.office, ANNA, source="13900139000")
        found = proving.prove(connection, desk.office, desk.evidence, subject)
    assert found.proof.result is Result.FORWARDED


def test_everybody(desk: Desk) -> None:
    found = proven(desk, after(desk, company="", source="1069"), target="*")
    assert found.proof.result is Result.FORWARDED


def test_what_is_left_of_refusals_whose_segments_are_gone(desk: Desk) -> None:
    proxy = desk.proxy
    desk.reported()
    first = proxy.segment(
        1,
        proxy.refused(ANNA, START + 1, company="acme other"),
        proxy.refused(ANNA, START + 2, company="bravo"),
        proxy.refused(CLARA, START + 3),
        at=START,
    )
    proxy.segment(2, at=START + HOUR)
    collecting = Collecting(desk.office, desk.evidence, ProofMetrics())
    asyncio.run(collecting.once())
    with desk.office.records.reading() as connection:
        assert len(kept.manifests(connection, START)) == 2
        assert len(kept.manifests(connection, START + 30 * 60 * SECOND)) == 1
    first.unlink()
    desk.now += 2 * HOUR
    desk.copied(desk.now)
    found = desk.prove()
    (row,) = found.summed
    assert (row.count, row.first, row.company) == (1, START + 1, "acme other")
    assert "segment 1 is gone" in {gap.why for gap in found.proof.gaps}


@pytest.mark.parametrize(
    ("number", "company", "said"),
    [
        ("none", "acme", "not a number of a customer"),
        (CLARA, "acme", r"137\*\*\*\*7000 has not blocked acme"),
        (ANNA, "bravo", "has not blocked bravo"),
    ],
)
def test_there_is_nothing_to_prove(desk: Desk, number: str, company: str, said: str) -> None:
    desk.reported()
    with pytest.raises(UnprovableError, match=said):
        desk.prove(company, number)


def test_a_number_that_was_erased(desk: Desk) -> None:
    desk.reported()
    desk.do(lambda t: t.connection.execute(update(customer).values(number_enc=None)))
    with (
        desk.office.records.reading() as connection,
        pytest.raises(UnprovableError, match="erased"),
    ):
        proving.by_id(connection, desk.office, 1)


# whom a customer heard from


def test_nothing_follows_before_the_copy_is_here(desk: Desk) -> None:
    forwards = [
        desk.proxy.decided(ANNA, START - 5),
        desk.proxy.decided(ANNA, START - 4, company="", source="1069"),
        desk.proxy.refused(ANNA, START - 3),
    ]
    desk.proxy.segment(1, *forwards, at=START - HOUR)
    assert desk.evidence.forwards(ANNA, START - WINDOW + 1) is None
    found = desk.evidence.forwards(ANNA, START - WINDOW)
    assert found is not None
    assert [(one.company, one.source) for one in found] == [("acme", "10657555"), (None, "1069")]
    assert desk.evidence.forwards(CLARA, START - WINDOW) == []
    key = desk.office.config.state_dir / "keys" / "decisions" / "p1.key"
    key.rename(key.with_suffix(".gone"))
    assert desk.evidence.forwards(ANNA, START - WINDOW) is None


def test_a_source_that_stands_as_a_token_is_known_by_its_name(desk: Desk) -> None:
    """A 400 number is a company's, and looks like anybody's."""
    source = "4008001234"
    handset = desk.proxy.tokens.handset(source)
    desk.proxy.segment(1, desk.proxy.decided(ANNA, START - 5, source=handset), at=START - HOUR)
    for named, expected in ((source, source), ("4008009999", handset)):
        found = desk.evidence.forwards(ANNA, START - WINDOW, named)
        assert [each.source for each in found or ()] == [expected]


def test_what_is_recorded_later_is_seen(desk: Desk) -> None:
    file = desk.proxy.begin(1, at=START - HOUR)
    assert desk.evidence.forwards(ANNA, START - WINDOW) == []
    file.write(desk.proxy.decided(ANNA, START - 5))
    assert len(desk.evidence.forwards(ANNA, START - WINDOW) or ()) == 1
    desk.proxy.segment(2, desk.proxy.decided(ANNA, START - 4), at=START - HOUR)
    assert len(desk.evidence.forwards(ANNA, START - WINDOW) or ()) == 2
    (desk.proxy.folder / "0000000003.open").write_bytes(bytes(200))
    assert desk.evidence.forwards(ANNA, START - WINDOW) is None
