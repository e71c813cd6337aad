"""`smsfilter company`, as an operator types it, against a desk on its socket."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from smsfilter.cli.main import main
from smsfilter.config import load
from smsfilter.desk import api, blocks, company_routes, keys, office
from smsfilter.desk.door import Door
from smsfilter.desk.indexing import IndexAway
from smsfilter.ledger.actor import system
from smsfilter.ledger.chain import parse
from smsfilter.staff.room import StaffRoom
from smsfilter.store import ledger
from smsfilter.store.writer import Writer
from tests.fakes import people
from tests.fakes.registry import REGISTRY

Said = tuple[int, str, str]
FILE = yaml.safe_dump(REGISTRY, allow_unicode=True, sort_keys=False)


class Desk:
    """A desk of which only the door, the records and the companies are there."""

    def __init__(self, folder: Path) -> None:
        config = {
            "proxy": {"listen": "127.0.0.1:0", "smsc": "127.0.0.1:1"},
            "redis": {"url": "redis://127.0.0.1:1/0"},
            "state_dir": "state",
        }
        self.config = folder / "smsfilter.yaml"
        self.config.write_text(yaml.safe_dump(config))
        (folder / "policy.yaml").write_text("version: 1\n")
        self.registry = folder / "registry.yaml"
        self.registry.write_text(FILE, encoding="utf-8")
        loaded = load(self.config)
        keys.make(loaded.config.state_dir)
        office.prepare(loaded.config)
        means = office.Office.of(loaded)
        # Without a witness: its lines would stand between those of the command.
        self.office = replace(means, writer=Writer(means.records, means.clock))
        self.followed: list[int] = []
        self.is_away = False
        self._up = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def start(self) -> None:
        self.office.writer.start()
        self._thread.start()
        assert self._up.wait(10)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self.office.writer.stop()
        self.office.records.close()

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        routes = company_routes.routes(self.office, self._follow)
        door = Door(
            api.app(routes, StaffRoom(self.office, None), self.office), self.office.config.state_dir
        )
        door.open()
        self._up.set()
        await self._stop.wait()
        await door.close()

    async def _follow(self, seq: int) -> None:
        if self.is_away:
            raise IndexAway("connection refused")
        self.followed.append(seq)

    def block(self, target: str) -> None:
        def work(transaction: Any) -> None:
            customer = self.office.vault.customer(transaction, "8613800138000")
            put = blocks.put(transaction, customer, target, "report")
            transaction.enter("block put", system("test"), touches=put.touched)

        self.office.writer.submit(work).result()

    def acts(self) -> list[tuple[str, str]]:
        with self.office.records.reading() as connection:
            entries = [parse(row.body) for row in ledger.rows(connection)]
        return [(entry.action, entry.object) for entry in entries]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    people.hired(desk.office.records)
    monkeypatch.setenv(people.LOGIN_ENV, str(people.login_file(tmp_path)))
    desk.start()
    yield desk
    desk.stop()


@pytest.fixture
def type_in(desk: Desk, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Types a command, gives exit status, standard output and standard error."""

    def run(*words: str) -> Said:
        status = main(["company", *words, "-c", str(desk.config)])
        out, err = capsys.readouterr()
        return status, out, err

    return run


def test_a_file_goes_in_and_comes_out(desk, type_in):
    status, out, err = type_in("import", str(desk.registry))
    assert (status, err) == (0, "")
    assert "companies added: 3 (acme, bravo, charlie)" in out
    assert "added: 14, ended: 0, unchanged: 0" in out
    assert "in force within 2 seconds" in out
    assert desk.followed == [1]
    status, out, _ = type_in("export")
    assert status == 0
    desk.registry.write_text(out, encoding="utf-8")
    status, out, _ = type_in("import", str(desk.registry), "--json")
    said = json.loads(out)
    assert (status, said["added"], said["ended"], said["unchanged"]) == (0, 0, 0, 14)
    assert desk.acts() == [("registry imported", "")]


def test_a_dry_run_changes_nothing(desk, type_in):
    type_in("import", str(desk.registry))
    desk.registry.write_text("companies: {}")
    status, out, _ = type_in("import", str(desk.registry), "--dry-run")
    assert status == 0
    assert "companies would be ended: 3 (acme, bravo, charlie)" in out
    assert "in force" not in out
    assert len(desk.acts()) == 1
    assert "acme" in type_in("export")[1]


def test_a_file_with_errors_is_not_sent(desk, type_in):
    desk.registry.write_text("companies:\n  acme: {sources: [abc]}\n")
    status, _, err = type_in("import", str(desk.registry))
    assert status == 1
    assert "registry.yaml:2:" in err
    assert desk.acts() == []


def test_a_company_that_stays_is_named_with_a_cure(desk, type_in):
    type_in("import", str(desk.registry))
    desk.block("bravo")
    desk.registry.write_text("companies: {}")
    status, _, err = type_in("import", str(desk.registry))
    assert status == 0
    assert "bravo is missing in the file and stays" in err
    assert "smsfilter company merge bravo ID" in err


def test_one_company_at_a_time(desk, type_in):
    desk.block("source:1064000")
    words = ("--name", "Delta", "--source", "1064", "--valid-to", "2099-12-31", "--header", "DELTA")
    status, out, _ = type_in("add", "delta", *words)
    assert status == 0
    assert "blocks of a source that are a company's now: 1" in out
    assert desk.followed == [3]
    assert type_in("extend", "delta", "--account", "delta")[0] == 0
    assert "all of that already" in type_in("extend", "delta", "--account", "delta")[1]
    status, out, _ = type_in("show", "delta", "--json")
    shown = json.loads(out)
    assert shown["own"] == {
        "name": "Delta",
        "accounts": ["delta"],
        "sources": [{"prefix": "1064", "valid_to": "2099-12-31"}],
        "headers": ["DELTA"],
    }
    assert shown["blocks"] == 1
    assert desk.acts()[1:] == [
        ("company added", "delta"),
        ("blocks promoted", ""),
        ("company extended", "delta"),
    ]


def test_a_merger_and_what_is_shown_of_it(desk, type_in):
    type_in("import", str(desk.registry))
    desk.block("bravo")
    status, out, _ = type_in("merge", "bravo", "acme")
    assert status == 0
    assert "bravo goes on as acme: 3 accounts, sources, headers and signatures, 1 re" in out
    assert "1 blocks" in out
    _, out, _ = type_in("list")
    assert "merged into acme" in out
    assert "Acme Trading" in out
    _, out, _ = type_in("list", "--state", "merged", "--json")
    assert [json.loads(line)["id"] for line in out.splitlines()] == ["bravo"]
    _, out, _ = type_in("show", "acme")
    assert "acme: active, blocked by 1 customers" in out
    assert "bravo were merged into it" in out
    _, out, _ = type_in("show", "bravo")
    assert "10658888" in out
    status, _, err = type_in("import", str(desk.registry))
    assert (status, "bravo was merged into acme" in err) == (1, True)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("show", "no body"), "there is no company no body"),
        (("merge", "nobody", "acme"), "there is no company nobody"),
        (("add", "acme"), "acme is a company already"),
        (("add", "delta", "--source", "abc"), "not a source"),
        (("add", "delta", "--account", "bravo"), "account bravo is owned by both"),
        (("extend", "acme", "--header", "BRAVO"), "header BRAVO of acme is the same as"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(desk, type_in, words, problem):
    type_in("import", str(desk.registry))
    status, out, err = type_in(*words)
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert problem in err
    assert len(desk.acts()) == 1


def test_an_index_that_is_away_undoes_nothing(desk, type_in):
    desk.is_away = True
    status, _, err = type_in("import", str(desk.registry))
    assert status == 0
    assert "on record, and not in force yet: connection refused" in err
    assert desk.acts() == [("registry imported", "")]


def test_changes_as_json(desk, type_in):
    assert type_in("import", str(desk.registry))[0] == 0
    for words in (("add", "neu", "--account", "n1"), ("extend", "neu", "--header", "NEU")):
        status, out, _ = type_in(*words, "--json")
        assert (status, json.loads(out)["in_force"]) == (0, True)
    status, out, _ = type_in("export", "--json")
    assert "neu" in json.loads(out)["companies"]
    status, out, _ = type_in("merge", "neu", "acme", "--json")
    assert json.loads(out)["items"] == 2
