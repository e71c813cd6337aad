"""`smsfilter report` and `smsfilter block`, as an operator types them, against a running desk.

The desk runs as its unit file has it run: without memory that is both written and executed.
"""

import contextlib
import io
import json
import re
import shutil
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from smsfilter.cli.main import main
from smsfilter.cli.saying import progress, say_force
from tests.fakes import people
from tests.fakes.daemon import ROOT
from tests.fakes.desk import Desk
from tests.fakes.redis_server import RedisServer
from tests.fakes.registry import REGISTRY
from tests.fakes.site import Site
from tests.fakes.smsc import FakeSMSC

pytestmark = [pytest.mark.system, pytest.mark.redis]
on_its_loop = pytest.mark.asyncio(loop_scope="module")

Said = tuple[int, str, str]
TEXT = "您中奖了，请点击链接"
PR_SET_MDWE, REFUSE_EXEC_GAIN = 65, 1
"""Of prctl(2), from Linux 6.3 on: an older kernel refuses, and the desk runs without the fence."""
FENCED = (
    "import ctypes, os, sys;"
    f" ctypes.CDLL(None).prctl({PR_SET_MDWE}, {REFUSE_EXEC_GAIN}, 0, 0, 0);"
    " os.execv(sys.argv[1], sys.argv[1:])"
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def desk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    """A desk that the tests of this file share; each has customers of its own."""
    async with contextlib.AsyncExitStack() as stack:
        server = RedisServer.started()
        stack.callback(server.close)
        smsc = await FakeSMSC.start()
        stack.push_async_callback(smsc.stop)
        folder = tmp_path_factory.mktemp("desk")
        site = Site(folder / "site", server, smsc, registry=None, index_ready=False)
        await site.fill()
        replies = folder / "replies.yaml"
        shutil.copy(ROOT / "config" / "replies.yaml", replies)
        desk = Desk(site, over={"desk": {"replies": str(replies)}})
        stack.push_async_callback(desk.close)
        await desk.init()
        await desk.load_companies(REGISTRY)
        desk.wrapper = (sys.executable, "-c", FENCED)
        await desk.start()
        yield desk


@pytest.fixture
def type_in(
    desk: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Said]:
    """Types a command, gives exit status, standard output and standard error."""

    def run(*words: str, stdin: str = "", terminal: bool = False, by: str = people.DEFAULT) -> Said:
        stream = io.StringIO(stdin)
        monkeypatch.setattr(stream, "isatty", lambda: terminal, raising=False)
        monkeypatch.setattr("sys.stdin", stream)
        monkeypatch.setenv("COLUMNS", "160")
        for name, value in desk.login(by).items():
            monkeypatch.setenv(name, value)
        try:
            status = main([*words, "-c", str(desk.config_path)])
        except SystemExit as usage:
            status = int(usage.code or 0)
        out, err = capsys.readouterr()
        return status, out, err

    return run


def blocked(desk: Desk, number: str) -> set[str]:
    members: set[bytes] = desk.site.server.client().smembers(f"block:{{86{number}}}")  # type: ignore[assignment]
    return {each.decode() for each in members}


def number_in(said: str) -> str:
    """The number of the release that was asked for."""
    found = re.search(r"release (\d+)", said)
    assert found is not None, said
    return found[1]


# reports


def test_a_report_from_a_line_and_what_is_shown_of_it(desk, type_in):
    status, out, err = type_in("report", "add", stdin=f"13800138001 10657555*{TEXT}\n")
    assert (status, err) == (0, "")
    number = re.match(r"report (\d+): blocked, company acme\nin force\n$", out)[1]
    assert blocked(desk, "13800138001") == {"acme"}
    status, out, _ = type_in("report", "list")
    assert status == 0
    assert number in out
    assert "138****8001" in out
    assert "acme" in out
    assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d{4}", out)
    _, out, _ = type_in("report", "show", number)
    assert f"report {number} (report:" in out
    assert "report taken" in out
    assert TEXT not in out
    _, out, _ = type_in("report", "show", number, "--purpose", "customer asks", "--json")
    assert json.loads(out)["text"] == TEXT


def test_what_a_customer_wrote_does_nothing_to_the_terminal(type_in):
    hostile = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202egnp.exe\r\nreport 101: withdrawn"
    entry = {"customer": "13800138077", "source": "10657555", "text": hostile}
    _, out, _ = type_in("report", "add", "--json", stdin=json.dumps(entry) + "\n")
    number = str(json.loads(out)["number"])
    _, shown, _ = type_in("report", "show", number, "--purpose", "a look\x1b[31m")
    _, ledger, _ = type_in("audit", "show", "--last", "5")
    for out in (shown, ledger):
        assert all(char.isprintable() or char in "\n\N{IDEOGRAPHIC SPACE}" for char in out)
    assert "gnp.exe" in shown
    assert "a look" in ledger
    assert "report 101: withdrawn" not in [line.rstrip() for line in shown.splitlines()]


def test_a_report_as_asked_on_a_terminal(desk, type_in):
    status, out, err = type_in(
        "report", "add", stdin=f"13800138002\n10658888\n{TEXT}\n\n", terminal=True
    )
    assert status == 0
    assert "the customer's number:" in err
    assert "company bravo" in out
    assert blocked(desk, "13800138002") == {"bravo"}


def test_reports_as_json_and_a_copy(type_in):
    line = json.dumps({"customer": "13800138003", "source": "某公司", "text": TEXT})
    status, out, _ = type_in("report", "add", "--json", stdin=f"{line}\n{line}\n")
    first, second = map(json.loads, out.splitlines())
    assert (status, first["company"], first["copy"], second["copy"]) == (0, "acme", False, True)
    assert first["id"] == second["id"]


@pytest.mark.parametrize(
    ("stdin", "problem"),
    [
        ("", "no report was given"),
        ("13800138000\n{\n", "line 1: not CUSTOMER SOURCE*TEXT\nline 2: not JSON"),
        ("10086 10657555*x", "customer: not a number of a customer"),
        ('{"customer": 1}', "customer: Input should be a valid string"),
    ],
)
def test_what_is_no_report(type_in, stdin, problem):
    status, out, err = type_in("report", "add", stdin=stdin)
    assert (status, out) == (1, "")
    assert problem in err


@pytest.mark.parametrize(
    "words", [("show", "19"), ("show", "x"), ("list", "--since", "today"), ("list", "--limit", "0")]
)
def test_a_slip_is_a_usage_error(type_in, words):
    assert type_in("report", *words)[0] == 2


def test_a_report_that_is_not_there(type_in):
    status, out, err = type_in("report", "show", "report:9999")
    assert (status, out, err) == (1, "", "smsfilter: there is no report 9999\n")


def test_a_person_decides(desk, type_in):
    _, out, _ = type_in("report", "add", "--json", stdin=f"13800138004 10691234*{TEXT}")
    report = json.loads(out)
    assert report["outcome"] == "unmatched"
    listed = type_in("report", "list", "--state", "unmatched", "--since", "2026-01-01", "--json")[1]
    assert report["id"] in [json.loads(line)["id"] for line in listed.splitlines()]
    status, out, _ = type_in("report", "resolve", report["number"], "--company", "charlie")
    assert status == 0
    assert out.startswith("company charlie is blocked (block ")
    assert blocked(desk, "13800138004") == {"charlie"}
    status, _, err = type_in("report", "resolve", report["number"], "--company", "acme")
    assert (status, "nothing to be decided" in err) == (1, True)


# files


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "reports.csv"


def test_a_file_is_imported_once(desk, type_in, file):
    rows = [f'1370013700{n},10657555,"{TEXT}, {n}",2026-01-01 08:00' for n in range(3)]
    content = "\n".join(["customer,source,text,received_at", *rows, rows[0], ""])
    file.write_bytes(content.encode("gb18030"))
    status, out, err = type_in("report", "import", str(file), "--dry-run")
    assert (status, err) == (0, "")
    assert out == "4 rows: 3 would be new (3 blocked), 1 taken in before\n"
    assert blocked(desk, "13700137000") == set()
    status, out, err = type_in("report", "import", str(file))
    assert (status, err) == (0, "")
    assert out == "4 rows: 3 new (3 blocked), 1 taken in before\nin force\n"
    assert blocked(desk, "13700137000") == {"acme"}
    status, out, _ = type_in("report", "import", str(file))
    assert (status, out) == (0, "4 rows: 0 new, 4 taken in before\nnothing was changed\n")
    _, out, _ = type_in("report", "import", str(file), "--json")
    assert json.loads(out) == {
        "rows": 4,
        "new": 0,
        "known": 4,
        "failed": 0,
        "outcomes": {},
        "dry_run": False,
        "in_force": True,
    }


@pytest.mark.parametrize(
    ("content", "problems"),
    [
        ("customer,text\n", ["1: no column source; the first line names customer, source, text"]),
        ("customer,source,text\n1,2\n", ["2: 2 columns, not 3"]),
        (
            "customer,source,text,received_at\n"
            "x,10657555,a,\n13700137000,1,b,\n13700137000,10657555,c,noon\n,10657555,d,\n",
            [
                "2: customer: not",
                "3: source: not",
                "4: received_at: not",
                "5: customer: is missing",
            ],
        ),
    ],
)
def test_all_that_is_wrong_with_a_file_is_said_by_line(type_in, file, content, problems):
    file.write_text(content)
    status, out, err = type_in("report", "import", str(file))
    assert (status, out) == (1, "")
    assert len(err.splitlines()) == len(problems)
    for line, problem in zip(err.splitlines(), problems, strict=True):
        assert line.startswith(f"{file}:{problem}")


def test_a_file_that_is_not_there(type_in, file):
    status, _, err = type_in("report", "import", str(file))
    assert (status, err) == (1, f"{file}: No such file or directory\n")


# blocks


def test_blocks_by_hand(desk, type_in):
    words = ("block", "add", "--company", "acme", "--reason", "by letter")
    status, out, _ = type_in(*words, stdin="13600136000\n+86 136 0013 6001\n")
    ids = re.findall(r"block (\d+)\nin force\n", out)
    assert (status, len(ids)) == (0, 2)
    assert blocked(desk, "13600136001") == {"acme"}
    assert "it was there before" in type_in(*words, stdin="13600136000")[1]
    _, out, _ = type_in("block", "list", "--of", "-", stdin="13600136001")
    assert "136****6001" in out
    assert "136****6000" not in out
    _, out, _ = type_in("block", "list", "--company", "acme", "--json")
    assert ids[1] in [str(json.loads(line)["id"]) for line in out.splitlines()]
    status, out, _ = type_in("block", "remove", ids[1], "--reason", "consent")
    assert (status, out.splitlines()[-1]) == (0, f"  smsfilter release grant {number_in(out)}")
    assert "another person" in type_in("release", "grant", number_in(out))[2]
    done = type_in("release", "grant", number_in(out), by=people.OTHER)
    assert done == (0, f"release {number_in(out)} is done\nin force\n", "")
    assert blocked(desk, "13600136001") == set()
    assert "had ended before" in type_in("block", "remove", ids[1], "--reason", "consent")[1]
    _, out, _ = type_in("block", "show", ids[1])
    assert "acme may not reach 136****6001" in out
    assert "block added" in out
    assert "block removed" in out
    _, out, _ = type_in("block", "list", "--state", "ended", "--limit", "1", "--json")
    assert json.loads(out)["end_reason"] == "consent"


def test_sources_of_services_and_of_people(desk, type_in):
    assert type_in("block", "add", "--source", "1069-1234", stdin="13600136002")[0] == 0
    status, _, err = type_in("block", "add", "--source", "13900139000", stdin="13600136002")
    assert (status, "write --source -" in err) == (1, True)
    assert type_in("block", "add", "--source", "-", stdin="13600136002 13900139000")[0] == 0
    assert type_in("block", "add", "--everybody", stdin="13600136002")[0] == 0
    assert blocked(desk, "13600136002") == {"source:10691234", "source:13900139000", "*"}
    assert type_in("block", "add", stdin="13600136002")[0] == 2
    assert type_in("block", "add", "--everybody")[0] == 1


def recycled(type_in: Callable[..., Said], file: Path) -> Said:
    """What the second person is told of a file that the first one asked for."""
    status, asked, err = type_in("block", "recycle", str(file))
    assert (status, err) == (0, "")
    status, out, err = type_in("release", "grant", number_in(asked), by=people.OTHER)
    assert out.startswith(f"release {number_in(asked)} is done\n")
    return status, out.partition("\n")[2], err


def test_recycled_numbers(desk, type_in, tmp_path):
    file = tmp_path / "recycled.csv"
    file.write_text("customer,recycled_at\n13500135000,\n13500135001,2020-01-01\n13500135002,\n")
    type_in("block", "add", "--company", "acme", stdin="13500135000\n13500135001\n")
    assert recycled(type_in, file) == (
        0,
        "3 numbers: 1 recycled, 1 blocks ended, 1 without anything, 1 newer\nin force\n",
        "",
    )
    assert blocked(desk, "13500135000") == set()
    assert "0 recycled" in recycled(type_in, file)[1]
    type_in("block", "add", "--company", "acme", stdin="13500135000")
    status, _, err = recycled(type_in, file)
    assert (status, "row 1: recycled before" in err) == (1, True)
    assert blocked(desk, "13500135000") == {"acme"}
    file.write_text("customer\nx\n")
    assert type_in("block", "recycle", str(file))[2].startswith(f"{file}:2: customer: not")


def test_blocks_that_an_operator_put_there(desk, type_in):
    desk.site.server.client().sadd("block:{8613400134000}", "bravo")
    _, out, _ = type_in("block", "adopt")
    assert "did not put there: 1\n  134****4000 bravo\n" in out
    status, out, _ = type_in("block", "adopt", "--all")
    assert (status, out) == (0, "blocks adopted: 1\nin force\n")
    assert type_in("block", "adopt", "--json")[1] == '{"unknown": 0, "first": []}\n'


# the program


@contextlib.contextmanager
def process_lists() -> Iterator[set[bytes]]:
    """Collect what every user of the machine could see meanwhile."""
    seen: set[bytes] = set()
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    seen.add(path.read_bytes())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


@on_its_loop
async def test_a_number_is_nowhere_to_be_seen(desk):
    number = "13312345678"
    with process_lists() as seen:
        await desk.ran("report", "add", stdin=f"{number} 10657555*{TEXT}")
        await desk.ran("block", "list", "--of", "-", stdin=number)
    assert any(b"report\0add" in line for line in seen)
    assert not any(number.encode() in line for line in seen)
    log = json.dumps([*desk.log, *desk.stderr], ensure_ascii=False)
    assert number not in log
    assert TEXT not in log


@on_its_loop
async def test_replies_are_read_anew(desk):
    """Those of a bad file are not, and the desk goes on with what it has."""
    replies = desk.site.directory.parent / "replies.yaml"
    for content, event in (
        ("blocked: Thank you, {id}\n", "config_reloaded"),
        ("blocked: ''\n", "config_rejected"),
    ):
        replies.write_text(content)
        since = len(desk.log)
        desk.signal(signal.SIGHUP)
        await desk.wait_for_log(event, since=since)
    handset = desk.handsets["8613312345679"]
    await desk.ran("report", "add", stdin=f"13312345679 10657555*{TEXT}")
    (answer,) = await handset.wait_for_sms()
    assert answer.startswith("Thank you, ")


def test_no_desk_is_said_in_a_line(type_in, tmp_path, monkeypatch):
    monkeypatch.setenv("SMSFILTER__STATE_DIR", str(tmp_path))
    status, out, err = type_in("report", "list")
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert err.startswith(f"smsfilter: no desk answers at {tmp_path}/desk.sock: start it with")


def test_what_is_not_in_force_is_said(capsys):
    say_force({"in_force": False, "why": "connection refused"})
    assert capsys.readouterr().err == (
        "warning: on record, and not in force yet: connection refused\n"
        "  cure: the desk goes on trying\n"
    )


def test_a_terminal_has_a_bar(monkeypatch):
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with progress(3, "reports") as move:
        move(3)
    assert "3/3" in terminal.getvalue()
