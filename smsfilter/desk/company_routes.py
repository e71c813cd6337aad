"""Companies over the API: the registry in and out, one company at a time, and what follows.

After each change the blocks that depend on it are promoted and the index follows, before the
answer. Where the index is away the change stands all the same, and the answer says so.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, Final, TypeVar

from starlette.routing import Route

from smsfilter.desk import companies, promotion
from smsfilter.desk import company as acts
from smsfilter.desk.api import PAGE, Asked, route
from smsfilter.desk.companies import Changes, CompanyError
from smsfilter.desk.following import Follow, in_force
from smsfilter.desk.office import Office
from smsfilter.desk.problems import invalid, not_found, refused
from smsfilter.flow.rights import Right
from smsfilter.rules.policy import Model
from smsfilter.rules.registry import Company, CompanyId, RegistryFile
from smsfilter.store.reading import reading
from smsfilter.store.registry import uncollected
from smsfilter.store.transaction import Transaction

T = TypeVar("T")

NAMED_MOST: Final = 500
"""Companies that an answer names of each kind."""
_STATES: Final = (None, "active", "ended", "merged")


class _Added(Company):
    id: CompanyId


class _Into(Model):
    into: CompanyId


class _Rehearsed(Exception):  # noqa: N818 - undoes an import that was only to be looked at
    def __init__(self, changes: Changes) -> None:
        self.changes = changes


def routes(office: Office, follow: Follow) -> Sequence[Route]:
    """Return the paths of companies."""
    desk, change = _Companies(office, follow), Right.CHANGE_COMPANIES
    return (
        route(
            "/companies",
            desk.list,
            right=Right.SEE_COMPANIES,
            query=PAGE | {"state": "active, ended or merged; none: all"},
        ),
        route("/companies", desk.add, "POST", right=change, body=_Added),
        route("/companies/export", desk.export, right=Right.SEE_COMPANIES),
        route(
            "/companies/import",
            desk.import_,
            "POST",
            right=change,
            body=RegistryFile,
            query={"rehearse": "yes: only say what would change"},
        ),
        route("/companies/{id}", desk.show, right=Right.SEE_COMPANIES),
        route("/companies/{id}/extend", desk.extend, "POST", right=change, body=Company),
        route("/companies/{id}/merge", desk.merge, "POST", right=change, body=_Into),
    )


class _Companies:
    def __init__(self, office: Office, follow: Follow) -> None:
        self._office = office
        self._follow = follow

    # --- looking

    async def list(self, asked: Asked) -> Any:
        """List companies by id."""
        after, limit = asked.page()
        state = asked.query.get("state")
        if state not in _STATES:
            raise invalid("state is active, ended or merged")
        found = await self._read(acts.list_, after, limit, state)
        following = found[-1].id if len(found) == limit else None
        return {"items": [asdict(each) for each in found], "next": following}

    async def show(self, asked: Asked) -> Any:
        """Show a company: what is its own, who may send for it, what was."""
        shown = await self._read(acts.show, asked.path["id"])
        if shown is None:
            raise not_found(f"company {asked.path['id']}")
        past = ("kind", "raw", "valid_from", "valid_to", "since", "ended_at")
        return {
            **asdict(shown.listed),
            "own": shown.own.model_dump(mode="json", exclude_defaults=True),
            "resellers": shown.resellers,
            "merged": shown.merged,
            "past": [{name: getattr(row, name) for name in past} for row in shown.past],
        }

    async def export(self, _asked: Asked) -> Any:
        """Give the registry as a file has it."""
        content = await self._read(companies.load)
        return await asyncio.to_thread(content.model_dump, mode="json", exclude_defaults=True)

    # --- changing

    async def import_(self, asked: Asked) -> Any:
        """Replace the registry by that of a file."""
        rehearse = asked.query.get("rehearse") == "yes"
        content = await asyncio.to_thread(_registry, asked)

        def work(transaction: Transaction) -> Changes:
            changes = companies.import_(transaction, content, asked.by)
            if rehearse:
                raise _Rehearsed(changes)
            return changes

        try:
            changes = await self._write(asked, work)
        except _Rehearsed as rehearsed:
            return _said(rehearsed.changes)
        return _said(changes) | await self._followed()

    async def add(self, asked: Asked) -> Any:
        """Add a company."""
        added: _Added = asked.body(_Added)
        own = Company.model_validate(added.model_dump(exclude={"id"}))
        await self._write(asked, lambda transaction: acts.add(transaction, added.id, own, asked.by))
        return await self._followed()

    async def extend(self, asked: Asked) -> Any:
        """Give a company more accounts, sources, headers or signatures."""
        key, more = asked.path["id"], asked.body(Company)
        entered = await self._write(asked, lambda into: acts.extend(into, key, more, asked.by))
        return {"changed": entered is not None} | await self._followed()

    async def merge(self, asked: Asked) -> Any:
        """Merge a company into another, with all that is its own."""
        key, into = asked.path["id"], asked.body(_Into).into
        merged = await self._write(asked, lambda within: acts.merge(within, key, into, asked.by))
        moved = {"items": merged.items, "resellers": merged.grants, "blocks": merged.blocks}
        return moved | await self._followed()

    # --- steps

    async def _read(self, work: Callable[..., T], *arguments: Any) -> T:
        return await reading(self._office.records, lambda each: work(each, *arguments))

    async def _write(self, asked: Asked, work: Callable[[Transaction], T]) -> T:
        try:
            return await asked.write(work)
        except CompanyError as error:
            raise refused(str(error)) from None

    async def _followed(self) -> dict[str, Any]:
        """Have the blocks follow, then the index; say what has become of it."""
        promoted = await promotion.run(self._office)
        said = {"promoted": promoted.ended}
        return said | await in_force(self._follow, self._office.writer.head)


def _registry(asked: Asked) -> RegistryFile:
    with uncollected():
        content: RegistryFile = asked.body(RegistryFile)
        return content


def _said(changes: Changes) -> dict[str, Any]:
    kinds = {
        "companies_added": changes.companies_added,
        "companies_ended": changes.companies_ended,
        "companies_kept": changes.companies_kept,
    }
    return {
        **{name: len(some) for name, some in kinds.items()},
        "named": {name: some[:NAMED_MOST] for name, some in kinds.items()},
        "added": changes.added,
        "ended": changes.ended,
        "unchanged": changes.unchanged,
        "digest": changes.digest,
    }
