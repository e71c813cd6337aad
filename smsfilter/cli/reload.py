"""`smsfilter reload`: has the running proxy take over its changed files.

The files are read here first, by the functions that the proxy uses, so that an error is seen where
it was made and the proxy is not disturbed. Then SIGHUP is sent to the process of the pid file;
never to one that is not a proxy, as numbers of processes are used again.
"""

import argparse
import os
import signal
import sys
from pathlib import Path

from smsfilter.cli.store import add_config

PID_FILE = "proxy.pid"


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "reload",
        help="have the running proxy take over its changed files",
        description="Check the configuration and the policy, then send SIGHUP to the proxy that "
        "runs with them. Its log says `config_reloaded` or `config_rejected`.",
    )
    add_config(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Send the signal, or say why not."""
    from smsfilter.config import load  # noqa: PLC0415 - start-up stays light

    loaded = load(args.config)
    try:
        pid = running_proxy(loaded.config.state_dir / PID_FILE)
        os.kill(pid, signal.SIGHUP)
    except LookupError as error:
        print(f"smsfilter reload: {error.args[0]}", file=sys.stderr)
        return 1
    except PermissionError:
        print(f"smsfilter reload: process {pid} is another user's: use sudo", file=sys.stderr)
        return 1
    except ProcessLookupError:
        print(f"smsfilter reload: process {pid} has just ended", file=sys.stderr)
        return 1
    print(f"process {pid} reloads; policy {loaded.policy.version_hash()}; see its log")
    return 0


def running_proxy(pid_file: Path) -> int:
    """Return the process that `pid_file` names; LookupError says why there is none."""
    try:
        text = pid_file.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        raise LookupError(f"no proxy runs with this configuration: no {pid_file}") from None
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not a pid file"
        raise LookupError(f"{pid_file} cannot be read: {why}") from None
    if not text.isdigit() or int(text) <= 1:
        raise LookupError(f"{pid_file} holds no number of a process")
    pid = int(text)
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        raise LookupError(f"the proxy of {pid_file} (process {pid}) is not running") from None
    if not any(b"smsfilter" in word for word in words) or b"proxy" not in words:
        raise LookupError(f"process {pid} of {pid_file} is no smsfilter proxy: an old pid file")
    return pid
