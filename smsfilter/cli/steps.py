"""Commands of the desk that need no running one: what went wrong is said in a line."""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps

Step = Callable[[argparse.Namespace], int]


def told(step: Step) -> Step:
    """Say what went wrong with keys, records or the desk; exit status 1 then."""

    @wraps(step)
    def run(args: argparse.Namespace) -> int:
        from smsfilter.cli.client import DeskError  # noqa: PLC0415 - start-up stays light
        from smsfilter.cli.newfile import FileError  # noqa: PLC0415
        from smsfilter.store.keyfiles import KeyFileError  # noqa: PLC0415
        from smsfilter.store.records import RecordsAway, RecordsError  # noqa: PLC0415

        try:
            with unlogged():
                return step(args)
        except (DeskError, FileError, KeyFileError, RecordsError, RecordsAway) as error:
            print(f"smsfilter desk: {error}", file=sys.stderr)
            return 1

    return run


@contextmanager
def unlogged() -> Iterator[None]:
    """Keep log lines out of what a command prints: it says itself what it did."""
    import structlog  # noqa: PLC0415 - start-up stays light

    before = structlog.get_config()
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    try:
        yield
    finally:
        structlog.configure(**before)


def os_user() -> str:
    """Name who runs the command, as the desk names those on its socket."""
    import os  # noqa: PLC0415
    import pwd  # noqa: PLC0415

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
