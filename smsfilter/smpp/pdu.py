"""One PDU as a value: `decode` from its octets, `build` into them.

For everything off the message path: binds, odd commands, tools, simulators, tests. What decode
accepts, build gives back octet for octet: optional parameters stay raw, in their order, repeated
or unknown, and trailing NULs are counted. Nothing is repaired and nothing is guessed; what is not
surely read raises Malformed, and an unknown command PDUError. The message path has `peek`.
"""

import struct
from dataclasses import dataclass, field
from typing import Any, Final

from smsfilter.smpp.const import (
    COMMAND_NAMES,
    DELIVER_SM_RESP,
    ESME_RINVCMDID,
    ESME_RINVCMDLEN,
    ESME_RINVOPTPARSTREAM,
    HEADER_LENGTH,
    RESPONSE_BIT,
    TAG_MESSAGE_PAYLOAD,
)
from smsfilter.smpp.errors import Malformed, PDUError
from smsfilter.smpp.spec import FIELDS, Field
from smsfilter.smpp.tlv import TLV_HEADER, check_tlvs, read_tlvs

HEADER: Final = struct.Struct(
    ">LLLL"
)  # command_length, _id, _status, sequence_number (SMPP v3.4 §3.2)


@dataclass(slots=True)
class PDU:
    """A PDU of any command: mandatory parameters by name, TLVs as (tag, value) as on the wire.

    Counts and lengths (sm_length, number_of_dests, no_unsuccess) are not fields of their own:
    they are the length of short_message, dest_address and unsuccess_sme.
    """

    command_id: int
    command_status: int = 0
    sequence_number: int = 0
    fields: dict[str, Any] = field(default_factory=dict)
    tlvs: list[tuple[int, bytes]] = field(default_factory=list)
    trailing_nuls: int = 0

    @property
    def name(self) -> str:
        """The command's name in the specification."""
        return COMMAND_NAMES.get(self.command_id, f"0x{self.command_id:08X}")

    def tlv(self, tag: int) -> bytes | None:
        """Return the value of the first TLV with this tag."""
        return next((value for found, value in self.tlvs if found == tag), None)

    @property
    def message(self) -> bytes:
        """The user data, UDH included: short_message, or message_payload where that is empty."""
        return self.fields.get("short_message") or self.tlv(TAG_MESSAGE_PAYLOAD) or b""


def decode(octets: bytes) -> PDU:
    """Read one whole PDU; raise PDUError, and nothing else, for what is none."""
    if len(octets) < HEADER_LENGTH:
        raise Malformed("no whole header", ESME_RINVCMDLEN)
    end, command_id, command_status, sequence_number = HEADER.unpack_from(octets)
    if end != len(octets):
        raise Malformed(f"command_length {end}, but {len(octets)} octets", ESME_RINVCMDLEN)
    may_stop = _may_stop(command_id, command_status)
    fields: dict[str, Any] = {}
    start = HEADER_LENGTH
    for one in _fields_of(command_id):
        if may_stop and start == end:
            break
        fields[one.name], start = one.read(octets, start, end)
    nuls = check_tlvs(octets, start, end, bool(fields.get("short_message")), command_id)
    tlvs = read_tlvs(octets, start, end - nuls)
    return PDU(command_id, command_status, sequence_number, fields, tlvs, nuls)


def build(pdu: PDU) -> bytes:
    """Write a PDU that `decode` accepts; raise PDUError where there can be none.

    Fields not given are 0 or empty. A response that may stop early (see `_may_stop`) does so
    after the last field given, unless TLVs follow.
    """
    fields = _fields_of(pdu.command_id)
    names = [one.name for one in fields]
    unknown = pdu.fields.keys() - set(names)
    if unknown:
        raise Malformed(f"{pdu.name} has no {', '.join(sorted(unknown))}")
    optional = b"".join(_tlv(tag, value) for tag, value in pdu.tlvs) + bytes(pdu.trailing_nuls)
    has_text = bool(pdu.fields.get("short_message"))
    check_tlvs(optional, 0, len(optional), has_text, pdu.command_id)
    if not optional and _may_stop(pdu.command_id, pdu.command_status):
        fields = fields[: max((names.index(name) + 1 for name in pdu.fields), default=0)]
    mandatory = b"".join(one.write(pdu.fields.get(one.name, one.empty)) for one in fields)
    length = HEADER_LENGTH + len(mandatory) + len(optional)
    try:
        header = HEADER.pack(length, pdu.command_id, pdu.command_status, pdu.sequence_number)
    except struct.error:
        raise Malformed("a number of the header does not fit into four octets") from None
    return header + mandatory + optional


def _may_stop(command_id: int, command_status: int) -> bool:
    """Say whether a response may end after any of its mandatory fields.

    A failing one carries no body by the specification (SMPP v3.4 §4.4.2), one NUL by habit.
    deliver_sm_resp has one field, which is not used (§4.6.2) and which many leave out.
    """
    return command_id == DELIVER_SM_RESP or bool(command_status and command_id & RESPONSE_BIT)


def _fields_of(command_id: int) -> tuple[Field, ...]:
    fields = FIELDS.get(command_id)
    if fields is None:
        raise PDUError(f"unknown command_id 0x{command_id:08X}", ESME_RINVCMDID)
    return fields


def _tlv(tag: int, value: bytes) -> bytes:
    if not (0 < tag <= 0xFFFF and len(value) <= 0xFFFF):
        raise Malformed(f"TLV 0x{tag:04X} does not fit", ESME_RINVOPTPARSTREAM)
    return TLV_HEADER.pack(tag, len(value)) + value
