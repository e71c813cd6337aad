"""`smsfilter staff`: who works at the desk."""

import argparse
from typing import TYPE_CHECKING

from smsfilter.cli import staff_changes, staff_rota
from smsfilter.cli.steps import with_desk
from smsfilter.cli.store import offer

if TYPE_CHECKING:
    from smsfilter.cli.client import Client


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand and its actions."""
    parser = subparsers.add_parser("staff", help="people of the desk")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    bootstrap = actions.add_parser(
        "bootstrap",
        help="invite the second person of headquarters, once",
        description="Invite the second person, as the first one alone: everybody after them is let "
        "in by two. One half of their code is printed; the other one is given out on the desk's "
        "machine by `smsfilter desk code ID`. Until they have enrolled it can be done again, for "
        "a new code. Their number is read from standard input, if there is one: for warnings.",
    )
    staff_changes.add(actions)
    staff_rota.add(actions)
    add_person(bootstrap)
    offer(bootstrap, _bootstrap)


def add_person(parser: argparse.ArgumentParser, *, needed: bool = True) -> None:
    """Add what is said of a new person; their number comes from standard input."""
    if needed:
        parser.add_argument("id", metavar="ID", help="what they log in with, for ever: li.wei")
    parser.add_argument("--name", required=needed, help="for people")
    parser.add_argument(
        "--person", required=needed, metavar="NUMBER", help="the operator's own number for them"
    )
    parser.add_argument(
        "--phone-from-stdin",
        action="store_true",
        help="read the number that they are warned at from standard input, or ask for it",
    )


def phone(args: argparse.Namespace) -> str | None:
    """Return the number of a new person; None where none is given."""
    from smsfilter.cli.given import ask  # noqa: PLC0415 - start-up stays light

    return (ask("their number:") or None) if args.phone_from_stdin else None


def _bootstrap(args: argparse.Namespace) -> int:
    from smsfilter.cli.saying import say_json  # noqa: PLC0415 - start-up stays light

    body = {"id": args.id, "name": args.name, "person": args.person, "phone": phone(args)}

    def work(desk: "Client") -> int:
        said = desk.post("/staff/bootstrap", body | {"roles": ["headquarters"]})
        if args.json:
            say_json(said)
            return 0
        print(f"half of the code of {args.id}: {said['half']}")
        print(f"the other half {said['other_half']}")
        print(f"with both, {args.id} runs: smsfilter enrol {args.id}")
        return 0

    return with_desk(args, work)
