"""`smsfilter login` and what belongs to it: who runs the commands of the desk.

Passwords and codes come from the terminal, or from standard input line by line: an argument can be
seen by every user of the machine.
"""

import argparse
import getpass
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from smsfilter.cli.given import ask
from smsfilter.cli.steps import reached, told, with_desk
from smsfilter.cli.store import add_config, offer

if TYPE_CHECKING:
    from smsfilter.cli.client import Client
    from smsfilter.cli.loginfile import Login

_UNAUTHORIZED: Final = 401


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommands."""
    login = subparsers.add_parser(
        "login",
        help="log in at the desk",
        description="Log in, for 8 hours at most and as long as no half an hour passes without a "
        "command. The login is kept in a file of your own: ~/.config/smsfilter/login.json, or "
        "the one that $SMSFILTER_LOGIN names.",
    )
    login.add_argument("id", metavar="ID", nargs="?", help="who you are; the last one if not given")
    enrol = subparsers.add_parser(
        "enrol",
        help="get into a new account, by the two halves of a code",
        description="Choose the password of an account that was made for you, or reset. The two "
        "halves of the code come from two people.",
    )
    enrol.add_argument("id", metavar="ID", help="what you will log in with")
    for parser, run in ((login, _login), (enrol, _enrol)):
        parser.add_argument(
            "--desk", metavar="URL", help="where the desk is; its socket if never given"
        )
        parser.add_argument(
            "--ca", metavar="FILE", help="who issued its certificate, if not one of the system's"
        )
        add_config(parser)
        parser.set_defaults(run=_said(run))
    for name, run, help in (
        ("logout", _logout, "end the login"),
        ("password", _password, "change the own password, which ends every login"),
    ):
        parser = subparsers.add_parser(name, help=help, description=help.capitalize() + ".")
        add_config(parser)
        parser.set_defaults(run=_said(run))
    whoami = subparsers.add_parser(
        "whoami",
        help="say who is logged in, and what they may do",
        description="Say who is logged in, where, until when, and what they may do.",
    )
    offer(whoami, _said(_whoami))


def _said(work: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """Say in a line what is wrong with the login."""
    by_told = told(work)

    def run(args: argparse.Namespace) -> int:
        from smsfilter.cli.loginfile import LoginError  # noqa: PLC0415 - start-up stays light

        try:
            return by_told(args)
        except LoginError as error:
            print(f"smsfilter: {error}", file=sys.stderr)
            return 1

    return run


def _login(args: argparse.Namespace) -> int:
    from smsfilter.cli import loginfile  # noqa: PLC0415 - start-up stays light
    from smsfilter.cli.saying import local_time  # noqa: PLC0415

    try:
        before = loginfile.read()
    except loginfile.LoginError:  # another one takes its place
        before = None
    id = args.id or (before.staff if before else "") or ask("who are you:")
    place = _place(args, before)
    with closing(reached(args.config, place)) as desk:
        said = desk.post("/login", {"staff": id, "password": _secret("password: ")})
    loginfile.write(replace(place, token=said["token"], staff=said["staff"]))
    until = local_time(said["expires_at"])
    print(f"{said['staff']} is logged in until {until}: {', '.join(said['roles'])}")
    return 0


def _enrol(args: argparse.Namespace) -> int:
    place = _place(args, _before())
    halves = _halves()
    with closing(reached(args.config, place)) as desk:
        password = _new_password()
        body = {"staff": args.id, "first": halves[0], "second": halves[1], "password": password}
        desk.post("/enrol", body)
    print(f"{args.id} has a password now: smsfilter login {args.id}")
    return 0


def _logout(args: argparse.Namespace) -> int:
    from smsfilter.cli import loginfile  # noqa: PLC0415 - start-up stays light
    from smsfilter.cli.client import DeskError  # noqa: PLC0415

    before = _before()
    if before is None:
        print("nobody is logged in")
        return 0
    try:
        with closing(reached(args.config, before)) as desk:
            desk.post("/logout")
    except DeskError as error:
        if error.status != _UNAUTHORIZED:
            raise
    loginfile.remove()
    print(f"{before.staff} is logged out")
    return 0


def _password(args: argparse.Namespace) -> int:
    from smsfilter.cli import loginfile  # noqa: PLC0415 - start-up stays light

    def work(desk: "Client") -> int:
        old = _secret("password: ")
        said = desk.post("/password", {"old": old, "new": _new_password()})
        loginfile.remove()
        print(f"changed: smsfilter login {said['staff']}")
        return 0

    return with_desk(args, work)


def _whoami(args: argparse.Namespace) -> int:
    from smsfilter.cli.saying import local_time, say_json  # noqa: PLC0415 - start-up stays light

    def work(desk: "Client") -> int:
        said = desk.get("/me")
        if args.json:
            say_json(said)
            return 0
        print(f"{said['staff']}, {said['name']}, branch {said['branch']}")
        print(f"roles: {', '.join(said['roles'])}")
        print(f"rights: {', '.join(said['rights'])}")
        print(f"logged in until {local_time(said['expires_at'])}")
        return 0

    return with_desk(args, work)


def _before() -> "Login | None":
    from smsfilter.cli import loginfile  # noqa: PLC0415 - start-up stays light

    return loginfile.read()


def _place(args: argparse.Namespace, before: "Login | None") -> "Login":
    """Return where to go, with no token: where --desk says, else where it was before."""
    from smsfilter.cli.client import checked  # noqa: PLC0415 - start-up stays light
    from smsfilter.cli.loginfile import Login  # noqa: PLC0415

    if args.desk is not None:
        ca = args.ca and str(Path(args.ca).absolute())
        return Login(None, "", checked(args.desk), ca)
    if before is None:
        return Login(None, "")
    return replace(before, token=None, ca=args.ca or before.ca)


def _secret(question: str) -> str:
    """Ask on the terminal without showing it; else the next line of standard input."""
    if sys.stdin.isatty():
        return getpass.getpass(question)
    return sys.stdin.readline().rstrip("\r\n")


def _new_password() -> str:
    from smsfilter.cli.client import DeskError  # noqa: PLC0415 - start-up stays light

    given = _secret("new password: ")
    if sys.stdin.isatty() and _secret("the same again: ") != given:
        raise DeskError("these were two different passwords: nothing was changed")
    return given


def _halves() -> tuple[str, str]:
    """Return both halves, which may stand on one line."""
    first = _secret("one half of the code, or both: ").split()
    if len(first) > 1:
        return first[0], first[1]
    return " ".join(first), _secret("the other half: ").strip()
