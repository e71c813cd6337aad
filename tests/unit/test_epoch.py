"""Whether the index can be trusted, batch by batch and over a restart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsfilter.store.epoch import LEFT_MOST, EpochGuard


def guard_at(*epochs: bytes) -> EpochGuard:
    """A guard that has seen these epochs in turn."""
    guard = EpochGuard()
    for epoch in epochs:
        assert guard.trusted(epoch, epoch), guard.why
    return guard


def test_the_first_epoch_is_taken_in() -> None:
    guard = guard_at(b"a1b2:1700000000000")
    assert (guard.epoch, guard.seq, guard.why) == ("a1b2", 1700000000000, "")
    assert guard.changed
    assert guard.trusted(b"a1b2:1700000000000", b"a1b2:1700000000000")


@pytest.mark.parametrize("first", [None, b"a:1"])
@pytest.mark.parametrize("last", [None, b"a:1"])
def test_missing_at_either_end_of_a_batch(first: bytes | None, last: bytes | None) -> None:
    guard = guard_at(b"a:1")
    assert guard.trusted(first, last) == (first is not None and last is not None)
    if first is None or last is None:
        assert guard.why == "index:epoch is missing"


def test_a_batch_in_which_the_epoch_changes_is_not_trusted_but_the_next_is() -> None:
    guard = guard_at(b"a:1")
    assert not guard.trusted(b"a:1", b"b:1")
    assert "changed" in guard.why
    assert guard.trusted(b"b:1", b"b:1")
    assert guard.why == ""


def test_a_seq_that_rises_within_a_batch_is_a_block_that_was_added_meanwhile() -> None:
    guard = guard_at(b"a:5")
    assert guard.trusted(b"a:5", b"a:8")
    assert (guard.first_seq, guard.seq, guard.why) == (5, 8, "")
    assert not guard.trusted(b"a:5", b"a:9"), "what a later batch reads first is not older"
    assert guard.trusted(b"a:8", b"a:8")
    assert guard.first_seq == 8


def test_a_seq_that_falls_within_a_batch_is_not_trusted() -> None:
    guard = guard_at(b"a:5")
    assert not guard.trusted(b"a:8", b"a:7")
    assert guard.seq == 5, "nothing of such a batch is taken in"


marks = st.builds(lambda epoch, seq: (epoch, seq), st.sampled_from("ab"), st.integers(0, 4))
missing = st.none()


@given(st.lists(st.tuples(marks | missing, marks | missing), max_size=8))
def test_a_batch_is_trusted_by_its_own_two_marks_and_by_what_was_seen_before(
    batches: list[tuple[tuple[str, int] | None, tuple[str, int] | None]],
) -> None:
    guard, seen, left = EpochGuard(), ("", 0), set[str]()
    for first, last in batches:
        raws = [None if mark is None else f"{mark[0]}:{mark[1]}".encode() for mark in (first, last)]
        expected = False
        if first is not None and last is not None:
            rises = first[0] == last[0] and first[1] <= last[1]
            goes_on = first[0] not in left and (first[0] != seen[0] or first[1] >= seen[1])
            expected = rises and goes_on
        assert guard.trusted(*raws) == expected
        assert (guard.why == "") == expected
        if expected and first is not None and last is not None:
            if seen[0] and first[0] != seen[0]:
                left.add(seen[0])
            seen = last
            assert guard.first_seq == first[1]
        assert (guard.epoch, guard.seq) == seen


def test_what_was_wrong_is_forgotten_once_it_is_right() -> None:
    guard = guard_at(b"a:1")
    assert not guard.trusted(None, None)
    assert guard.trusted(b"a:1", b"a:1")
    assert guard.why == ""


def test_an_error_or_another_type_in_its_place() -> None:
    guard = guard_at(b"a:1")
    for reply in (ValueError("WRONGTYPE of key"), 1, [b"a:1"], "a:1"):
        assert not guard.trusted(reply, b"a:1")
        assert not guard.trusted(b"a:1", reply)
        assert not guard.trusted(reply, reply)
        assert guard.why


@pytest.mark.parametrize(
    "raw",
    [b"", b"a", b"a:", b":1", b"a:x", b"a:-1", b"a: 1", "a:١".encode(), b"a:" + b"9" * 5000],
)
def test_what_is_not_an_epoch(raw: bytes) -> None:
    guard = EpochGuard()
    assert not guard.trusted(raw, raw)
    assert "form" in guard.why


def test_a_seq_may_go_on_and_never_back() -> None:
    guard = guard_at(b"a:5", b"a:9", b"a:9")
    assert not guard.trusted(b"a:8", b"a:8")
    assert guard.why == "index:epoch went back from seq 9 to 8: an old copy"
    assert guard.trusted(b"a:9", b"a:9")


def test_an_epoch_that_was_left_does_not_come_back() -> None:
    guard = guard_at(b"a:5", b"b:1")
    assert not guard.trusted(b"a:5", b"a:5")
    assert not guard.trusted(b"a:99", b"a:99"), "also with a higher seq: it lacks what b had"
    assert "old copy" in guard.why
    assert guard.trusted(b"b:1", b"b:1")


def test_a_colon_in_the_epoch_belongs_to_it() -> None:
    assert guard_at(b"a:b:7").epoch == "a:b"


def test_what_it_knows_survives_a_restart() -> None:
    before = guard_at(b"a:5", b"b:3", b"b:7")
    kept = before.state()
    after = EpochGuard(str(kept["epoch"]), int(str(kept["seq"])), tuple(kept["left"]))  # type: ignore[arg-type]
    assert not after.trusted(b"a:5", b"a:5")
    assert not after.trusted(b"b:6", b"b:6")
    assert after.trusted(b"b:7", b"b:7")
    assert not after.changed, "nothing that is not on disk already"


def test_it_says_when_there_is_something_to_keep() -> None:
    guard = guard_at(b"a:5")
    guard.changed = False
    guard.trusted(b"a:5", b"a:5")
    assert not guard.changed
    guard.trusted(b"a:6", b"a:6")
    assert guard.changed, "else a restart would trust seq 5 again"
    guard.changed = False
    guard.trusted(None, None)
    assert not guard.changed


def test_the_epochs_left_behind_are_bounded() -> None:
    guard = guard_at(*(b"e%d:1" % n for n in range(LEFT_MOST + 10)))
    assert len(guard.left) == LEFT_MOST
    assert not guard.trusted(b"e%d:1" % LEFT_MOST, b"e%d:1" % LEFT_MOST)
