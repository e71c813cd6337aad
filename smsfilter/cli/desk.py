"""`smsfilter desk`: run the desk, and what has to be done before it runs for the first time."""

import argparse
import asyncio
import faulthandler
import os
import signal
import sys
from typing import TYPE_CHECKING, Final

from smsfilter.cli import daily, desk_copies, desk_first, desk_keys, today
from smsfilter.cli.run import serve
from smsfilter.cli.steps import os_user, told
from smsfilter.cli.store import add_config

if TYPE_CHECKING:
    from smsfilter.config import Loaded
    from smsfilter.notify import Notify

SWITCH_S: Final = 0.0005
"""How long one thread may keep the others of the desk waiting. Whoever writes gives way at each
statement, and at 5 ms each time would stand behind every clerk who looks."""


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand and its actions."""
    parser = subparsers.add_parser(
        "desk",
        help="run the report centre and the desk",
        description="Run the desk until SIGTERM: it takes the reports of customers, keeps the "
        "records and puts blocks into the index. Logs to stdout.",
    )
    add_config(parser)
    parser.set_defaults(run=run)
    actions = parser.add_subparsers(metavar="ACTION")
    init = actions.add_parser(
        "init",
        help="make keys and records, once",
        description="Make what is missing: the keys under state_dir/keys and the tables of the "
        "records; then the first person of headquarters, who is told the code to enrol by. What is "
        "there is never overwritten.",
    )
    desk_first.add_person(init)
    migrate = actions.add_parser(
        "migrate",
        help="bring the records up to this version",
        description="Change the tables of the records to what this version needs. The desk must "
        "not run meanwhile.",
    )
    for action, work in ((init, _init), (migrate, _migrate)):
        add_config(action)
        action.set_defaults(run=told(work))
    desk_first.add(actions)
    desk_keys.add(actions)
    desk_copies.add(actions)
    today.add(actions)
    daily.add(actions)


def _init(args: argparse.Namespace) -> int:
    from smsfilter.config import load_config  # noqa: PLC0415 - start-up stays light
    from smsfilter.desk.founding import found  # noqa: PLC0415
    from smsfilter.ledger.actor import local  # noqa: PLC0415

    founded = found(load_config(args.config), local(os_user(), "command"))
    for path in founded.made:
        print(f"made {path}")
    begun = "begun" if founded.is_new else "there already"
    print(f"records {begun}: {founded.place}")
    print(f"ledger: chain {founded.chain}, {founded.seq} rows, signed by key {founded.sign_id}")
    if founded.made:
        print("keep a copy of the keys apart from the records: smsfilter desk key export FILE")
    return desk_first.make(args)


def _migrate(args: argparse.Namespace) -> int:
    from smsfilter.config import load_config  # noqa: PLC0415
    from smsfilter.desk import office  # noqa: PLC0415

    config = load_config(args.config)
    office.prepare(config)
    print(f"{office.records_of(config).place} is of this version")
    return 0


def run(args: argparse.Namespace) -> int:
    """Run the desk; 1 when it cannot start."""
    from smsfilter import log  # noqa: PLC0415 - start-up of the other commands stays light
    from smsfilter.config import load  # noqa: PLC0415
    from smsfilter.desk.service import StartError  # noqa: PLC0415
    from smsfilter.notify import Notify  # noqa: PLC0415

    loaded = load(args.config)
    faulthandler.enable()  # the service manager ends a hung loop with SIGABRT: say where
    notify = Notify()
    writer = log.configure(loaded.config.log.format, loaded.config.log.level)
    try:
        sys.setswitchinterval(SWITCH_S)
        return asyncio.run(_main(loaded, notify))
    except StartError as error:
        print(f"smsfilter desk: {error}", file=sys.stderr)
        return 1
    finally:
        notify.close()
        writer.close()


async def _main(loaded: "Loaded", notify: "Notify") -> int:
    from smsfilter import __version__, log  # noqa: PLC0415
    from smsfilter.cases.room import CaseRoom  # noqa: PLC0415
    from smsfilter.desk.proof_room import ProofRoom  # noqa: PLC0415
    from smsfilter.desk.service import Service  # noqa: PLC0415
    from smsfilter.reports.room import ReportRoom  # noqa: PLC0415
    from smsfilter.staff.room import StaffRoom  # noqa: PLC0415
    from smsfilter.watchdog import Watchdog  # noqa: PLC0415

    loop = asyncio.get_running_loop()
    stop, reload = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, reload.set)
    log.get().info("started", version=__version__, pid=os.getpid(), program="desk")
    service = Service(loaded, StaffRoom, [ProofRoom, ReportRoom, CaseRoom], notify)
    watchdog = Watchdog(service.heartbeat)
    try:
        await service.start()
        watchdog.start()
        notify.ready("taking reports")
        await serve(service.reload, stop, reload)
        notify.stopping()
    finally:
        watchdog.stop()
        await service.stop()
    return 0
