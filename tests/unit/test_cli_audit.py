"""`smsfilter audit verify`: exit statuses, what it prints first, and which files it takes."""

import gzip
import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from smsfilter.cli.main import main
from smsfilter.ledger.checkpoint import public_pem
from tests.fakes.ledger import KEY, OTHER_KEY, Book, book, rechain, rewritten, signed

ROOT = Path(__file__).parents[2]
CLEAN = book(12, every=4)
LINES = CLEAN.export()
EDITED = b"".join(LINES).replace(b'\\"object\\":\\"block:7', b'\\"object\\":\\"block:8')
"""The body of seq 7 with another octet in one place."""

Audit = Callable[..., int]


@pytest.fixture
def audit(tmp_path: Path) -> Audit:
    """`smsfilter audit verify` of these octets, with the key, and what else is given."""
    key = tmp_path / "key.pem"
    key.write_text(public_pem(KEY.public_key()))

    def verify(octets: bytes, *more: str) -> int:
        (tmp_path / "export").write_bytes(octets)
        return main(["audit", "verify", str(tmp_path / "export"), "--key", str(key), *more])

    return verify


def test_a_clean_export_is_ok(audit: Audit, capsys: pytest.CaptureFixture[str]):
    assert audit(b"".join(LINES)) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("ok: ")
    records = "seq 1 to 12, entered 2025-11-27T05:38:15.000000Z to 2025-11-27T05:38:26.000000Z"
    assert f"records      12, {records}" in out
    assert "checkpoints  3; witnesses that agree: 0" in out
    assert "proven       up to seq 12" in out
    assert out.index("this cannot show:") < out.index("  - what was never entered")


def test_one_octet_changed_is_bad(audit: Audit, capsys: pytest.CaptureFixture[str]):
    assert audit(EDITED) == 1
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "bad: seq 7: edited"
    assert out[1].startswith("  seen in line 9: ")
    assert "proven       up to seq 4" in out


def test_an_export_that_was_cut_is_bad(audit: Audit, capsys: pytest.CaptureFixture[str]):
    assert audit(b"".join(LINES[:-3])) == 1
    assert capsys.readouterr().out.startswith("bad: seq 12: cut\n")


def test_a_chain_computed_anew_is_bad(audit: Audit, capsys: pytest.CaptureFixture[str]):
    rows = list(CLEAN.rows)
    rows[5] = rewritten(rows[5], object="another")
    forged = Book(rechain(rows, 5), CLEAN.checkpoints)
    assert audit(b"".join(forged.export())) == 1
    assert capsys.readouterr().out.startswith("bad: seq 5 to 8: recomputed\n")


def test_what_no_checkpoint_covers_is_not_proven(
    audit: Audit, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    octets = b"".join(Book(CLEAN.rows, CLEAN.checkpoints[:1]).export())
    assert audit(octets) == 3
    out = capsys.readouterr().out
    assert out.startswith("unproven: ")
    assert "not proven, seq 5 to 12: uncovered: " in out
    witness = tmp_path / "witness"
    witness.write_text(signed(CLEAN.rows, 12))
    assert audit(octets, "--witness", str(witness)) == 0


def test_witnesses_come_from_several_files_of_several(
    audit: Audit, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    for name, seqs in (("one", (2, 3)), ("two", (11,))):
        (tmp_path / name).write_text("".join(signed(CLEAN.rows, seq) for seq in seqs))
    witnesses = ("--witness", str(tmp_path / "one"), "--witness", str(tmp_path / "two"))
    assert audit(b"".join(LINES), *witnesses) == 0
    assert "witnesses that agree: 3\n" in capsys.readouterr().out
    cut = Book(CLEAN.rows[:8], CLEAN.checkpoints[:2])
    assert audit(b"".join(cut.export()), *witnesses) == 1
    assert capsys.readouterr().out.startswith("bad: seq 9 to 11: cut\n")


def test_a_key_for_each_that_signed(
    audit: Audit, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    rotated = [*CLEAN.checkpoints[:2], (12, signed(CLEAN.rows, 12, key=OTHER_KEY))]
    octets = b"".join(Book(CLEAN.rows, rotated).export())
    assert audit(octets) == 1
    assert capsys.readouterr().out.startswith("bad: seq 12: unknown key\n")
    other = tmp_path / "other.pem"
    other.write_text(public_pem(OTHER_KEY.public_key()))
    assert audit(octets, "--key", str(other)) == 0


def test_json_says_the_same(audit: Audit, capsys: pytest.CaptureFixture[str]):
    assert audit(b"".join(LINES), "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["status"], said["fault"], said["findings"]) == ("ok", None, [])
    assert said["coverage"]["covered"] == 12
    assert audit(EDITED, "--json") == 1
    fault = json.loads(capsys.readouterr().out)["fault"]
    assert (fault["kind"], fault["seq"], fault["line"]) == ("edited", 7, 9)
    assert fault["meaning"]


def test_a_gzipped_export_is_read(audit: Audit, capsys: pytest.CaptureFixture[str]):
    packed = gzip.compress(b"".join(LINES))
    assert audit(packed) == 0
    assert audit(packed[:-300]) == 1
    assert "cut\n" in capsys.readouterr().out
    assert audit(packed[:20] + b"\xff" * 20 + packed[40:]) == 2
    assert capsys.readouterr().err.startswith("smsfilter audit verify: ")


def test_an_export_is_read_from_stdin(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    (tmp_path / "key.pem").write_text(public_pem(KEY.public_key()))
    octets = io.BufferedReader(io.BytesIO(b"".join(LINES)))  # type: ignore[arg-type]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(octets))
    assert main(["audit", "verify", "-", "--key", str(tmp_path / "key.pem")]) == 0
    assert capsys.readouterr().out.startswith("ok: ")


def test_a_file_of_another_kind_is_bad(audit: Audit, capsys: pytest.CaptureFixture[str]):
    for octets in (b"", b"something else\n", b"\0" * 10_000):
        assert audit(octets) == 1
        assert capsys.readouterr().out.startswith("bad: the file: unreadable\n")


def test_files_that_cannot_be_used_are_a_matter_of_usage(
    audit: Audit, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    (tmp_path / "none").write_text("nothing\n")
    false = signed(CLEAN.rows, 8).replace("seq: 8", "seq: 9")
    (tmp_path / "false").write_text(false)
    for option, name, said in (
        ("--witness", "none", "none: no checkpoint: "),
        ("--witness", "absent", "absent"),
        ("--witness", "false", "witness 1: its signature is not that of the key"),
        ("--key", "none", "none: not a public key"),
    ):
        assert audit(b"".join(LINES), option, str(tmp_path / name)) == 2
        out, err = capsys.readouterr()
        assert (out, said in err, err.count("\n")) == ("", True, 1)
    assert (
        main(["audit", "verify", str(tmp_path / "absent"), "--key", str(tmp_path / "key.pem")]) == 2
    )


def test_without_a_key_there_is_nothing_to_verify():
    with pytest.raises(SystemExit) as stopped:
        main(["audit", "verify", "export"])
    assert stopped.value.code == 2


def test_a_bar_is_drawn_on_a_terminal_only(tmp_path: Path):
    (tmp_path / "key.pem").write_text(public_pem(KEY.public_key()))
    (tmp_path / "export").write_bytes(b"".join(LINES))
    command = [sys.executable, "-m", "smsfilter", "audit", "verify", str(tmp_path / "export")]
    command += ["--key", str(tmp_path / "key.pem")]
    ours, theirs = pty.openpty()
    shown = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm"},
        stdout=subprocess.PIPE,
        stderr=theirs,
        check=True,
    )
    assert b"kB" in os.read(ours, 65536)
    os.close(ours)
    os.close(theirs)
    silent = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, check=True
    )
    assert silent.stderr == b""
    assert silent.stdout == shown.stdout
