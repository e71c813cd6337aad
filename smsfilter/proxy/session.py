"""One ESME's session: who it is, what is open, and what each side's PDUs mean. No I/O.

An ESME connection is paired with one SMSC connection; this is what the two have in common. Open
requests are remembered by sequence_number so that a response which answers nothing is dropped.
Sequence numbers are the ESME's own: they may repeat, be 0 or exceed 0x7FFFFFFF.
"""

from typing import Literal

from smsfilter.proxy.octets import nack, respond
from smsfilter.proxy.route import Route
from smsfilter.proxy.signed import Signed
from smsfilter.rules.judge import Judge
from smsfilter.smpp.const import (
    COMMAND_NAMES,
    DATA_SM,
    DATA_SM_RESP,
    GENERIC_NACK,
    RESPONSE_BIT,
    SUBMIT_MULTI,
    SUBMIT_MULTI_RESP,
    SUBMIT_SM,
    SUBMIT_SM_RESP,
)
from smsfilter.smpp.framer import Framer
from smsfilter.smpp.session import State

MEMO_MOST = 4096
"""Sources of one session whose meaning is remembered: more than any sender's sub-codes in use."""

_MESSAGES = frozenset({SUBMIT_MULTI_RESP, DATA_SM_RESP})
SUBMITTING = frozenset({State.BOUND_TX, State.BOUND_TRX})


class Session:
    """The state of one pair. `peer` is the ESME's address, `account` its system_id once bound."""

    __slots__ = (
        "account",
        "bound_as",
        "forwarded",
        "from_esme",
        "from_smsc",
        "memo",
        "memo_judge",
        "memo_until",
        "merges",
        "no_message_id",
        "open_others",
        "open_submits",
        "own_unbind",
        "parted",
        "peer",
        "refused",
        "repeated",
        "signed",
        "state",
    )

    def __init__(self, peer: str, pdu_before_bind: int, pdu_most: int) -> None:
        self.peer = peer
        self.account = ""
        self.bound_as: str | None = None
        self.state = State.OPEN
        self.from_esme = Framer(pdu_before_bind)
        self.from_smsc = Framer(pdu_most)
        self.no_message_id = b"\0"
        self.own_unbind: int | None = None
        """The sequence_number of the proxy's unbind of the SMSC leg, once it was sent."""
        self.parted = False
        """The SMSC has answered that unbind."""
        self.forwarded = 0
        self.refused = 0
        self.open_submits: dict[int, float] = {}
        self.open_others: dict[tuple[int, int], float] = {}
        self.repeated: dict[tuple[int, int], int] = {}
        self.merges: dict[int, tuple[bytes, ...]] = {}
        """By sequence_number of a submit_multi, the entries that its response has to name."""
        self.memo: dict[bytes | tuple[bytes, tuple[str, ...]], Route] = {}
        """What a source means, alone or with the signatures of the text."""
        self.memo_judge: Judge | None = None
        self.memo_until = 0.0
        self.signed: Signed | None = None
        """Made once texts are read: an idle session needs none."""

    def bound(
        self,
        state: State,
        account: str,
        interface_version: int,
        pdu_most: int,
        error_body: Literal["auto", "none", "nul"] = "auto",
    ) -> None:
        """The SMSC has accepted the bind. How a refused submit_sm is answered follows the version.

        SMPP v3.3 and v5.0 want a message_id, if an empty one; v3.4 §4.4.2 has no body on failure.
        An account may be known to want the one or the other (`error_body`).
        """
        self.state = state
        self.account = account
        self.bound_as = state.name.removeprefix("BOUND_").lower()
        bare = 0x34 <= interface_version < 0x50 if error_body == "auto" else error_body == "none"
        self.no_message_id = b"" if bare else b"\0"
        self.from_esme.limit = pdu_most

    def may_submit(self) -> bool:
        """Whether the bind in force lets the ESME submit (SMPP v3.4 §2.3)."""
        return self.state in SUBMITTING

    # --- requests that wait for the SMSC's answer

    def submitted(self, sequence_numbers: list[int], now: float) -> None:
        """These submit_sm go to the SMSC at `now` (monotonic seconds)."""
        opened = self.open_submits
        fresh = dict.fromkeys(sequence_numbers, now)
        if len(fresh) == len(sequence_numbers) and (not opened or opened.keys().isdisjoint(fresh)):
            opened.update(fresh)
            return
        for number in sequence_numbers:
            if number in opened:
                key = (SUBMIT_SM_RESP, number)
                self.repeated[key] = self.repeated.get(key, 0) + 1
            else:
                opened[number] = now

    def requested(self, command_id: int, sequence_number: int, now: float) -> None:
        """Another request goes to the SMSC at `now` (monotonic seconds)."""
        key = (command_id | RESPONSE_BIT, sequence_number)
        if key in self.open_others:
            self.repeated[key] = self.repeated.get(key, 0) + 1
        else:
            self.open_others[key] = now

    def answered(self, command_id: int, sequence_number: int) -> bool:
        """Whether this response of the SMSC answers something open, which it closes."""
        if command_id == GENERIC_NACK:
            return self._nacked(sequence_number)
        key = (command_id, sequence_number)
        opened = self.open_submits if command_id == SUBMIT_SM_RESP else self.open_others
        if command_id == SUBMIT_SM_RESP:
            found = sequence_number in self.open_submits
        else:
            found = key in self.open_others
        if not found:
            return False
        again = self.repeated.get(key, 0)
        if again > 1:
            self.repeated[key] = again - 1
        elif again:
            del self.repeated[key]
        elif opened is self.open_submits:
            del self.open_submits[sequence_number]
        else:
            del self.open_others[key]
        return True

    def _nacked(self, sequence_number: int) -> bool:
        if self.answered(SUBMIT_SM_RESP, sequence_number):
            return True
        keys = [key for key in self.open_others if key[1] == sequence_number]
        if keys and keys[0][0] == SUBMIT_MULTI_RESP:
            self.merges.pop(sequence_number, None)
        return bool(keys) and self.answered(*keys[0])

    def in_flight(self) -> int:
        """How many requests the SMSC has not answered yet."""
        return len(self.open_submits) + len(self.open_others) + sum(self.repeated.values())

    def messages_in_flight(self) -> int:
        """How many of these are messages."""
        others = sum(command_id in _MESSAGES for command_id, _ in self.open_others)
        return len(self.open_submits) + others + sum(self.repeated.values())

    def oldest(self) -> float | None:
        """When the oldest unanswered request was forwarded, in monotonic seconds."""
        firsts = [next(iter(o.values())) for o in (self.open_submits, self.open_others) if o]
        return min(firsts, default=None)

    def unused_sequence_number(self) -> int:
        """One that no open request has, for the proxy's own unbind."""
        used = {number for _, number in self.open_others} | self.open_submits.keys()
        return next(n for n in range(0x7FFFFFFF, 0, -1) if n not in used)

    # --- answers of the proxy itself

    def refusal(self, command_id: int, sequence_number: int, status: int) -> bytes:
        """The answer to a request that is not forwarded; b'' where none is due."""
        if command_id & RESPONSE_BIT:
            return b""
        if command_id not in COMMAND_NAMES:
            return nack(sequence_number, status)
        body = self.no_message_id if command_id == SUBMIT_SM else _BODIES.get(command_id, b"")
        return respond(command_id, sequence_number, status, body)


_BODIES = {DATA_SM: b"\0", SUBMIT_MULTI: b"\0\0"}
"""What must follow the header of a failing response: message_id, and no_unsuccess = 0."""
