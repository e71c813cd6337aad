"""`smsfilter staff …`: people let in, changed, shut out; most of it waits for a second person."""

import argparse
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from smsfilter.cli.given import add_list_options, ask, page_size
from smsfilter.cli.release import say_asked
from smsfilter.cli.saying import local_time, say_json
from smsfilter.cli.steps import with_desk
from smsfilter.cli.store import offer

if TYPE_CHECKING:
    from smsfilter.cli.client import Client

ROLES: Final = ("clerk", "supervisor", "approver", "headquarters", "auditor", "engineer")


def add(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the actions that change who works at the desk, and those that show it."""
    list_ = actions.add_parser("list", help="list the staff of your branch and of those below it")
    add_list_options(list_)
    show = actions.add_parser("show", help="show one person")
    new = actions.add_parser(
        "add",
        help="ask for an account for a new person",
        description="Ask for an account; another person of headquarters releases it. Each of you "
        "gets half of the code by which the new person enrols.",
    )
    new.add_argument("id", metavar="ID", help="what they log in with, for ever: li.wei")
    new.add_argument("--name", required=True, help="for people")
    new.add_argument(
        "--person", required=True, metavar="NUMBER", help="the operator's own number for them"
    )
    new.add_argument("--branch", default="hq", help="as in desk.branches (default: hq)")
    new.add_argument(
        "--phone-from-stdin",
        action="store_true",
        help="read the number that they are warned at from standard input, or ask for it",
    )
    role = actions.add_parser("role", help="ask for other roles, in place of those they have")
    for action in (new, role):
        action.add_argument("--role", required=True, action="append", choices=ROLES)
    reset = actions.add_parser("reset", help="ask for a new code in place of a lost password")
    restore = actions.add_parser("restore", help="ask that somebody suspended comes in again")
    suspend = actions.add_parser(
        "suspend",
        help="let somebody in no more, at once",
        description="Let somebody in no more, at once; of headquarters only by two.",
    )
    suspend.add_argument("--reason", default="", metavar="TEXT", help="for the ledger")
    leave = actions.add_parser(
        "leave", help="somebody is of the staff no more; of headquarters: ask"
    )
    for action in (show, role, reset, restore, suspend, leave):
        action.add_argument("id", metavar="ID", help="as in staff list")
    works = {list_: _list, show: _show, new: _add, role: _role, reset: _reset}
    works |= {restore: _restore, suspend: _suspend, leave: _leave}
    for action, work in works.items():
        offer(action, work)


def _list(args: argparse.Namespace) -> int:
    def work(desk: "Client") -> int:
        from smsfilter.cli import table  # noqa: PLC0415 - start-up stays light

        found = islice(desk.pages("/staff", limit=page_size(args)), args.limit)
        if args.json:
            for each in found:
                say_json(each)
            return 0
        rows = [
            (each["id"], each["name"], each["branch"], ", ".join(each["roles"]), each["state"])
            for each in found
        ]
        table.show(("id", "name", "branch", "roles", "state"), rows, "nobody")
        return 0

    return with_desk(args, work)


def _show(args: argparse.Namespace) -> int:
    def work(desk: "Client") -> int:
        said = desk.get(f"/staff/{args.id}")
        if args.json:
            say_json(said)
            return 0
        print(f"{said['id']}: {said['name']}, {said['person']}, {said['state']}")
        print(
            f"branch {said['branch']}, {', '.join(said['roles'])}, {said['phone'] or 'no number'}"
        )
        by = said["added_by"] + (f" and {said['approved_by']}" if said["approved_by"] else " alone")
        print(f"added {local_time(said['added_at'])} by {by}")
        return 0

    return with_desk(args, work)


def _add(args: argparse.Namespace) -> int:
    phone = (ask("their number:") or None) if args.phone_from_stdin else None
    body = {"id": args.id, "name": args.name, "person": args.person, "phone": phone}
    body |= {"branch": args.branch, "roles": args.role}

    def work(desk: "Client") -> int:
        said = desk.post("/staff", body)
        _say(args, said, f"an account for {args.id}")
        if not args.json:
            print(f"then, for your half of the code: smsfilter release half {said['release']}")
        return 0

    return with_desk(args, work)


def _role(args: argparse.Namespace) -> int:
    return _of(args, "roles", f"the roles {', '.join(args.role)} for {args.id}", roles=args.role)


def _reset(args: argparse.Namespace) -> int:
    return _of(args, "reset", f"a new code for {args.id}")


def _restore(args: argparse.Namespace) -> int:
    return _of(args, "restore", f"that {args.id} comes in again")


def _suspend(args: argparse.Namespace) -> int:
    return _of(args, "suspend", f"that {args.id} is let in no more", reason=args.reason)


def _leave(args: argparse.Namespace) -> int:
    return _of(args, "leave", f"that {args.id} is of the staff no more")


def _of(args: argparse.Namespace, step: str, what: str, **body: Any) -> int:
    def work(desk: "Client") -> int:
        said = desk.post(f"/staff/{args.id}/{step}", body or None)
        _say(args, said, what)
        return 0

    return with_desk(args, work)


def _say(args: argparse.Namespace, said: dict[str, Any], what: str) -> None:
    if args.json:
        say_json(said)
    elif "release" in said:
        say_asked(said, what)
    else:
        print(
            f"{said['staff']} is {said['state']}"
            if said["state"] != "left"
            else f"{said['staff']} has left"
        )
