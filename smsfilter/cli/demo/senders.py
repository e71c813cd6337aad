"""The senders of the demo: three companies, five roads, each a smpplib client in a thread.

smpplib and not our own codec, so that what the demo shows is not a talk of the project with
itself. Each message says in its text in which phase it was sent, so that the SMSC's count needs no
clock: the phase changes once the short code has answered, and is read before a message is put on
the wire.
"""

import contextlib
import logging
import threading
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import Future
from typing import Any, Final, NamedTuple

from smsfilter.cli.demo.simulator import HOST, Arrival
from smsfilter.cli.demo.summary import Count, Line, Phase
from smsfilter.rules.numbers import mask
from smsfilter.smpp.const import ESME_RTHROTTLED

REPORTER: Final = "8613800138000"
OTHERS: Final = ("8613800138001", "8613900139000", "8618600186000")
PACE_S: Final = 0.06
"""Between two messages of one road: fast enough to be convincing, slow enough to be watched."""
ANSWER_S: Final = 5.0
"""How long an answer may take before the demo has failed: with that, and what follows, it ends
within ten seconds of a proxy that says nothing."""

COMPANIES: Final[dict[str, Any]] = {
    "acme": {
        "name": "Acme",
        "accounts": ["acme", "acme2"],
        "sources": ["10657555"],
        "headers": ["ACME"],
    },
    "bravo": {"name": "Bravo Bank", "accounts": ["bravo"], "sources": ["10690666"]},
    "corner": {"name": "Corner Shop", "accounts": ["corner"], "sources": ["10691777"]},
}
RESELLERS: Final[dict[str, Any]] = {"resell7": {"may_send_for": ["acme", "bravo"]}}
ACCUSED: Final = "acme"
APPROVED: Final = ("acme", "bravo")


class Road(NamedTuple):
    """One way for a company's messages."""

    company: str
    account: str
    source: str
    shown: str


ROADS: Final = (
    Road("acme", "acme", "1065755501", "own account acme"),
    Road("acme", "resell7", "1065755502", "reseller resell7"),
    Road("acme", "acme2", "Ａcme", "account acme2 as Ａcme"),
    Road("bravo", "bravo", "1069066601", "own account bravo"),
    Road("corner", "corner", "1069177701", "own account corner"),
)

Cell = tuple[Road, str, Phase]
"""A road, a customer, and when."""
_SAID: Final = {
    b"before the report": Phase.BEFORE,
    b"after the report": Phase.AFTER,
    b"while it is withdrawn": Phase.TAKING_BACK,
    b"after the withdrawal": Phase.AGAIN,
}
"""How a message says when it was sent: at its end."""
_SAYS: Final = {phase: said for said, phase in _SAID.items()}


class Moment:
    """The phase that it is now; read by the senders' threads, changed by the course alone."""

    def __init__(self) -> None:
        self.phase = Phase.BEFORE


class Tally:
    """What has arrived at the SMSC, by road, customer and phase; written by its thread alone."""

    def __init__(self) -> None:
        self.arrived: Counter[Cell] = Counter()
        self.strays = 0
        """Messages that no sender of the demo can have sent."""
        self._roads = {(road.account, road.source.encode()): road for road in ROADS}

    def add(self, arrival: Arrival) -> None:
        """Count one message."""
        road = self._roads.get((arrival.account, arrival.source))
        customer = arrival.destination.decode("latin-1")
        phases = [phase for said, phase in _SAID.items() if arrival.message.endswith(said)]
        if road is None or customer not in (REPORTER, *OTHERS) or not phases:
            self.strays += 1
        else:
            self.arrived[road, customer, phases[0]] += 1


class Sender(threading.Thread):
    """One road: binds, sends to the reporter and to the others in turn, and counts the answers."""

    def __init__(self, road: Road, port: int, moment: Moment, stop: threading.Event):
        super().__init__(name=f"sender-{road.account}", daemon=True)
        self.road = road
        self.sent: Counter[Cell] = Counter()
        self.refused: Counter[Cell] = Counter()
        self.put_off: Counter[Cell] = Counter()
        self.last: dict[bool, int] = {}
        """The last command_status, of messages to the reporter (True) and to the others."""
        self.bound: Future[None] = Future()
        self.failed = ""
        """Why it could not go on."""
        self._port = port
        self._moment = moment
        self._halt = stop
        self._status: int | None = None

    def run(self) -> None:
        """Bind, send until told to stop, unbind; say in `failed` what went wrong."""
        import smpplib.client  # noqa: PLC0415 - start-up of the other commands stays light
        import smpplib.exceptions  # noqa: PLC0415

        logging.getLogger("smpp").addHandler(logging.NullHandler())  # else it speaks on stderr
        client = smpplib.client.Client(
            HOST, self._port, timeout=ANSWER_S, allow_unknown_opt_params=True
        )
        client.set_message_sent_handler(self._answered)
        client.set_error_pdu_handler(lambda _: None)  # a refusal is an answer like another
        lost = (smpplib.exceptions.PDUError, smpplib.exceptions.ConnectionError)
        try:
            client.connect()
            client.bind_transceiver(system_id=self.road.account, password="secret")  # noqa: S106
            self.bound.set_result(None)
            self._send_all(client)
            with contextlib.suppress(*lost):  # all answers are there
                client.unbind()
        except TimeoutError:
            self.failed = f"account {self.road.account}: no answer in {ANSWER_S:g} s"
        except (*lost, OSError) as error:
            why = str(error) or "the connection was closed"
            self.failed = f"account {self.road.account}: {why}"
        finally:
            client.disconnect()
            if not self.bound.done():
                self.bound.set_result(None)

    def _send_all(self, client: Any) -> None:
        number = 0
        while not self._halt.is_set():
            # every other message goes to the reporter
            customer = OTHERS[number // 2 % len(OTHERS)] if number % 2 else REPORTER
            number += 1
            self._send(client, customer, number)
            self._halt.wait(PACE_S)

    def _send(self, client: Any, customer: str, number: int) -> None:
        """Send one message and wait for its answer."""
        phase = self._moment.phase
        cell = (self.road, customer, phase)
        text = b"Message %d of %s, sent " % (number, self.road.company.encode())
        self._status = None
        self.sent[cell] += 1
        client.send_message(
            # smpplib takes characters for octets
            source_addr=self.road.source.encode().decode("latin-1"),
            destination_addr=customer,
            short_message=text + _SAYS[phase],
        )
        while self._status is None:
            client.read_once(auto_send_enquire_link=False)
        self.last[customer == REPORTER] = self._status
        if self._status:
            self.refused[cell] += 1
            self.put_off[cell] += self._status == ESME_RTHROTTLED

    def _answered(self, pdu: Any, **_: Any) -> None:
        self._status = pdu.status


def lines(senders: Iterable[Sender], tally: Tally) -> list[Line]:
    """Put both ends' counts together: two lines a road, the reporter's and that of the others."""
    return [
        Line(
            COMPANIES[sender.road.company]["name"],
            sender.road.company in APPROVED,
            sender.road.shown,
            sender.road.account,
            customers_shown(customers),
            sender.road.company == ACCUSED,
            customers == (REPORTER,),
            tuple(_count(sender, tally, customers, phase) for phase in Phase),
            sender.last.get(customers == (REPORTER,)),
        )
        for sender in senders
        for customers in ((REPORTER,), OTHERS)
    ]


def customers_shown(customers: tuple[str, ...]) -> str:
    """Give one customer's masked number, or how many there are."""
    return mask(customers[0]) if len(customers) == 1 else f"{len(customers)} others"


def _count(sender: Sender, tally: Tally, customers: tuple[str, ...], phase: Phase) -> Count:
    cells = [(sender.road, customer, phase) for customer in customers]
    counters = (sender.sent, tally.arrived, sender.refused, sender.put_off)
    return Count(*(sum(counter[cell] for cell in cells) for counter in counters))
