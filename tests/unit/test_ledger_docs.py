"""The commands of docs/ledger.md do what it says, and it names what the verifier can say."""

import re
import subprocess
from pathlib import Path
from shutil import which

import pytest

from smsfilter.ledger.checkpoint import check, key_id, public_pem
from smsfilter.ledger.export import SignedLine, decode
from smsfilter.ledger.signatures import ROWS_UNSIGNED_MAX, SECONDS_UNSIGNED_MAX
from smsfilter.ledger.verdict import Gap, Kind
from tests.fakes.ledger import KEY, KEYS, book

PAGE = (Path(__file__).parents[2] / "docs" / "ledger.md").read_text(encoding="utf-8")
COMMANDS = [
    block
    for block in re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    if "smsfilter audit" not in block
]


@pytest.mark.skipif(which("openssl") is None, reason="openssl is not installed")
def test_by_hand(tmp_path: Path):
    clean = book(5)
    (tmp_path / "checkpoint").write_text(clean.checkpoints[0][1])
    (tmp_path / "ledger.pem").write_text(public_pem(KEY.public_key()))
    lines = clean.export()
    (tmp_path / "export").write_bytes(b"".join(lines))
    said = [
        subprocess.run(
            ["sh", "-ec", block], cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout.splitlines()
        for block in COMMANDS
    ]
    first = clean.rows[0].hash.hex()
    digest = re.search(rb"digest: ([0-9a-f]+)", lines[-1])
    assert digest is not None
    assert said == [
        ["Signature Verified Successfully", key_id(KEY.public_key())],
        [f"{first}  -", f'"hash":"{first}"', f"{digest[1].decode()}  -"],
    ]


def test_the_examples_are_true():
    clean = book(12, every=4)
    end = decode(clean.export()[-1])
    assert isinstance(end, SignedLine)
    assert f"```\n{end.text}```" in PAGE
    assert f"```\n{clean.rows[0].body.decode()}\n```" in PAGE
    assert clean.rows[0].hash.hex() in PAGE
    example = re.search(r"^smsfilter ledger checkpoint 1\n(?:.+\n){6}", PAGE, re.MULTILINE)
    assert example is not None
    assert check(example[0], KEYS).seq == 1000


def test_every_kind_and_gap_is_explained():
    rows = {line.split("|")[1].strip() for line in PAGE.splitlines() if line.startswith("| `")}
    assert {f"`{each}`" for each in (*Kind, *Gap)} <= rows


def test_the_limits_are_those_of_the_code():
    assert f"more than {ROWS_UNSIGNED_MAX:,} records" in PAGE
    assert f"more than {SECONDS_UNSIGNED_MAX} s after" in PAGE
