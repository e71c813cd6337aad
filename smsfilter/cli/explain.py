"""`smsfilter explain`: why a message would pass or not.

Asks the live Redis, or, with `--registry`, answers the gate's questions from what is given on the
command line. The reading, the questions and the verdict are the gate's own (proxy/explain.py).
"""

import argparse
import asyncio
import json
import os
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smsfilter.cli.store import add_config

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from smsfilter.config import Config
    from smsfilter.proxy.explain import Ask, Command, Explanation
    from smsfilter.rules.judge import Decision
    from smsfilter.rules.policy import Policy
    from smsfilter.rules.senders import RegistryFile


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "explain",
        help="say why a message would pass or not",
        description="Say what the proxy would do with a message, and why: each rule, what it "
        "looked up, and the verdict. Exit status 0: it would pass, 1: it would be refused.",
    )
    add_config(parser)
    parser.add_argument("--account", "-a", metavar="SYSTEM_ID", type=_name, required=True)
    parser.add_argument("--from", dest="source", metavar="SOURCE", default="", help="source_addr")
    parser.add_argument("--to", dest="destination", metavar="NUMBER", help="destination_addr")
    parser.add_argument("--text", default="", help="the text; its signature counts")
    parser.add_argument("--schedule", metavar="TIME", default="", help="schedule_delivery_time")
    parser.add_argument("--pdu", metavar="HEX", help="a whole PDU in place of --from and --to")
    parser.add_argument("--at", metavar="TIME", type=_time, help="ISO 8601; now, if not given")
    offline = parser.add_argument_group("offline, without Redis")
    offline.add_argument("--registry", metavar="FILE", help="the registry to go by")
    offline.add_argument(
        "--blocked", metavar="MEMBER", nargs="*", help="what the customer has blocked: acme, *, …"
    )
    offline.add_argument(
        "--approved", metavar="MEMBER", nargs="*", help="what the company is approved for: *, …"
    )
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Explain one message."""
    from smsfilter.config import load  # noqa: PLC0415 - start-up stays light
    from smsfilter.smpp.errors import PDUError  # noqa: PLC0415
    from smsfilter.store.connect import Unreachable  # noqa: PLC0415

    if args.destination is None and args.pdu is None:
        print("smsfilter explain: --to or --pdu is needed", file=sys.stderr)
        return 2
    if args.registry is None and (args.blocked is not None or args.approved is not None):
        print("smsfilter explain: --blocked and --approved go with --registry", file=sys.stderr)
        return 2
    loaded = load(args.config)
    try:
        octets = bytes.fromhex(args.pdu) if args.pdu else _submit_sm(args)
        found = asyncio.run(_explain(args, loaded.config, loaded.policy, octets))
    except (PDUError, Unreachable, ValueError) as error:
        if type(error).__name__ == "ConfigError":
            raise
        print(f"smsfilter explain: {error}", file=sys.stderr)
        return 1
    print(json.dumps(_plain(found), ensure_ascii=False) if args.json else _told(found, args))
    return 1 if any(each.reason for each in (found.decision, *_each(found))) else 0


def _time(text: str) -> float:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError("not a time such as 2026-11-24T10:00+08:00") from None
    return at.timestamp()


def _name(text: str) -> str:
    """The name that the proxy has for a system_id of these octets, in its log as well."""
    return os.fsencode(text).decode("latin-1")


def _submit_sm(args: argparse.Namespace) -> bytes:
    """The submit_sm that the command line describes."""
    from smsfilter.smpp.const import SUBMIT_SM  # noqa: PLC0415
    from smsfilter.smpp.pdu import PDU, build  # noqa: PLC0415

    fields: dict[str, Any] = {
        "source_addr": args.source.encode(),
        "destination_addr": args.destination.encode(),
        "schedule_delivery_time": args.schedule.encode(),
        "data_coding": 8,
        "short_message": args.text.encode("utf-16-be")[:254],
    }
    return build(PDU(SUBMIT_SM, 0, 1, fields))


async def _explain(
    args: argparse.Namespace, config: "Config", policy: "Policy", octets: bytes
) -> "Explanation":
    from time import time  # noqa: PLC0415

    from smsfilter.config import load_yaml  # noqa: PLC0415
    from smsfilter.proxy.explain import explain  # noqa: PLC0415
    from smsfilter.rules.senders import RegistryFile  # noqa: PLC0415
    from smsfilter.store import registry  # noqa: PLC0415
    from smsfilter.store.connect import connected, parse_url  # noqa: PLC0415

    now, prefix = args.at or time(), config.redis.prefix
    if args.registry is not None:
        judge = _judge(policy, load_yaml(Path(args.registry), RegistryFile))
        ask = _offline(args.blocked or [], args.approved or [])
        return await explain(octets, args.account, judge, ask, now, prefix=prefix)
    address = parse_url(config.redis.url, config.state_dir, config.redis.password())
    async with connected(address) as redis:
        loaded = await registry.load(redis, prefix)
        judge = _judge(policy, loaded[1] if loaded else None)
        ask = _live(redis, prefix)
        return await explain(octets, args.account, judge, ask, now, prefix=prefix)


def _judge(policy: "Policy", content: "RegistryFile | None") -> Any:
    from zoneinfo import ZoneInfo  # noqa: PLC0415

    from smsfilter.rules.judge import Judge  # noqa: PLC0415
    from smsfilter.rules.senders import Registry  # noqa: PLC0415

    return Judge(policy, Registry(content, ZoneInfo(policy.timezone)) if content else None)


def _offline(blocked: list[str], approved: list[str]) -> "Ask":
    """Answer from the command line: every customer has blocked `blocked`."""

    async def ask(commands: "list[Command]") -> list[object]:
        replies: list[object] = []
        for _, key, *members in commands:
            held = blocked if b"block:{" in key else approved
            replies.append([int(member.decode() in held) for member in members])
        return replies

    return ask


def _live(redis: "Redis", prefix: str) -> "Ask":
    """Ask Redis as the proxy does, the epoch before and after."""
    from smsfilter.store import keys  # noqa: PLC0415
    from smsfilter.store.epoch import EpochGuard  # noqa: PLC0415

    async def ask(commands: "list[Command]") -> list[object] | None:
        async with redis.pipeline(transaction=False) as pipe:
            pipe.get(prefix + keys.EPOCH)
            for command in commands:
                pipe.execute_command(*command)
            pipe.get(prefix + keys.EPOCH)
            first, *replies, last = await pipe.execute(raise_on_error=False)
        guard = EpochGuard()
        if not guard.trusted(first, last):
            print(f"smsfilter explain: the index is not trusted: {guard.why}", file=sys.stderr)
            return None
        return replies

    return ask


def _each(found: "Explanation") -> "list[Decision]":
    """The verdict on each destination."""
    return [entry.decision for entry in found.entries]


def _plain(found: "Explanation") -> dict[str, Any]:
    decision, line = found.decision, found.line
    return {
        "verdict": decision.kind,
        "reason": decision.reason,
        "rule": decision.rule or None,
        "command_status": decision.command_status,
        "account": line.account if line else None,
        "company": line.company if line else None,
        "source": line.source if line else None,
        "matched": line.sender.matched if line and line.sender else None,
        "destinations": [
            {
                "readings": None if readings is None else [each.decode() for each in readings],
                "verdict": own.kind,
                "reason": own.reason,
                "rule": own.rule or None,
                "command_status": own.command_status,
                "rules": [step._asdict() for step in own.steps],
            }
            for readings, own in found.entries
        ],
        "asked": [
            {"command": [word.decode() for word in command], "reply": _reply(reply)}
            for command, reply in found.asked
        ],
    }


def _reply(reply: object) -> object:
    return reply if isinstance(reply, list | None) else str(reply)


def _told(found: "Explanation", args: argparse.Namespace) -> str:
    """The explanation for people."""
    line = found.line
    lines = [_verdict(found.decision)]
    if line is not None:
        matched = line.sender.matched if line.sender else None
        by = f", found by {matched}" if matched else ""
        lines += [
            "",
            f"  account      {args.account}",
            f"  company      {line.company or 'not known'}",
            f"  source       {line.source or 'none'}{by}",
        ]
    for readings, decision in found.entries:
        lines.append(f"  destination  {_destination(readings)}")
        if len(found.entries) > 1:
            lines.append(f"    {_verdict(decision)}")
    if len(found.entries) == 1:
        steps = found.entries[0].decision.steps
        width = max(len(step.rule) for step in steps)
        lines += ["", "rules, in order"]
        lines += [
            f"  {step.rule:<{width}}  {step.effect:<7} {step.reason or ''}".rstrip()
            for step in steps
        ]
    if found.asked:
        lines += ["", "looked up"]
        lines += [f"  {_question(command, reply)}" for command, reply in found.asked]
    return "\n".join(lines)


def _verdict(decision: "Decision") -> str:
    from smsfilter.smpp.const import STATUS_NAMES  # noqa: PLC0415

    if decision.reason is None:
        return "would pass"
    status = decision.command_status
    name = STATUS_NAMES.get(status, "vendor status")
    kind = decision.kind.removeprefix("refuse_")
    rule = f", by rule {decision.rule}" if decision.rule else ""
    return f"would be refused: {decision.reason} ({kind}, {name} 0x{status:02X}){rule}"


def _destination(readings: tuple[bytes, ...] | None) -> str:
    if readings is None:
        return "a distribution list"
    return ", ".join(reading.decode() for reading in readings) or "cannot be read"


def _question(command: "Command", reply: object) -> str:
    name, key, *members = (word.decode() for word in command)
    if not isinstance(reply, list):
        return f"{name} {key} {' '.join(members)}: {reply or 'not answered'}"
    found = [member for member, held in zip(members, reply, strict=True) if held]
    return f"{name} {key} {' '.join(members)}: {' '.join(found) or 'none of them'}"
