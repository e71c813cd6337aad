"""A desk's host is lost: keys and a backup go to another one, and nobody blocked is reached."""

import asyncio
import json
import shutil
import signal
import subprocess
import sys

import pytest
import yaml

from smsfilter.smpp.const import ESME_ROK
from tests.fakes.daemon import START_TIMEOUT_S, Daemon
from tests.fakes.process import wait_until

pytestmark = pytest.mark.system

ANNA, BERT, CARL, DORA, EMIL = (f"861390013900{number}" for number in range(5))
SOURCE = "10657555"
BLOCKED = 0x66


class OtherHost(Daemon):
    """A host with the same Redis and SMSC, and a state_dir of its own."""

    def __init__(self, desk):
        super().__init__(desk.site.directory.parent / "other")
        content = yaml.safe_load(desk.config_path.read_text())
        content["state_dir"] = str(self.directory / "state")
        content["records"] = {}
        self.config_path.write_text(yaml.safe_dump(content, allow_unicode=True))
        shutil.copy(desk.site.policy_path, self.directory / "policy.yaml")

    async def command(self, *words: str, status: int = 0) -> str:
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "smsfilter", *words, "-c", str(self.config_path)],
            capture_output=True,
            text=True,
            env=self.env,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr


async def reaches(esme, number: str) -> bool:
    status = (await esme.submit(SOURCE, number)).command_status
    assert status in (ESME_ROK, BLOCKED)
    return status == ESME_ROK


async def reports(desk, number: str, words: str = f"{SOURCE}*win a prize") -> None:
    (delivery,) = await desk.handsets[number].text(words)
    assert await delivery.done() == ESME_ROK


async def test_from_a_lost_host_to_another_one(make_desk, tmp_path):
    desk = await make_desk()
    site, other = desk.site, OtherHost(desk)
    site.approve("acme")
    acme = await site.esme("acme")
    await reports(desk, ANNA)
    await reports(desk, CARL)
    await reports(desk, CARL, "撤销")
    assert await reaches(acme, CARL)

    # What an operator keeps elsewhere.
    secret, box, copy = (tmp_path / name for name in ("passphrase", "keys", "copy.db"))
    secret.write_text("correct horse battery")
    with_secret = ("--passphrase-file", str(secret))
    await desk.ran("desk", "key", "export", str(box), *with_secret)
    await desk.ran("desk", "backup", str(copy))
    witness = tmp_path / "witness.txt"
    await desk.ran("audit", "checkpoints", "--keep", str(witness))

    # After the backup: a new report, and one again of what had ended in it. Then the host is gone.
    await reports(desk, BERT)
    await reports(desk, CARL)
    desk.expect_exit(-signal.SIGKILL)
    desk.signal(signal.SIGKILL)
    await desk.wait_exit()
    assert [await reaches(acme, each) for each in (ANNA, BERT, CARL, DORA)] == [False] * 3 + [True]

    await other.command("desk", "restore", str(copy), status=1)  # no keys yet
    await other.command("desk", "key", "import", str(box), *with_secret)
    said = await other.command("desk", "restore", str(copy), "--witness", str(witness))
    assert "restored" in said
    try:
        await other.run("desk")
        adopted = await other.wait_for_log("index_adopted", timeout_s=START_TIMEOUT_S)
        assert adopted["count"] == 2
        await other.wait_for_log("centre_bound", timeout_s=START_TIMEOUT_S)
        await reports(desk, DORA)
        blocked = (ANNA, BERT, CARL, DORA)
        assert [await reaches(acme, each) for each in blocked] == [False] * 4
        assert await reaches(acme, EMIL)

        # They are in the records by now: a Redis that is lost gets them back.
        since = len(other.log)
        redis = site.server.client()
        redis.delete("index:epoch", *(f"block:{{{each}}}" for each in blocked))
        await other.wait_for_log("index_filled", since=since)
        await asyncio.to_thread(wait_until, lambda: redis.exists("index:epoch"), "the epoch", 10)
        await reports(desk, EMIL)
        assert [await reaches(acme, each) for each in (*blocked, EMIL)] == [False] * 5

        ledger = tmp_path / "ledger.jsonl"
        await other.command("audit", "export", str(ledger))
    finally:
        await other.stop()
    key = other.directory / "state" / "keys" / "ledger.pub"
    done = await asyncio.to_thread(
        subprocess.run,
        [
            *(sys.executable, "-m", "smsfilter", "audit", "verify", str(ledger), "--json"),
            *("--key", str(key), "--witness", str(witness)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    verdict = json.loads(done.stdout)
    assert (done.returncode, verdict["status"]) == (3, "unproven")
    assert [each["gap"] for each in verdict["findings"]] == ["restore"]
