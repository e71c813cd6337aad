"""PDUs that others made, and PDUs that nobody should make, against the codec and the peek.

vectors_*.jsonl come from two independent stacks by the make_vectors scripts beside them; good and
bad were written by hand from the specification, with a blank between fields.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from smsfilter.smpp.const import BINDS, DATA_SM, DELIVER_SM, REPLACE_SM, SUBMIT_MULTI, SUBMIT_SM
from smsfilter.smpp.errors import Malformed, PDUError
from smsfilter.smpp.pdu import HEADER, build, decode
from smsfilter.smpp.peek import peek, peek_bind
from smsfilter.smpp.spec import FIELDS

HERE = Path(__file__).parent
CARRIERS = frozenset({SUBMIT_SM, DATA_SM, SUBMIT_MULTI, REPLACE_SM, DELIVER_SM})


def rows(name: str) -> list[Any]:
    """One pytest parameter per line of a data file, named by what it is."""
    lines = (HERE / name).read_text(encoding="utf-8").splitlines()
    return [
        pytest.param(row, id=f"{number}-{row.get('why') or row['command']}")
        for number, row in enumerate(map(json.loads, lines), 1)
    ]


def octets_of(value: Any) -> Any:
    """Strings of the data files as octets, also those inside lists."""
    if isinstance(value, str):
        return value.encode("latin-1")
    return tuple(map(octets_of, value)) if isinstance(value, list) else value


@pytest.mark.parametrize("row", rows("vectors_smpplib.jsonl") + rows("vectors_node.jsonl"))
def test_others_pdus_are_read_as_they_were_meant(row: dict[str, Any]) -> None:
    octets = bytes.fromhex(row["octets"])
    pdu = decode(octets)
    assert (pdu.name, pdu.command_status, pdu.sequence_number) == (
        row["command"],
        row["status"],
        row["sequence"],
    )
    meant = {name: octets_of(value) for name, value in row["fields"].items()}
    read = {name: value for name, value in pdu.fields.items() if name in meant}
    assert read == meant
    assert not any(value for name, value in pdu.fields.items() if name not in meant)
    assert pdu.tlvs == [(tag, octets_of(value)) for tag, value in row["tlvs"]]
    assert pdu.trailing_nuls == 0


@pytest.mark.parametrize("row", rows("vectors_smpplib.jsonl") + rows("vectors_node.jsonl"))
def test_others_pdus_are_built_again_octet_for_octet(row: dict[str, Any]) -> None:
    octets = bytes.fromhex(row["octets"])
    assert build(decode(octets)) == octets


def test_the_two_stacks_together_cover_every_command() -> None:
    covered = {
        decode(bytes.fromhex(param.values[0]["octets"])).command_id
        for name in ("vectors_smpplib.jsonl", "vectors_node.jsonl")
        for param in rows(name)
    }
    assert set(FIELDS) - covered == set()


@pytest.mark.parametrize("row", rows("good.jsonl"))
def test_odd_but_coherent_is_accepted(row: dict[str, Any]) -> None:
    octets = bytes.fromhex(row["octets"])
    pdu = decode(octets)
    assert pdu.trailing_nuls == row["trailing_nuls"]
    assert build(pdu) == octets
    if pdu.command_id in CARRIERS:
        assert peek(octets, 0, len(octets), pdu.command_id).trailing_nuls == row["trailing_nuls"]
    elif pdu.command_id in BINDS:
        assert peek_bind(octets, 0, len(octets)).system_id == pdu.fields["system_id"]


@pytest.mark.parametrize("row", rows("bad.jsonl"))
def test_what_two_readers_could_read_differently_is_refused(row: dict[str, Any]) -> None:
    octets = bytes.fromhex(row["octets"])
    with pytest.raises(PDUError) as refusal:
        decode(octets)
    assert refusal.value.command_status == row["status"]
    if row["status"] in (0x01, 0xC0):
        command_id = HEADER.unpack_from(octets)[1]
        if command_id in CARRIERS:
            with pytest.raises(Malformed) as refusal:
                peek(octets, 0, len(octets), command_id)
            assert refusal.value.command_status == row["status"]
        elif command_id in BINDS:
            with pytest.raises(Malformed):
                peek_bind(octets, 0, len(octets))
