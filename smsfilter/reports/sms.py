"""The messages of the report centre as values: what its SMSC brings, and what goes to customers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from smsfilter.smpp.const import (
    ESM_CLASS_UDHI,
    ESME_RMSGQFUL,
    ESME_ROK,
    ESME_RSUBMITFAIL,
    ESME_RSYSERR,
    ESME_RTHROTTLED,
    ESME_RX_T_APPN,
)

TEMPORARY: Final = frozenset(
    {ESME_RSYSERR, ESME_RMSGQFUL, ESME_RSUBMITFAIL, ESME_RTHROTTLED, ESME_RX_T_APPN}
)
"""Statuses that may be gone when the same is tried again (SMPP v3.4 §5.1.3)."""


@dataclass(frozen=True, slots=True, eq=False)
class Delivered:
    """A deliver_sm or data_sm of the SMSC (SMPP v3.4 §4.6.1, §4.7.1): a report, or a receipt.

    Two are never equal: sequence_numbers repeat, and each has an answer of its own.
    """

    command_id: int
    sequence_number: int
    source: bytes
    """The handset."""
    source_ton: int
    source_npi: int
    destination: bytes
    esm_class: int
    protocol_id: int
    """0 for a data_sm, which has none."""
    data_coding: int
    octets: bytes
    """short_message, or message_payload where that is empty; a UDH included."""
    tlvs: Mapping[int, bytes]
    """By tag; of a repeated one the last."""
    received_at: int
    """µs since 1970, UTC."""

    @property
    def udhi(self) -> bool:
        """Whether `octets` begins with a UDH (SMPP v3.4 §5.2.12)."""
        return bool(self.esm_class & ESM_CLASS_UDHI)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An SMS from the short code to a customer."""

    destination: str
    """Digits with the country code."""
    octets: bytes
    data_coding: int
    registered_delivery: int = 1
    """1: a receipt is asked for (SMPP v3.4 §5.2.17)."""
    esm_class: int = 0
    destination_ton: int = 1
    destination_npi: int = 1


@dataclass(frozen=True, slots=True)
class Answer:
    """What the SMSC has answered to a submit_sm."""

    status: int
    message_id: bytes
    """As on the wire; empty where the SMS was not accepted, or no id came."""

    @property
    def accepted(self) -> bool:
        """Whether the SMSC has taken the SMS."""
        return self.status == ESME_ROK

    @property
    def temporary(self) -> bool:
        """Whether it may take the same SMS later."""
        return self.status in TEMPORARY


class NotBound(Exception):  # noqa: N818 - what the centre is
    """The SMS was never sent, and why."""


class NoAnswer(Exception):  # noqa: N818 - what there is
    """The SMS was sent and its answer has not come: the SMSC may have taken it or not."""
