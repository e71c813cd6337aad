"""`smsfilter release`: what another person asked for, and waits for a second one."""

import argparse
from itertools import islice
from typing import TYPE_CHECKING, Any

from smsfilter.cli.given import add_list_options, page_size
from smsfilter.cli.saying import due, local_time, say_force, say_json
from smsfilter.cli.steps import with_desk
from smsfilter.cli.store import offer, warn

if TYPE_CHECKING:
    from smsfilter.cli.client import Client


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand and its actions."""
    parser = subparsers.add_parser("release", help="what needs two people: look at, let through")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    list_ = actions.add_parser("list", help="what you asked for, and what waits for you")
    list_.add_argument("--all", action="store_true", help="also what waits no more")
    add_list_options(list_)
    show = actions.add_parser("show", help="show what exactly is asked for")
    grant = actions.add_parser("grant", help="let it be done")
    refuse = actions.add_parser("refuse", help="let it not be done")
    refuse.add_argument("--reason", default="", metavar="TEXT", help="for whoever asked")
    back = actions.add_parser("take-back", help="ask for it no more")
    half = actions.add_parser("half", help="fetch your half of a code, once")
    for action in (show, grant, refuse, back, half):
        action.add_argument("release", metavar="ID", type=int, help="as in release list")
    works = {list_: _list, show: _show, grant: _grant, refuse: _refuse, back: _back, half: _half}
    for action, work in works.items():
        offer(action, work)


def say_asked(said: dict[str, Any], what: str) -> None:
    """Say that something waits for another person, and what that one has to run."""
    print(f"asked for: release {said['release']}: {what}")
    print(f"another person lets it through, {due(said['expires_at'])}:")
    print(f"  smsfilter release grant {said['release']}")


def _list(args: argparse.Namespace) -> int:
    def work(desk: "Client") -> int:
        from smsfilter.cli import table  # noqa: PLC0415 - start-up stays light

        state = "all" if args.all else "waiting"
        found = islice(desk.pages("/releases", state=state, limit=page_size(args)), args.limit)
        if args.json:
            for each in found:
                say_json(each)
            return 0
        rows = [
            (
                each["id"],
                each["kind"],
                each["subject"],
                each["branch"],
                each["state"].replace("_", " "),
                each["asked_by"] + (" (you)" if each["yours"] else ""),
                due(each["expires_at"]) if each["state"] == "waiting" else each["released_by"],
            )
            for each in found
        ]
        head = ("id", "kind", "of", "branch", "state", "asked by", "due, or by")
        table.show(head, rows, "nothing waits for a second person")
        return 0

    return with_desk(args, work)


def _show(args: argparse.Namespace) -> int:
    def work(desk: "Client") -> int:
        said = desk.get(f"/releases/{args.release}")
        if args.json:
            say_json(said)
            return 0
        print(f"release {said['id']}: {said['kind']} of {said['subject']}, {said['state']}")
        print(f"asked by {said['asked_by']}, {local_time(said['asked_at'])}")
        if said["released_by"] is not None:
            print(f"by {said['released_by']}, {local_time(said['released_at'])}")
        for name, value in said.get("asks", {}).items():
            is_time = name.endswith("_at")
            print(f"  {name}: {local_time(value) if is_time else _plain(value)}")
        if said["half"]:
            print(f"your half of the code: smsfilter release half {said['id']}")
        return 0

    return with_desk(args, work)


def _plain(value: Any) -> str:
    if isinstance(value, list):
        items = [each["customer"] if isinstance(each, dict) else str(each) for each in value]
        return ", ".join(items)
    return "–" if value is None else str(value)


def _grant(args: argparse.Namespace) -> int:
    def work(desk: "Client") -> int:
        said = desk.post(f"/releases/{args.release}/grant")
        if args.json:
            say_json(said)
            return 1 if said.get("unclear_rows") else 0
        if said["state"] == "released":
            print(f"release {args.release} is being done: smsfilter release show {args.release}")
            return 0
        print(f"release {args.release} is done")
        if "half" in said:
            print(f"half of the code of {said['staff']}, for them alone: {said['half']}")
            print(f"the other half goes to {said['other_half']}, who asked")
        if "recycled" in said:
            say_recycled(said)
        say_force(said)
        for row in said.get("unclear_rows", ()):
            warn(
                f"row {row + 1}: recycled before, and somebody has it since",
                "say in the column recycled_at when it was taken from whom is meant",
            )
        return 1 if said.get("unclear_rows") else 0

    return with_desk(args, work)


def say_recycled(said: dict[str, Any]) -> None:
    """Say what came of a file of numbers."""
    rows = sum(said[name] for name in ("recycled", "unknown", "newer", "unclear"))
    print(
        f"{rows} numbers: {said['recycled']} recycled, {said['blocks']} blocks "
        f"ended, {said['unknown']} without anything"
        + (f", {said['newer']} newer" if said["newer"] else "")
    )


def _refuse(args: argparse.Namespace) -> int:
    return _step(args, "refuse", {"reason": args.reason})


def _back(args: argparse.Namespace) -> int:
    return _step(args, "take-back", None)


def _step(args: argparse.Namespace, step: str, body: Any) -> int:
    def work(desk: "Client") -> int:
        said = desk.post(f"/releases/{args.release}/{step}", body)
        if args.json:
            say_json(said)
        else:
            print(f"release {said['release']} is {said['state'].replace('_', ' ')}")
        return 0

    return with_desk(args, work)


def _half(args: argparse.Namespace) -> int:
    def work(desk: "Client") -> int:
        said = desk.post(f"/releases/{args.release}/half")
        if args.json:
            say_json(said)
            return 0
        who = said["subject"].removeprefix("staff:")
        print(f"half of the code of {who}, for them alone: {said['half']}")
        print(
            f"the other half {said['other_half']} has; with both, they run: smsfilter enrol {who}"
        )
        return 0

    return with_desk(args, work)
