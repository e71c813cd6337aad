"""Write vectors_smpplib.jsonl: PDUs as smpplib makes them, with what it was asked to put in.

`python tests/wire/make_vectors_smpplib.py > tests/wire/vectors_smpplib.jsonl` after an upgrade of
smpplib; a test says when that is due. Nothing here may use smsfilter.smpp: these octets are what
our codec is measured with. Strings stand for octets, character by character (Latin-1).
"""

import json
import sys
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

from smpplib.smpp import make_pdu

UCS_2 = "您的验证码是 123456".encode("utf-16-be").decode("latin-1")
BIND = {
    "system_id": "acme",
    "password": "secret08",
    "system_type": "SMPP",
    "interface_version": 0x34,
    "addr_ton": 1,
    "addr_npi": 1,
    "address_range": "^1065",
}
ADDRESSES = {
    "source_addr_ton": 5,
    "source_addr_npi": 0,
    "source_addr": "10657555",
    "dest_addr_ton": 1,
    "dest_addr_npi": 1,
    "destination_addr": "8613800138000",
}
# command, fields, TLVs as (name, what smpplib is given, tag, value on the wire), command_status
CASES: list[tuple[str, dict[str, Any], list[tuple[str, Any, int, str]], int]] = [
    ("bind_transmitter", BIND, [], 0),
    ("bind_receiver", BIND, [], 0),
    ("bind_transceiver", BIND | {"system_id": "fifteen-octets_", "password": ""}, [], 0),
    ("bind_transmitter_resp", {"system_id": "smsc"}, [], 0),
    ("bind_receiver_resp", {"system_id": ""}, [], 0x0D),
    ("bind_transceiver_resp", {"system_id": "smsc"}, [], 0),
    ("submit_sm", ADDRESSES | {"short_message": "hello"}, [], 0),
    ("submit_sm", ADDRESSES | {"data_coding": 8, "short_message": UCS_2}, [], 0),
    (
        "submit_sm",
        ADDRESSES
        | {
            "service_type": "WAP",
            "esm_class": 0x43,
            "protocol_id": 0x7F,
            "priority_flag": 3,
            "schedule_delivery_time": "260101120000004+",
            "validity_period": "000007000000000R",
            "registered_delivery": 1,
            "replace_if_present_flag": 1,
            "data_coding": 0xF5,
            "sm_default_msg_id": 9,
            "short_message": "\x05\x00\x03\xcc\x02\x01" + "x" * 134,
        },
        [],
        0,
    ),
    (
        "submit_sm",
        ADDRESSES,
        [
            ("user_message_reference", 0x1234, 0x0204, "\x12\x34"),
            ("source_port", 2948, 0x020A, "\x0b\x84"),
            ("destination_port", 2948, 0x020B, "\x0b\x84"),
            ("sar_msg_ref_num", 0xFFFF, 0x020C, "\xff\xff"),
            ("sar_total_segments", 2, 0x020E, "\x02"),
            ("sar_segment_seqnum", 1, 0x020F, "\x01"),
            ("more_messages_to_send", 1, 0x0426, "\x01"),
            ("message_payload", b"p" * 1000, 0x0424, "p" * 1000),
            ("callback_num", b"\x01\x00\x0110086", 0x0381, "\x01\x00\x0110086"),
            ("ussd_service_op", 2, 0x0501, "\x02"),
        ],
        0,
    ),
    ("submit_sm", ADDRESSES | {"short_message": "y" * 254}, [], 0),
    ("submit_sm_resp", {"message_id": "9f3c0a"}, [], 0),
    ("submit_sm_resp", {"message_id": ""}, [], 0x58),
    (
        "deliver_sm",
        ADDRESSES | {"esm_class": 4, "short_message": "id:9f3c0a stat:DELIVRD err:000"},
        [
            ("network_error_code", b"\x03\x00\x00", 0x0423, "\x03\x00\x00"),
            ("message_state", 2, 0x0427, "\x02"),
            ("receipted_message_id", "9f3c0a", 0x001E, "9f3c0a\x00"),
        ],
        0,
    ),
    ("deliver_sm_resp", {"message_id": ""}, [], 0),
    (
        "data_sm",
        ADDRESSES | {"registered_delivery": 1, "data_coding": 3},
        [
            ("qos_time_to_live", 3600, 0x0017, "\x00\x00\x0e\x10"),
            ("message_payload", b"caf\xe9", 0x0424, "café"),
        ],
        0,
    ),
    ("data_sm_resp", {"message_id": "77"}, [("dpf_result", 1, 0x0420, "\x01")], 0),
    (
        "query_sm",
        {
            "message_id": "9f3c0a",
            "source_addr_ton": 5,
            "source_addr_npi": 0,
            "source_addr": "10657555",
        },
        [],
        0,
    ),
    (
        "query_sm_resp",
        {
            "message_id": "9f3c0a",
            "final_date": "260101120000004+",
            "message_state": 2,
            "error_code": 255,
        },
        [],
        0,
    ),
    (
        "alert_notification",
        {
            "source_addr_ton": 1,
            "source_addr_npi": 1,
            "source_addr": "8613800138000",
            "esme_addr_ton": 5,
            "esme_addr_npi": 0,
            "esme_addr": "10657555",
        },
        [("ms_availability_status", 0, 0x0422, "\x00")],
        0,
    ),
    ("unbind", {}, [], 0),
    ("unbind_resp", {}, [], 0),
    ("enquire_link", {}, [], 0),
    ("enquire_link_resp", {}, [], 0),
    ("generic_nack", {}, [], 3),
]


def lines() -> Iterator[str]:
    """Each case as a line of JSON."""
    stack = f"smpplib {version('smpplib')}"
    for number, (command, fields, tlvs, status) in enumerate(CASES, 1):
        sequence = number * 0x01010101
        given = {name: _given(name, value) for name, value in fields.items()}
        given |= {name: value for name, value, _, _ in tlvs}
        pdu = make_pdu(command, sequence=sequence, **given)
        pdu.sequence, pdu.status = sequence, status
        for name, value in given.items():  # some constructors put their own values over ours
            setattr(pdu, name, value)
        row = {
            "stack": stack,
            "command": command,
            "status": status,
            "sequence": sequence,
            "fields": fields,
            "tlvs": [(tag, value) for _, _, tag, value in tlvs],
            "octets": pdu.generate().hex(),
        }
        yield json.dumps(row) + "\n"


def _given(name: str, value: Any) -> Any:
    return value.encode("latin-1") if name == "short_message" else value


if __name__ == "__main__":
    sys.stdout.writelines(lines())
