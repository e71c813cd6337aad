"""Folding of texts: what makes two of them the same, and what does not."""

import pytest

from smsfilter.reports.fold import folded, mark

PRIZE = "acme您中奖了请点击链接领取元"
SAME = [
    "【ACME】您中奖了，请点击链接 http://t.cn/AbC12 领取 8888 元！",
    "【ＡＣＭＥ】您中奖了请点击链接t.cn/Zz9领取9999元",
    "[acme] 您中奖了。请点击链接：https://prize-77.example.top:8443/x?y=1 领取８８８８元",
    "【acme】您　中　奖　了\u200b请点击链接 win.vip 领取 元",
]


@pytest.mark.parametrize("text", SAME)
def test_copies_of_one_text_fold_to_the_same(text):
    assert folded(text) == PRIZE


def test_another_text_is_another_one():
    assert folded("【ACME】您中奖了，请点击链接领取") != PRIZE
    assert mark("your code is 123456") != mark("your cat is 123456")


def test_a_name_with_a_full_stop_is_no_link():
    assert folded("Call Dr.Smith today") == "calldrsmithtoday"
    assert folded("see example.museum/way today") == "seetoday"


def test_what_says_too_little_is_not_known_again():
    assert mark("") is None
    assert mark("12345678 87654321") is None
    assert mark("验证码是123456") is None
    assert mark("您的验证码是123456请勿告诉他人") is not None
