"""A long ledger is verified in memory that does not grow with it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = """
import resource, sys
from smsfilter.ledger.verify import verify
from tests.fakes.ledger import KEYS, stream
def peak():  # in KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert verify(stream(2_000), KEYS).status == "ok"
before = peak()
verdict = verify(stream(int(sys.argv[1])), KEYS)
assert (verdict.status, verdict.coverage.rows) == ("ok", int(sys.argv[1])), verdict
print(peak() - before)
"""


def grown_by(records: int) -> int:
    """By how many KiB a process grows that verifies so many records."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(records)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


def test_twenty_thousand_records_need_no_more_memory_than_two_thousand():
    assert grown_by(20_000) < 4_096


@pytest.mark.scale
def test_a_million_records_need_no_more_memory_than_two_thousand():
    assert grown_by(1_000_000) < 4_096
