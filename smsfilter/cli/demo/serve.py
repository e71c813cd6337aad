"""`smsfilter demo --serve`: what to try with a client of one's own, and what becomes of it.

Prints a sender, and the commands that block and explain, ready to be copied, with the ports and
paths of this site in them. Then a line for each message: passed, as seen at the simulated SMSC,
or refused, as the proxy's log says.
"""

import asyncio
import shlex
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from smsfilter.cli.demo import senders
from smsfilter.cli.demo.simulator import HOST, Arrival
from smsfilter.log import mask_destination, mask_source
from smsfilter.smpp.const import STATUS_NAMES
from smsfilter.store import keys

if TYPE_CHECKING:
    from smsfilter.cli.demo.site import Site

SENDER: Final = """\
import smpplib.client

client = smpplib.client.Client("{host}", {port}, allow_unknown_opt_params=True)
client.set_error_pdu_handler(lambda pdu: None)  # a refusal is an answer too
client.set_message_sent_handler(lambda pdu: print(f"command_status 0x{{pdu.status:02X}}"))
client.connect()
client.bind_transmitter(system_id="{account}", password="secret")
client.send_message(source_addr="{source}", destination_addr="{to}", short_message=b"Hello")
client.read_once()
client.unbind()
client.disconnect()
"""

INSTRUCTIONS: Final = """\
smsfilter demo is up, until Ctrl-C.

  the proxy        {host}:{port}   bind here, with any password
  simulated SMSC   {host}:{smsc}   takes what the proxy forwards
  Redis            {socket}
  configuration    {config}
  policy           {policy}

  account          sends for                    from
{accounts}

A sender in ten lines of smpplib, to be found in {file}:

{sender}
1. Send a message: it is forwarded, command_status 0x00.
     {send}
2. The customer blocks Acme. It is in force at once.
     {block}
3. Send again: refused, command_status 0x66 (ESME_RX_R_APPN). Why?
     {explain}

To watch the proxy:           {top}
To change policy.yaml:        {reload}
To take the block back:       {unblock}

What happens from now on:
"""


async def serve(site: "Site") -> None:
    """Say how to use the site, then what happens there, until cancelled or the proxy ends."""
    loop = asyncio.get_running_loop()

    def arrived(arrival: Arrival) -> None:  # in the SMSC's thread
        loop.call_soon_threadsafe(_say, _forwarded(arrival))

    site.arrived = arrived
    site.refused = lambda event: _say(_refused(event))
    file = site.directory / "send.py"
    file.write_text(sender(site.port), encoding="utf-8")
    print(instructions(site, file), flush=True)
    await site.proxy_ends()


def sender(port: int) -> str:
    """Give a program that sends one message and prints the answer."""
    road = senders.ROADS[0]
    return SENDER.format(
        host=HOST, port=port, account=road.account, source=road.source, to=senders.REPORTER
    )


def instructions(site: "Site", file: Path) -> str:
    """Give all that one needs to try it."""
    road, socket = senders.ROADS[0], str(site.redis_socket)
    config = str(site.config_file)
    message = ("--account", road.account, "--from", road.source, "--to", senders.REPORTER)
    return INSTRUCTIONS.format(
        host=HOST,
        port=site.port,
        smsc=site.smsc.port,
        socket=socket,
        config=config,
        policy=site.policy_file,
        accounts="\n".join(_accounts()),
        file=file,
        sender=sender(site.port),
        send=shlex.join((sys.executable, str(file))),
        block=redis_command(socket, "SADD"),
        unblock=redis_command(socket, "SREM"),
        explain=_smsfilter("explain", "-c", config, *message),
        top=_smsfilter("top", "--admin", site.admin),
        reload=_smsfilter("reload", "-c", config),
    )


def redis_command(socket: str, command: str) -> str:
    """Give a line for the shell that blocks or unblocks, by what is installed here."""
    words = (command, keys.block("", senders.REPORTER), senders.ACCUSED)
    for client in ("redis-cli", "valkey-cli"):
        if shutil.which(client):
            return shlex.join((client, "-s", socket, *words))
    program = f"import redis; redis.Redis(unix_socket_path={socket!r}).execute_command{words!r}"
    return shlex.join((sys.executable, "-c", program))


def _smsfilter(*arguments: str) -> str:
    """Give a command of smsfilter, called as this one was, but from any directory."""
    called = Path(sys.argv[0]).absolute()
    if called.name != "smsfilter":
        return shlex.join((sys.executable, "-m", "smsfilter", *arguments))
    on_path = shutil.which(called.name) == str(called)
    return shlex.join((called.name if on_path else str(called), *arguments))


def _accounts() -> list[str]:
    rows = [
        (account, company["name"], own_sources(company), key in senders.APPROVED)
        for key, company in senders.COMPANIES.items()
        for account in company["accounts"]
    ]
    lines = [
        f"  {account:<16} {name + ('' if approved else ', not approved'):<28} {sources}"
        for account, name, sources, approved in rows
    ]
    for account, reseller in senders.RESELLERS.items():
        names = [senders.COMPANIES[key]["name"] for key in reseller["may_send_for"]]
        lines.append(f"  {account:<16} {' and '.join(names):<28} theirs")
    return lines


def own_sources(company: dict[str, Any]) -> str:
    """Give a company's sources: numbers, to which digits may be added, and headers."""
    numbers = [f"{number}…" for number in company["sources"]]
    return ", ".join((*numbers, *company.get("headers", ())))


def _forwarded(arrival: Arrival) -> str:
    source, to = mask_source(arrival.source), mask_destination(arrival.destination)
    return f"forwarded  account {arrival.account}, from {source} to {to}"


def _refused(event: dict[str, Any]) -> str:
    status = str(event["status"])
    name = STATUS_NAMES.get(int(status, 16), "")
    return (
        f"refused    account {event['account']}, from {event['source']} to {event['destination']}"
        f": {event['reason']}, {status} {name}"
    )


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)
