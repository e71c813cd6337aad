"""What an account goes through, and the first two people; on both databases."""

from functools import partial
from typing import Any

import pytest

from smsfilter.desk import hands
from smsfilter.flow.branches import Branch, Branches
from smsfilter.flow.rights import Role
from smsfilter.ledger.actor import Actor, local
from smsfilter.staff import accounts, founders
from smsfilter.staff.accounts import AccountError, NewStaff
from smsfilter.staff.codes import Code
from smsfilter.store.schema import staff
from tests.fakes.registrar import Registrar

ROOT = local("root", "command")
LI = Actor("staff:li.wei", "headquarters", "10.0.0.7")
BRANCHES = Branches([Branch("bj", "Beijing", prefixes=("8610",))])


def new(id: str, *roles: Role, person: str | None = None, **more: Any) -> NewStaff:
    """A person who is to get an account."""
    given = NewStaff(
        id=id, person=person or f"E-{id}", name=id.title(), roles=roles or (Role.CLERK,), **more
    )
    return accounts.checked(given, BRANCHES, "86")


@pytest.fixture
def desk(records):
    """Records with nobody in them."""
    with Registrar(records) as desk:
        yield desk


def did(desk, work, *arguments: Any, **named: Any) -> Any:
    """Do it in a transaction."""
    return desk.do(partial(work, **named), *arguments)


def add(desk, given: NewStaff) -> Code:
    code = Code.make()
    did(desk, accounts.add, desk.vault, given, by=LI, added_by="a", approved_by="b", code=code)
    return code


def first(desk) -> Code:
    return did(desk, founders.first, desk.vault, new("li.wei", Role.HEADQUARTERS), by=ROOT)


def enrol(desk, id: str, *halves: str) -> bool:
    return did(desk, accounts.enrol, id, *halves, "$argon2id$", origin="socket")


def state(desk, id: str) -> str:
    return desk.look(accounts.find, id).state


def test_an_account_is_added_enrolled_and_left(desk):
    code = add(desk, new("zhao.lei", Role.SUPERVISOR, Role.CLERK, branch="bj"))
    person = desk.look(accounts.find, "zhao.lei")
    assert (person.state, person.roles) == ("invited", ("clerk", "supervisor"))
    assert (person.added_by, person.approved_by) == ("a", "b")
    assert not enrol(desk, "zhao.lei", code.first, code.first)
    assert enrol(desk, "zhao.lei", code.first, code.second)
    assert not enrol(desk, "zhao.lei", code.first, code.second)
    assert state(desk, "zhao.lei") == "active"
    did(desk, accounts.leave, "zhao.lei", by=LI, asked_by="wang.fang")

    (row,) = desk.rows(staff)
    assert (row.state, row.pw_hash, row.phone_enc) == ("left", None, None)
    acts = [(each.action, each.actor) for each in desk.acts()]
    assert acts[-3:] == [
        ("staff added", "staff:li.wei"),
        ("enrolled", "staff:zhao.lei"),
        ("staff left", "staff:li.wei"),
    ]
    assert desk.acts()[-1].detail == {"asked_by": "wang.fang"}


def test_a_number_is_sealed_and_shown_masked(desk):
    add(desk, new("zhao.lei", phone="13800138000"))

    assert desk.look(accounts.phone, desk.vault, "zhao.lei") == "8613800138000"
    assert desk.look(accounts.masked_phone, desk.vault, "zhao.lei") == "138****8000"
    assert "13800138000" not in repr([desk.rows(staff), desk.acts()])


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"id": "zhao.lei", "person": "E2"}, "the id zhao.lei"),
        ({"id": "zhao.lei2", "person": "E1"}, "the person E1"),
    ],
)
def test_nobody_has_two_accounts(desk, given, why):
    add(desk, new("zhao.lei", person="E1"))

    with pytest.raises(AccountError, match=why):
        add(desk, new(**given))


def test_what_an_account_cannot_be():
    with pytest.raises(AccountError, match="no branch sh"):
        new("zhao.lei", branch="sh")
    with pytest.raises(AccountError, match="of the branch hq"):
        new("zhao.lei", Role.HEADQUARTERS, branch="bj")
    with pytest.raises(AccountError, match="telephone"):
        new("zhao.lei", person="13800138000")


def test_who_is_suspended_comes_back_with_the_same_password(desk):
    code = add(desk, new("zhao.lei"))
    enrol(desk, "zhao.lei", code.first, code.second)
    did(desk, accounts.suspend, "zhao.lei", by=LI, reason="lost a laptop")
    assert state(desk, "zhao.lei") == "suspended"
    with pytest.raises(AccountError, match="is suspended"):
        did(desk, accounts.reset, "zhao.lei", by=LI, code=Code.make())
    did(desk, accounts.restore, "zhao.lei", by=LI, asked_by="wang.fang")

    assert state(desk, "zhao.lei") == "active"


def test_a_code_does_not_outlive_a_suspension(desk):
    code = add(desk, new("zhao.lei"))
    did(desk, accounts.suspend, "zhao.lei", by=LI)
    did(desk, accounts.restore, "zhao.lei", by=LI)

    assert state(desk, "zhao.lei") == "invited"
    assert not enrol(desk, "zhao.lei", code.first, code.second)


def test_people_are_listed_by_branch_and_page(desk):
    for id, branch in (("a1", "bj"), ("a2", "hq"), ("a3", "bj"), ("a4", "bj")):
        add(desk, new(id, branch=branch))

    def ids(**which: Any) -> list[str]:
        return [each.id for each in desk.look(lambda c: accounts.listed(c, **which))]

    assert ids(within={"bj"}, limit=2) == ["a1", "a3"]
    assert ids(within={"bj"}, after="a3") == ["a4"]
    assert ids() == ["a1", "a2", "a3", "a4"]


# the first two


def test_the_first_person_is_made_once(desk):
    code = first(desk)

    assert first(desk) is None
    assert enrol(desk, "li.wei", code.first, code.second)
    assert desk.look(hands.headquarters) == ["li.wei"]
    assert [each.action for each in desk.acts()] == ["first person", "enrolled"]


def bootstrap(desk, id: str = "wang.fang", **more: Any) -> str:
    given = new(id, Role.HEADQUARTERS, **more)
    return did(desk, founders.bootstrap, desk.vault, given, by=LI)


def given_out(desk, id: str) -> founders.Given:
    return did(desk, founders.give_out, id, by=ROOT)


def begun(desk) -> None:
    code = first(desk)
    enrol(desk, "li.wei", code.first, code.second)


def test_the_second_person_needs_both_halves(desk):
    begun(desk)
    half = bootstrap(desk)
    assert not enrol(desk, "wang.fang", half, half)
    other = given_out(desk, "wang.fang").half
    assert not enrol(desk, "wang.fang", half, half)
    assert not enrol(desk, "wang.fang", other, other)

    assert enrol(desk, "wang.fang", half, other)
    assert desk.look(hands.headquarters) == ["li.wei", "wang.fang"]


def test_the_other_half_is_given_out_once(desk):
    begun(desk)
    bootstrap(desk)
    before = given_out(desk, "wang.fang").half
    with pytest.raises(AccountError, match="given out already"):
        given_out(desk, "wang.fang")
    half = bootstrap(desk, person="E2")
    with pytest.raises(AccountError, match=r"the second person is wang\.fang"):
        bootstrap(desk, "zhao.lei")

    other = given_out(desk, "wang.fang").half
    assert not enrol(desk, "wang.fang", half, before)
    assert enrol(desk, "wang.fang", half, other)


def test_it_is_over_once_the_second_person_has_enrolled(desk):
    begun(desk)
    half = bootstrap(desk)
    enrol(desk, "wang.fang", half, given_out(desk, "wang.fang").half)

    for id in ("wang.fang", "zhao.lei"):
        with pytest.raises(AccountError, match="once and for all"):
            bootstrap(desk, id)
    for id in ("wang.fang", "li.wei"):
        with pytest.raises(AccountError):
            given_out(desk, id)


def test_the_second_person_is_of_headquarters(desk):
    begun(desk)

    with pytest.raises(AccountError, match="of headquarters too"):
        did(desk, founders.bootstrap, desk.vault, new("wang.fang"), by=LI)


def test_the_first_code_is_made_anew_while_nobody_has_enrolled(desk):
    lost = first(desk)
    code = given_out(desk, "li.wei").code

    assert not enrol(desk, "li.wei", lost.first, lost.second)
    assert enrol(desk, "li.wei", code.first, code.second)
    with pytest.raises(AccountError):
        given_out(desk, "li.wei")


def test_a_code_of_anybody_else_is_never_given_out(desk):
    begun(desk)
    half = bootstrap(desk)
    enrol(desk, "wang.fang", half, given_out(desk, "wang.fang").half)
    add(desk, new("zhao.lei"))

    with pytest.raises(AccountError, match="first two people only"):
        given_out(desk, "zhao.lei")
