"""Reading the records without holding up the loop."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection

from smsfilter.store.records import Records

T = TypeVar("T")


async def reading(records: Records, work: Callable[[Connection], T]) -> T:
    """Run `work` in a thread, on one state of the records. Raises RecordsAway.

    Cancelled, it ends when the thread has: a connection that is in use cannot be closed.
    """

    def read() -> T:
        with records.reading() as connection:
            return work(connection)

    under_way = asyncio.ensure_future(asyncio.to_thread(read))
    try:
        return await asyncio.shield(under_way)
    finally:
        if not under_way.done():
            await asyncio.wait([under_way])
