"""Reading the records without holding up the loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from sqlalchemy import Connection

from smsfilter.store.records import Records

T = TypeVar("T")
_READERS: Final = ThreadPoolExecutor(3, "reading")
"""More of them only hand the interpreter's lock to and fro: each statement gives it away."""


async def reading(records: Records, work: Callable[[Connection], T]) -> T:
    """Run `work` in a thread, on one state of the records. Raises RecordsAway.

    Cancelled, it ends when the thread has: a connection that is in use cannot be closed.
    """

    def read() -> T:
        with records.reading() as connection:
            return work(connection)

    loop = asyncio.get_running_loop()
    under_way = loop.run_in_executor(_READERS, read)
    try:
        return await asyncio.shield(under_way)
    finally:
        if not under_way.done():
            await asyncio.wait([under_way])
