"""The registry in the records: taken in from a file, given out as one.

An import makes the records say what the file says. What is missing in it has ended and is never
deleted: reports about yesterday's messages and proofs go by it. A company that somebody has
blocked stays, owning nothing, so that nobody gets round a block by leaving the registry.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import Connection, Table, bindparam, insert, select, update

from smsfilter.desk.holdings import Item, changed, chunks, company_of, in_force, items
from smsfilter.ledger.actor import Actor
from smsfilter.rules.registry import Company, RegistryFile, Reseller
from smsfilter.store.registry import canonical, uncollected
from smsfilter.store.schema import block, company, company_source, reseller_grant
from smsfilter.store.transaction import Entered, Transaction

LISTED_MOST: Final = 500
"""Changes that the ledger's row names; of a larger import it has the digest and the counts."""
_RAW_MOST: Final = 64

Touched = list[tuple[Table, Any]]


class CompanyError(ValueError):
    """It cannot be done to this company, or with this file; says why, and what would be right."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What an import has changed."""

    companies_added: tuple[str, ...]
    """New, or back again."""
    companies_ended: tuple[str, ...]
    companies_kept: tuple[str, ...]
    """Missing in the file, and kept without anything of their own, as customers blocked them."""
    added: int
    """Accounts, sources, headers, signatures and what resellers may do."""
    ended: int
    unchanged: int
    digest: str
    """SHA-256 of the file's content in its canonical spelling."""
    entered: Entered | None
    """The row in the ledger; None where nothing was changed."""


# --- out


def load(connection: Connection) -> RegistryFile:
    """Return what is in force, companies and resellers in the order of their names."""
    with uncollected():
        held: dict[str, list[Any]] = {}
        for row in connection.execute(in_force()):
            held.setdefault(row.company, []).append(row)
        known = select(company.c.id, company.c.name).where(company.c.state == "active")
        names = {row.id: row.name for row in connection.execute(known)}
        companies = {key: company_of(names[key], held.get(key, ())) for key in sorted(names)}
        return RegistryFile.model_construct(
            companies=companies, resellers=dict(sorted(_resellers(connection).items()))
        )


def _resellers(connection: Connection) -> dict[str, Reseller]:
    granted: dict[str, list[str]] = {}
    for row in connection.execute(_grants()):
        allowed = granted.setdefault(row.account, [])
        if row.company is not None:
            allowed.append(row.company)
    return {
        account: Reseller.model_construct(may_send_for=tuple(allowed))
        for account, allowed in granted.items()
    }


def _grants() -> Any:
    return (
        select(reseller_grant)
        .where(reseller_grant.c.ended_at.is_(None))
        .order_by(reseller_grant.c.position, reseller_grant.c.id)
    )


# --- in


def import_(transaction: Transaction, content: RegistryFile, by: Actor) -> Changes:
    """Make the registry what the file says, as one act. Raises CompanyError.

    A file that says what is in force already changes nothing and is not entered.
    """
    with uncollected():
        return _Import(transaction, content).run(by)


class _Import:
    """One import at work."""

    def __init__(self, transaction: Transaction, content: RegistryFile) -> None:
        self._connection = transaction.connection
        self._transaction = transaction
        self._content = content
        self._touched: Touched = []
        self._listed: list[list[str]] = []
        self._added = self._ended = self._unchanged = 0

    def run(self, by: Actor) -> Changes:
        before = {row.id: row for row in self._connection.execute(select(company))}
        for key in self._content.companies:
            if key in before and before[key].state == "merged":
                survivor = before[key].merged_into
                raise CompanyError(
                    f"{key} was merged into {survivor}: write what is its own under {survivor}"
                )
        added = self._companies(before)
        missing = [
            key
            for key, row in before.items()
            if row.state == "active" and key not in self._content.companies
        ]
        kept = blocked(self._connection, missing)
        ended = [key for key in missing if key not in kept]
        self._update(company, ended, state="ended")
        self._sources()
        self._resellers()
        digest = sha256(canonical(self._content)).hexdigest()
        entered = None
        if self._touched:
            detail = {
                "digest": digest,
                "companies": len(self._content.companies),
                "companies_added": len(added),
                "companies_ended": len(ended),
                "companies_kept": len(kept),
                "added": self._added,
                "ended": self._ended,
                "unchanged": self._unchanged,
                "changes": [
                    *(["company", "added", key] for key in added[:LISTED_MOST]),
                    *(["company", "ended", key] for key in ended[:LISTED_MOST]),
                    *(["company", "kept", key] for key in sorted(kept)[:LISTED_MOST]),
                    *self._listed,
                ],
            }
            entered = self._transaction.enter(
                "registry imported", by, detail=detail, touches=self._touched
            )
        return Changes(
            tuple(added),
            tuple(ended),
            tuple(sorted(kept)),
            self._added,
            self._ended,
            self._unchanged,
            digest,
            entered,
        )

    def _companies(self, before: dict[str, Any]) -> list[str]:
        """Write names and states of what the file has; return what was not there."""
        added, new = [], []
        for key, held in self._content.companies.items():
            row = before.get(key)
            if row is None:
                new.append({"id": key, "name": held.name, "state": "active", "changed_seq": 0})
                self._touched.append((company, key))
            elif row.state != "active" or row.name != held.name:
                self._update(company, [key], state="active", name=held.name)
            if row is None or row.state != "active":
                added.append(key)
        if new:
            self._connection.execute(insert(company), new)
        return added

    def _sources(self) -> None:
        held: dict[tuple[str, str], dict[Item, list[Any]]] = {}
        for row in self._connection.execute(in_force()):
            item = Item(row.kind, row.raw, row.valid_from, row.valid_to)
            held.setdefault((row.company, row.kind), {}).setdefault(item, []).append(row)
        new: list[dict[str, Any]] = []
        gone: list[Any] = []
        for key, owner in self._content.companies.items():
            for kind, wanted in _by_kind(owner).items():
                change = changed(wanted, held.pop((key, kind), {}))
                new += (self.row_of(key, item, position) for item, position in change.new)
                gone += change.gone
                self._moved(company_source, change.moved)
                self._unchanged += change.unchanged
        gone += (row for rest in held.values() for rows in rest.values() for row in rows)
        for row in gone:
            self._list(row.kind, "ended", row.company, row.raw)
        for values in new:
            self._list(values["kind"], "added", values["company"], values["raw"])
        self._end(company_source, [row.id for row in gone])
        self._insert(company_source, new)

    def _resellers(self) -> None:
        held: dict[str, dict[str | None, list[Any]]] = {}
        for row in self._connection.execute(_grants()):
            held.setdefault(row.account, {}).setdefault(row.company, []).append(row)
        new: list[dict[str, Any]] = []
        gone: list[Any] = []
        for account, reseller in self._content.resellers.items():
            # A reseller that may send for nobody is one row as well: it is no unknown account.
            change = changed(reseller.may_send_for or (None,), held.pop(account, {}))
            for key, position in change.new:
                new.append(grant_row(account, key, position, self._transaction.now))
            gone += change.gone
            self._moved(reseller_grant, change.moved)
            self._unchanged += change.unchanged
        gone += (row for rest in held.values() for rows in rest.values() for row in rows)
        for row in gone:
            self._list("reseller", "ended", row.account, row.company or "")
        for values in new:
            self._list("reseller", "added", values["account"], values["company"] or "")
        self._end(reseller_grant, [row.id for row in gone])
        self._insert(reseller_grant, new)

    def row_of(self, key: str, item: Item, position: int) -> dict[str, Any]:
        return source_row(key, item, position, self._transaction.now)

    def _list(self, kind: str, what: str, owner: str, raw: str) -> None:
        if len(self._listed) < LISTED_MOST:
            self._listed.append([kind, what, owner, raw[:_RAW_MOST]])

    # --- statements

    def _insert(self, table: Table, rows: list[dict[str, Any]]) -> None:
        self._added += len(rows)
        self._touched += ((table, each) for each in insert_all(self._connection, table, rows))

    def _end(self, table: Table, ids: list[int]) -> None:
        self._ended += len(ids)
        self._update(table, ids, ended_at=self._transaction.now)

    def _update(self, table: Table, ids: list[Any], **values: Any) -> None:
        update_all(self._connection, table, ids, **values)
        self._touched += ((table, each) for each in ids)

    def _moved(self, table: Table, moved: list[tuple[int, int]]) -> None:
        if moved:
            statement = (
                update(table)
                .where(table.c.id == bindparam("row"))
                .values(position=bindparam("place"))
            )
            self._connection.execute(statement, [{"row": row, "place": to} for row, to in moved])
            self._touched += ((table, row) for row, _ in moved)


def _by_kind(owner: Company) -> dict[str, list[Item]]:
    wanted: dict[str, list[Item]] = {}
    for item in items(owner):
        wanted.setdefault(item.kind, []).append(item)
    return wanted


# --- steps that other acts take as well


def blocked(connection: Connection, companies: Iterable[str]) -> set[str]:
    """Return those of the companies that a customer has blocked now."""
    found: set[str] = set()
    for some in chunks(list(companies)):
        live = select(block.c.target).where(block.c.target.in_(some), block.c.ended_at.is_(None))
        found.update(connection.scalars(live.distinct()))
    return found


def source_row(key: str, item: Item, position: int, now: int) -> dict[str, Any]:
    """Return the values of a row of company_source that begins now."""
    return {
        "company": key,
        "kind": item.kind,
        "norm": item.norm,
        "raw": item.raw,
        "valid_from": item.valid_from,
        "valid_to": item.valid_to,
        "position": position,
        "since": now,
        "changed_seq": 0,
    }


def grant_row(account: str, key: str | None, position: int, now: int) -> dict[str, Any]:
    """Return the values of a row of reseller_grant that begins now."""
    return {
        "account": account,
        "company": key,
        "position": position,
        "since": now,
        "changed_seq": 0,
    }


def insert_all(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> list[int]:
    """Insert rows and return their ids."""
    if not rows:
        return []
    return list(connection.scalars(insert(table).returning(table.c.id), rows))


def update_all(connection: Connection, table: Table, ids: list[Any], **values: Any) -> None:
    """Set values of many rows."""
    for some in chunks(ids):
        connection.execute(update(table).where(table.c.id.in_(some)).values(values))
