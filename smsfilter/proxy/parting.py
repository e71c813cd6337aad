"""The end of a pair: nobody loses an answer that is on its way, and the SMSC is told.

The only request of the proxy's own is made here: the unbind of an SMSC leg whose ESME has gone. A
leg that is closed without one leaves an SMSC that answers "already bound" for minutes.
"""

import asyncio
import contextlib
from typing import Protocol

from smsfilter.proxy.close import Leg, Why
from smsfilter.proxy.octets import request
from smsfilter.proxy.session import Session
from smsfilter.smpp.const import UNBIND
from smsfilter.smpp.session import BOUND

UNBIND_WITHIN_S = 2.0
"""How long the SMSC may take to answer the proxy's own unbind."""
LINGER_S = 5.0
"""How long a closed connection may take to deliver its last octets."""


class Parting(Protocol):
    """A relay whose end has come."""

    session: Session
    esme: asyncio.Transport | None
    smsc: asyncio.Transport | None
    closing: bool
    ended: Why | None

    def close(self, leg: Leg, why: Why) -> None:
        """End the session."""

    def resume_reading(self) -> None:
        """Read from the ESME, if that was paused."""


def part(pair: Parting) -> None:
    """The ESME has gone and all is decided: unbind the SMSC leg, and close with its answer."""
    session = pair.session
    if pair.smsc is None or pair.closing or session.own_unbind is not None:
        return
    if session.state not in BOUND:
        pair.close(Leg.ESME, pair.ended or Why.CLOSED)
        return
    _unbind(pair, pair.smsc)


def parted(pair: Parting) -> None:
    """The SMSC has answered the unbind, or has had its time."""
    pair.close(Leg.ESME, pair.ended or Why.CLOSED)
    if pair.smsc is not None:
        pair.smsc.close()
        asyncio.get_running_loop().call_later(LINGER_S, _abort, pair)


def end(pair: Parting, leg: Leg, why: Why) -> None:
    """Close both legs: the ESME's at once, the SMSC's after an unbind where it is bound."""
    session = pair.session
    if pair.esme is not None:
        _see_off(pair, pair.esme)
    if pair.smsc is not None:
        deaf = leg is Leg.SMSC and why in (Why.FRAMING, Why.STALLED)
        if session.state in BOUND and session.own_unbind is None and not deaf:
            _unbind(pair, pair.smsc)
        elif session.own_unbind is None or session.parted or deaf:
            pair.smsc.close()
    asyncio.get_running_loop().call_later(LINGER_S, _abort, pair)


def _unbind(pair: Parting, smsc: asyncio.Transport) -> None:
    session = pair.session
    session.own_unbind = session.unused_sequence_number()
    smsc.write(request(UNBIND, session.own_unbind))
    asyncio.get_running_loop().call_later(UNBIND_WITHIN_S, parted, pair)


def _see_off(pair: Parting, esme: asyncio.Transport) -> None:
    """Close the ESME's connection without losing it an answer that is on its way.

    To close while octets of it are unread is to reset the connection, and TCP then throws away
    what it has not read yet. So it gets FIN, and what it still says is read until it goes too.
    """
    if pair.ended is not None or esme.is_closing():
        esme.close()
        return
    pair.resume_reading()
    with contextlib.suppress(OSError):
        esme.write_eof()


def _abort(pair: Parting) -> None:
    for transport in (pair.esme, pair.smsc):
        if transport is not None:
            transport.abort()
