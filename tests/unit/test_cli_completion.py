"""Shell completion, as a shell does it."""

import subprocess
from pathlib import Path
from shutil import which

import pytest

from smsfilter.cli.main import COMMANDS, main

ASK = """
source {script}
COMP_WORDS=({words}) COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_shtab_smsfilter smsfilter "${{COMP_WORDS[COMP_CWORD]}}" "${{COMP_WORDS[COMP_CWORD-1]}}" 2>&1
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture
def bash(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Asks bash what it would complete the last of these words to."""
    assert main(["completion", "bash"]) == 0
    (tmp_path / "script").write_text(capsys.readouterr().out)

    def complete(*words: str) -> set[str]:
        quoted = " ".join(f"'{word}'" for word in ("smsfilter", *words))
        asked = ASK.format(script=tmp_path / "script", words=quoted)
        done = subprocess.run(
            ["bash", "--norc", "-c", asked],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        return set(done.stdout.split())

    return complete


def test_commands(bash):
    commands = set(COMMANDS)
    assert commands <= bash("") | {"run"}
    assert bash("comp") == {"company", "completion"}


def test_actions_and_their_options(bash):
    assert {"list", "show", "add", "import"} <= bash("report", "")
    assert bash("report", "sh") == {"show"}
    assert {"--json", "--limit", "--state"} <= bash("report", "list", "--")
    assert bash("report", "list", "--js") == {"--json"}


def test_values_of_which_there_are_few(bash):
    assert bash("completion", "") == {"bash", "zsh"}
    assert "consent" in bash("block", "remove", "--reason", "")


def test_files(bash, tmp_path: Path):
    (tmp_path / "reports.csv").touch()
    assert "reports.csv" in bash("report", "import", "rep")
    assert "reports.csv" in bash("report", "list", "-c", "rep")


def test_zsh(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    assert main(["completion", "zsh"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("#compdef smsfilter")
    if zsh := which("zsh"):
        (tmp_path / "_smsfilter").write_text(said)
        subprocess.run([zsh, "-n", str(tmp_path / "_smsfilter")], check=True)
