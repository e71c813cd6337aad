"""The PDUs that the report centre sends, and what it reads in those of the SMSC. No I/O."""

from typing import Final

from smsfilter.reports.events import Bind
from smsfilter.reports.sms import Delivered, Outgoing
from smsfilter.smpp.const import (
    BIND_TRANSCEIVER,
    DATA_SM,
    DELIVER_SM,
    ESME_ROK,
    GENERIC_NACK,
    RESPONSE_BIT,
    SUBMIT_SM,
    TAG_MESSAGE_PAYLOAD,
    VERSION_3_4,
)
from smsfilter.smpp.errors import PDUError
from smsfilter.smpp.pdu import PDU, build, decode

SHORT_MESSAGE_MOST: Final = 254  # octets (SMPP v3.4 §5.2.21)
MESSAGES: Final = frozenset({DELIVER_SM, DATA_SM})


def bind_transceiver(bind: Bind, number: int) -> bytes:
    """A bind (SMPP v3.4 §4.1.5). Raises PDUError where a field is too long for it."""
    fields = {
        "system_id": bind.system_id.encode(),
        "password": bind.password,
        "system_type": bind.system_type.encode(),
        "interface_version": VERSION_3_4,
        "addr_ton": bind.address_ton,
        "addr_npi": bind.address_npi,
        "address_range": bind.address.encode(),
    }
    return build(PDU(BIND_TRANSCEIVER, 0, number, fields))


def submit_sm(bind: Bind, sms: Outgoing, number: int) -> bytes:
    """A submit_sm (SMPP v3.4 §4.4.1). Raises PDUError where none can carry the SMS."""
    fits = len(sms.octets) <= SHORT_MESSAGE_MOST
    fields = {
        "source_addr_ton": bind.address_ton,
        "source_addr_npi": bind.address_npi,
        "source_addr": bind.address.encode(),
        "dest_addr_ton": sms.destination_ton,
        "dest_addr_npi": sms.destination_npi,
        "destination_addr": sms.destination.encode(),
        "esm_class": sms.esm_class,
        "registered_delivery": sms.registered_delivery,
        "data_coding": sms.data_coding,
        "short_message": sms.octets if fits else b"",
    }
    tlvs = [] if fits else [(TAG_MESSAGE_PAYLOAD, sms.octets)]
    return build(PDU(SUBMIT_SM, 0, number, fields, tlvs))


def request(command_id: int, number: int) -> bytes:
    """A request that is nothing but a header: enquire_link, unbind."""
    return build(PDU(command_id, 0, number))


def response(command_id: int, number: int, status: int = ESME_ROK) -> bytes:
    """The response to a request of the SMSC.

    That to a message has an empty message_id, which is not used (SMPP v3.4 §4.6.2).
    """
    fields = {"message_id": b""} if command_id in MESSAGES else {}
    return build(PDU(command_id | RESPONSE_BIT, status, number, fields))


def generic_nack(number: int, status: int) -> bytes:
    """A generic_nack (SMPP v3.4 §4.3.1)."""
    return build(PDU(GENERIC_NACK, status, number))


def delivered_by(pdu: PDU, received_at: int) -> Delivered:
    """A deliver_sm or data_sm as a message that came at `received_at` (µs since 1970)."""
    fields = pdu.fields
    return Delivered(
        command_id=pdu.command_id,
        sequence_number=pdu.sequence_number,
        source=fields["source_addr"],
        source_ton=fields["source_addr_ton"],
        source_npi=fields["source_addr_npi"],
        destination=fields["destination_addr"],
        esm_class=fields["esm_class"],
        protocol_id=fields.get("protocol_id", 0),
        data_coding=fields["data_coding"],
        octets=pdu.message,
        tlvs=dict(pdu.tlvs),
        received_at=received_at,
    )


def message_id_in(octets: bytes) -> bytes:
    """The id in a submit_sm_resp; empty where it cannot be read: the SMS is accepted anyway."""
    try:
        found: bytes = decode(octets).fields["message_id"]
    except PDUError:
        return b""
    return found
