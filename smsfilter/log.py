"""Log lines to one file descriptor, and never a wait for whoever reads them.

Responsible for the form of a line (JSON or console, UTC), for masking customers' numbers in
decision lines and for keeping passwords out. The event loop only appends to a queue; one thread
writes it with blocking system calls. The queue is bounded: a reader that has stalled (journal
stopped, pipe full, disk full) costs lines, which are counted, and never time on the SMS path.
Must never raise into its caller, print a local variable of a traceback, or write a line per
forwarded message unless the configuration asks for it.
"""

import logging
import os
import re
import select
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, cast

import msgspec
import structlog
from structlog.typing import FilteringBoundLogger

from smsfilter.rules.numbers import mask
from smsfilter.rules.verdict import Kind

LIMIT: Final = 4 << 20
"""Octets that may wait for the reader: some 15,000 lines, a second or two of a bad day."""
CHUNK: Final = 64 << 10
"""Octets per system call: what a pipe takes at once."""
GATHER_S: Final = 0.01
"""How long lines gather between two writes: each wake-up of the writer costs the path a little."""
REFUSALS_PER_SECOND: Final = 1_000
"""Decision lines of refusals per second; what is over is summed up per account and reason."""
SUMS_MAX: Final = 1_000
"""Distinct (account, reason) pairs summed up per second; the rest share one line per reason."""


class Writer:
    """A bounded queue of whole lines before a file descriptor, emptied by a thread of its own.

    The descriptor stays the caller's; it must not be closed before `close()` has returned True.
    """

    def __init__(self, fd: int, limit: int = LIMIT) -> None:
        self.fd: Final = fd
        self.dropped = 0  # lines that nobody will read
        self._limit = limit
        self._queue: deque[bytes] = deque()
        self._pending = 0  # octets accepted and not yet written, those in the thread's hands too
        self._torn = False  # the last write ended within a line
        self._closing = threading.Event()
        self._wake = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    def write(self, lines: bytes) -> None:
        """Take whole lines, each with its newline, or count them as dropped. Never waits."""
        with self._wake:
            if self._closing.is_set() or self._pending + len(lines) > self._limit:
                self.dropped += lines.count(b"\n")
                return
            self._pending += len(lines)
            self._queue.append(lines)
            self._wake.notify()

    def close(self, deadline_s: float = 1.0) -> bool:
        """Write what is left, for `deadline_s` at most; tell whether all of it was written."""
        with self._wake:
            self._closing.set()
            self._wake.notify()
        self._thread.join(deadline_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while chunk := self._take():
            written = self._put(chunk)
            with self._wake:
                self._pending -= len(chunk)
                self.dropped += chunk.count(b"\n", written)
            self._closing.wait(GATHER_S)

    def _take(self) -> bytes:
        """Wait for lines; nothing means closed and empty."""
        taken: list[bytes] = []
        size = 0
        with self._wake:
            while not self._queue and not self._closing.is_set():
                self._wake.wait()
            while self._queue and size < CHUNK:
                taken.append(self._queue.popleft())
                size += len(taken[-1])
        return b"".join(taken)

    def _put(self, chunk: bytes) -> int:
        """Write the chunk, however long it takes; return how much of it went out.

        An error (reader gone, disk full) loses this chunk only: the next one tries again, on a
        line of its own.
        """
        done = 0
        view = memoryview(chunk)
        try:
            if self._torn:
                self._torn = os.write(self.fd, b"\n") != 1
            while done < len(chunk):
                try:
                    done += os.write(self.fd, view[done:])
                except BlockingIOError:  # somebody who shares the descriptor set O_NONBLOCK
                    poll = select.poll()
                    poll.register(self.fd, select.POLLOUT)
                    poll.poll()
        except OSError:
            self._torn = self._torn or (done > 0 and chunk[done - 1 : done] != b"\n")
        return done


# --- events ------------------------------------------------------------------------------------

_SECRET_KEYS: Final = frozenset({"password", "secret", "token"})
_URL_CREDENTIALS: Final = re.compile(r"(?<=://)[^/@\s]*@")
_ENCODER: Final = msgspec.json.Encoder(enc_hook=repr)
_UNSAYABLE: Final = (ValueError, TypeError, OverflowError, RecursionError)


def _clean(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Keep secrets out of a line, and octets readable in it."""
    for key, value in event.items():
        if key in _SECRET_KEYS:
            event[key] = "***"
        elif isinstance(value, bytes):
            event[key] = value.decode("ascii", "backslashreplace")
        elif isinstance(value, str) and "://" in value:
            event[key] = _URL_CREDENTIALS.sub("***@", value)
    return event


def _encode(line: Mapping[str, Any]) -> bytes:
    try:
        return _ENCODER.encode(line) + b"\n"
    except _UNSAYABLE:
        return _ENCODER.encode({key: _sayable(value) for key, value in line.items()}) + b"\n"


def _sayable(value: object) -> object:
    try:
        _ENCODER.encode(value)
    except _UNSAYABLE:
        return ascii(value)
    return value


def _json_line(_: object, __: str, event: MutableMapping[str, Any]) -> bytes:
    head = {key: event.pop(key) for key in ("ts", "level", "event")}
    return _encode({**head, **event})


def _console_line(colors: bool) -> Callable[[object, str, MutableMapping[str, Any]], bytes]:
    # plain_traceback: the default one prints local variables, passwords among them
    render = structlog.dev.ConsoleRenderer(
        colors=colors,
        timestamp_key="ts",
        sort_keys=False,
        exception_formatter=structlog.dev.plain_traceback,
    )

    def line(logger: object, name: str, event: MutableMapping[str, Any]) -> bytes:
        return render(logger, name, event).encode("utf-8", "backslashreplace") + b"\n"

    return line


class _Sink:
    """What structlog calls with a rendered line."""

    def __init__(self, writer: Writer) -> None:
        self.debug = self.info = self.warning = self.error = self.critical = writer.write
        self.exception = self.error


class _Bridge(logging.Handler):
    """Takes what libraries say through `logging`: stderr could block as much as stdout."""

    def emit(self, record: logging.LogRecord) -> None:
        level = min(max(record.levelno // 10 * 10, logging.DEBUG), logging.CRITICAL)
        try:
            message = record.getMessage()
        except Exception:  # a library's wrong format string must not cost its message
            message = str(record.msg)
        get().log(
            level, "library", logger=record.name, message=message, exc_info=record.exc_info or None
        )


def configure(format: str, level: str, stream: int | Writer = 1) -> Writer:
    """Send all events to a descriptor, as `json` or `console` lines from `level` up.

    Returns the writer, to be closed at exit. Called again with that writer, after a reload, it
    changes format and level and loses nothing.
    """
    writer = stream if isinstance(stream, Writer) else Writer(stream)
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
            structlog.processors.format_exc_info,
            _clean,
            _json_line if format == "json" else _console_line(os.isatty(writer.fd)),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        context_class=dict,
        logger_factory=lambda *_: _Sink(writer),
        cache_logger_on_first_use=False,  # else a reload would not reach the loggers in use
    )
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _Bridge)]:
        root.removeHandler(handler)
    root.addHandler(_Bridge())
    return writer


def get(**fields: object) -> FilteringBoundLogger:
    """Give a logger that adds `fields` to each of its events."""
    return cast(FilteringBoundLogger, structlog.get_logger(**fields))


# --- decisions ---------------------------------------------------------------------------------

Decision = tuple[
    str, str | None, str | bytes, str | bytes, str | None, str | None, int, str, str | None
]
"""(account, company, source, destination, rule, reason, command_status, kind, policy version).

A forwarded message has no reason, unless a rule in shadow would have refused it."""

_SERVICE_PREFIXES: Final = {"86": ("10", "12", "95", "96")}
_SEPARATORS: Final = str.maketrans("", "", " -.()+")
_NUMBER: Final = re.compile(r"\d{7,}")  # shorter ones are nobody's telephone
_DIGIT: Final = re.compile(r"\d")
_E164_MAX: Final = 15
_SHOWN_MAX: Final = 64  # the longest address of data_sm (SMPP v3.4 §4.7.1)


def mask_destination(destination: str | bytes) -> str:
    """Give a customer's number as it may be shown; of what is no number only the shape."""
    text = _text(destination)
    digits = text if text.isdigit() else text.translate(_SEPARATORS)
    if len(digits) <= _E164_MAX and digits.isascii() and digits.isdigit():
        return mask(digits)
    return _DIGIT.sub("*", text)[:_SHOWN_MAX]


@lru_cache(maxsize=4096)  # the same few over and over
def mask_source(source: str | bytes, country_code: str = "86") -> str:
    """Give a source as it may be shown: names and service codes plain, telephone numbers masked."""
    text = _text(source)
    digits = text.translate(_SEPARATORS)
    if not digits.isdigit():
        digits = text

    def shown(run: re.Match[str]) -> str:
        national = run[0].removeprefix("00").removeprefix(country_code)
        is_service = national.startswith(_SERVICE_PREFIXES.get(country_code, ()))
        return run[0] if is_service else mask(run[0])

    masked = _NUMBER.sub(shown, digits)
    return (text if masked == digits else masked)[:_SHOWN_MAX]


def _text(address: str | bytes) -> str:
    return address if isinstance(address, str) else address.decode("ascii", "replace")


class _Line(msgspec.Struct):
    ts: str
    level: str
    event: str
    account: str | None
    company: str | None
    source: str
    destination: str
    rule: str | None
    reason: str | None
    status: str
    policy: str | None


class _Summary(msgspec.Struct):
    ts: str
    level: str
    event: str
    account: str | None
    reason: str
    count: int
    shadow: bool


class DecisionLog:
    """What became of messages, one line each, as far as `mode` and the flood limit allow.

    `refused`: the refused, and what a rule in shadow would have refused. `sample:N`: these and
    one in N of the rest. `all`: everything. Events: `refused`, `would_refuse` (shadow),
    `forwarded`, and `refused_summary` for what was over the limit of a second.
    """

    def __init__(
        self, mode: str, writer: Writer, format: str = "json", country_code: str = "86"
    ) -> None:
        self.country_code = country_code
        self._writer = writer
        self._console = None if format == "json" else _console_line(os.isatty(writer.fd))
        # of the messages that no rule objected to, each n-th is logged
        self._every = {"refused": 0, "all": 1}.get(mode) or int(mode.partition(":")[2] or 0)
        self._forwarded = 0
        self._budget = REFUSALS_PER_SECOND
        self._sums: dict[tuple[str | None, str, bool], int] = {}

    @property
    def wants_forwarded(self) -> bool:
        """Whether `write` needs to be told about messages that no rule objected to."""
        return self._every > 0

    def write(self, decisions: Iterable[Decision], now: float) -> None:
        """Log the decisions of one batch, made at `now` (seconds since 1970)."""
        ts = _timestamp(now)
        lines = [self._line(ts, decision) for decision in decisions if self._takes(decision)]
        if lines:
            self._writer.write(self._encode(lines))

    def tick(self, now: float) -> None:
        """Begin a new second: what was over the limit in the last one is summed up."""
        self._budget = REFUSALS_PER_SECOND
        if self._sums:
            ts, sums, self._sums = _timestamp(now), self._sums, {}
            self._writer.write(
                self._encode(
                    [
                        _Summary(ts, "info", "refused_summary", account, reason, count, shadow)
                        for (account, reason, shadow), count in sums.items()
                    ]
                )
            )

    def _takes(self, decision: Decision) -> bool:
        account, reason, kind = decision[0], decision[5], decision[7]
        if reason is None:
            self._forwarded += 1
            return self._every > 0 and self._forwarded % self._every == 0
        if self._budget > 0:
            self._budget -= 1
            return True
        shadow = kind == Kind.FORWARD
        key: tuple[str | None, str, bool] = (account, reason, shadow)
        if key not in self._sums and len(self._sums) >= SUMS_MAX:
            key = (None, reason, shadow)
        self._sums[key] = self._sums.get(key, 0) + 1
        return False

    def _line(self, ts: str, decision: Decision) -> _Line:
        account, company, source, destination, rule, reason, status, kind, policy = decision
        event = "refused"
        if kind == Kind.FORWARD:
            event = "forwarded" if reason is None else "would_refuse"
        return _Line(
            ts,
            "info",
            event,
            account,
            company,
            mask_source(source, self.country_code),
            mask_destination(destination),
            rule,
            reason,
            f"0x{status:02X}",
            policy,
        )

    def _encode(self, lines: list[_Line] | list[_Summary]) -> bytes:
        if self._console is not None:
            return b"".join(self._console(None, "", msgspec.structs.asdict(line)) for line in lines)
        try:
            return _ENCODER.encode_lines(lines)
        except _UNSAYABLE:  # a system_id that is no text
            return b"".join(_encode(msgspec.structs.asdict(line)) for line in lines)


def _timestamp(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).isoformat(timespec="microseconds")[:-6] + "Z"
