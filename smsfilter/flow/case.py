"""A case from its report to the answer, as a table of states and what may happen in each.

A case is open until its customer has been answered; it may be opened again by an appeal, or by a
supervisor, and is then decided by another person than before. Whatever is not in the table cannot
happen.
"""

from enum import StrEnum
from typing import Final


class State(StrEnum):
    """Where a case stands."""

    NEW = "new"
    """Nobody owns it yet."""
    ASSIGNED = "assigned"
    INVESTIGATING = "investigating"
    DECIDED = "decided"
    """The answer is on its way, or has yet to be sent."""
    REPLIED = "replied"
    """The SMSC has the answer, or the customer was told in another way."""
    CLOSED = "closed"
    REOPENED = "reopened"
    WITHDRAWN = "withdrawn"
    JOINED = "joined"
    """It goes on in another case."""


class Event(StrEnum):
    """What may happen to a case."""

    ASSIGN = "assign"
    TAKE = "take"
    DECIDE = "decide"
    REPLY = "reply"
    """The customer has been answered."""
    UNDELIVERED = "undelivered"
    """The answer did not reach the handset: it has to be given in another way."""
    CLOSE = "close"
    REOPEN = "reopen"
    """By a supervisor."""
    APPEAL = "appeal"
    """By the customer."""
    WITHDRAW = "withdraw"
    JOIN = "join"


class Outcome(StrEnum):
    """What a case may be decided to be."""

    UPHELD = "upheld"
    NOT_SPAM = "not_spam"
    UNRESOLVABLE = "unresolvable"
    REFERRED = "referred"


class NotAllowed(ValueError):  # noqa: N818 - what it is
    """This cannot happen to a case as it stands; says what can."""


_S, _E = State, Event
_GIVEN_UP: Final = {_E.WITHDRAW: _S.WITHDRAWN, _E.JOIN: _S.JOINED}
_ANSWERED: Final = {_E.REOPEN: _S.REOPENED, _E.APPEAL: _S.REOPENED}
TABLE: Final[dict[State, dict[Event, State]]] = {
    _S.NEW: {
        _E.ASSIGN: _S.ASSIGNED,
        _E.TAKE: _S.INVESTIGATING,
        _E.APPEAL: _S.NEW,
        **_GIVEN_UP,
    },
    _S.ASSIGNED: {
        _E.ASSIGN: _S.ASSIGNED,
        _E.TAKE: _S.INVESTIGATING,
        _E.APPEAL: _S.ASSIGNED,
        **_GIVEN_UP,
    },
    _S.INVESTIGATING: {
        _E.ASSIGN: _S.ASSIGNED,
        _E.DECIDE: _S.DECIDED,
        _E.APPEAL: _S.INVESTIGATING,
        **_GIVEN_UP,
    },
    _S.DECIDED: {_E.REPLY: _S.REPLIED, **_ANSWERED, **_GIVEN_UP},
    _S.REPLIED: {
        _E.CLOSE: _S.CLOSED,
        _E.UNDELIVERED: _S.DECIDED,
        _E.WITHDRAW: _S.WITHDRAWN,
        **_ANSWERED,
    },
    _S.CLOSED: {_E.WITHDRAW: _S.WITHDRAWN, **_ANSWERED},
    _S.REOPENED: {
        _E.ASSIGN: _S.ASSIGNED,
        _E.TAKE: _S.INVESTIGATING,
        _E.APPEAL: _S.REOPENED,
        **_GIVEN_UP,
    },
    _S.WITHDRAWN: {},
    _S.JOINED: {},
}
"""What follows from what, in each state."""

OPEN: Final = (_S.NEW, _S.REOPENED, _S.ASSIGNED, _S.INVESTIGATING, _S.DECIDED)
"""States in which somebody has to do something; `closed_at` is unset in these alone."""
UNOWNED: Final = (_S.NEW, _S.REOPENED)


def after(state: str, event: Event) -> State:
    """Return the state that follows. Raises NotAllowed."""
    try:
        return TABLE[State(state)][event]
    except KeyError:
        can = ", ".join(TABLE[State(state)]) or "nothing more"
        raise NotAllowed(f"it is {state}: {event} cannot follow, only {can}") from None
