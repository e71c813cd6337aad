"""Reports in parts: joined on the records, taken as soon as they name somebody, never lost."""

import random

import pytest

from smsfilter.reports import held
from smsfilter.smpp.const import ESME_ROK, ESME_RX_T_APPN
from tests.fakes.bureau import ANNA, BERT, HOUR, MINUTE, SECOND, Bureau
from tests.fakes.handset import GBK, GSM, LATIN_1, UCS_2, Joining

LONG = "10657555*" + "恭喜您获得大奖请速回复领取" * 12
TEXT = LONG.partition("*")[2]


async def test_the_first_part_blocks_and_the_rest_is_added(bureau: Bureau):
    first, *rest = bureau.parts(ANNA, LONG)
    assert await bureau.takes(first) == [ESME_ROK]
    assert bureau.in_force == {(ANNA, "acme")}
    assert (bureau.reports[0].complete, bureau.answers) == (False, ["blocked"])
    assert bureau.text(bureau.reports[0]).endswith("[…]")
    await bureau.takes(*rest)
    (row,) = bureau.reports
    assert (row.complete, row.copies, bureau.text(row)) == (True, 1, TEXT)
    assert bureau.answers == ["blocked"]
    assert bureau.waiting_parts() == 0
    (done,) = bureau.acts("report completed")
    assert (done.detail, row.changed_seq) == ({"parts": len(rest) + 1}, done.seq)
    assert len(bureau.acts("part taken")) == len(rest) + 1


@pytest.mark.parametrize("joining", ["udh8", "udh16", "sar", "payload"])
@pytest.mark.parametrize("coding", [UCS_2, GBK])
async def test_all_ways_to_tell_that_parts_belong_together(
    bureau: Bureau, joining: Joining, coding: int
):
    parts = bureau.parts(ANNA, LONG, coding, joining)
    random.Random(7).shuffle(parts)
    assert set(await bureau.takes(*parts, *parts)) == {ESME_ROK}
    (row,) = bureau.reports
    assert (row.state, row.complete, bureau.text(row)) == ("blocked", True, TEXT)
    assert bureau.in_force == {(ANNA, "acme")}
    assert bureau.answers == ["blocked"]


@pytest.mark.parametrize(("coding", "letter"), [(GSM, "w"), (LATIN_1, "é")])
async def test_alphabets_of_one_octet(bureau: Bureau, coding: int, letter: str):
    await bureau.says(ANNA, f"10657555*{letter * 400}", coding)
    (row,) = bureau.reports
    assert (row.complete, bureau.text(row)) == (True, letter * 400)


async def test_a_part_that_never_comes_is_marked_after_a_minute(bureau: Bureau):
    """The first part is the one that is missing: it would have named the sender."""
    _, second, third = bureau.parts(ANNA, LONG)[:3]
    await bureau.takes(third, second)
    bureau.later(MINUTE - SECOND)
    await bureau.intake.sweep()
    assert (bureau.states, bureau.waiting_parts()) == ([], 2)
    bureau.later(SECOND)
    await bureau.intake.sweep()
    (row,) = bureau.reports
    assert (row.state, row.complete) == ("needs_info", False)
    assert bureau.text(row).startswith("[…]恭喜") or "[…]" in bureau.text(row)
    assert bureau.answers == ["ask_number"]
    assert bureau.detail("parts taken up") == {"messages": 1, "numbers": 1}
    await bureau.intake.sweep()
    assert len(bureau.reports) == 1


async def test_a_last_part_that_never_comes_leaves_what_is_there(bureau: Bureau):
    first, second, *_ = bureau.parts(ANNA, LONG + "尾" * 70)
    await bureau.takes(first, second)
    bureau.later(2 * MINUTE)
    await bureau.intake.sweep()
    (row,) = bureau.reports
    assert not row.complete
    said = bureau.text(row).removesuffix("[…]")
    assert TEXT.startswith(said)
    assert len(said) > 70  # more than the first part holds


async def test_a_redelivered_part_is_answered_and_changes_nothing(bureau: Bureau):
    parts = bureau.parts(ANNA, LONG)
    await bureau.takes(*parts)
    acts = len(bureau.acts())
    bureau.later(HOUR)
    assert set(await bureau.takes(*parts)) == {ESME_ROK}
    assert (len(bureau.reports), len(bureau.acts())) == (1, acts)


async def test_a_part_whose_block_was_not_in_force_is_put_off_until_it_is(bureau: Bureau):
    first, *_ = bureau.parts(ANNA, LONG)
    bureau.fake_index.away = "READONLY"
    assert await bureau.takes(first, first) == [ESME_RX_T_APPN] * 2
    bureau.fake_index.away = ""
    assert await bureau.takes(first) == [ESME_ROK]
    assert bureau.in_force == {(ANNA, "acme")}
    assert (len(bureau.reports), bureau.answers, bureau.sms[0].state) == (1, ["blocked"], "queued")


async def test_the_same_text_under_another_reference_is_a_copy(bureau: Bureau):
    await bureau.says(ANNA, LONG)
    bureau.later(10 * MINUTE)
    await bureau.says(ANNA, LONG)
    (row,) = bureau.reports
    assert (row.complete, bureau.text(row)) == (True, TEXT)
    assert bureau.answers == ["blocked", "repeated"]
    assert len(bureau.suspected) == 1


async def test_the_same_parts_after_a_withdrawal_are_a_new_report(bureau: Bureau):
    parts = bureau.parts(ANNA, LONG)
    await bureau.takes(*parts)
    await bureau.says(ANNA, "撤销")
    await bureau.takes(*parts)  # the SMSC's own, if at all: withdrawn is withdrawn
    assert bureau.in_force == set()
    bureau.later(6 * MINUTE)
    await bureau.takes(*parts)
    assert bureau.states == ["withdrawn", "withdrawal", "blocked"]
    assert bureau.in_force == {(ANNA, "acme")}


async def test_a_reference_used_again_is_another_message(bureau: Bureau):
    one = bureau.parts(ANNA, LONG)
    two = bureau.parts(ANNA, LONG.replace("10657555", "10658888"))
    again = [
        bureau.message(
            ANNA,
            new.octets[:3] + old.octets[3:4] + new.octets[4:],
            UCS_2,
            esm_class=0x40,
        )
        for old, new in zip(one, two, strict=True)
    ]
    await bureau.takes(*one)
    bureau.later(2 * MINUTE)
    await bureau.takes(*again)
    assert bureau.in_force == {(ANNA, "acme"), (ANNA, "bravo")}
    assert [bureau.text(each) for each in bureau.reports] == [TEXT, TEXT]


async def test_two_customers_with_one_reference_are_two(bureau: Bureau):
    for part in bureau.parts(ANNA, LONG):
        other = bureau.message(BERT, part.octets, UCS_2, esm_class=0x40)
        await bureau.takes(part, other)
    assert bureau.in_force == {(ANNA, "acme"), (BERT, "acme")}
    assert {bureau.text(each) for each in bureau.reports} == {TEXT}


async def test_parts_that_wait_have_a_limit_and_are_not_lost(bureau: Bureau, monkeypatch):
    monkeypatch.setattr(held, "HELD_MAX_PER_CUSTOMER", 3)
    last = [bureau.parts(ANNA, "长" * n)[-1] for n in range(100, 105)]
    statuses = await bureau.takes(*last)
    assert statuses == [ESME_ROK] * 3 + [ESME_RX_T_APPN] * 2
    bureau.later(2 * MINUTE)
    await bureau.intake.sweep()
    assert await bureau.takes(*last[3:]) == [ESME_ROK] * 2
    monkeypatch.setattr(held, "HELD_MAX", 2)
    other = bureau.parts(BERT, "长" * 100)[-1]
    assert await bureau.takes(other) == [ESME_RX_T_APPN]


async def test_a_desk_that_ends_between_part_and_report_takes_it_up(bureau: Bureau, monkeypatch):
    parts = bureau.parts(ANNA, "您中奖了" * 30)

    async def lost(_heard: object) -> None:
        raise OSError("killed")

    monkeypatch.setattr(bureau.intake, "file", lost)
    with pytest.raises(OSError, match="killed"):
        await bureau.takes(*parts)
    assert (bureau.waiting_parts(), bureau.states) == (len(parts), [])
    bureau.reopen()
    bureau.later(MINUTE)
    await bureau.intake.sweep()
    assert (bureau.waiting_parts(), bureau.states) == (0, ["needs_info"])
    assert bureau.text(bureau.reports[0]) == "您中奖了" * 30


async def test_one_that_cannot_be_taken_up_does_not_hold_the_others_up(
    bureau: Bureau, monkeypatch, capfd
):
    for number in (ANNA, BERT):
        await bureau.takes(bureau.parts(number, "您中奖了" * 30)[0])
    bureau.later(2 * MINUTE)
    real = bureau.intake.file

    async def file(heard):
        if heard.reporter == ANNA:
            raise ValueError(f"about {ANNA}")
        return await real(heard)

    monkeypatch.setattr(bureau.intake, "file", file)
    await bureau.intake.sweep()
    assert (bureau.states, bureau.waiting_parts()) == (["needs_info"], 1)
    out = "".join(capfd.readouterr())
    assert ANNA not in out
