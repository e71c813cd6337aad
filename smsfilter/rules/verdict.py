"""Verdicts and the closed set of reasons, each with its SMPP command_status.

A reason is one string, the same in logs, metrics, `explain` and docs. The table below is the
only place where a reason gets a command_status; a rule and an account of the policy may override
it. Statuses were chosen by what senders do with them: 0x0A, 0x0B and 0x66 are final for the
gateways in use, 0x58 is retried by all of them (SMPP v3.4 §5.1.3).
"""

from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """What becomes of a message; the `verdict` label of metrics and logs."""

    FORWARD = "forward"
    PERMANENT = "refuse_permanent"
    TEMPORARY = "refuse_temporary"


class Reason(StrEnum):
    """Why a PDU was refused."""

    # said by the rules of the policy
    BLOCKED_BY_REPORT = "blocked_by_report"
    SENDER_NOT_APPROVED = "sender_not_approved"
    SOURCE_MISMATCHED = "source_mismatched"
    UNKNOWN_SENDER = "unknown_sender"
    SCHEDULED_NOT_ALLOWED = "scheduled_not_allowed"
    REPLACE_NOT_ALLOWED = "replace_not_allowed"
    UNUSABLE_DESTINATION = "unusable_destination"
    DESTINATION_NOT_ALLOWED = "destination_not_allowed"
    LIST_NOT_ALLOWED = "list_not_allowed"
    LOOKUP_UNAVAILABLE = "lookup_unavailable"
    # said by the path itself
    RATE = "rate"
    WINDOW = "window"
    PAUSED = "paused"
    UNRECORDED = "unrecorded"
    MALFORMED = "malformed"
    MALFORMED_TLVS = "malformed_tlvs"
    NOT_BOUND_FOR_THIS = "not_bound_for_this"
    UNKNOWN_COMMAND = "unknown_command"
    # said of a bind
    ALREADY_BOUND = "already_bound"
    SMSC_UNAVAILABLE = "smsc_unavailable"
    ADDRESS_NOT_ALLOWED = "address_not_allowed"
    CERTIFICATE_NOT_ALLOWED = "certificate_not_allowed"
    BIND_TYPE_NOT_ALLOWED = "bind_type_not_allowed"
    TOO_MANY_SESSIONS = "too_many_sessions"
    PASSWORD_TOO_LONG = "password_too_long"  # noqa: S105 - a reason, not a secret


class Answer(NamedTuple):
    """How a reason is said on the wire."""

    kind: Kind
    command_status: int


_T, _P = Kind.TEMPORARY, Kind.PERMANENT

ANSWERS: dict[Reason, Answer] = {
    Reason.BLOCKED_BY_REPORT: Answer(_P, 0x66),  # ESME_RX_R_APPN
    Reason.SENDER_NOT_APPROVED: Answer(_P, 0x0A),  # ESME_RINVSRCADR
    Reason.SOURCE_MISMATCHED: Answer(_P, 0x0A),
    Reason.UNKNOWN_SENDER: Answer(_P, 0x0A),
    Reason.SCHEDULED_NOT_ALLOWED: Answer(_P, 0x61),  # ESME_RINVSCHED
    Reason.REPLACE_NOT_ALLOWED: Answer(_P, 0x13),  # ESME_RREPLACEFAIL
    Reason.UNUSABLE_DESTINATION: Answer(_P, 0x0B),  # ESME_RINVDSTADR
    Reason.DESTINATION_NOT_ALLOWED: Answer(_P, 0x0B),
    Reason.LIST_NOT_ALLOWED: Answer(_P, 0x34),  # ESME_RINVDLNAME
    Reason.LOOKUP_UNAVAILABLE: Answer(_T, 0x58),  # ESME_RTHROTTLED
    Reason.RATE: Answer(_T, 0x58),
    Reason.WINDOW: Answer(_T, 0x58),
    Reason.PAUSED: Answer(_T, 0x58),
    Reason.UNRECORDED: Answer(_T, 0x58),
    Reason.MALFORMED: Answer(_P, 0x01),  # ESME_RINVMSGLEN
    Reason.MALFORMED_TLVS: Answer(_P, 0xC0),  # ESME_RINVOPTPARSTREAM
    Reason.NOT_BOUND_FOR_THIS: Answer(_P, 0x04),  # ESME_RINVBNDSTS
    Reason.UNKNOWN_COMMAND: Answer(_P, 0x03),  # ESME_RINVCMDID
    Reason.ALREADY_BOUND: Answer(_P, 0x05),  # ESME_RALYBND
    Reason.SMSC_UNAVAILABLE: Answer(_T, 0x08),  # ESME_RSYSERR
    Reason.ADDRESS_NOT_ALLOWED: Answer(_P, 0x0D),  # ESME_RBINDFAIL
    Reason.CERTIFICATE_NOT_ALLOWED: Answer(_P, 0x0D),
    Reason.BIND_TYPE_NOT_ALLOWED: Answer(_P, 0x0D),
    Reason.TOO_MANY_SESSIONS: Answer(_T, 0x0D),
    Reason.PASSWORD_TOO_LONG: Answer(_P, 0x0E),  # ESME_RINVPASWD
}
"""Reason → (kind, command_status). A policy may change the status of a reason, not its kind."""
