"""Our octets read by smpplib: an independent reader must find the values that we put in."""

import json
from pathlib import Path

import make_vectors_smpplib
import pytest
from hypothesis import given
from hypothesis import strategies as st
from smpplib.smpp import parse_pdu

from smsfilter.smpp import const as c
from smsfilter.smpp.pdu import PDU, build
from smsfilter.smpp.spec import FIELDS
from tests.strategies import uint32, values

# smpplib knows no submit_multi, replace_sm, cancel_sm, outbind and broadcast_sm.
COMMANDS = (
    c.BIND_TRANSMITTER,
    c.BIND_RECEIVER,
    c.BIND_TRANSCEIVER,
    c.BIND_TRANSCEIVER_RESP,
    c.SUBMIT_SM,
    c.SUBMIT_SM_RESP,
    c.DELIVER_SM,
    c.DELIVER_SM_RESP,
    c.DATA_SM,
    c.DATA_SM_RESP,
    c.QUERY_SM,
    c.QUERY_SM_RESP,
    c.ALERT_NOTIFICATION,
    c.ENQUIRE_LINK,
    c.UNBIND,
    c.GENERIC_NACK,
)
TLVS = {
    "message_payload": (c.TAG_MESSAGE_PAYLOAD, st.binary(min_size=1, max_size=600)),
    "sar_msg_ref_num": (c.TAG_SAR_MSG_REF_NUM, st.binary(min_size=2, max_size=2)),
    "callback_num": (c.TAG_CALLBACK_NUM, st.binary(min_size=4, max_size=19)),
}


@pytest.mark.parametrize("command_id", COMMANDS, ids=c.COMMAND_NAMES.get)
@given(data=st.data())
def test_smpplib_reads_what_we_build(command_id: int, data: st.DataObject) -> None:
    fields = {one.name: data.draw(values(one), label=one.name) for one in FIELDS[command_id]}
    tlvs: dict[str, bytes] = {}
    if command_id in (c.SUBMIT_SM, c.DELIVER_SM) and not fields["short_message"]:
        tlvs = {name: data.draw(value, label=name) for name, (_, value) in TLVS.items()}
    raw = [(TLVS[name][0], value) for name, value in tlvs.items()]
    sequence = data.draw(uint32)
    theirs = parse_pdu(build(PDU(command_id, 0, sequence, fields, raw)), sequence=0)
    assert theirs.command == c.COMMAND_NAMES[command_id]
    assert theirs.sequence == sequence
    assert {name: getattr(theirs, name) for name in fields} == fields
    for name, value in tlvs.items():
        found = getattr(theirs, name)
        assert found == (int.from_bytes(value, "big") if isinstance(found, int) else value)


def test_smpplib_still_makes_the_octets_of_the_vectors() -> None:
    """Write the file anew where this fails; make_vectors_smpplib.py says how."""
    file = Path(make_vectors_smpplib.__file__).with_name("vectors_smpplib.jsonl")
    committed = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    now = map(json.loads, make_vectors_smpplib.lines())
    assert [row | {"stack": ""} for row in now] == [row | {"stack": ""} for row in committed]
