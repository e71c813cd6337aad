"""Every evasion, sent over TCP to the real daemon: refused, with not an octet of it at the SMSC.

One site for the whole file and one session per account: a row's PDUs go out in one write, tricks
and clean twins taking turns, and an enquire_link behind them, which passes in its turn. When its
answer is there all is decided, and what the SMSC has recorded on that connection must be the clean
ones and it, octet for octet. `smsfilter explain` is asked about each PDU as well.
"""

import asyncio
import json
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

import pytest
import pytest_asyncio

from smsfilter.cli.explain import _judge, _live
from smsfilter.config import load
from smsfilter.proxy.explain import explain
from smsfilter.rules.verdict import Kind
from smsfilter.smpp.const import COMMAND_NAMES, ENQUIRE_LINK, GENERIC_NACK, RESPONSE_BIT
from smsfilter.store import registry
from smsfilter.store.address import parse_url
from smsfilter.store.connect import connected
from tests.evasions.rows import DROPPED, FORWARDED, WORLD, Row, Shape, load_rows
from tests.fakes import wire
from tests.fakes.calm import BLOCKED, calm_site
from tests.fakes.daemon import ROOT
from tests.fakes.esme import FakeESME
from tests.fakes.site import Site
from tests.fakes.smsc import FakeSMSC

pytestmark = [
    pytest.mark.system,
    pytest.mark.redis,
    pytest.mark.asyncio(loop_scope="module"),
]

ROWS = sorted(load_rows(), key=lambda row: json.dumps(row.policy))
"""Those of one policy stand together, so that it is reloaded rarely."""


class World:
    """The site, its sessions and the policy in force."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._policy: Mapping[str, Any] = {}
        self._esmes: dict[str, FakeESME] = {}

    async def under(self, policy: Mapping[str, Any]) -> None:
        """Put the world's policy in force, with what differs from it."""
        if policy != self._policy:
            self._policy = policy
            line = await self.site.reload(WORLD["policy"] | policy)
            assert line["event"] == "config_reloaded", line

    async def send(self, account: str, shapes: Iterable[Shape]) -> tuple[list[bytes], list[bytes]]:
        """Send all at once; what came back, and what came to the SMSC, of these alone."""
        if account not in self._esmes:
            esme = await FakeESME.connect(self.site.port)
            self._esmes[account] = await esme.bound("trx", account)
        esme = self._esmes[account]
        (leg,) = self.site.smsc.bound_connections(account)
        answered, arrived = len(esme.received), len(leg.received)
        esme.send_raw(b"".join(shape.octets for shape in shapes))
        assert (await esme.enquire_link()).command_status == 0
        assert wire.header(leg.received[-1]).command_id == ENQUIRE_LINK
        return esme.received[answered:-1], leg.received[arrived:-1]

    async def refusals(self) -> Counter[str]:
        """How often the daemon has refused, by reason."""
        return Counter(
            {
                dict(labels)["reason"]: int(value)
                for (name, labels), value in (await self.site.metrics()).items()
                if name == "smsfilter_messages_total" and dict(labels)["reason"]
            }
        )

    async def close(self) -> None:
        """End all sessions."""
        for esme in self._esmes.values():
            await esme.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """The site of this file, as world.yaml describes it."""
    smsc = await FakeSMSC.start()
    async with calm_site(
        tmp_path_factory.mktemp("evasions"),
        smsc,
        policy=WORLD["policy"],
        config={"log": {"decisions": "refused"}},
        registry=WORLD["registry"],
        approved=WORLD["approved"],
    ) as site:
        site.unblock(BLOCKED, "acme")  # a neighbour, who has blocked nobody here
        for customer, members in WORLD["blocked"].items():
            site.block(customer, *members)
        world = World(site)
        yield world
        await world.close()
    await smsc.stop()


def expected_answer(shape: Shape, row: Row) -> tuple[int, int, int]:
    """(command_id, sequence_number, command_status) of the answer to a PDU."""
    head = wire.header(shape.octets)
    status = 0 if shape.passes else row.status
    known = row.expect != "unknown_command" or shape.passes
    command_id = head.command_id | RESPONSE_BIT if known else GENERIC_NACK
    return command_id, head.sequence_number, status


def answer(pdu: bytes) -> tuple[int, int, int]:
    """The same of an answer that came."""
    head = wire.header(pdu)
    return head.command_id, head.sequence_number, head.command_status


def in_words(shape: Shape) -> str:
    """A PDU for the message of a failing test."""
    command_id = wire.header(shape.octets).command_id
    name = COMMAND_NAMES.get(command_id, f"0x{command_id:08x}")
    return f"{name} of {shape.account!r}: {shape.octets[16:]!r}"


def by_account(row: Row) -> dict[str, list[Shape]]:
    """A row's PDUs, each account's in order."""
    found: dict[str, list[Shape]] = {}
    for shape in row.shapes():
        found.setdefault(shape.account, []).append(shape)
    return found


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
async def test_a_trick_is_refused_and_its_clean_twin_arrives(world: World, row: Row) -> None:
    await world.under(row.policy)
    before = await world.refusals()

    for account, shapes in by_account(row).items():
        answers, arrived = await world.send(account, shapes)

        clean = [shape.octets for shape in shapes if shape.passes]
        slipped = [in_words(s) for s in shapes if not s.passes and s.octets in arrived]
        stopped = [in_words(s) for s in shapes if s.passes and s.octets not in arrived]
        assert not slipped, "reached the SMSC"
        assert not stopped, "did not reach the SMSC"
        assert arrived == clean
        expected = Counter(expected_answer(s, row) for s in shapes if s.is_answered)
        assert Counter(map(answer, answers)) == expected

    counted = (await world.refusals()) - before
    is_refusal = row.expect not in (FORWARDED, DROPPED)
    assert counted == ({row.expect: len(row.tries) * row.counted} if is_refusal else {})


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
async def test_explain_says_the_same(world: World, row: Row) -> None:
    """What the command line does for one PDU, for all of them with one connection."""
    await world.under(row.policy)
    loaded = load(str(world.site.config_path))
    address = parse_url(loaded.config.redis.url, loaded.config.state_dir, None)
    async with connected(address) as redis:
        stored = await registry.load(redis, "")
        assert stored is not None
        judge, ask = _judge(loaded.policy, stored[1]), _live(redis, "")
        for shape in row.shapes():
            account = shape.account.encode().decode("latin-1")
            told = explain(shape.octets, account, judge, ask, time.time())
            if not shape.passes and row.expect == DROPPED:
                with pytest.raises(ValueError, match="nobody asked for"):
                    await told
                continue
            decision = (await told).decision
            said = (decision.kind, decision.reason, decision.command_status)
            refused = (Kind.PERMANENT, row.expect, row.status)
            assert said == ((Kind.FORWARD, None, 0) if shape.passes else refused), in_words(shape)


FIRST_OF_REASON = list({row.expect: row for row in reversed(ROWS)}.values())


@pytest.mark.parametrize("row", FIRST_OF_REASON, ids=lambda row: row.expect)
async def test_the_command_explain_says_the_same(world: World, row: Row) -> None:
    await world.under(row.policy)
    shape = row.tries[-1]
    command = ("-m", "smsfilter", "explain", "-c", str(world.site.config_path), "--json")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        *("--account", shape.account, "--pdu", shape.octets.hex()),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()

    assert process.returncode == (0 if shape.passes else 1), err
    if row.expect == DROPPED:
        assert b"nobody asked for" in err
        return
    said = json.loads(out)
    assert said["reason"] == (None if shape.passes else row.expect)
    assert said["command_status"] == row.status
