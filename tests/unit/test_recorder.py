"""The recorder: rotation while it is written to, disks that fail, what is closed and by whom."""

import asyncio
import contextlib
import errno
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from smsfilter.config import DecisionsConfig
from smsfilter.decisions.layout import End, Kind
from smsfilter.decisions.tokens import Tokens
from smsfilter.metrics import Metrics
from smsfilter.proxy import recorder as module
from smsfilter.proxy.batch import Batch, Judged, Passed
from smsfilter.proxy.limits import Allowances
from smsfilter.proxy.recorder import KEY_FILE, Recorder
from smsfilter.rules.judge import Judge
from smsfilter.rules.policy import Policy
from smsfilter.rules.senders import Registry, RegistryFile
from smsfilter.rules.verdict import Kind as Verdict
from smsfilter.rules.verdict import Reason
from smsfilter.store import keyfiles, segments
from smsfilter.store.decisions import Folder, Records
from smsfilter.store.segments import SegmentFile

NOW = 1_795_000_000.0
COMPANIES = {"companies": {"acme": {"accounts": ["acme"], "sources": ["10657555"]}}}
JUDGE = Judge(
    Policy.model_validate({}),
    Registry(RegistryFile.model_validate(COMPANIES), ZoneInfo("Asia/Shanghai")),
)
LINE = JUDGE.line("acme", b"10657555001", NOW)


def batch(*numbers: bytes, line: object = LINE) -> Batch:
    """A batch of clean messages."""
    made = Batch(JUDGE, "", NOW, 1.0, Allowances())
    made.passed.append(Passed(line, numbers))  # type: ignore[arg-type]
    return made


def number(n: int) -> bytes:
    return b"86138%08d" % n


class Bench:
    """A recorder, and what it has written."""

    def __init__(self, state_dir: Path, **config: str) -> None:
        self.state_dir = state_dir
        self.metrics = Metrics()
        chosen = DecisionsConfig.model_validate({"name": "p1", **config})
        self.recorder = Recorder(chosen, state_dir, self.metrics, "86")

    def records(self) -> Records:
        tokens = Tokens(keyfiles.read(self.state_dir / KEY_FILE))
        return Records([Folder(self.state_dir / segments.FOLDER, tokens, "p1")], verify=True)

    def suffixes(self) -> dict[str, int]:
        found = segments.numbers(self.state_dir / segments.FOLDER)
        return {suffix: len(numbers) for suffix, numbers in found.items() if numbers}

    async def until(self, found: Callable[[], object]) -> None:
        """Wait for what the recorder does in its own time."""
        async with asyncio.timeout(20):
            while not found():  # noqa: ASYNC110 - files and counters tell nobody
                await asyncio.sleep(0.005)


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recorder looks after its files all the time."""
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.001)


@contextlib.asynccontextmanager
async def running(state_dir: Path, **config: str) -> AsyncIterator[Bench]:
    bench = Bench(state_dir, **config)
    await bench.recorder.start()
    try:
        yield bench
    finally:
        await bench.recorder.stop()


async def test_what_is_written_is_read_with_all_its_names(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        mixed = batch(number(1), number(2))
        refused = Judged(LINE, (number(3), b"3"), Verdict.PERMANENT, Reason.BLOCKED_BY_REPORT, True)
        late = Judged(LINE, (number(4),), Verdict.TEMPORARY, Reason.LOOKUP_UNAVAILABLE, False)
        unread = Judged(None, (), Verdict.PERMANENT, Reason.MALFORMED, False)
        mixed.judged += [refused, late, unread]
        assert bench.recorder.write(mixed, 7)
        assert bench.metrics.records == 6
        (one,) = bench.records().of("8613800000001")
        assert (one.at, one.kind, one.companies) == (int(NOW * 1e6), Kind.FORWARD, ("acme",))
        assert (one.source, one.seq, one.policy) == ("10657555001", 7, JUDGE.version)
        for digits in ("8613800000003", "3"):
            (one,) = bench.records().of(digits)
            assert (one.kind, one.reason) == (Kind.REFUSED, "blocked_by_report")
        (one,) = bench.records().of("8613800000004")
        assert (one.kind, one.reason) == (Kind.PUT_OFF, "lookup_unavailable")


async def test_a_seq_that_is_none_of_the_ledgers_is_left_out(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        bench.recorder.write(batch(number(1)), 1_795_746_049_134)
        bench.recorder.write(batch(number(2)), 0xFFFFFFFF)
        assert bench.records().of("8613800000001")[0].seq == 0
        assert bench.records().of("8613800000002")[0].seq == 0xFFFFFFFF


async def test_other_companies_that_were_asked_for_stand_beside_the_sender(tmp_path: Path) -> None:
    stranger = JUDGE.line("acme", b"10659999", NOW)
    nobody = JUDGE.line("nobody", b"10657555", NOW)
    async with running(tmp_path) as bench:
        bench.recorder.write(batch(number(1), line=stranger), 7)
        bench.recorder.write(batch(number(2), line=nobody), 7)
        assert bench.records().of("8613800000001")[0].companies == ("acme",)
        assert bench.records().of("8613800000002")[0].companies == ("", "acme")


@pytest.mark.usefixtures("often")
async def test_rotation_under_traffic_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FULL", 20_000)
    async with running(tmp_path) as bench:
        count = 0
        async with asyncio.timeout(30):
            while bench.metrics.segments < 6:
                assert bench.recorder.write(batch(*map(number, range(count, count + 50))), 7)
                count += 50
                await asyncio.sleep(0)
    async with running(tmp_path) as after:
        await after.until(lambda: "ended" not in after.suffixes())
    found = bench.records()
    manifests = found.manifests()
    assert sum(one.records for one in manifests) == count == bench.metrics.records
    assert not found.damaged
    proof = found.prove("8613800000001", ["acme"], [], changed_seq=8, created_at=0)
    assert [gap.why for gap in proof.gaps] == ["its records begin later"]
    assert len(found.forwards(number(count - 1).decode())) == 1


@pytest.mark.usefixtures("often")
async def test_an_idle_proxy_opens_no_new_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "OLD_US", 0)
    async with running(tmp_path) as bench:
        await asyncio.sleep(0.05)
        assert bench.metrics.segments == 1
        bench.recorder.write(batch(number(1)), 7)
        await bench.until(lambda: bench.metrics.segments == 2)


@pytest.mark.usefixtures("often")
async def test_ever_new_sources_do_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "NAMES_MOST", 10)
    async with running(tmp_path) as bench:
        for n in range(20):
            line = JUDGE.line("acme", b"106575551%d" % n, NOW)
            bench.recorder.write(batch(number(n), line=line), 7)
        await bench.until(lambda: bench.metrics.segments == 2)


@pytest.mark.usefixtures("often")
async def test_a_large_segment_is_closed_by_a_process_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CLOSED_HERE_MOST", 100)
    async with running(tmp_path) as bench:
        bench.recorder.write(batch(*map(number, range(100))), 7)
        monkeypatch.setattr(module, "OLD_US", 0)
        await bench.until(lambda: bench.metrics.segments >= 2)
        await bench.until(lambda: bench.suffixes().get("seg") == 1)
        (one, *_) = bench.records().manifests()
        assert (one.records, one.end) == (100, End.ORDERLY)


@pytest.mark.usefixtures("often")
async def test_a_file_that_the_disk_failed_is_never_written_to_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sync(self: SegmentFile) -> None:
        if self.number == 1:
            raise OSError(errno.EIO, "Input/output error")

    async with running(tmp_path) as bench:
        monkeypatch.setattr(SegmentFile, "sync", sync)
        bench.recorder.write(batch(number(1)), 7)
        await bench.until(lambda: bench.metrics.segments == 2)
        assert bench.metrics.record_fsync_errors == 1
        assert bench.recorder.write(batch(number(2)), 7)
        await bench.until(lambda: bench.suffixes().get("seg") == 1)
        first, second = bench.records().manifests()
        assert (first.end, first.clean, first.records) == (End.UNCLEAN, False, 1)
        assert second.records == 1
        assert bench.metrics.recording


@pytest.mark.usefixtures("often")
async def test_a_disk_that_is_nearly_full_puts_messages_off_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(_self: SegmentFile) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    real = SegmentFile.make_room
    async with running(tmp_path, on_full="temporary") as bench:
        monkeypatch.setattr(SegmentFile, "make_room", no_room)
        many, count = list(map(number, range(1000))), 0
        while count * 32 < segments.ROOM * 2 // 3:
            assert bench.recorder.write(batch(*many), 7)
            count += 1000
        await bench.until(lambda: bench.recorder._short)
        assert not bench.recorder.refuses, "there is room for some more"
        while not bench.recorder.refuses:
            assert bench.recorder.write(batch(*many), 7)
            count += 1000
        assert count * 32 < segments.ROOM
        assert bench.metrics.records == count, "nothing was lost on the way"
        monkeypatch.setattr(SegmentFile, "make_room", real)
        await bench.until(lambda: not bench.recorder.refuses)
    assert bench.metrics.records_lost == 0


@pytest.mark.usefixtures("often")
async def test_what_a_failed_write_has_lost_is_declared_in_the_next_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_self: SegmentFile, _octets: bytes) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    real_write, real_init = SegmentFile.write, SegmentFile.__init__
    async with running(tmp_path) as bench:
        assert bench.recorder.write(batch(number(1)), 7)
        monkeypatch.setattr(SegmentFile, "write", fails)
        monkeypatch.setattr(SegmentFile, "__init__", fails)
        assert bench.recorder.write(batch(number(2), number(3)), 7), "the traffic goes on"
        assert bench.recorder.write(batch(number(4)), 7)
        assert not bench.metrics.recording
        assert bench.metrics.records_lost == 3
        monkeypatch.setattr(SegmentFile, "write", real_write)
        monkeypatch.setattr(SegmentFile, "__init__", real_init)
        await bench.until(lambda: bench.metrics.recording)
        assert bench.recorder.write(batch(number(5)), 7)
    first, second = bench.records().manifests()
    assert (first.records, first.lost, first.end) == (1, 0, End.ORDERLY)
    assert (second.records, second.lost, second.continues) == (1, 3, True)


async def test_what_was_lost_up_to_the_end_is_a_gap_of_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_self: SegmentFile, _octets: object, _more: object = None) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    bench = Bench(tmp_path)
    await bench.recorder.start()
    with monkeypatch.context() as patch:
        patch.setattr(SegmentFile, "write", fails)
        patch.setattr(SegmentFile, "__init__", fails)
        bench.recorder.write(batch(number(1)), 7)
        await bench.recorder.stop()
    async with running(tmp_path) as bench:
        _, second = bench.records().manifests()
        assert not second.continues
    async with running(tmp_path) as bench:
        assert bench.records().manifests()[-1].continues


async def test_old_segments_are_removed(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        bench.recorder.write(batch(number(1)), 7)
    async with running(tmp_path, keep="1ms") as bench:
        await bench.until(lambda: "seg" not in bench.suffixes())
