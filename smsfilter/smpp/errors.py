"""What can be wrong with octets that claim to be SMPP.

Everything the protocol layer may raise is a PDUError that carries the command_status to answer
with, so that callers catch one class and never guess a status. FramingError means that the stream
itself cannot be followed any further; Malformed means that one PDU is bad, the next one is still
found. Nothing here knows of sockets, logs or policy.
"""

from smsfilter.smpp.const import ESME_RINVCMDLEN, ESME_RINVMSGLEN


class PDUError(ValueError):
    """A PDU or a piece of text in it that cannot be read or built."""

    def __init__(self, message: str, command_status: int) -> None:
        super().__init__(message)
        self.command_status = command_status


class FramingError(PDUError):
    """A command_length no PDU can have: where the next PDU begins is unknown (SMPP v3.4 §3.2)."""

    def __init__(self, message: str, sequence_number: int = 0) -> None:
        super().__init__(message, ESME_RINVCMDLEN)
        self.sequence_number = sequence_number


class Malformed(PDUError):  # noqa: N818 - what the PDU is, as logs and answers call it
    """One PDU that two readers could read differently, or not at all."""

    def __init__(self, message: str, command_status: int = ESME_RINVMSGLEN) -> None:
        super().__init__(message, command_status)
