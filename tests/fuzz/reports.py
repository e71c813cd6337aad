"""What must hold of a report, whatever a customer's handset sends.

A target as in protocol.py: it draws a case and asserts. Nothing may be raised.
"""

import random

from smsfilter.reports import ids
from smsfilter.reports.parse import Appeal, NumberOnly, Report, TextOnly, Withdrawal, parse
from smsfilter.reports.parts import Held, Part, first_part_names, gather, joined
from smsfilter.reports.source import is_never_block
from smsfilter.reports.text import read_text

WORDS = (
    *("106575550001", "1065 7555 0001", "+86 138-0013-8000", "(010)62200000", "95588", "１０６"),
    *("ACME", "某公司", "【某公司】", "[x]", "您好", "5折", "元", "验证码", "12:30", "2024-12-25"),
    *("举报", "号码：", "内容：", "发件人：", "Fw:", "撤销", "取消", "CX", "申诉", "101", "谢谢"),
    *(
        "*",
        "＊",
        "#",
        " ",
        "　",
        "\n",
        "：",
        "，",
        "-",
        "(",
        "）",
        "“",
        "\u200b",
        "\ufeff",
        "\u202e",
    ),
    *("\ufe0f", "\u20e3", "😀", "①", "⑩", "\ufffd", "…"),
)
ENCODINGS = ("utf-16-be", "utf-16-le", "gbk", "utf-8", "latin-1", "ascii")


def message(chance: random.Random) -> str:
    """Words as reports have them, in any order, some of them very often."""
    words = (chance.choice(WORDS) for _ in range(chance.randint(0, 12)))
    return "".join(word * chance.choice((1, 1, 1, 1, 1, 90)) for word in words)


def report(chance: random.Random) -> None:
    """A text in parts, some of them lost, some wrongly labelled: read, and quoted as it is."""
    octets = message(chance).encode(chance.choice(ENCODINGS), "replace")
    if chance.randrange(2):
        octets += chance.randbytes(chance.randint(0, 9))
    total = chance.randint(1, 4)
    codings = [chance.choice((0, 1, 3, 8, 15, chance.randrange(256)))] * 3 + [0]
    cuts = sorted(chance.randint(0, len(octets)) for _ in range(total - 1))
    pieces = [octets[a:b] for a, b in zip([0, *cuts], [*cuts, len(octets)], strict=True)]
    parts = [
        Part(7, total, number, chance.choice(codings), piece)
        for number, piece in enumerate(pieces, 1)
    ]
    held = [Held(one, chance.randrange(10**8)) for one in chance.choices(parts, k=total)]
    for one in gather(held):
        there = joined(one.parts)
        assert there.is_complete is (len(one.parts) == total)
        read(there.text().text)
        named = first_part_names(one.parts)
        assert named is None or 1 not in there.missing
    read(read_text(chance.randrange(256), octets).text)


def read(text: str) -> None:
    """What is quoted stands in the text, and a number that is spelled is read."""
    found = parse(text)
    if isinstance(found, Report | TextOnly):
        assert found.text in text
        assert found.text
    if isinstance(found, Report | NumberOnly):
        assert found.source.written in text
        assert found.source.normalised
        is_never_block(found.source.normalised, ("110", "10086999"), "86")
    if isinstance(found, Withdrawal | Appeal):
        assert found.written in text
        assert found.id is None or ids.read(found.written) == found.id


TARGETS = (report,)
