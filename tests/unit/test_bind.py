"""What is checked of a bind before the SMSC is dialled, and what failures cost."""

import pytest

from smsfilter.proxy.bind import (
    DELAY_MOST_S,
    FAILURES_FREE,
    FAILURES_KEPT,
    PEER_FORGOTTEN_S,
    BindDesk,
)
from smsfilter.rules.policy import Policy
from smsfilter.rules.verdict import ANSWERS, Reason
from smsfilter.smpp.const import BIND_RECEIVER, BIND_TRANSMITTER
from smsfilter.smpp.const import BIND_TRANSCEIVER as TRX
from smsfilter.smpp.peek import Bind

POLICY = Policy.model_validate(
    {
        "accounts": {
            "acme": {"addresses": ["192.0.2.0/24", "2001:db8::/32"], "max_sessions": 2},
            "bravo": {},
        }
    }
)


def bind(account: bytes = b"acme", password: bytes = b"secret") -> Bind:
    return Bind(account, password, 0x34)


@pytest.fixture
def desk() -> BindDesk:
    return BindDesk(8)


@pytest.mark.parametrize(
    ("peer", "reason"),
    [
        ("192.0.2.1", None),
        ("192.0.2.255", None),
        ("::ffff:192.0.2.1", None),
        ("2001:db8::1", None),
        ("192.0.3.1", Reason.ADDRESS_NOT_ALLOWED),
        ("::ffff:192.0.3.1", Reason.ADDRESS_NOT_ALLOWED),
        ("2001:db9::1", Reason.ADDRESS_NOT_ALLOWED),
        ("127.0.0.1", Reason.ADDRESS_NOT_ALLOWED),
    ],
)
def test_an_account_comes_from_its_addresses(
    desk: BindDesk, peer: str, reason: Reason | None
) -> None:
    assert desk.objection(POLICY, peer, bind(), TRX) is reason


@pytest.mark.parametrize("account", [b"bravo", b"unheard", b"ACME", b"acme ", b"\xff\xfe"])
def test_other_accounts_come_from_anywhere(desk: BindDesk, account: bytes) -> None:
    """Names are matched octet for octet, as the SMSC will do it."""
    assert desk.objection(POLICY, "203.0.113.9", bind(account), TRX) is None


@pytest.mark.parametrize("account", [b"acme", b"unheard"])
def test_a_password_may_be_as_long_as_configured(desk: BindDesk, account: bytes) -> None:
    assert desk.objection(POLICY, "192.0.2.1", bind(account, b"12345678"), TRX) is None
    longer = desk.objection(POLICY, "192.0.2.1", bind(account, b"123456789"), TRX)
    assert longer is Reason.PASSWORD_TOO_LONG
    assert BindDesk(64).objection(POLICY, "192.0.2.1", bind(account, b"9" * 64), TRX) is None


def test_sessions_are_counted_from_the_bind_on(desk: BindDesk) -> None:
    for _ in range(2):
        assert desk.objection(POLICY, "192.0.2.1", bind(), TRX) is None
        desk.enter("acme")
    assert desk.objection(POLICY, "192.0.2.1", bind(), TRX) is Reason.TOO_MANY_SESSIONS
    assert desk.objection(POLICY, "192.0.2.1", bind(b"bravo"), TRX) is None
    desk.leave("acme")
    assert desk.objection(POLICY, "192.0.2.1", bind(), TRX) is None


def test_a_wrong_address_is_answered_after_a_second_like_a_wrong_password(desk: BindDesk) -> None:
    assert desk.delay(POLICY, "192.0.3.1", "acme", Reason.ADDRESS_NOT_ALLOWED) == 1.0
    assert desk.delay(POLICY, "192.0.2.1", "acme", None) == 0.0
    assert desk.delay(POLICY, "192.0.2.1", "acme", Reason.TOO_MANY_SESSIONS) == 0.0


def test_each_failure_after_the_third_doubles_the_wait(desk: BindDesk) -> None:
    waits = []
    for _ in range(12):
        waits.append(desk.delay(POLICY, "192.0.2.1", "acme", None))
        desk.failed("192.0.2.1", "acme")
    assert waits == [0, 0, 0, 1, 2, 4, 8, 16, 32, 32, 32, 32]
    assert waits.count(0) == FAILURES_FREE
    assert max(waits) == DELAY_MOST_S


def test_thousands_of_failures_are_no_larger_number_than_a_float_holds(desk: BindDesk) -> None:
    for _ in range(2000):
        desk.failed("192.0.2.1", "acme")
    assert desk.delay(POLICY, "192.0.2.1", "acme", None) == DELAY_MOST_S


def test_a_wait_is_for_one_address_with_one_account_and_ends_with_a_success(
    desk: BindDesk,
) -> None:
    for _ in range(5):
        desk.failed("192.0.2.1", "acme")
    assert desk.delay(POLICY, "192.0.2.1", "acme", None) > 0
    assert desk.delay(POLICY, "192.0.2.2", "acme", None) == 0
    assert desk.delay(POLICY, "192.0.2.1", "bravo", None) == 0
    desk.accepted("192.0.2.1", "acme")
    assert desk.delay(POLICY, "192.0.2.1", "acme", None) == 0


def test_failures_are_remembered_of_a_bounded_number(desk: BindDesk) -> None:
    for _ in range(5):
        desk.failed("192.0.2.1", "acme")
    for n in range(FAILURES_KEPT - 1):
        desk.failed("192.0.2.2", f"a{n}")
    assert desk.delay(POLICY, "192.0.2.1", "acme", None) > 0
    desk.failed("192.0.2.2", "one more")
    assert desk.delay(POLICY, "192.0.2.1", "acme", None) == 0, "the oldest is forgotten"


def test_an_account_may_be_held_to_some_kinds_of_bind(desk: BindDesk) -> None:
    policy = Policy.model_validate({"accounts": {"acme": {"bind_types": ["tx", "trx"]}}})
    for command_id in (BIND_TRANSMITTER, TRX):
        assert desk.objection(policy, "192.0.2.1", bind(), command_id) is None
    found = desk.objection(policy, "192.0.2.1", bind(), BIND_RECEIVER)
    assert found is Reason.BIND_TYPE_NOT_ALLOWED
    assert desk.objection(policy, "192.0.2.1", bind(b"bravo"), BIND_RECEIVER) is None


def test_an_account_has_its_own_delay(desk: BindDesk) -> None:
    policy = Policy.model_validate(
        {"accounts": {"acme": {"failed_bind_delay": "4s"}, "bravo": {"failed_bind_delay": "0s"}}}
    )
    for account in ("acme", "bravo", "charlie"):
        for _ in range(20):
            desk.failed("192.0.2.1", account)
    delays = [desk.delay(policy, "192.0.2.1", name, None) for name in ("acme", "bravo", "charlie")]
    assert delays == [4.0, 0.0, DELAY_MOST_S]


# certificates

NAMED = Policy.model_validate(
    {
        "accounts": {
            "acme": {"certificates": [f"sha256:{'AB:' * 31}AB", "dns:ESME.Acme.example"]},
            "bravo": {"certificates": ["cn:Bravo, Ltd"], "addresses": ["192.0.2.0/24"]},
        }
    }
)


@pytest.mark.parametrize(
    ("account", "names", "reason"),
    [
        (b"acme", {f"sha256:{'ab' * 32}", "cn:whoever"}, None),
        (b"acme", {f"sha256:{'cd' * 32}", "dns:esme.acme.example", "dns:other"}, None),
        (b"acme", {f"sha256:{'cd' * 32}", "cn:esme.acme.example"}, Reason.CERTIFICATE_NOT_ALLOWED),
        (b"acme", set(), Reason.CERTIFICATE_NOT_ALLOWED),
        (b"bravo", {"cn:Bravo, Ltd"}, None),
        (b"bravo", {"cn:bravo, ltd"}, Reason.CERTIFICATE_NOT_ALLOWED),
        (b"unheard", set(), None),
        (b"unheard", {"cn:whoever"}, None),
    ],
)
def test_an_account_comes_with_one_of_its_certificates(
    desk: BindDesk, account: bytes, names: set[str], reason: Reason | None
) -> None:
    found = desk.objection(NAMED, "192.0.2.1", bind(account), TRX, frozenset(names))
    assert found is reason


def test_a_wrong_address_or_certificate_costs_the_same(desk: BindDesk) -> None:
    """And an account that has both in the policy needs both."""
    right = frozenset({"cn:Bravo, Ltd"})
    wrong = desk.objection(NAMED, "192.0.3.1", bind(b"bravo"), TRX, right)
    assert wrong is Reason.ADDRESS_NOT_ALLOWED
    strange = desk.objection(NAMED, "192.0.2.1", bind(b"bravo"), TRX)
    assert strange is Reason.CERTIFICATE_NOT_ALLOWED
    delays = {desk.delay(NAMED, "192.0.2.1", "bravo", reason) for reason in (wrong, strange)}
    assert delays == {1.0}
    assert ANSWERS[wrong] == ANSWERS[strange]


@pytest.mark.parametrize(
    "name",
    [
        *("", "acme", "cn", "cn:", f"cn:{'x' * 65}", "sha256:", "sha1:abcd", f"sha256:{'ab' * 31}"),
        *(f"sha256:{'ab' * 31}zz", f"sha256:{'ab' * 33}", "dns:", "dns:a b", "CN:acme"),
    ],
)
def test_what_names_no_certificate(name: str) -> None:
    with pytest.raises(ValueError, match="not a name of a certificate: write sha256: and"):
        Policy.model_validate({"accounts": {"acme": {"certificates": [name]}}})


def test_names_that_are_tried_in_turns_wait_too_but_not_who_is_known(desk: BindDesk) -> None:
    desk.accepted("192.0.2.1", "bravo")
    for number in range(40):
        desk.failed("192.0.2.1", f"guess{number}")

    def waits(peer: str, account: str) -> float:
        return desk.delay(POLICY, peer, account, None)

    assert waits("192.0.2.1", "guess99") == DELAY_MOST_S
    assert waits("192.0.2.1", "bravo") == 0.0
    assert waits("192.0.2.2", "guess99") == 0.0
    for _ in range(PEER_FORGOTTEN_S):
        desk.next_second()
    assert waits("192.0.2.1", "guess99") == 0.0


def test_what_is_remembered_is_bounded() -> None:
    desk = BindDesk(8)
    for number in range(FAILURES_KEPT + 50):
        desk.accepted(f"peer{number}", "acme")
        desk.failed(f"peer{number}", "acme")
    assert len(desk._known) == len(desk._failures_of_peer) == len(desk._failures) == FAILURES_KEPT
