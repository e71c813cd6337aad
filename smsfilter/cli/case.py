"""`smsfilter case`: cases from their reports to the answers."""

import argparse
import sys
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from smsfilter.cli import case_next, case_show
from smsfilter.cli.given import InputError, add_list_options, page_size, reads
from smsfilter.cli.saying import due, say_json
from smsfilter.cli.steps import with_desk
from smsfilter.cli.store import offer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from smsfilter.cli.client import Client

_OUTCOMES: Final = ("upheld", "not_spam", "unresolvable", "referred")
_STATES: Final = (
    *("new", "assigned", "investigating", "decided", "replied", "closed", "reopened"),
    *("withdrawn", "joined"),
)
_ID_DIGITS: Final = 18


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("case", help="cases: take, decide and answer them")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    case_next.add(actions)
    works = {_add_list(actions): _list, _add_show(actions): case_show.show}
    for name, work, says, more in (
        ("take", _take, "begin to work on a case: yours, or one that nobody owns", _no_more),
        ("assign", _assign, "give a case to somebody", _add_assign),
        ("decide", _decide, "say what a case has come to", _add_decide),
        ("reply", _reply, "have the customer told what a case has come to", _add_reply),
        ("reopen", _reopen, "have a case looked at again, by another person", _add_reopen),
    ):
        action = actions.add_parser(name, help=says, description=_more(says))
        action.add_argument("case", metavar="CASE", type=case_id, help="its id: 12, or case:12")
        more(action)
        works[action] = work
    for action, work in works.items():
        offer(action, reads(work))


def case_id(text: str) -> int:
    """Read the id of a case, also as the ledger names it: `case:7`."""
    digits = text.removeprefix("case:")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > _ID_DIGITS:
        raise argparse.ArgumentTypeError(f"not the id of a case: {text}: see smsfilter case list")
    return int(digits)


def _more(says: str) -> str:
    return f"{says[0].upper()}{says[1:]}. Each step is entered into the ledger."


# --- options


def _add_list(
    actions: "argparse._SubParsersAction[argparse.ArgumentParser]",
) -> argparse.ArgumentParser:
    parser = actions.add_parser(
        "list",
        help="list cases, the most urgent first",
        description="List open cases, the most urgent first. With --company, --all or the state "
        "of cases that are not open: the newest first.",
    )
    whose = parser.add_mutually_exclusive_group()
    whose.add_argument("--mine", action="store_true", help="only yours")
    whose.add_argument("--owner", metavar="ID", help="only those of this person")
    whose.add_argument("--unowned", action="store_true", help="only those that nobody owns")
    parser.add_argument("--late", action="store_true", help="only those that are overdue")
    parser.add_argument("--branch", metavar="ID", help="only of this branch and those below it")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--state", choices=_STATES, help="only those in this state")
    which.add_argument("--company", metavar="ID", help="only those about this company")
    which.add_argument("--all", action="store_true", help="those that are not open as well")
    add_list_options(parser)
    return parser


def _add_show(
    actions: "argparse._SubParsersAction[argparse.ArgumentParser]",
) -> argparse.ArgumentParser:
    parser = actions.add_parser(
        "show",
        help="show a case and all that happened, in order",
        description="Show a case: its reports, blocks, SMS and decisions, and all that happened, "
        "in order. The look is entered into the ledger.",
    )
    parser.add_argument("case", metavar="CASE", type=case_id, help="its id: 12, or case:12")
    parser.add_argument("--text", action="store_true", help="open what the customer wrote")
    parser.add_argument("--number", action="store_true", help="open the customer's number")
    parser.add_argument(
        "--purpose", metavar="WHY", help="with --text or --number: goes into the ledger"
    )
    return parser


def _no_more(_parser: argparse.ArgumentParser) -> None:
    """Nothing but the case is given."""


def _add_assign(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--to", required=True, metavar="ID", help="who is to work on it")
    parser.add_argument("--why", metavar="WHY", default="", help="goes into the ledger")


def _add_decide(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--outcome", required=True, choices=_OUTCOMES, help="what it has come to")
    parser.add_argument("--why", required=True, metavar="WHY", help="goes into the ledger")
    parser.add_argument(
        "--reply", action="store_true", help="have the customer told at once, by replies.yaml"
    )


def _add_reply(parser: argparse.ArgumentParser) -> None:
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--text", metavar="TEXT", help="in these words; - reads them from standard input"
    )
    how.add_argument(
        "--otherwise", metavar="HOW", help='the customer was told in another way: "by phone"'
    )


def _add_reopen(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--why", required=True, metavar="WHY", help="goes into the ledger")


# --- looked at


def _list(args: argparse.Namespace) -> int:
    def work(desk: "Client") -> int:
        query = {"owner": args.owner, "branch": args.branch, "state": args.state}
        query |= {"company": args.company, "limit": page_size(args)}
        for name in ("mine", "unowned", "late", "all"):
            query[name] = "1" if getattr(args, name) else None
        found = islice(desk.pages("/cases", **query), args.limit)
        if args.json:
            for each in found:
                say_json(each)
        else:
            _say_list(found)
        return 0

    return with_desk(args, work)


def _say_list(found: "Iterable[dict[str, Any]]") -> None:
    from smsfilter.cli import table  # noqa: PLC0415 - start-up stays light

    rows = [
        (
            each["id"],
            each["customer"],
            each["company"] or "–",
            each["state"] + (", not delivered" if each["reply_failed"] else ""),
            each["owner"] or "–",
            each["branch"],
            case_show.when(each),
        )
        for each in found
    ]
    columns = ("case", "customer", "company", "state", "owner", "branch", "due")
    table.show(columns, rows, "no cases")


# --- worked on


def _done(args: argparse.Namespace, path: str, body: dict[str, Any] | None = None) -> int:
    """Do one step, and say how the case stands."""

    def work(desk: "Client") -> int:
        said = desk.post(f"/cases/{args.case}/{path}", body)
        if args.json:
            say_json(said)
            return 0
        outcome = f", {said['outcome']}" if said["outcome"] else ""
        owner = f", owner {said['owner']}" if said["owner"] else ""
        print(f"case {said['id']}: {said['state']}{outcome}{owner}")
        if said["closed_at"] is None:
            print(due(said["due_at"]))
        return 0

    return with_desk(args, work)


def _take(args: argparse.Namespace) -> int:
    return _done(args, "take")


def _assign(args: argparse.Namespace) -> int:
    return _done(args, "assign", {"owner": args.to, "why": args.why})


def _decide(args: argparse.Namespace) -> int:
    body = {"outcome": args.outcome, "reason": args.why, "reply": args.reply}
    return _done(args, "decide", body)


def _reply(args: argparse.Namespace) -> int:
    text = args.text
    if text == "-":
        text = sys.stdin.read().strip()
        if not text:
            raise InputError("no text was given: write it on standard input")
    given = {"text": text, "otherwise": args.otherwise}
    return _done(args, "reply", {name: value for name, value in given.items() if value})


def _reopen(args: argparse.Namespace) -> int:
    return _done(args, "reopen", {"reason": args.why})
