"""The systemd units: accepted by systemd itself, well fenced, and in step with the defaults."""

import configparser
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from smsfilter.config import Limits, Timeouts
from smsfilter.desk.door import GRACE_S
from smsfilter.desk.evidence import STAMP
from smsfilter.desk.service import STUCK_S

UNITS = Path(__file__).parents[2] / "systemd"
PROXY, DESK = UNITS / "smsfilter-proxy.service", UNITS / "smsfilter-desk.service"
SYNC = UNITS / "smsfilter-decisions-sync@.service"
both = pytest.mark.parametrize("unit_file", [PROXY, DESK], ids=lambda path: path.stem)
PROGRAM = "/opt/smsfilter/bin/smsfilter"


def analyze(*arguments):
    if shutil.which("systemd-analyze") is None:
        if os.environ.get("TEST_REQUIRE_PEERS") == "1":
            pytest.fail("systemd-analyze is not installed")
        pytest.skip("systemd-analyze is not installed")
    return subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def service(unit_file):
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str
    unit.read(unit_file)
    return unit["Service"]


@both
def test_systemd_accepts_it_without_a_warning(unit_file, tmp_path):
    program = tmp_path / "smsfilter"  # verify looks whether it is there
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    text = unit_file.read_text()
    assert text.count(f"={PROGRAM} ") == 1
    unit = tmp_path / unit_file.name
    unit.write_text(text.replace(PROGRAM, str(program)))

    found = analyze("verify", str(unit))
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")

    # and it would have said so
    unit.write_text(unit.read_text() + "[Service]\nWatchdogSec=quux\n")
    assert "quux" in analyze("verify", str(unit)).stderr


@both
def test_its_exposure_is_at_most_2(unit_file):
    found = analyze("security", "--offline=true", "--threshold=20", str(unit_file))
    assert found.returncode == 0, found.stdout.splitlines()[-1]
    assert "Overall exposure level" in found.stdout


@both
def test_the_fences_leave_room_for_its_work(unit_file):
    unit = service(unit_file)
    families = set(unit["RestrictAddressFamilies"].split())
    assert families == {"AF_INET", "AF_INET6", "AF_UNIX"}
    assert unit["Type"] == "notify"


def test_the_proxy_has_what_its_defaults_need():
    unit = service(PROXY)
    assert int(unit["LimitNOFILE"]) >= 2 * Limits().sessions + 1000
    assert int(unit["TimeoutStopSec"]) > Timeouts().drain.total_seconds()


def test_the_desk_shares_user_and_folder_with_the_proxy():
    proxy, desk = service(PROXY), service(DESK)
    for name in ("DynamicUser", "User", "StateDirectory", "StateDirectoryMode", "UMask"):
        assert proxy[name] == desk[name], name
    assert int(desk["WatchdogSec"]) > STUCK_S
    assert int(desk["TimeoutStopSec"]) > 2 * GRACE_S


def test_systemd_accepts_the_copying_of_records(tmp_path):
    program = tmp_path / "rsync"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = tmp_path / SYNC.name.replace("@", "@proxy2")
    unit.write_text(SYNC.read_text().replace("/usr/bin/rsync", str(program)))
    timer = tmp_path / unit.name.replace(".service", ".timer")
    timer.write_text(SYNC.with_suffix(".timer").read_text())
    found = analyze("verify", str(unit), str(timer))
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")
    found = analyze("security", "--offline=true", "--threshold=20", str(unit))
    assert found.returncode == 0, found.stdout.splitlines()[-1]


def test_the_copy_is_the_desks_and_stamped_only_when_it_is_whole():
    desk, sync = service(DESK), service(SYNC)
    for name in ("DynamicUser", "User", "UMask"):
        assert desk[name] == sync[name], name
    begun, whole = (sync[name].split() for name in ("ExecStartPre", "ExecStartPost"))
    assert begun[-1] == whole[-2]
    assert whole[-1].endswith(f"/{STAMP}")
    assert not sync["ExecStart"].startswith("-"), "a failure must not be stamped"
    for name in (STAMP, "copying", "lock", "closing.lock"):
        assert f"--exclude=/{name} " in sync["ExecStart"]
