"""The command: exit statuses, light start, and the subcommands schema and reload."""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from smsfilter import __version__
from smsfilter.cli import main as command
from smsfilter.cli.main import main
from smsfilter.cli.reload import running_proxy
from smsfilter.cli.schema import schema
from smsfilter.config import Config, ConfigError, Place
from smsfilter.reports.replies import Replies
from smsfilter.rules.policy import Policy

ROOT = Path(__file__).parents[2]


def python(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def output(*arguments: str) -> tuple[int, str, str]:
    with python(*arguments) as process:
        out, err = process.communicate()
    return process.returncode, out, err


def running(run: Callable[[argparse.Namespace], int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `smsfilter` a command that only calls `run`."""
    parser = argparse.ArgumentParser()
    parser.set_defaults(run=run)
    monkeypatch.setattr(command, "parser", lambda: parser)


def test_version() -> None:
    assert output("-m", "smsfilter", "--version") == (0, f"smsfilter {__version__}\n", "")


def test_help_needs_none_of_the_heavy_libraries() -> None:
    heavy = "pydantic yaml redis structlog prometheus_client uvloop rich msgspec"
    script = (
        "import sys, smsfilter.cli.main as m\n"
        "try: m.main(['--help'])\n"
        "except SystemExit: pass\n"
        f"print(*set('{heavy}'.split()) & set(sys.modules), file=sys.stderr)"
    )

    status, out, err = output("-c", script)

    assert (status, err) == (0, "\n")
    assert re.search(r"^    check +say what is wrong", out, re.M)


def test_the_status_is_the_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    for said, status in ((0, 0), (1, 1), (None, 0)):
        running(lambda _args, said=said: said, monkeypatch)
        assert main([]) == status


def test_an_interrupt_is_quiet(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_args: argparse.Namespace) -> int:
        raise KeyboardInterrupt

    running(interrupted, monkeypatch)

    assert main([]) == 130
    assert capsys.readouterr() == ("", "")


def test_an_error_in_a_file_is_a_line_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def mistaken(_args: argparse.Namespace) -> int:
        raise ConfigError.at(Place("policy.yaml", 3, 7), "unknown key 'x'")

    running(mistaken, monkeypatch)

    assert main([]) == 1
    assert capsys.readouterr() == ("", "policy.yaml:3:7: unknown key 'x'\n")


def test_an_error_in_the_program_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_args: argparse.Namespace) -> int:
        raise ValueError("a bug")

    running(broken, monkeypatch)

    with pytest.raises(ValueError, match="a bug"):
        main([])


def test_a_reader_that_goes_away_is_no_error_to_talk_about() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with subprocess.Popen(
        [sys.executable, "-m", "smsfilter", "schema", "policy"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        os.close(writer)
        _, err = process.communicate()

    assert (process.returncode, err) == (1, "")


# schema


def defaults(node: object) -> Iterator[object]:
    if isinstance(node, dict):
        if "default" in node:
            yield node["default"]
        for value in node.values():
            yield from defaults(value)
    elif isinstance(node, list):
        for value in node:
            yield from defaults(value)


@pytest.mark.parametrize(
    ("file", "model"), [("config", Config), ("policy", Policy), ("replies", Replies)]
)
def test_schemas(file: str, model: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", file]) == 0

    printed = json.loads(capsys.readouterr().out)
    assert printed == schema(file)
    assert set(printed["properties"]) == set(model.model_fields)
    assert not [default for default in defaults(printed) if str(default).startswith("PT")]


def test_the_configuration_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == schema("config")


def test_numbers_are_text_enough_for_editors() -> None:
    properties = schema("policy")["properties"]

    assert properties["version"]["enum"] == ["1", 1]
    assert properties["country_code"]["type"] == ["string", "number"]
    assert properties["mode"]["enum"] == ["enforce", "shadow"]


def test_every_field_of_the_configuration_is_described() -> None:
    found = schema("config")

    undescribed = [
        f"{name}.{field}"
        for name, model in (("Config", found), *found["$defs"].items())
        for one in (model, *model.get("anyOf", ()))
        for field, said in one.get("properties", {}).items()
        if not said.get("description")
    ]
    assert undescribed == []


# reload


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "policy.yaml").write_text("version: 1\n")
    (tmp_path / "smsfilter.yaml").write_text(
        "proxy: {listen: 'h:1', smsc: 'h:2'}\nredis: {url: 'embedded:'}\nstate_dir: .\n"
    )
    return tmp_path


def reload(site: Path) -> int:
    return main(["reload", "-c", str(site / "smsfilter.yaml")])


WAITS = "import signal, sys; print('up', flush=True); print(signal.sigwait([1]).name)"


def test_reload_signals_the_proxy(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocked = f"import signal; signal.pthread_sigmask(0, [1])\n{WAITS}"
    with python("-c", blocked, "smsfilter", "proxy") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        (site / "proxy.pid").write_text(f"{process.pid}\n")

        assert reload(site) == 0

        assert process.communicate()[0] == "SIGHUP\n"
    assert capsys.readouterr().out.startswith(f"process {process.pid} reloads; policy ")


def test_reload_leaves_the_proxy_alone_when_a_file_is_wrong(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (site / "policy.yaml").write_text("mode: of\n")
    (site / "proxy.pid").write_text(f"{os.getpid()}\n")
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("signalled"))

    assert reload(site) == 1
    assert capsys.readouterr().err.startswith(f"{site}/policy.yaml:1:7: 'of' is not allowed")


def test_reload_says_that_it_may_not(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("smsfilter.cli.reload.running_proxy", lambda _file: 77)

    def refuse(pid: int, number: int) -> None:
        assert (pid, number) == (77, signal.SIGHUP)
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)

    assert reload(site) == 1
    assert capsys.readouterr().err == "smsfilter reload: process 77 is another user's: use sudo\n"


def test_no_proxy_is_never_signalled(tmp_path: Path) -> None:
    ended = python("-c", "")
    ended.communicate()
    file = tmp_path / "proxy.pid"
    for content, why in (
        ("", "holds no number of a process"),
        ("1\n", "holds no number of a process"),
        ("-1\n", "holds no number of a process"),
        ("x\n", "holds no number of a process"),
        (f"{os.getpid()}\n", "is no smsfilter proxy: an old pid file"),
        (f"{ended.pid}\n", "is not running"),
    ):
        file.write_text(content)
        with pytest.raises(LookupError, match=why):
            running_proxy(file)
    file.unlink()
    with pytest.raises(LookupError, match="no proxy runs with this configuration"):
        running_proxy(file)
    file.mkdir()
    with pytest.raises(LookupError, match="Is a directory"):
        running_proxy(file)
