"""One whole session in memory: an ESME, the relay with its gate, an index and an SMSC, at random.

Everything between the sockets is the real thing; the sockets are lists, and the index answers
when the case says so, right, late, wrong or not at all. What comes out is held against what went
in: nothing that was not sent, in order, nothing for a blocked customer, an answer to each request
and no second one, and none that says yes for what the SMSC never got.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar
from unittest import mock
from zoneinfo import ZoneInfo

import hiredis

from smsfilter.config import ProxyConfig
from smsfilter.ends import Address, Upstream
from smsfilter.log import DecisionLog
from smsfilter.metrics import Metrics
from smsfilter.proxy import opening
from smsfilter.proxy.bind import BindDesk
from smsfilter.proxy.gate import Gate
from smsfilter.proxy.hub import Hub
from smsfilter.proxy.keyring import Keyring
from smsfilter.proxy.legs import EsmeLeg
from smsfilter.proxy.memory import Memory
from smsfilter.proxy.relay import Relay
from smsfilter.rules.judge import Judge
from smsfilter.rules.policy import Policy
from smsfilter.rules.senders import Registry, RegistryFile
from smsfilter.smpp import const as c
from smsfilter.smpp.pdu import decode
from smsfilter.smpp.session import State
from smsfilter.smpp.spec import SMEAddress
from smsfilter.store.epoch import EpochGuard
from tests.fakes import wire
from tests.fakes.registry import REGISTRY
from tests.fuzz import cases

T = TypeVar("T")

COMPANIES = Registry(RegistryFile.model_validate(REGISTRY), ZoneInfo("Asia/Shanghai"))
CONFIG = ProxyConfig.model_validate({"listen": ["127.0.0.1:0"], "smsc": ["127.0.0.1:1"]})
POLICIES: tuple[dict[str, Any], ...] = (
    {},
    {"rules": [{"id": "blocked", "type": "block"}]},
    {"accounts": {"acme": {"rate": 9, "window": 4, "error_body": "nul"}}},
    {"accounts": {"acme": {"mode": "shadow"}}, "refused_destinations": ["13800138000"]},
)
SHADOWED = 3
"""The one where nothing is refused for the rules' sake."""
BLOCKED = b"13800138001"
IN_INDEX = BLOCKED
"""Whose block the index knows; another one, and the checks below must fail."""
SPELLINGS = frozenset(
    start + BLOCKED for start in (b"", b"0", b"86", b"+86", b"0086", b"860", b"8686", b"+860")
)
MESSAGES = frozenset({c.SUBMIT_SM, c.DATA_SM, c.SUBMIT_MULTI})
CARRIERS = [octets for octets in cases.VECTORS if wire.header(octets).command_id in MESSAGES]
SMSC_STATUS = 0x400
"""From here on a status is the SMSC's: the proxy has none of its own up there."""


class Line:
    """A transport: what is written to it is kept, what ends it is told to its protocol."""

    def __init__(self, lost: Any) -> None:
        self.out = bytearray()
        self.open = True
        self._lost = lost

    def write(self, octets: bytes) -> None:
        if self.open:
            self.out += octets

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return not self.open

    def close(self) -> None:
        if self.open:
            self.open = False
            asyncio.get_running_loop().call_soon(self._lost, None)

    abort = close

    def nothing(self, *_args: object, **_options: object) -> None:
        """What only a socket would do."""

    write_eof = pause_reading = resume_reading = set_write_buffer_limits = get_extra_info = nothing


class Index:
    """Answers look-ups from a set of blocks, when it is told to."""

    prefix = ""
    epoch_command = b"*2\r\n$3\r\nGET\r\n$11\r\nindex:epoch\r\n"

    def __init__(self) -> None:
        self.pending: list[tuple[bytes, int, Any]] = []

    def ask(self, octets: bytes, count: int, done: Any) -> None:
        self.pending.append((octets, count, done))

    def answer(self, fault: str) -> None:
        """Answer the oldest batch."""
        octets, count, done = self.pending.pop(0)
        reader = hiredis.Reader()
        reader.feed(octets)
        replies: list[Any] = []
        while (command := reader.gets()) is not False:
            key = command[1]
            if command[0] == b"GET":
                replies.append(b"e:1")
            elif key.startswith(b"block:"):
                hit = IN_INDEX in key
                replies.append([int(hit and who == b"*") for who in command[2:]])
            else:
                replies.append([1 for _ in command[2:]])
        assert len(replies) == count
        if fault == "away":
            done(None)
            return
        if fault == "error":
            at = len(octets) % count
            replies[at] = hiredis.ReplyError("WRONGTYPE x")
        elif fault == "emptied":
            replies[-1] = None
        done(replies)


class Watched(Relay):
    """A relay whose own errors are not swallowed."""

    __slots__ = ("errors",)

    def crash(self, error: Exception) -> None:
        self.errors.append(error)
        super().crash(error)


class Case:
    """One session and what has to be true of it."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.index = Index()
        self.metrics = Metrics()
        self.account = chance.choice(("acme", "resell7"))
        number = chance.randrange(len(POLICIES))
        self.shadowed = number == SHADOWED
        policy = Policy.model_validate(POLICIES[number])
        judge = Judge(policy, COMPANIES)
        decisions = DecisionLog(chance.choice(("refused", "all")), mock.Mock())
        gate = Gate(self.index, EpochGuard(), judge, self.metrics, decisions)  # type: ignore[arg-type]
        hub = Hub(
            CONFIG, gate, self.metrics, BindDesk(8), Keyring(CONFIG, self.metrics), Memory(None)
        )
        self.relay = relay = Watched(hub, "192.0.2.1")
        relay.errors = []
        self.leg = EsmeLeg(relay)
        self.esme = Line(self.leg.connection_lost)
        self.smsc: Line | None = None
        self.smsc_leg: Any = None
        self.lines: list[Line] = []
        """Every connection to the SMSC: one for each bind that is tried."""
        self.taken = 0
        self.open: list[bytes] = []
        self.sent: list[bytes] = []
        self.numbers = iter(range(1, 1 << 30))
        self.leg.connection_made(self.esme)  # type: ignore[arg-type]

    async def dial(self, _upstreams: Any, _within: float, factory: Any, _keyring: Any) -> Any:
        """Stands for proxy.dial."""
        self.smsc_leg = factory()
        self.smsc = Line(self.smsc_leg.connection_lost)
        self.lines.append(self.smsc)
        self.taken, self.open = 0, []
        return self.smsc, self.smsc_leg, Upstream(address=Address("127.0.0.1", 1))

    # what happens

    def esme_sends(self) -> None:
        pdus = []
        for _ in range(self.chance.randint(1, 12)):
            octets = bytearray(cases.pdu(self.chance, self.chance.choice((CARRIERS, None))))
            number = next(self.numbers) if self.chance.randrange(20) else 7
            octets[12:16] = number.to_bytes(4)
            if not self.chance.randrange(4):
                octets = octets.replace(b"13800138000", BLOCKED)
            pdus.append(bytes(octets))
        self.feed(b"".join(pdus))

    def feed(self, octets: bytes) -> None:
        self.sent.append(octets)
        for piece in cases.chunks(self.chance, octets):
            if self.esme.open:
                self.leg.data_received(piece)

    def smsc_hears(self) -> None:
        """Take what has come, and answer some of it, now or never."""
        if self.smsc is None:
            return
        received = wire.split(bytes(self.smsc.out))
        for pdu in received[self.taken :]:
            if not wire.header(pdu).command_id & c.RESPONSE_BIT:
                self.open.append(pdu)
        self.taken = len(received)

    def smsc_answers(self, everything: bool = False) -> None:
        self.smsc_hears()
        while self.open and self.smsc is not None and self.smsc.open:
            asked = self.open.pop(0 if everything else self.chance.randrange(len(self.open)))
            status = self.chance.choice((0, 0, SMSC_STATUS))
            if wire.header(asked).command_id in c.BINDS and self.chance.randrange(8):
                status = 0
            answer = wire.response(asked, status, b"" if status else b"id\0")
            if wire.header(asked).command_id == c.SUBMIT_MULTI and not status:
                answer = wire.response(asked, 0, b"id\0\0")
            repeated = self.chance.choice((1, 1, 1, 2))
            for piece in cases.chunks(self.chance, answer * repeated):
                self.smsc_leg.data_received(piece)
            if not everything and self.chance.random() < 0.3:
                return

    def smsc_says(self) -> None:
        """Anything, in numbers that are nobody's."""
        octets = bytearray(cases.pdu(self.chance))
        octets[:4] = len(octets).to_bytes(4)
        octets[12:13] = b"\x70"
        if self.smsc is not None and self.smsc.open:
            self.smsc_leg.data_received(bytes(octets))

    async def bind(self) -> None:
        """As a sender; the SMSC accepts it."""
        kind = self.chance.choice((c.BIND_TRANSCEIVER, c.BIND_TRANSCEIVER, c.BIND_TRANSMITTER))
        self.feed(wire.bind(kind, next(self.numbers), self.account))
        await turn()
        self.smsc_answers(everything=True)

    async def play(self) -> None:
        """Bind, perhaps with something before it, and then whatever comes."""
        chance = self.chance
        if not chance.randrange(4):
            self.esme_sends()
            await turn()
        await self.bind()
        if self.relay.session.state is State.OPEN:
            await self.bind()  # the first was refused
        fault = chance.choice(("", "", "", "away", "error", "emptied"))
        steps = [self.esme_sends, self.esme_sends, self.smsc_answers, self.smsc_says]
        for _ in range(chance.randint(1, 14)):
            chance.choice(steps)()
            if chance.randrange(3):
                await turn()
            if self.index.pending and chance.randrange(2):
                self.index.answer(fault)
            match chance.randrange(60):
                case 0 if self.esme.open:
                    self.leg.eof_received()
                case 1 if self.esme.open:
                    self.esme.close()
                case 2 if self.smsc is not None:
                    self.smsc.close()
                case 3 | 4:
                    self.relay.smsc_full(True)
                case 5 | 6:
                    self.relay.smsc_full(False)
        self.relay.smsc_full(False)
        await self.rest(fault)
        self.hold(fault)

    async def rest(self, fault: str) -> None:
        """Everything that is open is answered, and then nothing is."""
        for _ in range(200):
            await turn()
            if self.index.pending:
                self.index.answer(fault)
            self.smsc_answers(everything=True)
            if self.relay.quiet() and not self.open and not self.index.pending:
                break

    # what must be true of it

    def hold(self, fault: str) -> None:
        relay = self.relay
        assert not relay.errors, relay.errors
        sent = wire.split(b"".join(self.sent))
        passed = [pdu for line in self.lines for pdu in wire.split(bytes(line.out))]
        own = relay.session.own_unbind
        passed = [pdu for pdu in passed if not is_own(pdu, own)]
        self.only_what_was_sent(sent, passed)
        for pdu in passed:
            head = wire.header(pdu)
            if head.command_id in MESSAGES and not self.shadowed:
                found = customers(pdu)
                assert not SPELLINGS & set(found), "blocked"
                assert not found or fault not in ("away", "emptied"), "nobody has looked it up"
        asked: Counter[int] = Counter()
        for pdu in sent:
            head = wire.header(pdu) if len(pdu) >= 16 else None
            if head and not head.command_id & c.RESPONSE_BIT:
                asked[head.sequence_number] += 1
        told: Counter[int] = Counter()
        heads = [wire.header(pdu) for pdu in passed]
        went = {h.sequence_number for h in heads if not h.command_id & c.RESPONSE_BIT}
        for pdu in wire.split(bytes(self.esme.out)):
            head = wire.header(pdu)
            if not head.command_id & c.RESPONSE_BIT or head.command_status == c.ESME_RINVCMDLEN:
                continue  # asked by the SMSC, or said of the stream and not of a PDU
            told[head.sequence_number] += 1
            if asked[head.sequence_number] != 1 or head.command_id == c.ENQUIRE_LINK_RESP:
                continue
            if (
                head.command_id & ~c.RESPONSE_BIT in c.BINDS
                and head.command_status == c.ESME_RSYSERR
            ):
                continue  # the SMSC was asked, and hung up on the bind
            of_smsc = head.command_status == 0 or head.command_status >= SMSC_STATUS
            assert of_smsc == (head.sequence_number in went), "answered by whom?"
        assert all(count <= asked[number] for number, count in told.items()), "answered twice"
        if relay.closing or not self.esme.open or relay.session.state is State.BINDING:
            return  # or it waits, because too many binds have failed
        unanswered = {n for n, count in asked.items() if told[n] < count} - self.no_answer_due(sent)
        assert not unanswered
        assert relay.session.in_flight() == 0

    def only_what_was_sent(self, sent: list[bytes], passed: list[bytes]) -> None:
        at = iter(sent)
        for pdu in passed:
            head = wire.header(pdu)
            if head.command_id & c.RESPONSE_BIT and pdu not in sent:
                continue  # the proxy's own answer to what an SMSC may not ask
            for one in at:
                shortened = head.command_id == c.SUBMIT_MULTI and one[12:16] == pdu[12:16]
                if one == pdu or shortened:
                    break
            else:
                raise AssertionError(f"not sent, or out of order: {pdu.hex()}")

    def no_answer_due(self, sent: list[bytes]) -> set[int]:
        """Numbers of alert_notification, which has no response (SMPP v3.4 §4.12)."""
        heads = [wire.header(pdu) for pdu in sent if len(pdu) >= 16]
        return {h.sequence_number for h in heads if h.command_id == c.ALERT_NOTIFICATION}


def is_own(pdu: bytes, number: int | None) -> bool:
    """Whether this is the proxy's own unbind."""
    return pdu == wire.pack(c.UNBIND, number) if number is not None else False


def customers(pdu: bytes) -> list[bytes]:
    """The customers a message goes to, without what people write between digits."""
    fields = decode(pdu).fields
    found = [e.address for e in fields.get("dest_address", ()) if isinstance(e, SMEAddress)]
    if "destination_addr" in fields:
        found = [fields["destination_addr"]]
    return [address.translate(None, b" -.()") for address in found]


async def turn() -> None:
    """Let the loop do what is due."""
    for _ in range(4):
        await asyncio.sleep(0)


_runner: asyncio.Runner | None = None


def run(play: Callable[[Case], Coroutine[Any, Any, T]], chance: random.Random) -> T:
    """Play with a session that has just connected, on the event loop of all cases."""

    async def played() -> T:
        failures: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, what: failures.append(what))
        case = Case(chance)
        with mock.patch.object(opening, "dial", case.dial):
            result = await play(case)
        assert not failures
        return result

    global _runner  # noqa: PLW0603 - one event loop for a million cases
    _runner = _runner or asyncio.Runner()
    return _runner.run(played())


def session(chance: random.Random) -> None:
    """A whole session with anything in it never raises and keeps its accounts."""
    run(Case.play, chance)
