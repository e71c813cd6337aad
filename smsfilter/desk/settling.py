"""After a restore: what only the index knows becomes blocks, before anything is removed there.

A pair whose block had ended by the time of the backup may have been reported again since, and a
pair that the records never had may be a report that they have lost. Nobody can tell them from what
an operator put there, and a block too many harms less than one that is gone: each is adopted.
"""

from functools import partial
from typing import Final

from sqlalchemy import Connection, select, update

from smsfilter import log
from smsfilter.desk.adoption import adopt_these
from smsfilter.desk.compare import Comparison
from smsfilter.desk.indexing import IndexTaken
from smsfilter.desk.office import Office
from smsfilter.desk.pairs import Pairs
from smsfilter.ledger.actor import system
from smsfilter.store import connect, keys, ledger
from smsfilter.store.address import RedisAddress
from smsfilter.store.claim import Claim, Found, judge
from smsfilter.store.reading import reading
from smsfilter.store.schema import index_state
from smsfilter.store.transaction import Transaction

_BY: Final = system("restore")


async def settle(office: Office, address: RedisAddress, *, take_over: bool = False) -> int | None:
    """Adopt what the index has and the records have not, where a restore left that to be done.

    Returns how many pairs that were; None where nothing was left to do. Raises Unreachable,
    RecordsAway, RecordsError, SealError, and IndexTaken where the index is another desk's and
    `take_over` does not say that this is meant. Cut off, it is done again from the beginning.
    """
    if not await reading(office.records, _is_owed):
        return None
    prefix, country_code = office.config.redis.prefix, office.policy.country_code
    async with connect.connected(address) as client:
        raw = await client.get(prefix + keys.EPOCH)
        found = await reading(office.records, partial(_judged, raw=raw))
        if found.claim is Claim.ANOTHERS and not take_over:
            raise IndexTaken("the records were restored, and the index belongs to another desk")
        comparison = Comparison(client, prefix, office.records, Pairs(office.vault, country_code))
        surplus = comparison.surplus()
        adopted = await adopt_these(surplus, office.writer, office.vault, _BY, country_code)
    await office.writer.write(partial(_settled, adopted=adopted))
    log.get().warning("index_adopted", count=adopted)
    return adopted


def _is_owed(connection: Connection) -> bool:
    return bool(connection.scalar(select(index_state.c.adopts)))


def _judged(connection: Connection, raw: object) -> Found:
    me = connection.execute(select(index_state)).one()
    return judge(raw, me.desk, me.epoch, ledger.head(connection)[0])


def _settled(transaction: Transaction, adopted: int) -> None:
    transaction.connection.execute(update(index_state).values(adopts=False))
    transaction.enter("index adopted", _BY, object="index", detail={"count": adopted})
