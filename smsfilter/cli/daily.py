"""`smsfilter desk daily`: what was late the day before, and what is due."""

import argparse
from typing import TYPE_CHECKING

from smsfilter.cli.saying import local_time, say_json
from smsfilter.cli.steps import with_desk
from smsfilter.cli.store import offer

if TYPE_CHECKING:
    from smsfilter.cli.client import Client


def add(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the action to those of `smsfilter desk`."""
    parser = actions.add_parser(
        "daily",
        help="the daily list: what was late the day before",
        description="List the cases whose customers were not answered in time on the day before,"
        " by branch, and say how many are due on the day itself.",
    )
    parser.add_argument("--day", metavar="DATE", help="such as 2026-11-27 (default: today)")
    offer(parser, _daily)


def _daily(args: argparse.Namespace) -> int:
    def work(desk: "Client") -> int:
        said = desk.get("/daily", day=args.day)
        if args.json:
            say_json(said)
            return 0
        print(f"{said['day']}: {said['late']} were late the day before, {said['due']} are due")
        for branch, count in sorted(said["branches"].items()):
            print(f"  {branch}: {count} late")
        if said["cases"]:
            from smsfilter.cli import table  # noqa: PLC0415 - start-up stays light

            rows = [
                (
                    each["case"],
                    each["branch"],
                    each["owner"] or "nobody",
                    local_time(each["due_at"]),
                )
                for each in said["cases"]
            ]
            table.show(("case", "branch", "owner", "was due"), rows, "")
        return 0

    return with_desk(args, work)
