"""`smsfilter completion`: what a shell needs to complete commands, options and files."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

SHELLS = ("bash", "zsh")


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "completion",
        help="print what a shell needs to complete this command",
        description="Print the completions of this command for a shell. bash: put "
        '`eval "$(smsfilter completion bash)"` into ~/.bashrc. zsh: smsfilter completion zsh '
        "> ~/.zfunc/_smsfilter, with ~/.zfunc in fpath before compinit.",
    )
    parser.add_argument("shell", choices=SHELLS)
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    import shtab  # noqa: PLC0415 - start-up stays light

    from smsfilter.cli.main import parser  # noqa: PLC0415 - which imports this module

    whole = parser()
    for each in every(whole):
        for action in each._actions:  # argparse has no other way to them
            if action.type is Path:
                action.complete = shtab.FILE  # type: ignore[attr-defined]
    sys.stdout.write(shtab.complete(whole, shell=args.shell))
    return 0


def every(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Give a parser and those of its subcommands."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in dict.fromkeys(action.choices.values()):
                yield from every(each)
