"""How the commands of the desk run, beside a running one or without: errors in one line each."""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import wraps
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from smsfilter.cli.client import Client
    from smsfilter.cli.loginfile import Login

Step = Callable[[argparse.Namespace], int]


def with_desk(args: argparse.Namespace, work: "Callable[[Client], int]") -> int:
    """Run `work` with the desk where somebody has logged in; 1 if that goes wrong.

    That is the one that the login names, else the one of the configuration.
    """
    from smsfilter.cli import loginfile  # noqa: PLC0415 - start-up stays light

    try:
        return _with(args, loginfile.read(), work)
    except loginfile.LoginError as error:
        print(f"smsfilter: {error}", file=sys.stderr)
        return 1


def with_own_desk(args: argparse.Namespace, work: "Callable[[Client], int]") -> int:
    """Run `work` as a user of the machine, over the socket, whoever has logged in."""
    return _with(args, None, work)


def _with(args: argparse.Namespace, login: "Login | None", work: "Callable[[Client], int]") -> int:
    from smsfilter.cli.client import DeskError  # noqa: PLC0415 - start-up stays light

    try:
        with closing(reached(args.config, login)) as client:
            return work(client)
    except DeskError as error:
        print(f"smsfilter: {error}", file=sys.stderr)
        return 1


def reached(config_file: "Path", login: "Login | None") -> "Client":
    """Return a client of the desk. Raises DeskError, ConfigError."""
    from smsfilter.cli.client import Client  # noqa: PLC0415 - start-up stays light
    from smsfilter.config import load_config  # noqa: PLC0415

    token = None if login is None else login.token
    if login is not None and login.url is not None:
        return Client.at(login.url, login.ca, token)
    state_dir = load_config(config_file).state_dir
    return Client(state_dir, f"smsfilter desk -c {config_file}", token)


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
