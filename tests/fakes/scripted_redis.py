"""A Redis that misbehaves on demand: it stands before a real one and has the last word.

Every command is shown to `script` first, which may answer it with any octets, right or wrong;
what it leaves alone the real server answers. Connections may be held up, made deaf, cut, refused,
or told things nobody asked for. One command after the other, as Redis does; not made for speed.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Self

import hiredis

from tests.fakes.changes import Changes
from tests.fakes.redis_server import RedisServer

Command = list[bytes]
Script = Callable[[Command], bytes | None]


def honest(_command: Command) -> bytes | None:
    """Leave everything to the real server."""
    return None


class ScriptedRedis:
    """Listens on a port of its own. Its attributes are its script."""

    def __init__(self, behind: RedisServer) -> None:
        self.changes = Changes()
        self.script: Script = honest
        """The octets to answer a command with, or None to have it answered by the real server."""
        self.delay_s = 0.0
        """How long the answers to what came together are held up."""
        self.piece = 0
        """Send answers in pieces of that many octets, each as a segment of its own."""
        self.refusing = False
        """Close every connection as soon as it is made."""
        self.connections = 0
        """How many connections were made in all."""
        self._behind = behind
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._hearing = asyncio.Event()
        self._hearing.set()
        self._server: asyncio.Server | None = None

    @classmethod
    async def start(cls, behind: RedisServer) -> Self:
        """Listen on 127.0.0.1."""
        redis = cls(behind)
        redis._server = await asyncio.start_server(redis._serve, "127.0.0.1", 0)
        return redis

    @property
    def port(self) -> int:
        """The port it listens on."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """Where to find it."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def open(self) -> int:
        """How many connections stand."""
        return len(self._writers)

    def deafen(self) -> None:
        """Take and say nothing from now on: packets are lost, connections stand."""
        self._hearing.clear()

    def hear(self) -> None:
        """Take up where it was left."""
        self._hearing.set()

    def say(self, octets: bytes) -> None:
        """Send octets that nobody asked for on every connection."""
        for writer in self._writers:
            writer.write(octets)

    def cut(self) -> None:
        """Break every connection."""
        for writer in self._writers:
            writer.transport.abort()

    async def stop(self) -> None:
        """Close everything."""
        if self._server is not None:
            self._server.close()
        self.cut()
        self.hear()
        await asyncio.gather(*self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        self.changes.notify()
        if self.refusing:
            writer.close()
            return
        self._writers.add(writer)
        try:
            with contextlib.suppress(OSError, EOFError, hiredis.HiredisError):
                await self._converse(reader, writer)
        finally:
            self._writers.discard(writer)
            writer.transport.abort()
            self.changes.notify()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = str(self._behind.socket_path)
        behind_reader, behind_writer = await asyncio.open_unix_connection(path)
        commands = hiredis.Reader()
        try:
            while data := await reader.read(1 << 16):
                await self._hearing.wait()
                commands.feed(data)
                answers = []
                while (command := commands.gets()) is not False:
                    answers.append(self.script(command))
                    if answers[-1] is None:
                        behind_writer.write(hiredis.pack_command(tuple(command)))
                        answers[-1] = await _reply(behind_reader)
                await asyncio.sleep(self.delay_s)
                await self._hearing.wait()
                await self._send(writer, b"".join(filter(None, answers)))
        finally:
            behind_writer.close()

    async def _send(self, writer: asyncio.StreamWriter, octets: bytes) -> None:
        piece = self.piece or len(octets) or 1
        for at in range(0, len(octets), piece):
            writer.write(octets[at : at + piece])
            await asyncio.sleep(0)


async def _reply(reader: asyncio.StreamReader) -> bytes:
    """One reply of the real server, octet for octet."""
    line = await reader.readuntil(b"\r\n")
    kind, count = line[:1], line[1:-2]
    if kind == b"$" and count != b"-1":
        return line + await reader.readexactly(int(count) + 2)
    if kind == b"*" and count != b"-1":
        return line + b"".join([await _reply(reader) for _ in range(int(count))])
    return line
