"""What all sessions share: settings, the gate, the counters, and who is told when one has gone."""

from collections.abc import Callable
from dataclasses import dataclass

from smsfilter.config import ProxyConfig
from smsfilter.metrics import Metrics
from smsfilter.proxy.bind import BindDesk
from smsfilter.proxy.gate import Gate
from smsfilter.proxy.keyring import Keyring
from smsfilter.proxy.memory import Memory


@dataclass(slots=True)
class Hub:
    """Handed to every relay."""

    config: ProxyConfig
    gate: Gate
    metrics: Metrics
    binds: BindDesk
    keyring: Keyring
    memory: Memory
    gone: Callable[[object], None] = lambda _relay: None
    """Called with a relay both of whose connections have ended."""
