"""Who may do what: roles, rights, and which role has which.

A person may have several roles; what one of them allows is allowed, and the ledger says by which
role it was done. A user of the machine who is not logged in has no role but `operator`: what is
done for the machine, and nothing about a customer.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final


class Role(StrEnum):
    """What a person is at the desk."""

    CLERK = "clerk"
    SUPERVISOR = "supervisor"
    APPROVER = "approver"
    HEADQUARTERS = "headquarters"
    AUDITOR = "auditor"
    ENGINEER = "engineer"


OPERATOR: Final = "operator"
"""A user of the desk's machine, by its UNIX socket, without a login."""


class Right(StrEnum):
    """What a request needs."""

    ANYONE = "anyone"
    """No login: to log in, to enrol, to read what the API is."""
    LOGGED_IN = "logged in"
    """Any person: their own password, session and absence."""
    SEE_REPORTS = "see reports"
    ADD_REPORTS = "add reports"
    IMPORT_REPORTS = "import reports"
    RESOLVE_REPORTS = "resolve reports"
    OPEN_TEXTS = "open texts"
    OPEN_NUMBERS = "open numbers"
    SEE_CASES = "see cases"
    WORK_ON_CASES = "work on cases"
    ASSIGN_CASES = "assign cases"
    SEE_BLOCKS = "see blocks"
    ADD_BLOCKS = "add blocks"
    END_BLOCKS = "end blocks"
    RELEASE_BLOCKS = "release blocks"
    ADOPT_BLOCKS = "adopt blocks"
    PROVE_BLOCKS = "prove blocks"
    SEE_COMPANIES = "see companies"
    CHANGE_COMPANIES = "change companies"
    SEE_STAFF = "see staff"
    CHANGE_STAFF = "change staff"
    SUSPEND_STAFF = "suspend staff"
    SEE_ROTA = "see the rota"
    SET_ROTA = "set the rota"
    READ_LEDGER = "read the ledger"
    EXPORT_LEDGER = "export the ledger"
    BACK_UP = "back up"
    GIVE_CODES = "give out codes on the machine"
    """What a login alone cannot do: a half of a code that its maker does not get."""


_C, _S, _H = Role.CLERK, Role.SUPERVISOR, Role.HEADQUARTERS
_CASES: Final = (_C, _S, _H)
_LEADS: Final = (_S, _H)
ROLES: Final[dict[Right, tuple[str, ...]]] = {
    Right.ANYONE: (*Role, OPERATOR),
    Right.LOGGED_IN: tuple(Role),
    Right.SEE_REPORTS: (*_CASES, Role.AUDITOR),
    Right.ADD_REPORTS: _CASES,
    Right.IMPORT_REPORTS: _LEADS,
    Right.RESOLVE_REPORTS: _CASES,
    Right.OPEN_TEXTS: _CASES,
    Right.OPEN_NUMBERS: _CASES,
    Right.SEE_CASES: (*_CASES, Role.AUDITOR),
    Right.WORK_ON_CASES: _CASES,
    Right.ASSIGN_CASES: _LEADS,
    Right.SEE_BLOCKS: (*_CASES, Role.AUDITOR),
    Right.ADD_BLOCKS: _LEADS,
    Right.END_BLOCKS: _CASES,
    Right.RELEASE_BLOCKS: _LEADS,
    Right.ADOPT_BLOCKS: (Role.ENGINEER, _H),
    Right.PROVE_BLOCKS: (_S, _H, Role.AUDITOR),
    Right.SEE_COMPANIES: tuple(Role),
    Right.CHANGE_COMPANIES: (Role.ENGINEER, _H),
    Right.SEE_STAFF: (_S, _H, Role.AUDITOR),
    Right.CHANGE_STAFF: (_H,),
    Right.SUSPEND_STAFF: _LEADS,
    Right.SEE_ROTA: tuple(Role),
    Right.SET_ROTA: _LEADS,
    Right.READ_LEDGER: (Role.AUDITOR, _H),
    Right.EXPORT_LEDGER: (Role.AUDITOR, _H, OPERATOR),
    Right.BACK_UP: (Role.ENGINEER, OPERATOR),
    Right.GIVE_CODES: (OPERATOR,),
}
"""The roles that have a right; the first one that a person has is the one that is entered."""


def by_role(roles: Iterable[str], right: Right) -> str | None:
    """Return the role by which somebody with `roles` has a right; None where they have it not."""
    held = set(roles)
    return next((role for role in ROLES[right] if role in held), None)
