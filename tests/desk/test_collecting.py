"""Segments of the proxies, taken into the records of a desk: each once, and its faults, too."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from smsfilter.decisions import layout
from smsfilter.decisions.layout import End
from smsfilter.desk.collecting import COMPARE_EVERY_US, Collecting
from smsfilter.desk.evidence import Evidence
from smsfilter.desk.office import Office
from smsfilter.deskmetrics import ProofMetrics
from smsfilter.ledger.chain import parse
from smsfilter.store import ledger
from smsfilter.store.schema import refusal, segment
from tests.fakes.desks import At
from tests.fakes.recorded import SECOND, Recorded, flip

ANNA, BERT = "8613800138000", "8613900139000"
START = 1_790_000_000 * SECOND


class Site:
    """A desk at work beside a proxy's folder."""

    def __init__(self, office: Office, proxy: Recorded) -> None:
        self.office = office
        self.proxy = proxy
        self.now = START
        self.restart()

    def restart(self) -> None:
        """Forget what is not in the records, as a desk that is started anew."""
        self.metrics = ProofMetrics()
        self._collecting = Collecting(self.office, Evidence(self.office), self.metrics)

    def collect(self) -> list[dict[str, Any]]:
        """Let the job run once; what it logs."""
        with capture_logs() as logs:
            asyncio.run(self._collecting.once())
        return [line for line in logs if line["event"].startswith("segment")]

    def add(self, number: int, *records: bytes, **more: Any) -> Path:
        return self.proxy.segment(number, *records, at=START + number * SECOND, **more)

    def rows(self, table: Any) -> list[Any]:
        with self.office.records.reading() as connection:
            return list(connection.execute(select(table)).all())

    def acts(self) -> list[tuple[str, str, str | None]]:
        """What the ledger says of segments, without the first row."""
        with self.office.records.reading() as connection:
            entries = [parse(row.body) for row in ledger.rows(connection)]
        return [
            (entry.action, entry.object, entry.detail["fault"])
            for entry in entries
            if entry.action.startswith("segment")
        ]

    def faults(self) -> list[str | None]:
        """What is wrong with each segment by the records, in the order of their numbers."""
        return [row.fault for row in sorted(self.rows(segment), key=lambda row: row.name)]


@contextmanager
def at_work(desk: At) -> Iterator[Site]:
    (desk.folder / "state").mkdir()
    desk.found()
    site: Site | None = None
    office = Office.of(desk.loaded, lambda: site.now if site is not None else START)
    office.writer.start()
    key = desk.state / "keys" / "decisions.key"
    site = Site(office, Recorded(desk.state / "decisions", key))
    try:
        yield site
    finally:
        office.writer.stop()
        office.records.close()


@pytest.fixture
def site(tmp_path: Path, records_urls: tuple[str, str | None]) -> Iterator[Site]:
    path = {"proxy": "p1", "path": "state/decisions"}
    with at_work(At(tmp_path / "desk", records_urls, decisions=[path])) as site:
        yield site


@pytest.fixture
def quick(tmp_path: Path) -> Iterator[Site]:
    """On SQLite alone, for what has nothing to do with the database."""
    path = {"proxy": "p1", "path": "state/decisions"}
    with at_work(At(tmp_path / "desk", decisions=[path])) as site:
        yield site


def test_a_segment_is_taken_in_once_with_what_was_refused(site: Site) -> None:
    proxy = site.proxy
    site.add(
        1,
        proxy.decided(ANNA, START),
        proxy.refused(ANNA, START + 1),
        proxy.refused(ANNA, START + 3),
        proxy.refused(ANNA, START + 2, company="acme oldacme"),
        proxy.refused(BERT, START + 4, company="", source="1069"),
    )
    site.add(2)
    proxy.begin(3, at=START + 3 * SECOND)
    said = site.collect()
    assert [(one["event"], one["segment"]) for one in said] == [
        ("segment_taken_in", 1),
        ("segment_taken_in", 2),
    ]
    first, second = sorted(site.rows(segment), key=lambda row: row.name)
    assert (first.proxy, first.name, first.count, first.clean) == ("p1", "0000000001", 5, True)
    assert second.prev == first.sha256
    assert site.faults() == [None, None]
    found = {(row.token8, row.company, row.source): row for row in site.rows(refusal)}
    anna, bert = (proxy.tokens(number.encode()) for number in (ANNA, BERT))
    assert set(found) == {
        (anna, "acme", "10657555"),
        (anna, "acme oldacme", "10657555"),
        (bert, "", "1069"),
    }
    summed = found[anna, "acme", "10657555"]
    assert (summed.count, summed.first, summed.last) == (2, START + 1, START + 3)
    taken = ("segment taken in", "segment:p1/1", None), ("segment taken in", "segment:p1/2", None)
    assert site.acts() == list(taken)
    assert not site.collect()
    site.restart()
    assert not site.collect()
    assert site.acts() == list(taken)
    assert site.metrics.behind_s == {"p1": 0.0}


def test_what_is_damaged_is_said_once_and_taken_in_when_it_is_mended(site: Site) -> None:
    path = site.add(1, site.proxy.decided(ANNA, START))
    flip(path)
    (said,) = site.collect()
    assert (said["event"], said["log_level"], said["segment"]) == ("segment_at_fault", "error", 1)
    assert "hash" in said["why"]
    assert not site.collect()
    site.restart()
    assert not site.collect()
    (damaged,) = site.acts()
    assert damaged[:2] == ("segment at fault", "segment:p1/1")
    flip(path)
    (said,) = site.collect()
    assert said["event"] == "segment_taken_in"
    assert site.faults() == [None]
    assert site.rows(segment)[0].count == 1


def test_a_hole_is_believed_when_it_is_there_twice(quick: Site) -> None:
    quick.add(1)
    gone = quick.add(2)
    octets = gone.read_bytes()
    quick.add(3)
    gone.unlink()
    assert [one["segment"] for one in quick.collect()] == [1]
    (taken,) = [one for one in quick.collect() if one["event"] == "segment_at_fault"]
    assert (taken["segment"], taken["why"]) == (3, "segment 2 is missing")
    assert quick.rows(segment)[1].count == 0
    gone.write_bytes(octets)
    quick.collect()
    assert [row.name[-1] for row in quick.rows(segment)] == ["1", "3", "2"]


def test_none_is_taken_in_before_the_one_ahead_of_it(quick: Site) -> None:
    quick.proxy.begin(1, at=START)
    quick.add(2)
    assert not quick.collect()


def test_a_segment_that_is_gone_and_one_that_is_another_now(quick: Site) -> None:
    first, second = quick.add(1), quick.add(2)
    third = quick.add(3, quick.proxy.decided(ANNA, START))
    quick.collect()
    kept, other = second.read_bytes(), third.read_bytes()
    second.unlink()
    assert not quick.collect()
    (said,) = quick.collect()
    assert (said["segment"], said["why"]) == (2, "it is gone")
    second.write_bytes(kept)
    quick.collect()
    flip(third, -1)
    quick.now += COMPARE_EVERY_US
    (said,) = quick.collect()
    assert (said["segment"], said["why"]) == (3, "it is another one now")
    assert not quick.collect()
    third.write_bytes(other)
    quick.now += COMPARE_EVERY_US
    quick.collect()
    assert quick.faults() == [None, None, None]
    assert [act[0] for act in quick.acts()[3:]] == [
        "segment at fault",
        "segment found again",
        "segment at fault",
        "segment found again",
    ]
    first.unlink()
    for _ in range(2):
        assert not quick.collect(), "the oldest are removed in their time"


def test_what_a_segment_says_of_itself_is_said(quick: Site) -> None:
    quick.add(1)
    quick.add(2, layout.lost_slot(7, START, START + 1))
    quick.add(3, end=End.UNCLEAN)
    quick.add(4, continues=False)
    quick.collect()
    assert quick.faults() == [
        None,
        "7 messages without a record",
        "it has no clean end",
        "decisions were not recorded here",
    ]
    assert quick.metrics.segments == {"taken": 4, "at_fault": 3}
    one = quick.add(5)
    quick.collect()
    assert one.exists()


def test_a_segment_of_another_proxy_or_key(quick: Site, tmp_path: Path) -> None:
    quick.add(1)
    quick.proxy.proxy = "p9"
    quick.add(2)
    quick.collect()
    other = Recorded(tmp_path / "other", tmp_path / "other.key")
    other.segment(3, at=START + 3 * SECOND).rename(quick.proxy.path(3))
    quick.collect()
    assert quick.faults() == [
        None,
        "it is segment 2 of p9",
        "its tokens are made with another key",
    ]


def test_one_that_was_put_aside(quick: Site) -> None:
    quick.add(1)
    quick.proxy.path(2, "damaged").write_bytes(b"half")
    quick.add(3)
    quick.collect()
    assert quick.faults()[1] == "it was put aside as damaged"


def test_a_proxy_without_a_folder_or_a_key_is_as_far_behind_as_can_be(tmp_path: Path) -> None:
    listed = [{"proxy": "p1", "path": "state/decisions"}, {"proxy": "p2", "path": "nowhere"}]
    with at_work(At(tmp_path / "desk", decisions=listed)) as site:
        site.collect()
        assert site.metrics.behind_s == {"p1": 0.0, "p2": float("inf")}
        (site.office.config.state_dir / "keys" / "decisions").mkdir()
        key = site.office.config.state_dir / "keys" / "decisions" / "p2.key"
        copy = Recorded(tmp_path / "desk" / "nowhere", key, "p2")
        (copy.folder / "copied").touch()
        copied_at = (copy.folder / "copied").stat().st_mtime_ns // 1000
        site.now = copied_at + 90 * SECOND
        site.collect()
        assert site.metrics.behind_s == {"p1": 0.0, "p2": 90.0}
        for path in copy.folder.iterdir():
            path.unlink()
        copy.folder.rmdir()
        (said,) = site.collect()
        assert (said["event"], said["proxy"]) == ("segments_unreadable", "p2")
