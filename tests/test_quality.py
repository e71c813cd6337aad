"""What the tools say of the code, and whether the documents still name what the code has.

ruff and mypy run as tests, so that nobody has to remember them. Reasons, metrics, log events,
rules and settings are read from the code: one that README and docs do not name fails here, as does
a metric that they name and the code does not have.
"""

import json
import re
import subprocess
import sys
import typing
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest
from pydantic import BaseModel

from tests.vocabulary import log_events

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"


def run(*command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_ruff_has_nothing_to_say():
    run("ruff", "check", "--quiet", ".")


def test_ruff_would_format_nothing():
    run("ruff", "format", "--check", "--quiet", ".")


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_mypy_strict_has_nothing_to_say():
    run("mypy")


# documents


@cache
def documents() -> str:
    """README and everything under docs, as one text."""
    if not README.exists():
        pytest.skip("there is no README yet")
    files = [README, *sorted((ROOT / "docs").rglob("*.md"))]
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


def is_documented(name: str) -> bool:
    """Whether the documents have `name`, in backquotes or in a table of code."""
    return re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", documents()) is not None


def undocumented(names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if not is_documented(name))


def metric_names() -> set[str]:
    """Every metric of the project's own."""
    from smsfilter import deskmetrics  # noqa: PLC0415 - not needed for the rest
    from smsfilter.cases.figures import CaseMetrics  # noqa: PLC0415
    from smsfilter.metrics import Metrics, render  # noqa: PLC0415

    desk = deskmetrics.DeskMetrics()
    desk.add((deskmetrics.CentreMetrics(), deskmetrics.IntakeMetrics(), deskmetrics.ProofMetrics()))
    desk.add([CaseMetrics()])
    desk.add([deskmetrics.IndexMetrics(lambda: deskmetrics.IndexFigures(True, 0, 0.0, 0, 0, 0, 0))])
    text = (render(Metrics()) + desk.render()).decode()
    return {
        name
        for name in re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)
        if name.startswith("smsfilter_")
    }


def test_every_reason_is_documented_with_its_status():
    from smsfilter.rules.verdict import ANSWERS, Reason  # noqa: PLC0415

    lines = documents().splitlines()
    missing = [
        f"{reason} 0x{ANSWERS[reason].command_status:02X}"
        for reason in Reason
        if not any(
            f"`{reason}`" in line and f"0x{ANSWERS[reason].command_status:02x}" in line.lower()
            for line in lines
        )
    ]
    assert not missing


def test_every_metric_is_documented():
    assert not undocumented(metric_names())


def test_every_metric_that_is_documented_exists():
    base = re.compile(r"_(bucket|count|sum|created)$")
    existing = metric_names() | {base.sub("", name) for name in metric_names()}
    named = set(re.findall(r"(?<![\w/.])smsfilter_[a-z_]+[a-z]\b", documents()))
    assert not {
        name for name in named if name not in existing and base.sub("", name) not in existing
    }


def test_every_log_event_is_documented():
    assert not undocumented(log_events())


def test_every_log_event_has_a_sample_line_and_no_other_has():
    pages = [(ROOT / "docs" / page).read_text(encoding="utf-8") for page in ("logs.md", "tls.md")]
    text = "\n".join(pages)
    samples = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    assert {sample["event"] for sample in samples} == log_events()


def test_every_rule_is_documented():
    from smsfilter.rules import policy  # noqa: PLC0415

    kinds = typing.get_args(typing.get_args(policy.Rule)[0])
    names = {typing.get_args(kind.model_fields["type"].annotation)[0] for kind in kinds}
    assert names
    assert not undocumented(names)


def settings(model: type[BaseModel]) -> set[str]:
    """The names of the keys of a file."""
    names = set(model.model_json_schema()["properties"])
    for section in model.model_json_schema().get("$defs", {}).values():
        names |= set(section.get("properties", {}))
    return names


@pytest.mark.parametrize("page", ["configuration", "policy", "redis-keys", "replies"])
def test_every_setting_is_documented(page):
    from smsfilter.config import Config  # noqa: PLC0415
    from smsfilter.reports.replies import Replies  # noqa: PLC0415
    from smsfilter.rules.policy import Policy  # noqa: PLC0415
    from smsfilter.rules.senders import RegistryFile  # noqa: PLC0415

    model = {
        "configuration": Config,
        "policy": Policy,
        "redis-keys": RegistryFile,
        "replies": Replies,
    }[page]
    pages = [(ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8") for name in (page, "tls")]
    tables = "\n".join(line for line in "\n".join(pages).splitlines() if line.startswith("|"))
    named = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]+)`", tables))))
    assert settings(model) <= named


def test_the_example_shows_every_setting():
    from smsfilter.config import Config  # noqa: PLC0415

    example = (ROOT / "config" / "smsfilter.yaml").read_text(encoding="utf-8")
    assert settings(Config) <= set(re.findall(r"\w+", example))


def test_reports_in_examples_have_numbers_that_are_taken():
    from smsfilter.reports.ids import read  # noqa: PLC0415

    named = re.findall(r"smsfilter report (?:show|resolve) (\d+)", documents())
    assert named
    assert all(read(number) is not None for number in named)


def test_every_link_leads_somewhere_and_the_readme_to_every_page():
    pages = [README, *sorted((ROOT / "docs").glob("*.md"))]
    links = {
        page: [
            (page.parent / link.partition("#")[0]).resolve()
            for link in re.findall(r"\]\((?!https?:|#)([^)]+)\)", page.read_text(encoding="utf-8"))
        ]
        for page in pages
    }
    assert not [link for found in links.values() for link in found if not link.exists()]
    assert {page.resolve() for page in pages[1:]} <= set(links[README])


def test_every_reason_for_closing_is_documented():
    from smsfilter.deskmetrics import Outcome, Submitted  # noqa: PLC0415
    from smsfilter.proxy.close import Why  # noqa: PLC0415
    from smsfilter.reports.events import Why as WhyUnbound  # noqa: PLC0415

    reasons = (*Why, *WhyUnbound, *Outcome, *Submitted)
    assert not undocumented({str(reason) for reason in reasons})


# the commands of the first screen


def test_ci_runs_exactly_the_test_command_of_the_readme():
    documents()
    readme = README.read_text(encoding="utf-8")
    blocks = re.findall(r"^```\w*\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    command = next(line for line in lines if "pytest" in line)
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert command in script
    assert "export TEST_REQUIRE_PEERS=1" in script
