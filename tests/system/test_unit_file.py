"""The systemd unit: accepted by systemd itself, well fenced, and in step with the defaults."""

import configparser
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from smsfilter.config import Limits, Timeouts

UNIT = Path(__file__).parents[2] / "systemd" / "smsfilter-proxy.service"
PROGRAM = "/opt/smsfilter/bin/smsfilter"


def analyze(*arguments):
    if shutil.which("systemd-analyze") is None:
        if os.environ.get("TEST_REQUIRE_PEERS") == "1":
            pytest.fail("systemd-analyze is not installed")
        pytest.skip("systemd-analyze is not installed")
    return subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def service():
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str
    unit.read(UNIT)
    return unit["Service"]


def test_systemd_accepts_it_without_a_warning(tmp_path):
    program = tmp_path / "smsfilter"  # verify looks whether it is there
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    text = UNIT.read_text()
    assert text.count(f"={PROGRAM} ") == 1
    unit = tmp_path / UNIT.name
    unit.write_text(text.replace(PROGRAM, str(program)))

    found = analyze("verify", str(unit))
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")

    # and it would have said so
    unit.write_text(unit.read_text() + "[Service]\nWatchdogSec=quux\n")
    assert "quux" in analyze("verify", str(unit)).stderr


def test_its_exposure_is_at_most_2():
    found = analyze("security", "--offline=true", "--threshold=20", str(UNIT))
    assert found.returncode == 0, found.stdout.splitlines()[-1]
    assert "Overall exposure level" in found.stdout


def test_the_fences_leave_room_for_what_the_proxy_does(service):
    families = set(service["RestrictAddressFamilies"].split())
    assert families == {"AF_INET", "AF_INET6", "AF_UNIX"}
    assert int(service["LimitNOFILE"]) >= 2 * Limits().sessions + 1000
    assert int(service["TimeoutStopSec"]) > Timeouts().drain.total_seconds()
    assert service["Type"] == "notify"
