"""The accounts of the staff: made, changed and closed, each within a transaction of the caller.

Nothing here asks who may do it, nor whether two people did: that is for whoever calls. Each act is
one row of the ledger, which names the person who acts and the one who asked for it, and touches the
row of the account; sessions of somebody whose account changed end in the same transaction.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import ColumnElement, Connection, Row, insert, or_, select, update

from smsfilter.desk.vault import Vault
from smsfilter.desk.written import Number, digits_of
from smsfilter.flow.branches import HEADQUARTERS, Branches
from smsfilter.flow.rights import Role
from smsfilter.ledger.actor import Actor
from smsfilter.peopleconfig import StaffId
from smsfilter.rules.numbers import mask, masked_in
from smsfilter.staff import codes
from smsfilter.staff.codes import VALID_US, Code, FirstHalf
from smsfilter.store.schema import session, staff
from smsfilter.store.transaction import Transaction

INVITED, ACTIVE, SUSPENDED, LEFT = "invited", "active", "suspended", "left"
NAME_MOST: Final = 60


class AccountError(ValueError):
    """It cannot be done as the account is; says so in a line."""


class NewStaff(BaseModel):
    """A person who is to get an account, as it is written in a request."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: StaffId
    """What they log in with."""
    person: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,31}$")]
    """The operator's own number for them: nobody has two accounts."""
    name: Annotated[str, Field(min_length=1, max_length=NAME_MOST)]
    branch: StaffId = HEADQUARTERS
    roles: Annotated[tuple[Role, ...], Field(min_length=1)]
    phone: Number | None = None
    """Where they are warned by SMS."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody of the staff."""

    id: str
    person: str
    name: str
    branch: str
    roles: tuple[str, ...]
    state: str
    added_by: str
    approved_by: str | None
    added_at: int
    has_enrolled: bool
    """They have a password."""
    has_code: bool
    """They can enrol by a code, or could while it was valid."""

    @property
    def is_active(self) -> bool:
        """They can log in."""
        return self.state == ACTIVE

    def shown(self) -> dict[str, Any]:
        """Return what other staff may see of them."""
        return {
            "id": self.id,
            "person": self.person,
            "name": self.name,
            "branch": self.branch,
            "roles": list(self.roles),
            "state": self.state,
            "added_by": self.added_by,
            "approved_by": self.approved_by,
            "added_at": self.added_at,
        }


def checked(given: NewStaff, branches: Branches, country_code: str) -> NewStaff:
    """Return `given` with its phone as E.164 digits. Raises AccountError, Problem."""
    if given.branch not in branches.by_id:
        raise AccountError(f"there is no branch {given.branch}: see desk.branches")
    if masked_in(given.person, country_code) != given.person:
        raise AccountError("person is the operator's own number for them, and not a telephone's")
    _check_roles(given.roles, given.branch)
    if given.phone is None:
        return given
    return given.model_copy(update={"phone": digits_of(given.phone, country_code)})


# --- looking


def find(connection: Connection, id: str) -> Person | None:
    """Return a person by their id."""
    row = connection.execute(select(staff).where(staff.c.id == id)).one_or_none()
    return None if row is None else _person(row)


def listed(
    connection: Connection,
    *,
    within: Collection[str] | None = None,
    after: str = "",
    limit: int = 50,
) -> list[Person]:
    """Return people of some branches (None: all), by their ids, those behind `after`."""
    query = select(staff).where(staff.c.id > after).order_by(staff.c.id).limit(limit)
    if within is not None:
        query = query.where(staff.c.branch.in_(within))
    return [_person(row) for row in connection.execute(query)]


def people(connection: Connection) -> list[Person]:
    """Return everybody who has or had an account."""
    return [_person(row) for row in connection.execute(select(staff).order_by(staff.c.id))]


def phone(connection: Connection, vault: Vault, id: str) -> str | None:
    """Open the number that a person is warned at, for a job of the desk. Raises SealError."""
    query = select(staff.c.phone_enc).where(staff.c.id == id)
    sealed = connection.execute(query).scalar_one_or_none()
    return None if sealed is None else vault.open(sealed, "staff", "phone_enc", id).decode()


def masked_phone(connection: Connection, vault: Vault, id: str) -> str | None:
    """Return what may be shown of it."""
    digits = phone(connection, vault, id)
    return None if digits is None else mask(digits)


# --- changing


def add(
    transaction: Transaction,
    vault: Vault,
    given: NewStaff,
    *,
    by: Actor,
    added_by: str,
    approved_by: str | None,
    code: Code | FirstHalf,
    action: str = "staff added",
) -> None:
    """Make an account that its person can enrol to. Raises AccountError.

    `given` has gone through `checked`.
    """
    taken = or_(staff.c.id == given.id, staff.c.person == given.person)
    for row in transaction.connection.execute(select(staff.c.id).where(taken)):
        what = f"the id {row.id}" if row.id == given.id else f"the person {given.person}"
        raise AccountError(f"{what} has an account already: {row.id}")
    transaction.connection.execute(
        insert(staff).values(
            id=given.id,
            person=given.person,
            name=given.name,
            branch=given.branch,
            roles=_written(given.roles),
            phone_enc=sealed(vault, given),
            state=INVITED,
            code_hash=code.hash,
            code_until=transaction.now + VALID_US,
            added_by=added_by,
            approved_by=approved_by,
            added_at=transaction.now,
            changed_seq=0,
        )
    )
    detail = {
        "person": given.person,
        "branch": given.branch,
        "roles": _written(given.roles),
        "added_by": added_by,
    } | ({} if approved_by is None else {"approved_by": approved_by})
    _enter(transaction, action, by, given.id, detail)


def sealed(vault: Vault, given: NewStaff) -> bytes | None:
    """Seal the number of a person, as it stands in their row."""
    if given.phone is None:
        return None
    return vault.close(given.phone.encode(), "staff", "phone_enc", given.id)


def set_roles(
    transaction: Transaction,
    id: str,
    roles: Collection[Role],
    *,
    by: Actor,
    asked_by: str | None = None,
) -> None:
    """Give a person these roles in place of theirs; they log in anew. Raises AccountError."""
    before = _existing(transaction, id)
    _check_roles(roles, before.branch)
    detail = {"before": " ".join(before.roles), "roles": _written(roles)}
    values, action = {"roles": _written(roles)}, "staff roles changed"
    _change(transaction, id, values, by=by, action=action, asked_by=asked_by, detail=detail)


def reset(
    transaction: Transaction, id: str, *, by: Actor, code: Code, asked_by: str | None = None
) -> None:
    """Take a person's password away and let them enrol anew by `code`. Raises AccountError."""
    _in_state(_existing(transaction, id), INVITED, ACTIVE)
    until = transaction.now + VALID_US
    values = {"state": INVITED, "pw_hash": None, "code_hash": code.hash, "code_until": until}
    _change(transaction, id, values, by=by, action="staff reset", asked_by=asked_by)


def suspend(
    transaction: Transaction, id: str, *, by: Actor, reason: str = "", asked_by: str | None = None
) -> None:
    """Let a person in no more until they are restored. Raises AccountError.

    `reason` is free text, and its numbers masked by the caller.
    """
    _in_state(_existing(transaction, id), INVITED, ACTIVE)
    values, detail = {**_NO_CODE, "state": SUSPENDED}, {"reason": reason} if reason else {}
    action = "staff suspended"
    _change(transaction, id, values, by=by, action=action, asked_by=asked_by, detail=detail)


def restore(transaction: Transaction, id: str, *, by: Actor, asked_by: str | None = None) -> None:
    """Let a person in again who was suspended, or who left and is back. Raises AccountError.

    Whoever has no password is then as if invited, and gets a code by a reset.
    """
    before = _existing(transaction, id)
    _in_state(before, SUSPENDED, LEFT)
    values = {"state": ACTIVE if before.has_enrolled else INVITED}
    _change(transaction, id, values, by=by, action="staff restored", asked_by=asked_by)


def leave(transaction: Transaction, id: str, *, by: Actor, asked_by: str | None = None) -> None:
    """A person is of the staff no more; the account stays as who it was. Raises AccountError."""
    _in_state(_existing(transaction, id), INVITED, ACTIVE, SUSPENDED)
    values = {**_NO_CODE, "pw_hash": None, "phone_enc": None, "state": LEFT}
    _change(transaction, id, values, by=by, action="staff left", asked_by=asked_by)


def set_code(
    transaction: Transaction, id: str, code: Code | FirstHalf, *, by: Actor, action: str
) -> None:
    """Replace the code of somebody who has not enrolled. Raises AccountError."""
    _in_state(_existing(transaction, id), INVITED)
    values = {"code_hash": code.hash, "code_until": transaction.now + VALID_US}
    _change(transaction, id, values, by=by, action=action)


def complete_code(
    transaction: Transaction, id: str, second: str, *, by: Actor, action: str
) -> bool:
    """Add the second half to a code whose first one waits for it; False where none does."""
    query = select(staff.c.code_hash).where(staff.c.id == id, staff.c.state == INVITED)
    kept = transaction.connection.execute(query).scalar_one_or_none()
    if kept is None or not codes.waits_for_second(kept):
        return False
    values = {"code_hash": codes.completed(kept, second)}
    _change(transaction, id, values, by=by, action=action)
    return True


def may_enrol(connection: Connection, id: str, first: str, second: str, now: int) -> bool:
    """Whether these are the halves of a valid code of theirs."""
    query = select(staff.c.state, staff.c.code_hash, staff.c.code_until).where(staff.c.id == id)
    row = connection.execute(query).one_or_none()
    right = codes.fits(None if row is None else row.code_hash, first, second)
    return right and row is not None and row.state == INVITED and now < (row.code_until or 0)


def enrol(
    transaction: Transaction, id: str, first: str, second: str, pw_hash: str, *, origin: str
) -> bool:
    """Take a person's first password against their code; False where the code is not theirs."""
    if not may_enrol(transaction.connection, id, first, second, transaction.now):
        return False
    by = actor(_existing(transaction, id), origin)
    values = {**_NO_CODE, "state": ACTIVE, "pw_hash": pw_hash}
    _change(transaction, id, values, by=by, action="enrolled")
    return True


def set_password(transaction: Transaction, id: str, pw_hash: str, *, by: Actor) -> None:
    """Replace a person's password; all their sessions end. Raises AccountError."""
    _in_state(_existing(transaction, id), ACTIVE)
    _change(transaction, id, {"pw_hash": pw_hash}, by=by, action="password changed")


def actor(person: Person, origin: str) -> Actor:
    """Return a person as whoever acts for themselves, in the first of their roles."""
    role = next((each for each in Role if each in person.roles), "none")
    return Actor(f"staff:{person.id}", role, origin)


# --- inside

_NO_CODE: Final[dict[str, Any]] = {"code_hash": None, "code_until": None}


def _check_roles(roles: Collection[Role], branch: str) -> None:
    if not roles:
        raise AccountError("a person has at least one role; whoever has none any more has left")
    if Role.HEADQUARTERS in roles and branch != HEADQUARTERS:
        raise AccountError(f"who has the role headquarters is of the branch {HEADQUARTERS}")


def _written(roles: Collection[Role]) -> str:
    return " ".join(sorted({str(each) for each in roles}))


def _existing(transaction: Transaction, id: str) -> Person:
    found = find(transaction.connection, id)
    if found is None:
        raise AccountError(f"there is no {id} among the staff")
    return found


def _in_state(person: Person, *states: str) -> None:
    if person.state not in states:
        raise AccountError(f"{person.id} is {person.state}, not {' or '.join(states)}")


def _change(
    transaction: Transaction,
    id: str,
    values: dict[str, Any],
    *,
    by: Actor,
    action: str,
    asked_by: str | None = None,
    detail: dict[str, Any] | None = None,
) -> None:
    transaction.connection.execute(update(staff).where(staff.c.id == id).values(**values))
    end_sessions(transaction, session.c.staff == id)
    asked = {} if asked_by is None else {"asked_by": asked_by}
    _enter(transaction, action, by, id, (detail or {}) | asked)


def end_sessions(transaction: Transaction, which: ColumnElement[bool]) -> int:
    """End the sessions that are not ended, and say how many."""
    ended = update(session).where(which, session.c.ended_at.is_(None))
    return transaction.connection.execute(ended.values(ended_at=transaction.now)).rowcount


def _enter(
    transaction: Transaction, action: str, by: Actor, id: str, detail: dict[str, Any]
) -> None:
    transaction.enter(action, by, object=f"staff:{id}", detail=detail, touches=[(staff, id)])


def _person(row: Row[Any]) -> Person:
    return Person(
        id=row.id,
        person=row.person,
        name=row.name,
        branch=row.branch,
        roles=_roles(row.roles),
        state=row.state,
        added_by=row.added_by,
        approved_by=row.approved_by,
        added_at=row.added_at,
        has_enrolled=row.pw_hash is not None,
        has_code=row.code_hash is not None,
    )


def _roles(written: str) -> tuple[str, ...]:
    return tuple(written.split())
