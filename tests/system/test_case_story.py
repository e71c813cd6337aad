"""A case from the report to the answer on the handset, and an appeal, on the running programs."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from tests.fakes import people
from tests.fakes.changes import TIMEOUT_S
from tests.fakes.desk import Desk

pytestmark = pytest.mark.system

ANNA = "8613800138000"
STAFF = {"li": "clerk", "bo": "clerk", "su": "supervisor"}


class Colleague:
    """Somebody of the staff, over the desk's socket."""

    def __init__(self, http: httpx.AsyncClient, name: str) -> None:
        self._http = http
        self._headers = people.bearer(name)

    async def get(self, path: str, **query: Any) -> Any:
        """Ask for something that is there."""
        response = await self._http.get(path, params=query, headers=self._headers)
        assert response.status_code == 200, response.text
        return response.json()

    async def post(self, path: str, body: Any = None, status: int = 200) -> Any:
        """Have something done."""
        response = await self._http.post(path, json=body, headers=self._headers)
        assert response.status_code == status, response.text
        return response.json()

    async def sees(self, case: int, *states: str) -> Any:
        """Wait until a case has one of these states."""
        async with asyncio.timeout(TIMEOUT_S):
            while (said := await self.get(f"/cases/{case}"))["state"] not in states:
                pass  # each look is a row that is committed: it does not spin
        return said


async def manned(make_desk: Any) -> Desk:
    """A desk that runs, and knows its clerks and their supervisor."""
    desk: Desk = await make_desk(started=False)
    for name, role in STAFF.items():
        await desk.hire(name, role)
    await desk.start()
    return desk


@asynccontextmanager
async def staff(desk: Desk) -> AsyncIterator[dict[str, Colleague]]:
    """Two clerks and a supervisor, over the socket of their desk."""
    transport = httpx.AsyncHTTPTransport(uds=str(desk.directory / "state" / "desk.sock"))
    async with httpx.AsyncClient(transport=transport, base_url="http://desk/v1") as http:
        yield {name: Colleague(http, name) for name in STAFF}


async def answered(colleagues: dict[str, Colleague], by: str, case: int, outcome: str) -> None:
    """A case is given to a clerk, who takes it, decides it and has the customer told."""
    said = await colleagues["su"].post(f"/cases/{case}/assign", {"owner": by})
    assert (said["state"], said["owner"]) == ("assigned", by)
    clerk = colleagues[by]
    assert (await clerk.post(f"/cases/{case}/take"))["state"] == "investigating"
    body = {"outcome": outcome, "reason": "the records were looked at", "reply": True}
    assert (await clerk.post(f"/cases/{case}/decide", body))["outcome"] == outcome


async def test_a_report_is_answered_on_the_handset_and_an_appeal_by_somebody_else(
    make_desk: Any,
) -> None:
    desk = await manned(make_desk)
    anna = desk.handsets[ANNA]
    async with staff(desk) as colleagues:
        li, su = colleagues["li"], colleagues["su"]
        await anna.text("10657555*您中奖了，请回复")
        await anna.wait_for_sms(1)
        (case,) = (await li.get("/cases"))["items"]
        number, id_ = case["report"], case["id"]

        await answered(colleagues, "li", id_, "not_spam")
        answer = (await anna.wait_for_sms(2))[1]
        assert (
            answer == f"编号{number}处理结果：经核查不属于垃圾短信。如有异议请回复“申诉{number}”。"
        )
        closed = await li.sees(id_, "closed")
        assert closed["replied_at"] <= closed["due_at"]

        await anna.text(f"申诉{number}")
        assert "另一位工作人员" in (await anna.wait_for_sms(3))[2]
        again = await su.sees(id_, "reopened", "assigned")
        assert again["round"] == 2
        said = await su.post(f"/cases/{id_}/assign", {"owner": "li"}, 409)
        assert said["detail"].startswith("an appeal is decided by somebody else than li")

        await answered(colleagues, "bo", id_, "upheld")
        assert "经核查属实" in (await anna.wait_for_sms(4))[3]
        closed = await su.sees(id_, "closed")
        assert [(each["by"], each["outcome"]) for each in closed["decisions"]] == [
            ("staff:li", "not_spam"),
            ("staff:bo", "upheld"),
        ]
        steps = [each["action"] for each in closed["timeline"]]
        for step in ("report taken", "block in force", "report appealed"):
            assert step in steps
        for step in ("case taken", "case decided", "case replied", "case closed"):
            assert steps.count(step) == 2, step
    assert len(anna.received) == 4


async def test_a_case_with_the_commands_of_the_readme(make_desk: Any) -> None:
    desk = await manned(make_desk)
    desk.env["COLUMNS"] = "160"
    anna = desk.handsets[ANNA]
    await anna.text("10657555*您中奖了，请回复")
    await anna.wait_for_sms(1)

    listed = await desk.ran("case", "list", by="li")
    assert re.search(r"138\*{4}8000 +acme", listed)
    assert re.search(r"due in (47 h|1 d 23 h|2 d 0 h)", listed)
    said = await desk.ran("case", "assign", "1", "--to", "li", "--why", "bo is ill", by="su")
    assert said.startswith("case 1: assigned, owner li\n")
    assert "case 1: investigating, owner li" in await desk.ran("case", "take", "case:1", by="li")
    words = ("case", "show", "1", "--text", "--number", "--purpose", "to decide it")
    shown = await desk.ran(*words, by="li")
    for part in ("您中奖了，请回复", f"number +{ANNA}", "case assigned", "bo is ill"):
        assert part in shown
    words = ("case", "decide", "1", "--outcome", "upheld", "--why", "12 others say so", "--reply")
    said = await desk.ran(*words, by="li")
    assert said.startswith("case 1: decided, upheld, owner li\n")
    assert "经核查属实" in (await anna.wait_for_sms(2))[1]
    async with asyncio.timeout(TIMEOUT_S):
        while not (found := await desk.ran("case", "list", "--state", "closed", "--json", by="li")):
            pass
    closed = json.loads(found)
    assert (closed["state"], closed["outcome"], closed["customer"]) == (
        "closed",
        "upheld",
        "138****8000",
    )
    shown = await desk.ran("case", "show", "1", by="su")
    assert "DELIVRD" in shown
    assert f"number +{ANNA}" not in shown

    refused = await asyncio.to_thread(desk.command, "case", "take", "1", by="bo")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("smsfilter: case 1 is li's")
    for words in (("show", "1", "--text"), ("reply", "1", "--text", "-")):
        wrong = await asyncio.to_thread(desk.command, "case", *words, by="li")
        assert wrong.returncode == 1
        assert wrong.stderr.strip()
