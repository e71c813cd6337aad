"""The ledger over the API: exported for a verifier, its checkpoints for a witness, and read.

Who reads or exports is entered first, then answered. An export begins and ends at a checkpoint, so
that a verifier can prove all of it; to its own end the ledger is signed afresh.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Any, Final

from pydantic import Field
from sqlalchemy import Row, func, select
from starlette.routing import Route

from smsfilter.desk.api import PAGE_MOST, Asked, Lines, route
from smsfilter.desk.office import Office
from smsfilter.desk.problems import invalid
from smsfilter.desk.written import Number, digits_of
from smsfilter.flow.rights import Right
from smsfilter.ledger.actor import Actor
from smsfilter.ledger.chain import parse
from smsfilter.ledger.checkpoint import read
from smsfilter.ledger.export import Header, export
from smsfilter.rules.policy import Model
from smsfilter.store import ledger as stored
from smsfilter.store.schema import checkpoint, ledger
from smsfilter.store.transaction import Entered, Transaction

_AT_ONCE: Final = 500
"""Lines of an export that are made and sent together."""
_SEQ_MOST: Final = 18
"""Digits of a seq in a query."""
_LINES: Final = "application/jsonl"
_SPAN: Final = {"from": "the seq of the first row", "to": "the seq of the last row"}


class _Wanted(Model):
    """Which rows are to be read; the number of a customer stands in a body only."""

    case: str | None = None
    customer: str | None = None
    number: Number | None = None
    before: int | None = None
    limit: Annotated[int, Field(ge=1, le=PAGE_MOST)] = 50


@dataclass(frozen=True, slots=True)
class _Span:
    first: int
    last: int
    chain: str
    at: int
    """What was signed later may be missing, and nobody holds that against the export."""


def routes(office: Office) -> list[Route]:
    """What the API answers."""
    audit = Audit(office)
    return [
        route(
            "/ledger/export",
            audit.export,
            right=Right.EXPORT_LEDGER,
            query=_SPAN,
            media_type=_LINES,
        ),
        route(
            "/ledger/checkpoints",
            audit.checkpoints,
            right=Right.EXPORT_LEDGER,
            query={"from": _SPAN["from"]},
            media_type=_LINES,
        ),
        route(
            "/ledger/read",
            audit.read,
            "POST",
            right=Right.READ_LEDGER,
            body=_Wanted,
            keyed=False,
        ),
    ]


class Audit:
    """Answers what is asked of the ledger."""

    def __init__(self, office: Office) -> None:
        self._office = office

    async def export(self, asked: Asked) -> Lines:
        """Give the ledger, or what of it lies around `from` … `to`. Raises Problem, RecordsAway."""
        first, last = _seq(asked, "from") or 1, _seq(asked, "to")
        if last is not None and last < first:
            raise invalid("`to` is before `from`")
        detail = {"from": first, "to": last}

        def enter(transaction: Transaction) -> Entered:
            transaction.checkpoint()
            return transaction.enter("ledger exported", asked.by, object="ledger", detail=detail)

        end = await self._office.writer.write(enter)
        if first > end.seq:
            raise invalid(f"the ledger ends with seq {end.seq}")
        span = await asyncio.to_thread(self._span, first, min(last or end.seq, end.seq), end.at)
        return Lines(_streamed(self._lines(span)))

    async def checkpoints(self, asked: Asked) -> Lines:
        """Give the checkpoints that sign rows from `from` on, each as {seq, text}."""
        return Lines(_streamed(self._checkpoints(_seq(asked, "from") or 1)))

    async def read(self, asked: Asked) -> Any:
        """Give the newest rows that fit, the oldest first; masked, and entered as one look."""
        wanted: _Wanted = asked.body(_Wanted)
        return await self._office.writer.write(
            lambda transaction: self._read(transaction, wanted, asked.by)
        )

    def _span(self, first: int, last: int, now: int) -> _Span:
        """Widen what is asked for to where checkpoints are; there is one at or after `last`."""
        with self._office.records.reading() as connection:
            _, _, chain = stored.head(connection)
            before = connection.scalar(
                select(func.max(checkpoint.c.seq)).where(checkpoint.c.seq < first)
            )
            query = select(checkpoint).where(checkpoint.c.seq >= last).order_by(checkpoint.c.seq)
            behind = connection.execute(query.limit(1)).first()
        if behind is None:  # somebody has removed it: the verifier will say so
            return _Span((before or 0) + 1, last, chain, now)
        return _Span((before or 0) + 1, behind.seq, chain, min(now, _signed_at(behind.text, now)))

    def _lines(self, span: _Span) -> Generator[bytes, None, None]:
        office = self._office
        with office.records.reading() as connection:
            yield from export(
                Header(span.chain, span.at, span.first, span.last),
                stored.rows(connection, span.first, span.last),
                stored.checkpoints(connection, span.first - 1, span.last),
                office.keys.sign,
            )

    def _checkpoints(self, first: int) -> Generator[bytes, None, None]:
        with self._office.records.reading() as connection:
            for seq, text in stored.checkpoints(connection, first):
                yield json.dumps({"seq": seq, "text": text}).encode() + b"\n"

    def _read(self, transaction: Transaction, wanted: _Wanted, by: Actor) -> Any:
        connection, vault = transaction.connection, self._office.vault
        customer_id = wanted.customer
        if wanted.number is not None:
            digits = digits_of(wanted.number, self._office.policy.country_code)
            customer_id = vault.find(connection, digits) or ""
        query = select(ledger).order_by(ledger.c.seq.desc()).limit(wanted.limit)
        for column, value in (("case_id", wanted.case), ("customer_id", customer_id)):
            if value is not None:
                query = query.where(ledger.c[column] == value)
        if wanted.before is not None:
            query = query.where(ledger.c.seq < wanted.before)
        rows = connection.execute(query).all()[::-1]
        transaction.enter(
            "ledger read",
            by,
            object="ledger",
            # What was asked for and is not there may be anything, a number typed as an id too.
            case_id=wanted.case if rows else None,
            customer_id=customer_id if rows else None,
            detail={"rows": len(rows), "before": wanted.before},
        )
        named = {row.customer_id for row in rows if row.customer_id is not None}
        masked = vault.masked(connection, sorted(named))
        return {"items": [_item(row, masked.get(row.customer_id)) for row in rows]}


def _signed_at(text: str, otherwise: int) -> int:
    try:
        return read(text).at
    except ValueError:
        return otherwise


def _item(row: Row[Any], number: str | None) -> dict[str, Any]:
    """One row as it may be shown; `detail` is null where the row is not what was entered."""
    try:
        detail = parse(row.body).detail
    except ValueError:
        detail = None
    return {
        "seq": row.seq,
        "at": row.at,
        "actor": row.actor,
        "role": row.role,
        "origin": row.origin,
        "action": row.action,
        "object": row.object,
        "case": row.case_id,
        "customer": row.customer_id,
        "number": number,
        "detail": detail,
    }


async def _streamed(lines: Generator[bytes, None, None]) -> AsyncIterator[bytes]:
    """Send what is read in a thread of its own, which also closes the reading."""
    loop = asyncio.get_running_loop()
    thread = ThreadPoolExecutor(1, "ledger")
    try:
        while some := await loop.run_in_executor(thread, lambda: b"".join(islice(lines, _AT_ONCE))):
            yield some
    finally:
        thread.submit(lines.close)
        thread.shutdown(wait=False)


def _seq(asked: Asked, name: str) -> int | None:
    text = asked.query.get(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > _SEQ_MOST or int(text) < 1:
        raise invalid(f"`{name}` is a seq of the ledger")
    return int(text)
