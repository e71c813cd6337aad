"""Customers' handsets behind a FakeSMSC: they text a short code, and read what it answers.

Between them and the short code the SMSC does what one does: it keeps each message until the bind
of the short code has answered it ESME_ROK, delivers it again after a temporary status, an answer
that does not come or a connection that ends, and gives it up after a final one. SMS to a handset
are read as a handset reads them; receipts go back before or behind the submit_sm_resp.
Texts are encoded here, not by the code under test.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from smsfilter.smpp.const import (
    ESME_RMSGQFUL,
    ESME_ROK,
    ESME_RSYSERR,
    ESME_RTHROTTLED,
    ESME_RX_T_APPN,
    SUBMIT_SM,
    TAG_MESSAGE_PAYLOAD,
    TAG_SAR_MSG_REF_NUM,
    TAG_SAR_SEGMENT_SEQNUM,
    TAG_SAR_TOTAL_SEGMENTS,
)
from tests.fakes import wire
from tests.fakes.changes import TIMEOUT_S
from tests.fakes.smsc import FakeSMSC, SMSCConnection

SHORT_CODE = "10086999"
GSM, LATIN_1, UCS_2, GBK = 0, 3, 8, 15

_CODECS: Final = {GSM: "ascii", LATIN_1: "latin-1", UCS_2: "utf-16-be", GBK: "gbk"}
_IN_ONE: Final = {GSM: 160, LATIN_1: 140, UCS_2: 140, GBK: 140}
_IN_A_PART: Final = {GSM: 153, LATIN_1: 134, UCS_2: 132, GBK: 132}
_TEMPORARY: Final = frozenset({ESME_RSYSERR, ESME_RMSGQFUL, ESME_RTHROTTLED, ESME_RX_T_APPN})

Attempt = asyncio.Future[bytes | None]
Joining = Literal["udh8", "udh16", "sar", "payload"]
"""How the parts of a long text say that they belong together."""


@dataclass(frozen=True)
class Part:
    """What one deliver_sm carries."""

    octets: bytes
    esm_class: int = 0
    tlvs: Sequence[wire.Tlv] = ()


@dataclass
class Delivery:
    """A message on its way to the short code."""

    source: str
    destination: str
    part: Part
    data_coding: int
    attempts: list[tuple[SMSCConnection, bytes]] = field(default_factory=list)
    """Each deliver_sm that was sent for it, and on which connection."""
    statuses: list[int | None] = field(default_factory=list)
    """The answer to each; None: none came."""
    task: "asyncio.Task[int] | None" = None

    @property
    def accepted(self) -> bool:
        """Whether the short code has taken it."""
        return ESME_ROK in self.statuses

    async def done(self, timeout_s: float = TIMEOUT_S) -> int:
        """Wait until it is accepted or given up; the last status."""
        assert self.task is not None
        async with asyncio.timeout(timeout_s):
            return await asyncio.shield(self.task)


def split(text: str, data_coding: int, reference: int, joining: Joining = "udh8") -> list[Part]:
    """The parts of a text, as a handset sends it."""
    codec = _CODECS[data_coding]
    if joining == "payload":
        return [Part(b"", tlvs=[(TAG_MESSAGE_PAYLOAD, text.encode(codec))])]
    if len(text.encode(codec)) <= _IN_ONE[data_coding]:
        return [Part(text.encode(codec))]
    pieces, piece = [], b""
    for char in text:
        if len(piece) + len(char.encode(codec)) > _IN_A_PART[data_coding]:
            pieces.append(piece)
            piece = b""
        piece += char.encode(codec)
    pieces.append(piece)
    total = len(pieces)
    return [
        _part(octets, reference, total, number, joining) for number, octets in enumerate(pieces, 1)
    ]


def _part(octets: bytes, reference: int, total: int, number: int, joining: Joining) -> Part:
    if joining == "sar":
        return Part(
            octets,
            tlvs=[
                (TAG_SAR_MSG_REF_NUM, reference.to_bytes(2, "big")),
                (TAG_SAR_TOTAL_SEGMENTS, bytes((total,))),
                (TAG_SAR_SEGMENT_SEQNUM, bytes((number,))),
            ],
        )
    if joining == "udh16":
        head = bytes((6, 8, 4, *reference.to_bytes(2, "big"), total, number))
    else:
        head = bytes((5, 0, 3, reference & 0xFF, total, number))
    return Part(head + octets, esm_class=0x40)


class Handset:
    """One customer."""

    def __init__(self, network: "Handsets", number: str) -> None:
        self._network = network
        self.number = number
        self.received: list[str] = []
        """The SMS that arrived, as text, in order; without those that did not."""
        self.state = "DELIVRD"
        """What receipts say; with any other state no SMS arrives."""
        self._references = 0

    def send(
        self,
        text: str,
        data_coding: int = UCS_2,
        *,
        joining: Joining = "udh8",
        order: Iterable[int] | None = None,
    ) -> list[Delivery]:
        """Text the short code; `order` gives the numbers of the parts, to mix, double or lose."""
        self._references += 1
        parts = split(text, data_coding, self._references, joining)
        numbers = range(1, len(parts) + 1) if order is None else order
        return [
            self._network.deliver(self.number, parts[number - 1], data_coding) for number in numbers
        ]

    async def text(
        self, text: str, data_coding: int = UCS_2, timeout_s: float = TIMEOUT_S
    ) -> list[Delivery]:
        """Text the short code, and wait until all parts are accepted or given up."""
        deliveries = self.send(text, data_coding)
        for delivery in deliveries:
            await delivery.done(timeout_s)
        return deliveries

    async def wait_for_sms(self, count: int = 1, timeout_s: float = TIMEOUT_S) -> list[str]:
        """Wait until so many SMS have arrived in all, and return them."""
        await self._network.smsc.changes.until(
            lambda: len(self.received) >= count,
            lambda: f"{count} SMS at the handset; it has {self.received}",
            timeout_s,
        )
        return self.received


class Handsets:
    """The handsets of an SMSC, and what the SMSC does for them."""

    def __init__(
        self,
        smsc: FakeSMSC,
        short_code: str = SHORT_CODE,
        *,
        system_id: str | None = None,
        retry_s: float = 0.05,
        answer_within_s: float = 30.0,
        receipts: Literal["behind", "before"] | None = None,
    ) -> None:
        self.smsc = smsc
        self.short_code = short_code
        self.system_id = system_id
        """Whose bind is the short code's; by default every transceiver's."""
        self.retry_s = retry_s
        """From an answer that is temporary, or a connection that ended, to the next attempt."""
        self.answer_within_s = answer_within_s
        self.receipts = receipts
        """Whether receipts come behind or before the submit_sm_resp; None: never."""
        self.receipt_id: Callable[[str], str] = str
        """How a receipt writes a message_id."""
        self.deliveries: list[Delivery] = []
        """Every message that was sent, receipts included, in order."""
        self._handsets: dict[str, Handset] = {}
        smsc.accepted = self._accepted

    def __getitem__(self, number: str) -> Handset:
        """The handset with this number."""
        return self._handsets.setdefault(number, Handset(self, number))

    @property
    def received(self) -> dict[str, list[str]]:
        """The SMS of every handset that has any."""
        return {one.number: one.received for one in self._handsets.values() if one.received}

    def deliver(self, source: str, part: Part, data_coding: int) -> Delivery:
        """Begin to deliver a message to the short code."""
        return self._start(Delivery(source, self.short_code, part, data_coding))

    async def settled(self, timeout_s: float = TIMEOUT_S) -> list[Delivery]:
        """Wait until every message is accepted or given up."""
        tasks = [one.task for one in self.deliveries if one.task is not None]
        if tasks:
            _, pending = await asyncio.wait(tasks, timeout=timeout_s)
            assert not pending, f"{len(pending)} of {len(tasks)} messages are not accepted yet"
        return self.deliveries

    async def close(self) -> None:
        """Forget what is not delivered yet."""
        tasks = [one.task for one in self.deliveries if one.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # the SMSC

    def _start(self, delivery: Delivery, first: Attempt | None = None) -> Delivery:
        self.deliveries.append(delivery)
        delivery.task = asyncio.create_task(self._deliver(delivery, first))
        return delivery

    async def _deliver(self, delivery: Delivery, first: Attempt | None = None) -> int:
        attempt = first
        while True:
            if attempt is None:
                bound = await self.smsc.wait_bound(self.system_id, timeout_s=3600)
                attempt = self._attempt(bound, delivery)
            status = await self._status(attempt)
            delivery.statuses.append(status)
            self.smsc.changes.notify()
            if status is not None and status not in _TEMPORARY:
                return status
            attempt = None
            await asyncio.sleep(self.retry_s)

    def _attempt(self, connection: SMSCConnection, delivery: Delivery) -> Attempt:
        pdu = wire.deliver_sm(
            connection.next_number(),
            delivery.source,
            delivery.destination,
            delivery.part.octets,
            esm_class=delivery.part.esm_class,
            data_coding=delivery.data_coding,
            tlvs=delivery.part.tlvs,
        )
        delivery.attempts.append((connection, pdu))
        return connection.expect(pdu)

    async def _status(self, attempt: Attempt) -> int | None:
        try:
            async with asyncio.timeout(self.answer_within_s):
                response = await attempt
        except TimeoutError:
            return None
        return None if response is None else wire.header(response).command_status

    def _accepted(self, connection: SMSCConnection, pdu: bytes, message_id: str) -> None:
        if wire.header(pdu).command_id != SUBMIT_SM:
            return
        sms = wire.read_submit_sm(pdu)
        if sms.source != self.short_code.encode():
            return
        handset = self[sms.destination.decode()]
        if handset.state == "DELIVRD":
            handset.received.append(sms.text.decode(_CODECS[sms.data_coding]))
        if self.receipts is None or not sms.registered_delivery & 1:
            return
        text = wire.receipt_text(self.receipt_id(message_id), handset.state)
        receipt = Part(text, esm_class=0x04)
        delivery = Delivery(handset.number, self.short_code, receipt, GSM)
        # what is sent here and now goes out before the submit_sm_resp; a task runs later
        first = self._attempt(connection, delivery) if self.receipts == "before" else None
        self._start(delivery, first)
