"""The same attacker at a terminal: commands in any order, logged in and as the machine's user."""

import asyncio
import re

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from hypothesis.stateful import run_state_machine_as_test as run
from sqlalchemy import select

from smsfilter.store.records import Records
from smsfilter.store.schema import block, release, staff
from tests.fakes import people
from tests.fakes.desk import Desk

pytestmark = [pytest.mark.system, pytest.mark.slow]

HALF = re.compile(r"[A-Z2-7]{4}(?:-[A-Z2-7]{4}){3}")
PASSWORD = "nine grey geese over the lake"
NEW = "li.wei"
NEW_PERSON = ("--name", "Mine", "--person", "E9", "--role", "headquarters")
COMMANDS = (
    ("staff", "add", NEW, *NEW_PERSON),
    ("staff", "role", people.OTHER, "--role", "clerk"),
    ("staff", "role", people.DEFAULT, "--role", "engineer"),
    ("staff", "reset", NEW),
    ("staff", "reset", people.OTHER),
    ("staff", "suspend", people.OTHER),
    ("staff", "leave", people.OTHER),
    ("staff", "bootstrap", "hu.jun", "--name", "Mine", "--person", "E8"),
    ("block", "remove", "1", "--reason", "consent"),
    ("desk", "code", NEW),
    ("desk", "code", people.OTHER),
)
STEPS = ("grant", "half", "refuse", "take-back")


class Typist(RuleBasedStateMachine):
    """Types; `desk` is the one desk of all examples, so that each begins where another ended."""

    desk: Desk
    records: Records

    def __init__(self) -> None:
        super().__init__()
        self.halves: list[str] = []

    def type_in(self, *words: str, stdin: str = "", by: str | None = people.DEFAULT) -> int:
        """Type a command, and keep what it prints of codes."""
        done = self.desk.command(*words, stdin=stdin, by=by)
        assert "Traceback" not in done.stderr, done.stderr
        self.halves += HALF.findall(done.stdout)
        return done.returncode

    def ids(self) -> list[int]:
        with self.records.reading() as connection:
            return list(connection.scalars(select(release.c.id).order_by(release.c.id)))

    @rule(words=st.sampled_from(COMMANDS), by=st.sampled_from([people.DEFAULT, None]))
    def asks(self, words: tuple[str, ...], by: str | None) -> None:
        self.type_in(*words, by=by)

    @rule(step=st.sampled_from(STEPS), by=st.sampled_from([people.DEFAULT, None]))
    def steps(self, step: str, by: str | None) -> None:
        for each in self.ids()[-2:]:
            self.type_in("release", step, str(each), by=by)

    @rule()
    def somebody_honest_releases_a_new_account(self) -> None:
        """And tells their half to the person whom it is for."""
        with self.records.reading() as connection:
            kind = release.c.kind.in_(("staff.add", "staff.reset"))
            mine = (release.c.state == "waiting") & (release.c.subject == f"staff:{NEW}") & kind
            ids = list(connection.scalars(select(release.c.id).where(mine)))
        for each in ids:
            self.desk.command("release", "grant", str(each), by=people.OTHER)

    @rule()
    def enrols(self) -> None:
        known = [*dict.fromkeys(self.halves), "AAAA-AAAA-AAAA-AAAA"]
        stdin = f"{known[0]}\n{known[-2:][0]}\n{PASSWORD}\n{PASSWORD}\n"
        assert self.type_in("enrol", NEW, stdin=stdin, by=None) != 0

    @invariant()
    def nothing_was_done_by_one(self) -> None:
        with self.records.reading() as connection:
            for row in connection.execute(select(release)):
                if row.state in {"released", "done"}:
                    assert {row.asked_by, row.released_by} == {people.DEFAULT, people.OTHER}
            for row in connection.execute(select(staff)):
                if row.id in {people.DEFAULT, people.OTHER}:
                    assert (row.state, len(row.roles.split())) == ("active", len(people.EVERYTHING))
                else:
                    assert (row.id, row.state, row.pw_hash) == (NEW, "invited", None)
                    assert {row.added_by, row.approved_by} == {people.DEFAULT, people.OTHER}
            assert connection.scalars(select(block.c.ended_at)).all() == [None]


@pytest.mark.timeout(180)
async def test_one_person_at_a_terminal(make_desk):
    desk = Typist.desk = await make_desk()
    await desk.ran("block", "add", "--everybody", stdin="13800138000")
    Typist.records = Records(desk._url)
    how = settings(
        max_examples=2,
        stateful_step_count=10,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    try:
        await asyncio.to_thread(run, Typist, settings=how)
    finally:
        Typist.records.close()
