"""A thread that notices when the event loop hangs, and logs where.

The loop calls nothing of this: its heartbeat is looked at from outside. The stack in the log is
that of the loop's thread at that moment.
"""

import sys
import threading
import traceback
from collections.abc import Callable
from time import monotonic
from typing import Self

from smsfilter import log

LOOK_EVERY_S = 0.5
BLOCKED_S = 2.0
"""Age of the heartbeat, which comes once a second, at which the loop counts as blocked."""


class Watchdog:
    """Looks at `heartbeat()` (monotonic seconds of the loop's last sign of life)."""

    def __init__(self, heartbeat: Callable[[], float]) -> None:
        self._heartbeat = heartbeat
        self._loop_thread = threading.get_ident()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> Self:
        """Begin to look. Call it from the loop's thread."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Look no more."""
        self._done.set()

    def _watch(self) -> None:
        reported = 0.0
        while not self._done.wait(LOOK_EVERY_S):
            beat = self._heartbeat()
            if monotonic() - beat < BLOCKED_S or beat == reported:
                continue
            reported = beat
            frame = sys._current_frames().get(self._loop_thread)
            stack = "".join(traceback.format_stack(frame)) if frame else ""
            age = round(monotonic() - beat, 1)
            log.get().error("loop_blocked", seconds=age, stack=stack)
