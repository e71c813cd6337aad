"""`smsfilter case show`: one case as people read it."""

import argparse
from typing import TYPE_CHECKING, Any, Final

from smsfilter.cli.given import InputError
from smsfilter.cli.printable import indented, printable
from smsfilter.cli.saying import due, local_time, say_json
from smsfilter.cli.steps import with_desk

if TYPE_CHECKING:
    from smsfilter.cli.client import Client

_DETAILS: Final = (
    *("outcome", "reason", "why", "how", "owner", "company", "state", "stat", "result", "kind"),
    *("count", "purpose", "reply"),
)
"""What is said of a step beside its name, where the ledger has it."""


def show(args: argparse.Namespace) -> int:
    """Show a case, and open what is asked for."""
    if (args.text or args.number) and not args.purpose:
        raise InputError("--purpose says what the text or the number is for: it is entered")
    if args.purpose and not (args.text or args.number):
        raise InputError("--purpose is for --text or --number")

    def work(desk: "Client") -> int:
        said = desk.get(f"/cases/{args.case}")
        if args.text:
            opened = desk.post(f"/cases/{args.case}/texts", {"purpose": args.purpose})
            said["texts"] = opened["texts"]
        if args.number:
            body = {"purpose": args.purpose, "case": args.case}
            said["number"] = desk.post(f"/customers/{said['customer_id']}/number", body)["number"]
        if args.json:
            say_json(said)
        else:
            _say(said)
        return 0

    return with_desk(args, work)


def when(said: dict[str, Any]) -> str:
    """Say how far off the answer is, or when it was given."""
    if said["replied_at"] is not None:
        late = " (late)" if said["replied_at"] > said["due_at"] else ""
        return f"answered {local_time(said['replied_at'])}{late}"
    if said["closed_at"] is not None:
        return f"ended {local_time(said['closed_at'])}"
    return due(said["due_at"])


def _say(said: dict[str, Any]) -> None:
    again = f", round {said['round']}" if said["round"] > 1 else ""
    outcome = f", {said['outcome']}" if said["outcome"] else ""
    print(f"case {said['id']}: {said['state']}{outcome}{again}, {when(said)}")
    if said["reply_failed"]:
        print("the answer has not reached the customer: smsfilter case reply --otherwise HOW")
    whom = said["company"] or "nobody that is known yet"
    print(f"{said['customer']} about {printable(said['source'] or '–')}, company {whom}")
    if "number" in said:
        print(f"number {said['number']}")
    print(f"owner {said['owner'] or '–'}, branch {said['branch']}")
    for each in said.get("texts", ()):
        print(f"report {each['report']}: {indented(each['text'])}")
        if each.get("note"):
            print(f"  note: {indented(each['note'])}")
    _say_parts(said)
    _say_timeline(said["timeline"])


def _say_parts(said: dict[str, Any]) -> None:
    from smsfilter.cli import table  # noqa: PLC0415 - start-up stays light

    reports = [
        (
            each["number"],
            local_time(each["received_at"]),
            each["channel"],
            each["source"] or "–",
            each["state"],
            each["match"] or "–",
            each["evidence"].get("by", "–"),
        )
        for each in said["reports"]
    ]
    columns = ("report", "received", "by", "reported", "state", "match", "found by")
    table.show(columns, reports, "no report")
    blocks = [
        (each["id"], each["target"], local_time(each["in_force_at"]), local_time(each["ended_at"]))
        for each in said["blocks"]
    ]
    table.show(("block", "of", "in force", "ended"), blocks, "no block")
    decided = [
        (each["round"], each["outcome"], each["by"], local_time(each["at"]))
        for each in said["decisions"]
    ]
    if decided:
        table.show(("round", "outcome", "by", "when"), decided, "")
    sent = [
        (
            each["kind"],
            "customer" if each["staff"] is None else each["staff"],
            each["state"] + (", maybe twice" if each["maybe_twice"] else ""),
            local_time(each["sent_at"]),
            ", ".join(f"{one['stat']} {local_time(one['at'])}" for one in each["receipts"]) or "–",
        )
        for each in said["sms"]
    ]
    table.show(("SMS", "to", "state", "sent", "receipt"), sent, "no SMS")


def _say_timeline(timeline: list[dict[str, Any]]) -> None:
    from smsfilter.cli import table  # noqa: PLC0415 - start-up stays light

    rows = [
        (local_time(each["at"]), each["action"], _detail(each), each["object"], each["actor"])
        for each in timeline
    ]
    table.show(("when", "what", "how", "of", "by"), rows, "the ledger says nothing of it")


def _detail(step: dict[str, Any]) -> str:
    detail = step["detail"]
    said = [str(detail[name]) for name in _DETAILS if detail.get(name) not in (None, "", [])]
    return ", ".join(said)
