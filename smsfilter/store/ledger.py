"""The ledger as the records hold it: its rows and checkpoints, in order, a few at a time."""

from collections.abc import Iterator
from typing import Final

from sqlalchemy import Connection, select

from smsfilter.ledger.chain import Row
from smsfilter.store.schema import checkpoint, ledger, ledger_head

_AT_ONCE: Final = 1_000


def head(connection: Connection) -> tuple[int, bytes, str]:
    """Return seq and hash of the last row, and the id of the chain."""
    found = connection.execute(
        select(ledger_head.c.seq, ledger_head.c.hash, ledger_head.c.chain)
    ).one()
    return found.seq, found.hash, found.chain


def rows(connection: Connection, first: int = 1, last: int | None = None) -> Iterator[Row]:
    """Give the rows from `first` to `last`, a thousand of them in memory."""
    names = [column.name for column in ledger.c]
    at = first
    while True:
        query = select(ledger).where(ledger.c.seq >= at).order_by(ledger.c.seq).limit(_AT_ONCE)
        if last is not None:
            query = query.where(ledger.c.seq <= last)
        some = connection.execute(query).all()
        for each in some:
            yield Row(**{name: getattr(each, name) for name in names})
        if len(some) < _AT_ONCE:
            return
        at = some[-1].seq + 1


def checkpoints(
    connection: Connection, first: int = 1, last: int | None = None
) -> Iterator[tuple[int, str]]:
    """Give seq and text of the checkpoints that sign rows from `first` to `last`."""
    at = first
    while True:
        query = select(checkpoint.c.seq, checkpoint.c.text).where(checkpoint.c.seq >= at)
        if last is not None:
            query = query.where(checkpoint.c.seq <= last)
        some = connection.execute(query.order_by(checkpoint.c.seq).limit(_AT_ONCE)).all()
        yield from ((each.seq, each.text) for each in some)
        if len(some) < _AT_ONCE:
            return
        at = some[-1].seq + 1
