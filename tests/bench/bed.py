"""Where the benchmark runs: a filled Redis, an SMSC, the bare relay and the real daemon.

All on loopback, each a process of its own, each alive from first to last, so that rounds can be
interleaved. The daemon is filled and started as an operator does it, by its own commands; its log
goes to a file and its /metrics are scraped each second while it is measured.
"""

import contextlib
import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from smsfilter.store import keys
from tests.bench import traffic
from tests.fakes.process import tethered, wait_until
from tests.fakes.redis_server import RedisServer

ROOT = Path(__file__).parents[2]
START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 15.0
SCRAPE_EVERY_S = 1.0
COMMANDS_AT_ONCE = 10_000
OTHER_COMPANIES = 500


class Daemon:
    """A proxy, where it logs to, and the ports that it has said it listens on."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process = process
        self.log = log
        self.port = self.admin_port = 0

    def listens(self) -> bool:
        """Whether it is up; takes its ports from its log."""
        if self.process.poll() is not None:
            raise RuntimeError(f"the daemon ended:\n{self.log.read_text()[-2000:]}")
        for line in self.log.read_text().splitlines():
            found = json.loads(line)
            if found.get("event") == "listening":
                self.port = int(found["listen"][0].rpartition(":")[2])
                self.admin_port = int(found["admin"].rpartition(":")[2])
        return self.port > 0

    def get(self, path: str) -> int:
        """Ask the admin port; the status of its answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=5)
        with contextlib.closing(connection):
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
            return answer.status


class Bed:
    """Everything that stands still while loads come and go."""

    def __init__(
        self, folder: Path, stack: contextlib.ExitStack, messages: int, blocks: int
    ) -> None:
        self.folder = folder
        self._stack = stack
        self.redis = RedisServer.started(["--maxmemory-policy", "noeviction"])
        stack.callback(self.redis.close)
        self._fill(messages, blocks)
        self.sink = self._python(["-m", "tests.bench.sink"])
        self.sink_port = self._first_number(self.sink)
        self.relay = self._python([str(Path(__file__).parent / "relay.py"), str(self.sink_port)])
        self.relay_port = self._first_number(self.relay)
        self.daemons: dict[str, Daemon] = {}

    def _python(self, arguments: list[str], **options: Any) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            tethered([sys.executable, *arguments]),
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            text=True,
            **{"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, **options},
        )
        self._stack.callback(stop, process)
        return process

    def _first_number(self, process: subprocess.Popen[str]) -> int:
        assert process.stdout is not None
        return int(process.stdout.readline())

    def submits(self) -> int:
        """How many submit_sm the SMSC has received so far."""
        assert self.sink.stdin is not None
        assert self.sink.stdout is not None
        self.sink.stdin.write("\n")
        self.sink.stdin.flush()
        submits: int = json.loads(self.sink.stdout.readline())["submits"]
        return submits

    # Redis

    def _fill(self, messages: int, blocks: int) -> None:
        client = self.redis.client()
        pipeline = client.pipeline(transaction=False)
        for number, company in traffic.write_pools(self.folder, messages, blocks):
            pipeline.sadd(keys.block("", number), company)
            if len(pipeline) >= COMMANDS_AT_ONCE:
                pipeline.execute()
        for session in range(traffic.SESSIONS):
            company = traffic.account(session)
            pipeline.sadd(keys.approved("", company), traffic.source(session))
        pipeline.execute()

    # the daemon

    def start_proxies(self) -> None:
        """Load the registry, declare the index ready, start a daemon with records and one without.

        Both are up, by /readyz, before anything is measured.
        """
        config = self._write_config("proxy", record=True)
        registry = self.folder / "registry.yaml"
        registry.write_text(yaml.safe_dump({"companies": companies()}))
        for command in (["registry", "load", str(registry)], ["index", "ready"]):
            done = self._python(
                ["-m", "smsfilter", *command, "-c", config], stderr=subprocess.STDOUT
            )
            said, _ = done.communicate()
            if done.returncode:
                raise RuntimeError(f"smsfilter {' '.join(command)}: {said}")
        self._start("proxy", config)
        self._start("unrecorded", self._write_config("unrecorded", record=False))

    def _start(self, name: str, config: str) -> None:
        path = self.folder / f"{name}.log"
        with path.open("wb") as log:
            process = self._python(["-m", "smsfilter", "proxy", "-c", config], stdout=log)
        daemon = self.daemons[name] = Daemon(process, path)
        wait_until(daemon.listens, f"listening in {path}", START_TIMEOUT_S)
        wait_until(lambda: daemon.get("/readyz") == 200, "200 of /readyz", START_TIMEOUT_S)

    def _write_config(self, name: str, *, record: bool) -> str:
        (self.folder / "policy.yaml").write_text('version: "1"\n')
        proxy = {
            "listen": ["127.0.0.1:0"],
            "smsc": [f"127.0.0.1:{self.sink_port}"],
            "admin": "127.0.0.1:0",
            "limits": {"per_ip": 10_000},
        }
        # The deadline is generous: on cores that others use too, a batch may wait for its turn.
        redis = {"url": self.redis.url, "deadline": "500ms"}
        path = self.folder / f"{name}.yaml"
        state = self.folder / f"{name}.state"
        config = {"proxy": proxy, "redis": redis, "state_dir": str(state)}
        config["decisions"] = {"record": str(record).lower()}
        state.mkdir()
        path.write_text(yaml.safe_dump(config))
        return str(path)

    @contextlib.contextmanager
    def scraped(self, daemon: "Daemon") -> Iterator[None]:
        """Have /metrics read each second, as Prometheus would."""
        enough = threading.Event()

        def scrape() -> None:
            while not enough.wait(SCRAPE_EVERY_S):
                daemon.get("/metrics")

        thread = threading.Thread(target=scrape)
        thread.start()
        try:
            yield
        finally:
            enough.set()
            thread.join()

    # loads

    def run(self, middle: str, arguments: list[str]) -> dict[str, Any]:
        """Put one load on `middle` (direct, relay or a daemon); what generator and SMSC saw."""
        pids = {"sink": self.sink.pid}
        daemon = self.daemons.get(middle)
        if daemon is not None:
            port = daemon.port
            pids |= {"proxy": daemon.process.pid, "redis": self.redis.pid}
        elif middle == "relay":
            port, pids["relay"] = self.relay_port, self.relay.pid
        else:
            port = self.sink_port
        before = self.submits()
        with contextlib.nullcontext() if daemon is None else self.scraped(daemon):
            output = self.generator(
                [*arguments, "--port", str(port), "--pids", json.dumps(pids)]
            ).communicate()[0]
        result: dict[str, Any] = json.loads(output)
        result["submits"] = self.submits() - before
        return result

    def generator(self, arguments: list[str]) -> subprocess.Popen[str]:
        """Start a load generator."""
        return self._python(["-m", "tests.bench.load", *arguments, "--pools", str(self.folder)])


def companies() -> dict[str, Any]:
    """A company for each session, and many others."""
    mine = {
        traffic.account(session): {
            "accounts": [traffic.account(session)],
            "sources": [traffic.source(session)],
        }
        for session in range(traffic.SESSIONS)
    }
    others = {
        f"other{number}": {"accounts": [f"other{number}"], "sources": [f"1069{number:05d}"]}
        for number in range(OTHER_COMPANIES)
    }
    return mine | others


def rss_kib(pid: int) -> int:
    """The resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise ProcessLookupError(pid)


def stop(process: subprocess.Popen[str]) -> None:
    """End a process in order, else at once."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


@contextlib.contextmanager
def bed(messages: int, blocks: int) -> Iterator[Bed]:
    """A bed whose sessions have `messages` each, with so many blocks in Redis."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="smsfilter-bench-"))
        yield Bed(Path(folder), stack, messages, blocks)
