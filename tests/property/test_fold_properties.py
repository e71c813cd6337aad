"""Folding holds for any text: it ends where it ends, and what senders vary does not matter."""

from hypothesis import given
from hypothesis import strategies as st

from smsfilter.reports.fold import folded

LINKS = st.sampled_from(
    ["http://t.cn/a1B", "https://win.example.com/x?y=1&z=2", "a-b.top", "www.prize.vip/77"]
)
WORDS = st.lists(
    st.text(st.sampled_from("abcxyzÄßéж您中奖了请点击領取"), min_size=1, max_size=6), max_size=8
)
FILLERS = st.text(
    st.sampled_from(" 　\t\n\u200b0123456789０９٣①!！，。、-*_—…【】()$€"), max_size=4
)


@given(st.text(max_size=200))
def test_a_folded_text_folds_to_itself(text):
    assert folded(folded(text)) == folded(text)


@given(WORDS, st.data())
def test_digits_blanks_and_signs_do_not_matter(words, data):
    filled = "".join(data.draw(FILLERS) + letter for letter in "".join(words))
    assert folded(filled + data.draw(FILLERS)) == folded("".join(words))


@given(WORDS, st.data())
def test_links_do_not_matter(words, data):
    linked = " ".join(f"{word} {data.draw(LINKS)}" for word in words)
    assert folded(linked) == folded("".join(words))


@given(WORDS)
def test_width_and_case_do_not_matter(words):
    text = " ".join(words)
    wide = "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)
    assert folded(wide) == folded(text.upper()) == folded(text)
