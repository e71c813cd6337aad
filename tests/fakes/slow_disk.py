"""`python -m tests.fakes.slow_disk PYTHON -m smsfilter …`: the program on a slower disk.

Each commit of the records' writer takes so many milliseconds more as SLOW_DISK_MS says. The program
itself knows nothing of it.
"""

import os
import sys
import threading
import time

from sqlalchemy import Connection, Engine, event

from smsfilter.cli.main import main


def slowed(seconds: float) -> None:
    """Have every commit of the writer take so much longer."""

    @event.listens_for(Engine, "commit")
    def wait(_connection: Connection) -> None:
        if threading.current_thread().name == "records":
            time.sleep(seconds)


if __name__ == "__main__":
    slowed(float(os.environ["SLOW_DISK_MS"]) / 1000)
    sys.exit(main(sys.argv[4:]))
