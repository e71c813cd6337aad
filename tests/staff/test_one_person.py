"""One person of headquarters who wants to be two: whatever they do, in whatever order.

The attacker has one login, the socket of the machine, and every half of a code that comes into
their hands. Their honest colleagues release some of what they ask for and ask for things that they
may release; the half of a code that an honest person gets goes to the person it is for, and to
nobody else. Nothing that needs two people may ever have been done by the attacker alone.
"""

import asyncio
import itertools
import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from hypothesis.stateful import run_state_machine_as_test as run

from smsfilter.staff.slowing import Slowing
from tests.fakes.desks import OpenDesk, open_desk
from tests.fakes.redis_server import RedisServer

pytestmark = [pytest.mark.redis, pytest.mark.slow]

EVE, ANN, BOB = "eve.hq", "ann.hq", "bob.hq"
NEW = ("li.wei", "su.lan", "hu.jun")
NUMBERS = ("13800138000", "13900139000")
PASSWORD = "a goose on the river bank"
OK = 200
MOVES = (
    "asks_for_an_end",
    "asks_to_recycle",
    "asks_for_an_account",
    "asks_for_roles",
    "asks_for_a_reset",
    "asks_about",
    "refuses",
    "tries_every_one",
    "invites_a_second_person_anew",
    "enrols",
    "comes_by_the_socket",
    "somebody_honest_releases",
    "somebody_honest_asks",
    "somebody_honest_asks_for_a_reset",
    "somebody_honest_fetches_their_half",
)
"""All in one rule: an attack needs several of them, and rules are left out at random."""


class One(NamedTuple):
    """What a move is about."""

    whom: str
    new: str
    who: str
    """Which of the honest."""
    release: int
    """Counted from the newest."""
    roles: list[str]
    key: str | None


ONE = st.builds(
    One,
    whom=st.sampled_from([EVE, ANN, BOB, *NEW]),
    new=st.sampled_from(NEW),
    who=st.sampled_from([ANN, BOB]),
    release=st.integers(0, 3),
    roles=st.sampled_from([["clerk"], ["headquarters"], ["headquarters", "supervisor"]]),
    key=st.sampled_from([None, None, "one", "two"]),
)
TWO_DO = {
    "block removed",
    "number recycled",
    "staff roles changed",
    "staff reset",
    "staff restored",
}
"""What the ledger calls the acts that need two: each of their rows names the other one."""


class OnePerson(RuleBasedStateMachine):
    """A desk with one attacker and two honest people of headquarters."""

    server: RedisServer
    urls: Callable[[Path], tuple[str, str | None]]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.server.client().flushall()
        self.halves: list[str] = []
        self.for_the_person: list[str] = []
        opening = open_desk(folder / "desk", type(self).urls(folder), self.server, hires=False)
        self.desk: OpenDesk = self.run(self.stack.enter_async_context(opening))

    def run(self, work: Any) -> Any:
        return self.runner.run(work)

    def teardown(self) -> None:
        self.run(self.stack.aclose())
        self.runner.close()

    @initialize()
    def begin(self) -> None:
        """Three people, and blocks that must stay."""
        for each in (EVE, ANN, BOB):
            self.run(self.desk.hire(each, "headquarters", "supervisor"))
        for number in NUMBERS:
            self.post(ANN, "/blocks", {"customer": number, "target": "acme"})

    def post(
        self, who: str | None, path: str, body: Any = None, key: str | None = None
    ) -> tuple[int, Any]:
        """Ask as somebody, and return what is answered."""
        headers = {} if key is None else {"Idempotency-Key": key}
        response = self.run(self.desk.as_(who).http.post(path, json=body, headers=headers))
        assert response.status_code < 500, response.text
        return response.status_code, response.json()

    def release(self, one: One) -> int:
        """The number of a release, where there is one."""
        count = len(self.desk.rows("release"))
        return 1 if count == 0 else count - one.release % count

    @staticmethod
    def account(one: One) -> dict[str, Any]:
        """Ask for an account of a new person."""
        return {"id": one.new, "person": f"no-{one.new}", "name": "New", "roles": one.roles}

    def gained(self, said: Any) -> None:
        """The attacker keeps every half that they are told."""
        if "half" in said:
            self.halves.append(said["half"])

    def told(self, answered: tuple[int, Any]) -> None:
        """An honest person tells their half to whom it is for, and the attacker hears nothing."""
        status, said = answered
        if status == OK and "half" in said:
            self.for_the_person.append(said["half"])
            assert said["half"] not in self.halves

    # --- the attacker

    def asks_for_an_end(self, one: One) -> None:
        path = f"/blocks/{1 + one.release % 2}/remove"
        self.post(EVE, path, {"reason": "consent"}, one.key)

    def asks_to_recycle(self, one: One) -> None:
        rows = [{"customer": NUMBERS[one.release % 2]}]
        self.post(EVE, "/blocks/recycle", {"rows": rows}, one.key)

    def asks_for_an_account(self, one: One) -> None:
        self.post(EVE, "/staff", self.account(one), one.key)

    def asks_for_roles(self, one: One) -> None:
        self.post(EVE, f"/staff/{one.whom}/roles", {"roles": one.roles})

    def asks_for_a_reset(self, one: One) -> None:
        self.post(EVE, f"/staff/{one.new}/reset")

    def asks_about(self, one: One) -> None:
        for whom, step in ((one.whom, "reset"), (one.new, "restore"), (one.whom, "leave")):
            self.post(EVE, f"/staff/{whom}/{step}")
        self.post(EVE, f"/staff/{one.whom}/suspend", {})

    def refuses(self, one: One) -> None:
        for step in ("refuse", "take-back"):
            self.post(EVE, f"/releases/{self.release(one)}/{step}", {}, one.key)

    def tries_every_one(self, one: One) -> None:
        """Release, and fetch the half of, all there is."""
        for row in self.desk.rows("release"):
            for step in ("grant", "half"):
                status, said = self.post(EVE, f"/releases/{row.id}/{step}", None, one.key)
                if status == OK:
                    self.gained(said)

    def invites_a_second_person_anew(self, one: One) -> None:
        _, said = self.post(EVE, "/staff/bootstrap", self.account(one))
        self.gained(said)

    def enrols(self, _one: One) -> None:
        """With every pair of halves in hand, one of them twice, and a guess."""
        known = [*dict.fromkeys(self.halves), "AAAA-AAAA-AAAA-AAAA"]
        for whom in NEW:
            for first, second in itertools.product(known[-5:], repeat=2):
                body = {"staff": whom, "first": first, "second": second, "password": PASSWORD}
                status, said = self.post(None, "/enrol", body)
                assert status != OK, f"{whom} was enrolled by halves of one person: {said}"

    def comes_by_the_socket(self, one: One) -> None:
        """As a user of the machine without a login."""
        release = self.release(one)
        for path, body in (
            (f"/staff/{one.whom}/code", None),
            ("/staff", self.account(one)),
            *((f"/releases/{release}/{step}", None) for step in ("grant", "take-back", "half")),
            (f"/releases/{release}/refuse", {}),
            ("/blocks/1/remove", {"reason": "consent"}),
            ("/blocks/recycle", {"rows": [{"customer": NUMBERS[0]}]}),
            (f"/staff/{one.whom}/reset", None),
            (f"/staff/{one.whom}/suspend", {}),
        ):
            status, said = self.post(None, path, body)
            assert status != OK, (path, said)

    # --- the others

    def somebody_honest_releases(self, one: One) -> None:
        """They look at what it is first; nobody lets an honest colleague's account be changed."""
        path = f"/releases/{self.release(one)}"
        response = self.run(self.desk.as_(one.who).http.get(path))
        if response.status_code != OK:
            return
        subject = response.json()["subject"].removeprefix("staff:")
        if subject not in {EVE, ANN, BOB}:
            self.told(self.post(one.who, f"{path}/grant"))

    def somebody_honest_asks(self, one: One) -> None:
        self.post(one.who, "/staff", self.account(one) | {"roles": ["clerk"]})

    def somebody_honest_asks_for_a_reset(self, one: One) -> None:
        self.post(one.who, f"/staff/{one.new}/reset")

    def somebody_honest_fetches_their_half(self, one: One) -> None:
        self.told(self.post(one.who, f"/releases/{self.release(one)}/half"))

    @rule(move=st.sampled_from(MOVES), one=ONE)
    def moves(self, move: str, one: One) -> None:
        """Somebody does something."""
        getattr(self, move)(one)

    # --- what holds

    @invariant()
    def nothing_was_done_by_one(self) -> None:
        for row in self.desk.rows("release"):
            if row.state in {"released", "done"}:
                assert row.asked_by != row.released_by
                assert {row.asked_by, row.released_by} & {ANN, BOB}, row
        for entry in self.desk.entries():
            if entry.action in TWO_DO:
                hands = {entry.actor.removeprefix("staff:"), entry.detail.get("asked_by")}
                assert len(hands - {None}) == 2, entry
                assert hands & {ANN, BOB}, entry
            if entry.action in {"staff suspended", "staff left"}:
                assert entry.object not in {f"staff:{each}" for each in (ANN, BOB, EVE)}, entry

    @invariant()
    def every_account_has_two_makers(self) -> None:
        for row in self.desk.rows("staff"):
            if row.id in NEW:
                assert row.added_by != row.approved_by
                assert {row.added_by, row.approved_by} & {ANN, BOB}, row
                assert row.pw_hash is None, "nobody of them has enrolled"
            else:
                assert row.state == "active"

    @invariant()
    def no_block_has_ended_otherwise(self) -> None:
        done = [
            each
            for each in self.desk.rows("release")
            if each.kind.startswith("block.") and each.state in {"released", "done"}
        ]
        ended = [each for each in self.desk.rows("block") if each.ended_at is not None]
        assert len(ended) <= len(done)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_one_person_is_never_two(database, redis_server, monkeypatch, request):
    monkeypatch.setattr(Slowing, "begin", lambda *_given: 0.0)  # the attacker has time
    OnePerson.server = redis_server
    OnePerson.urls = lambda folder: (f"sqlite:///{folder}/records.db", None)
    if database == "postgresql":
        postgres = request.getfixturevalue("postgres")
        OnePerson.urls = lambda _folder: postgres.database()
    run(
        OnePerson,
        settings=settings(
            max_examples=12 if database == "sqlite" else 4,
            stateful_step_count=40,
            deadline=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
