"""What the verifier says of one attack each: which record, what was done, and what is not shown."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from smsfilter.ledger.chain import Row, link, parse, row
from smsfilter.ledger.checkpoint import Checkpoint, key_id, sign
from smsfilter.ledger.export import decode, encode_row
from smsfilter.ledger.verdict import Gap, Kind, Verdict
from smsfilter.ledger.verify import verify
from tests.fakes.ledger import (
    KEY,
    KEYS,
    OTHER_KEY,
    SECOND,
    START,
    Book,
    book,
    chained,
    entry,
    rechain,
    rewritten,
    signed,
    stream,
)

CLEAN = book(12, every=4)
"""Checkpoints at 4, 8 and 12."""
LINES = CLEAN.export()
ROW_5 = 6
"""The index of the line of seq 5: behind the header, four records and a checkpoint."""


def bad(verdict: Verdict) -> tuple[Kind, int | None, int | None]:
    """The fault, and that it is one."""
    assert verdict.exit_status == 1, verdict
    assert verdict.fault is not None
    return verdict.fault.kind, verdict.fault.seq, verdict.fault.until


def gaps(verdict: Verdict) -> set[Gap]:
    """What is not proven, and that nothing is bad."""
    assert verdict.exit_status == 3, verdict
    return {finding.gap for finding in verdict.findings}


def of_rows(rows: list[Row], checkpoints: Sequence[tuple[int, str]] = CLEAN.checkpoints) -> Verdict:
    """The verdict on what the desk exports of a database that holds these rows."""
    return verify(Book(rows, list(checkpoints)).export(), KEYS)


def changed(index: int, **fields: object) -> list[Row]:
    """The rows with one of them changed, body and columns, and its hash left as it was."""
    rows = list(CLEAN.rows)
    rows[index] = rewritten(rows[index], **fields)
    return rows


# nothing is wrong


def test_a_clean_ledger_is_proven():
    verdict = verify(LINES, KEYS)
    assert (verdict.status, verdict.exit_status, verdict.findings) == ("ok", 0, ())
    assert verdict.coverage is not None
    assert (verdict.coverage.rows, verdict.coverage.covered) == (12, 12)
    assert verdict.coverage.first_at == START + SECOND
    assert verdict.coverage.last_at == START + 12 * SECOND
    assert verdict.coverage.checkpoints == 3


def test_what_is_not_shown_depends_on_the_witness():
    alone, witnessed = verify(LINES, KEYS), verify(LINES, KEYS, [signed(CLEAN.rows, 7)])
    assert witnessed.exit_status == 0
    assert witnessed.coverage is not None
    assert witnessed.coverage.witnesses == 1
    assert any("cut back to an earlier checkpoint" in line for line in alone.cannot_show)
    assert any("another chain" in line for line in alone.cannot_show)
    assert any("after seq 7" in line for line in witnessed.cannot_show)
    assert any("another history" in line for line in witnessed.cannot_show)
    assert all("what was never entered" in said.cannot_show for said in (alone, witnessed))


def test_a_part_shows_nothing_of_what_is_before_it():
    based, bare = verify(CLEAN.export(first=5), KEYS), verify(CLEAN.export(first=6), KEYS)
    assert based.exit_status == bare.exit_status == 0
    assert any("before seq 5" in line for line in based.cannot_show)
    assert not any("seq 4" in line for line in based.cannot_show)
    assert any("at seq 5" in line for line in bare.cannot_show)
    witnessed = verify(CLEAN.export(first=6), KEYS, [signed(CLEAN.rows, 5)])
    assert witnessed.exit_status == 0
    assert not any("at seq 5" in line for line in witnessed.cannot_show)


# somebody with the database: the desk then exports what it finds


def test_an_edited_record_is_named():
    assert bad(of_rows(changed(4, actor="staff:mallory"))) == (Kind.EDITED, 5, 5)


def test_a_record_edited_with_its_own_hash_is_within_the_range_named():
    rows = changed(4, actor="staff:mallory")
    rows[4] = replace(rows[4], hash=link(rows[4].prev, rows[4].body))
    assert bad(of_rows(rows)) == (Kind.RECOMPUTED, 5, 5)


def test_a_false_copy_of_the_hash_before_is_an_edit():
    rows = list(CLEAN.rows)
    rows[4] = replace(rows[4], prev=bytes(32))
    assert bad(of_rows(rows)) == (Kind.EDITED, 5, 5)
    rows[4] = replace(rows[4], hash=link(bytes(32), rows[4].body))
    assert bad(of_rows(rows)) == (Kind.RECOMPUTED, 5, 5)


def test_a_deleted_record_is_named():
    verdict = of_rows([each for each in CLEAN.rows if each.seq not in (6, 7)])
    assert bad(verdict) == (Kind.DELETED, 6, 7)


def test_a_record_deleted_with_its_checkpoint_behind_it_is_named():
    verdict = of_rows([each for each in CLEAN.rows if each.seq not in (7, 8)])
    assert bad(verdict) == (Kind.DELETED, 7, 8)


def test_records_exchanged_by_their_seq_columns_are_named():
    rows = list(CLEAN.rows)
    rows[4], rows[5] = replace(rows[5], seq=5), replace(rows[4], seq=6)
    assert bad(of_rows(rows)) == (Kind.COLUMN, 6, 6)


def test_records_exchanged_whole_are_named():
    rows = list(CLEAN.rows)
    rows[4], rows[6] = rows[6], rows[4]
    assert bad(of_rows(rows)) == (Kind.REORDERED, 5, 5)


@pytest.mark.parametrize("column", ["at", "actor", "role", "origin", "action", "object"])
def test_a_column_that_differs_from_its_record_is_named(column: str):
    rows = list(CLEAN.rows)
    rows[4] = replace(rows[4], **{column: START if column == "at" else "x"})
    verdict = of_rows(rows)
    assert bad(verdict) == (Kind.COLUMN, 5, 5)
    assert verdict.fault is not None
    assert column in verdict.fault.what


@pytest.mark.parametrize(("column", "value"), [("seq", 5.0), ("case_id", None), ("customer_id", 7)])
def test_a_column_of_another_type_is_named(column: str, value: object):
    rows = list(CLEAN.rows)
    rows[4] = replace(rows[4], **{column: value})  # type: ignore[arg-type]
    assert bad(of_rows(rows)) == (Kind.COLUMN, 5, 5)


def test_a_chain_computed_anew_is_found_by_the_next_checkpoint():
    rows = rechain(changed(5, object="another"), 5)
    assert bad(of_rows(rows, CLEAN.checkpoints)) == (Kind.RECOMPUTED, 5, 8)


def test_a_chain_computed_anew_and_signed_by_the_desk_is_a_fork():
    rows = rechain(changed(5, object="another"), 5)
    checkpoints = [*CLEAN.checkpoints[:2], (12, signed(rows, 12))]
    assert bad(of_rows(rows, checkpoints)) == (Kind.FORKED, 5, 8)


def test_without_its_checkpoints_such_a_chain_is_not_proven():
    rows = rechain(changed(5, object="another"), 5)
    assert gaps(of_rows(rows, CLEAN.checkpoints[:1])) == {Gap.UNCOVERED}
    late = (12, signed(rows, 12, at=START + 3600 * SECOND))
    assert gaps(of_rows(rows, [CLEAN.checkpoints[0], late])) == {Gap.LATE}
    witness = signed(CLEAN.rows, 9)
    unsigned = Book(rows, CLEAN.checkpoints[:1]).export()
    assert bad(verify(unsigned, KEYS, [witness])) == (Kind.RECOMPUTED, 5, 9)
    resigned = Book(rows, [CLEAN.checkpoints[0], late]).export()
    assert bad(verify(resigned, KEYS, [witness])) == (Kind.FORKED, 5, 9)


def test_a_break_is_narrowed_only_by_what_hangs_on_it():
    """A signature behind a break clears the record at the break, if nothing is wrong between."""
    checkpoints = [CLEAN.checkpoints[0], CLEAN.checkpoints[2]]
    rows = list(CLEAN.rows)
    rows[5] = rewritten(rows[5], object="another")
    rows[5] = replace(rows[5], hash=link(rows[5].prev, rows[5].body))
    assert bad(of_rows(rows, checkpoints)) == (Kind.RECOMPUTED, 5, 6)
    rows = list(CLEAN.rows)
    rows[6] = replace(rows[6], prev=bytes(32), hash=link(bytes(32), rows[6].body))
    assert bad(of_rows(rows, checkpoints)) == (Kind.RECOMPUTED, 5, 7)
    forged = [*rows[:7], *rechain(rows[6:], 1)[1:]]
    signed_again = [*CLEAN.checkpoints[:2], (12, signed(forged, 12))]
    assert bad(of_rows(forged, signed_again)) == (Kind.RECOMPUTED, 5, 7)


def test_a_first_record_of_another_chain_than_the_header_names_is_bad():
    rows = rechain(changed(0, object="another"))
    lines = Book(rows, []).export(chain=CLEAN.rows[0].hash.hex()[:32])
    assert bad(verify(lines, KEYS)) == (Kind.RECOMPUTED, 1, 1)


def test_a_whole_other_chain_is_found_by_a_witness():
    rows = rechain(changed(0, object="another"))
    checkpoints = [(12, signed(rows, 12))]
    lines = Book(rows, checkpoints).export()
    assert verify(lines, KEYS).exit_status == 0
    for seq in (9, 20):
        witness = signed(book(20).rows, seq)
        unsigned = Book(rows, []).export()
        assert bad(verify(unsigned, KEYS, [witness])) == (Kind.RECOMPUTED, 1, seq)
        assert bad(verify(lines, KEYS, [witness])) == (Kind.FORKED, 1, seq)


def test_a_tail_cut_off_before_the_export_is_found_by_a_witness_only():
    cut = Book(CLEAN.rows[:8], CLEAN.checkpoints[:2])
    assert verify(cut.export(), KEYS).exit_status == 0
    witness = signed(CLEAN.rows, 11)
    assert bad(verify(cut.export(), KEYS, [witness])) == (Kind.CUT, 9, 11)


def test_a_tail_cut_off_under_its_checkpoint_is_named():
    assert bad(of_rows(CLEAN.rows[:10])) == (Kind.CUT, 11, 12)


def test_a_second_record_of_the_same_seq_is_a_fork():
    rows = list(CLEAN.rows)
    rows.insert(6, row(entry(6, actor="staff:mallory"), rows[4].hash))
    assert bad(of_rows(rows)) == (Kind.FORKED, 6, 6)
    rows[6] = rows[5]
    assert bad(of_rows(rows)) == (Kind.REORDERED, 6, 6)


def test_two_histories_under_one_key_are_a_fork():
    rows = rechain(changed(5, object="another"), 5)
    both = [*CLEAN.checkpoints[:1], (8, signed(CLEAN.rows, 8)), (8, signed(rows, 8))]
    assert bad(of_rows(list(CLEAN.rows), both)) == (Kind.FORKED, 5, 8)
    witnesses = [signed(CLEAN.rows, 6), signed(rows, 6)]
    assert bad(verify(LINES, KEYS, witnesses)) == (Kind.FORKED, 5, 6)
    outside = [signed(CLEAN.rows, 12), signed(rows, 12)]
    cut = Book(CLEAN.rows[:8], CLEAN.checkpoints[:2]).export(exported_at=START)
    assert bad(verify(cut, KEYS, outside)) == (Kind.FORKED, 9, 12)


def test_a_record_in_another_spelling_is_named():
    rows = list(CLEAN.rows)
    body = rows[4].body.replace(b'"seq":5', b'"seq": 5')
    rows[4] = replace(rows[4], body=body)
    assert bad(of_rows(rechain(rows, 4))) == (Kind.NOT_CANONICAL, 5, 5)
    rows[4] = replace(rows[4], body=b"\xff\x00")
    assert bad(of_rows(rechain(rows, 4))) == (Kind.NOT_CANONICAL, 5, 5)
    assert bad(of_rows(rows)) == (Kind.EDITED, 5, 5)


def test_checkpoints_of_another_key_are_named():
    mallory = (8, signed(CLEAN.rows, 8, key=OTHER_KEY))
    checkpoints = [CLEAN.checkpoints[0], mallory, CLEAN.checkpoints[2]]
    verdict = of_rows(CLEAN.rows, checkpoints)
    assert bad(verdict) == (Kind.UNKNOWN_KEY, 8, 8)
    both = KEYS | {key_id(OTHER_KEY.public_key()): OTHER_KEY.public_key()}
    assert verify(Book(CLEAN.rows, checkpoints).export(), both).exit_status == 0


def test_a_checkpoint_that_was_changed_is_named():
    first, (_, text), last = CLEAN.checkpoints
    verdict = of_rows(CLEAN.rows, [first, (8, text.replace("seq: 8", "seq: 9")), last])
    assert bad(verdict) == (Kind.BAD_SIGNATURE, 9, 9)
    verdict = of_rows(CLEAN.rows, [first, (8, text.replace("hash: ", "hash: 0")), last])
    assert bad(verdict) == (Kind.EDITED, 8, 8)


# somebody with the file


@pytest.mark.parametrize("count", range(1, len(LINES)))
def test_a_file_that_ends_early_is_cut(count: int):
    kind, seq, _ = bad(verify(LINES[:count], KEYS))
    assert (kind, seq) == (Kind.CUT, sum(b'{"row"' in line for line in LINES[:count]) + 1)
    half = [*LINES[:count], LINES[count][:-1]]
    assert bad(verify(half, KEYS))[0] is Kind.CUT


def test_lines_taken_out_of_the_file_are_named():
    assert bad(verify(LINES[:ROW_5] + LINES[ROW_5 + 1 :], KEYS)) == (Kind.DELETED, 5, 5)
    no_checkpoint = [line for line in LINES if b"seq: 8\\n" not in line]
    assert bad(verify(no_checkpoint, KEYS)) == (Kind.DELETED, None, None)
    tail = [*LINES[:10], LINES[-1]]
    assert bad(verify(tail, KEYS)) == (Kind.CUT, 9, 12)


def test_lines_that_changed_places_are_named():
    lines = list(LINES)
    lines[ROW_5], lines[ROW_5 + 1] = lines[ROW_5 + 1], lines[ROW_5]
    assert bad(verify(lines, KEYS)) == (Kind.REORDERED, 5, 5)
    late = [*LINES[:5], LINES[6], LINES[5], *LINES[7:]]
    assert bad(verify(late, KEYS)) == (Kind.REORDERED, 4, 4)
    early = [*LINES[:4], LINES[5], LINES[4], *LINES[6:]]
    assert bad(verify(early, KEYS)) == (Kind.REORDERED, 4, 4)
    last_first = [*LINES[:2], *LINES[3:ROW_5], LINES[2], *LINES[ROW_5:]]
    assert bad(verify(last_first, KEYS)) == (Kind.REORDERED, 2, 2)


def test_lines_that_do_not_belong_are_named():
    for line in (LINES[0], b"nothing\n", b"{}\n", b"x" * (8 << 20) + b"\n"):
        lines = [*LINES[:ROW_5], line, *LINES[ROW_5:]]
        assert bad(verify(lines, KEYS)) == (Kind.EDITED, 5, 5)
    assert bad(verify([*LINES, LINES[-1]], KEYS)) == (Kind.EDITED, None, None)
    copied = [*LINES[: ROW_5 - 1], *[LINES[ROW_5 - 1]] * 3, *LINES[ROW_5:]]
    assert bad(verify(copied, KEYS)) == (Kind.EDITED, None, None)


def test_a_header_of_another_part_is_not_taken():
    for old, new in ((b'"first":1', b'"first":2'), (b'"last":12', b'"last":11')):
        assert verify([LINES[0].replace(old, new), *LINES[1:]], KEYS).exit_status == 1


def test_a_header_of_another_chain_or_time_is_an_edit_of_the_header():
    chain = CLEAN.rows[0].hash.hex()[:32].encode()
    for old, new in ((chain, chain[::-1]), (b'_at":1', b'_at":2')):
        for first in (1, 5, 6):
            lines = CLEAN.export(first=first)
            lines[0] = lines[0].replace(old, new)
            verdict = verify(lines, KEYS)
            assert bad(verdict) == (Kind.EDITED, None, None)
            assert verdict.fault is not None
            assert "header" in verdict.fault.what


def test_the_end_of_another_export_does_not_serve():
    end = book(12, entries=[entry(n, at=n) for n in range(1, 13)]).export()[-1]
    assert bad(verify([*LINES[:-1], end], KEYS)) == (Kind.EDITED, None, None)
    false = LINES[-1].replace(b"rows: 12", b"rows: 13")
    assert bad(verify([*LINES[:-1], false], KEYS)) == (Kind.BAD_SIGNATURE, None, None)
    none = LINES[-1].replace(b"rows: 12", b"rows: x")
    assert bad(verify([*LINES[:-1], none], KEYS))[0] is Kind.BAD_SIGNATURE
    shapeless = LINES[-1].replace(b"rows", b"lines")
    assert bad(verify([*LINES[:-1], shapeless], KEYS))[0] is Kind.EDITED
    assert bad(verify(LINES, {}))[0] is Kind.UNKNOWN_KEY


def test_what_is_said_the_same_in_another_spelling_is_an_edit():
    lines = list(LINES)
    lines[ROW_5] = lines[ROW_5].replace(b'{"row":', b'{"row": ')
    assert decode(lines[ROW_5]) == decode(LINES[ROW_5])
    assert bad(verify(lines, KEYS)) == (Kind.EDITED, None, None)


def test_a_file_of_another_kind_is_no_export():
    for lines in ([], [b"hello\n"], [b"\x1f\x8b\x08\n"], LINES[1:]):
        verdict = verify(lines, KEYS)
        assert bad(verdict) == (Kind.UNREADABLE, None, None)
        assert verdict.coverage is None


# not provable


def test_records_under_no_checkpoint_are_not_proven():
    verdict = of_rows(CLEAN.rows, CLEAN.checkpoints[:2])
    assert gaps(verdict) == {Gap.UNCOVERED}
    (finding,) = verdict.findings
    assert (finding.seq, finding.until) == (9, 12)
    witnessed = verify(
        Book(CLEAN.rows, CLEAN.checkpoints[:2]).export(), KEYS, [signed(CLEAN.rows, 12)]
    )
    assert witnessed.exit_status == 0


def test_checkpoints_that_are_missing_are_not_proven():
    many = book(2_001, every=5_000, entries=[entry(n, at=START + n) for n in range(1, 2_002)])
    assert gaps(verify(many.export(), KEYS)) == {Gap.SPARSE}
    slow = [entry(n, at=START + n * 121 * SECOND) for n in range(1, 5)]
    rows = chained(slow)
    each = [(n, signed(rows, n)) for n in range(1, 5)]
    assert verify(Book(rows, each).export(), KEYS).exit_status == 0
    verdict = verify(Book(rows, each[1::2]).export(), KEYS)
    assert gaps(verdict) == {Gap.LATE}
    (finding,) = verdict.findings
    assert (finding.seq, finding.until, finding.count) == (1, 2, 2)
    assert verify(Book(rows, each[1::2]).export(), KEYS, [each[0][1], each[2][1]]).exit_status == 0


def test_no_record_is_no_proof():
    empty = Book(CLEAN.rows, []).export(first=13)
    assert gaps(verify(empty, KEYS)) == {Gap.EMPTY}


def restored() -> Book:
    """A ledger that was restored to seq 8 an hour later."""
    entries = [parse(each.body) for each in CLEAN.rows[:8]]
    again, chain = START + 3600 * SECOND, CLEAN.rows[0].hash.hex()[:32]
    entries.append(entry(9, "restore", at=again, detail={"chain": chain, "seq": 8}))
    entries += [entry(n, at=again + n) for n in range(10, 13)]
    rows = chained(entries)
    return Book(rows, [*CLEAN.checkpoints[:2], (12, signed(rows, 12))])


def test_a_restore_is_a_declared_gap():
    verdict = verify(restored().export(), KEYS)
    assert gaps(verdict) == {Gap.RESTORE}
    (finding,) = verdict.findings
    assert finding.seq == 9
    for seq, expected in ((8, {Gap.RESTORE}), (10, {Gap.RESTORE, Gap.LOST})):
        assert gaps(verify(restored().export(), KEYS, [signed(CLEAN.rows, seq)])) == expected
    beyond = signed(book(15).rows, 15)
    assert gaps(verify(restored().export(), KEYS, [beyond])) == {Gap.RESTORE, Gap.LOST}


def test_a_restore_excuses_only_what_was_signed_before_it():
    later = signed(CLEAN.rows, 10, at=START + 7200 * SECOND)
    assert bad(verify(restored().export(), KEYS, [later])) == (Kind.FORKED, 9, 10)
    other = rechain(changed(5, object="another"), 5)
    assert bad(verify(restored().export(), KEYS, [signed(other, 7)])) == (Kind.FORKED, 5, 7)
    foreign = signed(chained([entry(n, at=n) for n in range(1, 13)]), 12)
    assert bad(verify(restored().export(), KEYS, [foreign])) == (Kind.FORKED, 1, 12)


def test_witnesses_outside_the_file_are_not_used():
    before = verify(CLEAN.export(first=6), KEYS, [signed(CLEAN.rows, 3)])
    assert gaps(before) == {Gap.WITNESS_UNUSED}
    longer = signed(book(20).rows, 15, at=START + 3 * 10**6 * SECOND)
    assert gaps(verify(LINES, KEYS, [longer])) == {Gap.WITNESS_UNUSED}


def test_a_witness_that_is_none_is_the_fault_of_who_brings_it():
    false = signed(CLEAN.rows, 8).replace("seq: 8", "seq: 9")
    for text, said in ((false, "witness 2: its signature"), ("nothing", "witness 2: ")):
        with pytest.raises(ValueError, match=said):
            verify(LINES, KEYS, [signed(CLEAN.rows, 8), text])
    mallory = signed(CLEAN.rows, 8, key=OTHER_KEY)
    with pytest.raises(ValueError, match="witness 1: it is signed by the key"):
        verify(LINES, KEYS, [mallory])


def test_times_beyond_the_calendar_are_no_obstacle():
    rows = chained([entry(1, at=2**63 - 1), entry(2, at=0)])
    head = Checkpoint(rows[0].hash.hex()[:32], 2, rows[1].hash, START, key_id(KEY.public_key()))
    verdict = verify(Book(rows, [(2, sign(head, KEY))]).export(), KEYS)
    assert gaps(verdict) == {Gap.LATE}
    assert encode_row(rows[0]) in Book(rows, []).export()


# size


def test_a_long_ledger_is_proven():
    verdict = verify(stream(20_000), KEYS)
    assert verdict.exit_status == 0
    assert verdict.coverage is not None
    assert verdict.coverage.rows == 20_000
