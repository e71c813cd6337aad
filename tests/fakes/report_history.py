"""What was sent to the report centre and what it was told, held against what is left of it.

After any fault: a report that was acknowledged is on the records, once, with one case; its block is
live, in Redis, and was before nobody else's; its answer reached the handset, once, or twice where
the records say that this may be; and the ledger is one whole chain.
"""

from collections import Counter
from collections.abc import Iterable

from sqlalchemy import Connection, select

from smsfilter.desk.vault import Vault
from smsfilter.ledger.chain import GENESIS, link
from smsfilter.smpp.const import SUBMIT_SM
from smsfilter.store import ledger
from smsfilter.store.schema import block, case_file, report, sms_out
from tests.fakes import wire
from tests.fakes.books import pairs
from tests.fakes.desk import Desk


def submits(desk: Desk) -> Counter[str]:
    """How often an SMS was submitted to each number, answered or not."""
    found: Counter[str] = Counter()
    for _, pdu in desk.site.smsc.arrivals:
        if wire.header(pdu).command_id == SUBMIT_SM:
            found[wire.read_submit_sm(pdu).destination.decode()] += 1
    return found


async def whole(desk: Desk, vault: Vault, numbers: Iterable[str], company: str) -> None:
    """Hold the promises for customers each of whom sent one report on one company."""
    wanted = set(numbers)
    await desk.site.smsc.changes.until(
        lambda: wanted <= set(desk.handsets.received),
        lambda: f"an answer for {sorted(wanted - set(desk.handsets.received))}\n{desk.story()}",
        timeout_s=30,
    )
    sent, received = submits(desk), desk.handsets.received

    def look(connection: Connection) -> None:
        reports = connection.execute(select(report)).all()
        of = vault.numbers(connection, {each.customer for each in reports})
        known = Counter(of[each.customer] for each in reports)
        assert {number: known[number] for number in wanted} == dict.fromkeys(wanted, 1)
        assert all(each.confirmed_at for each in reports)
        cases = Counter(of[each] for each in connection.scalars(select(case_file.c.customer)))
        assert all(cases[number] == 1 for number in wanted), cases
        live = select(block.c.customer, block.c.target).where(block.c.ended_at.is_(None))
        held = Counter((of[row.customer], row.target) for row in connection.execute(live))
        assert all(held[number, company] == 1 for number in wanted), held
        for row in connection.execute(select(sms_out)):
            number, most = of[row.customer], 2 if row.maybe_twice else 1
            assert 1 <= len(received[number]) <= most, (row, received[number])
            assert row.attempts == sent[number] or row.maybe_twice, (row, sent[number])
        chain(connection)

    await desk.look(look)
    assert {(number, company) for number in wanted} <= pairs(desk.site.server.client())


def chain(connection: Connection) -> None:
    """The rows of the ledger are linked from the first to the head."""
    before = GENESIS
    last = 0
    for row in ledger.rows(connection):
        assert (row.seq, row.prev) == (last + 1, before)
        before, last = link(row.prev, row.body), row.seq
        assert row.hash == before
    assert ledger.head(connection)[:2] == (last, before)
