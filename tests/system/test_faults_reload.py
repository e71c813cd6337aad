"""SIGHUP with good and bad files, and what each setting of the policy does to the next message.

One site for the whole file; each test leaves it with the default policy.
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from smsfilter.smpp import const as c
from tests.fakes import wire
from tests.fakes.calm import BLOCKED, Visitors, calm_site, customer
from tests.fakes.daemon import ROOT
from tests.fakes.legs import Legs
from tests.fakes.site import Site
from tests.fakes.smsc import FakeSMSC

pytestmark = [
    pytest.mark.system,
    pytest.mark.redis,
    pytest.mark.asyncio(loop_scope="module"),
]

FROM = "10657555"
TYPES = {"source": "source", "blocked": "block", "approval": "approval"}
TYPES |= {"scheduled": "scheduled", "replace": "replace"}


def rules(**changes: dict[str, Any]) -> list[dict[str, Any]]:
    """The default rules with what differs, by id."""
    return [{"id": name, "type": kind, **changes.get(name, {})} for name, kind in TYPES.items()]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def calm(tmp_path_factory: pytest.TempPathFactory, legs: Legs) -> AsyncIterator[Site]:
    """The site of this file."""
    smsc = await legs.smsc()
    config = {"log": {"decisions": "refused"}}
    async with calm_site(tmp_path_factory.mktemp("reload"), smsc, config=config, legs=legs) as site:
        yield site
    await smsc.stop()


@pytest.fixture
def smsc(calm: Site) -> FakeSMSC:
    """Its SMSC."""
    return calm.smsc


@pytest_asyncio.fixture(loop_scope="module")
async def connect(calm: Site) -> AsyncIterator[Visitors]:
    """Connects ESMEs; afterwards they are gone and the policy is the default one."""
    visitors = Visitors(calm)
    yield visitors
    await visitors.leave()
    calm.write_config({"log": {"decisions": "refused"}})
    assert (await calm.reload({}))["event"] == "config_reloaded"


async def versions(site: Site) -> list[str]:
    """The version of the policy in force, as the metrics tell it."""
    found = [dict(labels) for name, labels in await site.metrics() if "policy_info" in name]
    return [labels["version"] for labels in found]


async def status_of(esme: Any, *args: Any, **fields: Any) -> int:
    answer = await esme.submit(*args, **fields)
    status: int = answer.command_status
    return status


# good files


async def test_a_good_file_is_in_force_for_the_next_message_and_drops_no_session(
    connect: Visitors, calm: Site, smsc: FakeSMSC
) -> None:
    esme, other = await connect(), await connect("bravo", "rx")
    smsc.hold = {c.SUBMIT_SM}
    under_way = esme.post(esme.submit_octets(FROM, customer()))
    await smsc.wait_for(len(smsc.submits()) or 1)
    before = calm.logged("config_reloaded", "started")[-1]["policy"]
    line = await calm.reload({"rules": rules(blocked={"status": "ESME_RINVDSTADR"})})
    assert line["event"] == "config_reloaded"
    assert line["policy"] != before
    assert await status_of(esme, FROM, BLOCKED) == c.ESME_RINVDSTADR
    refused = await calm.wait_for_log("refused", policy=line["policy"])
    assert refused["status"] == "0x0B"
    assert await versions(calm) == [line["policy"]]
    smsc.release()
    assert (await esme.response(under_way)).command_status == 0
    assert other.ended is None


async def test_the_same_file_again_changes_nothing(
    connect: Visitors, calm: Site, smsc: FakeSMSC
) -> None:
    esme = await connect()
    first = await calm.reload()
    second = await calm.reload()
    assert first["policy"] == second["policy"]
    assert await status_of(esme, FROM, BLOCKED) == 0x66


# bad files


def unreadable(site: Site) -> None:
    site.policy_path.unlink()
    site.policy_path.mkdir()


def truncated(site: Site) -> None:
    site.config_path.write_text(site.config_path.read_text()[:40] + "\n  : [")


def text(content: str | bytes) -> Callable[[Site], None]:
    """The policy file with this content."""
    octets = content.encode() if isinstance(content, str) else content
    return lambda site: site.policy_path.write_bytes(octets) and None


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (text(""), "policy.yaml:1:1"),
        (text("rules: [\n"), "policy.yaml:2:1"),
        (text("version: 1\nrulez: []\n"), "policy.yaml:2:1"),
        (text("version: 1\nrules: nothing\n"), "policy.yaml:2:8"),
        (text("version: 1\nmode: of\n"), "policy.yaml:2:7"),
        (text("version: 1\nmode: shadow\nmode: enforce\n"), "policy.yaml:3:1"),
        (text("- 1\n"), "policy.yaml:1:1"),
        (text(b"version: 1\n\xff\xfe\n"), "policy.yaml"),
        (text("version: 1\ntimezone: Moon/Base\n"), "policy.yaml:2:11"),
        (unreadable, "policy.yaml"),
        (lambda site: site.policy_path.unlink(), "policy.yaml"),
        (truncated, "smsfilter.yaml:"),
        (lambda site: site.config_path.write_text(""), "smsfilter.yaml"),
    ],
)
async def test_a_bad_file_leaves_the_old_rules_and_says_where_it_is_bad(
    connect: Visitors, calm: Site, smsc: FakeSMSC, damage: Callable[[Site], None], said: str
) -> None:
    esme = await connect()
    before = len(smsc.submits())
    damage(calm)
    try:
        line = await calm.reload()
    finally:
        if calm.policy_path.is_dir():
            calm.policy_path.rmdir()
    assert line["event"] == "config_rejected"
    assert any(said in error for error in line["errors"]), line["errors"]
    assert await calm.metric("smsfilter_config_stale") == 1
    assert await status_of(esme, FROM, BLOCKED) == 0x66
    assert await status_of(esme, "10658888", customer()) == 0x0A
    assert await status_of(esme, FROM, customer()) == 0
    assert len(smsc.submits()) == before + 1
    calm.write_config({"log": {"decisions": "refused"}})
    await calm.reload({})
    assert await calm.metric("smsfilter_config_stale") == 0


async def test_check_gives_the_same_verdict(connect: Visitors, calm: Site) -> None:
    calm.policy_path.write_text("version: 1\nrulez: []\nmode: of\n")
    line = await calm.reload()
    checked = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "smsfilter", "check", "-c", str(calm.config_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 1
    for error in line["errors"]:
        assert error in checked.stdout + checked.stderr
    assert len(line["errors"]) == 2, "all at once"


async def test_signals_in_a_row_end_in_the_last_file(connect: Visitors, calm: Site) -> None:
    esme = await connect()
    calm.write_policy({"rules": rules(blocked={"status": "0x45"})})
    for _ in range(20):
        calm.signal(signal.SIGHUP)
    async with asyncio.timeout(5):
        while await status_of(esme, FROM, BLOCKED) != 0x45:
            pass
        (in_force,) = await versions(calm)
        while (await calm.reload({"mode": "shadow"}))["policy"] == in_force:
            pass  # the line of a signal before: the next test shall not take it for its own


# what the settings do


@pytest.mark.parametrize("where", ["policy", "account", "rule"])
async def test_in_shadow_messages_pass_octet_for_octet_and_are_counted(
    connect: Visitors, calm: Site, smsc: FakeSMSC, where: str
) -> None:
    policy: dict[str, Any] = {
        "policy": {"mode": "shadow"},
        "account": {"accounts": {"acme": {"mode": "shadow"}}},
        "rule": {"rules": rules(blocked={"mode": "shadow"})},
    }[where]
    esme = await connect()
    counted = await calm.metric("smsfilter_shadow_total", rule="blocked")
    await calm.reload(policy)
    pdu = esme.submit_octets(FROM, BLOCKED)
    assert (await esme.request(pdu)).command_status == 0
    assert smsc.submits()[-1] == pdu
    assert await calm.metric("smsfilter_shadow_total", rule="blocked") == counted + 1
    line = await calm.wait_for_log("would_refuse", reason="blocked_by_report")
    assert line["rule"] == "blocked"
    malformed = await status_of(esme, FROM, BLOCKED, sm_length=200)
    assert malformed == 0x01, "nobody may be shown two readings, not even in shadow"
    mismatched = await status_of(esme, "10658888", customer())
    assert mismatched == (0x0A if where == "rule" else 0)
    other = await connect("charlie")
    expected = 0 if where == "policy" else 0x0A
    assert await status_of(other, "10659999", customer()) == expected, "it is not approved"


async def test_an_unregistered_account_may_be_its_own_company(
    connect: Visitors, calm: Site, smsc: FakeSMSC
) -> None:
    esme = await connect("newcomer")
    assert await status_of(esme, "12345", customer()) == 0x0A
    await calm.reload({"unknown": "account"})
    assert await status_of(esme, "12345", customer()) == 0x0A, "nobody has approved it"
    calm.approve("newcomer")
    pdu = esme.submit_octets("12345", customer())
    assert (await esme.request(pdu)).command_status == 0
    assert smsc.submits()[-1] == pdu
    to = customer()
    calm.block(to, "newcomer")
    assert await status_of(esme, "12345", to) == 0x66
    assert await status_of(esme, FROM, customer()) == 0x0A, "a source that is acme's"


async def test_rules_that_are_off_are_off(connect: Visitors, calm: Site, smsc: FakeSMSC) -> None:
    off = {"mode": "off"}
    await calm.reload({"rules": rules(source=off, approval=off, scheduled=off, replace=off)})
    esme, other = await connect(), await connect("charlie")
    assert await status_of(other, "10659999", customer()) == 0
    assert await status_of(esme, "10658888", customer()) == 0
    assert await status_of(esme, FROM, customer(), schedule_delivery_time="991231235959000+") == 0
    body = wire.cstring("id7") + b"\0\1" + wire.cstring(FROM) + b"\0\0\0\0\2hi"
    replace = wire.pack(c.REPLACE_SM, 77, body)
    assert (await esme.request(replace)).command_status == 0
    assert smsc.connections[-2].received[-1] == replace
    assert await status_of(esme, FROM, BLOCKED) == 0x66
    assert await status_of(esme, "10658888", BLOCKED) == 0x66, "whoever it is sent as"


async def test_schedules_up_to_a_limit(connect: Visitors, calm: Site, smsc: FakeSMSC) -> None:
    esme = await connect()
    soon, late = "000000010000000R", "000000030000000R"
    assert await status_of(esme, FROM, customer(), schedule_delivery_time=soon) == 0x61
    await calm.reload({"rules": rules(scheduled={"max_ahead": "2h"})})
    assert await status_of(esme, FROM, customer(), schedule_delivery_time=soon) == 0
    assert await status_of(esme, FROM, customer(), schedule_delivery_time=late) == 0x61


async def test_statuses_of_an_account_and_destinations_nobody_may_send_to(
    connect: Visitors, calm: Site, smsc: FakeSMSC
) -> None:
    await calm.reload(
        {
            "refused_destinations": ["10086999"],
            "accounts": {"acme": {"status": {"blocked_by_report": "0x45"}}},
        }
    )
    esme = await connect()
    assert await status_of(esme, FROM, BLOCKED) == 0x45
    for number in ("10086999", "8610086999", "+8610086999"):
        assert await status_of(esme, FROM, number) == 0x0B
    assert await status_of(esme, FROM, "10086998") == 0


async def test_a_limit_lowered_cuts_nobody_off(connect: Visitors, calm: Site) -> None:
    first, second = await connect("bravo"), await connect("bravo")
    await calm.reload({"accounts": {"bravo": {"max_sessions": 1, "addresses": ["192.0.2.1/32"]}}})
    for esme in (first, second):
        assert await status_of(esme, "10658888", customer()) == 0
    late = await connect(None)
    assert (await late.bind("trx", "bravo")).command_status == c.ESME_RBINDFAIL


async def test_a_new_registry_is_in_force_within_two_seconds(
    connect: Visitors, calm: Site, smsc: FakeSMSC
) -> None:
    esme = await connect()
    assert await status_of(esme, FROM, customer()) == 0
    since = len(calm.log)
    moved = {"companies": {"bravo": {"accounts": ["bravo"], "sources": [FROM, "10658888"]}}}
    started = asyncio.get_running_loop().time()
    await calm.load_registry(moved)
    await calm.wait_for_log("registry_loaded", since=since)
    assert asyncio.get_running_loop().time() - started < 2
    assert await status_of(esme, FROM, customer()) == 0x0A
    since = len(calm.log)
    await calm.fill()
    await calm.wait_for_log("registry_loaded", since=since)
    assert await status_of(esme, FROM, customer()) == 0


# last, as more refusals than a log takes in a second are summed up


async def test_reloads_under_load_never_mix_two_policies(
    connect: Visitors, calm: Site, smsc: FakeSMSC
) -> None:
    """Under one the block answers 0x0B, under the other 0x45; both refuse whatever comes."""
    esme = await connect()
    before = len(smsc.submits())
    done = asyncio.Event()

    async def send() -> set[int]:
        seen: set[int] = set()
        while not done.is_set():
            answers = await esme.submit_all(FROM, [BLOCKED] * 50)
            seen |= {answer.command_status for answer in answers}
        return seen

    sending = asyncio.create_task(send())
    for n in range(10):
        status = ("0x0B", "0x45")[n % 2]
        await calm.reload({"rules": rules(blocked={"status": status})})
    done.set()
    assert await sending <= {0x66, 0x0B, 0x45}
    assert len(smsc.submits()) == before
