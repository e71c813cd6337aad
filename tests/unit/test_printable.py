"""What others have written, as a terminal is given it."""

from hypothesis import given
from hypothesis import strategies as st

from smsfilter.cli.printable import indented, printable


@given(st.text())
def test_nothing_is_left_that_does_something(text: str) -> None:
    assert printable(text).isprintable()
    assert len(printable(text)) == len(text)


@given(st.text())
def test_lines_after_the_first_are_set_in(text: str) -> None:
    first, *others = indented(text).split("\n")
    assert first.isprintable()
    assert all(line.startswith("    ") and line.isprintable() for line in others)


def test_people_s_text_stays_as_it_is() -> None:
    assert printable("您好，Zoë\N{IDEOGRAPHIC SPACE}10\N{NO-BREAK SPACE}元") == "您好，Zoë 10 元"
