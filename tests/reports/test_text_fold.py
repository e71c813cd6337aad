"""What a report's text has in common with others is kept with it, and says nothing of the text."""

from tests.fakes.bureau import ANNA, BERT, CARL
from tests.fakes.handset import UCS_2

TEXT = "【某】您中奖了，请点击链接 http://t.cn/{} 领取 {} 元！"
LONG = TEXT + "先到先得，机会难得，" * 12


async def test_copies_of_one_text_have_one_mark(bureau):
    await bureau.says(ANNA, "10657555*" + TEXT.format("AbC", 888))
    await bureau.says(BERT, "10658888*" + TEXT.format("xYz", 9999))
    await bureau.says(CARL, "10658888*您的快递已到，请尽快领取")
    first, second, third = (each.text_fold for each in bureau.reports)
    assert first == second != third
    assert "中奖" not in bureau.dump()


async def test_a_text_that_says_too_little_has_none(bureau):
    await bureau.says(ANNA, "10657555*退订回T")
    await bureau.says(BERT, "10657555")
    assert [each.text_fold for each in bureau.reports] == [None, None]


async def test_parts_that_come_later_count(bureau):
    parts = bureau.parts(ANNA, "10657555*" + LONG.format("a", 1), UCS_2)
    assert len(parts) > 2
    await bureau.takes(parts[0])
    incomplete = bureau.reports[0].text_fold
    await bureau.takes(*parts[1:])
    await bureau.says(BERT, "10658888*" + LONG.format("b", 2))
    first, second = bureau.reports
    assert first.complete
    assert incomplete != first.text_fold == second.text_fold


async def test_a_number_that_completes_a_text_has_its_mark(bureau):
    await bureau.says(ANNA, TEXT.format("a", 1))
    await bureau.says(ANNA, "10657555")
    asked, report = bureau.reports
    assert (asked.state, report.state) == ("joined", "blocked")
    assert asked.text_fold == report.text_fold is not None
