"""What the demo sets up: a private Redis, a simulated SMSC, a real desk and a real proxy.

Everything lives in one temporary directory and ends with it. The desk has keys and records of its
own there, and fills Redis with the registry that it was given; the proxy reads it. Must not leave
a process or a file behind, however the demo ends, and must say in one line why it cannot begin.
"""

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import quote

from smsfilter.cli.demo import clerk, people, senders
from smsfilter.cli.demo.handset import RESULT
from smsfilter.cli.demo.program import DemoError, Event, Program, succeed
from smsfilter.cli.demo.simulator import HOST, SHORT_CODE, Arrival, Simulator
from smsfilter.rules.policy import Policy
from smsfilter.store import keys
from smsfilter.store.connect import client, parse_url
from smsfilter.store.embedded import EmbeddedError, EmbeddedServer

if TYPE_CHECKING:
    from redis.asyncio import Redis

REPLIES: Final[dict[str, Any]] = {
    "blocked": "Report {id}: this company cannot text you any more. You will hear within 48 hours "
    "what became of it. To take it back, reply: cancel {id}",
    "withdrawn": "Report {id} is taken back, and its block has ended.",
    "repeated": "You have reported this already, as {id}. You will hear within 48 hours.",
    "unmatched": "Report {id}: we look for the sender. You will hear within 48 hours.",
    "ask_number": "Whose text is it? Please reply: NUMBER*text. Report {id}",
    "unknown_id": "We do not find that report. Please check its number.",
    "result": "Report {id} " + RESULT + ": {outcome}. If you do not agree, reply: appeal {id}",
    "outcomes": {
        "upheld": "it was spam",
        "not_spam": "it was no spam",
        "unresolvable": "its sender was not found",
        "referred": "passed on to others",
    },
    "nonsense": "We do not understand. To report a text, send: NUMBER*text",
}
"""What the handset is answered, in the language of the demo."""


class Site:
    """`async with Site(port)`: all of it is up, and afterwards all of it is gone.

    Proxy and SMSC listen on ports that are free where none is given.

    `arrived` is called for each message at the SMSC, in the SMSC's thread, and `refused` with each
    line of the proxy's log that says so; set them to listen. `decided` is called with what the
    clerk, who works from `begin_clerk` to `end_clerk`, says of each case.
    """

    def __init__(self, port: int, smsc_port: int = 0) -> None:
        self.port = port
        self._smsc_port = smsc_port
        self.admin = ""
        self.arrived: Callable[[Arrival], None] = lambda _: None
        self.refused: Callable[[Event], None] = lambda _: None
        self.decided: Callable[[Event], None] = lambda _: None
        self._proxy = Program("proxy", self._heard)
        self._desk = Program("desk", lambda _: None)
        self._clerk = self._program_of_clerk()
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except (OSError, EmbeddedError) as error:
            await self._stack.aclose()
            raise DemoError(str(error)) from error
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def failed(self) -> str:
        """Why one of the programs has ended, if one has."""
        return self._proxy.failed or self._desk.failed or self._clerk.failed

    async def ends(self) -> None:
        """Wait for what should not happen: the end of a program; `failed` says why it did."""
        ends = [asyncio.create_task(program.ends()) for program in self._started()]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()

    async def _start(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="smsfilter-demo-"))
        self._stack.callback(shutil.rmtree, self.directory, ignore_errors=True)
        server = EmbeddedServer(self.directory / "store")
        self.redis_socket = server.socket_path
        self._stack.callback(self._remove_socket_directory)
        await self._stack.enter_async_context(server)
        url = f"unix://{quote(str(self.redis_socket))}"
        self.redis: Redis = client(parse_url(url, self.directory))
        self._stack.push_async_callback(self.redis.aclose)
        for company in senders.APPROVED:
            await self.redis.sadd(keys.approved("", company), "*")
        self.smsc = Simulator(self._arrived, self._smsc_port)
        self.smsc.start()
        self._stack.callback(self.smsc.stop)
        self._write_files(url)
        await self._start_programs()

    def _remove_socket_directory(self) -> None:
        """Of a socket whose path would have been too long, if nobody else has one there."""
        with contextlib.suppress(OSError):
            self.redis_socket.parent.rmdir()

    def _arrived(self, arrival: Arrival) -> None:
        self.arrived(arrival)

    # --- files

    def _write_files(self, redis_url: str) -> None:
        import yaml  # noqa: PLC0415 - start-up of the other commands stays light

        smsc = [f"{HOST}:{self.smsc.port}"]
        config = {
            "proxy": {
                "listen": [f"{HOST}:{self.port}"],
                "smsc": smsc,
                "policy": self.policy_file.name,
                "admin": f"{HOST}:0",
                "timeouts": {"drain": "1s"},
            },
            # A laptop that has other things to do must not make the demo speak of look-ups.
            "redis": {"url": redis_url, "deadline": "1s"},
            "state_dir": str(self.state_dir),
            "desk": {
                "report_centre": {
                    "smsc": smsc,
                    "system_id": SHORT_CODE,
                    "address": SHORT_CODE,
                    "timeouts": {"drain": "1s"},
                },
                "replies": "replies.yaml",
                "listen": f"{HOST}:0",
                "admin": None,
            },
        }
        policy = Policy(refused_destinations=(SHORT_CODE,))
        registry = {"companies": senders.COMPANIES, "resellers": senders.RESELLERS}
        files: dict[Path, Any] = {
            self.config_file: config,
            self.policy_file: policy.model_dump(mode="json", exclude_none=True),
            self.directory / "replies.yaml": REPLIES,
            self.registry_file: registry,
        }
        for path, content in files.items():
            text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
            path.write_text(text, encoding="utf-8")

    @property
    def config_file(self) -> Path:
        """Where the configuration is, of both programs."""
        return self.directory / "smsfilter.yaml"

    @property
    def policy_file(self) -> Path:
        """Where the policy is."""
        return self.directory / "policy.yaml"

    @property
    def registry_file(self) -> Path:
        """Where the companies are that the desk was given."""
        return self.directory / "registry.yaml"

    @property
    def state_dir(self) -> Path:
        """Where the desk has its keys and records, and the proxy what it has decided."""
        return self.directory / "state"

    # --- programs

    async def _start_programs(self) -> None:
        """Return once the proxy listens and knows the companies, and the short code is bound."""
        config = ("-c", str(self.config_file))
        self._stack.push_async_callback(self._stop_programs)
        await self._proxy.start("proxy", *config)  # it comes up while the desk is prepared
        first = people.FIRST
        who = ("--first", first.id, "--name", first.name, "--person", first.number)
        await succeed("desk", "init", *who, *config)
        await self._desk.start("desk", *config)
        listening = await self._proxy.says("listening")
        self.port = int(listening["listen"][0].rpartition(":")[2])
        self.admin = listening["admin"]
        await self._desk.says("listening")
        await people.come_in(self.state_dir, self.directory)
        login = people.login_file(self.directory, people.FIRST)
        await succeed("company", "import", str(self.registry_file), *config, login=login)
        await self._desk.says("centre_bound")
        await self._proxy.says("registry_loaded", companies=len(senders.COMPANIES))
        await self._proxy.says("ready")

    async def begin_clerk(self) -> None:
        """Have the cases answered from now on."""
        login = people.login_file(self.directory, people.CLERK)
        await self._clerk.start(str(self.state_dir), module=clerk.__name__, login=login)

    async def end_clerk(self) -> None:
        """Let the clerk go: each look for a case that is not there would be entered."""
        done, self._clerk = self._clerk, self._program_of_clerk()
        await done.stop()

    async def logged_in(self) -> Path:
        """Have somebody of headquarters log in, and return the login file, for a command."""
        return await people.log_in(self.state_dir, self.directory, people.FIRST)

    def _program_of_clerk(self) -> Program:
        return Program("clerk", self._heard_of_case)

    async def _stop_programs(self) -> None:
        """End them at the same time, so that one that hangs delays nobody."""
        await asyncio.gather(*(program.stop() for program in self._started()))

    def _started(self) -> list[Program]:
        programs = (self._proxy, self._desk, self._clerk)
        return [program for program in programs if program.is_started]

    def _heard_of_case(self, event: Event) -> None:
        self.decided(event)

    def _heard(self, event: Event) -> None:
        if event["event"] == "refused":
            self.refused(event)
