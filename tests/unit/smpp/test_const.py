"""Numbers checked against those of smpplib, which others wrote."""

from smpplib import command_codes, consts

from smsfilter.smpp.const import (
    COMMAND_NAMES,
    RESPONSE_BIT,
    STATUS_BY_NAME,
    STATUS_NAMES,
    TAG_NAMES,
)
from smsfilter.smpp.spec import FIELDS


def test_command_ids_are_those_of_smpplib() -> None:
    ours = {name: number for number, name in COMMAND_NAMES.items()}
    assert command_codes.commands.items() <= ours.items()


def test_statuses_are_those_of_smpplib() -> None:
    theirs = {
        name.removeprefix("SMPP_"): number
        for name, number in vars(consts).items()
        if name.startswith("SMPP_ESME_R")
    }
    assert theirs.items() <= STATUS_BY_NAME.items()


def test_tags_are_those_of_smpplib() -> None:
    ours = {name.lower(): number for number, name in TAG_NAMES.items()}
    theirs = {name.lower(): number for name, number in consts.OPTIONAL_PARAMS.items()}
    assert theirs.items() <= ours.items()


def test_a_status_is_written_by_the_name_it_is_found_under() -> None:
    assert STATUS_NAMES[0x0B] == "ESME_RINVDSTADR"
    assert all(STATUS_BY_NAME[name] == number for number, name in STATUS_NAMES.items())


def test_every_command_has_fields_and_every_response_a_request() -> None:
    assert set(FIELDS) == set(COMMAND_NAMES)
    without = {"generic_nack"}
    for number, name in COMMAND_NAMES.items():
        if number & RESPONSE_BIT and name not in without:
            assert COMMAND_NAMES[number ^ RESPONSE_BIT] == name.removesuffix("_resp")
