"""What `block proof` prints of a proof."""

from typing import Any

import pytest

from smsfilter.cli.block_proof import _show

AT = 1_790_000_000_000_000
MESSAGE = {
    "at": AT,
    "proxy": "p1",
    "segment": 43,
    "slot": 2071,
    "verdict": "refused",
    "companies": ["acme"],
    "source": "10657555",
    "seq": 5,
    "reason": "cap",
    "policy": "v",
}
NAMES = ("violations", "doubtful", "refused", "before", "delivered_after")


def proof(**more: Any) -> dict[str, Any]:
    lists: dict[str, Any] = {name: [] for name in NAMES} | {"gaps": [], "summed": []}
    lists |= {name: more.pop(name) for name in list(more) if name in lists}
    return {
        "result": "proven",
        "customer": "138****8000",
        "target": "acme",
        "block": 7,
        "case": None,
        "report": 12,
        "channel": "sms",
        "reported_at": AT,
        "created_at": AT,
        "in_force_at": None,
        "seq": 41,
        "until": AT,
        "proxies": {"p1": {"segments": 3, "since": AT, "until": AT}},
        "counts": {name: len(lists[name]) for name in (*NAMES, "gaps")},
        **lists,
        **more,
    }


def said(capsys: pytest.CaptureFixture[str], **more: Any) -> list[str]:
    _show(proof(**more))
    return capsys.readouterr().out.splitlines()


def test_a_proof_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, refused=[MESSAGE])
    assert lines[0] == "138****8000 and acme: PROVEN: nothing was forwarded since the block"
    assert ", by report 125 of 2026-" in lines[1], "as the customer was told it"
    assert "refused since: 1" in lines
    assert any("43/2071" in line for line in lines)
    assert "missing: nothing" in lines
    assert sum(line.endswith(": none") for line in lines) == 4
    assert any(line.startswith("What this cannot show: ") for line in lines)


def test_what_is_missing_and_what_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    gap = {"proxy": "p2", "since": AT, "until": AT, "why": "no records of this proxy", "lost": 0}
    left = {"proxy": "p1", "count": 3, "first": AT, "last": AT}
    lines = said(capsys, result="not_provable", gaps=[gap], summed=[left], report=None)
    assert "NOT PROVABLE" in lines[0]
    assert "by report" not in lines[1]
    at = lines.index("refused since: none")
    assert lines[at + 1].startswith("  and 3 by p1, ")
    at = lines.index("missing: 1")
    assert lines[at + 1].endswith(": no records of this proxy")
