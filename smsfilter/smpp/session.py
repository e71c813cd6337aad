"""A session's state and what each side may send in it, as tables (SMPP v3.4 §2.2, §2.3).

Everything that hangs on the state must live in these tables. They speak of the protocol; which
commands this filter lets through at all is for the proxy to decide. A table is a frozenset per
state, so that the question is one look-up: `command_id in ESME_MAY_SEND[state]`.
"""

from enum import IntEnum
from typing import Final

from smsfilter.smpp import const as c


class State(IntEnum):
    """Where a session stands."""

    OPEN = 0
    """Connected, no bind sent, or the last one refused."""
    BINDING = 1
    """A bind waits for its response."""
    BOUND_TX = 2
    BOUND_RX = 3
    BOUND_TRX = 4
    UNBOUND = 5
    """One side has said unbind: what is unanswered may still be answered."""
    CLOSED = 6
    """The connection has ended."""


BOUND: Final = frozenset({State.BOUND_TX, State.BOUND_RX, State.BOUND_TRX})

_BIND_RESPS: Final = frozenset(command_id | c.RESPONSE_BIT for command_id in c.BINDS)
# enquire_link is not bound to a state: v5.0 §2.4 says what v3.4 §4.11 leaves open.
_LINK: Final = frozenset({c.ENQUIRE_LINK, c.ENQUIRE_LINK_RESP, c.GENERIC_NACK})
_UNBIND: Final = frozenset({c.UNBIND, c.UNBIND_RESP})
# Requests towards the SMSC: v3.4 §4.4, §4.5, §4.7 to §4.10; v5.0 §4.4, §4.6.
_SUBMISSIONS: Final = frozenset(
    {
        c.SUBMIT_SM,
        c.SUBMIT_MULTI,
        c.DATA_SM,
        c.QUERY_SM,
        c.CANCEL_SM,
        c.REPLACE_SM,
        c.BROADCAST_SM,
        c.QUERY_BROADCAST_SM,
        c.CANCEL_BROADCAST_SM,
    }
)
_SUBMISSION_RESPS: Final = frozenset(command_id | c.RESPONSE_BIT for command_id in _SUBMISSIONS)
_DELIVERIES: Final = frozenset({c.DELIVER_SM, c.DATA_SM})  # §4.6, §4.7
_DELIVERY_RESPS: Final = frozenset(command_id | c.RESPONSE_BIT for command_id in _DELIVERIES)
_ALERTS: Final = frozenset({c.ALERT_NOTIFICATION})  # §4.12: it has no response
_NOTHING: Final[frozenset[int]] = frozenset()

# What was asked before the unbind is answered after it; so is the unbind, and two may cross.
_LAST_FROM_ESME: Final = _LINK | _UNBIND | _DELIVERY_RESPS
_LAST_FROM_SMSC: Final = _LINK | _UNBIND | _SUBMISSION_RESPS

ESME_MAY_SEND: Final[dict[State, frozenset[int]]] = {
    State.OPEN: _LINK | c.BINDS,
    State.BINDING: _LINK,
    State.BOUND_TX: _LINK | _UNBIND | _SUBMISSIONS,
    State.BOUND_RX: _LINK | _UNBIND | _DELIVERY_RESPS,
    State.BOUND_TRX: _LINK | _UNBIND | _SUBMISSIONS | _DELIVERY_RESPS,
    State.UNBOUND: _LAST_FROM_ESME,
    State.CLOSED: _NOTHING,
}

SMSC_MAY_SEND: Final[dict[State, frozenset[int]]] = {
    State.OPEN: _LINK | {c.OUTBIND},
    State.BINDING: _LINK | _BIND_RESPS,
    State.BOUND_TX: _LINK | _UNBIND | _SUBMISSION_RESPS,
    State.BOUND_RX: _LINK | _UNBIND | _DELIVERIES | _ALERTS,
    State.BOUND_TRX: _LINK | _UNBIND | _SUBMISSION_RESPS | _DELIVERIES | _ALERTS,
    State.UNBOUND: _LAST_FROM_SMSC,
    State.CLOSED: _NOTHING,
}

# (state, command_id) → the state after it; all others change nothing. One table a side, so that
# no ESME can move the session by sending what is the SMSC's to say.
_AFTER_ESME: Final[dict[tuple[State, int], State]] = {
    **{(State.OPEN, command_id): State.BINDING for command_id in c.BINDS},
    **{(state, c.UNBIND): State.UNBOUND for state in BOUND},
}
_AFTER_SMSC: Final[dict[tuple[State, int], State]] = {
    (State.BINDING, c.BIND_TRANSMITTER_RESP): State.BOUND_TX,
    (State.BINDING, c.BIND_RECEIVER_RESP): State.BOUND_RX,
    (State.BINDING, c.BIND_TRANSCEIVER_RESP): State.BOUND_TRX,
    **{(state, c.UNBIND): State.UNBOUND for state in BOUND},
}
_BIND_REFUSALS: Final = _BIND_RESPS | {c.GENERIC_NACK}


def after_esme(state: State, command_id: int) -> State:
    """Return the state after a PDU of the ESME."""
    return _AFTER_ESME.get((state, command_id), state)


def after_smsc(state: State, command_id: int, command_status: int) -> State:
    """Return the state after a PDU of the SMSC.

    A bind refused, by a bind_resp with a status or by generic_nack (an SMSC of v3.3 does not know
    bind_transceiver), leaves the session open for another one.
    """
    if state is State.BINDING and command_status != c.ESME_ROK:
        return State.OPEN if command_id in _BIND_REFUSALS else state
    return _AFTER_SMSC.get((state, command_id), state)
