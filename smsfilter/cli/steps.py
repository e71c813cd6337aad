"""Commands of the desk that need no running one: what went wrong is said in a line."""

import argparse
import sys
from collections.abc import Callable
from functools import wraps

Step = Callable[[argparse.Namespace], int]


def told(step: Step) -> Step:
    """Say what went wrong with keys, records or the desk; exit status 1 then."""

    @wraps(step)
    def run(args: argparse.Namespace) -> int:
        from smsfilter.cli.client import DeskError  # noqa: PLC0415 - start-up stays light
        from smsfilter.store.keyfiles import KeyFileError  # noqa: PLC0415
        from smsfilter.store.records import RecordsAway, RecordsError  # noqa: PLC0415

        try:
            return step(args)
        except (DeskError, KeyFileError, RecordsError, RecordsAway) as error:
            print(f"smsfilter desk: {error}", file=sys.stderr)
            return 1

    return run


def os_user() -> str:
    """Name who runs the command, as the desk names those on its socket."""
    import os  # noqa: PLC0415
    import pwd  # noqa: PLC0415

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
