"""`smsfilter block proof` where no proof comes about: never the status that says "forwarded"."""

import io
from pathlib import Path

import pytest

from smsfilter.cli.main import main

CONFIG = (
    "proxy: {listen: '127.0.0.1:1', smsc: '127.0.0.1:2'}\nredis: {url: 'redis://127.0.0.1:1/0'}\n"
)


@pytest.fixture
def config(tmp_path: Path) -> str:
    (tmp_path / "policy.yaml").write_text("version: 1\n")
    path = tmp_path / "smsfilter.yaml"
    path.write_text(f"{CONFIG}state_dir: {tmp_path}\n")
    return str(path)


def test_without_a_desk_nothing_is_proven(config, capsys):
    assert main(["block", "proof", "block:7", "-c", config]) == 3
    assert "no desk answers" in capsys.readouterr().err


def test_without_a_configuration_nothing_is_proven(tmp_path, capsys):
    assert main(["block", "proof", "7", "-c", str(tmp_path / "none.yaml")]) == 3
    assert "none.yaml" in capsys.readouterr().err


@pytest.mark.parametrize("source", ["13900139000", "+8613900139000"])
def test_a_person_s_number_is_no_argument(config, capsys, monkeypatch, source):
    monkeypatch.setattr("sys.stdin", io.StringIO("13800138000\n"))
    assert main(["block", "proof", "--source", source, "-c", config]) == 2
    said = capsys.readouterr().err
    assert "--source -" in said
    assert "139001" not in said


@pytest.mark.parametrize("line", ["13800138000\n", "\n", ""])
def test_source_and_number_stand_on_one_line(config, capsys, monkeypatch, line):
    monkeypatch.setattr("sys.stdin", io.StringIO(line))
    assert main(["block", "proof", "--source", "-", "-c", config]) == 2
    assert "a blank, and the source" in capsys.readouterr().err
