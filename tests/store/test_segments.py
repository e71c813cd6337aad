"""Segments on disk: written, recovered after a crash, closed, shelved, removed, and read."""

import errno
import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smsfilter.decisions import layout
from smsfilter.decisions.layout import HEADER, SLOT, DamagedError, End, Header, Kind, Name, Table
from smsfilter.decisions.manifest import NOT_IN_YET, Expected
from smsfilter.decisions.proof import Result
from smsfilter.decisions.shelf import SEGMENTS
from smsfilter.decisions.tokens import Tokens
from smsfilter.store import closing, decisions, segments, shelves
from smsfilter.store.decisions import Folder, Records, open_segment
from smsfilter.store.segments import InUseError, SegmentFile

TOKENS = Tokens(b"k" * 32)
BOOT, OTHER_BOOT = b"b" * 16, b"o" * 16
TO, OTHER = "8613800138000", "8613800138001"
SECOND = 1_000_000


def header(number: int = 1, boot: bytes = BOOT, **more: Any) -> Header:
    found = Header("p1", TOKENS.id, boot, number * SECOND, number, continues=True)
    return found._replace(**more)


NAMES = b"".join(
    layout.name_slots(name)
    for name in (
        Name(Table.COMPANY, 1, "acme"),
        Name(Table.SOURCE, 1, "10657555"),
        Name(Table.POLICY, 1, "v1"),
        Name(Table.REASON, 1, "blocked_by_report"),
    )
)


def record(to: str, at: int, seq: int = 5, kind: Kind = Kind.FORWARD) -> bytes:
    reason = 1 if kind is Kind.REFUSED else 0
    return layout.record.pack(at, TOKENS(to.encode()), 1, 1, seq, 1, reason, kind)


def written(folder: Path, number: int = 1, *records: bytes, **more: Any) -> SegmentFile:
    file = SegmentFile(folder, header(number, **more))
    file.write(NAMES + b"".join(records or (record(TO, number * SECOND + 1),)))
    return file


def ended(folder: Path, number: int = 1, *records: bytes, **more: Any) -> None:
    written(folder, number, *records, **more).end(End.ORDERLY, number * SECOND + SECOND - 1)


def records(folder: Path, now: int = 900 * SECOND, *, verify: bool = False) -> Records:
    return Records([Folder(folder, TOKENS, "p1")], now, verify=verify)


# writing and reading


def test_an_open_segment_is_read_while_it_is_written(tmp_path: Path) -> None:
    file = written(tmp_path, 1, record(TO, 7), record(OTHER, 8, kind=Kind.REFUSED))
    (found,) = records(tmp_path).of(TO)
    assert (found.at, found.companies, found.source) == (7, ("acme",), "10657555")
    assert (found.kind, found.seq, found.policy, found.reason) == (Kind.FORWARD, 5, "v1", "")
    (refused,) = records(tmp_path).of(OTHER)
    assert (refused.kind, refused.reason) == (Kind.REFUSED, "blocked_by_report")
    (manifest,) = records(tmp_path).manifests()
    assert (manifest.id, manifest.records, manifest.end) == ("p1/1", 2, End.OPEN)
    assert manifest.until == 900 * SECOND, "it is known up to now"
    file.end(End.ORDERLY, 9)


def test_a_segment_is_only_the_owners(tmp_path: Path) -> None:
    ended(tmp_path)
    closing.close_ended(tmp_path)
    assert stat.S_IMODE((tmp_path / "0000000001.seg").stat().st_mode) == 0o600


def test_closed_segments_form_a_chain_and_are_found_by_their_index(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        ended(tmp_path, number, record(OTHER, 1), record(TO, number), record(TO, number + 10))
    first, second, third = closing.close_ended(tmp_path)
    assert (second.prev, third.prev) == (first.sha256, second.sha256)
    assert first.prev == "0" * 64
    assert not segments.numbers(tmp_path)["ended"]
    found = records(tmp_path, verify=True)
    assert [one.at for one in found.of(TO)] == [1, 11, 2, 12, 3, 13]
    assert found.manifests() == [first, second, third]
    assert not found.damaged


def test_forwards_and_refusals(tmp_path: Path) -> None:
    ended(
        tmp_path,
        1,
        record(TO, 3),
        record(TO, 4, kind=Kind.REFUSED),
        record(TO, 9, kind=Kind.REFUSED),
    )
    closing.close_ended(tmp_path)
    found = records(tmp_path)
    assert [one.at for one in found.forwards(TO)] == [3]
    assert not found.forwards(TO, since=4)
    (segment,) = found.segments(found.folders[0])
    (refusals,) = segment.refusals("blocked_by_report")
    assert refusals.token == TOKENS(TO.encode()).hex()
    assert (refusals.segment, refusals.companies, refusals.source) == (
        "p1/1",
        ("acme",),
        "10657555",
    )
    assert (refusals.refused, refusals.first, refusals.last) == (2, 4, 9)


def test_no_number_is_in_the_file(tmp_path: Path) -> None:
    ended(tmp_path)
    closing.close_ended(tmp_path)
    octets = (tmp_path / "0000000001.seg").read_bytes()
    assert b"10657555" in octets
    assert TO.encode() not in octets
    assert TO[2:].encode() not in octets


def test_room_is_set_aside_ahead_and_given_back(tmp_path: Path) -> None:
    file = written(tmp_path)
    assert file.path.stat().st_size >= segments.ROOM
    assert not file.is_short
    file.write(record(TO, 1) * ((segments.ROOM - segments.RESERVE) // SLOT))
    assert file.is_short
    file.make_room()
    assert not file.is_short
    size = file.size
    file.end(End.ORDERLY, 5)
    assert (tmp_path / "0000000001.ended").stat().st_size == size + SLOT


@pytest.fixture
def file_limit() -> Iterator[Callable[[int], None]]:
    """Sets the size beyond which no file of this process can grow."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda octets: resource.setrlimit(resource.RLIMIT_FSIZE, (octets, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, handler)


def test_a_write_that_does_not_fit_counts_as_none(
    tmp_path: Path, file_limit: Callable[[int], None]
) -> None:
    file = written(tmp_path)
    size = file.size
    file_limit(size + SLOT + 5)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        file.write(record(TO, 1) * 3)
    assert file.size == size
    file.end(End.ORDERLY, 9)
    (manifest,) = closing_manifests(tmp_path)
    assert manifest.records == 1


def closing_manifests(folder: Path) -> list[Any]:
    return records(folder).manifests()


def test_without_room_a_segment_is_not_even_begun(
    tmp_path: Path, file_limit: Callable[[int], None]
) -> None:
    file_limit(segments.ROOM // 2)
    with pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
        SegmentFile(tmp_path, header())
    assert not list(tmp_path.iterdir())


# after a crash


@pytest.mark.parametrize(
    ("boot", "end", "clean"),
    [(BOOT, End.RECOVERED, True), (OTHER_BOOT, End.UNCLEAN, False)],
)
def test_what_a_dead_process_left(tmp_path: Path, boot: bytes, end: End, clean: bool) -> None:
    written(tmp_path, 1, record(TO, 70), record(TO, 80))
    (recovered,) = segments.recover(tmp_path, boot)
    assert (recovered.number, recovered.end, recovered.records) == (1, end, 2)
    (manifest,) = closing.close_ended(tmp_path)
    assert (manifest.end, manifest.clean, manifest.until) == (end, clean, 80)
    assert segments.recover(tmp_path, boot) == []
    assert len(records(tmp_path, verify=True).of(TO)) == 2


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_a_torn_file_is_recovered_to_its_last_whole_record(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("torn")
    file = written(folder, 1, *(record(TO, at) for at in range(1, 9)))
    cut = data.draw(st.integers(HEADER, file.size))
    os.truncate(file.path, cut)
    (recovered,) = segments.recover(folder, BOOT)
    whole = max(0, (cut - HEADER - len(NAMES)) // SLOT)
    assert recovered.records == whole
    closing.close_ended(folder)
    found = records(folder, verify=True)
    assert [one.at for one in found.of(TO)] == list(range(1, whole + 1))
    assert not found.damaged


def test_one_that_died_before_its_header_was_written_is_put_aside(tmp_path: Path) -> None:
    (tmp_path / "0000000004.open").write_bytes(bytes(500))
    (recovered,) = segments.recover(tmp_path, BOOT)
    assert recovered.end is End.UNCLEAN
    assert segments.last_number(tmp_path) == 4, "its number is not used again"


def test_one_that_died_while_it_was_ended(tmp_path: Path) -> None:
    file = written(tmp_path)
    file.write(layout.end_slot(End.ORDERLY, 77))
    (recovered,) = segments.recover(tmp_path, OTHER_BOOT)
    assert recovered.end is End.ORDERLY
    (manifest,) = closing.close_ended(tmp_path)
    assert manifest.until == 77


def test_a_closing_that_died_in_the_middle_is_done_again(tmp_path: Path) -> None:
    ended(tmp_path)
    with (tmp_path / "0000000001.ended").open("ab") as file:
        file.write(b"half of an index")
    closing.close_ended(tmp_path)
    assert len(records(tmp_path, verify=True).of(TO)) == 1


def test_the_boot_is_the_machines_or_like_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    assert segments.boot_id() == segments.boot_id()
    monkeypatch.setattr(segments, "_BOOT_ID", Path("/nowhere"))
    monkeypatch.setenv("BOOT_ID", "0123456789abcdef0123456789abcdef")
    assert segments.boot_id().hex() == "0123456789abcdef0123456789abcdef"
    monkeypatch.setenv("BOOT_ID", "")
    assert segments.boot_id() != segments.boot_id()


def test_one_writer_to_a_folder(tmp_path: Path) -> None:
    with (
        segments.locked(tmp_path, "lock", wait=False),
        pytest.raises(InUseError, match="another process"),
        segments.locked(tmp_path, "lock", wait=False),
    ):
        pytest.fail("two have it")


# damage


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_any_flipped_octet_of_a_closed_segment_is_found(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("flipped")
    ended(folder, 1, record(TO, 1), record(OTHER, 2))
    closing.close_ended(folder)
    path = folder / "0000000001.seg"
    octets = bytearray(path.read_bytes())
    octets[data.draw(st.integers(0, len(octets) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(octets)
    found = records(folder, verify=True)
    assert not found.manifests()
    assert list(found.damaged) == [path]
    proof = found.prove(TO, ["acme"], [], changed_seq=9, created_at=SECOND)
    assert proof.result is Result.NOT_PROVABLE


def test_an_index_that_leaves_a_record_out_is_found_though_the_hash_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended(tmp_path, 1, record(TO, 1), record(OTHER, 2))

    def forged(*arguments: Any) -> Any:
        index, footer = closing_sum_up(*arguments)
        return index[: layout.entry.size], footer._replace(indexed=1)

    closing_sum_up = closing.sum_up
    monkeypatch.setattr(closing, "sum_up", forged)
    closing.close_ended(tmp_path)
    assert records(tmp_path).manifests(), "without a second look it is taken at its word"
    assert "does not agree" in next(iter(damaged(tmp_path).values()))


def damaged(folder: Path) -> dict[Path, str]:
    found = records(folder, verify=True)
    found.manifests()
    return found.damaged


@pytest.mark.parametrize("octets", [b"", b"short", bytes(1000)])
def test_what_is_no_segment(tmp_path: Path, octets: bytes) -> None:
    for suffix in ("open", "seg"):
        path = tmp_path / f"0000000001.{suffix}"
        path.write_bytes(octets)
        with pytest.raises(DamagedError):
            open_segment(path, 0)
        path.unlink()


def test_another_key_finds_nothing_and_says_so(tmp_path: Path) -> None:
    ended(tmp_path)
    closing.close_ended(tmp_path)
    found = Records([Folder(tmp_path, Tokens(b"x" * 32), "p1")], 900 * SECOND)
    assert not found.of(TO)
    assert "another key" in next(iter(found.damaged.values()))
    proof = found.prove(TO, ["acme"], [], changed_seq=9, created_at=SECOND)
    assert proof.result is Result.NOT_PROVABLE


def test_one_that_is_closed_while_it_is_looked_for(tmp_path: Path) -> None:
    ended(tmp_path)
    found = records(tmp_path)
    closing.close_ended(tmp_path)
    assert len(found.of(TO)) == 1


def test_one_that_has_gone_is_named(tmp_path: Path) -> None:
    ended(tmp_path)
    found = records(tmp_path)
    (tmp_path / "0000000001.ended").unlink()
    assert not found.of(TO)
    assert found.damaged


def test_the_last_segment_that_cannot_be_read_is_a_gap(tmp_path: Path) -> None:
    ended(tmp_path)
    closing.close_ended(tmp_path)
    (tmp_path / "0000000002.open").write_bytes(bytes(500))
    found = records(tmp_path)
    proof = found.prove(TO, ["acme"], [], changed_seq=9, created_at=SECOND)
    assert [gap.why for gap in proof.gaps] == ["0000000002.open: no header of decision records"]


def test_a_folder_that_is_not_there_and_a_proxy_without_a_key(tmp_path: Path) -> None:
    found = Records([Folder(tmp_path / "x", TOKENS, "p1")], 900 * SECOND, absent=[Expected("p2")])
    assert not found.of(TO)
    assert found.damaged == {tmp_path / "x": os.strerror(errno.ENOENT)}
    proof = found.prove(TO, ["acme"], [], changed_seq=9, created_at=SECOND)
    assert [(gap.proxy, gap.why) for gap in proof.gaps] == [
        ("p1", "no records of this proxy"),
        ("p2", "no records of this proxy"),
    ]


def test_a_proxy_that_records_nothing_now_says_so(tmp_path: Path) -> None:
    ended(tmp_path)
    closing.close_ended(tmp_path)
    segments.mark_unrecorded(tmp_path)
    proof = records(tmp_path).prove(TO, ["acme"], [], changed_seq=9, created_at=SECOND)
    assert [gap.why for gap in proof.gaps] == ["decisions are not recorded now"]


def test_the_proof_of_a_time_needs_the_copy_of_that_time(tmp_path: Path) -> None:
    ended(tmp_path)
    closing.close_ended(tmp_path)
    copy = Folder(tmp_path, TOKENS, "p1", copied_at=500 * SECOND)
    found = Records([copy], 900 * SECOND)
    until = {"until": 400 * SECOND}
    assert not found.prove(TO, ["acme"], [], changed_seq=9, created_at=SECOND, **until).gaps
    (gap,) = found.prove(TO, ["acme"], [], changed_seq=9, created_at=SECOND).gaps
    assert (gap.since, gap.why) == (500 * SECOND, NOT_IN_YET)


# many of them


def shelved(folder: Path, last: int = SEGMENTS + 2) -> None:
    for number in range(1, last + 1):
        ended(folder, number, record(TO if number % 50 == 3 else OTHER, number * SECOND))
    closing.close_ended(folder)


@pytest.fixture
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that are written to the page cache: many of them, and none is to survive."""
    monkeypatch.setattr(os, "fsync", lambda _fd: None)


@pytest.mark.usefixtures("quick_disk")
def test_a_shelf_says_which_segments_have_a_customer(tmp_path: Path) -> None:
    shelved(tmp_path)
    before = records(tmp_path)
    expected = before.of(TO), before.manifests()
    assert shelves.due(tmp_path) == [1]
    shelves.fill(tmp_path)
    assert shelves.due(tmp_path) == []
    found = records(tmp_path)
    assert (found.of(TO), found.manifests()) == expected
    assert [one.segment for one in found.of(TO)] == [3, 53, 103]
    assert [one.segment for one in found.of(TO, since=103 * SECOND)] == [103]
    assert not found.of(TO, since=129 * SECOND), "the shelf ends before that"
    proof = found.prove(TO, ["acme"], [], changed_seq=9, created_at=2 * SECOND)
    assert proof.result is Result.PROVEN
    assert len(proof.before) == 3


@pytest.mark.usefixtures("quick_disk")
def test_a_look_up_opens_what_has_the_customer_and_what_is_on_no_shelf(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is what its time depends on, however many there are."""
    shelved(tmp_path)
    shelves.fill(tmp_path)
    found, opened = records(tmp_path), []

    def counting(path: Path, read_at: int) -> decisions.Segment:
        opened.append(int(path.stem))
        return open_segment(path, read_at)

    monkeypatch.setattr(decisions, "open_segment", counting)
    found.of(TO)
    assert opened == [3, 53, 103, SEGMENTS + 1, SEGMENTS + 2]
    opened.clear()
    found.of(TO, since=129 * SECOND)
    assert opened == [SEGMENTS + 1, SEGMENTS + 2], "the shelf ends before that"


@pytest.mark.usefixtures("quick_disk")
def test_a_segment_that_a_shelf_names_and_that_is_gone_is_missing(tmp_path: Path) -> None:
    shelved(tmp_path)
    shelves.fill(tmp_path)
    (tmp_path / "0000000053.seg").unlink()
    found = records(tmp_path)
    assert [one.segment for one in found.of(TO)] == [3, 103]
    (gap,) = found.prove(TO, ["acme"], [], changed_seq=9, created_at=2 * SECOND).gaps
    assert gap.why == "segments 53 to 53 are missing"


@pytest.mark.usefixtures("quick_disk")
@pytest.mark.parametrize("octets", [b"", b"x" * 40, b"SMSFSHL1" + bytes(100)])
def test_a_shelf_that_cannot_be_read_is_done_without(tmp_path: Path, octets: bytes) -> None:
    shelved(tmp_path)
    (tmp_path / "0000000001.shelf").write_bytes(octets)
    assert [one.segment for one in records(tmp_path).of(TO)] == [3, 53, 103]


@pytest.mark.usefixtures("quick_disk")
def test_the_oldest_segments_go_first_and_the_shelf_with_the_last_of_them(tmp_path: Path) -> None:
    shelved(tmp_path)
    shelves.fill(tmp_path)
    assert segments.retire(tmp_path, 60 * SECOND) == list(range(1, 60))
    shelves.clear(tmp_path)
    assert [one.segment for one in records(tmp_path).of(TO)] == [103]
    assert len(records(tmp_path).manifests()) == SEGMENTS + 2 - 59
    segments.retire(tmp_path, 130 * SECOND)
    shelves.clear(tmp_path)
    assert not segments.numbers(tmp_path)["shelf"]


def test_a_process_of_its_own_closes_and_fills(tmp_path: Path) -> None:
    for number in (1, 2):
        ended(tmp_path, number)
    written(tmp_path, 3)
    command = [sys.executable, "-m", "smsfilter.store.closing", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        '{"number": 1, "records": 1}',
        '{"number": 2, "records": 1}',
    ]
    assert segments.numbers(tmp_path) == {
        "seg": [1, 2],
        "open": [3],
        "ended": [],
        "damaged": [],
        "shelf": [],
    }
    missing = subprocess.run([*command[:-1], str(tmp_path / "x")], capture_output=True, check=False)
    assert missing.returncode == 1
