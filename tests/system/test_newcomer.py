"""A newcomer's first day with the README's commands: from no keys at all to the customer's answer.

The desk is ended after every step, by turns in order and by a kill: what a command has said stands.
"""

import asyncio
import json
import re
import signal
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from smsfilter.smpp.const import ESME_ROK
from smsfilter.store.schema import case_file
from tests.fakes.desk import Desk
from tests.fakes.registry import REGISTRY
from tests.fakes.terminal import Terminal, halves

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(400)]

ANNA = "8613800138000"
WORDS = "a horse in the paddy field"
FIRST = ("desk", "init", "--first", "li.wei", "--name", "Li Wei", "--person", "E1001")
SECOND = ("staff", "bootstrap", "zhao.lei", "--name", "Zhao Lei", "--person", "E1002")
CLERK = ("staff", "add", "wang.fang", "--name", "Wang Fang", "--person", "E1003", "--role", "clerk")


class Restarts:
    """Ends the desk and starts it again, in order and by a kill in turn."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.count = 0

    async def __call__(self) -> None:
        self.count += 1
        if self.count % 2:
            await self.desk.stop()
        else:
            self.desk.expect_exit(-signal.SIGKILL)
            self.desk.signal(signal.SIGKILL)
            await self.desk.wait_exit()
        await self.desk.start()


async def only(desk: Desk) -> Any:
    """The only case."""
    query = case_file.select()
    return await desk.look(lambda connection: connection.execute(query).one())


async def state(desk: Desk) -> tuple[str, str | None]:
    """How it stands."""
    row = await only(desk)
    return row.state, row.outcome


async def test_from_no_keys_to_the_answer(make_desk, tmp_path):
    desk: Desk = await make_desk(started=False, registry=None, hires=False)
    machine, li, zhao, wang = (
        Terminal(desk, tmp_path / who / "login") for who in ("nobody", "li", "zhao", "wang")
    )
    again = Restarts(desk)

    code = halves(await machine.ran(*FIRST))
    await desk.start()
    assert "log in" in await machine.refused("whoami")
    await li.ran("enrol", "li.wei", stdin=f"{' '.join(code)}\n{WORDS}\n")
    await again()
    await li.ran("login", "li.wei", stdin=WORDS + "\n")
    await again()

    (half,) = halves(await li.ran(*SECOND))
    await again()
    (other,) = halves(await machine.ran("desk", "code", "zhao.lei"))
    await again()
    await zhao.ran("enrol", "zhao.lei", stdin=f"{half}\n{other}\n{WORDS}\n")
    await zhao.ran("login", "zhao.lei", stdin=WORDS + "\n")

    assert "smsfilter release grant 1" in await li.ran(*CLERK)
    assert "another person" in await li.refused("release", "grant", "1")
    await again()
    (half,) = halves(await zhao.ran("release", "grant", "1"))
    await again()
    (other,) = halves(await li.ran("release", "half", "1"))
    await again()
    await wang.ran("enrol", "wang.fang", stdin=f"{half}\n{other}\n{WORDS}\n")
    await wang.ran("login", "wang.fang", stdin=WORDS + "\n")
    await again()
    days = [datetime.now(UTC) + timedelta(days) for days in (-1, 30)]
    shift = ("--from", days[0].isoformat("T", "minutes"), "--to", days[1].isoformat("T", "minutes"))
    await li.ran("staff", "rota", "add", "wang.fang", *shift)
    registry = tmp_path / "registry.json"
    registry.write_text(json.dumps(REGISTRY))
    await li.ran("company", "import", str(registry))

    anna = desk.handsets[ANNA]
    (delivery,) = await anna.text("10657555*win a prize")
    assert await delivery.done() == ESME_ROK
    (taken, *_) = await anna.wait_for_sms()
    number = re.search(r"\d+", taken)[0]
    await again()

    async with asyncio.timeout(20):
        while (row := await only(desk)).owner is None:  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0.1)
    assert row.owner == "wang.fang", "who is on duty has it"
    case = str(row.id)
    said = await wang.ran("case", "next")
    assert f"case {case}: assigned" in said
    assert "138****8000" in said
    await wang.ran("case", "take", case)
    await again()
    assert (await state(desk))[0] == "investigating"
    why = ("--outcome", "referred", "--why", "nothing of it came this way")
    await wang.ran("case", "decide", case, *why)
    await again()
    assert await state(desk) == ("decided", "referred")
    await wang.ran("case", "reply", case)
    async with asyncio.timeout(20):
        while await state(desk) != ("closed", "referred"):  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0.1)
    await again()

    assert await state(desk) == ("closed", "referred")
    told = [text for text in await anna.wait_for_sms(2) if "处理结果：" in text]
    assert len(told) == 1, "the answer to the report may come twice, as the desk was killed"
    assert number in told[0]
    shown = await wang.ran("case", "show", case, "--json")
    for step in ("case taken", "case decided", "case reply written"):
        assert step in shown
