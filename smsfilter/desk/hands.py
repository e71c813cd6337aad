"""The people of whom two are needed, as the records have them now, whatever a session knows."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from sqlalchemy import Connection, select

from smsfilter.desk.problems import Problem, refused
from smsfilter.flow.rights import Right, Role, by_role
from smsfilter.store.schema import staff

TWO: Final = 2
_ACTIVE: Final = "active"


@dataclass(frozen=True, slots=True)
class Hand:
    """A person who is active now, as the records have them."""

    id: str
    roles: frozenset[str]
    branch: str

    def may(self, right: Right) -> bool:
        """Whether one of their roles has a right."""
        return by_role(self.roles, right) is not None


def hand(connection: Connection, id: str) -> Hand | None:
    """Return a person of the staff; None where they are not active."""
    row = connection.execute(
        select(staff.c.id, staff.c.roles, staff.c.branch).where(
            staff.c.id == id, staff.c.state == _ACTIVE
        )
    ).one_or_none()
    return None if row is None else Hand(row.id, frozenset(row.roles.split()), row.branch)


def enough(connection: Connection) -> None:
    """Look whether two of headquarters can log in. Raises Problem."""
    if len(headquarters(connection)) < TWO:
        raise refused(
            "nothing that needs two people can be done until two of headquarters have enrolled",
            cure="smsfilter staff bootstrap; then the second one runs smsfilter enrol",
        )


def headquarters(connection: Connection) -> list[str]:
    """Return the people of headquarters who are active."""
    query = select(staff.c.id, staff.c.roles).where(staff.c.state == _ACTIVE)
    rows = connection.execute(query.order_by(staff.c.id))
    return [each.id for each in rows if Role.HEADQUARTERS in each.roles.split()]


def allowed(connection: Connection, person: str | None, needs: Right) -> Hand:
    """Return a person who may be one of two, as they are now. Raises Problem."""
    if person is None:
        raise Problem(
            HTTPStatus.FORBIDDEN,
            "two people of the staff do that, and a user of the machine is none of them",
            cure="smsfilter login",
        )
    enough(connection)
    found = hand(connection, person)
    if found is None or not found.may(needs):
        raise Problem(HTTPStatus.FORBIDDEN, f"{person} has no right to {needs} now")
    return found
