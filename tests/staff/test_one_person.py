"""One person of headquarters who wants to be two: whatever they do, in whatever order.

The attacker has one login, the socket of the machine, and every half of a code that comes into
their hands. Their honest colleagues release some of what they ask for and ask for things that they
may release; the half of a code that an honest person gets goes to the person it is for, and to
nobody else. Nothing that needs two people may ever have been done by the attacker alone.
"""

import asyncio
import itertools
import tempfile
from collections import defaultdict
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

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
RELEASES = st.integers(0, 11)
"""Which of the releases there are, counted from the newest one."""
HONEST = st.sampled_from([ANN, BOB])
WHOM = st.sampled_from([EVE, ANN, BOB, *NEW])
ROLES = st.sampled_from([["clerk"], ["headquarters"], ["headquarters", "supervisor"]])
KEYS = st.sampled_from([None, "one", "two"])
TWO_DO = {
    "block removed",
    "number recycled",
    "staff roles changed",
    "staff reset",
    "staff restored",
}
"""What the ledger calls the acts that need two: each of their rows names the other one."""
STEPS = ("grant", "refuse", "take-back", "half")


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
        self.halves: set[str] = set()
        self.for_the_person: defaultdict[str, list[str]] = defaultdict(list)
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
        assert response.status_code != 500, response.text
        return response.status_code, response.json()

    def release(self, nth: int) -> int:
        """The number of a release, where there is one."""
        count = len(self.desk.rows("release"))
        return 1 if count == 0 else count - nth % count

    def gained(self, said: Any) -> None:
        """The attacker keeps every half that they are told."""
        if "half" in said:
            self.halves.add(said["half"])

    def told(self, said: Any, whom: str) -> None:
        """An honest person tells their half to whom it is for."""
        if "half" in said:
            self.for_the_person[whom].append(said["half"])

    # --- the attacker

    @rule(block=st.integers(1, 2), key=KEYS)
    def asks_for_an_end(self, block: int, key: str | None) -> None:
        self.post(EVE, f"/blocks/{block}/remove", {"reason": "consent"}, key)

    @rule(number=st.sampled_from(NUMBERS), key=KEYS)
    def asks_to_recycle(self, number: str, key: str | None) -> None:
        self.post(EVE, "/blocks/recycle", {"rows": [{"customer": number}]}, key)

    @rule(whom=st.sampled_from(NEW), roles=ROLES, key=KEYS)
    def asks_for_an_account(self, whom: str, roles: list[str], key: str | None) -> None:
        body = {"id": whom, "person": f"no-{whom}", "name": "Mine", "roles": roles}
        self.post(EVE, "/staff", body, key)

    @rule(whom=WHOM, roles=ROLES)
    def asks_for_roles(self, whom: str, roles: list[str]) -> None:
        self.post(EVE, f"/staff/{whom}/roles", {"roles": roles})

    @rule(whom=WHOM, step=st.sampled_from(["reset", "restore", "leave", "suspend"]))
    def asks_about(self, whom: str, step: str) -> None:
        self.post(EVE, f"/staff/{whom}/{step}", {} if step == "suspend" else None)

    @rule(release=RELEASES, step=st.sampled_from(STEPS), key=KEYS)
    def steps(self, release: int, step: str, key: str | None) -> None:
        """Release, take back and fetch whatever there is."""
        body = {} if step == "refuse" else None
        status, said = self.post(EVE, f"/releases/{self.release(release)}/{step}", body, key)
        if status == 200:
            self.gained(said)

    @rule(whom=st.sampled_from(NEW))
    def invites_a_second_person_anew(self, whom: str) -> None:
        body = {"id": whom, "person": f"no-{whom}", "name": "Mine", "roles": ["headquarters"]}
        _, said = self.post(EVE, "/staff/bootstrap", body)
        self.gained(said)

    @rule(whom=st.sampled_from([EVE, ANN, BOB, *NEW]))
    def enrols(self, whom: str) -> None:
        """With every pair of halves in hand, one of them twice, and a guess."""
        known = [*sorted(self.halves), "AAAA-AAAA-AAAA-AAAA"]
        for first, second in itertools.product(known[-4:], repeat=2):
            body = {"staff": whom, "first": first, "second": second, "password": PASSWORD}
            status, said = self.post(None, "/enrol", body)
            assert status != 200, f"{whom} was enrolled by halves of one person: {said}"

    @rule(whom=WHOM, release=RELEASES, step=st.sampled_from(STEPS))
    def comes_by_the_socket(self, whom: str, release: int, step: str) -> None:
        """As a user of the machine without a login."""
        status, said = self.post(None, f"/staff/{whom}/code")
        self.gained(said)
        assert status != 200, said
        for path, body in (
            (f"/releases/{self.release(release)}/{step}", {} if step == "refuse" else None),
            ("/blocks/1/remove", {"reason": "consent"}),
            ("/blocks/recycle", {"rows": [{"customer": NUMBERS[0]}]}),
            (f"/staff/{whom}/reset", None),
            (f"/staff/{whom}/suspend", {}),
        ):
            status, said = self.post(None, path, body)
            assert status != 200, (path, said)

    # --- the others

    @rule(release=RELEASES, who=HONEST)
    def one_is_released_by_somebody_honest(self, release: int, who: str) -> None:
        """They look at what it is first; nobody lets an honest colleague's account be changed."""
        path = f"/releases/{self.release(release)}"
        response = self.run(self.desk.as_(who).http.get(path))
        if response.status_code != 200:
            return
        subject = response.json()["subject"].removeprefix("staff:")
        if subject in {EVE, ANN, BOB}:
            return
        status, said = self.post(who, f"{path}/grant")
        if status == 200:
            self.told(said, subject)

    @rule(who=HONEST, whom=st.sampled_from(NEW), step=st.sampled_from(["add", "reset", "restore"]))
    def somebody_honest_asks(self, who: str, whom: str, step: str) -> None:
        if step == "add":
            body = {"id": whom, "person": f"no-{whom}", "name": "New", "roles": ["clerk"]}
            self.post(who, "/staff", body)
        else:
            self.post(who, f"/staff/{whom}/{step}")

    @rule(who=HONEST, release=RELEASES)
    def somebody_honest_fetches_their_half(self, who: str, release: int) -> None:
        status, said = self.post(who, f"/releases/{self.release(release)}/half")
        if status == 200:
            self.told(said, said["subject"].removeprefix("staff:"))

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
