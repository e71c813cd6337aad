"""What needs two people: one asks for it, another one releases it, and then it is done.

Generic: what is asked for is a kind, a subject and a sealed body; what it means is said by the room
that brings the kind. The rules that hold for every kind stand here and are looked at in the
transaction of the act itself, on the records and not on what a session knows: both are active
people with the right, they are two, neither is whom it is about, and headquarters is two at least.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from sqlalchemy import Connection, Row, func, insert, select, update

from smsfilter.desk.hands import Hand, allowed, enough, hand
from smsfilter.desk.problems import Problem, not_found, refused
from smsfilter.desk.vault import Vault
from smsfilter.flow.branches import Branches
from smsfilter.flow.rights import Right, by_role
from smsfilter.ledger.actor import Actor, system
from smsfilter.store.schema import release, staff
from smsfilter.store.transaction import Transaction

WAITING, RELEASED, DONE = "waiting", "released", "done"
REFUSED, TAKEN_BACK, EXPIRED = "refused", "taken_back", "expired"
WAITS_US: Final = 72 * 3600 * 1_000_000
"""How long a request waits: a weekend."""
HALF_US: Final = 7 * 86_400 * 1_000_000
"""How long half a code is kept for whoever asked: as long as the code is valid."""
WAITING_MOST: Final = 100
"""Requests of one person that wait: more are never looked through."""
_BODY, _HALF = "body_enc", "half_enc"
_STAFF: Final = "staff:"


@dataclass(frozen=True, slots=True)
class Released:
    """A request that another person has let through; `asked_by` and `released_by` are ids."""

    id: int
    kind: str
    subject: str
    branch: str
    body: Mapping[str, Any]
    asked_by: str
    asked_at: int
    released_by: str
    by: Actor
    """Who released it, as the act is entered."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of request: who asks, who releases, and how it is done."""

    ask: Right
    grant: Right
    run: Callable[[Transaction, Released], Mapping[str, Any]] | None = None
    """Does it, in the transaction of the granting, and returns what the granter is told."""
    work: Callable[[Released], Awaitable[Mapping[str, Any]]] | None = None
    """Does what is too long for one transaction; the same again changes nothing. Counts come back,
    without a number."""
    told: Callable[[Connection, Mapping[str, Any]], Mapping[str, Any]] = lambda _, body: body
    """What may be shown of a body."""
    after: Callable[[], Awaitable[Mapping[str, Any]]] | None = None
    """Waits until it is in force, and says whether it is."""


Kinds = Mapping[str, Kind]


def find(connection: Connection, release_id: int) -> Row[Any] | None:
    """Return one request."""
    return connection.execute(select(release).where(release.c.id == release_id)).one_or_none()


def may_see(row: Row[Any], person: Hand, kinds: Kinds, branches: Branches) -> bool:
    """Whether a person has to do with a request: theirs, theirs to release, or an auditor's."""
    if row.asked_by == person.id or person.may(Right.READ_LEDGER):
        return True
    return _may_grant(row, person, kinds, branches)


def opened(vault: Vault, row: Row[Any]) -> Mapping[str, Any]:
    """Return what was asked for. Raises Problem where it is not what it was."""
    octets = vault.open(row.body_enc, release.name, _BODY, row.id)
    if vault.fingerprint(_sum(row.kind, row.subject, row.branch, row.asked_by, octets)) != (
        row.body_hash
    ):
        raise refused("it is not what was asked for any more: have it asked for anew")
    found: Mapping[str, Any] = json.loads(octets)
    return found


# --- the steps


def ask(
    transaction: Transaction,
    vault: Vault,
    kind: str,
    needs: Right,
    *,
    subject: str,
    branch: str,
    body: Mapping[str, Any],
    by: Actor,
    person: str | None,
) -> dict[str, Any]:
    """Keep what `person` asks for, and return what they are answered. Raises Problem.

    The same again by the same person, while it waits, is the same request.
    """
    allowed(transaction.connection, person, needs)
    assert person is not None  # noqa: S101 - said by allowed
    if subject == _STAFF + person:
        raise Problem(HTTPStatus.FORBIDDEN, "it is about yourself: others do that")
    octets = json.dumps(body, ensure_ascii=False, sort_keys=True).encode()
    hash_ = vault.fingerprint(_sum(kind, subject, branch, person, octets))
    mine = (release.c.state == WAITING) & (release.c.asked_by == person)
    mine &= release.c.expires_at > transaction.now
    same = select(release).where(mine, release.c.body_hash == hash_)
    before = transaction.connection.execute(same).first()
    if before is not None:
        return answer(before)
    count = select(func.count()).select_from(release).where(mine)
    if transaction.connection.execute(count).scalar_one() >= WAITING_MOST:
        raise refused(f"{WAITING_MOST} of your requests wait already: take some back")
    row = transaction.connection.execute(
        insert(release)
        .values(
            kind=kind,
            subject=subject,
            branch=branch,
            body_enc=b"",
            body_hash=hash_,
            state=WAITING,
            asked_by=person,
            asked_at=transaction.now,
            expires_at=transaction.now + WAITS_US,
            changed_seq=0,
        )
        .returning(release)
    ).one()
    sealed = vault.close(octets, release.name, _BODY, row.id)
    _set(transaction, row.id, body_enc=sealed)
    _enter(transaction, "release asked", by, row)
    return answer(row)


def grant(
    transaction: Transaction,
    vault: Vault,
    kinds: Kinds,
    branches: Branches,
    release_id: int,
    *,
    by: Actor,
    person: str | None,
) -> tuple[Released, dict[str, Any]]:
    """Release what another one asked for, and do it. Raises Problem."""
    row = _waiting(transaction, release_id)
    kind, role = _other(transaction.connection, row, person, kinds, branches)
    by = by._replace(role=role)
    asker = hand(transaction.connection, row.asked_by)
    if asker is None or not asker.may(kind.ask):
        raise refused(f"{row.asked_by} may not ask for it any more: somebody else has to ask anew")
    if not branches.covers(asker.branch, row.branch):
        raise refused(f"{row.asked_by} is of another branch by now: somebody there has to ask anew")
    enough(transaction.connection)
    released = of(vault, row, str(person), by)
    is_long = kind.run is None
    _set(
        transaction,
        row.id,
        state=RELEASED if is_long else DONE,
        released_by=person,
        released_at=transaction.now,
        **({} if is_long else {"done_at": transaction.now, "body_enc": b""}),
    )
    _enter(transaction, "release granted", by, row, asked_by=row.asked_by)
    said = {} if kind.run is None else dict(kind.run(transaction, released))
    return released, {"release": row.id, "state": RELEASED if is_long else DONE} | said


def refuse(
    transaction: Transaction,
    kinds: Kinds,
    branches: Branches,
    release_id: int,
    *,
    by: Actor,
    person: str | None,
    reason: str = "",
) -> dict[str, Any]:
    """Let it not be done; `reason` has its numbers masked. Raises Problem."""
    row = _waiting(transaction, release_id)
    _, role = _other(transaction.connection, row, person, kinds, branches)
    by = by._replace(role=role)
    _set(
        transaction,
        row.id,
        state=REFUSED,
        body_enc=b"",
        released_by=person,
        released_at=transaction.now,
    )
    more = {"reason": reason} if reason else {}
    _enter(transaction, "release refused", by, row, asked_by=row.asked_by, **more)
    return {"release": row.id, "state": REFUSED}


def take_back(
    transaction: Transaction, release_id: int, *, by: Actor, person: str | None
) -> dict[str, Any]:
    """Ask for it no more: whoever asked does that. Raises Problem."""
    row = _waiting(transaction, release_id)
    if person is None or row.asked_by != person:
        raise Problem(HTTPStatus.FORBIDDEN, f"{row.asked_by} asked for it and may take it back")
    _set(transaction, row.id, state=TAKEN_BACK, body_enc=b"")
    _enter(transaction, "release taken back", by, row)
    return {"release": row.id, "state": TAKEN_BACK}


def expire(transaction: Transaction) -> int:
    """Let go what nobody released in time, and halves that nobody fetched; count the requests."""
    now = transaction.now
    late = select(release).where(release.c.state == WAITING, release.c.expires_at <= now)
    rows = transaction.connection.execute(late).all()
    for row in rows:
        _set(transaction, row.id, state=EXPIRED, body_enc=b"")
        _enter(transaction, "release expired", system("releases"), row, asked_by=row.asked_by)
    unfetched = release.c.half_enc.is_not(None) & (release.c.released_at <= now - HALF_US)
    transaction.connection.execute(update(release).where(unfetched).values(half_enc=None))
    return len(rows)


def finish(transaction: Transaction, released: Released, counts: Mapping[str, Any]) -> None:
    """All of what took long is done."""
    row = find(transaction.connection, released.id)
    if row is None or row.state != RELEASED:
        return
    _set(transaction, row.id, state=DONE, done_at=transaction.now, body_enc=b"")
    _enter(transaction, "release done", released.by, row, asked_by=row.asked_by, **counts)


def unfinished(connection: Connection) -> list[Row[Any]]:
    """Return what was released and not done to its end, with the roles of whoever released it."""
    query = (
        select(release, staff.c.roles)
        .join(staff, staff.c.id == release.c.released_by)
        .where(release.c.state == RELEASED)
        .order_by(release.c.id)
    )
    return list(connection.execute(query))


def resumed(vault: Vault, row: Row[Any], kind: Kind) -> Released:
    """Return one of them as its kind is given it. Raises Problem, SealError."""
    role = by_role(row.roles.split(), kind.grant) or "none"
    by = Actor(f"{_STAFF}{row.released_by}", role, "resumed")
    return of(vault, row, row.released_by, by)


def of(vault: Vault, row: Row[Any], released_by: str, by: Actor) -> Released:
    """Return a request as its kind is given it. Raises Problem."""
    body = opened(vault, row)
    return Released(
        row.id, row.kind, row.subject, row.branch, body, row.asked_by, row.asked_at, released_by, by
    )


# --- half a code


def keep_half(transaction: Transaction, vault: Vault, release_id: int, half: str) -> None:
    """Keep the half of a code that whoever asked fetches."""
    sealed = vault.close(half.encode(), release.name, _HALF, release_id)
    _set(transaction, release_id, half_enc=sealed)


def fetch_half(
    transaction: Transaction, vault: Vault, release_id: int, *, by: Actor, person: str | None
) -> dict[str, Any]:
    """Give it to whoever asked, once. Raises Problem."""
    row = find(transaction.connection, release_id)
    if row is None or person is None or row.asked_by != person:
        raise not_found(f"release {release_id} of yours")
    kept = row.half_enc
    if kept is None or row.released_at <= transaction.now - HALF_US:
        raise refused(
            f"release {release_id} is {row.state}: half a code is there once it is done, and is"
            " given out once, within a week"
        )
    half = vault.open(kept, release.name, _HALF, row.id).decode()
    _set(transaction, row.id, half_enc=None)
    _enter(transaction, "half given out", by, row)
    return {"release": row.id, "subject": row.subject, "half": half, "other_half": row.released_by}


# --- the rules


def _other(
    connection: Connection, row: Row[Any], person: str | None, kinds: Kinds, branches: Branches
) -> tuple[Kind, str]:
    """Look whether a person may release a request, and in which role. Raises Problem."""
    kind = kinds.get(row.kind)
    if kind is None:
        raise refused(f"nothing here can do what it asks for: {row.kind}")
    found = allowed(connection, person, kind.grant)
    if row.asked_by == found.id:
        raise Problem(HTTPStatus.FORBIDDEN, "you asked for it: another person releases it")
    if row.subject == _STAFF + found.id:
        raise Problem(HTTPStatus.FORBIDDEN, "it is about yourself: another person releases it")
    if not branches.covers(found.branch, row.branch):
        raise not_found(f"release {row.id} in your branch")
    return kind, by_role(found.roles, kind.grant) or "none"


def _may_grant(row: Row[Any], person: Hand, kinds: Kinds, branches: Branches) -> bool:
    kind = kinds.get(row.kind)
    return (
        kind is not None and person.may(kind.grant) and branches.covers(person.branch, row.branch)
    )


def _waiting(transaction: Transaction, release_id: int) -> Row[Any]:
    row = find(transaction.connection, release_id)
    if row is None:
        raise not_found(f"release {release_id}")
    if row.state != WAITING:
        raise refused(f"release {release_id} is {row.state.replace('_', ' ')} already")
    if row.expires_at <= transaction.now:
        raise refused(f"release {release_id} has expired: have it asked for anew")
    return row


# --- inside


def answer(row: Row[Any]) -> dict[str, Any]:
    """Say what whoever asks is told."""
    return {"release": row.id, "state": WAITING, "expires_at": row.expires_at}


def _sum(kind: str, subject: str, branch: str, asked_by: str, octets: bytes) -> bytes:
    return json.dumps([kind, subject, branch, asked_by]).encode() + octets


def _set(transaction: Transaction, release_id: int, **values: Any) -> None:
    changed = update(release).where(release.c.id == release_id).values(**values)
    transaction.connection.execute(changed)


def _enter(transaction: Transaction, action: str, by: Actor, row: Row[Any], **more: Any) -> None:
    transaction.enter(
        action,
        by,
        object=f"release:{row.id}",
        detail={"kind": row.kind, "subject": row.subject, "branch": row.branch} | more,
        touches=[(release, row.id)],
    )
