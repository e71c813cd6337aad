"""The first run, as people type it: a desk, its first two people, logins; over socket and TCP."""

import json
import re
import stat

import pytest

from tests.fakes.certificates import Authority
from tests.fakes.terminal import HALF, Terminal

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(180)]

PASSWORD = "a horse in the paddy field"
OTHERS = "nine grey geese over the lake"


@pytest.fixture
async def at(make_desk, tmp_path):
    """A desk that has keys and records, does not run, and where nobody works."""
    desk = await make_desk(started=False, registry=None, hires=False)
    return Terminal(desk, tmp_path / "home" / "login.json")


async def test_the_first_two_people(at):
    first = ("desk", "init", "--first", "li.wei", "--name", "Li Wei", "--person", "E1001")
    said = await at.ran(*first)
    code = re.search(rf"({HALF}) ({HALF})", said)
    again = await at.ran(*first)
    assert "nobody was added" in again
    assert not re.search(HALF, again)

    await at.desk.start()
    await at.ran("enrol", "li.wei", stdin=f"{code[0]}\n{PASSWORD}\n")
    said = await at.ran("login", "li.wei", stdin=PASSWORD + "\n")
    assert said.startswith("li.wei is logged in until ")
    assert stat.S_IMODE(at.file.stat().st_mode) == 0o600
    assert json.loads(await at.ran("whoami", "--json"))["roles"] == ["headquarters"]

    person = ("--name", "Wang Fang", "--person", "E1002")
    half = re.search(HALF, await at.ran("staff", "bootstrap", "wang.fang", *person))[0]
    alone = await at.refused("enrol", "wang.fang", stdin=f"{half}\n{half}\n{OTHERS}\n")
    assert "both halves are needed" in alone
    other = re.search(HALF, await at.ran("desk", "code", "wang.fang"))[0]
    assert "was given out already" in await at.refused("desk", "code", "wang.fang")

    await at.ran("enrol", "wang.fang", stdin=f"{half}\n{other}\n{OTHERS}\n")
    url = f"http://127.0.0.1:{at.desk.staff_port}"
    await at.ran("login", "wang.fang", "--desk", url, stdin=OTHERS + "\n")
    assert json.loads(at.file.read_text())["url"] == url
    assert "wang.fang" in await at.ran("whoami")
    once = await at.refused("staff", "bootstrap", "zhao.lei", "--name", "Z", "--person", "E3")
    assert "once and for all: wang.fang" in once

    at.file.chmod(0o640)
    assert "chmod 600" in await at.refused("whoami")
    at.file.chmod(0o600)

    await at.ran("logout")
    assert not at.file.exists()
    assert "log in" in await at.refused("whoami")


async def test_a_login_over_tls(make_desk, tmp_path):
    authority = Authority(tmp_path)
    listen = [{"address": "127.0.0.1:0", "tls": authority.issue("desk").section()}]
    desk = await make_desk(
        started=False, registry=None, hires=False, config={"desk": {"listen": listen}}
    )
    at = Terminal(desk, tmp_path / "home" / "login.json")
    said = await at.ran("desk", "init", "--first", "li.wei", "--name", "Li", "--person", "E1")
    await desk.start()
    place = ("--desk", f"https://localhost:{desk.staff_port}")
    code = re.search(rf"{HALF} {HALF}", said)[0]
    trusting = (*place, "--ca", str(authority.ca))

    await at.ran("enrol", "li.wei", *trusting, stdin=f"{code}\n{PASSWORD}\n")
    strange = await at.refused("login", "li.wei", *place, stdin=PASSWORD + "\n")
    assert "CERTIFICATE_VERIFY_FAILED" in strange
    await at.ran("login", "li.wei", *trusting, stdin=PASSWORD + "\n")
    assert "li.wei" in await at.ran("whoami")
    elsewhere = await at.refused("login", "--desk", "http://10.0.0.5:8776", stdin="x\n")
    assert "without TLS" in elsewhere
