"""`smsfilter explain` without Redis: who sends, as the bind of an ESME would have it."""

import json
from pathlib import Path

import pytest

from smsfilter.cli.main import main

CONFIG = "proxy: {listen: ['h:1'], smsc: ['h:2']}\nredis: {url: 'redis://h'}\nstate_dir: .\n"
REGISTRY = "companies: {acme: {accounts: [acme], sources: ['10657555']}}\n"


@pytest.mark.parametrize(
    ("typed", "named"),
    [
        ("acme", "acme"),
        ("某公司", "æ\x9f\x90å\x85¬å\x8f¸"),  # the octets of a terminal in UTF-8
        ("caf\udce9", "café"),  # an octet that is no UTF-8, as Python hands it over
    ],
)
def test_an_account_is_the_octets_that_are_typed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], typed: str, named: str
) -> None:
    """Named as the proxy names it; here each one unknown is a company of its own."""
    (tmp_path / "smsfilter.yaml").write_text(CONFIG)
    (tmp_path / "policy.yaml").write_text("version: 1\nunknown: account\n")
    (tmp_path / "registry.yaml").write_text(REGISTRY)
    files = ("-c", str(tmp_path / "smsfilter.yaml"), "--registry", str(tmp_path / "registry.yaml"))
    message = ("--account", typed, "--from", "10657555", "--to", "8613800138000")

    main(["explain", *files, *message, "--approved", "*", "--json"])

    out, err = capsys.readouterr()
    assert not err
    assert json.loads(out)["account"] == named
