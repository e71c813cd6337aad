"""A clock that is set is noted in the ledger, and nothing of the chain breaks by it."""

import asyncio
from pathlib import Path

import pytest

from smsfilter.desk import service
from smsfilter.desk.office import Office, now_us
from smsfilter.desk.service import Service
from smsfilter.ledger.chain import Entry, parse
from smsfilter.notify import Notify
from smsfilter.staff.room import StaffRoom
from smsfilter.store import ledger
from smsfilter.store.transaction import Transaction
from tests.fakes.books import until
from tests.fakes.desks import At, exported

HOUR_S = 3600


def jumps(office: Office) -> list[Entry]:
    """What the ledger says of the clock."""
    with office.records.reading() as connection:
        entries = [parse(row.body) for row in ledger.rows(connection)]
    return [each for each in entries if each.action == "clock jumped"]


@pytest.mark.parametrize("seconds", [HOUR_S, -HOUR_S])
async def test_a_clock_that_is_set_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    monkeypatch.setattr(service, "TICK_S", 0.01)
    at = At(tmp_path / "desk")
    at.found()
    ahead = 0
    office = Office.of(at.loaded, lambda: now_us() + ahead)
    office.writer.start()
    ticking = asyncio.create_task(Service(at.loaded, StaffRoom, (), Notify({}))._tick(office))
    await asyncio.sleep(0)  # it has looked at the clock
    ahead = seconds * 1_000_000
    await until(lambda: jumps(office))
    await office.writer.write(Transaction.checkpoint)
    ticking.cancel()
    await asyncio.gather(ticking, return_exceptions=True)
    office.writer.stop()
    (entry,) = jumps(office)
    office.records.close()
    assert abs(int(str(entry.detail["seconds"])) - seconds) <= 1
    assert entry.actor == "system:clock"
    assert exported(at).fault is None
