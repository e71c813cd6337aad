"""What every command of the desk has: JSON on request, and times that say their zone."""

import argparse
import re
import time

import pytest

from smsfilter.cli.completion import every
from smsfilter.cli.main import parser
from smsfilter.cli.saying import local_time

OF_THE_DESK = ("report", "case", "block", "company", "staff", "release", "audit")
ALSO = ("desk today",)


def actions() -> dict[str, argparse.ArgumentParser]:
    """Each command that does something, by its words."""
    found = {}
    for each in every(parser()):
        nested = any(isinstance(one, argparse._SubParsersAction) for one in each._actions)
        if not nested:
            found[each.prog.removeprefix("smsfilter ")] = each
    return found


def test_each_prints_json_on_request():
    known = {
        name: each
        for name, each in actions().items()
        if name.split()[0] in OF_THE_DESK or name in ALSO
    }
    assert {name.split()[0] for name in known} >= {"report", "block", "company", "audit", "desk"}
    lacking = [
        name
        for name, each in known.items()
        if not any("--json" in one.option_strings for one in each._actions)
    ]
    assert not lacking


@pytest.mark.parametrize(("zone", "offset"), [("Asia/Shanghai", "+0800"), ("UTC", "+0000")])
def test_a_time_says_its_offset(monkeypatch, zone, offset):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        said = local_time(1_700_000_000_000_000)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert re.fullmatch(r"2023-11-1[45] \d\d:\d\d:\d\d" + re.escape(offset), said)
    assert local_time(None) == "–"
