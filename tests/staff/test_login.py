"""Who comes in: enrolling, logging in and out, sessions; on both databases."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from smsfilter.desk.api import app
from smsfilter.desk.door import StaffDoor
from smsfilter.desk.office import now_us
from smsfilter.flow.rights import Right
from smsfilter.ledger.actor import local
from smsfilter.peopleconfig import DeskListen
from smsfilter.staff import accounts, founders, login
from smsfilter.staff.accounts import NewStaff
from smsfilter.staff.codes import Code
from smsfilter.staff.sessions import Sessions
from tests.fakes.desks import OpenDesk, open_desk

PASSWORD = "a horse in the paddy field"
FIRST = NewStaff(id="li.wei", person="E1001", name="Li Wei", roles=("headquarters",))

CODE_PATH = "/staff/{id}/code"


class Clock:
    """The time of a desk, which passes as it is told."""

    def __init__(self) -> None:
        self.ahead = 0
        self.at = now_us()

    def __call__(self) -> int:
        return self.at + self.ahead

    def pass_(self, seconds: int) -> None:
        """Let time pass, or come back."""
        self.ahead += seconds * 1_000_000


@asynccontextmanager
async def over_tcp(desk: OpenDesk) -> AsyncIterator[httpx.AsyncClient]:
    """The same desk as it is reached over TCP."""
    served = app(desk.routes, desk.staff, desk.office)
    door = StaffDoor(served, DeskListen.model_validate("127.0.0.1:0"))
    door.open()
    try:
        async with httpx.AsyncClient(base_url=f"http://{door.address}/v1") as http:
            yield http
    finally:
        await door.close()


async def begun(desk: OpenDesk) -> Code:
    """The first person, invited."""
    code = await desk.office.writer.write(
        lambda into: founders.first(into, desk.office.vault, FIRST, by=local("root", "command"))
    )
    assert code is not None
    return code


async def enrolled(desk: OpenDesk, id: str, first: str, second: str) -> None:
    body = {"staff": id, "first": first, "second": second, "password": PASSWORD}
    await desk.post("/enrol", body)


async def logged_in(desk: OpenDesk, id: str = "li.wei", password: str = PASSWORD) -> dict[str, str]:
    said = await desk.post("/login", {"staff": id, "password": password})
    return {"Authorization": f"Bearer {said['token']}"}


async def asked(desk: OpenDesk, path: str, headers: dict[str, str], body: Any = None) -> Any:
    if body is None:
        return await desk.http.get(path, headers=headers)
    return await desk.http.post(path, headers=headers, json=body)


@pytest.fixture
def clock():
    """The time of the desk."""
    return Clock()


@pytest.fixture
async def new_desk(records_urls, tmp_path, redis_server, redis_client, clock):
    """A desk where nobody works yet."""
    folder = tmp_path / "desk"
    async with open_desk(folder, records_urls, redis_server, clock=clock, hires=False) as desk:
        yield desk


@pytest.fixture
async def desk(new_desk):
    """A desk with one person who has enrolled."""
    code = await begun(new_desk)
    await enrolled(new_desk, "li.wei", code.first, code.second)
    return new_desk


async def test_the_first_person_enrols_and_logs_in(desk):
    who = await logged_in(desk)

    me = (await asked(desk, "/me", who)).json()

    assert (me["staff"], me["roles"], me["branch"]) == ("li.wei", ["headquarters"], "hq")
    assert "change staff" in me["rights"]
    actions = [each.action for each in desk.entries() if each.object == "staff:li.wei"]
    assert actions == ["first person", "enrolled", "logged in"]
    assert desk.entries("logged in")[0].actor == "staff:li.wei"


async def test_a_password_and_a_token_are_nowhere_as_they_are(desk):
    who = await logged_in(desk)
    token = who["Authorization"].partition(" ")[2]

    everything = repr([desk.rows(name) for name in ("staff", "session", "ledger")])

    assert token not in everything
    assert PASSWORD not in everything
    assert desk.rows("staff")[0].pw_hash.startswith("$argon2id$")


async def test_nobody_without_a_login_comes_in_over_tcp(desk):
    async with over_tcp(desk) as http:
        for path in ("/me", "/staff", "/reports", "/blocks"):
            refused = await http.get(path)
            assert refused.status_code == 401, path
        said = (await http.post("/login", json={"staff": "li.wei", "password": PASSWORD})).json()
        me = await http.get("/me", headers={"Authorization": f"Bearer {said['token']}"})

    assert me.json()["staff"] == "li.wei"
    assert desk.entries("logged in")[-1].origin == "127.0.0.1"


async def test_a_stranger_cannot_send_much(desk):
    async with over_tcp(desk) as http:
        long = await http.post("/login", json={"staff": "x" * 20_000, "password": "y"})

    assert long.status_code == 413


async def test_a_header_does_not_say_who_asks(desk):
    headers = {"X-Forwarded-For": "uid:0", "X-Forwarded-Proto": "https"}
    async with over_tcp(desk) as http:
        assert (await http.get("/staff", headers=headers)).status_code == 401


@pytest.fixture
def still(monkeypatch):
    """No time passes between attempts, however slow the machine is."""
    monkeypatch.setattr(login, "monotonic", lambda: 0.0)


@pytest.mark.usefixtures("still")
async def test_wrong_passwords_are_slowed_and_summed_up(desk):
    wrong = {"staff": "li.wei", "password": "a cow in the paddy field"}
    statuses = [(await desk.http.post("/login", json=wrong)).status_code for _ in range(5)]
    slowed = await desk.http.post("/login", json={"staff": "li.wei", "password": PASSWORD})

    assert statuses == [401, 401, 401, 429, 429]
    assert slowed.status_code == 429
    assert int(slowed.headers["Retry-After"]) >= 1
    for name in ("nobody", "somebody"):
        await desk.post("/login", wrong | {"staff": name}, status=401)
    await desk.staff.flush()
    entered = {each.object: each.detail for each in desk.entries("logins failed")}
    assert entered["staff:li.wei"] == {"count": 3, "origins": ["socket"]}
    assert entered["staff"] == {"count": 2, "origins": ["socket"]}
    assert "nobody" not in repr(desk.rows("ledger"))


async def test_what_a_role_may_not_do_is_refused_and_entered_once(desk):
    who = await logged_in(desk)
    for _ in range(3):
        refused = await asked(desk, "/desk/backup", who, {})
        assert refused.status_code in (403, 404)
    for _ in range(2):
        assert (await asked(desk, "/staff/li.wei/code", who, {})).status_code == 403
    await desk.staff.flush()

    rows = [each for each in desk.entries("refused") if each.detail["paths"] == [CODE_PATH]]
    assert [(each.actor, each.detail["count"]) for each in rows] == [("staff:li.wei", 2)]
    assert rows[0].role == "headquarters"


async def test_logging_out_ends_that_session_alone(desk):
    one, other = await logged_in(desk), await logged_in(desk)

    assert (await asked(desk, "/logout", one, {})).status_code == 200

    ended = await asked(desk, "/me", one)
    assert ended.status_code == 401
    assert "smsfilter login li.wei" in ended.json()["detail"]
    assert (await asked(desk, "/me", other)).status_code == 200


async def test_another_password_ends_every_session(desk):
    logins = [await logged_in(desk) for _ in range(2)]
    wrong = await asked(desk, "/password", logins[0], {"old": "not it", "new": PASSWORD + "!"})
    assert wrong.status_code == 401
    weak = await asked(desk, "/password", logins[0], {"old": PASSWORD, "new": "li.wei li.wei"})
    assert weak.status_code == 422

    done = await asked(desk, "/password", logins[0], {"old": PASSWORD, "new": PASSWORD + "!"})

    assert done.status_code == 200
    assert [(await asked(desk, "/me", each)).status_code for each in logins] == [401, 401]
    await desk.post("/login", {"staff": "li.wei", "password": PASSWORD}, status=401)
    await logged_in(desk, password=PASSWORD + "!")


@pytest.mark.parametrize("act", ["suspend", "leave", "reset", "set_roles"])
async def test_a_change_of_the_account_ends_its_sessions(desk, act):
    who, by = await logged_in(desk), local("root")
    assert (await asked(desk, "/me", who)).status_code == 200
    more = {"reset": [], "set_roles": [["auditor"]]}.get(act, [])
    named = {"code": Code.make()} if act == "reset" else {}

    await desk.office.writer.write(
        lambda into: getattr(accounts, act)(into, "li.wei", *more, by=by, **named)
    )

    assert (await asked(desk, "/me", who)).status_code == 401


async def test_a_session_ends_after_half_an_hour_without_a_request(desk, clock):
    who = await logged_in(desk)
    for _ in range(3):
        clock.pass_(29 * 60)
        assert (await asked(desk, "/me", who)).status_code == 200
    clock.pass_(31 * 60)

    assert (await asked(desk, "/me", who)).status_code == 401


async def test_a_session_ends_after_eight_hours_whatever_it_does(desk, clock):
    who = await logged_in(desk)
    for _ in range(19):
        clock.pass_(25 * 60)
        assert (await asked(desk, "/me", who)).status_code == 200
    clock.pass_(6 * 60)

    assert (await asked(desk, "/me", who)).status_code == 401


async def test_a_session_goes_on_after_a_restart(desk, clock):
    who = await logged_in(desk)
    clock.pass_(20 * 60)
    await asked(desk, "/me", who)
    await desk.office.writer.write(lambda _: None)  # that it was used is written behind the answer
    again = Sessions(desk.office)  # what a desk knows that has just started
    clock.pass_(20 * 60)
    token = who["Authorization"].partition(" ")[2]

    assert (await again.of(token)).staff == "li.wei"


async def test_using_a_session_is_written_once_a_minute_at_most(desk, clock):
    who = await logged_in(desk)
    await asked(desk, "/me", who)
    before = desk.rows("session")[0].idle_until
    for _ in range(5):
        clock.pass_(10)
        await asked(desk, "/me", who)
    assert desk.rows("session")[0].idle_until == before
    clock.pass_(10)
    await asked(desk, "/me", who)
    await desk.office.writer.write(lambda _: None)  # it is written behind the answer

    assert desk.rows("session")[0].idle_until == before + 60_000_000


async def test_sessions_that_ended_long_ago_are_taken_out(desk, clock):
    await logged_in(desk)
    clock.pass_(31 * 86_400)

    await Sessions(desk.office).purge()

    assert not desk.rows("session")


async def test_a_code_is_of_use_once_and_for_a_week(desk, clock):
    code = Code.make()
    by = local("root")
    await desk.office.writer.write(lambda into: accounts.reset(into, "li.wei", by=by, code=code))
    body = {"staff": "li.wei", "first": code.first, "second": code.second, "password": PASSWORD}
    clock.pass_(7 * 86_400)
    await desk.post("/enrol", body, status=401)
    clock.pass_(-60)
    await desk.post("/enrol", body)
    await desk.post("/enrol", body, status=401)


@pytest.mark.usefixtures("still")
async def test_codes_that_are_guessed_at_are_slowed(new_desk):
    await begun(new_desk)
    body = {"staff": "li.wei", "first": "AAAA", "second": "BBBB", "password": PASSWORD}
    statuses = [(await new_desk.http.post("/enrol", json=body)).status_code for _ in range(4)]

    assert statuses == [401, 401, 401, 429]


async def test_without_a_login_the_socket_shows_nothing_of_customers(open_desk):
    machine = open_desk.as_(None)
    for path in ("/reports", "/blocks", "/cases", "/companies", "/staff", "/audit/entries", "/me"):
        refused = await machine.http.get(path)
        assert refused.status_code in {403, 404}, path
        if refused.status_code == 403:
            assert "smsfilter login" in refused.json()["detail"]
    assert any(each.right is Right.EXPORT_LEDGER for each in open_desk.routes)
    for each in open_desk.routes:
        if each.right in {Right.EXPORT_LEDGER, Right.BACK_UP} and "{" not in each.path:
            (method,) = each.methods - {"HEAD"}
            said = await machine.http.request(method, each.path)
            assert said.status_code not in {401, 403}, (each.path, said.text)
