"""Whose turn comes when, counted in batches: real relays, and an index that answers when told.

Each session writes to customers of its own, so that the questions of a batch tell whose it is.
"""

import asyncio
import re
from collections import Counter
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smsfilter.log import DecisionLog
from smsfilter.metrics import Metrics
from smsfilter.proxy.batch import QUESTIONS_MOST
from smsfilter.proxy.bind import BindDesk
from smsfilter.proxy.gate import TURN_MOST, Gate
from smsfilter.proxy.hub import Hub
from smsfilter.proxy.keyring import Keyring
from smsfilter.proxy.legs import SmscLeg
from smsfilter.proxy.memory import Memory
from smsfilter.proxy.relay import Relay
from smsfilter.rules.judge import Judge
from smsfilter.rules.policy import Policy
from smsfilter.smpp.session import State
from smsfilter.store.epoch import EpochGuard
from tests.fakes import wire
from tests.fuzz.path import COMPANIES, CONFIG, Index, Line

FLOOD = 10_000
READ_MOST = 64 << 10
"""Octets that a loop hands over at once."""
FULL = QUESTIONS_MOST // TURN_MOST
"""Floods that fill a batch together."""


class Stage:
    """A gate, and sessions of one account on it."""

    def __init__(self, sessions: int) -> None:
        self.index, metrics = Index(), Metrics()
        judge = Judge(Policy(), COMPANIES)
        decisions = DecisionLog("refused", mock.Mock())
        gate = Gate(self.index, EpochGuard(), judge, metrics, decisions)  # type: ignore[arg-type]
        hub = Hub(CONFIG, gate, metrics, BindDesk(8), Keyring(CONFIG, metrics), Memory(None))
        self.relays = [self._bound(hub) for _ in range(sessions)]
        self.batches: list[Counter[int]] = []
        """Those that were answered: how many questions each session had in it."""

    def _bound(self, hub: Hub) -> Relay:
        relay = Relay(hub, "192.0.2.1")
        hub.binds.enter("acme")
        relay.esme_made(Line(relay.esme_lost))  # type: ignore[arg-type]
        leg = SmscLeg(relay)
        relay.smsc_made(Line(leg.connection_lost), leg, "")  # type: ignore[arg-type]
        relay.session.bound(State.BOUND_TRX, "acme", 0x34, 70_000)
        relay.bound()
        return relay

    def submit(self, session: int, count: int) -> None:
        """One session sends so many messages as fast as it can."""
        pdus = [wire.submit_sm(n, "10657555", f"86138{session:03}{n:05}") for n in range(count)]
        octets = b"".join(pdus)
        for at in range(0, len(octets), READ_MOST):
            self.relays[session].from_esme(octets[at : at + READ_MOST])

    async def answer(self) -> Counter[int]:
        """Answer the batch that is under way, let the next one go, and tell whose it was."""
        [(octets, _, _)] = self.index.pending
        asked = re.findall(rb"block:\{86138(\d{3})", octets)
        self.index.answer("")
        await asyncio.sleep(0)
        self.batches.append(Counter(map(int, asked)))
        return self.batches[-1]

    def forwarded(self, session: int) -> int:
        return self.relays[session].session.forwarded


async def test_who_comes_while_another_floods_is_in_the_next_batch() -> None:
    stage = Stage(2)
    stage.submit(0, FLOOD)
    sent = 0
    while stage.forwarded(0) < FLOOD - 2 * TURN_MOST:
        stage.submit(1, 1)
        sent += 1
        under_way = await stage.answer()
        assert under_way[0] <= QUESTIONS_MOST / 8, "a batch is no session's own"
        assert b"block:{86138001" in stage.index.pending[0][0]
    while stage.index.pending:
        await stage.answer()
    assert (stage.forwarded(0), stage.forwarded(1)) == (FLOOD, sent)


@pytest.mark.parametrize("floods", [1, FULL - 1, FULL, 3 * FULL])
async def test_who_comes_behind_many_floods_waits_for_one_turn_of_each(floods: int) -> None:
    stage = Stage(floods + 1)
    for session in range(floods):
        stage.submit(session, TURN_MOST * 8)
    stage.submit(floods, 1)
    while not stage.forwarded(floods):
        await stage.answer()
    assert len(stage.batches) <= 1 + -(-(floods + 1) // FULL)
    while stage.index.pending:
        passed = [stage.forwarded(session) for session in range(floods)]
        assert max(passed) - min(passed) <= TURN_MOST, "they share what there is"
        await stage.answer()


@settings(max_examples=20, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 11), st.sampled_from((0, 1, 600, 1000))),
        min_size=12,
        max_size=30,
    )
)
def test_nobody_has_two_turns_while_another_waits_for_one(
    steps: list[tuple[int, int]],
) -> None:
    """Whoever sends how much and when; 0 lets a batch be answered."""

    async def play() -> None:
        stage = Stage(12)
        sent, waits = Counter[int](), {session: Counter[int]() for session in range(12)}

        async def answer() -> None:
            begun = Counter(await stage.answer())
            for session, seen in waits.items():
                if begun[session] or stage.forwarded(session) == sent[session]:
                    seen.clear()
                else:
                    seen.update(dict.fromkeys(begun, 1))
                    # one was under way when it came, or when its own last turn was settled
                    assert max(seen.values(), default=0) <= 2, (session, stage.batches)

        for session, count in steps:
            if count:
                stage.submit(session, count)
                sent[session] += count
            elif stage.index.pending:
                await answer()
        while stage.index.pending:
            await answer()
        assert all(stage.forwarded(session) == sent[session] for session in sent)
        assert all(sum(batch.values()) <= QUESTIONS_MOST + TURN_MOST for batch in stage.batches)

    asyncio.run(play())
