"""The mandatory parameters of every command, in their order on the wire, as one table.

A row is a command; a field knows its name, its limits and how to read and write itself. To teach
the codec another command, add a row here: `decode` and `build` have no knowledge of single
commands. Limits are those of the specification, NUL included: a reader that is one octet more
generous than its neighbour reads another number out of the same PDU.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Protocol

from smsfilter.smpp import const as c
from smsfilter.smpp.errors import Malformed

_TIME_LENGTH: Final = 17  # YYMMDDhhmmsstnnp and its NUL; or a lone NUL (SMPP v3.4 §7.1.1)


class SMEAddress(NamedTuple):
    """One subscriber among the destinations of a submit_multi (SMPP v3.4 §4.5.1.1)."""

    ton: int
    npi: int
    address: bytes


class DistributionList(NamedTuple):
    """A list known to the SMSC among the destinations of a submit_multi (SMPP v3.4 §4.5.1.2)."""

    name: bytes


class Unsuccessful(NamedTuple):
    """A destination that a submit_multi did not reach, and why (SMPP v3.4 §4.5.2.1)."""

    ton: int
    npi: int
    address: bytes
    status: int


class Field(Protocol):
    """A mandatory parameter: where it begins is where the one before it ended."""

    name: str
    empty: Any

    def read(self, octets: bytes, start: int, end: int) -> tuple[Any, int]:
        """Return the value and where the next field begins; raise Malformed."""

    def write(self, value: Any) -> bytes:
        """Return the octets of `value`; raise Malformed where no PDU can carry it."""


class Integer:
    """An unsigned number, of one octet where not said otherwise (SMPP v3.4 §3.1)."""

    empty = 0

    def __init__(self, name: str, size: int = 1) -> None:
        self.name = name
        self.size = size

    def read(self, octets: bytes, start: int, end: int) -> tuple[int, int]:
        """Return the number."""
        following = start + self.size
        if following > end:
            raise Malformed(f"{self.name} is missing")
        return int.from_bytes(octets[start:following], "big"), following

    def write(self, value: int) -> bytes:
        """Return the octets, the highest first."""
        try:
            return value.to_bytes(self.size, "big")
        except OverflowError:
            raise Malformed(f"{self.name} does not fit into {self.size} octets") from None


class COctetString:
    """Octets up to a NUL, at most `size` with it (SMPP v3.4 §3.1)."""

    empty = b""

    def __init__(self, name: str, size: int) -> None:
        self.name = name
        self.size = size

    def read(self, octets: bytes, start: int, end: int) -> tuple[bytes, int]:
        """Return the octets before the NUL."""
        nul = octets.find(0, start, min(end, start + self.size))
        if nul >= 0:
            return octets[start:nul], nul + 1
        raise Malformed(f"{self.name} does not end within {self.size} octets")

    def write(self, value: bytes) -> bytes:
        """Return the octets and their NUL."""
        if len(value) >= self.size:
            raise Malformed(f"{self.name} has more than {self.size} octets")
        if 0 in value:
            raise Malformed(f"{self.name} has a NUL in it")
        return value + b"\0"


class Time(COctetString):
    """A C-octet string that has one length or is empty (SMPP v3.4 §3.1 "fixed", §7.1.1)."""

    def __init__(self, name: str) -> None:
        super().__init__(name, _TIME_LENGTH)

    def read(self, octets: bytes, start: int, end: int) -> tuple[bytes, int]:
        """Return 16 octets or none."""
        value, following = super().read(octets, start, end)
        self._check(value)
        return value, following

    def write(self, value: bytes) -> bytes:
        """Return 17 octets or one."""
        self._check(value)
        return super().write(value)

    def _check(self, value: bytes) -> None:
        if value and len(value) != _TIME_LENGTH - 1:
            raise Malformed(f"{self.name} has neither 1 nor {_TIME_LENGTH} octets")


_LENGTH: Final = Integer("sm_length")
_DESTS: Final = Integer("number_of_dests")
_FLAG: Final = Integer("dest_flag")
_LIST_NAME: Final = COctetString("dl_name", 21)
_UNSUCCESSES: Final = Integer("no_unsuccess")
_ERROR: Final = Integer("error_status_code", 4)


class ShortMessage:
    """sm_length and so many octets of text (SMPP v3.4 §5.2.21).

    The 255th octet is of v5.0; it is read the same by every reader that reads it at all.
    """

    empty = b""
    name = "short_message"

    def read(self, octets: bytes, start: int, end: int) -> tuple[bytes, int]:
        """Return the text."""
        length, start = _LENGTH.read(octets, start, end)
        if start + length > end:
            raise Malformed("sm_length goes past the end")
        return octets[start : start + length], start + length

    def write(self, value: bytes) -> bytes:
        """Return the length and the text."""
        return _LENGTH.write(len(value)) + value


class Destinations:
    """number_of_dests and so many dest_address (SMPP v3.4 §4.5.1); one at least."""

    empty: tuple[SMEAddress | DistributionList, ...] = ()
    name = "dest_address"

    def read(
        self, octets: bytes, start: int, end: int
    ) -> tuple[tuple[SMEAddress | DistributionList, ...], int]:
        """Return the destinations in their order."""
        count, start = _DESTS.read(octets, start, end)
        found: list[SMEAddress | DistributionList] = []
        for _ in range(count):
            flag, start = _FLAG.read(octets, start, end)
            if flag == c.DEST_FLAG_SME:
                values, start = _read_all(_DESTINATION, octets, start, end)
                found.append(SMEAddress(*values))
            elif flag == c.DEST_FLAG_LIST:
                name, start = _LIST_NAME.read(octets, start, end)
                found.append(DistributionList(name))
            else:
                raise Malformed(f"dest_flag {flag} is neither an address nor a list")
        if not found:
            raise Malformed("number_of_dests is 0")
        return tuple(found), start

    def write(self, value: Sequence[SMEAddress | DistributionList]) -> bytes:
        """Return the count and the destinations."""
        if not value:
            raise Malformed("number_of_dests is 0")
        return _DESTS.write(len(value)) + b"".join(
            _FLAG.write(c.DEST_FLAG_SME) + _write_all(_DESTINATION, one)
            if isinstance(one, SMEAddress)
            else _FLAG.write(c.DEST_FLAG_LIST) + _LIST_NAME.write(one.name)
            for one in value
        )


class UnsuccessfulList:
    """no_unsuccess and so many unsuccess_sme (SMPP v3.4 §4.5.2)."""

    empty: tuple[Unsuccessful, ...] = ()
    name = "unsuccess_sme"

    def read(self, octets: bytes, start: int, end: int) -> tuple[tuple[Unsuccessful, ...], int]:
        """Return the destinations not reached, in their order."""
        count, start = _UNSUCCESSES.read(octets, start, end)
        found = []
        for _ in range(count):
            values, start = _read_all((*_DESTINATION, _ERROR), octets, start, end)
            found.append(Unsuccessful(*values))
        return tuple(found), start

    def write(self, value: Sequence[Unsuccessful]) -> bytes:
        """Return the count and the destinations."""
        return _UNSUCCESSES.write(len(value)) + b"".join(
            _write_all((*_DESTINATION, _ERROR), one) for one in value
        )


def _read_all(
    fields: Sequence[Field], octets: bytes, start: int, end: int
) -> tuple[list[Any], int]:
    values = []
    for one in fields:
        value, start = one.read(octets, start, end)
        values.append(value)
    return values, start


def _write_all(fields: Sequence[Field], values: Sequence[Any]) -> bytes:
    return b"".join(one.write(value) for one, value in zip(fields, values, strict=True))


def _address(prefix: str, size: int, name: str = "") -> tuple[Field, ...]:
    return (
        Integer(f"{prefix}_ton"),
        Integer(f"{prefix}_npi"),
        COctetString(name or prefix, size),
    )


_SERVICE_TYPE: Final = COctetString("service_type", 6)
_MESSAGE_ID: Final = COctetString("message_id", 65)
_SYSTEM_ID: Final = COctetString("system_id", 16)
# 9 in the specification. Sites have longer ones: how long is the operator's choice, not structure.
_PASSWORD: Final = COctetString("password", 65)
_SOURCE: Final[tuple[Field, ...]] = _address("source_addr", 21)
_DESTINATION: Final[tuple[Field, ...]] = _address("dest_addr", 21, "destination_addr")
_TIMES: Final[tuple[Field, ...]] = (Time("schedule_delivery_time"), Time("validity_period"))

_BIND: Final[tuple[Field, ...]] = (
    _SYSTEM_ID,
    _PASSWORD,
    COctetString("system_type", 13),
    Integer("interface_version"),
    *_address("addr", 41, "address_range"),
)
# What submit_sm, deliver_sm and submit_multi have after the destination.
_MESSAGE: Final[tuple[Field, ...]] = (
    Integer("esm_class"),
    Integer("protocol_id"),
    Integer("priority_flag"),
    *_TIMES,
    Integer("registered_delivery"),
    Integer("replace_if_present_flag"),
    Integer("data_coding"),
    Integer("sm_default_msg_id"),
    ShortMessage(),
)
_SUBMIT: Final[tuple[Field, ...]] = (_SERVICE_TYPE, *_SOURCE, *_DESTINATION, *_MESSAGE)
_QUERY: Final[tuple[Field, ...]] = (_MESSAGE_ID, *_SOURCE)

FIELDS: Final[dict[int, tuple[Field, ...]]] = {
    c.BIND_TRANSMITTER: _BIND,  # §4.1.1
    c.BIND_TRANSMITTER_RESP: (_SYSTEM_ID,),  # §4.1.2
    c.BIND_RECEIVER: _BIND,  # §4.1.3
    c.BIND_RECEIVER_RESP: (_SYSTEM_ID,),  # §4.1.4
    c.BIND_TRANSCEIVER: _BIND,  # §4.1.5
    c.BIND_TRANSCEIVER_RESP: (_SYSTEM_ID,),  # §4.1.6
    c.OUTBIND: (_SYSTEM_ID, _PASSWORD),  # §4.1.7
    c.UNBIND: (),  # §4.2.1
    c.UNBIND_RESP: (),  # §4.2.2
    c.GENERIC_NACK: (),  # §4.3.1
    c.SUBMIT_SM: _SUBMIT,  # §4.4.1
    c.SUBMIT_SM_RESP: (_MESSAGE_ID,),  # §4.4.2
    c.SUBMIT_MULTI: (_SERVICE_TYPE, *_SOURCE, Destinations(), *_MESSAGE),  # §4.5.1
    c.SUBMIT_MULTI_RESP: (_MESSAGE_ID, UnsuccessfulList()),  # §4.5.2
    c.DELIVER_SM: _SUBMIT,  # §4.6.1
    c.DELIVER_SM_RESP: (_MESSAGE_ID,),  # §4.6.2
    c.DATA_SM: (  # §4.7.1
        _SERVICE_TYPE,
        *_address("source_addr", 65),
        *_address("dest_addr", 65, "destination_addr"),
        Integer("esm_class"),
        Integer("registered_delivery"),
        Integer("data_coding"),
    ),
    c.DATA_SM_RESP: (_MESSAGE_ID,),  # §4.7.2
    c.QUERY_SM: _QUERY,  # §4.8.1
    c.QUERY_SM_RESP: (  # §4.8.2
        _MESSAGE_ID,
        Time("final_date"),
        Integer("message_state"),
        Integer("error_code"),
    ),
    c.CANCEL_SM: (_SERVICE_TYPE, _MESSAGE_ID, *_SOURCE, *_DESTINATION),  # §4.9.1
    c.CANCEL_SM_RESP: (),  # §4.9.2
    c.REPLACE_SM: (  # §4.10.1
        _MESSAGE_ID,
        *_SOURCE,
        *_TIMES,
        Integer("registered_delivery"),
        Integer("sm_default_msg_id"),
        ShortMessage(),
    ),
    c.REPLACE_SM_RESP: (),  # §4.10.2
    c.ENQUIRE_LINK: (),  # §4.11.1
    c.ENQUIRE_LINK_RESP: (),  # §4.11.2
    c.ALERT_NOTIFICATION: (  # §4.12.1
        *_address("source_addr", 65),
        *_address("esme_addr", 65),
    ),
    c.BROADCAST_SM: (  # v5.0 §4.4.1
        _SERVICE_TYPE,
        *_SOURCE,
        _MESSAGE_ID,
        Integer("priority_flag"),
        *_TIMES,
        Integer("replace_if_present_flag"),
        Integer("data_coding"),
        Integer("sm_default_msg_id"),
    ),
    c.BROADCAST_SM_RESP: (_MESSAGE_ID,),  # v5.0 §4.4.1
    c.QUERY_BROADCAST_SM: _QUERY,  # v5.0 §4.6.1
    c.QUERY_BROADCAST_SM_RESP: (_MESSAGE_ID,),  # v5.0 §4.6.1
    c.CANCEL_BROADCAST_SM: (_SERVICE_TYPE, _MESSAGE_ID, *_SOURCE),  # v5.0 §4.6.2
    c.CANCEL_BROADCAST_SM_RESP: (),  # v5.0 §4.6.2
}
