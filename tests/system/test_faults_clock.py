"""The clock of the machine is set while the daemon runs: an hour forward, two back."""

import asyncio
import signal
import textwrap
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from smsfilter.smpp import const as c
from tests.conftest import MakeSite
from tests.fakes.calm import customer
from tests.fakes.daemon import ROOT

pytestmark = [pytest.mark.system, pytest.mark.redis]

FROM = "10657555"
SHIFTING = """
import signal
import time

honest, ahead = time.time, [0, 3600, -3600]


def shift(*_):
    ahead.pop(0)


time.time = lambda: honest() + ahead[0]
signal.signal(signal.SIGUSR2, shift)
"""
"""Put into the daemon before it starts: each SIGUSR2 sets its clock."""
SWEEPS_S = 2.2
"""Two of the janitor's looks at every session, of which it tells nobody."""


async def test_a_clock_that_is_set_ends_no_session_and_delays_no_message(
    make_site: MakeSite, tmp_path: Path
) -> None:
    (tmp_path / "shifting").mkdir()
    (tmp_path / "shifting" / "sitecustomize.py").write_text(textwrap.dedent(SHIFTING))
    env = {"PYTHONPATH": f"{tmp_path / 'shifting'}:{ROOT}", "TZ": "Asia/Shanghai"}
    timeouts = dict.fromkeys(("bind", "partial", "unread", "response", "idle"), "60s")
    site = await make_site(env=env, config={"proxy": {"timeouts": timeouts}})
    unbound, idle, busy = await site.connect(), await site.esme("bravo", "rx"), await site.esme()
    await unbound.enquire_link()

    async def held(count: int) -> None:
        there = site.smsc.bound_connections("acme")[0].held
        await site.smsc.changes.until(lambda: len(there) == count, f"{count} messages")

    whole = busy.submit_octets(FROM, customer())
    for _ in range(2):
        site.smsc.hold = {c.SUBMIT_SM}
        waiting = busy.post(busy.submit_octets(FROM, customer()))
        await held(1)
        answer = busy.expect(whole)
        busy.send_raw(whole[:20])
        site.signal(signal.SIGUSR2)
        await asyncio.sleep(SWEEPS_S)
        busy.send_raw(whole[20:])
        await held(2)
        site.smsc.release()
        assert (await busy.response(waiting)).command_status == 0
        assert (await busy.response(answer)).command_status == 0
        assert [esme.ended for esme in (unbound, idle, busy)] == [None] * 3
        assert (await site.get("/livez")).status == 200
        whole = busy.submit_octets(FROM, customer())
    await unbound.bound()
    await busy.close()
    line = await site.wait_for_log("session_closed", account="acme")
    assert 0 <= line["seconds"] < 60, "how long it was, whatever the clock says"
    assert not site.logged("redis_away", "index_untrusted", "loop_blocked")
    at = datetime.fromisoformat(line["ts"])
    assert line["ts"].endswith("Z"), "UTC, wherever the machine stands"
    assert abs(datetime.now(UTC) - at) < timedelta(minutes=1)
