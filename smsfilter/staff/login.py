"""Logging in and out, enrolling and passwords, over the API."""

from collections.abc import Sequence
from http import HTTPStatus
from time import monotonic
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection, select
from starlette.routing import Route

from smsfilter.desk.api import Asked, route
from smsfilter.desk.office import Office
from smsfilter.desk.problems import Problem, invalid, refused, too_many
from smsfilter.flow.rights import ROLES, Right, by_role
from smsfilter.staff import accounts, passwords
from smsfilter.staff.accounts import AccountError
from smsfilter.staff.passwords import PasswordError, Passwords
from smsfilter.staff.sessions import CALLER, IDLE_US, Session, Sessions
from smsfilter.staff.slowing import Key, Slowing, keys
from smsfilter.staff.tally import Tally
from smsfilter.store.reading import reading
from smsfilter.store.schema import staff
from smsfilter.store.transaction import Transaction

_NOT_SO: Final = "no such account, or not its password"
_NO_CODE: Final = (
    "no such account, or not its code: both halves are needed, and a code is of use for a week,"
    " once; whoever let you in asks for a new one: smsfilter staff reset"
)
_Id = Annotated[str, Field(min_length=1, max_length=64)]
_Secret = Annotated[str, Field(min_length=1, max_length=1024, repr=False)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Login(_Body):
    staff: _Id
    password: _Secret


class _Enrol(_Body):
    staff: _Id
    first: Annotated[_Secret, Field(max_length=64)]
    second: Annotated[_Secret, Field(max_length=64)]
    password: _Secret


class _Password(_Body):
    old: _Secret
    new: _Secret


class Logins:
    """What is asked for at the door."""

    def __init__(self, office: Office, sessions: Sessions, hashes: Passwords, tally: Tally) -> None:
        self._office = office
        self._sessions = sessions
        self._passwords = hashes
        self._tally = tally
        self._slowing = Slowing()

    async def login(self, asked: Asked) -> Any:
        """Log in: get the token of a session, to be sent as Authorization: Bearer TOKEN."""
        wanted: _Login = asked.body(_Login)
        tried = await self._try(wanted.staff)
        kept = await reading(self._office.records, lambda c: _kept(c, wanted.staff))
        if not await self._passwords.fits(kept, wanted.password):
            raise await self._failed(wanted.staff, _NOT_SO)
        self._slowing.succeeded(*tried)
        origin = CALLER.get().origin
        try:
            token = await self._office.writer.write(
                lambda into: self._begin(into, wanted.staff, kept, origin)
            )
        except AccountError:  # it changed just now
            raise Problem(HTTPStatus.UNAUTHORIZED, _NOT_SO) from None
        known = await self._sessions.of(token)
        return {
            "token": token,
            "staff": known.staff,
            "roles": sorted(known.roles),
            "branch": known.branch,
            "expires_at": known.expires_at,
            "idle_s": IDLE_US // 1_000_000,
        }

    async def enrol(self, asked: Asked) -> Any:
        """Take a first password against the two halves of a code."""
        wanted: _Enrol = asked.body(_Enrol)
        _check(wanted.password, wanted.staff)
        tried = await self._try(wanted.staff)
        code, now = (wanted.first, wanted.second), self._office.clock()
        may = await reading(
            self._office.records, lambda c: accounts.may_enrol(c, wanted.staff, *code, now)
        )
        if not may:
            raise await self._failed(wanted.staff, _NO_CODE)
        pw_hash, origin = await self._passwords.hash(wanted.password), CALLER.get().origin
        done = await self._office.writer.write(
            lambda into: accounts.enrol(into, wanted.staff, *code, pw_hash, origin=origin)
        )
        if not done:  # somebody else was first
            raise await self._failed(wanted.staff, _NO_CODE)
        self._slowing.succeeded(*tried)
        return {"staff": wanted.staff, "state": accounts.ACTIVE}

    async def logout(self, asked: Asked) -> Any:
        """End the session that the request comes by."""
        known, origin = _session(), asked.known.origin
        await self._office.writer.write(lambda into: self._sessions.end(into, known, origin))
        return {"staff": known.staff, "logged_in": False}

    async def password(self, asked: Asked) -> Any:
        """Change the own password; every session of the account ends, this one too."""
        wanted: _Password = asked.body(_Password)
        id = _session().staff
        _check(wanted.new, id)
        tried = await self._try(id)
        kept = await reading(self._office.records, lambda c: _kept(c, id))
        if not await self._passwords.fits(kept, wanted.old):
            raise await self._failed(id, "that is not your password")
        self._slowing.succeeded(*tried)
        pw_hash, by = await self._passwords.hash(wanted.new), asked.by
        try:
            await self._office.writer.write(
                lambda into: accounts.set_password(into, id, pw_hash, by=by)
            )
        except AccountError as error:
            raise refused(str(error)) from None
        return {"staff": id, "changed": True}

    async def me(self, asked: Asked) -> Any:
        """Tell who is logged in, and what they may do."""
        asker, known = asked.known, _session()
        person = await reading(self._office.records, lambda c: accounts.find(c, known.staff))
        rights = [each for each in ROLES if by_role(asker.roles, each) is not None]
        return {
            "staff": asker.staff,
            "name": "" if person is None else person.name,
            "branch": asker.branch,
            "roles": sorted(asker.roles),
            "rights": [str(each) for each in rights],
            "expires_at": known.expires_at,
            "idle_until": known.idle_until,
        }

    async def _try(self, account: str) -> tuple[Key, Key]:
        """Count an attempt. Raises Problem where it comes too soon."""
        tried = keys(account, CALLER.get().origin)
        wait_s = self._slowing.begin(tried, monotonic())
        if wait_s > 0:
            raise too_many("too many attempts failed: wait, then try again", wait_s)
        return tried

    async def _failed(self, account: str, detail: str) -> Problem:
        query = select(staff.c.id).where(staff.c.id == account)
        known = await reading(self._office.records, lambda c: c.execute(query).first())
        self._tally.failed(None if known is None else account, CALLER.get().origin)
        return Problem(HTTPStatus.UNAUTHORIZED, detail)

    def _begin(self, into: Transaction, id: str, kept: str | None, origin: str) -> str:
        if _kept(into.connection, id) != kept:
            raise AccountError(f"{id} has another password by now")
        return self._sessions.begin(into, id, origin)


def routes(logins: Logins) -> Sequence[Route]:
    """Return what anybody, and anybody who is logged in, may ask for."""
    return (
        route("/login", logins.login, "POST", right=Right.ANYONE, body=_Login),
        route("/enrol", logins.enrol, "POST", right=Right.ANYONE, body=_Enrol),
        route("/logout", logins.logout, "POST", right=Right.LOGGED_IN, keyed=False),
        route(
            "/password", logins.password, "POST", right=Right.LOGGED_IN, body=_Password, keyed=False
        ),
        route("/me", logins.me, right=Right.LOGGED_IN),
    )


def _check(password: str, staff_id: str) -> None:
    try:
        passwords.check(password, staff_id)
    except PasswordError as error:
        raise invalid(str(error)) from None


def _kept(connection: Connection, id: str) -> str | None:
    """Return what is kept of the password of somebody who may log in."""
    query = select(staff.c.pw_hash).where(staff.c.id == id, staff.c.state == accounts.ACTIVE)
    found: str | None = connection.execute(query).scalar_one_or_none()
    return found


def _session() -> Session:
    """Return the session of the request under way. Raises Problem."""
    known = CALLER.get().session
    if known is None:
        raise Problem(HTTPStatus.UNAUTHORIZED, "log in first: smsfilter login")
    return known
