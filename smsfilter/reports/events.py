"""What a session with the SMSC is given at its start, and what it tells of what has happened."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from smsfilter.reports.sms import Answer, Delivered
from smsfilter.smpp.const import ESME_ROK


class Why(StrEnum):
    """Why a connection to the SMSC has ended."""

    CLOSED = "closed"
    """The SMSC closed it (FIN)."""
    RESET = "reset"
    """The SMSC or the network broke it."""
    UNBOUND = "unbound"
    """The SMSC said unbind."""
    REFUSED = "refused"
    """The SMSC refused the bind."""
    BIND_TIMEOUT = "bind_timeout"
    """The SMSC did not answer the bind."""
    FRAMING = "framing"
    """The SMSC's octets cannot be cut into PDUs."""
    SILENT = "silent"
    """Nothing came, not even the answer to enquire_link."""
    UNREAD = "unread"
    """The SMSC does not read what is sent to it."""
    STOPPED = "stopped"
    """The desk was stopped."""
    CRASHED = "crashed"
    """An error of the program's own; the log event `unhandled` tells which."""


class Bind(NamedTuple):
    """What the bind says (SMPP v3.4 §4.1.5), and the short code, from which SMS are sent."""

    system_id: str
    password: bytes
    system_type: str
    address: str
    address_ton: int
    address_npi: int


class Limits(NamedTuple):
    """How many SMS may wait for an answer, and how long anything is waited for, in seconds."""

    window: int
    bind_s: float
    enquire_link_s: float
    response_s: float
    drain_s: float


@dataclass(frozen=True, slots=True)
class Bound:
    """The SMSC has accepted the bind."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A submit_sm has its answer; None: none has come, and none will be waited for."""

    sequence_number: int
    answer: Answer | None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A message could not be read; it has been refused for good."""

    command_id: int
    why: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The session is over: what is to be sent is the last. `status` is that of a refused bind."""

    why: Why
    status: int = ESME_ROK


Event = Bound | Delivered | Answered | Unreadable | Ended
