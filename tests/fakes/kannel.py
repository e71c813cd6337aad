"""Kannel as an ESME: bearerbox binds to the SMSC, smsbox takes messages over HTTP.

Messages go in by `sendsms`; what Kannel saw of each comes back as calls of the dlr-url, which this
class serves: type 8 the SMSC accepted it, 16 the SMSC refused it (with the status), 1 it was
delivered. The status that Kannel read on the wire is in bearerbox's own log too. Kannel binds
again by itself, one second after a connection ended.
"""

import asyncio
import contextlib
import http.client
import re
import shutil
import urllib.parse
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import NamedTuple, Self

from tests.fakes.changes import Changes
from tests.fakes.peer import SCRIPTS, START_TIMEOUT_S, TRAFFIC_TIMEOUT_S, PeerMissingError
from tests.fakes.process import Program, free_port

ACCEPTED, REFUSED, DELIVERED = 8, 16, 1


class Report(NamedTuple):
    """One call of the dlr-url."""

    kind: int
    destination: str
    answer: str
    """What the SMSC said, as Kannel puts it: `NACK/102/…`, or the text of a receipt."""


def kannel_binary(name: str) -> str:
    """The path of bearerbox or smsbox, which Debian keeps in sbin."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise PeerMissingError(f"{name} of Kannel is not installed")
    return found


class Kannel:
    """A bearerbox and its smsbox."""

    def __init__(self) -> None:
        self.changes = Changes()
        self.reports: list[Report] = []
        self.lines: list[str] = []
        """The log of bearerbox and smsbox."""
        self.bearerbox = Program(self.changes, self.lines.append)
        self.smsbox = Program(self.changes, self.lines.append)
        self._server: asyncio.Server | None = None
        self._sendsms_port = 0
        self._dlr_url = ""

    @classmethod
    async def start(cls, directory: Path, smsc_port: int, system_id: str, window: int) -> Self:
        """Start both boxes; bearerbox binds at once."""
        programs = kannel_binary("bearerbox"), kannel_binary("smsbox")
        kannel = cls()
        await kannel._serve()
        ports = {name: free_port() for name in ("admin_port", "smsbox_port", "sendsms_port")}
        kannel._sendsms_port = ports["sendsms_port"]
        config = directory / "kannel.conf"
        template = Template((SCRIPTS / "kannel.conf").read_text())
        config.write_text(
            template.substitute(ports, smsc_port=smsc_port, system_id=system_id, window=window)
        )
        boxes = (kannel.bearerbox, kannel.smsbox)
        signs = ("MAIN: Start-up done", "Connected to bearerbox")
        for box, binary, sign in zip(boxes, programs, signs, strict=True):
            await box.start([binary, str(config)], cwd=directory)
            await kannel.wait_for_line(sign, timeout_s=START_TIMEOUT_S)
        return kannel

    async def _serve(self) -> None:
        self._server = await asyncio.start_server(self._take_reports, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self._dlr_url = f"http://127.0.0.1:{port}/?kind=%d&to=%p&answer=%A"

    async def _take_reports(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                query = urllib.parse.urlsplit(head.split(b" ", 2)[1].decode()).query
                said = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
                self.reports.append(Report(int(said["kind"]), said["to"], said["answer"]))
                self.changes.notify()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async def send(self, source: str, destinations: Sequence[str]) -> None:
        """Hand messages to smsbox, one request each."""

        def send_all() -> None:
            with contextlib.closing(
                http.client.HTTPConnection("127.0.0.1", self._sendsms_port, timeout=10)
            ) as connection:
                for number, destination in enumerate(destinations, 1):
                    query = urllib.parse.urlencode(
                        {
                            "username": "tester",
                            "password": "secret",
                            "from": source,
                            "to": destination,
                            "text": f"hello {number}",
                            "dlr-mask": 31,
                            "dlr-url": self._dlr_url,
                        }
                    )
                    connection.request("GET", f"/cgi-bin/sendsms?{query}")
                    response = connection.getresponse()
                    body = response.read()
                    assert response.status == 202, (response.status, body)

        await asyncio.to_thread(send_all)

    def reported(self, kind: int) -> list[Report]:
        """The reports of one kind."""
        return [report for report in self.reports if report.kind == kind]

    async def wait_reports(self, kind: int, count: int) -> list[Report]:
        """Wait until Kannel has reported this `count` times."""
        return await self.changes.until(
            lambda: found if len(found := self.reported(kind)) >= count else [],
            lambda: f"{count} reports {kind}, not {len(self.reported(kind))}: {self.story()}",
            TRAFFIC_TIMEOUT_S,
        )

    async def wait_for_line(
        self, pattern: str, count: int = 1, timeout_s: float = TRAFFIC_TIMEOUT_S
    ) -> list[str]:
        """Wait until `count` lines of the boxes' logs match."""
        expression = re.compile(pattern)

        def found() -> list[str]:
            lines = [line for line in self._all_lines() if expression.search(line)]
            return lines if len(lines) >= count else []

        return await self.changes.until(
            found, lambda: f"{count} × {pattern!r} in Kannel's log: {self.story()}", timeout_s
        )

    def _all_lines(self) -> list[str]:
        return [*self.lines, *self.bearerbox.stderr, *self.smsbox.stderr]

    def statuses(self) -> list[int]:
        """The statuses of refused submits, as bearerbox logged them."""
        found = (re.search(r"error code 0x([0-9a-f]+)", line) for line in self._all_lines())
        return [int(match[1], 16) for match in found if match]

    def story(self) -> str:
        """The last of what it said."""
        lines = [line for line in self._all_lines() if "DEBUG" not in line]
        return "\n".join(["", *map(str, self.reports[-5:]), *lines[-20:]])

    async def close(self) -> None:
        """End both boxes."""
        for box in (self.smsbox, self.bearerbox):
            await box.close()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
