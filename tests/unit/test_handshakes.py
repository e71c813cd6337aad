"""Whose handshake goes on when: counted in turns of the loop, with peers that are scripted."""

import asyncio

import pytest

from smsfilter.proxy import handshakes
from smsfilter.proxy.handshakes import AT_ONCE, SILENT_MOST_S, Handshakes

MOST = 8


class Clock:
    """Monotonic seconds, as the test wants them."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(handshakes, "monotonic", clock)
    return clock


class Peer:
    """A connection whose handshake takes so many turns."""

    def __init__(self, shared: Handshakes, turns: int = 1) -> None:
        self.shared = shared
        self.turns = turns
        self.taken = 0
        self.turned_away = False

    def go_on(self) -> bool:
        self.taken += 1
        if self.taken >= self.turns:
            self.shared.over(self)
            return False
        return True

    def turn_away(self) -> None:
        self.turned_away = True
        self.shared.over(self)

    def speak(self) -> None:
        self.shared.want(self)


async def turn() -> None:
    """Let the loop turn once."""
    await asyncio.sleep(0)


async def test_a_flood_takes_no_more_than_its_share_of_each_turn() -> None:
    shared = Handshakes(1000)
    flood = [Peer(shared) for _ in range(300)]
    for peer in flood:
        peer.speak()
    for n in range(1, 300 // AT_ONCE):
        await turn()
        assert sum(peer.taken for peer in flood) <= n * AT_ONCE
    while shared.under_way:
        await turn()
    assert all(peer.taken == 1 for peer in flood)
    assert not any(peer.turned_away for peer in flood)


async def test_who_comes_first_goes_on_first() -> None:
    shared = Handshakes(1000)
    peers = [Peer(shared) for _ in range(4 * AT_ONCE)]
    for peer in peers:
        peer.speak()
    await turn()
    assert [peer.taken for peer in peers] == [1] * AT_ONCE + [0] * 3 * AT_ONCE


async def test_over_the_limit_who_comes_last_is_turned_away() -> None:
    shared = Handshakes(MOST)
    peers = [Peer(shared) for _ in range(MOST + 2)]
    for peer in peers:
        peer.speak()
    assert [peer.turned_away for peer in peers] == [False] * MOST + [True] * 2
    assert shared.under_way == MOST
    while shared.under_way:
        await turn()
    assert [peer.taken for peer in peers] == [1] * MOST + [0] * 2


async def test_over_the_limit_who_keeps_us_waiting_makes_room(clock: Clock) -> None:
    shared = Handshakes(MOST)
    silent = [Peer(shared, turns=2) for _ in range(MOST)]
    for peer in silent:
        peer.speak()
    for _ in range(MOST):
        await turn()
    early = Peer(shared)
    early.speak()
    assert early.turned_away, "they have had no time yet to go on"
    clock.now += SILENT_MOST_S
    silent[0].speak()
    late = Peer(shared)
    late.speak()
    assert not late.turned_away
    assert [peer.turned_away for peer in silent] == [False, True, *[False] * (MOST - 2)]
    await turn()
    assert (silent[0].taken, late.taken) == (2, 1 if AT_ONCE > 1 else 0)


async def test_whose_connection_is_lost_takes_no_room() -> None:
    shared = Handshakes(MOST)
    waiting, silent = Peer(shared), Peer(shared, turns=2)
    silent.speak()
    await turn()
    waiting.speak()
    assert shared.under_way == 2
    for peer in (waiting, silent):
        shared.over(peer)
        shared.over(peer)
    assert shared.under_way == 0
    await turn()
    assert waiting.taken == 0
