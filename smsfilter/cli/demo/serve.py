"""`smsfilter demo --serve`: what to try with a client of one's own, and what becomes of it.

Prints a sender that is a handset as well, and the commands that report, explain and prove, ready to
be copied, with the ports and paths of this site in them. Then a line for each message: passed or
texted, as seen at the simulated SMSC, or refused, as the proxy's log says.
"""

import asyncio
import shlex
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from smsfilter.cli.demo import people, senders
from smsfilter.cli.demo.handset import shown_by
from smsfilter.cli.demo.simulator import HOST, SHORT_CODE, Arrival
from smsfilter.cli.printable import printable
from smsfilter.log import mask_destination, mask_source
from smsfilter.smpp.const import STATUS_NAMES

if TYPE_CHECKING:
    from smsfilter.cli.demo.site import Site

SENDER: Final = """\
import sys
import smpplib.client

port, account, source, to, text = sys.argv[1:]
client = smpplib.client.Client("{host}", int(port), allow_unknown_opt_params=True)
client.set_error_pdu_handler(lambda pdu: None)  # a refusal is an answer too
client.set_message_sent_handler(lambda pdu: print(f"command_status 0x{{pdu.status:02X}}"))
client.connect()
client.bind_transmitter(system_id=account, password="secret")
client.send_message(source_addr=source, destination_addr=to, short_message=text.encode())
client.read_once()
client.unbind()
client.disconnect()
"""

INSTRUCTIONS: Final = """\
smsfilter demo is up, until Ctrl-C.

  the proxy        {host}:{port}   bind here, with any password
  simulated SMSC   {host}:{smsc}   takes what the proxy forwards, and what handsets send
  Redis            {socket}
  configuration    {config}
  policy           {policy}

  account          sends for                    from
{accounts}

A sender in a dozen lines of smpplib, to be found in {file}:

{sender}
1. Send a message: it is forwarded, command_status 0x00.
     {send}
2. The customer, a handset at the SMSC, texts it to {short_code}. The answer comes by SMS.
     {report}
3. Send again: refused, command_status 0x66 (ESME_RX_R_APPN). Why?
     {explain}
4. A clerk looks into it: {clerk}, whose password in this demo is: {password}
     {login}
     {next}
     {take}
     {decide}
   The customer is told by SMS.
5. The customer takes the report back. Send again: forwarded.
     {take_back}

Headquarters ({first}, {second}) has the same password in this demo:
                              {login_first}
To read what was done:        {show}
To prove that it was:         {verify}
To see the day:               {today}
To log out:                   {logout}

To watch the proxy:           {top}
To change policy.yaml:        {reload}

What happens from now on:
"""


async def serve(site: "Site") -> None:
    """Say how to use the site, then what happens there, until cancelled or a program ends."""
    loop = asyncio.get_running_loop()

    def arrived(arrival: Arrival) -> None:  # in the SMSC's thread
        loop.call_soon_threadsafe(_say, _at_smsc(arrival))

    site.arrived = arrived
    site.refused = lambda event: _say(_refused(event))
    file = site.directory / "send.py"
    file.write_text(SENDER.format(host=HOST), encoding="utf-8")
    print(instructions(site, file), flush=True)
    await site.ends()


def instructions(site: "Site", file: Path) -> str:
    """Give all that one needs to try it."""
    road, config = senders.ROADS[0], str(site.config_file)
    message = ("--account", road.account, "--from", road.source, "--to", senders.REPORTER)
    program = (sys.executable, str(file))
    customer = (*program, str(site.smsc.port), "handset", senders.REPORTER, SHORT_CODE)
    key = str(site.state_dir / "keys" / "ledger.pub")
    export = _smsfilter("audit", "export", "-", "-c", config)
    return INSTRUCTIONS.format(
        host=HOST,
        port=site.port,
        smsc=site.smsc.port,
        short_code=SHORT_CODE,
        socket=site.redis_socket,
        config=config,
        policy=site.policy_file,
        accounts="\n".join(_accounts()),
        file=file,
        sender=SENDER.format(host=HOST),
        send=shlex.join(
            (*program, str(site.port), road.account, road.source, senders.REPORTER, "Hello")
        ),
        report=shlex.join((*customer, f"{road.source}*Hello")),
        take_back=shlex.join((*customer, "cancel")),
        clerk=f"{people.CLERK.id}, {people.CLERK.name}",
        first=people.FIRST.id,
        second=people.SECOND.id,
        login_first=_smsfilter("login", people.FIRST.id, "-c", config),
        password=people.PASSWORD,
        login=_smsfilter("login", people.CLERK.id, "-c", config),
        next=_smsfilter("case", "next", "-c", config),
        take=_smsfilter("case", "take", "1", "-c", config),
        decide=_smsfilter(
            *("case", "decide", "1", "--outcome", "upheld", "--why", "it came from Acme"),
            *("--reply", "-c", config),
        ),
        today=_smsfilter("desk", "today", "-c", config),
        logout=_smsfilter("logout", "-c", config),
        explain=_smsfilter("explain", "-c", config, *message),
        show=_smsfilter("audit", "show", "-c", config),
        verify=f"{export} | {_smsfilter('audit', 'verify', '-', '--key', key)}",
        top=_smsfilter("top", "--admin", site.admin),
        reload=_smsfilter("reload", "-c", config),
    )


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


def _at_smsc(arrival: Arrival) -> str:
    """Say what has come to the SMSC: through the proxy, from a handset or from the desk."""
    source, to = mask_source(arrival.source), mask_destination(arrival.destination)
    if arrival.destination == SHORT_CODE.encode():
        return f"texted     {source} to {SHORT_CODE}: {shown_by(arrival).text}"
    if arrival.account == SHORT_CODE:
        return f"answered   {to}: {shown_by(arrival).text}"
    return f"forwarded  account {arrival.account}, from {source} to {to}"


def _refused(event: dict[str, Any]) -> str:
    status = str(event["status"])
    name = STATUS_NAMES.get(int(status, 16), "")
    return (
        f"refused    account {event['account']}, from {event['source']} to {event['destination']}"
        f": {event['reason']}, {status} {name}"
    )


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {printable(text)}", flush=True)
