"""What the proxy tells of itself: gauges, health, and the page that `smsfilter top` shows.

Asked by the admin port in threads of its own, so everything here only copies. Must never be slow
where there are many sessions: the page shows the busiest.
"""

import time
from typing import Any

from smsfilter import __version__, log
from smsfilter.metrics import Metrics
from smsfilter.proxy.gate import Gate
from smsfilter.proxy.hub import Hub
from smsfilter.proxy.listener import Listener
from smsfilter.store.epoch import EpochGuard
from smsfilter.store.index import Index

SESSIONS_SHOWN = 200
HEARTBEAT_MOST_S = 5.0
"""Age of the last tick at which /livez says that the event loop hangs."""


class Status:
    """The state of one proxy, for whoever asks."""

    def __init__(
        self, hub: Hub, listener: Listener, index: Index, guard: EpochGuard, metrics: Metrics
    ) -> None:
        self.missing: dict[str, str] = {}
        """What has to be there before a message can pass, and what cures its absence."""
        self.draining = False
        self.beat = time.monotonic()
        """When the event loop last turned, in monotonic seconds."""
        self._started = self.beat
        self._gate: Gate = hub.gate
        self._binds = hub.binds
        self._listener = listener
        self._index = index
        self._guard = guard
        self._metrics = metrics
        metrics.sessions = self._sessions_by_state
        metrics.limits = {name: float(most) for name, most in hub.config.limits}
        metrics.limits["memory"] = float(hub.memory.most or 0)
        metrics.account_limits = self._account_limits
        metrics.account_sessions = self._account_sessions
        metrics.in_flight = lambda: sum(r.session.in_flight() for r in list(listener.relays))

    def cured(self, what: str) -> None:
        """Something that was missing is there."""
        if self.missing.pop(what, None) is not None and not self.missing:
            log.get().info("ready")

    # --- the pages

    def readiness(self) -> tuple[bool, dict[str, Any]]:
        """Whether the balancer should send sessions here."""
        detail = {"missing": dict(self.missing), "draining": self.draining, **self._redis()}
        return not self.missing and not self.draining, detail

    def liveness(self) -> tuple[bool, dict[str, Any]]:
        """Whether the event loop turns."""
        age = time.monotonic() - self.beat
        return age < HEARTBEAT_MOST_S, {"heartbeat_age_s": round(age, 3)}

    def page(self) -> dict[str, Any]:
        """What `smsfilter top` shows: see `admin`."""
        relays = list(self._listener.relays)
        shown = sorted(relays, key=lambda r: -r.session.forwarded)[:SESSIONS_SHOWN]
        return {
            **self._metrics.snapshot(),
            **self._redis(),
            "version": __version__,
            "uptime_s": round(time.monotonic() - self._started, 1),
            "state": "draining" if self.draining else "serving",
            "ready": not self.missing,
            "missing": [f"{what}: {cure}" for what, cure in self.missing.items()],
            "sessions": [
                {
                    "account": relay.session.account,
                    "peer": relay.session.peer,
                    "state": relay.session.state.name.lower(),
                    "bound_as": relay.session.bound_as,
                    "since": relay.opened_at,
                    "forwarded": relay.session.forwarded,
                    "refused": relay.session.refused,
                    "in_flight": relay.session.in_flight(),
                }
                for relay in shown
            ],
            "sessions_total": len(relays),
        }

    def _redis(self) -> dict[str, Any]:
        index = self._index
        state = "up" if index.up else "away"
        why = index.why or self._guard.why or None
        return {"redis": {"state": state, "why": why, "endpoint": str(index.address)}}

    # --- gauges

    def _account_limits(self) -> dict[tuple[str, str], int]:
        return {
            (account, limit): most
            for account, own in self._gate.judge.policy.accounts.items()
            for limit in ("max_sessions", "rate", "window")
            if (most := getattr(own, limit)) is not None
        }

    def _account_sessions(self) -> dict[str, int]:
        accounts = self._gate.judge.policy.accounts
        return {account: self._binds.sessions(account) for account in accounts}

    def _sessions_by_state(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for relay in list(self._listener.relays):
            name = relay.session.state.name.lower()
            found[name] = found.get(name, 0) + 1
        return found
