"""When memory is short, by figures of the test's own, and what the kernel says of it."""

from smsfilter.proxy.memory import (
    UNDECIDED_MOST,
    UNDECIDED_SHORT,
    UNREAD_MOST,
    UNREAD_SHORT,
    Memory,
    allowed,
    give_back,
    resident,
)


def test_it_is_short_above_the_limit_and_until_there_is_some_room() -> None:
    figures = iter((0, 999, 1000, 1001, 1001, 999, 951, 950, 999, 1001, 1001))
    memory = Memory(1000, lambda: next(figures))  # above the limit it looks twice
    seen = []
    for _ in range(9):
        memory.look()
        seen.append(memory.is_short)
    assert seen == [False, False, False, True, True, True, False, False, True]


def test_each_session_may_have_less_while_it_is_short() -> None:
    taken = 2000
    memory = Memory(1000, lambda: taken)
    memory.look()
    assert (memory.undecided_most, memory.unread_most) == (UNDECIDED_SHORT, UNREAD_SHORT)
    taken = 0
    memory.look()
    assert (memory.undecided_most, memory.unread_most) == (UNDECIDED_MOST, UNREAD_MOST)


def test_without_a_limit_it_is_never_short() -> None:
    memory = Memory(None, lambda: 1 << 60)
    memory.look()
    assert not memory.is_short


def test_what_the_kernel_says_of_this_process() -> None:
    most = allowed()
    assert most is not None
    assert 1 << 20 < resident() < most
    held = bytearray(64 << 20)
    assert resident() > len(held)
    give_back()
