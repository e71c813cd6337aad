"""A clerk on the running programs: cases that differ, each with what is known and suggested."""

import json
from typing import Any

import pytest

from smsfilter.smpp.const import ESME_ROK
from tests.fakes import people
from tests.fakes.desk import Desk

pytestmark = pytest.mark.system

ANNA, BERT, CARL, DORA = "8613800138000", "8613900139000", "8613700137000", "8613600136000"
PARCEL = "【Bravo】您的快递 {} 已到，请凭取件码 {} 领取"


async def reports(desk: Desk, number: str, text: str) -> None:
    """A customer reports by SMS, and is told that it was received."""
    (delivery,) = await desk.handsets[number].text(text)
    assert delivery.statuses == [ESME_ROK]


async def decides(desk: Desk, outcome: str | None = None) -> Any:
    """Whoever has the next case decides it, as suggested unless told otherwise; what was shown."""
    for who in (people.DEFAULT, people.OTHER):
        shown = json.loads(await desk.ran("case", "next", "--take", "--json", by=who))
        if shown["case"] is not None:
            case = str(shown["case"]["id"])
            said = outcome or shown["suggestion"]["outcome"]
            why = ("--outcome", said, "--why", "as the records say", "--reply")
            await desk.ran("case", "decide", case, *why, by=who)
            return shown
    raise AssertionError("no case waits")


async def test_three_cases_that_differ(make_desk: Any) -> None:
    desk: Desk = await make_desk(config={"decisions": {"name": "p1"}})
    for company in ("acme", "bravo"):
        desk.site.approve(company, "*")
    acme, bravo = await desk.site.esme("acme"), await desk.site.esme("bravo")
    for esme, source, to in (
        (acme, "10657555", ANNA),
        (bravo, "10658888", CARL),
        (bravo, "10658888", DORA),
    ):
        assert (await esme.submit(source, to)).command_status == ESME_ROK

    await reports(desk, DORA, "10658888*" + PARCEL.format("771", "11-2"))
    assert (await decides(desk, "not_spam"))["suggestion"]["rule"] == "sent_by_company"

    await reports(desk, ANNA, "10657555*您中奖了，请点击链接")
    anna = await decides(desk)
    await reports(desk, BERT, "13500000001*贷款秒批，请回复")
    bert = await decides(desk)
    await reports(desk, CARL, "10658888*" + PARCEL.format("904", "27-5"))
    carl = await decides(desk)

    shown = (anna, bert, carl)
    said = [each["suggestion"] for each in shown]
    assert [(each["outcome"], each["rule"]) for each in said] == [
        ("upheld", "sent_by_company"),
        ("referred", "not_through_us"),
        ("not_spam", "as_decided_before"),
    ]
    assert said[0]["records"][0].startswith("record:p1/1/")
    assert said[1]["records"] == [f"report:{bert['case']['report']}"]
    assert said[2]["records"] == ["case:1"]
    for number, each in zip((ANNA, BERT, CARL), shown, strict=True):
        _, result = await desk.handsets[number].wait_for_sms(2)
        assert result == each["reply"]["text"]
        assert each["reply"]["characters"] == len(result) <= each["reply"]["most"]
