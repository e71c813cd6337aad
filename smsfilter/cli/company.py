"""`smsfilter company`: the registry that the desk looks after, as a whole and by the company."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from smsfilter.cli.saying import local_time, say_force, say_json
from smsfilter.cli.steps import with_desk
from smsfilter.cli.store import offer, warn

if TYPE_CHECKING:
    from smsfilter.cli.client import Client


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("company", help="companies at the desk: import, add, merge")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    import_ = actions.add_parser(
        "import",
        help="make the registry what a file says",
        description="Make the registry what FILE says. What is missing in it has ended from now "
        "on; a company that customers have blocked stays, owning nothing.",
    )
    import_.add_argument("file", metavar="FILE", type=Path, help="the registry, as YAML")
    import_.add_argument("--dry-run", action="store_true", help="only say what would change")
    export = actions.add_parser("export", help="print the registry as a file that can be imported")
    list_ = actions.add_parser("list", help="list companies, and how many customers blocked each")
    list_.add_argument("--state", choices=("active", "ended", "merged"), help="only these")
    show = actions.add_parser("show", help="show a company, what it owns and what it owned")
    more = actions.add_parser(
        "extend",
        help="give a company more of its own",
        description="Give a company more accounts, sources, headers or signatures, or a new name.",
    )
    new = actions.add_parser("add", help="add a company")
    merge = actions.add_parser(
        "merge",
        help="let a company go on as another",
        description="Move all that ID has to INTO, for good. Whoever has blocked ID has INTO "
        "blocked.",
    )
    for action in (show, more, new, merge):
        action.add_argument("id", metavar="ID", help="the company, as in the registry")
    merge.add_argument("into", metavar="INTO", help="the company that goes on")
    for action in (new, more):
        _add_own(action)
    works = {import_: _import, export: _export, list_: _list, show: _show}
    for action, work in {**works, new: _add, more: _extend, merge: _merge}.items():
        offer(action, work)


def _add_own(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", help="its name, for people")
    for kind, what in (
        ("account", "a system_id of its own"),
        ("source", "a prefix of its numbers"),
        ("header", "an alphanumeric source"),
        ("signature", "its name inside a text"),
    ):
        parser.add_argument(
            f"--{kind}", dest=f"{kind}s", metavar=kind.upper(), action="append", help=what
        )
    for end in ("from", "to"):
        parser.add_argument(
            f"--valid-{end}", metavar="DATE", help=f"sources are its own {end} DATE"
        )


def _own(args: argparse.Namespace) -> dict[str, Any]:
    """What the options say that is a company's own, as the registry file has it."""
    own = {"name": args.name} if args.name is not None else {}
    for kind in ("accounts", "sources", "headers", "signatures"):
        own[kind] = getattr(args, kind) or []
    ends = {"valid_from": args.valid_from, "valid_to": args.valid_to}
    dated = {name: end for name, end in ends.items() if end is not None}
    if dated:
        own["sources"] = [{"prefix": prefix, **dated} for prefix in own["sources"]]
    return own


def _import(args: argparse.Namespace) -> int:
    from smsfilter.config import load_yaml  # noqa: PLC0415 - start-up stays light
    from smsfilter.rules.registry import RegistryFile  # noqa: PLC0415
    from smsfilter.store.registry import uncollected  # noqa: PLC0415

    with uncollected():
        content = load_yaml(args.file, RegistryFile).model_dump_json(exclude_defaults=True)

    def work(desk: "Client") -> int:
        path = "/companies/import" + ("?rehearse=yes" if args.dry_run else "")
        said = desk.send(path, content.encode())
        if args.json:
            say_json(said)
            return 0
        would = "would be " if args.dry_run else ""
        for what in ("added", "ended"):
            named = ", ".join(said["named"][f"companies_{what}"])
            counted = said[f"companies_{what}"]
            print(f"companies {would}{what}: {counted}" + (f" ({named})" if named else ""))
        print(
            f"accounts, sources, headers, signatures, resellers {would}added: {said['added']},"
            f" {would}ended: {said['ended']}, unchanged: {said['unchanged']}"
        )
        for key in said["named"]["companies_kept"]:
            warn(
                f"{key} is missing in the file and stays, owning nothing, as customers blocked it",
                f"if it goes on under another id: smsfilter company merge {key} ID",
            )
        say_force(said, "in force within 2 seconds")
        return 0

    return with_desk(args, work)


def _export(args: argparse.Namespace) -> int:
    def work(desk: "Client") -> int:
        from smsfilter.cli.registry import as_yaml  # noqa: PLC0415 - start-up stays light

        content = {"companies": {}} | desk.get("/companies/export")
        if args.json:
            say_json(content)
        else:
            print(as_yaml(content), end="")
        return 0

    return with_desk(args, work)


def _list(args: argparse.Namespace) -> int:
    def work(desk: "Client") -> int:
        from smsfilter.cli import table  # noqa: PLC0415 - start-up stays light

        found = desk.pages("/companies", state=args.state, limit=500)
        if args.json:
            for each in found:
                say_json(each)
            return 0
        rows = [(each["id"], each["name"] or "", _state(each), each["blocks"]) for each in found]
        table.show(("company", "name", "state", "blocked by"), rows, "no companies")
        return 0

    return with_desk(args, work)


def _show(args: argparse.Namespace) -> int:
    def work(desk: "Client") -> int:
        from smsfilter.cli import table  # noqa: PLC0415 - start-up stays light
        from smsfilter.cli.registry import as_yaml  # noqa: PLC0415

        shown = desk.get(f"/companies/{quote(args.id, safe='')}")
        if args.json:
            say_json(shown)
            return 0
        print(f"{shown['id']}: {_state(shown)}, blocked by {shown['blocks']} customers")
        for name, said in (("resellers", "may send for it"), ("merged", "were merged into it")):
            if shown[name]:
                print(f"{', '.join(shown[name])} {said}")
        if shown["own"]:
            print(as_yaml(shown["own"]), end="")
        rows = [
            (row["kind"], row["raw"], local_time(row["since"]), local_time(row["ended_at"]))
            for row in shown["past"]
        ]
        if rows:
            table.show(("it had", "", "from", "to"), rows, "")
        return 0

    return with_desk(args, work)


def _add(args: argparse.Namespace) -> int:
    return with_desk(
        args, lambda desk: _changed(args, desk.post("/companies", {"id": args.id, **_own(args)}))
    )


def _extend(args: argparse.Namespace) -> int:
    path = f"/companies/{quote(args.id, safe='')}/extend"
    return with_desk(args, lambda desk: _changed(args, desk.post(path, _own(args))))


def _merge(args: argparse.Namespace) -> int:
    def work(desk: "Client") -> int:
        said = desk.post(f"/companies/{quote(args.id, safe='')}/merge", {"into": args.into})
        if not args.json:
            print(
                f"{args.id} goes on as {args.into}: {said['items']} accounts, sources, headers and"
                f" signatures, {said['resellers']} resellers, {said['blocks']} blocks"
            )
        return _changed(args, said)

    return with_desk(args, work)


def _state(company: dict[str, Any]) -> str:
    into = company["merged_into"]
    return f"merged into {into}" if into else str(company["state"])


def _changed(args: argparse.Namespace, said: dict[str, Any]) -> int:
    if args.json:
        say_json(said)
        return 0
    if not said.get("changed", True):
        print("it has all of that already")
    if said["promoted"]:
        print(f"blocks of a source that are a company's now: {said['promoted']}")
    say_force(said, "in force within 2 seconds")
    return 0
