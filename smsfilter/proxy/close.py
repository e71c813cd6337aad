"""Who ended a session, and why: the closed set behind `session_closed` and its metric."""

from enum import StrEnum


class Leg(StrEnum):
    """Which side the end came from."""

    ESME = "esme"
    SMSC = "smsc"
    PROXY = "proxy"


class Why(StrEnum):
    """Why a connection was closed."""

    CLOSED = "closed"
    """The peer closed the connection (FIN)."""
    RESET = "reset"
    """The peer or the network broke the connection (RST, time-out of TCP)."""
    UNBOUND = "unbound"
    """The peer closed it after an unbind."""
    PROXY_HEADER = "proxy_header"
    """A balancer's connection did not begin with a PROXY header."""
    HANDSHAKE = "handshake"
    """TLS was not agreed upon: no TLS, an old version, a bad or missing certificate."""
    TOO_MANY_HANDSHAKES = "too_many_handshakes"
    """More of them were under way than the limits allow."""
    FRAMING = "framing"
    """The peer's octets could not be cut into PDUs."""
    BIND_TIMEOUT = "bind_timeout"
    PARTIAL_TIMEOUT = "partial_timeout"
    """The rest of a PDU did not come."""
    RESPONSE_TIMEOUT = "response_timeout"
    """The SMSC left a request unanswered."""
    IDLE_TIMEOUT = "idle_timeout"
    UNREAD = "unread"
    """The ESME does not read what is sent to it."""
    STALLED = "stalled"
    """The SMSC takes no octet."""
    TOO_MANY = "too_many"
    """More connections than the limits allow."""
    DRAINED = "drained"
    """The proxy was stopped."""
    UNRECORDED = "unrecorded"
    """Its messages could not be put on record, and `decisions.on_full` lets none pass so."""
    CRASHED = "crashed"
    """An error of the proxy's own; the log event `unhandled` tells which."""
