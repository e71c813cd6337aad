"""What is checked of a bind before the SMSC is dialled for it.

The SMSC authenticates; here only what the operator has written down is checked: addresses, client
certificates, number of sessions, length of the password. An attempt that fails for its address or
certificate is answered like a wrong password, after a second, so that a stranger learns nothing;
after the third failure of one address with one system_id each further try waits longer, and after
thirty within a minute each try with a name that was never accepted from that address.
"""

from collections import Counter, OrderedDict
from ipaddress import ip_address

from smsfilter.rules.policy import AccountPolicy, Policy
from smsfilter.rules.verdict import Reason
from smsfilter.smpp.const import BIND_RECEIVER, BIND_TRANSCEIVER, BIND_TRANSMITTER
from smsfilter.smpp.peek import Bind

FAILURES_FREE = 3
"""Failed binds before the next one has to wait: a typing error costs nothing."""
DELAY_MOST_S = AccountPolicy().failed_bind_delay.total_seconds()
DOUBLINGS = 5
"""How often the wait doubles until it is the most: from a second, where that is 32."""
FAILURES_FREE_PER_PEER = 30
"""Failed binds of one address within a minute, under whatever names, before it has to wait."""
PEER_FORGOTTEN_S = 60
FAILURES_KEPT = 10_000
"""Addresses, and pairs of address and system_id, remembered at most; the oldest are forgotten."""
STRANGERS = frozenset({Reason.ADDRESS_NOT_ALLOWED, Reason.CERTIFICATE_NOT_ALLOWED})
STRANGER_DELAY_S = 1.0
BIND_TYPES = {BIND_TRANSMITTER: "tx", BIND_RECEIVER: "rx", BIND_TRANSCEIVER: "trx"}
TOLD_PER_SECOND = 20
"""Refused binds per second that get a line of their own in the log; the others are summed up."""


class BindDesk:
    """Counts sessions and failures, and says what is wrong with a bind."""

    def __init__(self, password_most: int) -> None:
        self.password_most = password_most
        self._sessions: Counter[str] = Counter()
        self._failures: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._failures_of_peer: Counter[str] = Counter()
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._seconds = 0
        self._lines_left = TOLD_PER_SECOND
        self._untold: Counter[str] = Counter()

    def objection(
        self,
        policy: Policy,
        peer: str,
        bind: Bind,
        command_id: int,
        certificate: frozenset[str] = frozenset(),
    ) -> Reason | None:
        """Why this bind is refused without asking the SMSC; None = it is not.

        `certificate` holds the names of the ESME's verified certificate (see `tls.names_of`).
        """
        account = bind.system_id.decode("latin-1")
        if len(bind.password) > self.password_most:
            return Reason.PASSWORD_TOO_LONG
        own = policy.accounts.get(account)
        if own is None:
            return None
        if own.addresses:
            address = ip_address(peer)
            mapped = getattr(address, "ipv4_mapped", None) or address
            if not any(mapped in network for network in own.addresses):
                return Reason.ADDRESS_NOT_ALLOWED
        if own.certificates and certificate.isdisjoint(own.certificates):
            return Reason.CERTIFICATE_NOT_ALLOWED
        if own.bind_types and BIND_TYPES[command_id] not in own.bind_types:
            return Reason.BIND_TYPE_NOT_ALLOWED
        if own.max_sessions is not None and self._sessions[account] >= own.max_sessions:
            return Reason.TOO_MANY_SESSIONS
        return None

    def delay(self, policy: Policy, peer: str, account: str, reason: Reason | None) -> float:
        """Seconds to wait before this bind goes on or is refused for `reason`."""
        over = self._failures.get((peer, account), 0) - FAILURES_FREE
        if (peer, account) not in self._known:
            over = max(over, self._failures_of_peer[peer] - FAILURES_FREE_PER_PEER)
        own = policy.accounts.get(account)
        most = own.failed_bind_delay.total_seconds() if own is not None else DELAY_MOST_S
        slowed = most * 2.0 ** min(over - DOUBLINGS, 0) if over >= 0 else 0.0
        return max(slowed, STRANGER_DELAY_S if reason in STRANGERS else 0.0)

    def failed(self, peer: str, account: str) -> None:
        """A bind was refused, here or by the SMSC."""
        key = (peer, account)
        self._failures[key] = self._failures.pop(key, 0) + 1
        if len(self._failures_of_peer) < FAILURES_KEPT or peer in self._failures_of_peer:
            self._failures_of_peer[peer] += 1
        if len(self._failures) > FAILURES_KEPT:
            self._failures.popitem(last=False)

    def sessions(self, account: str) -> int:
        """How many sessions the account has, or is about to have."""
        return self._sessions[account]

    def accepted(self, peer: str, account: str) -> None:
        """The SMSC has accepted a bind."""
        self._failures.pop((peer, account), None)
        self._known[peer, account] = self._known.pop((peer, account), None)
        if len(self._known) > FAILURES_KEPT:
            self._known.popitem(last=False)

    def is_told(self, reason: str) -> bool:
        """Whether this refusal is logged by itself, or only counted for `next_second`."""
        if self._lines_left:
            self._lines_left -= 1
            return True
        self._untold[reason] += 1
        return False

    def next_second(self) -> Counter[str]:
        """How many refusals were not told in the last second, by reason."""
        self._seconds += 1
        if self._seconds % PEER_FORGOTTEN_S == 0:
            self._failures_of_peer.clear()
        untold, self._untold = self._untold, Counter()
        self._lines_left = TOLD_PER_SECOND
        return untold

    def enter(self, account: str) -> None:
        """A bind takes one of the account's sessions from the moment it goes to the SMSC."""
        self._sessions[account] += 1

    def leave(self, account: str) -> None:
        """A session that was entered has ended, or its bind was refused."""
        self._sessions[account] -= 1
        if not self._sessions[account]:
            del self._sessions[account]
