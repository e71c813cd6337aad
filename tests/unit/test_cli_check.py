"""`smsfilter check`: exit statuses, and each warning with its place."""

import resource
from pathlib import Path

import pytest

from smsfilter.cli.check import cautions
from smsfilter.cli.main import main
from smsfilter.config import load
from smsfilter.desk import keys
from smsfilter.rules.verdict import ANSWERS, Kind, Reason
from smsfilter.store import keyfiles

CONFIG = """
proxy: {listen: ["0.0.0.0:2775"], smsc: ["127.0.0.1:2776"], limits: {sessions: 8}}
redis: {url: "redis://127.0.0.1:6379/0"}
"""
POLICY = 'version: 1\nrefused_destinations: ["10086999"]\n'


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "smsfilter.yaml").write_text(CONFIG)
    (tmp_path / "policy.yaml").write_text(POLICY)
    return tmp_path


def warnings(files: Path, policy: str = POLICY, config: str = CONFIG) -> list[str]:
    (files / "smsfilter.yaml").write_text(config)
    (files / "policy.yaml").write_text(policy)
    found = cautions(load(files / "smsfilter.yaml", {}))
    return [f"{place}: {message}".removeprefix(f"{files}/") for place, message in found]


def check(files: Path, *arguments: str) -> int:
    return main(["check", "-c", str(files / "smsfilter.yaml"), *arguments])


def test_good_files(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(files) == 0

    out, err = capsys.readouterr()
    assert out.splitlines()[0] == f"{files}/smsfilter.yaml: ok"
    assert out.splitlines()[1].startswith(f"{files}/policy.yaml: ok, policy ")
    assert err == ""


def test_the_disk_that_records_need(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (files / "smsfilter.yaml").write_text(CONFIG + "decisions: {keep: 10d}\nstate_dir: none/yet\n")
    assert check(files, "--rate", "1000") == 0
    line = capsys.readouterr().out.splitlines()[2]
    assert line.startswith("decision records: 48.4 GB for 1000 messages a second, kept for 10 days")
    assert line.endswith(f"free at {files}")


def test_without_records_nothing_can_be_shown(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    off = CONFIG + "decisions: {record: false}\n"
    (found,) = warnings(files, config=off)
    assert "no decision records" in found
    assert check(files) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_the_files_of_the_desk_are_read_too(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    centre = "{smsc: '127.0.0.1:2777', system_id: centre, password_file: centre}"
    (files / "smsfilter.yaml").write_text(f"{CONFIG}desk: {{report_centre: {centre}}}\n")

    assert check(files) == 1
    why = f"{files}/centre: cannot be read: No such file or directory"
    first, second = capsys.readouterr().err.splitlines()
    assert first == f"{files}/smsfilter.yaml:4:82: {why}"
    assert second.startswith(f"{files}/replies.yaml: cannot be read: ")
    (files / "centre").write_text("hush")
    (files / "replies.yaml").write_text("blocked: ''\n")
    assert check(files) == 1
    assert capsys.readouterr().err.startswith(f"{files}/replies.yaml:1:10: ")
    (files / "replies.yaml").write_text("blocked: Thank you, {id}\n")
    assert check(files) == 0


def test_the_keys_of_the_desk(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    centre = "{smsc: '127.0.0.1:2777', system_id: centre}"
    (files / "smsfilter.yaml").write_text(
        f"{CONFIG}state_dir: state\ndesk: {{report_centre: {centre}}}\n"
    )
    (files / "replies.yaml").write_text("blocked: Thank you, {id}\n")
    assert check(files) == 0
    cure = f"smsfilter desk init -c {files}/smsfilter.yaml"
    assert f"the desk has no keys yet (token.key, data.key, ledger-sign.key): {cure}" in (
        capsys.readouterr().err
    )
    keys.make(files / "state")
    assert check(files) == 0
    assert capsys.readouterr().err == ""
    leaked = files / "state" / "keys" / "data.key"
    leaked.chmod(0o640)
    assert check(files) == 1
    assert f"others may read it (mode 0640): chmod 600 {leaked}" in capsys.readouterr().err


def test_the_records_of_proxies_at_the_desk(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    centre = "{smsc: '127.0.0.1:2777', system_id: centre}"
    listed = "[{proxy: p1, path: state/decisions}, {proxy: p2, path: copy}]"
    (files / "smsfilter.yaml").write_text(
        f"{CONFIG}state_dir: state\ndesk: {{report_centre: {centre}, decisions: {listed}}}\n"
    )
    (files / "replies.yaml").write_text("blocked: Thank you, {id}\n")
    keys.make(files / "state")
    (files / "copy").mkdir()
    assert check(files) == 0
    said = capsys.readouterr().err
    folder = files / "state" / "decisions"
    for why in (
        f"records of p1: {files}/state/keys/decisions.key: No such file",
        f"records of p1: {folder} is no folder",
        f"records of p2: {files}/state/keys/decisions/p2.key: No such file",
        f"records of p2: {files}/copy/copied does not say when",
    ):
        assert why in said
    folder.mkdir()
    (files / "copy" / "copied").touch()
    for name in ("decisions.key", "decisions/p2.key"):
        keyfiles.make(files / "state" / "keys" / name)
    assert check(files) == 0
    assert capsys.readouterr().err == ""


def test_bad_files(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (files / "smsfilter.yaml").write_text(CONFIG + "lgo: {}\n")
    (files / "policy.yaml").write_text("mode: of\nrules: []\n")

    assert check(files) == 1

    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        f"{files}/smsfilter.yaml:4:1: unknown key 'lgo'; did you mean 'log'?",
        f"{files}/policy.yaml:1:7: 'of' is not allowed here; write enforce, shadow",
    ]


def test_a_url_that_only_the_store_can_judge(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (files / "smsfilter.yaml").write_text(CONFIG.replace("/0", "/0?ssl_ca=x"))

    assert check(files) == 1
    assert f"{files}/smsfilter.yaml:3:14: " in capsys.readouterr().err


def test_warnings_leave_the_status_at_0(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (files / "policy.yaml").write_text(POLICY + "mode: shadow\n")

    assert check(files) == 0
    assert capsys.readouterr().err == (
        f"{files}/policy.yaml:3:7: warning: mode is shadow: nothing is refused, only counted\n"
    )


def test_usage(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["check", "-c"], ["check", "-c", "x", "--alive"], ["chek"]):
        with pytest.raises(SystemExit) as raised:
            main(arguments)
        assert raised.value.code == 2
    assert "usage: smsfilter" in capsys.readouterr().err


def test_the_defaults_need_no_warning(files: Path) -> None:
    assert warnings(files) == []


def test_what_weakens_the_rules(files: Path) -> None:
    policy = (
        "version: 1\n"
        "mode: shadow\n"
        "unknown: account\n"
        "rules:\n"
        "  - {id: source, type: source, mode: shadow}\n"
        "  - {id: blocked, type: block, on_error: pass}\n"
        "  - {id: approval, type: approval, mode: off, on_error: pass}\n"
        "accounts: {acme: {mode: shadow}}\n"
    )

    assert [
        line.split(": ")[0] + " " + line.split(": ")[1] for line in warnings(files, policy)
    ] == [
        "policy.yaml:2:7 mode is shadow",
        "policy.yaml:3:10 unknown is account",
        "policy.yaml:1:1 no refused_destinations",
        "policy.yaml:5:38 rule 'source' refuses nothing",
        "policy.yaml:6:42 rule 'blocked' lets messages pass unchecked while Redis is away; let "
        "smsfilter_policy_bypassed_total alarm",
        "policy.yaml:7:42 rule 'approval' refuses nothing",
        "policy.yaml:5:3 no rule of type scheduled",
        "policy.yaml:5:3 no rule of type replace",
        "policy.yaml:5:3 no rule of type signature",
        "policy.yaml:5:3 no rule of type lists",
        "policy.yaml:8:25 nothing is refused to account 'acme'",
    ]


@pytest.mark.parametrize(
    ("status", "warned"),
    [
        ("ESME_RINVDSTADR", False),
        ("0x0A", False),
        ("0x66", False),
        ("0x14", True),
        ("0x45", True),
        ("ESME_RTHROTTLED", True),
        ("0x61", True),
        ("0x400", True),
        ("0x4FF", True),
    ],
)
def test_statuses_that_senders_retry(files: Path, status: str, *, warned: bool) -> None:
    by_rule = warnings(files, f"{POLICY}rules: [{{id: b, type: block, status: {status}}}]\n")
    by_account = warnings(
        files, f"{POLICY}accounts: {{a: {{status: {{blocked_by_report: {status}}}}}}}\n"
    )

    assert any("policy.yaml:3:38: " in line for line in by_rule) is warned
    assert len(by_account) == warned
    assert all("policy.yaml:3:44: 0x" in line for line in by_account)


def test_an_invalid_schedule_may_be_said_of_a_schedule(files: Path) -> None:
    rule = "{id: s, type: scheduled, status: 0x61}"
    account = "{status: {scheduled_not_allowed: 0x61}}"

    found = warnings(files, f"{POLICY}rules: [{rule}]\naccounts: {{a: {account}}}\n")

    assert not any("send again" in line for line in found)


def test_a_temporary_reason_must_not_be_final(files: Path) -> None:
    (found,) = warnings(
        files, f"{POLICY}accounts: {{a: {{status: {{lookup_unavailable: 0x0B}}}}}}\n"
    )

    assert "0x0B ESME_RINVDSTADR is final for senders" in found


@pytest.mark.parametrize("reason", [r for r in Reason if ANSWERS[r].kind is Kind.TEMPORARY])
def test_a_temporary_reason_may_be_said_in_other_ways(files: Path, reason: Reason) -> None:
    account = f"{{status: {{{reason}: ESME_RMSGQFUL}}}}"

    assert warnings(files, f"{POLICY}accounts: {{a: {account}}}\n") == []


def test_too_few_file_descriptors(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _what: (79, 1 << 20))
    assert warnings(files) == [
        "smsfilter.yaml:2:80: 8 sessions need 80 file descriptors, and 79 are allowed here; raise "
        "the limit (LimitNOFILE=80 in the systemd unit, `ulimit -n 80` in a shell) or lower "
        "proxy.limits.sessions"
    ]
    for enough in (80, resource.RLIM_INFINITY):
        monkeypatch.setattr(resource, "getrlimit", lambda _what, soft=enough: (soft, soft))
        assert warnings(files) == []


def test_the_private_server_is_not_for_service(files: Path) -> None:
    (found,) = warnings(files, config=CONFIG.replace("redis://127.0.0.1:6379/0", "embedded:"))

    assert found.startswith("smsfilter.yaml:3:14: embedded: is a private server")
