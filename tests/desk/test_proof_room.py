"""The route of proofs: entered before the answer, and nobody's number in it; on both databases."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from smsfilter.decisions.layout import Kind
from smsfilter.desk.api import Asked
from smsfilter.desk.entrance import Asker
from smsfilter.desk.office import Office
from smsfilter.desk.problems import Problem
from smsfilter.desk.projection import Projection
from smsfilter.desk.proof_room import ProofRoom
from smsfilter.flow.rights import Right, Role
from smsfilter.ledger.chain import parse
from smsfilter.store import ledger
from tests.fakes.desks import At, blocked
from tests.fakes.recorded import Recorded

ANNA, HANDSET = "8613800138000", "8613900139000"


class Desk:
    def __init__(self, office: Office, proxy: Recorded) -> None:
        self.office = office
        self.proxy = proxy
        self.room = ProofRoom(office, cast("Projection", None))

    async def prove(self, branch: str = "hq", **body: Any) -> Any:
        asker = Asker("staff:wang", frozenset((Role.SUPERVISOR,)), "socket", branch)
        asked = Asked(asker, Right.PROVE_BLOCKS, {}, {}, json.dumps(body).encode())
        return await self.room.prove(asked)

    def entered(self) -> list[Any]:
        with self.office.records.reading() as connection:
            rows = [parse(row.body) for row in ledger.rows(connection)]
        return [row for row in rows if row.action == "proof given"]


@contextmanager
def at_work(at: At) -> Iterator[Desk]:
    at.state.mkdir()
    at.found()
    with at.writing() as office:
        proxy = Recorded(at.folder / "copy", at.state / "keys" / "decisions" / "p1.key")
        stamp = proxy.folder / "copied"
        stamp.touch()
        os.utime(stamp, (4_000_000_000, 4_000_000_000))
        yield Desk(office, proxy)


@pytest.fixture
def desk(tmp_path: Path, records_urls: tuple[str, str | None]) -> Iterator[Desk]:
    at = At(tmp_path / "desk", records_urls, decisions=[{"proxy": "p1", "path": "copy"}])
    with at_work(at) as desk:
        yield desk


async def test_a_proof_is_entered_before_the_answer(desk: Desk) -> None:
    (block,) = blocked(desk.office.writer, desk.office.vault, [ANNA])
    now, proxy = desk.office.clock(), desk.proxy
    proxy.segment(
        1,
        proxy.decided(ANNA, now - 9, seq=1),
        proxy.decided(ANNA, now + 9, source=proxy.tokens.handset(HANDSET), seq=1 << 20),
        proxy.refused(ANNA, now + 10),
        proxy.decided(ANNA, now + 11, kind=Kind.RECEIPT, reason="DELIVRD"),
        at=now - 1_000_000_000,
    )
    said = await desk.prove(customer=ANNA, company="acme")
    assert (said["result"], said["block"], said["target"]) == ("forwarded", block, "acme")
    assert said["counts"] == {
        "violations": 1,
        "doubtful": 0,
        "refused": 1,
        "before": 1,
        "delivered_after": 1,
        "gaps": 0,
    }
    assert said["violations"][0]["source"] == "handset"
    assert said["delivered_after"][0]["seq"] is None
    assert ANNA[2:] not in json.dumps(said)
    (row,) = desk.entered()
    assert (row.actor, row.object) == ("staff:wang", f"block:{block}")
    assert row.detail["result"] == "forwarded"
    assert row.customer_id is not None
    assert (await desk.prove(block=block))["result"] == "forwarded"
    assert len(desk.entered()) == 2
    assert not desk.room.missing()


async def test_what_there_is_no_proof_of_is_not_entered(desk: Desk) -> None:
    for body in ({"block": 9}, {"customer": ANNA, "company": "acme"}):
        with pytest.raises(Problem, match=r"there is no block|has not blocked"):
            await desk.prove(**body)
    for body in ({}, {"customer": ANNA}, {"customer": ANNA, "company": "a", "source": "b"}):
        with pytest.raises(Problem, match="name a block"):
            await desk.prove(**body)
    assert not desk.entered()


async def test_a_branch_proves_the_blocks_of_its_own_customers(desk: Desk) -> None:
    blocked(desk.office.writer, desk.office.vault, [ANNA])  # without branches, headquarters'
    with pytest.raises(Problem, match="in your branch"):
        await desk.prove("north", customer=ANNA, company="acme")
    assert not desk.entered()
