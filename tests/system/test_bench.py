"""The benchmark runs, and what it counts adds up. Its timings are not looked at."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.system, pytest.mark.redis]

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    results = tmp_path_factory.mktemp("bench") / "runs.json"
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", "--quick", "--only", "8x8,open", "--json", results],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "each was answered once" in done.stdout
    for row in (
        "| 8 sessions × window 8 ",
        "| 8 sessions × window 8, no decision records ",
        "| 5,000/s open model",
        "| p50 ",
    ):
        assert row in done.stdout
    return {(run["load"], run["middle"]): run for run in json.loads(results.read_text())}


def test_every_message_is_answered_once_and_what_was_accepted_came_to_the_smsc(runs):
    assert len(runs) == 8
    for run in runs.values():
        assert run["sent"] == run["answered"] == run["accepted"] + run["refused"] > 0
        assert run["submits"] == run["accepted"]
        assert run["octets_left"] == 0


def test_the_proxy_refuses_the_blocked_messages_and_only_those(runs):
    for load in ("8x8", "open"):
        for proxy in ("proxy", "unrecorded"):
            run = runs[load, proxy]
            assert run["refused"] == run["blocked_sent"] > 0
            assert run["wrong"] == 0
        assert runs[load, "relay"]["refused"] == 0
        assert runs[load, "relay"]["blocked_sent"] > 0


def test_the_costs_of_relay_proxy_and_redis_are_measured(runs):
    for load in ("8x8", "open"):
        assert set(runs[load, "relay"]["cpu"]) == {"relay", "sink", "generator"}
        assert set(runs[load, "proxy"]["cpu"]) == {"proxy", "redis", "sink", "generator"}
        assert runs[load, "proxy"]["messages"] > 0
    assert set(runs["open", "proxy"]["latency_us"]) == {"p50", "p99", "p99.9"}
