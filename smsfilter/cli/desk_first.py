"""The first two people of a desk, as far as its machine has a hand in it."""

import argparse
import sys
from typing import TYPE_CHECKING

from smsfilter.cli import staff
from smsfilter.cli.steps import os_user, with_own_desk
from smsfilter.cli.store import offer

if TYPE_CHECKING:
    from smsfilter.cli.client import Client


def add(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the action."""
    code = actions.add_parser(
        "code",
        help="give out what the first two people enrol by",
        description="Print the half of the second person's code that is given out on this machine "
        "only, once; or a new whole code of the first person, while they have not enrolled.",
    )
    code.add_argument("id", metavar="ID", help="who is to enrol")
    offer(code, _code)


def add_person(parser: argparse.ArgumentParser) -> None:
    """Add who the first person is."""
    parser.add_argument("--first", metavar="ID", help="what the first person logs in with: li.wei")
    staff.add_person(parser, needed=False)


def make(args: argparse.Namespace) -> int:
    """Make the first person of headquarters, if there is nobody yet."""
    from smsfilter.cli.given import ask  # noqa: PLC0415 - start-up stays light

    if args.first is None and not sys.stdin.isatty():
        return 0
    if _is_begun(args):
        if args.first is not None:
            print("there are people already: nobody was added")
        return 0
    id = args.first or ask("who is the first person of headquarters, such as li.wei (none: later):")
    if not id:
        return 0
    given = {
        "id": id,
        "name": args.name or ask("their name:"),
        "person": args.person or ask("your own number for them, such as E1001:"),
        "phone": staff.phone(args),
        "roles": ["headquarters"],
    }
    return _make(args, given)


def _is_begun(args: argparse.Namespace) -> bool:
    from smsfilter.config import load_config  # noqa: PLC0415 - start-up stays light
    from smsfilter.desk.office import records_of  # noqa: PLC0415
    from smsfilter.staff.accounts import people  # noqa: PLC0415

    records = records_of(load_config(args.config))
    try:
        with records.reading() as connection:
            return bool(people(connection))
    finally:
        records.close()


def _make(args: argparse.Namespace, given: dict[str, object]) -> int:
    from pydantic import ValidationError  # noqa: PLC0415 - start-up stays light

    from smsfilter.config import load  # noqa: PLC0415
    from smsfilter.desk.office import Office  # noqa: PLC0415
    from smsfilter.desk.problems import Problem  # noqa: PLC0415
    from smsfilter.ledger.actor import local  # noqa: PLC0415
    from smsfilter.staff import founders  # noqa: PLC0415
    from smsfilter.staff.accounts import AccountError, NewStaff  # noqa: PLC0415

    office = Office.of(load(args.config))
    try:
        wanted = NewStaff.model_validate(given)
        code = founders.made_first(office, wanted, local(os_user(), "command"))
    except ValidationError as error:
        for each in error.errors(include_url=False, include_input=False):
            print(f"smsfilter desk: {each['loc'][0]}: {each['msg']}", file=sys.stderr)
        return 1
    except (AccountError, Problem) as error:
        print(f"smsfilter desk: {error}", file=sys.stderr)
        return 1
    finally:
        office.records.close()
    if code is None:
        print("there are people already: nobody was added")
        return 0
    print(f"first person: {wanted.id}, {wanted.name}")
    print(f"code, shown this once, valid for a week: {code.first} {code.second}")
    print(f"once the desk runs: smsfilter enrol {wanted.id}")
    return 0


def _code(args: argparse.Namespace) -> int:
    from smsfilter.cli.saying import say_json  # noqa: PLC0415 - start-up stays light

    def work(desk: "Client") -> int:
        said = desk.post(f"/staff/{args.id}/code")
        if args.json:
            say_json(said)
        elif "halves" in said:
            print(f"new code of {args.id}, shown this once: {' '.join(said['halves'])}")
        else:
            print(f"the other half of the code of {args.id}, shown this once: {said['half']}")
            print(f"the first half is with {said['first_half']}")
        return 0

    return with_own_desk(args, work)
