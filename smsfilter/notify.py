"""What systemd is told: ready, reloading, stopping, alive (sd_notify(3)).

Started by anything else it does nothing. The socket is given up after 50 ms, so that a hung
service manager cannot hold the SMS path; the variables are taken out of the environment, so that
no child (a private Redis server) speaks in this process's name.
"""

import os
import time
from collections.abc import MutableMapping
from typing import Final

from sdnotify import SystemdNotifier

SEND_S: Final = 0.05


class Notify:
    """The way to the service manager, if there is one. Create it before any child."""

    def __init__(self, environ: MutableMapping[str, str] = os.environ) -> None:
        # without the variable sdnotify would leave a socket behind
        self._notifier = SystemdNotifier() if environ.get("NOTIFY_SOCKET") else None
        if self._notifier is not None and self._notifier.socket is not None:
            self._notifier.socket.settimeout(SEND_S)
        environ.pop("NOTIFY_SOCKET", None)
        usec, pid = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        mine = usec.isdigit() and pid in ("", str(os.getpid()))
        self.watchdog_s: Final = int(usec) / 1e6 if mine and int(usec) else None
        """Say `watchdog` more often than this; None: nobody listens for it."""

    def ready(self, status: str = "") -> None:
        """Tell that it serves, for the first time or again after `reloading`."""
        self._send("READY=1", status)

    def reloading(self) -> None:
        """Tell that it reads its files anew; `ready` ends it, were they taken or refused."""
        now_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send(f"RELOADING=1\nMONOTONIC_USEC={now_us}")

    def stopping(self, status: str = "") -> None:
        """Tell that it drains."""
        self._send("STOPPING=1", status)

    def watchdog(self) -> None:
        """Tell that the event loop lives: to be called by the loop itself, never by a thread."""
        if self.watchdog_s is not None:
            self._send("WATCHDOG=1")

    def close(self) -> None:
        """Give the socket back."""
        if self._notifier is not None and self._notifier.socket is not None:
            self._notifier.socket.close()
        self._notifier = None

    def _send(self, state: str, status: str = "") -> None:
        if self._notifier is not None:
            self._notifier.notify(f"{state}\nSTATUS={status}" if status else state)
