"""The first run, as people type it: a desk, its first two people, logins; over socket and TCP."""

import json
import re
import stat

import pytest

from tests.fakes.desk import Desk

pytestmark = [pytest.mark.system, pytest.mark.slow]

PASSWORD = "a horse in the paddy field"
OTHERS = "nine grey geese over the lake"
HALF = r"[A-Z2-7]{4}(?:-[A-Z2-7]{4}){3}"


@pytest.fixture
async def desk(make_desk, monkeypatch, tmp_path):
    """A desk that has keys and records, and does not run."""
    desk: Desk = await make_desk(started=False, registry=None)
    desk.env["SMSFILTER_LOGIN"] = str(tmp_path / "home" / "login.json")
    return desk


async def test_the_first_two_people(desk, tmp_path):
    first = ("desk", "init", "--first", "li.wei", "--name", "Li Wei", "--person", "E1001")
    said = await desk.ran(*first)
    code = re.search(rf"({HALF}) ({HALF})", said)
    again = await desk.ran(*first)
    assert "nobody was added" in again
    assert not re.search(HALF, again)

    await desk.start()
    await desk.ran("enrol", "li.wei", stdin=f"{code[0]}\n{PASSWORD}\n")
    said = await desk.ran("login", "li.wei", stdin=PASSWORD + "\n")
    assert said.startswith("li.wei is logged in until ")
    file = tmp_path / "home" / "login.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert json.loads(await desk.ran("whoami", "--json"))["roles"] == ["headquarters"]

    person = ("--name", "Wang Fang", "--person", "E1002")
    half = re.search(HALF, await desk.ran("staff", "bootstrap", "wang.fang", *person))[0]
    alone = desk.command("enrol", "wang.fang", stdin=f"{half}\n{half}\n{OTHERS}\n")
    assert alone.returncode == 1
    assert "both halves are needed" in alone.stderr
    other = re.search(HALF, await desk.ran("desk", "code", "wang.fang"))[0]
    refused = desk.command("desk", "code", "wang.fang")
    assert refused.returncode == 1
    assert "was given out already" in refused.stderr

    await desk.ran("enrol", "wang.fang", stdin=f"{half}\n{other}\n{OTHERS}\n")
    url = f"http://127.0.0.1:{desk.staff_port}"
    await desk.ran("login", "wang.fang", "--desk", url, stdin=OTHERS + "\n")
    assert json.loads(file.read_text())["url"] == url
    assert "wang.fang" in await desk.ran("whoami")
    once = desk.command("staff", "bootstrap", "zhao.lei", "--name", "Z", "--person", "E1003")
    assert once.returncode == 1
    assert "once and for all: wang.fang" in once.stderr

    await desk.ran("logout")
    assert not file.exists()
