"""`smsfilter proxy`: start, main loop, shut-down.

Signals only set events. SIGTERM drains and exits with 0; a second one, or SIGINT, ends at once;
SIGHUP reads the policy and the certificates anew.
"""

import argparse
import asyncio
import contextlib
import faulthandler
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smsfilter.cli.reload import PID_FILE
from smsfilter.cli.store import add_config

if TYPE_CHECKING:
    from smsfilter.config import Loaded
    from smsfilter.log import Writer
    from smsfilter.notify import Notify


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "proxy",
        help="run the SMPP proxy",
        description="Run the proxy between the SMSC and its senders until SIGTERM. Logs to stdout.",
    )
    add_config(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the proxy; 1 when it cannot start."""
    from smsfilter import log  # noqa: PLC0415 - start-up of the other commands stays light
    from smsfilter.config import load  # noqa: PLC0415
    from smsfilter.notify import Notify  # noqa: PLC0415

    loaded = load(args.config)
    faulthandler.enable()  # the service manager ends a hung loop with SIGABRT: say where
    notify = Notify()
    writer = log.configure(loaded.config.log.format, loaded.config.log.level)
    try:
        with _pid_file(loaded.config.state_dir):
            return _runner()(_main(args.config.absolute(), loaded, writer, notify))
    except _StartError as error:
        print(f"smsfilter proxy: {error}", file=sys.stderr)
        return 1
    finally:
        notify.close()
        writer.close()


class _StartError(Exception):
    """The proxy cannot start, for a reason that fits on a line."""


def _runner() -> Callable[[Coroutine[Any, Any, int]], int]:
    """The event loop's entry: uvloop where it is installed."""
    try:
        import uvloop  # noqa: PLC0415
    except ImportError:
        del bytearray(8 << 20)[:]  # glibc then keeps asyncio's read buffers (256 KiB) mapped
        return asyncio.run
    runner: Callable[[Coroutine[Any, Any, int]], int] = uvloop.run
    return runner


async def _main(config_file: Path, loaded: "Loaded", writer: "Writer", notify: "Notify") -> int:
    from smsfilter import __version__, log  # noqa: PLC0415
    from smsfilter.proxy.service import Service  # noqa: PLC0415
    from smsfilter.store.connect import Unreachable, parse_url  # noqa: PLC0415
    from smsfilter.store.embedded import EmbeddedError, EmbeddedServer  # noqa: PLC0415
    from smsfilter.store.keyfiles import KeyFileError  # noqa: PLC0415
    from smsfilter.tls import FileError  # noqa: PLC0415
    from smsfilter.watchdog import Watchdog  # noqa: PLC0415

    config = loaded.config
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_unhandled)
    log.get().info(
        "started", version=__version__, pid=os.getpid(), policy=loaded.policy.version_hash()
    )
    stop, again, reload = asyncio.Event(), asyncio.Event(), asyncio.Event()

    def terminate() -> None:
        (again if stop.is_set() else stop).set()

    def interrupt() -> None:
        stop.set()
        again.set()

    loop.add_signal_handler(signal.SIGTERM, terminate)
    loop.add_signal_handler(signal.SIGINT, interrupt)
    loop.add_signal_handler(signal.SIGHUP, reload.set)
    async with contextlib.AsyncExitStack() as stack:
        try:
            address = parse_url(config.redis.url, config.state_dir, config.redis.password())
            if address.state_dir is not None:
                log.get().warning("embedded_redis", cure="use it for trials and tests only")
                await stack.enter_async_context(EmbeddedServer(address.state_dir))
            service = Service(config_file, loaded, address, writer, notify)
            stack.push_async_callback(service.stop)
            await service.start()
        except (OSError, Unreachable, EmbeddedError, FileError, KeyFileError) as error:
            raise _StartError(str(error)) from error
        stack.callback(Watchdog(service.heartbeat).start().stop)
        await serve(service.reload, stop, reload)
        drain = asyncio.create_task(service.drain())
        hurry = asyncio.create_task(again.wait())
        await asyncio.wait({drain, hurry}, return_when=asyncio.FIRST_COMPLETED)
        if not drain.done():
            drain.cancel()
            service.close_at_once()
        hurry.cancel()
    return 0


async def serve(
    take_over: Callable[[], Awaitable[None]], stop: asyncio.Event, reload: asyncio.Event
) -> None:
    """Until SIGTERM; each SIGHUP meanwhile has changed files taken over."""
    stopping = asyncio.create_task(stop.wait())
    while not stop.is_set():
        asked = asyncio.create_task(reload.wait())
        await asyncio.wait({stopping, asked}, return_when=asyncio.FIRST_COMPLETED)
        if reload.is_set():
            reload.clear()
            await take_over()
        asked.cancel()


def _unhandled(_loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    """What nobody caught: log it, and go on."""
    from smsfilter import log  # noqa: PLC0415

    error = context.get("exception")
    log.get().error("unhandled", message=context.get("message"), exc_info=error)


@contextlib.contextmanager
def _pid_file(state_dir: Path) -> Iterator[None]:
    """Write the process id where `smsfilter reload` looks for it."""
    path = state_dir / PID_FILE
    try:
        state_dir.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{os.getpid()}\n", encoding="ascii")
    except OSError as error:
        raise _StartError(f"state_dir {state_dir}: {error.strerror}") from None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            if path.read_text(encoding="ascii").strip() == str(os.getpid()):
                path.unlink()
