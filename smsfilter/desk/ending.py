"""What ends blocks: one of them, or all of numbers that are somebody else's by now.

One person asks, another one releases it. A file of numbers is worked off in portions after it was
released, and from its start again where the desk ended meanwhile: what is done is left alone then.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Final

from pydantic import Field
from sqlalchemy import Connection

from smsfilter.desk import blocking, releases
from smsfilter.desk.api import Asked
from smsfilter.desk.blocking import Recycled, Recycling
from smsfilter.desk.hands import allowed
from smsfilter.desk.office import Office
from smsfilter.desk.problems import Problem, invalid, not_found
from smsfilter.desk.releases import Kind, Released
from smsfilter.desk.written import NO_CUSTOMER, Number
from smsfilter.flow.branches import HEADQUARTERS, Branches
from smsfilter.flow.rights import Right
from smsfilter.rules.numbers import customer_key, mask
from smsfilter.rules.policy import Model
from smsfilter.store.transaction import Transaction

KIND: Final = "block.recycle"
RECYCLED_MOST: Final = 20_000
"""Numbers of one file: what an operator takes back in a week or so."""
_TOGETHER: Final = 50
"""Numbers of one transaction: reports wait for it."""
_SHOWN: Final = 20


class _Line(Model):
    customer: Number
    recycled_at: Annotated[int, Field(ge=0, lt=1 << 62)] | None = None


class Recycle(Model):
    """A file of numbers."""

    rows: Annotated[tuple[_Line, ...], Field(min_length=1, max_length=RECYCLED_MOST)]


class Recycles:
    """Asks for it, and does it."""

    def __init__(self, office: Office, after: Any) -> None:
        self._office = office
        self.kind = Kind(
            Right.END_BLOCKS,
            Right.RELEASE_BLOCKS,
            work=self._work,
            told=_told,
            after=after,
        )

    async def ask(self, asked: Asked) -> Any:
        """Ask that blocks of numbers that are somebody else's by now end: another releases it."""
        wanted: Recycle = asked.body(Recycle)
        rows = self._read(wanted.rows)
        office = self._office
        branch = common(office.branches, {office.branches.of(each) for each, _ in rows})
        if not office.sees(asked.known, branch):
            raise invalid("there are numbers of other branches among them: headquarters asks then")
        return await asked.write(
            lambda into: releases.ask(
                into,
                office.vault,
                KIND,
                self.kind.ask,
                subject=f"numbers:{len(rows)}",
                branch=branch,
                body={"rows": [list(each) for each in rows]},
                by=asked.by,
                person=asked.known.staff,
            )
        ) | {"rows": len(rows)}

    async def _work(self, released: Released) -> Mapping[str, Any]:
        rows = released.body["rows"]
        done: list[Recycled] = []
        for at in range(0, len(rows), _TOGETHER):
            some = rows[at : at + _TOGETHER]
            done += await self._office.writer.write(
                partial(self._recycle, some=some, released=released)
            )
        counts = {str(each): sum(one.outcome is each for one in done) for each in Recycling}
        unclear = [n for n, one in enumerate(done) if one.outcome is Recycling.UNCLEAR]
        blocks = sum(one.blocks for one in done)
        return {**counts, "blocks": blocks, "unclear_rows": unclear}

    def _recycle(
        self, transaction: Transaction, some: Sequence[Sequence[Any]], released: Released
    ) -> list[Recycled]:
        vault = self._office.vault
        done = []
        for digits, at in some:
            _, since, _ = vault.holders(transaction.connection, digits)
            if since > released.asked_at:  # came when it was asked for already, or done already
                done.append(Recycled(Recycling.NEWER))
                continue
            done.append(
                blocking.recycle(
                    transaction, vault, digits, at, released.by, asked_by=released.asked_by
                )
            )
        return done

    def _read(self, rows: Sequence[_Line]) -> list[tuple[str, int | None]]:
        """Read every row, or say all that is wrong with them. Raises Problem."""
        found, problems = [], []
        for n, row in enumerate(rows):
            digits = customer_key(row.customer, self._office.policy.country_code)
            if digits is None:
                problems.append({"row": n, "problem": NO_CUSTOMER})
            elif row.recycled_at is not None and row.recycled_at > self._office.clock():
                problems.append({"row": n, "problem": "recycled_at has not come yet"})
            else:
                found.append((digits, row.recycled_at))
        if problems:
            raise _wrong(problems)
        return found


class Ends:
    """Asks that one block ends, and ends it."""

    KIND: Final = "block.end"

    def __init__(self, office: Office, after: Any) -> None:
        self._office = office
        self.kind = Kind(
            Right.END_BLOCKS, Right.RELEASE_BLOCKS, run=self._run, told=self._told, after=after
        )

    async def ask(self, asked: Asked, block_id: int, reason: str) -> Any:
        """Ask for it; a block that has ended already needs nobody. Raises Problem."""
        office = self._office

        def work(into: Transaction) -> dict[str, Any]:
            allowed(into.connection, asked.known.staff, self.kind.ask)
            row = blocking.find(into.connection, block_id)
            branch = "" if row is None else blocking.branch_of(into.connection, row.customer)
            if row is None or not office.sees(asked.known, branch):
                raise not_found(f"block {block_id} in your branch")
            if row.ended_at is not None:
                return {"id": block_id, "changed": False, "ended_at": row.ended_at}
            return releases.ask(
                into,
                office.vault,
                self.KIND,
                self.kind.ask,
                subject=f"block:{block_id}",
                branch=branch or HEADQUARTERS,
                body={"block": block_id, "reason": reason},
                by=asked.by,
                person=asked.known.staff,
            )

        return await asked.write(work)

    def _run(self, transaction: Transaction, released: Released) -> Mapping[str, Any]:
        block, reason = released.body["block"], released.body["reason"]
        done = blocking.remove(transaction, block, reason, released.by, asked_by=released.asked_by)
        if done is None:
            raise not_found(f"block {block}")
        return {"id": block, "changed": done.entered is not None, "ended_at": done.ended_at}

    def _told(self, connection: Connection, body: Mapping[str, Any]) -> Mapping[str, Any]:
        row = blocking.find(connection, body["block"])
        if row is None:
            return body
        (said,) = blocking.told(connection, self._office.vault, [row])
        kept = ("customer", "target", "case", "report", "in_force_at", "ended_at")
        return {**body, **{name: said[name] for name in kept}}


def common(branches: Branches, some: set[str]) -> str:
    """Return the lowest branch that has all of these below it."""
    paths = [list(branches.upwards(each)) for each in sorted(some)]
    return next((each for each in paths[0] if all(each in path for path in paths)), HEADQUARTERS)


def _told(_connection: Connection, body: Mapping[str, Any]) -> Mapping[str, Any]:
    rows = body["rows"]
    first = [{"customer": mask(digits), "recycled_at": at} for digits, at in rows[:_SHOWN]]
    return {"rows": len(rows), "first": first}


def _wrong(problems: list[dict[str, Any]]) -> Problem:
    first = problems[0]
    return invalid(f"row {first['row']}: {first['problem']}", errors=problems)
