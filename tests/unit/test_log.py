"""Log lines: their form, what they hide, and that nobody ever waits for a reader."""

import contextlib
import fcntl
import json
import logging
import os
import threading
import time

import pytest
import structlog

from smsfilter import log
from smsfilter.rules.verdict import Kind, Reason

NOW = 1_795_494_165.25  # 2026-11-24T04:22:45.250000Z


class Pipe:
    """A reader that reads only when told to."""

    def __init__(self):
        self.read_fd, self.write_fd = os.pipe()

    def lines(self, writer):
        """Everything written so far, the writer being closed first."""
        fcntl.fcntl(self.write_fd, fcntl.F_SETPIPE_SZ, 1 << 20)  # so that all of it fits
        assert writer.close()
        os.close(self.write_fd)
        self.write_fd = None
        with os.fdopen(self.read_fd, "rb", closefd=False) as reader:
            return reader.read().splitlines()

    def close(self):
        for fd in (self.read_fd, self.write_fd):
            with contextlib.suppress(OSError, TypeError):
                os.close(fd)


@pytest.fixture
def pipe():
    pipe = Pipe()
    yield pipe
    pipe.close()


@pytest.fixture
def configured(pipe):
    """Configure logging to the pipe; undone afterwards."""
    writers = []

    def configure(format="json", level="info"):
        writers.append(log.configure(format, level, writers[0] if writers else pipe.write_fd))
        return writers[0]

    yield configure
    writers[0].close(0)
    structlog.reset_defaults()
    root = logging.getLogger()
    root.handlers = [h for h in root.handlers if not isinstance(h, log._Bridge)]


def decision(**changes):
    fields = {
        "account": "acme",
        "company": "acme",
        "source": "10657555",
        "destination": b"8613800138000",
        "rule": "blocked",
        "reason": Reason.BLOCKED_BY_REPORT,
        "status": 0x66,
        "kind": Kind.PERMANENT,
        "policy": "0123456789ab",
    }
    return tuple((fields | changes).values())


FORWARDED = decision(rule=None, reason=None, status=0, kind=Kind.FORWARD)


# --- events


def test_an_event_is_one_json_line_with_time_level_and_name_first(pipe, configured):
    writer = configured()
    log.get(account="acme").info("session_bound", bound_as="trx", status=0)
    (line,) = pipe.lines(writer)
    event = json.loads(line)
    assert list(event) == ["ts", "level", "event", "account", "bound_as", "status"]
    assert event["level"] == "info"
    assert event["event"] == "session_bound"
    assert event["ts"].endswith("Z")
    assert len(event["ts"]) == len("2026-11-24T04:22:45.250000Z")


def test_level_and_format_change_at_a_reload_without_a_new_writer(pipe, configured):
    writer = configured(level="warning")
    logger = log.get()
    logger.info("hidden")
    configured(format="console", level="debug")
    logger.debug("shown", n=1)
    (line,) = pipe.lines(writer)
    assert b"shown" in line
    assert b"n=1" in line
    assert b"\x1b" not in line  # no colours for a pipe


@pytest.mark.parametrize("format", ["json", "console"])
def test_no_secret_and_no_local_variable_reaches_a_line(pipe, configured, format):
    writer = configured(format)

    def connect():
        password = "hunter2"
        raise ConnectionError(f"redis://:{password}@db:6379/0 refused")

    try:
        connect()
    except ConnectionError:
        log.get().exception("redis_away", url="rediss://u:hunter2@db/0", password="hunter2")
    text = b"\n".join(pipe.lines(writer))
    assert b"ConnectionError" in text
    assert b"Traceback" in text
    assert b"hunter2" not in text
    assert b"***@db" in text


def test_what_json_cannot_say_is_logged_all_the_same(pipe, configured):
    writer = configured()
    log.get().info("odd", octets=b"ab\xff", number=1 << 80, half="\ud800", thing=object())
    log.get().info("next", reason=Reason.PAUSED, seen={"a"}, error=ValueError("no"))
    odd, following = map(json.loads, pipe.lines(writer))
    assert odd["event"] == "odd"
    assert odd["octets"] == r"ab\xff"
    assert odd["number"] == 1 << 80
    assert odd["half"] == r"'\ud800'"
    assert following["reason"] == "paused"
    assert following["error"] == "ValueError('no')"


def test_a_newline_in_a_value_makes_no_second_line(pipe, configured):
    writer = configured()
    log.get().info("odd", system_id='a\n{"event":"forged"}')
    assert len(pipe.lines(writer)) == 1


def test_what_libraries_log_goes_the_same_way(pipe, configured):
    writer = configured()
    configured()  # and not twice after a reload
    library = logging.getLogger("somelibrary")
    library.warning("lost %d", 3)
    level = logging.CRITICAL + 7
    log._Bridge().handle(
        logging.LogRecord("somelibrary", level, __file__, 1, "wrong %d", ("format",), None)
    )
    first, second = map(json.loads, pipe.lines(writer))
    assert (first["event"], first["level"]) == ("library", "warning")
    assert (first["logger"], first["message"]) == ("somelibrary", "lost 3")
    assert (second["level"], second["message"]) == ("critical", "wrong %d")


# --- the writer


def test_a_stalled_reader_costs_lines_and_no_time(pipe):
    writer = log.Writer(pipe.write_fd, limit=1 << 20)
    line = b"x" * 1023 + b"\n"
    began = time.perf_counter()
    for _ in range(4096):
        writer.write(line)
    assert time.perf_counter() - began < 1
    # the bound and what the kernel's pipe took, but no more
    assert 4096 - 1024 - 256 <= writer.dropped <= 4096 - 1024
    assert not writer.close(0.05)
    dropped = writer.dropped

    # the reader comes back: everything accepted arrives, whole and in order
    reader = os.fdopen(pipe.read_fd, "rb", closefd=False)
    got = [reader.readline() for _ in range(4096 - dropped)]
    assert set(got) == {line}
    assert writer.close()


def test_lines_keep_their_order_across_threads_of_control(pipe):
    writer = log.Writer(pipe.write_fd)
    for i in range(1000):
        writer.write(b"%d\n" % i)
    assert pipe.lines(writer) == [b"%d" % i for i in range(1000)]
    assert writer.dropped == 0


def test_a_reader_that_is_gone_is_counted_and_never_raised(pipe):
    os.close(pipe.read_fd)
    writer = log.Writer(pipe.write_fd)
    writer.write(b"one\ntwo\n")
    assert writer.close()
    writer.write(b"three\n")
    assert writer.dropped == 3


def test_a_descriptor_set_non_blocking_by_others_is_waited_for(pipe):
    os.set_blocking(pipe.write_fd, False)
    writer = log.Writer(pipe.write_fd)
    line = b"y" * 9999 + b"\n"
    for _ in range(20):  # three pipes full
        writer.write(line)
    reader = os.fdopen(pipe.read_fd, "rb", closefd=False)
    assert [reader.readline() for _ in range(20)] == [line] * 20
    assert writer.close()
    assert writer.dropped == 0


def test_after_a_torn_line_the_next_one_begins_anew(monkeypatch):
    """A disk that fills up in the middle of a line, and has room again later."""
    wrote, again = bytearray(), threading.Event()
    room = [5]

    def write(fd, data):
        if room[0] == 0:
            room[0] = 1 << 20
            again.set()
            raise OSError(28, "No space left on device")
        n = min(room[0], len(data))
        wrote.extend(bytes(data)[:n])
        room[0] -= n
        return n

    monkeypatch.setattr(log.os, "write", write)
    writer = log.Writer(1)
    writer.write(b"1234567\n")
    assert again.wait(5)
    writer.write(b"next\n")
    assert writer.close()
    assert bytes(wrote) == b"12345\nnext\n"
    assert writer.dropped == 1


def test_closing_gives_up_at_its_deadline(pipe):
    writer = log.Writer(pipe.write_fd)
    writer.write(b"z" * (1 << 20) + b"\n")
    began = time.perf_counter()
    assert not writer.close(0.1)
    assert 0.09 < time.perf_counter() - began < 1
    os.read(pipe.read_fd, 1 << 20)
    os.close(pipe.read_fd)  # lets the thread end
    assert writer.close()


# --- decisions


def test_a_refusal_says_who_what_and_why_with_the_number_masked(pipe):
    writer = log.Writer(pipe.write_fd)
    log.DecisionLog("refused", writer).write([decision()], NOW)
    (line,) = pipe.lines(writer)
    assert json.loads(line) == {
        "ts": "2026-11-24T04:22:45.250000Z",
        "level": "info",
        "event": "refused",
        "account": "acme",
        "company": "acme",
        "source": "10657555",
        "destination": "138****8000",
        "rule": "blocked",
        "reason": "blocked_by_report",
        "status": "0x66",
        "policy": "0123456789ab",
    }


@pytest.mark.parametrize(
    ("mode", "forwarded", "wanted"),
    [("refused", 0, False), ("sample:10", 10, True), ("all", 100, True)],
)
def test_modes_choose_among_the_forwarded_and_keep_every_refusal(pipe, mode, forwarded, wanted):
    writer = log.Writer(pipe.write_fd)
    decisions = log.DecisionLog(mode, writer)
    assert decisions.wants_forwarded is wanted
    for _ in range(20):
        decisions.write([FORWARDED] * 5 + [decision()], NOW)
    events = [json.loads(line)["event"] for line in pipe.lines(writer)]
    assert events.count("forwarded") == forwarded
    assert events.count("refused") == 20


def test_what_a_rule_in_shadow_would_refuse_is_not_called_refused(pipe):
    writer = log.Writer(pipe.write_fd)
    log.DecisionLog("refused", writer).write([decision(kind=Kind.FORWARD, status=0)], NOW)
    (line,) = map(json.loads, pipe.lines(writer))
    assert (line["event"], line["reason"]) == ("would_refuse", "blocked_by_report")


def test_a_flood_of_refusals_is_summed_up_once_a_second(pipe):
    writer = log.Writer(pipe.write_fd)
    decisions = log.DecisionLog("refused", writer)
    flood = [decision()] * 700 + [decision(account="bravo", reason=Reason.PAUSED)] * 700
    decisions.write(flood, NOW)
    decisions.tick(NOW + 1)
    decisions.write(flood[:1], NOW + 1)  # a new second, a new allowance
    decisions.tick(NOW + 2)
    lines = [json.loads(line) for line in pipe.lines(writer)]
    assert [line["event"] for line in lines] == ["refused"] * 1000 + ["refused_summary", "refused"]
    assert lines[1000] == {
        "ts": "2026-11-24T04:22:46.250000Z",
        "level": "info",
        "event": "refused_summary",
        "account": "bravo",
        "reason": "paused",
        "count": 400,
        "shadow": False,
    }


def test_summing_up_is_bounded_whatever_accounts_are_made_up(pipe):
    writer = log.Writer(pipe.write_fd)
    decisions = log.DecisionLog("refused", writer)
    decisions.write([decision(account=f"a{i}") for i in range(4000)], NOW)
    decisions.tick(NOW + 1)
    sums = [json.loads(line) for line in pipe.lines(writer)][1000:]
    assert len(sums) == 1001
    assert sums[-1]["account"] is None
    assert sum(line["count"] for line in sums) == 3000


def test_the_console_form_says_the_same(pipe):
    writer = log.Writer(pipe.write_fd)
    log.DecisionLog("refused", writer, "console").write([decision()] * 2, NOW)
    lines = pipe.lines(writer)
    assert len(lines) == 2
    assert b"refused" in lines[0]
    assert b"destination=138****8000" in lines[0]


def test_an_account_that_is_no_text_does_not_cost_the_batch(pipe):
    writer = log.Writer(pipe.write_fd)
    log.DecisionLog("refused", writer).write([decision(account="\udcff"), decision()], NOW)
    first, second = map(json.loads, pipe.lines(writer))
    assert first["account"] == r"'\udcff'"
    assert first["event"] == second["event"] == "refused"
    assert first["destination"] == "138****8000"
    assert second["account"] == "acme"


@pytest.mark.parametrize(
    "destination",
    [
        b"8613800138000",
        "13800138000",
        "+86 138-0013-8000",
        b"tel:13800138000",
        b"13800138000;13900139000",
        "\uff11\uff13\uff18\uff10\uff10\uff11\uff13\uff18\uff10\uff10\uff10",
        b"\xef\xbc\x9113800138000",
        b"13800138000" * 20,
    ],
)
def test_no_destination_is_shown_whole(destination):
    shown = log.mask_destination(destination)
    assert "00138" not in shown
    assert sum(c.isdigit() for c in shown) <= 7
    assert len(shown) <= 64


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("10657555", "10657555"),
        ("8610657555001", "8610657555001"),
        ("106575550012345678901", "106575550012345678901"),
        ("10086999", "10086999"),
        ("95588", "95588"),
        ("ACME", "ACME"),
        ("某公司", "某公司"),
        ("A-1 +2", "A-1 +2"),
        ("", ""),
        ("13800138000", "138****8000"),
        ("8613800138000", "138****8000"),
        ("+86 138 0013 8000", "138****8000"),
        ("tel:13800138000", "tel:138****8000"),
        (b"13800138000", "138****8000"),
    ],
)
def test_a_source_is_masked_where_it_could_be_a_person(source, shown):
    assert log.mask_source(source) == shown


def test_the_service_prefixes_of_one_country_are_not_those_of_another():
    assert log.mask_source("9512345678", "86") == "9512345678"
    assert "12345" not in log.mask_source("9512345678", "91")
