"""`smsfilter case next`: the most urgent case, its evidence, what that suggests, the reply."""

import argparse
from typing import TYPE_CHECKING, Any, Final

from smsfilter.cli.printable import printable
from smsfilter.cli.saying import due, local_time, say_json
from smsfilter.cli.steps import with_desk
from smsfilter.cli.store import offer

if TYPE_CHECKING:
    from smsfilter.cli.client import Client

TRIES: Final = 5
"""Cases that others may take first while one is being taken."""


def add(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the action to those of `smsfilter case`."""
    parser = actions.add_parser(
        "next",
        help="show the most urgent case, its evidence and a suggestion",
        description="Show the most urgent of your cases, else of those that nobody owns: what is "
        "known of it with the records that it rests on, the outcome that this suggests, and the "
        "reply that goes with it. Nothing is decided by it.",
    )
    parser.add_argument("--take", action="store_true", help="begin to work on it at once")
    offer(parser, _next)


def _next(args: argparse.Namespace) -> int:
    def work(desk: "Client") -> int:
        said = _taken(desk) if args.take else desk.get("/cases/next")
        if args.json:
            say_json(said)
        elif said["case"] is None:
            print("no case waits for you")
        else:
            _say(said)
        return 0

    return with_desk(args, work)


def _taken(desk: "Client") -> Any:
    """Take the next case; another one where somebody else was faster."""
    from smsfilter.cli.client import DeskError  # noqa: PLC0415 - start-up stays light

    for left in reversed(range(TRIES)):
        said = desk.get("/cases/next")
        if said["case"] is None or said["case"]["state"] in ("investigating", "decided"):
            return said
        try:
            taken = desk.post(f"/cases/{said['case']['id']}/take")
        except DeskError:
            if not left:
                raise
            continue
        said["case"] |= {name: taken[name] for name in ("state", "owner") if name in taken}
        return said
    raise AssertionError("the last try returns or raises")


def _say(said: dict[str, Any]) -> None:
    from smsfilter.cli import table  # noqa: PLC0415 - start-up stays light

    case = said["case"]
    again = f", round {case['round']}" if case["round"] > 1 else ""
    print(f"case {case['id']}: {case['state']}{again}, {due(case['due_at'])}")
    if case["reply_failed"]:
        print("the customer has not got the answer: give it in another way, or write it again")
    whom = case["company"] or "nobody that is known yet"
    print(f"{case['customer']} about {printable(case['source'] or '–')}, company {whom}")
    print(f"owner {case['owner'] or '–'}, branch {case['branch']}")
    rows = [
        (
            ("! " if line["alarm"] else "") + line["says"],
            local_time(line["at"]),
            ", ".join(line["records"]) or "–",
        )
        for line in said["evidence"]
    ]
    table.show(("what is known", "when", "record"), rows, "nothing is known")
    _suggest(said, case["id"])


def _suggest(said: dict[str, Any], case: int) -> None:
    suggestion, reply = said["suggestion"], said["reply"]
    if suggestion is None:
        print("no rule suggests an outcome")
        return
    records = ", ".join(suggestion["records"])
    print(f"suggested: {suggestion['outcome']}, by the rule {suggestion['rule']} ({records})")
    print(f"  {suggestion['why']}")
    if reply is not None:
        print(f"reply ({reply['characters']} of {reply['most']}): {printable(reply['text'])}")
    print(
        f"to decide so: smsfilter case decide {case} --outcome {suggestion['outcome']} --why … "
        "--reply"
    )
