"""The fuzz targets: a few cases of each in every run, and as many as there is time for on demand.

`pytest -m fuzz --fuzz-minutes 10 -n 2` runs for ten minutes on one core less. A case that fails
says with which `--seed` and `--case` it runs again alone. What it found belongs into
tests/wire/good.jsonl or bad.jsonl.
"""

import os
import random
from collections.abc import Iterator

import pytest
import structlog

from smsfilter import log
from smsfilter.proxy.session import Session
from smsfilter.smpp import peek
from smsfilter.smpp.framer import Framer
from tests.fuzz import cases, path, protocol, reports
from tests.fuzz.cost import cost

TARGETS = (*protocol.TARGETS, *reports.TARGETS, path.session, cost)
FEW = {path.session: 150, cost: 20}


@pytest.fixture(autouse=True)
def unheard() -> Iterator[None]:
    """What the sessions log is of no interest."""
    fd = os.open(os.devnull, os.O_WRONLY)
    writer = log.configure("json", "error", fd)
    yield
    assert writer.close()
    os.close(fd)
    structlog.reset_defaults()


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.__name__)
def test_a_few_cases(target: cases.Target) -> None:
    few = FEW.get(target, 1500)
    assert cases.run(target, "few", cases=few) == few


@pytest.mark.fuzz
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.__name__)
def test_as_many_as_there_is_time_for(target: cases.Target, request: pytest.FixtureRequest) -> None:
    """The time is shared out evenly, but for the whole session, which gets half of it."""
    seed, case = request.config.getoption("seed"), request.config.getoption("case")
    if case is not None:
        assert cases.run(target, seed, first=case, cases=1)
        return
    minutes = request.config.getoption("fuzz_minutes")
    share = 0.5 if target is path.session else 0.5 / (len(TARGETS) - 1)
    done = cases.run(target, seed, minutes=minutes * share)
    print(f"\n{target.__name__}: {done} cases, --seed {seed}")
    assert done


# a fuzzer that finds nothing has to show that it could


def fails(target: cases.Target, cases_most: int = 3000) -> None:
    with pytest.raises((AssertionError, ExceptionGroup)) as failure:
        cases.run(target, "planted", cases=cases_most)
    assert "--case" in failure.value.__notes__[-1]


def test_a_block_that_is_overlooked_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(path, "IN_INDEX", b"nobody")
    fails(path.session)


def test_an_answer_given_twice_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Session.answered
    monkeypatch.setattr(Session, "answered", lambda *args: honest(*args) or True)
    fails(path.session)


def test_an_error_in_one_pdu_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*_args: object) -> None:
        raise IndexError("TLV")

    monkeypatch.setattr(peek, "check_tlvs", explode)
    fails(path.session)


def test_a_peek_that_is_too_kind_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peek, "check_tlvs", lambda *args, **options: 0)
    fails(protocol.decoding)


def test_a_framer_that_forgets_an_octet_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Framer.feed

    def forgetful(framer: Framer, chunk: bytes) -> bool:
        return honest(framer, chunk[:-1] if len(chunk) == 2 else chunk)

    monkeypatch.setattr(Framer, "feed", forgetful)
    fails(protocol.framing)


def test_the_same_case_is_the_same_octets() -> None:
    first, second = (cases.pdu(random.Random("x")) for _ in range(2))
    assert first == second
