"""`smsfilter demo` as people run it: what it shows, what it promises, and that nothing stays.

Each run is a process of its own with a directory for its temporary files, so that what it leaves
is found. A broken promise is made with the demo's own parts: a proxy whose policy only watches.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import pty
import re
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from smsfilter.cli.demo import senders
from smsfilter.cli.demo.program import STOP_TIMEOUT_S
from smsfilter.cli.demo.senders import REPORTER
from smsfilter.cli.demo.show import LAST_WORDS_S, show
from smsfilter.cli.demo.site import Site
from smsfilter.cli.main import main
from tests.fakes.changes import TIMEOUT_S, Changes
from tests.fakes.daemon import ROOT, START_TIMEOUT_S
from tests.fakes.process import Program, wait_until

pytestmark = [pytest.mark.system, pytest.mark.redis]

RUN_S = 45.0
"""Far more than the seconds asked for, on cores that others use too."""


class Demo:
    """A run of `smsfilter demo`, heard line by line."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.lines: list[str] = []
        self.changes = Changes()
        self.program = Program(self.changes, self.lines.append)
        self.env = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(directory)}
        self.env["SMSFILTER_LOGIN"] = str(directory / "login")
        self.env.pop("PYTHONWARNINGS", None)

    async def start(self, *arguments: str) -> None:
        """Start it."""
        command = (sys.executable, "-m", "smsfilter", "demo", *arguments)
        await self.program.start(command, env=self.env, cwd=self.directory)

    async def line(self, start: str, *, since: int = 0) -> int:
        """Wait for a line that begins so, and give its place."""
        return await self._place(lambda line: line.startswith(start), start, since)

    async def said(self, words: str, *, since: int = 0) -> int:
        """Wait for a line that has these words, and give its place."""
        return await self._place(lambda line: words in line, words, since)

    async def _place(self, fits: Callable[[str], bool], what: str, since: int) -> int:
        def places() -> list[int]:
            found = [at for at, line in enumerate(self.lines) if fits(line)]
            assert found or self.program.exit_status is None, self.program.stderr
            return [at for at in found if at >= since]

        return (await self.changes.until(places, f"a line with {what}", START_TIMEOUT_S))[0]

    async def end(self) -> int:
        """Wait for its end; its exit status."""
        return await self.program.wait_exit(RUN_S)

    async def shell(self, command: str) -> tuple[int | None, str]:
        """Run a line that it printed, from another directory; exit status and output."""
        process = await asyncio.create_subprocess_shell(
            command,
            env=self.env,
            cwd="/",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await process.communicate()
        return process.returncode, out.decode()

    def pid(self, program: str) -> int:
        """The process of its proxy or of its desk."""
        (found,) = (
            int(process)
            for process in _processes(str(self.directory))
            if f"\0smsfilter\0{program}\0-c\0" in Path(f"/proc/{process}/cmdline").read_text()
        )
        return found

    def wait_files(self) -> None:
        """Wait until it has begun to set things up."""
        wait_until(lambda: any(self.directory.glob("*/store")), "a directory", START_TIMEOUT_S)

    def wait_no_process(self) -> None:
        """Wait until the kernel has ended all that belonged to it."""
        wait_until(lambda: not _processes(str(self.directory)), "the end of all", TIMEOUT_S)

    def clear(self) -> None:
        """Remove its files."""
        for path in self.directory.iterdir():
            shutil.rmtree(path)

    def left(self) -> list[str]:
        """Files and processes that are still there."""
        return [*map(str, self.directory.iterdir()), *_processes(str(self.directory))]


def _processes(word: str) -> list[str]:
    """Processes that have `word` in their command line or environment, but for this one."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            told = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:  # another user's, or gone
            continue
        if word.encode() in told and int(process.name) != os.getpid():
            found.append(process.name)
    return found


@pytest.fixture
def folder() -> Iterator[Path]:
    """A place for its files whose name is short: the desk has a socket there (unix(7))."""
    with tempfile.TemporaryDirectory(prefix="smsfilter-test-") as name:
        yield Path(name)


@pytest.fixture
async def demo(folder: Path) -> AsyncIterator[Demo]:
    """A demo that leaves nothing behind."""
    demo = Demo(folder)
    yield demo
    await demo.program.close()
    assert not demo.left()


async def test_the_demo_in_plain_lines(demo: Demo) -> None:
    await demo.start("--seconds", "3")
    assert await demo.end() == 0, demo.lines
    assert demo.program.stderr == []
    out = "\n".join(demo.lines)
    assert "\x1b" not in out
    assert REPORTER not in out
    assert demo.lines[0].startswith("smsfilter demo: senders → smsfilter proxy 127.0.0.1:")
    assert len(re.findall("^138....8000 has reported Acme to 10086999", out, re.M)) == 1
    assert len(re.findall("^138....8000 has taken the report back", out, re.M)) == 1
    told = re.findall(r"the handset of 138\*{4}8000, (.*)", out)
    assert [line.partition(":")[0] for line in told] == [
        "from 1065755501",
        "to 10086999",
        "from 10086999",
        "from 10086999",
        "to 10086999",
        "from 10086999",
    ]
    spam, report, answer, result, withdrawal, _ = (line.partition(": ")[2] for line in told)
    assert re.fullmatch(r"Report \d+ has been looked into: it was spam\. If .*", result)
    assert len(re.findall(r"The clerk decides case 1: upheld \(sent_by_company: rec", out)) == 1
    assert report == f"1065755501*{spam}"
    assert answer.endswith(withdrawal), "the customer does what the answer says"
    account = re.search(r"^ok +sent = forwarded \+ refused +(\d+) = (\d+) \+ (\d+)", out, re.M)
    assert account is not None
    sent, forwarded, refused = map(int, account.groups())
    assert sent == forwarded + refused
    assert min(forwarded, refused) > 0
    assert re.search(
        r"^ok +Acme to 138\*{4}8000: 3 roads closed +\d+ sent after .*, 0 arr", out, re.M
    )
    assert re.search(r"^ok +each text to .* +2 sent, 2 taken, 2 answers", out, re.M)
    assert re.search(r"^ok +a clerk has answered .* +1 decided, 1 told by SMS after \d", out, re.M)
    assert re.search(r"^ok +the proxy's records prove the block +.*: PROVEN:", out, re.M)
    assert re.search(r"^ok +the exported ledger verifies +ok: every record in the file", out, re.M)
    assert re.search(r"^ok +with one byte changed it does not +bad: seq \d+: edited", out, re.M)
    assert len(re.findall("^ok ", out, re.M)) == 12
    assert "account=" in demo.lines[-1]
    assert "reason=blocked_by_report" in demo.lines[-1]


async def test_the_demo_as_json(demo: Demo) -> None:
    await demo.start("--seconds", "2", "--json")
    assert await demo.end() == 0, demo.lines
    said = json.loads("\n".join(demo.lines))
    assert said["held"] is True
    assert said["sent"] == said["forwarded"] + said["refused"]
    closed = [road for road in said["roads"] if road["accused"] and road["to_reporter"]]
    assert len(closed) == 3
    counts = [road["counts"] for road in closed]
    assert all(each["before"]["forwarded"] and each["after"]["sent"] for each in counts)
    assert not any(each["after"]["forwarded"] for each in counts)
    assert all(each["again"]["forwarded"] for each in counts)
    others = [road for road in said["roads"] if road["approved"] and road not in closed]
    assert len(others) == 5
    after = [road["counts"]["after"] for road in others]
    assert not any(each["refused"] - each["put_off"] for each in after)


async def test_the_demo_in_a_terminal(demo: Demo) -> None:
    status, out = await asyncio.to_thread(in_terminal, demo, "--seconds", "2")
    assert status == 0, out
    assert out.count("own account acme") > 5, "drawn again and again"
    assert out.rindex("\x1b[?25h") > out.rindex("\x1b[?25l"), "the cursor is back"
    assert "Counted at the senders and at the simulated SMSC" in out


def in_terminal(demo: Demo, *arguments: str) -> tuple[int, str]:
    """Run a demo in a terminal of 80 columns; exit status and all that was drawn."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 80, 0, 0))
    command = (sys.executable, "-m", "smsfilter", "demo", *arguments)
    env = {**demo.env, "TERM": "xterm-256color"}
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env) as process:
        os.close(theirs)
        out = b""
        with contextlib.suppress(OSError):  # EIO: nobody has the other end any more
            while True:
                out += os.read(ours, 1 << 16)
        os.close(ours)
    return process.returncode, out.decode()


async def test_what_serve_prints_does_what_it_says(demo: Demo) -> None:
    await demo.start("--serve", "--port", "0")
    up = await demo.line("What happens from now on")

    def printed(start: str) -> str:
        """The command behind a heading: on its line, else on the next."""
        (at,) = (at for at, line in enumerate(demo.lines) if line.startswith(start))
        on_line = demo.lines[at].partition(":  ")[2].strip()
        return on_line or demo.lines[at + 1].strip()

    send, report = printed("1. Send a message"), printed("2. The customer, a handset")
    assert await demo.shell(send) == (0, "command_status 0x00\n")
    passed = await demo.line("", since=up + 2)
    assert "  forwarded  account acme, from 1065755501 to 138****8000" in demo.lines[passed]

    assert await demo.shell(report) == (0, "command_status 0x00\n")
    answered = await demo.said("  answered   138****8000: Report ", since=passed)
    assert "  texted     138****8000 to 10086999: 1065755501*Hello" in demo.lines[answered - 1]
    assert await demo.shell(send) == (0, "command_status 0x66\n")
    refused = await demo.said("  refused    account acme", since=answered)
    assert demo.lines[refused].endswith(": blocked_by_report, 0x66 ESME_RX_R_APPN")

    status, why = await demo.shell(printed("3. Send again"))
    assert status == 1
    assert why.startswith("would be refused: blocked_by_report")
    status, top = await demo.shell(printed("To watch the proxy") + " --json")
    assert status == 0
    assert "blocked_by_report" in top
    status, _ = await demo.shell(printed("To change policy.yaml"))
    assert status == 0

    (at,) = (at for at, line in enumerate(demo.lines) if line.startswith("4. A clerk looks"))
    password = demo.lines[at].partition("in this demo is: ")[2]
    login, following, take, decide = demo.lines[at + 1 : at + 5]
    status, said = await demo.shell(f"echo {shlex.quote(password)} | {login}")
    assert (status, said.startswith("wang.fang is logged in until ")) == (0, True), said
    status, said = await demo.shell(following)
    assert (status, "suggested: upheld, by the rule sent_by_company" in said) == (0, True), said
    for step in (take, decide):
        status, said = await demo.shell(step)
        assert status == 0, said
    told = await demo.said("has been looked into: it was spam", since=refused)
    assert "  answered   138****8000: Report " in demo.lines[told]

    assert (await demo.shell(printed("5. The customer takes")))[0] == 0
    await demo.said("is taken back", since=told)
    assert await demo.shell(send) == (0, "command_status 0x00\n")
    await demo.said("  forwarded  ", since=refused)
    login = printed("Headquarters (li.wei, zhao.lei)")
    assert (await demo.shell(f"echo {shlex.quote(password)} | {login}"))[0] == 0
    status, shown = await demo.shell(printed("To read what was done"))
    assert (status, REPORTER in shown) == (0, False)
    assert "report taken" in shown
    status, verdict = await demo.shell(printed("To prove that it was"))
    assert status == 0, verdict
    assert "ok: every record" in verdict
    status, today = await demo.shell(printed("To see the day"))
    assert status == 0, today
    assert (await demo.shell(printed("To log out")))[0] == 0
    assert not (demo.directory / "login").exists()
    demo.program.signal(signal.SIGINT)
    assert await demo.end() == 0
    assert demo.program.stderr == []


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_demo_that_is_cut_short_clears_up(demo: Demo, signum: signal.Signals) -> None:
    await demo.start("--seconds", "60")
    await demo.line("0:00")
    demo.program.signal(signum)
    assert await demo.end() == 130
    assert demo.program.stderr == []


async def test_a_demo_that_is_cut_short_while_it_starts_clears_up(demo: Demo) -> None:
    await demo.start("--seconds", "60")
    await asyncio.to_thread(demo.wait_files)
    demo.program.signal(signal.SIGINT)
    assert await demo.end() == 130
    assert demo.program.stderr == []


@pytest.mark.parametrize(
    ("arguments", "program"),
    [(("--seconds", "60"), "proxy"), (("--serve", "--port", "0"), "desk")],
)
async def test_a_program_that_is_killed_ends_the_demo(
    demo: Demo, arguments: tuple[str, ...], program: str
) -> None:
    await demo.start(*arguments)
    await demo.line("What happens" if "--serve" in arguments else "0:00")
    os.kill(demo.pid(program), signal.SIGKILL)
    assert await demo.end() == 1
    assert demo.program.stderr == [f"smsfilter demo: the {program} has ended: killed by signal 9"]


@pytest.mark.slow
async def test_programs_that_hang_are_ended_by_force(demo: Demo) -> None:
    await demo.start("--serve", "--port", "0")
    await demo.line("What happens from now on")
    for program in ("proxy", "desk"):
        os.kill(demo.pid(program), signal.SIGSTOP)
    demo.program.signal(signal.SIGINT)
    assert await demo.end() == 0
    assert demo.program.stderr == []


@pytest.mark.slow
async def test_a_desk_that_takes_no_report_ends_the_demo(demo: Demo) -> None:
    await demo.start("--seconds", "5")
    await demo.line("0:00")
    os.kill(demo.pid("desk"), signal.SIGSTOP)
    assert await demo.end() == 1
    assert demo.program.stderr == ["smsfilter demo: 10086999 has taken no text in 15 s"]


@pytest.mark.slow
async def test_a_proxy_that_says_nothing_ends_the_demo(demo: Demo) -> None:
    await demo.start("--seconds", "60")
    await demo.line("0:00")
    os.kill(demo.pid("proxy"), signal.SIGSTOP)
    assert await demo.end() == 1
    [line] = demo.program.stderr
    assert re.fullmatch(r"smsfilter demo: account \w+: no answer in 5 s", line)


def test_the_end_of_a_demo_whose_proxy_says_nothing_is_near() -> None:
    assert senders.ANSWER_S + LAST_WORDS_S + STOP_TIMEOUT_S < 10


async def test_a_demo_that_is_killed_takes_its_processes_along(demo: Demo) -> None:
    await demo.start("--serve", "--port", "0")
    await demo.line("What happens from now on")
    assert _processes(str(demo.directory))
    demo.program.signal(signal.SIGKILL)
    assert await demo.end() == -signal.SIGKILL
    await asyncio.to_thread(demo.wait_no_process)
    demo.clear()  # nobody was left to do it


async def test_a_port_that_is_taken_is_a_line(demo: Demo) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        await demo.start("--serve", "--port", str(port))
        assert await demo.end() == 1
    (line,) = demo.program.stderr
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in line


class Watching(Site):
    """A site whose proxy refuses nothing: its policy is in shadow mode."""

    def _write_files(self, redis_url: str) -> None:
        super()._write_files(redis_url)
        policy = self.policy_file.read_text().replace("mode: enforce", "mode: shadow", 1)
        self.policy_file.write_text(policy)


async def test_a_broken_promise_is_exit_status_1(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    async with Watching(0) as site:
        assert await show(site, 2.0, as_json=False) == 1
    out = capsys.readouterr().out
    assert re.search(r"^ok +sent = forwarded \+ refused", out, re.M)
    assert re.search(r"^BROKEN +Acme to 138\*{4}8000: 3 roads closed", out, re.M)
    assert re.search(r"^BROKEN +Corner Shop, not approved: closed", out, re.M)
    assert re.search(r"^ok +Bravo Bank: open", out, re.M)
    assert Demo(folder).left() == []


@pytest.mark.parametrize(
    "arguments",
    ["--seconds 0", "--seconds 1e9", "--seconds nan", "--port http", "--port 65536", "--port -1"],
)
def test_what_cannot_be_asked_for(arguments: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["demo", *shlex.split(arguments)])
    assert ended.value.code == 2
    assert arguments.split(maxsplit=1)[0] in capsys.readouterr().err


def test_serve_has_no_summary(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--serve", "--json"]) == 2
    assert capsys.readouterr().err == "smsfilter demo: --json has nothing to say with --serve\n"
