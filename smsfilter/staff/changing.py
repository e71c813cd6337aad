"""The staff as it changes: whom two people let in, and whom one may shut out at once.

A new person, other roles, a new code and the way back in are asked for by one of headquarters and
released by another. Each of the two gets half of the code that comes of it. To shut somebody out
one person is enough, so that a lost account is closed at once; not for those of headquarters, else
one of them could be rid of the others.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any, Final

from pydantic import Field
from sqlalchemy import Connection
from starlette.routing import Route

from smsfilter.desk import releases
from smsfilter.desk.api import Asked, route
from smsfilter.desk.hands import enough, hand
from smsfilter.desk.office import Office
from smsfilter.desk.problems import Problem, not_found, refused
from smsfilter.desk.releases import Kind, Released
from smsfilter.flow.branches import Branches
from smsfilter.flow.rights import Right, Role
from smsfilter.rules.numbers import mask
from smsfilter.rules.policy import Model
from smsfilter.staff import accounts
from smsfilter.staff.accounts import AccountError, NewStaff, Person
from smsfilter.staff.codes import Code
from smsfilter.store.transaction import Transaction

ADD: Final = "staff.add"
ROLE: Final = "staff.role"
RESET: Final = "staff.reset"
RESTORE: Final = "staff.restore"
SUSPEND: Final = "staff.suspend"
LEAVE: Final = "staff.leave"


class _Roles(Model):
    roles: Annotated[tuple[Role, ...], Field(min_length=1)]


class _Suspend(Model):
    reason: Annotated[str, Field(max_length=200)] = ""


class Changing:
    """What is asked for, and how it is done."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self.kinds: Mapping[str, Kind] = {
            ADD: self._kind(self._add, told=self._told_new),
            ROLE: self._kind(self._set_roles),
            RESET: self._kind(self._reset),
            RESTORE: self._kind(self._restore),
            SUSPEND: self._kind(self._suspend),
            LEAVE: self._kind(self._leave),
        }

    # --- asked for

    async def add(self, asked: Asked) -> Any:
        """Ask for an account for a new person: another of headquarters releases it."""
        office = self._office
        try:
            given = accounts.checked(
                asked.body(NewStaff), office.branches, office.policy.country_code
            )
        except AccountError as error:
            raise refused(str(error)) from None

        def work(into: Transaction) -> dict[str, Any]:
            if accounts.find(into.connection, given.id) is not None:
                raise refused(f"{given.id} has an account already")
            body = given.model_dump(mode="json")
            return self._ask(into, asked, ADD, (given.id, given.branch), body)

        return await asked.write(work)

    async def set_roles(self, asked: Asked) -> Any:
        """Ask for other roles of a person, in place of those they have."""
        wanted: _Roles = asked.body(_Roles)
        body = {"roles": [str(each) for each in wanted.roles]}
        return await asked.write(lambda into: self._ask_of(into, asked, ROLE, body))

    async def reset(self, asked: Asked) -> Any:
        """Ask for a new code for somebody who has lost theirs, or their password."""
        return await asked.write(lambda into: self._ask_of(into, asked, RESET, {}))

    async def restore(self, asked: Asked) -> Any:
        """Ask that somebody comes in again who was suspended, or who left and is back."""
        return await asked.write(lambda into: self._ask_of(into, asked, RESTORE, {}))

    async def suspend(self, asked: Asked) -> Any:
        """Let a person in no more, at once; for one of headquarters it is asked for."""
        wanted: _Suspend = asked.body(_Suspend)
        reason = self._office.masked(wanted.reason)
        body = {"reason": reason} if reason else {}
        do = partial(accounts.suspend, reason=reason)
        return await asked.write(lambda into: self._shut(into, asked, SUSPEND, body, do))

    async def leave(self, asked: Asked) -> Any:
        """A person is of the staff no more, at once; for one of headquarters it is asked for."""
        return await asked.write(lambda into: self._shut(into, asked, LEAVE, {}, accounts.leave))

    def _shut(
        self,
        into: Transaction,
        asked: Asked,
        kind: str,
        body: Mapping[str, Any],
        do: Callable[..., None],
    ) -> dict[str, Any]:
        me = asked.known.staff
        by = None if me is None else hand(into.connection, me)
        if by is None or not by.may(Right.SUSPEND_STAFF):
            raise Problem(HTTPStatus.FORBIDDEN, "people of the staff do that: smsfilter login")
        person = self._person(into.connection, asked)
        if person.id == me:
            raise Problem(HTTPStatus.FORBIDDEN, "it is about yourself: others do that")
        if Role.HEADQUARTERS in person.roles:
            return self._ask_of(into, asked, kind, body)
        if Role.HEADQUARTERS not in by.roles and not _is_above(
            by.branch, person, self._office.branches
        ):
            raise Problem(
                HTTPStatus.FORBIDDEN, f"{person.id} is not below you: headquarters does that"
            )
        _done(lambda: do(into, person.id, by=asked.by))
        return {"staff": person.id, "state": accounts.SUSPENDED if kind == SUSPEND else "left"}

    def _ask_of(
        self, into: Transaction, asked: Asked, kind: str, body: Mapping[str, Any]
    ) -> dict[str, Any]:
        person = self._person(into.connection, asked)
        return self._ask(into, asked, kind, (person.id, person.branch), body)

    def _ask(
        self,
        into: Transaction,
        asked: Asked,
        kind: str,
        whom: tuple[str, str],
        body: Mapping[str, Any],
    ) -> dict[str, Any]:
        id, branch = whom
        return releases.ask(
            into,
            self._office.vault,
            kind,
            self.kinds[kind].ask,
            subject=f"staff:{id}",
            branch=branch,
            body=body,
            by=asked.by,
            person=asked.known.staff,
        )

    def _person(self, connection: Connection, asked: Asked) -> Person:
        person = accounts.find(connection, asked.path["id"])
        if person is None or not self._office.sees(asked.known, person.branch):
            raise not_found(f"{asked.path['id']} among the staff of your branch")
        return person

    # --- done, once another person has released it

    def _kind(
        self, do: Callable[[Transaction, Released, str], Mapping[str, Any]], **more: Any
    ) -> Kind:
        def run(transaction: Transaction, released: Released) -> Mapping[str, Any]:
            id = released.subject.removeprefix("staff:")
            said = _done(lambda: do(transaction, released, id))
            enough(transaction.connection)
            return {"staff": id} | dict(said)

        return Kind(Right.CHANGE_STAFF, Right.CHANGE_STAFF, run=run, **more)

    def _add(self, into: Transaction, released: Released, _id: str) -> Mapping[str, Any]:
        office = self._office
        given = NewStaff.model_validate(released.body)
        checked = accounts.checked(given, office.branches, office.policy.country_code)
        code = Code.make()
        accounts.add(
            into,
            office.vault,
            checked,
            by=released.by,
            added_by=released.asked_by,
            approved_by=released.released_by,
            code=code,
        )
        return self._halved(into, released, code)

    def _reset(self, into: Transaction, released: Released, id: str) -> Mapping[str, Any]:
        code = Code.make()
        accounts.reset(into, id, by=released.by, code=code, asked_by=released.asked_by)
        return self._halved(into, released, code)

    def _halved(self, into: Transaction, released: Released, code: Code) -> Mapping[str, Any]:
        releases.keep_half(into, self._office.vault, released.id, code.first)
        return {"half": code.second, "other_half": released.asked_by}

    def _set_roles(self, into: Transaction, released: Released, id: str) -> Mapping[str, Any]:
        roles = [Role(each) for each in released.body["roles"]]
        accounts.set_roles(into, id, roles, by=released.by, asked_by=released.asked_by)
        return {"roles": sorted(map(str, roles))}

    def _restore(self, into: Transaction, released: Released, id: str) -> Mapping[str, Any]:
        accounts.restore(into, id, by=released.by, asked_by=released.asked_by)
        return {}

    def _suspend(self, into: Transaction, released: Released, id: str) -> Mapping[str, Any]:
        reason = str(released.body.get("reason", ""))
        asked_by = released.asked_by
        accounts.suspend(into, id, by=released.by, reason=reason, asked_by=asked_by)
        return {}

    def _leave(self, into: Transaction, released: Released, id: str) -> Mapping[str, Any]:
        accounts.leave(into, id, by=released.by, asked_by=released.asked_by)
        return {}

    def _told_new(self, _connection: Connection, body: Mapping[str, Any]) -> Mapping[str, Any]:
        phone = body.get("phone")
        return {**body, "phone": None if phone is None else mask(phone)}


def routes(changing: Changing) -> Sequence[Route]:
    """Return the paths by which the staff changes."""
    change = Right.CHANGE_STAFF
    shut = Right.SUSPEND_STAFF
    return (
        route("/staff", changing.add, "POST", right=change, body=NewStaff),
        route("/staff/{id}/roles", changing.set_roles, "POST", right=change, body=_Roles),
        route("/staff/{id}/reset", changing.reset, "POST", right=change),
        route("/staff/{id}/restore", changing.restore, "POST", right=change),
        route("/staff/{id}/suspend", changing.suspend, "POST", right=shut, body=_Suspend),
        route("/staff/{id}/leave", changing.leave, "POST", right=shut),
    )


def _is_above(branch: str, person: Person, branches: Branches) -> bool:
    """Whether a supervisor of `branch` is above a person: one of the same branch is beside them."""
    if branch == person.branch:
        return Role.SUPERVISOR not in person.roles
    return branch in branches.upwards(person.branch)


def _done(step: Callable[[], Any]) -> Any:
    try:
        return step()
    except AccountError as error:
        raise refused(str(error)) from None
