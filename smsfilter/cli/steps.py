"""How the commands of the desk run, beside a running one or without: errors in one line each."""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smsfilter.cli.client import Client

Step = Callable[[argparse.Namespace], int]


def with_desk(args: argparse.Namespace, work: "Callable[[Client], int]") -> int:
    """Run `work` with the running desk of the configuration; 1 if that goes wrong."""
    from smsfilter.cli.client import Client, DeskError  # noqa: PLC0415 - start-up stays light
    from smsfilter.config import load_config  # noqa: PLC0415

    config = load_config(args.config)
    client = Client(config.state_dir, f"smsfilter desk -c {args.config}")
    try:
        return work(client)
    except DeskError as error:
        print(f"smsfilter: {error}", file=sys.stderr)
        return 1
    finally:
        client.close()


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
