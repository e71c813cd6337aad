"""The command `smsfilter`: one subcommand per module of this folder, and the exit statuses.

Each module has `add(subparsers)`, which sets `run`, a function from the parsed arguments to the
exit status: 0 ok, 1 failed, 2 usage. Modules import what is heavy inside `run`, as all of them
are imported to print one line of help. What went wrong is said in a line, not in a traceback,
where the fault is in a file or in the terminal and not in the program.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from smsfilter import __version__

COMMANDS = (
    *("run", "check", "explain", "reload", "top", "registry", "index"),
    *("desk", "login", "staff", "release", "report", "case", "block", "company"),
    *("rebuild", "audit", "schema"),
    *("demo", "completion"),
)
"""Modules of this folder, in the order of the help."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand and return its exit status; a usage error exits with 2."""
    try:
        args = parser().parse_args(arguments)
        status: int = args.run(args) or 0
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `smsfilter … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except ValueError as error:
        from smsfilter.config import ConfigError  # noqa: PLC0415 - dear, and rarely needed

        if not isinstance(error, ConfigError):
            raise
        print(error, file=sys.stderr)
        return 1
    return status


def parser() -> argparse.ArgumentParser:
    """Return the parser of every command."""
    made = argparse.ArgumentParser(
        prog="smsfilter",
        description="Filters SMS in the SMPP path: by customers' reports, for approved senders.",
        epilog="Exit status: 0 ok, 1 failed, 2 usage. `smsfilter COMMAND -h` says more.",
    )
    made.add_argument("--version", action="version", version=f"smsfilter {__version__}")
    subparsers = made.add_subparsers(metavar="COMMAND", required=True)
    for name in COMMANDS:
        import_module(f"smsfilter.cli.{name}").add(subparsers)
    return made


if __name__ == "__main__":
    sys.exit(main())
