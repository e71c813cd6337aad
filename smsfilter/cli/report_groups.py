"""`smsfilter report groups`, and `report resolve --source`: many reports decided at once."""

import argparse
from typing import TYPE_CHECKING, Any, Final

from smsfilter.cli.given import InputError, add_list_options, number, page_size
from smsfilter.cli.printable import printable
from smsfilter.cli.saying import local_time, progress, say_force, say_json
from smsfilter.cli.steps import with_desk

if TYPE_CHECKING:
    from smsfilter.cli.client import Client

OUTCOMES: Final = ("unresolvable", "referred")
"""What reports may be decided to be without a company."""


def listed(args: argparse.Namespace) -> int:
    """Show the groups."""

    def work(desk: "Client") -> int:
        from smsfilter.cli import table  # noqa: PLC0415 - start-up stays light

        found = desk.get("/groups", limit=page_size(args))["items"]
        if args.json:
            for each in found:
                say_json(each)
            return 0
        rows = [
            (
                each["key"],
                each["source"] or "–",
                each["reports"],
                each["customers"],
                ", ".join(f"{n} {state}" for state, n in each["states"].items()),
                local_time(each["first_at"]),
                local_time(each["last_at"]),
            )
            for each in found
        ]
        columns = ("source", "reported", "reports", "customers", "as", "first", "last")
        table.show(columns, rows, "no report waits for a decision")
        return 0

    return with_desk(args, work)


def add_groups(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> Any:
    """Add the action that lists them."""
    parser = actions.add_parser(
        "groups",
        help="list undecided reports by what was reported, the most reported first",
        description="List the reports that wait for a person to say whose they are, grouped by "
        "what was reported. All of a group are decided by report resolve --source.",
    )
    add_list_options(parser)
    return parser


def add_options(resolve: argparse.ArgumentParser) -> None:
    """Add what decides a whole group to `report resolve`."""
    resolve.add_argument(
        "--source",
        metavar="SOURCE",
        help="all reports of it that wait, as in report groups; - reads a number from standard "
        "input. Only says what would follow, unless --apply is given",
    )
    resolve.add_argument(
        "--outcome", choices=OUTCOMES, help="with --source: decide without a company, and reply"
    )
    resolve.add_argument("--why", metavar="WHY", help="with --outcome: goes into the ledger")
    resolve.add_argument("--apply", action="store_true", help="with --source: do it")


def resolve(args: argparse.Namespace) -> int:
    """Decide all reports of a source, or say what would follow."""
    if (args.company is None) == (args.outcome is None):
        raise InputError("either --company ID, or --outcome unresolvable or referred")
    if args.outcome is not None and not args.why:
        raise InputError("--outcome needs --why: it is entered for each case")
    source = number() if args.source == "-" else _service(args)
    path, body = "/groups/resolve", {"source": source, "company": args.company}
    if args.outcome is not None:
        path = "/groups/decide"
        body = {"source": source, "outcome": args.outcome, "reason": args.why}

    def work(desk: "Client") -> int:
        first = desk.post(path, body)
        if not args.apply:
            _say_preview(args, first)
            return 0
        return _apply(desk, args, path, body, first["reach"]["cases"])

    return with_desk(args, work)


def _service(args: argparse.Namespace) -> str:
    from smsfilter.cli.given import service  # noqa: PLC0415 - start-up stays light

    return str(args.source) if args.source.startswith("#") else service(args)


def _say_preview(args: argparse.Namespace, said: dict[str, Any]) -> None:
    if args.json:
        say_json(said)
        return
    reach = said["reach"]
    print(
        f"{reach['reports']} reports of {reach['customers']} customers, in {reach['cases']} cases"
    )
    if args.company is not None:
        print(f"company {said['company']} would be blocked for {reach['blocks']} of them")
        print(f"blocks of the source that would end: {reach['ends']}")
    else:
        if said["left"]:
            print(f"cases of others, which would be left: {said['left']}")
        print(f"would be decided {args.outcome}, with this reply to each:")
        reply = said["reply"]
        print(f"  ({reply['characters']} of {reply['most']}) {printable(reply['text'])}")
    print("nothing was changed: add --apply to do it")


def _apply(
    desk: "Client", args: argparse.Namespace, path: str, body: dict[str, Any], cases: int
) -> int:
    done, failed, why, after = 0, [], "", 0
    with progress(cases, "cases") as move:
        while True:
            said = desk.post(path, body | {"apply": True, "after": after})
            done += said["done"]
            failed += said["failed"]
            why = why or said.get("why", "")
            move(said["done"] + len(said["failed"]))
            if said["next"] is None:
                break
            after = said["next"]
    summary = {"done": done, "failed": failed, "in_force": not why} | ({"why": why} if why else {})
    if args.json:
        say_json(summary)
        return 1 if failed else 0
    print(f"cases decided: {done}")
    if args.company is not None and done:
        say_force(summary)
    for each in failed:
        print(f"case {each['case']} was left: {each['why']}")
    return 1 if failed else 0
