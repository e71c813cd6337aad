"""The first two people: everybody after them is let in by two.

The first is made on the machine, once, with a whole code. The second is of headquarters too and
invited by the first alone, once: one half of the code goes to the first person, and the other one
is given out on the machine only. Whoever holds nothing but the first person's login can so never
be both of them; the row `bootstrap` says for ever that it was so. While the second one has not
enrolled both can be made anew, by the same two ways.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, select, update

from smsfilter.desk.office import Office
from smsfilter.desk.vault import Vault
from smsfilter.flow.branches import HEADQUARTERS
from smsfilter.flow.rights import Role
from smsfilter.ledger.actor import Actor
from smsfilter.staff import accounts, codes
from smsfilter.staff.accounts import AccountError, NewStaff, Person
from smsfilter.staff.codes import Code, FirstHalf
from smsfilter.store.schema import staff
from smsfilter.store.transaction import Transaction

FIRST: Final = "first person"
BOOTSTRAP: Final = "bootstrap"
CODE: Final = "code given out"


@dataclass(frozen=True, slots=True)
class Given:
    """What is told on the machine."""

    person: Person
    code: Code | None = None
    """The whole code, of the first person."""
    half: str | None = None
    """The other half, of the second."""


def first(transaction: Transaction, vault: Vault, given: NewStaff, *, by: Actor) -> Code | None:
    """Make the first person, with every right that headquarters has; None: there are people."""
    if transaction.connection.execute(select(staff.c.id).limit(1)).first() is not None:
        return None
    code = Code.make()
    roles = tuple(sorted({*given.roles, Role.HEADQUARTERS}))
    wanted = given.model_copy(update={"roles": roles, "branch": HEADQUARTERS})
    accounts.add(
        transaction,
        vault,
        wanted,
        by=by,
        added_by=by.name,
        approved_by=None,
        code=code,
        action=FIRST,
    )
    return code


def made_first(office: Office, given: NewStaff, by: Actor) -> Code | None:
    """Make the first person in the records of a desk that does not run; None: there are people.

    Raises AccountError, Problem, RecordsError, RecordsAway.
    """
    wanted = accounts.checked(given, office.branches, office.policy.country_code)
    office.writer.start()
    try:
        return office.writer.submit(
            lambda transaction: first(transaction, office.vault, wanted, by=by)
        ).result()
    finally:
        office.writer.stop()


def bootstrap(transaction: Transaction, vault: Vault, given: NewStaff, *, by: Actor) -> str:
    """Invite the second person, and return the first half of their code. Raises AccountError."""
    everybody = accounts.people(transaction.connection)
    second = _second(everybody)
    code = FirstHalf(codes.half())
    if second is None:
        if len(everybody) != 1:
            raise AccountError("the staff was begun already: new people need two of headquarters")
        if Role.HEADQUARTERS not in given.roles or given.branch != HEADQUARTERS:
            raise AccountError("the second person is of headquarters too, in role and in branch")
        accounts.add(
            transaction,
            vault,
            given,
            by=by,
            added_by=everybody[0].id,
            approved_by=None,
            code=code,
            action=BOOTSTRAP,
        )
        return code.first
    if second.state != accounts.INVITED or len(everybody) != 2:
        raise AccountError(f"the second person was invited already, once and for all: {second.id}")
    if given.id != second.id:
        raise AccountError(f"the second person is {second.id}, who has not enrolled yet")
    values = {
        "person": given.person,
        "name": given.name,
        "phone_enc": accounts.sealed(vault, given),
    }
    transaction.connection.execute(update(staff).where(staff.c.id == given.id).values(**values))
    accounts.set_code(transaction, given.id, code, by=by, action=BOOTSTRAP)
    return code.first


def give_out(transaction: Transaction, id: str, *, by: Actor) -> Given:
    """Make what is told of a code on the machine. Raises AccountError.

    The other half of the second person's, once; or a new whole code of the first person's, while
    nobody has enrolled yet.
    """
    everybody = accounts.people(transaction.connection)
    person = next((each for each in everybody if each.id == id), None)
    if person is None:
        raise AccountError(f"there is no {id} among the staff")
    if person.state == accounts.INVITED and _is_alone(everybody, person):
        code = Code.make()
        accounts.set_code(transaction, id, code, by=by, action=CODE)
        return Given(person, code=code)
    half = codes.half()
    if person == _second(everybody):
        if accounts.complete_code(transaction, id, half, by=by, action=CODE):
            return Given(person, half=half)
        raise AccountError(
            f"the half of {id} was given out already, and {id} has enrolled"
            if person.has_enrolled
            else f"the half of {id} was given out already; for a new code {person.added_by} runs"
            " smsfilter staff bootstrap again, then ask here again"
        )
    raise AccountError("on the machine a code is given out for the first two people only")


def is_second_wanted(connection: Connection) -> bool:
    """Whether the second person has still to be invited, or to enrol."""
    everybody = accounts.people(connection)
    second = _second(everybody)
    return len(everybody) == 1 or (second is not None and second.state == accounts.INVITED)


def _second(everybody: Sequence[Person]) -> Person | None:
    """Return the person who was let in by the first one alone."""
    ids = {each.id for each in everybody}
    alone = (each for each in everybody if each.added_by in ids and each.approved_by is None)
    return next(alone, None)


def _is_alone(everybody: Sequence[Person], person: Person) -> bool:
    return len(everybody) == 1 and not person.has_enrolled
