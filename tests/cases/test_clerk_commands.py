"""What a clerk types: the next case, groups of reports, the day."""

import asyncio
import io
import json
import sys
from typing import Any

import pytest

from smsfilter.cli.main import main
from tests.fakes import people
from tests.fakes.clerks import HOUR, Clerks

ANNA = "13800138000"
TEXT = "您中奖了，请点击链接 http://t.cn/AbC 领取"
SOURCE = "10691234"


class Terminal:
    """One person's terminal."""

    def __init__(self, clerks: Clerks, monkeypatch: Any, capsys: Any, who: str) -> None:
        self._clerks = clerks
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        self._who = who

    async def ran(self, *words: str, status: int = 0, stdin: str = "") -> str:
        """Run a command, hold its exit status, and return what it printed."""
        login = people.login_file(self._clerks.desk.at.folder, self._who)
        self._monkeypatch.setenv(people.LOGIN_ENV, str(login))
        self._monkeypatch.setenv("COLUMNS", "200")
        self._monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        self._capsys.readouterr()
        file = str(self._clerks.desk.at.file)
        found = await asyncio.to_thread(main, [*words, "-c", file])
        said = self._capsys.readouterr()
        assert found == status, said
        return said.out + said.err


@pytest.fixture
def li(clerks: Clerks, monkeypatch: Any, capsys: Any) -> Terminal:
    return Terminal(clerks, monkeypatch, capsys, "li")


async def reported(clerks: Clerks, customer: str, source: str = "10657555") -> None:
    body = {"customer": customer, "source": source, "text": TEXT}
    await clerks["hu"].post("/reports", body)


async def test_the_next_case_is_shown_taken_and_decided(clerks, li):
    assert await li.ran("case", "next") == "no case waits for you\n"
    sent = clerks.proxy.decided(f"86{ANNA}", clerks.now - HOUR)
    clerks.proxy.segment(2, sent, at=clerks.now - HOUR)
    await reported(clerks, ANNA)
    shown = await li.ran("case", "next")
    assert shown.startswith("case 1: new, due in ")
    assert "138****8000 about 10657555, company acme" in shown
    assert "1 message of acme came to the customer" in shown
    assert "suggested: upheld, by the rule sent_by_company (record:p1/2/" in shown
    assert "of 70): 编号13处理结果" in shown
    assert "smsfilter case decide 1 --outcome upheld --why … --reply" in shown
    taken = json.loads(await li.ran("case", "next", "--take", "--json"))
    assert (taken["case"]["state"], taken["case"]["owner"]) == ("investigating", "li")
    assert "case 1: investigating" in await li.ran("case", "next", "--take")  # once is enough
    await li.ran("case", "decide", "1", "--outcome", "upheld", "--why", "sent by it", "--reply")
    assert await li.ran("case", "next") == "no case waits for you\n"


async def test_who_is_slower_takes_the_one_behind(clerks, li, monkeypatch):
    await reported(clerks, ANNA)
    await reported(clerks, ANNA, "10658888")
    looked = clerks["li"].office.writer.write
    others = [1]

    async def taken_meanwhile(work: Any) -> Any:
        done = await looked(work)
        if others and clerks.desk.entries("next case shown"):
            others.clear()
            await clerks["bo"].post("/cases/1/take")
        return done

    monkeypatch.setattr(type(clerks.desk.office.writer), "write", lambda _, w: taken_meanwhile(w))
    taken = json.loads(await li.ran("case", "next", "--take", "--json"))
    assert (taken["case"]["id"], taken["case"]["owner"]) == (2, "li")


async def test_a_group_is_seen_and_decided(clerks, li):
    clerks.missing()
    for n in range(3):
        await reported(clerks, f"1380013800{n}", SOURCE)
    listed = await li.ran("report", "groups")
    assert SOURCE in listed
    assert "3 unmatched" in listed
    resolve = ("report", "resolve", "--source", SOURCE)
    preview = await li.ran(*resolve, "--company", "acme")
    assert "3 reports of 3 customers, in 3 cases" in preview
    assert "company acme would be blocked for 3 of them" in preview
    assert "nothing was changed: add --apply to do it" in preview
    assert clerks.desk.rows("block") == []
    assert await li.ran(*resolve, "--company", "acme", "--apply") == (
        "cases decided: 3\nin force\n"
    )
    assert "no report waits for a decision" in await li.ran("report", "groups")
    assert clerks.desk.blocked("8613800138001") == {"acme"}


async def test_a_group_is_answered_without_a_company(clerks, li):
    clerks.missing()
    await reported(clerks, ANNA, "13700000001")
    (group,) = [json.loads(await li.ran("report", "groups", "--json"))]
    decide = ("report", "resolve", "--outcome", "referred", "--why", "to the police")
    for source, stdin in ((group["key"], ""), ("-", "13700000001\n")):
        preview = await li.ran(*decide, "--source", source, stdin=stdin)
        assert "would be decided referred, with this reply to each" in preview
    done = json.loads(await li.ran(*decide, "--source", group["key"], "--apply", "--json"))
    assert done == {"done": 1, "failed": [], "in_force": True}
    said = await li.ran(*decide, "--source", "13700000001", status=1)
    assert "a person's number is seen by all where it is an argument" in said


WRONG = [
    (("--company", "acme"), "either the NUMBER of one report, or --source"),
    (("13", "--source", SOURCE, "--company", "acme"), "either the NUMBER of one report"),
    (("13",), "one report is decided by --company ID"),
    (("13", "--company", "acme", "--apply"), "one report is decided by --company ID"),
    (("--source", SOURCE), "either --company ID, or --outcome"),
    (("--source", SOURCE, "--company", "acme", "--outcome", "referred"), "either --company"),
    (("--source", SOURCE, "--outcome", "referred"), "--outcome needs --why"),
]


async def test_what_does_not_go_together_is_said(clerks, li):
    for words, said in WRONG:
        assert said in await li.ran("report", "resolve", *words, status=1)


async def test_the_day(clerks, li):
    await reported(clerks, ANNA)
    await reported(clerks, "13900139000")  # of another branch
    said = await li.ran("desk", "today")
    assert said.startswith("no report on anybody who was blocked, in 7 days\n")
    assert "open: 1, due in 4 h: 0, late: 0, unowned: 1, answers that failed: 0" in said
    assert "acme" in said
    assert json.loads(await li.ran("desk", "today", "--json"))["received"] == 1
