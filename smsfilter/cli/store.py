"""What the commands on Redis share: the option -c, the way to Redis, and errors in one line.

The private server of `embedded:` is started for the time of a command where no proxy runs it.
"""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from smsfilter.config import Config

CONFIG_FILES: Final = ("config/smsfilter.yaml", "/etc/smsfilter/smsfilter.yaml")
"""Where the configuration is looked for: here, else on the system."""

Work = Callable[["Redis", "Config"], Awaitable[int]]


def default_path() -> Path:
    """Return the configuration file that is meant when none is named."""
    here, system = map(Path, CONFIG_FILES)
    return here if here.exists() else system


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add the option -c."""
    parser.add_argument(
        "-c",
        "--config",
        metavar="FILE",
        type=Path,
        default=default_path(),
        help=f"the configuration (default: {' or '.join(CONFIG_FILES)})",
    )


def offer(parser: argparse.ArgumentParser, work: Callable[[argparse.Namespace], int]) -> None:
    """Add -c and --json, and have the command do `work`."""
    add_config(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=work)


def run_on_redis(args: argparse.Namespace, work: Work) -> int:
    """Run `work` with a connection to the Redis of the configuration; 1 if that goes wrong."""
    from smsfilter.config import ConfigError, load_config  # noqa: PLC0415 - dear: not for `smsfilter -h`
    from smsfilter.store.connect import Unreachable, connected, parse_url  # noqa: PLC0415
    from smsfilter.store.registry import RegistryError  # noqa: PLC0415

    config = load_config(args.config)
    try:
        address = parse_url(config.redis.url, config.state_dir, config.redis.password())
    except ConfigError:
        raise
    except ValueError as error:
        print(f"{args.config}: {error}", file=sys.stderr)
        return 1

    async def connect_and_work() -> int:
        async with connected(address) as redis:
            return await work(redis, config)

    try:
        return asyncio.run(connect_and_work())
    except (Unreachable, RegistryError) as error:
        print(f"smsfilter: {error}", file=sys.stderr)
        return 1


def warn(message: str, cure: str = "") -> None:
    """Say on standard error what does not stop a command and should be seen."""
    print(f"warning: {message}" + (f"\n  cure: {cure}" if cure else ""), file=sys.stderr)
