"""As a customer and an auditor see it, on the running programs: spam, the report, and never again.

What was forwarded is read at the SMSC. Every road of the company is tried in every spelling that
an SMSC would take, and each has its clean twin: another customer's, or another company's.
"""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from smsfilter.smpp.const import ESME_ROK, SUBMIT_MULTI
from tests.fakes import wire
from tests.fakes.desk import Desk
from tests.fakes.esme import FakeESME

pytestmark = pytest.mark.system

ANNA, BERT = "8613800138000", "8613900139000"
NUMBER = ANNA[2:]
BLOCKED = 0x66
ROADS = {
    "acme": (
        *("10657555", "1065755501", "+8610657555", "1069055512345"),
        *("ACME", "acme", "Ａｃｍｅ".encode(), "某公司".encode(), "某公司".encode("gbk")),
    ),
    "acme2": ("10657555", "106905551", "ACME"),
    "resell7": ("10657555", "1065755588", "ACME"),
}
"""The accounts that acme's messages come by, and sources of acme."""
SPELLINGS = (ANNA, f"+{ANNA}", f"00{ANNA}", NUMBER, f"0{NUMBER}", "138-0013-8000", f"860{NUMBER}")
IN_FORCE_WITHIN_S = 5


async def status(esme: FakeESME, pdu: bytes) -> int:
    """The status of the answer to a submission."""
    return wire.header(await esme.post(pdu)).command_status


async def sends(esme: FakeESME, source: bytes | str, to: str) -> int:
    """The status of one submit_sm."""
    return (await esme.submit(source, to)).command_status


async def refused_on_every_road(desk: Desk, esmes: dict[str, FakeESME]) -> int:
    """See that nothing reaches Anna from acme; how many submissions were tried."""
    tried = 0
    for account, sources in ROADS.items():
        for source in sources:
            for to in SPELLINGS if source == "10657555" else (ANNA,):
                assert await sends(esmes[account], source, to) == BLOCKED, (account, source, to)
                tried += 1
            assert await sends(esmes[account], source, BERT) == ESME_ROK, (account, source)
    acme = esmes["acme"]
    data = wire.data_sm(acme.next_number(), "10657555", NUMBER)
    assert await status(acme, data) == BLOCKED
    both = [wire.sme(NUMBER), wire.sme(BERT)]
    multi = wire.submit_multi(acme.next_number(), "ACME", both)
    assert await status(acme, multi) == ESME_ROK
    assert wire.customers(desk.site.smsc.of_kind({SUBMIT_MULTI})[-1]) == [BERT.encode()]
    assert await sends(esmes["bravo"], "10658888", ANNA) == ESME_ROK
    assert await sends(esmes["resell7"], "10658888", ANNA) == ESME_ROK
    return tried + 2


async def verified(desk: Desk, file: Path, *words: str) -> tuple[int, str]:
    """What the offline verifier says of an export: exit status and text."""
    key = str(desk.directory / "state" / "keys" / "ledger.pub")
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "smsfilter", "audit", "verify", str(file), "--key", key, *words],
        capture_output=True,
        text=True,
        env=desk.env,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def altered(lines: list[str], how: str) -> list[str]:
    """An export as it must not pass."""
    at = next(n for n, line in enumerate(lines) if "report taken" in line)
    if how == "edited":
        return [*lines[:at], lines[at].replace("report taken", "report takem", 1), *lines[at + 1 :]]
    return lines[:at] + lines[at + 1 :] if how == "deleted" else lines[:at]


async def test_reported_once_never_again(make_desk: Any, tmp_path: Path) -> None:
    desk: Desk = await make_desk(config={"decisions": {"name": "p1"}})
    desk.site.approve("acme", "*")
    desk.site.approve("bravo", "*")
    esmes = {name: await desk.site.esme(name) for name in (*ROADS, "bravo")}
    assert await sends(esmes["acme"], "1065755501", NUMBER) == ESME_ROK

    begin = monotonic()
    (delivery,) = await desk.handsets[ANNA].text("1065755501*您中奖了，请回复")
    assert delivery.statuses == [ESME_ROK]
    assert await sends(esmes["acme"], "1065755501", NUMBER) == BLOCKED
    assert monotonic() - begin < IN_FORCE_WITHIN_S
    tried = 1 + await refused_on_every_road(desk, esmes)
    (answer,) = await desk.handsets[ANNA].wait_for_sms()
    assert "已受理" in answer

    asked = ("block", "proof", "--json", "--company", "acme")
    proof = json.loads(await desk.ran(*asked, stdin=NUMBER + "\n"))
    assert proof["result"] == "proven"
    assert (proof["counts"]["refused"], proof["counts"]["before"]) == (tried, 1)

    file, witness = tmp_path / "ledger.jsonl", tmp_path / "witness.txt"
    await desk.ran("audit", "checkpoints", "--keep", str(witness))
    await desk.ran("audit", "export", str(file))
    assert (await verified(desk, file, "--witness", str(witness)))[0] == 0
    lines = file.read_text().splitlines(keepends=True)
    for how in ("edited", "deleted", "cut"):
        other = tmp_path / how
        other.write_text("".join(altered(lines, how)))
        found, said = await verified(desk, other)
        assert found == 1, (how, said)
        assert "bad: seq" in said

    await desk.stop()
    await desk.site.stop()
    state = desk.directory / "state"
    files = [path for path in state.rglob("*") if path.is_file()]
    assert state / "records.db" in files
    seen = b"".join(path.read_bytes() for path in (*files, file))
    seen += (desk.story() + desk.site.story()).encode()
    assert NUMBER.encode() not in seen
    assert "您中奖了".encode() not in seen
    assert "您中奖了".encode("utf-16-be") not in seen
