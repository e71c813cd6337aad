"""Who comes in: enrolling, logging in and out, sessions; on both databases."""

from typing import Any

import pytest

from smsfilter.ledger.actor import local
from smsfilter.staff import founders
from smsfilter.staff.accounts import NewStaff
from smsfilter.staff.codes import Code
from tests.fakes.desks import OpenDesk

PASSWORD = "a horse in the paddy field"
FIRST = NewStaff(id="li.wei", person="E1001", name="Li Wei", roles=("headquarters",))


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
async def desk(open_desk):
    """A desk with one person who has enrolled."""
    code = await begun(open_desk)
    await enrolled(open_desk, "li.wei", code.first, code.second)
    return open_desk


async def test_the_first_person_enrols_and_logs_in(desk):
    login = await logged_in(desk)

    me = (await asked(desk, "/me", login)).json()

    assert (me["staff"], me["roles"], me["branch"]) == ("li.wei", ["headquarters"], "hq")
    assert "change staff" in me["rights"]
    actions = [each.action for each in desk.entries() if each.object == "staff:li.wei"]
    assert actions == ["first person", "enrolled", "logged in"]
    assert desk.entries("logged in")[0].actor == "staff:li.wei"


async def test_a_password_and_a_token_are_nowhere_as_they_are(desk):
    login = await logged_in(desk)
    token = login["Authorization"].partition(" ")[2]

    everything = repr([desk.rows(name) for name in ("staff", "session", "ledger")])

    assert token not in everything
    assert PASSWORD not in everything
    assert desk.rows("staff")[0].pw_hash.startswith("$argon2id$")
