"""SMS to customers: at least once, once only where that can be known, and never without end."""

import asyncio

import pytest
from sqlalchemy import update

from smsfilter.reports.outbox import PAUSES_S, TRIES_MOST
from smsfilter.reports.sms import Answer, NoAnswer, NotBound
from smsfilter.smpp.const import ESME_RINVDSTADR, ESME_RTHROTTLED
from smsfilter.store.records import RecordsAway
from smsfilter.store.schema import customer
from tests.fakes.books import until
from tests.fakes.bureau import ANNA, BERT, SECOND, Bureau
from tests.fakes.handset import GSM

SPAM = "10657555*您中奖了，请回复"
THROTTLED, REFUSED = Answer(ESME_RTHROTTLED, b""), Answer(ESME_RINVDSTADR, b"")


def states(bureau: Bureau) -> list[str]:
    return [each.state for each in bureau.sms]


async def test_what_is_released_is_sent_once(bureau: Bureau):
    await bureau.says(ANNA, SPAM)
    (text,) = await bureau.sends()
    assert "已受理" in text
    assert [each.destination for each in bureau.centre.sent] == [ANNA]
    assert await bureau.sends() == []
    (row,) = bureau.sms
    assert (row.state, row.attempts, row.maybe_twice, row.sent_at) == ("sent", 1, False, bureau.now)
    assert [each.action for each in bureau.acts()[-2:]] == ["sms sending", "sms ended"]
    assert bureau.metrics.sms["sent"] == 1


async def test_what_waits_for_the_index_is_not_sent(bureau: Bureau):
    bureau.fake_index.away = "OOM"
    await bureau.takes(*bureau.parts(ANNA, SPAM))
    assert await bureau.sends() == []
    assert states(bureau) == ["held"]


async def test_a_throttled_sms_is_tried_again_with_pauses_and_given_up(bureau: Bureau):
    await bureau.says(ANNA, SPAM)
    for n in range(TRIES_MOST):
        bureau.centre.answers = [THROTTLED]
        assert len(await bureau.sends()) == 1
        assert await bureau.sends() == []
        bureau.later(PAUSES_S[min(n, len(PAUSES_S) - 1)] * SECOND)
    (row,) = bureau.sms
    assert (row.state, row.attempts, row.next_at) == ("given_up", TRIES_MOST, None)
    assert bureau.metrics.sms["given_up"] == 1


async def test_a_throttled_sms_goes_out_when_it_may(bureau: Bureau):
    await bureau.says(ANNA, SPAM)
    bureau.centre.answers = [THROTTLED]
    await bureau.sends()
    bureau.later(PAUSES_S[0] * SECOND)
    assert len(await bureau.sends()) == 1
    assert (states(bureau), bureau.sms[0].attempts) == (["sent"], 2)


async def test_a_refused_sms_is_not_sent_again(bureau: Bureau):
    await bureau.says(ANNA, SPAM)
    bureau.centre.answers = [REFUSED]
    await bureau.sends()
    assert states(bureau) == ["refused"]
    assert bureau.detail("sms ended") == {"state": "refused", "tries": 1, "status": ESME_RINVDSTADR}
    assert await bureau.sends() == []


async def test_an_sms_without_an_answer_is_sent_once_more_and_marked(bureau: Bureau):
    await bureau.says(ANNA, SPAM)
    bureau.centre.answers = [NoAnswer()]
    await bureau.sends()
    await bureau.sends()  # it may have gone out at once
    (row,) = bureau.sms
    assert (row.state, row.attempts, row.n, row.maybe_twice) == ("sent", 2, 1, True)
    assert len(bureau.centre.sent) == 2
    assert bureau.acts("sms put off")[-1].detail == {"state": "queued", "tries": 1, "status": None}


async def test_after_a_second_time_it_is_unknown(bureau: Bureau):
    await bureau.says(ANNA, SPAM)
    bureau.centre.answers = [NoAnswer(), NoAnswer()]
    await bureau.sends()
    await bureau.sends()
    assert (states(bureau), bureau.metrics.sms["unknown"]) == (["unknown"], 1)
    assert await bureau.sends() == []


async def test_what_was_never_sent_is_no_try(bureau: Bureau):
    await bureau.says(ANNA, SPAM)
    bureau.centre.answers = [NotBound()]
    await bureau.sends()
    (row,) = bureau.sms
    assert (row.state, row.attempts, row.maybe_twice) == ("queued", 0, False)
    bureau.later(SECOND)
    assert len(await bureau.sends()) == 1
    assert bureau.sms[0].attempts == 1


async def test_nothing_is_begun_while_it_is_not_bound(bureau: Bureau):
    await bureau.says(ANNA, SPAM)
    bureau.centre.bound = False
    acts = len(bureau.acts())
    assert await bureau.sends() == []
    assert len(bureau.acts()) == acts


async def killed_while_sending(bureau: Bureau) -> None:
    """Let the desk end between submit_sm and its answer."""
    bureau.centre.answers = [asyncio.get_running_loop().create_future()]
    await bureau.outbox.look()
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    await asyncio.sleep(0)
    bureau.reopen()


async def test_a_desk_that_was_killed_sends_once_more(bureau: Bureau):
    await bureau.says(ANNA, SPAM)
    await killed_while_sending(bureau)
    assert states(bureau) == ["sending"]
    assert len(await bureau.sends()) == 1
    (row,) = bureau.sms
    assert (row.state, row.attempts, row.maybe_twice) == ("sent", 2, True)
    assert bureau.detail("sms taken up again") == {"again": [1], "unknown": []}


async def test_a_desk_that_was_killed_twice_gives_it_up(bureau: Bureau):
    await bureau.says(ANNA, SPAM)
    await killed_while_sending(bureau)
    await killed_while_sending(bureau)
    assert await bureau.sends() == []
    assert states(bureau) == ["unknown"]
    assert bureau.detail("sms taken up again") == {"again": [], "unknown": [1]}


async def test_records_that_are_away_are_waited_for_before_anything_is_sent(
    bureau: Bureau, monkeypatch
):
    await bureau.says(ANNA, SPAM)
    real = bureau.writer.write
    committed = False

    async def write(work):
        nonlocal committed
        result = await real(work)
        if getattr(getattr(work, "func", work), "__name__", "") == "_sending" and not committed:
            committed = True
            raise RecordsAway("the connection broke while it was committed")
        return result

    monkeypatch.setattr(bureau.writer, "write", write)
    with pytest.raises(RecordsAway):
        await bureau.outbox.look()
    assert (states(bureau), bureau.centre.sent) == (["sending"], [])
    assert len(await bureau.sends()) == 1
    (row,) = bureau.sms
    assert (row.state, row.attempts, row.maybe_twice) == ("sent", 1, False)


async def test_one_that_can_never_be_sent_holds_nobody_up(bureau: Bureau, capfd):
    await bureau.says(ANNA, SPAM)
    await bureau.says(BERT, SPAM)

    def erase(transaction):
        transaction.connection.execute(
            update(customer)
            .where(customer.c.id == bureau.reports[0].customer)
            .values(number_enc=None)
        )

    await bureau.writer.write(erase)
    assert len(await bureau.sends()) == 1
    assert states(bureau) == ["given_up", "sent"]
    assert ANNA not in "".join(capfd.readouterr())


async def test_it_runs_until_it_is_told_to_end_and_writes_down_what_became_of_the_last(
    bureau: Bureau,
):
    await bureau.says(ANNA, SPAM)
    pending: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    bureau.centre.answers = [pending]
    running = asyncio.create_task(bureau.outbox.run())
    await until(lambda: bureau.centre.sent)
    await bureau.says(BERT, SPAM)
    bureau.outbox.end()
    await running
    pending.set_result(bureau.centre.accepted())
    await bureau.outbox.ended()
    assert states(bureau) == ["sent", "queued"]


# receipts


def receipt(bureau: Bureau, number: str, message_id: str, stat: str = "DELIVRD", **fields):
    text = (
        f"id:{message_id} sub:001 dlvrd:001 submit date:2601010000 done date:2601010001"
        f" stat:{stat} err:000 text:id:99 stat:UNDELIV"
    )
    return bureau.message(number, text.encode(), GSM, **({"esm_class": 0x04} | fields))


async def sent_with(bureau: Bureau, message_id: str, number: str = ANNA) -> None:
    bureau.centre.answers = [Answer(0, message_id.encode())]
    await bureau.says(number, SPAM)
    assert len(await bureau.sends()) == 1


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("00000123", "00000123"),
        ("00000123", "123"),
        ("123", "00000123"),
        ("1F", "31"),
        ("31", "1f"),
        ("ABCDEF", "abcdef"),
        ("a3f0-11", "a3f0-11"),
    ],
)
async def test_ids_are_known_however_they_are_spelled(bureau: Bureau, ours: str, theirs: str):
    await sent_with(bureau, "77", BERT)
    await sent_with(bureau, "78", ANNA)
    await bureau.says(ANNA, "10658888*贷款")
    bureau.centre.answers = [Answer(0, ours.encode())]
    await bureau.sends()
    await bureau.takes(receipt(bureau, ANNA, theirs))
    assert states(bureau) == ["sent", "sent", "delivered"]
    assert bureau.metrics.filed["receipt"] == 1
    assert bureau.states == ["blocked"] * 3  # a receipt is no report


async def test_the_very_same_id_wins_over_one_that_reads_alike(bureau: Bureau):
    for message_id, source in (("100", "10657555"), ("256", "10658888")):  # 0x100 is 256
        await bureau.says(ANNA, f"{source}*贷款")
        bureau.centre.answers = [Answer(0, message_id.encode())]
        await bureau.sends()
    await bureau.takes(receipt(bureau, ANNA, "100"))
    assert states(bureau) == ["delivered", "sent"]


async def test_a_receipt_never_counts_for_another_handset(bureau: Bureau):
    await sent_with(bureau, "77", BERT)
    await bureau.takes(receipt(bureau, ANNA, "77"))
    assert states(bureau) == ["sent"]
    assert bureau.metrics.filed["receipt_unmatched"] == 1


async def test_a_receipt_may_come_before_the_answer(bureau: Bureau):
    await bureau.says(ANNA, SPAM)
    pending: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    bureau.centre.answers = [pending]
    await bureau.outbox.look()
    await bureau.takes(receipt(bureau, ANNA, "123"))
    assert states(bureau) == ["sending"]
    pending.set_result(Answer(0, b"00123"))
    await bureau.outbox.ended()
    assert states(bureau) == ["delivered"]


async def test_a_receipt_with_an_id_of_nobody_is_for_the_only_one_that_waits(bureau: Bureau):
    await sent_with(bureau, "77")
    await bureau.takes(receipt(bureau, ANNA, "x-1", "UNDELIV"))
    assert states(bureau) == ["undelivered"]
    await bureau.takes(receipt(bureau, ANNA, "x-2"))
    assert bureau.metrics.filed["receipt_unmatched"] == 1


async def test_with_two_that_wait_it_is_nobody_s(bureau: Bureau):
    await sent_with(bureau, "77")
    await bureau.says(ANNA, "10658888*贷款")
    await bureau.sends()
    await bureau.takes(receipt(bureau, ANNA, "x-1"))
    assert states(bureau) == ["sent", "sent"]


async def test_a_receipt_that_is_brought_again_is_one(bureau: Bureau):
    await sent_with(bureau, "77")
    acts = len(bureau.acts())
    await bureau.takes(receipt(bureau, ANNA, "77"), receipt(bureau, ANNA, "77"))
    assert len(bureau.acts()) == acts + 1


async def test_a_receipt_on_the_way_ends_nothing_and_is_no_report(bureau: Bureau):
    await sent_with(bureau, "77")
    await bureau.takes(receipt(bureau, ANNA, "77", "ENROUTE", esm_class=0x20))
    assert (states(bureau), bureau.states) == (["sent"], ["blocked"])
    await bureau.takes(receipt(bureau, ANNA, "77"))
    assert states(bureau) == ["delivered"]


async def test_an_old_sms_gets_no_receipt(bureau: Bureau):
    await sent_with(bureau, "77")
    bureau.later(8 * 24 * 3600 * SECOND)
    await bureau.takes(receipt(bureau, ANNA, "77"))
    assert states(bureau) == ["sent"]
