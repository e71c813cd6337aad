"""Any sequence of files, mergers and blocks: what is in force is what was said last."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from smsfilter.desk.company import extend, merge
from smsfilter.ledger.chain import GENESIS, link
from smsfilter.rules.registry import Company, RegistryFile
from smsfilter.store import ledger
from smsfilter.store.records import Records
from smsfilter.store.schema import block, company, company_source, reseller_grant
from tests.fakes.registrar import BY, Registrar, registry

NUMBERS = ("8613800138000", "8613800138001")
PREFIXES = ("1", "1065", "106575", "95588")
HEADERS = {"acme": ("ACME", "acme", "Ａ ＣＭＥ"), "某公司": ("某公司",), "x": ("X", "x ")}
SIGNATURES = ("某公司", "ACME", "乙 公司")
SPLITS = ("2026-01-31", "2026-01-31T08:00")

_whole: list[dict[str, str]] = [{}]
_halves: list[dict[str, str]] = [
    {"valid_to": "2026-01-31T08:00"},
    {"valid_from": "2026-01-31T08:00", "valid_to": "2026-03-01"},
    {"valid_from": "2026-03-02T00:00"},
]


@st.composite
def files(draw: st.DrawFn, keys: tuple[str, ...]) -> RegistryFile:
    """Any registry of these companies: each thing is somebody's, at each time, or nobody's."""
    own: dict[str, dict[str, Any]] = {
        key: {"name": draw(st.none() | st.text("ab某", max_size=3)), "sources": [], "headers": []}
        for key in draw(st.lists(st.sampled_from(keys), unique=True))
    }
    held = st.sampled_from([None, *own])
    for prefix in PREFIXES:
        for span in draw(st.sampled_from([_whole, _halves])):
            owner = draw(held)
            if owner is not None:
                source = {"prefix": prefix, **span}
                own[owner]["sources"] += [source] * draw(st.sampled_from([1, 1, 1, 2]))
    for spellings in HEADERS.values():
        owner = draw(held)
        if owner is not None:
            own[owner]["headers"] += draw(st.lists(st.sampled_from(spellings), max_size=3))
    accounts = draw(st.lists(st.tuples(held, st.sampled_from("abcdef")), unique_by=lambda e: e[1]))
    for key, each in own.items():
        each["accounts"] = [account for owner, account in accounts if owner == key]
        each["signatures"] = draw(st.lists(st.sampled_from(SIGNATURES), max_size=3))
        each["sources"] = draw(st.permutations(each["sources"]))
    allowed = st.lists(st.sampled_from([*own])) if own else st.just([])
    resellers = draw(st.dictionaries(st.sampled_from(["r1", "r2"]), allowed, max_size=2))
    return registry(
        companies=own,
        resellers={account: {"may_send_for": keys_} for account, keys_ in resellers.items()},
    )


@contextmanager
def desk_of_its_own() -> Iterator[Registrar]:
    with TemporaryDirectory() as folder:
        records = Records(f"sqlite:///{folder}/records.db")
        records.migrate()
        with Registrar(records) as desk:
            yield desk
        records.close()


KEYS = ("acme", "bravo", "Charlie.1")


@pytest.fixture(scope="module")
def shared() -> Iterator[Registrar]:
    with desk_of_its_own() as desk:
        yield desk


@given(st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_goes_in_comes_out(shared: Registrar, data: st.DataObject) -> None:
    file = data.draw(files(KEYS))
    shared.now += 1
    changes = shared.take_in(file)
    given_out = shared.load()
    assert given_out == file
    assert RegistryFile.model_validate_json(given_out.model_dump_json()) == file
    again = shared.take_in(given_out)
    assert (again.entered, again.added, again.ended) == (None, 0, 0)
    assert again.digest == changes.digest


class Companies(RuleBasedStateMachine):
    """The registry of a desk, and what its operators were told that it is."""

    desk: Registrar

    @initialize()
    def start(self) -> None:
        for each in self.desk.rows(block):
            if each.ended_at is None:
                self.desk.unblock(each.id)
        self.desk.now += 1
        self.desk.take_in(registry())
        self.expected: dict[str, Any] = {}
        self.resellers: dict[str, Any] = {}
        self.lives: dict[int, tuple[str, str]] = {}
        taken = sum(row.state == "merged" for row in self.desk.rows(company))
        self.keys = tuple(f"{key}{taken}" for key in KEYS)
        self.merged = taken
        self.counted = self.rows()

    def rows(self) -> list[int]:
        return [self.desk.count(t) for t in (company, company_source, reseller_grant, block)]

    @rule(data=st.data())
    def take_in(self, data: st.DataObject) -> None:
        file = data.draw(files(self.keys))
        self.desk.now += 1
        changes = self.desk.take_in(file)
        blocked = {target for _, target in self.lives.values()}
        kept = {key for key in self.expected if key not in file.companies and key in blocked}
        assert set(changes.companies_kept) == kept
        bare = {key: Company(name=self.expected[key].name) for key in kept}
        self.expected = {**file.companies, **bare}
        self.resellers = file.resellers

    @precondition(lambda self: self.expected)
    @rule(data=st.data(), number=st.sampled_from(NUMBERS))
    def put_block(self, data: st.DataObject, number: str) -> None:
        target = data.draw(st.sampled_from(sorted(self.expected)))
        self.lives[self.desk.block(target, number)] = (number, target)

    @precondition(lambda self: self.lives)
    @rule(data=st.data())
    def end_block(self, data: st.DataObject) -> None:
        each = data.draw(st.sampled_from(sorted(self.lives)))
        self.desk.unblock(each)
        del self.lives[each]

    @precondition(lambda self: self.expected)
    @rule(data=st.data(), header=st.sampled_from(["NEW", "NEWER"]))
    def give_more(self, data: st.DataObject, header: str) -> None:
        key = data.draw(st.sampled_from(sorted(self.expected)))
        owners = [each for each, own in self.expected.items() if header in own.headers]
        if owners and owners != [key]:
            return
        self.desk.do(extend, key, Company(headers=(header,)), BY)
        if not owners:
            own = self.expected[key]
            self.expected[key] = own.model_copy(update={"headers": (*own.headers, header)})

    @precondition(lambda self: len(self.expected) > 1)
    @rule(data=st.data())
    def merge(self, data: st.DataObject) -> None:
        one, other = data.draw(st.permutations(sorted(self.expected)))[:2]
        self.desk.now += 1
        self.desk.do(merge, one, other, BY)
        gone, own = self.expected.pop(one), self.expected[other]
        for name in ("accounts", "sources", "headers", "signatures"):
            there = getattr(own, name)
            more = tuple(each for each in getattr(gone, name) if each not in there)
            own = own.model_copy(update={name: there + more})
        self.expected[other] = own
        self.merged += 1
        self.keys = tuple(f"{one[: len(k)]}{self.merged}" if k == one else k for k in self.keys)
        self.resellers = self.desk.load().resellers
        assert all(one not in each.may_send_for for each in self.resellers.values())
        live = set(self.lives.values())
        self.lives = {
            row.id: pair
            for row in self.desk.rows(block)
            if row.ended_at is None
            for pair in [(self.number(row.customer), row.target)]
        }
        moved = {(number, other if target == one else target) for number, target in live}
        assert set(self.lives.values()) == moved
        assert len(self.lives) == len(moved)

    def number(self, customer: str) -> str:
        return self.desk.look(self.desk.vault.numbers, [customer])[customer]

    @invariant()
    def what_is_in_force_is_what_was_said_last(self) -> None:
        content = self.desk.load()
        assert content.companies == self.expected
        assert content.resellers == self.resellers
        RegistryFile.model_validate_json(content.model_dump_json())

    @invariant()
    def nothing_is_deleted(self) -> None:
        counted = self.rows()
        assert all(now >= before for now, before in zip(counted, self.counted, strict=True))
        self.counted = counted

    @invariant()
    def who_is_blocked_is_there(self) -> None:
        states = {row.id: row.state for row in self.desk.rows(company)}
        assert all(states[target] == "active" for _, target in self.lives.values())
        assert self.desk.live() == set(self.lives.values())

    @invariant()
    def a_row_tells_who_changed_it(self) -> None:
        seqs = Counter(row.changed_seq for row in self.desk.rows(company_source))
        assert 0 not in seqs

    def teardown(self) -> None:
        with self.desk.records.reading() as connection:
            prev = GENESIS
            for each in ledger.rows(connection):
                prev = link(prev, each.body)
                assert each.hash == prev


def test_any_sequence_of_acts(records: Records) -> None:
    with Registrar(records) as desk:
        machine = type("Machine", (Companies,), {"desk": desk})
        case = machine.TestCase  # type: ignore[attr-defined]
        case.settings = settings(
            max_examples=8,
            stateful_step_count=15,
            suppress_health_check=[HealthCheck.too_slow],
            deadline=None,
        )
        case().runTest()
