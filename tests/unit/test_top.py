"""`smsfilter top`: what it makes of a status, and how it takes a proxy that is not there."""

import copy
import io
import json
import re
import time

import pytest
from rich.console import Console

from smsfilter.admin import Admin
from smsfilter.cli import top
from smsfilter.cli.main import main
from smsfilter.metrics import Metrics, render
from smsfilter.rules.verdict import Kind, Reason

ADDRESS = ("127.0.0.1", 9775)


def make_metrics():
    metrics = Metrics()
    metrics.forwarded = 900
    metrics.refused[Kind.PERMANENT, Reason.BLOCKED_BY_REPORT] = 75
    metrics.refused[Kind.TEMPORARY, Reason.LOOKUP_UNAVAILABLE] = 25
    metrics.shadow["approval", Reason.SENDER_NOT_APPROVED] = 7
    metrics.bypassed["blocked"] = 3
    metrics.added_seconds.observe(0.0003, 1000)
    metrics.lookup_seconds.observe(0.00015, 100)
    metrics.batch_size.observe(10, 100)
    metrics.sessions = {"bound_trx": 2}
    metrics.in_flight = 12
    metrics.index_ready = True
    metrics.policy_version = "0123456789ab"
    metrics.registry_version = "42"
    return metrics


def make_session(**changes):
    return {
        "account": "acme",
        "peer": "192.0.2.1:40123",
        "state": "bound_trx",
        "bound_as": "trx",
        "since": time.time() - 3725,
        "forwarded": 1500,
        "refused": 20,
        "in_flight": 4,
    } | changes


def make_status(**changes):
    return {
        **make_metrics().snapshot(),
        "version": "0.1.0",
        "uptime_s": 3725.0,
        "state": "serving",
        "ready": True,
        "missing": [],
        "redis": {"state": "up", "why": None, "endpoint": "127.0.0.1:6379"},
        "sessions": [make_session(), make_session(account="bravo", peer="[2001:db8::1]:5")],
        "sessions_total": 2,
    } | json.loads(json.dumps(changes))


def shown(status, before=None, seconds=1.0, width=120, **options):
    console = Console(file=io.StringIO(), width=width, color_system=None)
    earlier = None if before is None else top.Sample(before, 100.0)
    console.print(top.view(top.Sample(status, 100.0 + seconds), earlier, ADDRESS, **options))
    return console.file.getvalue()


def row(text, *starts):
    """The words of the line that begins with these."""
    pattern = r"^\s*" + r"\s+".join(map(re.escape, starts)) + r"\s*(.*)$"
    return re.search(pattern, text, re.M)[1].split()


# --- the view


def test_a_snapshot_tells_state_verdicts_latency_and_sessions():
    text = shown(make_status())
    first, second, third, fourth = text.splitlines()[:4]
    assert first == "smsfilter 0.1.0 at 127.0.0.1:9775   up 1h 02m   serving   ready"
    assert second == ("redis up 127.0.0.1:6379   index ready   policy 0123456789ab   registry 42")
    assert third == "in flight 12   loop lag 0 µs"
    assert fourth.startswith("added 350 µs / 497 µs / 500 µs   look-up 150 µs /")
    assert "p50 / p99 / p99.9, since start)" in " ".join(text.split())
    assert row(text, "forward") == ["900", "90.0%"]
    assert row(text, "refuse_permanent", "blocked_by_report") == ["75", "7.5%"]
    assert row(text, "refuse_temporary", "lookup_unavailable") == ["25", "2.5%"]
    assert row(text, "shadow", "approval: sender_not_approved") == ["7"]
    assert row(text, "bypassed", "blocked") == ["3"]
    assert "2 sessions   2 bound_trx" in text
    assert row(text, "acme", "192.0.2.1:40123", "trx") == ["1h", "02m", "1,500", "20", "4"]
    assert "[2001:db8::1]:5" in text


def test_rates_and_latency_are_those_since_the_last_look():
    metrics = make_metrics()
    before = make_status()
    metrics.forwarded += 5000
    metrics.refused[Kind.PERMANENT, Reason.BLOCKED_BY_REPORT] += 3
    metrics.added_seconds.observe(0.03, 10)
    since = before["sessions"][0]["since"]
    now = make_status(
        **metrics.snapshot(), sessions=[make_session(forwarded=1700, since=since)], uptime_s=3727.0
    )
    text = shown(now, before, seconds=2.0)
    assert row(text, "forward")[:2] == ["2,500", "5,900"]
    assert row(text, "refuse_permanent", "blocked_by_report")[:2] == ["1.5", "78"]
    assert row(text, "refuse_temporary", "lookup_unavailable")[:2] == ["0", "25"]
    assert "added 35.0 ms /" in text
    assert "look-up - / - / -" in text  # none in between
    assert row(text, "acme", "192.0.2.1:40123", "trx")[2:4] == ["100", "1,700"]


def test_another_process_has_no_past():
    before = make_status()
    text = shown(make_status(uptime_s=1.0), before)
    assert row(text, "forward") == ["900", "90.0%"]
    assert "since start)" in " ".join(text.split())


def test_trouble_is_told_in_words():
    text = shown(
        make_status(
            ready=False,
            state="draining",
            missing=["registry: load it by `smsfilter registry load FILE`"],
            redis={"state": "away", "why": "Connection refused", "endpoint": "db:6379"},
            index_ready=False,
            config_stale=True,
            log_dropped=1234,
        ),
        trouble="no proxy answers",
    )
    for words in (
        "draining   not ready",
        "redis away db:6379 (Connection refused)",
        "index not ready",
        "config_rejected",
        "1,234 log lines dropped",
        "missing: registry: load it by `smsfilter registry load FILE`",
        "no proxy answers",
    ):
        assert words in text


def test_names_that_peers_choose_are_only_text():
    hostile = make_session(account="[red]\x1b[2J\n\u202ex", peer="[/]")
    text = shown(make_status(sessions=[hostile], redis={"state": "away", "why": "\x1b]0;x\x07"}))
    assert "[red]·[2J··x" in text
    assert not [c for c in text if not c.isprintable() and c != "\n"]


def test_a_narrow_screen_cuts_text_and_no_number():
    long = make_session(account="fifteen_octets_", peer="[2001:db8:1234:5678::9abc]:54321")
    text = shown(make_status(sessions=[long]), make_status(sessions=[long]), width=80)
    assert max(map(len, text.splitlines())) <= 80
    assert re.search(r"1h 02m +0 +1,500 +20 +4\s*$", text, re.M)


def test_a_low_screen_shows_the_busiest_sessions():
    before = make_status(
        sessions=[make_session(account=f"a{i:02}", since=1.0) for i in range(40)],
        sessions_total=500,
    )
    now = copy.deepcopy(before)
    now["sessions"][33]["forwarded"] += 10
    text = shown(now, before, lines=24)
    assert "500 sessions (the busiest 6 shown)" in text
    assert len(text.splitlines()) <= 24
    assert text.index("a33") < text.index("a00")
    assert "a20" not in text


def test_a_status_without_messages_or_sessions_is_shown_as_well():
    text = shown(
        Metrics().snapshot() | {"version": "0.1.0", "redis": {"state": "connecting"}}, lines=10
    )
    assert row(text, "forward") == ["0"]
    assert "0 sessions" in text
    assert "added - / - / -" in text


# --- the command


@pytest.fixture
def proxy():
    """Something that answers on an admin port."""
    admin = Admin(
        ("127.0.0.1", 0),
        lambda: render(make_metrics()),
        lambda: (True, {}),
        lambda: (True, {}),
        make_status,
    )
    admin.start()
    yield f"127.0.0.1:{admin.port}"
    admin.stop()


@pytest.fixture
def nobody(proxy):
    """An address where nobody listens."""
    admin = Admin(("127.0.0.1", 0), None, None, None, None)
    admin.start()
    port = admin.port
    admin.stop()
    return f"127.0.0.1:{port}"


def test_where_there_is_no_terminal_it_prints_once_and_plainly(proxy, capsys):
    assert main(["top", "--admin", proxy]) == 0
    text = capsys.readouterr().out
    assert f"smsfilter 0.1.0 at {proxy}" in text
    assert "\x1b" not in text


def test_json_is_the_status_itself(proxy, capsys):
    assert main(["top", "--json", "--admin", proxy]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["messages"]["forward"] == {"": 900}
    assert found.keys() == make_status().keys()


def test_the_configuration_names_the_port(proxy, tmp_path, capsys):
    config = tmp_path / "smsfilter.yaml"
    text = (
        "proxy: {listen: '127.0.0.1:0', smsc: '127.0.0.1:2776', admin: ADMIN}\n"
        "redis: {url: 'redis://127.0.0.1'}\n"
    )
    port = proxy.rpartition(":")[2]
    config.write_text(text.replace("ADMIN", f"'0.0.0.0:{port}'"))
    assert main(["top", "-c", str(config), "--once"]) == 0
    assert proxy in capsys.readouterr().out

    for admin, why in (("null", "has no admin port"), ("'127.0.0.1:0'", "`listening`")):
        config.write_text(text.replace("ADMIN", admin))
        assert main(["top", "-c", str(config), "--once"]) == 1
        assert why in capsys.readouterr().err


@pytest.mark.parametrize("more", [[], ["--once"], ["--json"]])
def test_a_proxy_that_is_not_there_is_one_line_and_exit_status_1(nobody, capsys, more):
    assert main(["top", "--admin", nobody, *more]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"smsfilter top: no proxy answers at {nobody} (Connection refused).")
    assert err.count("\n") == 1


@pytest.mark.parametrize("page", [list, lambda: {"hello": 1}, lambda: 1 / 0])
def test_something_else_that_answers_is_told_as_such(capsys, page):
    admin = Admin(("127.0.0.1", 0), lambda: render(Metrics()), None, None, page)
    admin.start()
    try:
        assert main(["top", "--admin", f"127.0.0.1:{admin.port}"]) == 1
    finally:
        admin.stop()
    assert "is not the admin port of a proxy" in capsys.readouterr().err


@pytest.mark.parametrize("address", ["127.0.0.1", ":9775", "a:b", "a:0", "a:65536"])
def test_an_address_that_is_none_is_a_usage_error(capsys, address):
    with pytest.raises(SystemExit) as ended:
        main(["top", "--admin", address])
    assert ended.value.code == 2
    assert "HOST:PORT" in capsys.readouterr().err


def test_live_it_waits_for_a_proxy_that_went_away_and_ends_by_ctrl_c(monkeypatch, capsys):
    looks = iter(
        [
            make_status(),
            make_status(uptime_s=3726.0, version="0.1.1"),
            top.UnreachableError("no proxy answers (for now)"),
            make_status(uptime_s=0.5, version="0.1.2"),
        ]
    )

    def fetch(address):
        try:
            look = next(looks)
        except StopIteration:
            raise KeyboardInterrupt from None
        if isinstance(look, Exception):
            raise look
        return look

    monkeypatch.setattr(top, "fetch", fetch)
    monkeypatch.setattr(top, "REFRESH_S", 0)
    monkeypatch.setenv("FORCE_COLOR", "1")  # what rich takes for a terminal
    monkeypatch.setenv("TERM", "xterm")
    assert main(["top"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("\x1b[?1049h")  # the other screen, and back from it
    assert out.rstrip().endswith(("\x1b[?1049l", "\x1b[?25h"))
    assert [out.count(f"0.1.{n}") for n in range(3)] == [1, 2, 1]
    assert "no proxy answers (for now)" in out
    assert "last second)" in " ".join(re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", out).split())
