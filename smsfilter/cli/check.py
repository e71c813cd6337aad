"""`smsfilter check`: what is wrong with the files, and what is legal but weakens them.

The files are read by the function that the proxy uses at start and at reload, so that its verdict
is theirs. What is wrong is an error and makes the exit status 1; what lets messages pass that the
rules would refuse, or makes senders send again what was refused for good, is a warning and does
not. Certificates and the desk are looked at too (`check_tls`, `check_desk`). `--live` also asks
Redis, the SMSC and the records (`live`).
"""

import argparse
import shutil
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from smsfilter.cli.store import add_config

if TYPE_CHECKING:
    from smsfilter.config import Config, Document, Loaded, Place
    from smsfilter.rules.policy import Policy

RETRIED: Final = frozenset({0x14, 0x45, 0x58, 0x61, 0x64})
"""What some senders send again: RMSGQFUL, RSUBMITFAIL, RTHROTTLED, RINVSCHED, RX_T_APPN."""
RETRIED_FROM: Final = 0x400
"""Vendor statuses (SMPP v3.4 §5.1.3): some senders retry all of them."""
TEMPORARY: Final = frozenset({0x08, 0x14, 0x58, 0x64})
"""What senders do send again."""

RULE_TYPES: Final = {
    "source": "accounts may send from sources of other companies",
    "block": "customers' blocks have no effect",
    "approval": "companies without approval may send to groups",
    "scheduled": "a scheduled message outlives a later block",
    "replace": "replace_sm may change what was judged",
    "signature": "a text may be signed with another company's name",
    "lists": "submit_multi may name distribution lists, whose members nobody looks up",
}
"""Each type of rule, and what its absence means."""

Caution = tuple["Place", str]


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "check",
        help="say what is wrong with the configuration and the policy",
        description="Read the configuration and the policy as the proxy would, and print all that "
        "is wrong with them. Warnings leave the exit status at 0.",
    )
    add_config(parser)
    parser.add_argument(
        "--rate",
        type=int,
        default=50,
        metavar="N",
        help="messages a second, around the clock, by which disk is reckoned (default: 50)",
    )
    parser.add_argument(
        "--live", action="store_true", help="also ask Redis, the SMSC and the records"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Check and report."""
    from smsfilter.cli import check_desk, check_tls  # noqa: PLC0415 - start-up stays light
    from smsfilter.config import load  # noqa: PLC0415

    loaded = load(args.config)
    checked_url(loaded)
    check_desk.refuse(loaded)
    check_tls.refuse_expired(loaded)
    found = (*cautions(loaded), *check_tls.cautions(loaded), *check_desk.cautions(loaded))
    for place, message in found:
        print(f"{place}: warning: {message}", file=sys.stderr)
    print(f"{loaded.config_file.file}: ok")
    print(f"{loaded.policy_file.file}: ok, {summary(loaded.policy)}")
    if loaded.config.decisions.record:
        print(disk(loaded.config, args.rate))
    if not args.live:
        return 0
    from smsfilter.cli import live  # noqa: PLC0415

    return live.run(loaded, args.config)


def checked_url(loaded: "Loaded") -> None:
    """Raise ConfigError where the Redis of the configuration cannot be what its URL says."""
    from smsfilter.config import ConfigError  # noqa: PLC0415
    from smsfilter.store.address import parse_url  # noqa: PLC0415

    redis = loaded.config.redis
    try:
        parse_url(redis.url, loaded.config.state_dir, redis.password())
    except ValueError as error:
        raise ConfigError.at(loaded.config_file.place(("redis", "url")), str(error)) from None


def summary(policy: "Policy") -> str:
    """Say a policy in a line."""
    rules = ", ".join(f"{rule.id} {rule.mode}" for rule in policy.rules) or "none"
    return (
        f"policy {policy.version_hash()}, mode {policy.mode}, rules: {rules}; "
        f"{len(policy.accounts)} accounts with settings of their own"
    )


def disk(config: "Config", rate: int) -> str:
    """Say what the decision records need, at `rate` messages a second."""
    from smsfilter.decisions.layout import OCTETS_KEPT  # noqa: PLC0415 - start-up stays light

    keep = config.decisions.keep
    needed = OCTETS_KEPT * rate * keep.total_seconds() / 1e9
    folder = next(one for one in (config.state_dir, *config.state_dir.parents) if one.exists())
    free = shutil.disk_usage(folder).free / 1e9
    return (
        f"decision records: {needed:,.1f} GB for {rate} messages a second, kept for "
        f"{keep.total_seconds() / 86400:g} days; {free:,.1f} GB are free at {folder}"
    )


def cautions(loaded: "Loaded") -> Iterator[Caution]:
    """Name what is legal and yet seldom meant."""
    yield from _weakened(loaded.policy, loaded.policy_file)
    yield from _statuses(loaded.policy, loaded.policy_file)
    yield from _surroundings(loaded)


def _weakened(policy: "Policy", file: "Document") -> Iterator[Caution]:
    from smsfilter.rules.policy import Mode, OnError  # noqa: PLC0415

    if policy.mode is Mode.SHADOW:
        yield file.place(("mode",)), "mode is shadow: nothing is refused, only counted"
    if policy.unknown == "account":
        yield file.place(("unknown",)), "unknown is account: whoever is not registered may send"
    if not policy.refused_destinations:
        yield (
            file.place(("refused_destinations",)),
            "no refused_destinations: senders may write to the short code of the report centre; "
            'write such as refused_destinations: ["10086999"]',
        )
    for index, rule in enumerate(policy.rules):
        if rule.mode is not Mode.ENFORCE:
            place = file.place(("rules", index, "mode"))
            yield place, f"rule '{rule.id}' refuses nothing: its mode is {rule.mode}"
        elif rule.on_error is OnError.PASS:
            yield (
                file.place(("rules", index, "on_error")),
                f"rule '{rule.id}' lets messages pass unchecked while Redis is away; "
                "let smsfilter_policy_bypassed_total alarm",
            )
    present = {rule.type for rule in policy.rules}
    for name, consequence in RULE_TYPES.items():
        if name not in present:
            yield file.place(("rules",)), f"no rule of type {name}: {consequence}"
    for account, own in policy.accounts.items():
        if own.mode is Mode.SHADOW:
            place = file.place(("accounts", account, "mode"))
            yield place, f"nothing is refused to account '{account}': its mode is shadow"


def _statuses(policy: "Policy", file: "Document") -> Iterator[Caution]:
    from smsfilter.rules.verdict import ANSWERS, Kind  # noqa: PLC0415

    for index, rule in enumerate(policy.rules):
        if rule.status is not None:
            place = file.place(("rules", index, "status"))
            yield from _retried(
                place, rule.status, what=rule.id, scheduled=rule.type == "scheduled"
            )
    for account, own in policy.accounts.items():
        for reason, status in own.status.items():
            place = file.place(("accounts", account, "status", reason))
            if ANSWERS[reason].kind is Kind.PERMANENT:
                scheduled = reason == "scheduled_not_allowed"
                yield from _retried(place, status, what=reason, scheduled=scheduled)
            elif status not in TEMPORARY:
                yield (
                    place,
                    f"{_named(status)} is final for senders, and {reason} is only temporary: they "
                    "drop messages that would have passed; use ESME_RTHROTTLED",
                )


def _retried(place: "Place", status: int, *, what: str, scheduled: bool) -> Iterator[Caution]:
    if (status in RETRIED and not (scheduled and status == 0x61)) or status >= RETRIED_FROM:
        yield (
            place,
            f"{_named(status)} makes some senders send again what '{what}' refuses for good; "
            "0x0A, 0x0B and 0x66 are final for all",
        )


def _named(status: int) -> str:
    from smsfilter.smpp.const import STATUS_NAMES  # noqa: PLC0415

    name = STATUS_NAMES.get(status)
    return f"0x{status:02X} {name}" if name else f"0x{status:02X}"


def _surroundings(loaded: "Loaded") -> Iterator[Caution]:
    from smsfilter.proxy.listener import too_few_descriptors  # noqa: PLC0415 - start-up stays light

    config, file = loaded.config, loaded.config_file
    if config.redis.url.startswith("embedded:"):
        yield (
            file.place(("redis", "url")),
            "embedded: is a private server to try things out; use a Redis of its own in service",
        )
    if not config.decisions.record:
        yield (
            file.place(("decisions", "record")),
            "no decision records: it cannot be shown what was forwarded and what was not",
        )
    sessions = config.proxy.limits.sessions
    few = too_few_descriptors(sessions)
    if few is not None:
        needed, allowed = few
        yield (
            file.place(("proxy", "limits", "sessions")),
            f"{sessions} sessions need {needed} file descriptors, and {allowed} are allowed here; "
            f"raise the limit (LimitNOFILE={needed} in the systemd unit, `ulimit -n {needed}` in a "
            "shell) or lower proxy.limits.sessions",
        )
