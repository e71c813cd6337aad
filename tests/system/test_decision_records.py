"""Decision records of the real daemon: what reached the SMSC is on record, whatever happens."""

import asyncio
import os
import resource
import stat
from collections import Counter
from typing import Any

import pytest

from smsfilter.decisions.layout import End, Kind
from smsfilter.decisions.proof import Proof, Result
from smsfilter.decisions.tokens import Tokens
from smsfilter.proxy.recorder import KEY_FILE
from smsfilter.store import keyfiles
from smsfilter.store.decisions import Folder, Records
from tests.conftest import MakeRedis, MakeSite
from tests.fakes import wire
from tests.fakes.calm import customer
from tests.fakes.esme import FakeESME
from tests.fakes.site import Site

pytestmark = [pytest.mark.system, pytest.mark.redis]

FROM, TO, BLOCKED = "10657555", "8613800138000", "8613800138001"
EPOCH = "index:epoch"


def folder_of(site: Site) -> Folder:
    state = site.directory / "state"
    return Folder(state / "decisions", Tokens(keyfiles.read(state / KEY_FILE)), "p1")


def records(site: Site, *, verify: bool = False) -> Records:
    return Records([folder_of(site)], verify=verify)


def files(site: Site) -> list[str]:
    names = os.listdir(site.directory / "state" / "decisions")
    return sorted(name for name in names if name[0].isdigit())


def recording(**more: Any) -> dict[str, Any]:
    return {"decisions": {"name": "p1", **more}}


@pytest.fixture
async def site(make_site: MakeSite) -> Site:
    return await make_site(config=recording())


async def flood(esme: FakeESME, stop: asyncio.Event) -> None:
    """Submit window after window until told to stop or until the connection ends."""
    while not stop.is_set() and esme.ended is None and not esme.eof:
        pdus = [esme.submit_octets(FROM, customer()) for _ in range(20)]
        answers = [esme.expect(pdu) for pdu in pdus]
        esme.send_raw(b"".join(pdus))
        await asyncio.wait([answers[-1]])
        for answer in answers:
            if answer.done():
                answer.exception()


def proof_of(found: Records) -> Proof:
    """Of a block as old as the records, with a seq that nothing has reached."""
    since = found.manifests()[0].since
    return found.prove(TO, ["acme"], [], changed_seq=1 << 31, created_at=since)


async def submit_many(esme: FakeESME, count: int) -> set[int]:
    """Submit messages one by one; the statuses of their answers."""
    return {(await esme.submit(FROM, customer())).command_status for _ in range(count)}


def unrecorded(site: Site, found: Records) -> list[str]:
    """The messages that reached the SMSC and have no record of a forward."""
    reached = Counter(site.smsc.destinations())
    return [to for to, times in reached.items() if len(found.forwards(to)) < times]


# what is on record


async def test_every_verdict_is_on_record_with_what_its_batch_had_read(site: Site) -> None:
    site.block(BLOCKED, "acme")
    site.server.client().set(EPOCH, "desk:41")
    esme = await site.esme("acme2")
    assert (await esme.submit(FROM, TO)).command_status == 0
    assert (await esme.submit("106905551777", BLOCKED)).command_status == 0x66
    found = records(site)
    (forward,) = found.of(TO)
    assert (forward.kind, forward.seq, forward.reason) == (Kind.FORWARD, 41, "")
    assert (forward.companies, forward.source, forward.proxy) == (("acme",), FROM, "p1")
    assert forward.policy == site.logged("started")[-1]["policy"]
    (refused,) = found.of(BLOCKED)
    assert (refused.kind, refused.seq) == (Kind.REFUSED, 41)
    assert (refused.reason, refused.source) == ("blocked_by_report", "106905551777")
    assert await site.metric("smsfilter_decision_records_total") == 2
    assert await site.metric("smsfilter_decisions_recorded") == 1


async def test_each_reading_of_a_destination_has_a_record(site: Site) -> None:
    esme = await site.esme()
    await esme.submit(FROM, "13800138000")
    found = records(site)
    assert len(found.forwards(TO)) == len(found.forwards("13800138000")) == 1


async def test_each_destination_of_a_submit_multi_has_one(site: Site) -> None:
    site.block(BLOCKED, "acme")
    esme = await site.esme()
    pdu = wire.submit_multi(esme.next_number(), FROM, [wire.sme(TO), wire.sme(BLOCKED)])
    await esme.request(pdu)
    found = records(site)
    assert [one.kind for one in found.of(TO)] == [Kind.FORWARD]
    assert [one.kind for one in found.of(BLOCKED)] == [Kind.REFUSED]


async def test_a_submit_multi_that_is_refused_as_a_whole_is_no_forward(site: Site) -> None:
    esme = await site.esme()
    pdu = wire.submit_multi(esme.next_number(), FROM, [wire.sme(TO), wire.dl("all")])
    assert (await esme.request(pdu)).command_status == 0x34
    assert [one.kind for one in records(site).of(TO)] == [Kind.REFUSED]


async def test_what_rules_in_shadow_had_against_a_forward(make_site: MakeSite) -> None:
    site = await make_site(config=recording(), policy={"mode": "shadow"})
    site.block(BLOCKED, "acme")
    site.server.client().set(EPOCH, "desk:41")
    esme = await site.esme()
    await esme.submit(FROM, BLOCKED)
    found = records(site)
    (forward,) = found.of(BLOCKED)
    assert (forward.kind, forward.reason) == (Kind.FORWARD, "blocked_by_report")
    proof = found.prove(BLOCKED, ["acme"], [], changed_seq=40, created_at=forward.at)
    assert proof.result is Result.FORWARDED


async def test_a_forward_that_could_not_be_checked(
    make_site: MakeSite, make_redis: MakeRedis
) -> None:
    server = make_redis()
    rules = [{"id": "blocked", "type": "block", "on_error": "pass"}]
    site = await make_site(config=recording(), redis=server, policy={"rules": rules})
    server.client().set(EPOCH, "desk:41")
    esme = await site.esme()
    await esme.submit(FROM, TO)
    server.kill()
    await site.wait_for_log("redis_away")
    assert (await esme.submit(FROM, TO)).command_status == 0
    checked, unchecked = records(site).of(TO)
    assert (checked.kind, unchecked.kind) == (Kind.FORWARD, Kind.UNCHECKED)
    assert unchecked.seq == 41, "what the proxy had known"
    assert unchecked.reason == "lookup_unavailable"


async def test_a_receipt_is_of_its_customer(site: Site) -> None:
    esme = await site.esme()
    pdu = esme.submit_octets(FROM, TO)
    await esme.request(pdu)
    connection = site.smsc.bound_connections()[0]
    connection.send_receipt(pdu, "4711", "DELIVRD")
    connection.deliver_sm(TO, FROM, "hello")
    await esme.recv()
    await esme.recv()
    forward, receipt = records(site).of(TO)
    assert forward.kind is Kind.FORWARD
    assert (receipt.kind, receipt.reason) == (Kind.RECEIPT, "DELIVRD")
    assert (receipt.companies, receipt.source) == (("acme",), FROM)


async def test_nobodys_number_is_in_the_files(site: Site) -> None:
    esme = await site.esme()
    await esme.submit("13900139000", TO)
    await site.stop()
    octets = (site.directory / "state/decisions/0000000001.seg").read_bytes()
    for digits in (b"13900139000", TO.encode()):
        assert digits not in octets
    tokens = Tokens(keyfiles.read(site.directory / "state" / KEY_FILE))
    assert tokens.handset("13900139000").encode() in octets, "as blocks spell the source"


async def test_records_that_are_off(make_site: MakeSite) -> None:
    site = await make_site(config=recording(record="false"))
    esme = await site.esme()
    assert (await esme.submit(FROM, TO)).command_status == 0
    assert not (site.directory / "state" / "decisions").exists()
    assert not (site.directory / "state" / KEY_FILE).exists()
    assert await site.metric("smsfilter_decisions_recorded") == 0


async def test_a_time_without_records_is_a_gap(site: Site) -> None:
    await (await site.esme()).submit(FROM, TO)
    await site.stop()
    site.write_config(recording(record="false"))
    await site.start()
    await site.stop()
    site.write_config(recording())
    await site.start()
    found = records(site)
    created_at = found.manifests()[0].since
    (gap,) = found.prove(TO, ["acme"], [], changed_seq=1 << 31, created_at=created_at).gaps
    assert gap.why == "decisions were not recorded here"


# the life of a segment


async def test_a_stop_in_order_leaves_closed_segments_that_prove(site: Site) -> None:
    site.block(BLOCKED, "acme")
    site.server.client().set(EPOCH, "desk:41")
    esme = await site.esme()
    await esme.submit(FROM, BLOCKED)
    await site.restart()
    await (await site.esme()).submit(FROM, BLOCKED)
    await site.stop()
    assert files(site) == ["0000000001.seg", "0000000002.seg"]
    for name in files(site):
        mode = (site.directory / "state" / "decisions" / name).stat().st_mode
        assert stat.S_IMODE(mode) == 0o600
    found = records(site, verify=True)
    first, second = found.manifests()
    assert (first.end, second.end) == (End.ORDERLY, End.ORDERLY)
    assert second.prev == first.sha256
    proof = found.prove(BLOCKED, ["acme"], [], changed_seq=41, created_at=first.since)
    assert proof.result is Result.PROVEN
    assert len(proof.refused) == 2


async def test_after_kill_9_all_that_reached_the_smsc_is_on_record(site: Site) -> None:
    stop = asyncio.Event()
    esmes = [await site.esme(account) for account in ("acme", "acme2", "acme")]
    floods = [asyncio.create_task(flood(esme, stop)) for esme in esmes]
    await site.smsc.wait_for(400)
    await site.kill()
    await asyncio.gather(*floods)
    assert files(site) == ["0000000001.open"]
    await site.start()
    (recovered,) = site.logged("segment_recovered")
    assert recovered["end"] == "recovered"
    await site.wait_for_log("segment_closed", number=1)
    found = records(site, verify=True)
    assert len(site.smsc.destinations()) >= 400
    assert not unrecorded(site, found)
    proof = found.prove(BLOCKED, ["acme"], [], changed_seq=1, created_at=found.manifests()[0].since)
    assert proof.result is Result.PROVEN, "the machine went on: nothing is missing"


async def test_a_torn_last_record_is_cut_off(site: Site) -> None:
    await (await site.esme()).submit(FROM, TO)
    await site.kill()
    path = site.directory / "state" / "decisions" / "0000000001.open"
    octets = path.read_bytes().rstrip(b"\0")
    path.write_bytes(octets + octets[-20:])
    await site.start()
    assert [one.kind for one in records(site).of(TO)] == [Kind.FORWARD]
    assert not records(site, verify=True).damaged


async def test_another_boot_makes_it_a_gap(make_site: MakeSite) -> None:
    site = await make_site(config=recording())
    await (await site.esme()).submit(FROM, TO)
    await site.kill()
    path = site.directory / "state" / "decisions" / "0000000001.open"
    with path.open("r+b") as file:
        file.seek(16)
        file.write(b"\1" * 16)
    await site.start()
    (recovered,) = site.logged("segment_recovered")
    assert recovered["end"] == "unclean"
    found = records(site)
    proof = found.prove(
        TO, ["acme"], [], changed_seq=1 << 31, created_at=found.manifests()[0].since
    )
    assert [gap.why for gap in proof.gaps] == ["segment 1 has no clean end"]


# the disk


def limit_files(site: Site, octets: int) -> None:
    """Let no file of the daemon grow beyond this."""
    _, hard = resource.prlimit(site.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(site.pid, resource.RLIMIT_FSIZE, (octets, hard))


async def test_a_full_disk_lets_traffic_go_on_and_counts_what_is_lost(site: Site) -> None:
    esme = await site.esme()
    await esme.submit(FROM, TO)
    limit_files(site, 4096)
    assert await submit_many(esme, 200) == {0}
    await site.wait_for_log("records_unwritable")
    lost = await site.metric("smsfilter_decision_records_lost_total")
    assert 0 < lost <= 200
    assert await site.metric("smsfilter_decisions_recorded") == 0
    limit_files(site, resource.RLIM_INFINITY)
    again = await site.wait_for_log("records_written_again")
    assert again["lost"] == lost
    assert (await esme.submit(FROM, TO)).command_status == 0
    found = records(site)
    assert len(found.forwards(TO)) == 2
    proof = found.prove(
        TO, ["acme"], [], changed_seq=1 << 31, created_at=found.manifests()[0].since
    )
    assert [gap.lost for gap in proof.gaps] == [lost]


async def test_a_loss_is_a_gap_even_if_the_process_dies_meanwhile(site: Site) -> None:
    esme = await site.esme()
    limit_files(site, 4096)
    await submit_many(esme, 200)
    await site.wait_for_log("records_unwritable")
    marker = site.directory / "state" / "decisions" / "unrecorded"
    while not marker.exists():
        await site.get("/livez")
    await site.kill()
    await site.start()
    found = records(site)
    proof = found.prove(
        TO, ["acme"], [], changed_seq=1 << 31, created_at=found.manifests()[0].since
    )
    assert [gap.why for gap in proof.gaps] == ["decisions were not recorded here"]
    assert not marker.exists()


async def test_on_full_temporary_lets_nothing_go_unrecorded(make_site: MakeSite) -> None:
    site = await make_site(config=recording(on_full="temporary"))
    esme = await site.esme()
    limit_files(site, 4096)
    assert await submit_many(esme, 20) == {0}
    with pytest.raises(ConnectionError):
        await submit_many(esme, 200)
    await site.wait_for_log("session_closed", why="unrecorded")
    esme = await site.esme()
    assert (await esme.submit(FROM, customer())).command_status == 0x58
    await site.wait_for_log("refused", reason="unrecorded")
    assert not unrecorded(site, records(site))
    limit_files(site, resource.RLIM_INFINITY)
    await site.wait_for_log("records_written_again")
    assert (await esme.submit(FROM, TO)).command_status == 0
    found = records(site)
    assert not unrecorded(site, found)
    assert not found.prove(
        TO, ["acme"], [], changed_seq=1 << 31, created_at=found.manifests()[0].since
    ).gaps


async def test_a_disk_that_is_full_at_the_start(make_site: MakeSite) -> None:
    site = await make_site(config=recording(), wrapper=("prlimit", "--fsize=65536"))
    assert site.logged("records_unwritable")
    esme = await site.esme()
    assert (await esme.submit(FROM, TO)).command_status == 0
    assert await site.metric("smsfilter_decision_records_lost_total") == 1


# what it does not start with


@pytest.mark.parametrize("spoil", ["mode", "content"])
async def test_it_does_not_start_with_a_key_that_is_not_its_own(site: Site, spoil: str) -> None:
    await site.stop()
    key = site.directory / "state" / KEY_FILE
    if spoil == "mode":
        key.chmod(0o644)
    else:
        key.write_text("nonsense")
    await site.start(wait=False)
    site.expect_exit(1)
    assert await site.wait_exit() == 1
    assert "decisions.key" in site.stderr[-1]


async def test_two_proxies_do_not_write_to_one_folder(site: Site, make_site: MakeSite) -> None:
    state = {"state_dir": str(site.directory / "state")}
    other = await make_site(config=recording() | state, started=False)
    await other.start(wait=False)
    other.expect_exit(1)
    assert await other.wait_exit() == 1
    assert "another process writes to" in other.stderr[-1]
