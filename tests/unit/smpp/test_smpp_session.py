import pytest

from smsfilter.smpp import const as c
from smsfilter.smpp.session import (
    BOUND,
    ESME_MAY_SEND,
    SMSC_MAY_SEND,
    State,
    after_esme,
    after_smsc,
)

BINDS = {
    c.BIND_TRANSMITTER: State.BOUND_TX,
    c.BIND_RECEIVER: State.BOUND_RX,
    c.BIND_TRANSCEIVER: State.BOUND_TRX,
}


def states(table: dict[State, frozenset[int]], command_id: int) -> set[State]:
    return {state for state, commands in table.items() if command_id in commands}


@pytest.mark.parametrize(
    "command_id",
    [c.SUBMIT_SM, c.SUBMIT_MULTI, c.DATA_SM, c.REPLACE_SM, c.QUERY_SM, c.CANCEL_SM, c.BROADCAST_SM],
)
def test_submissions_need_a_bind_that_transmits(command_id: int) -> None:
    assert states(ESME_MAY_SEND, command_id) == {State.BOUND_TX, State.BOUND_TRX}
    answered = {State.BOUND_TX, State.BOUND_TRX, State.UNBOUND}
    assert states(SMSC_MAY_SEND, command_id | c.RESPONSE_BIT) == answered


@pytest.mark.parametrize("command_id", [c.DELIVER_SM, c.DATA_SM])
def test_deliveries_need_a_bind_that_receives(command_id: int) -> None:
    assert states(SMSC_MAY_SEND, command_id) == {State.BOUND_RX, State.BOUND_TRX}
    answered = {State.BOUND_RX, State.BOUND_TRX, State.UNBOUND}
    assert states(ESME_MAY_SEND, command_id | c.RESPONSE_BIT) == answered


def test_alerts_come_from_the_smsc_only() -> None:
    assert states(SMSC_MAY_SEND, c.ALERT_NOTIFICATION) == {State.BOUND_RX, State.BOUND_TRX}
    assert states(ESME_MAY_SEND, c.ALERT_NOTIFICATION) == set()


def test_deliver_sm_and_outbind_never_come_from_an_esme() -> None:
    assert states(ESME_MAY_SEND, c.DELIVER_SM) == set()
    assert states(ESME_MAY_SEND, c.OUTBIND) == set()
    assert states(SMSC_MAY_SEND, c.OUTBIND) == {State.OPEN}


@pytest.mark.parametrize("command_id", BINDS)
def test_a_bind_comes_first_and_once(command_id: int) -> None:
    assert states(ESME_MAY_SEND, command_id) == {State.OPEN}
    assert states(SMSC_MAY_SEND, command_id) == set()
    assert states(SMSC_MAY_SEND, command_id | c.RESPONSE_BIT) == {State.BINDING}
    assert states(ESME_MAY_SEND, command_id | c.RESPONSE_BIT) == set()


def test_nothing_is_sent_when_closed_and_a_link_is_enquired_of_before() -> None:
    for table in (ESME_MAY_SEND, SMSC_MAY_SEND):
        assert set(table) == set(State)
        assert states(table, c.ENQUIRE_LINK) == set(State) - {State.CLOSED}
        assert not table[State.CLOSED]
        assert states(table, c.UNBIND) == BOUND | {State.UNBOUND}


@pytest.mark.parametrize(("command_id", "bound"), BINDS.items())
def test_a_session_lives_from_bind_to_unbind(command_id: int, bound: State) -> None:
    state = after_esme(State.OPEN, command_id)
    assert state is State.BINDING
    assert after_smsc(state, command_id | c.RESPONSE_BIT, c.ESME_ROK) is bound
    assert after_esme(bound, c.UNBIND) is State.UNBOUND
    assert after_smsc(bound, c.UNBIND, 0) is State.UNBOUND
    assert after_smsc(State.UNBOUND, c.UNBIND_RESP, 0) is State.UNBOUND


@pytest.mark.parametrize("command_id", [c.BIND_TRANSCEIVER_RESP, c.GENERIC_NACK])
def test_a_refused_bind_leaves_the_session_open(command_id: int) -> None:
    assert after_smsc(State.BINDING, command_id, c.ESME_RBINDFAIL) is State.OPEN


def test_an_esme_cannot_bind_itself_or_bind_again() -> None:
    for state in State:
        for command_id in (*BINDS, c.GENERIC_NACK, c.BIND_TRANSCEIVER_RESP):
            expected = State.BINDING if state is State.OPEN and command_id in BINDS else state
            assert after_esme(state, command_id) is expected


def test_what_is_no_answer_to_the_bind_does_not_end_it() -> None:
    assert after_smsc(State.BINDING, c.ENQUIRE_LINK, 0) is State.BINDING
    assert after_smsc(State.BINDING, c.ENQUIRE_LINK_RESP, c.ESME_RSYSERR) is State.BINDING


def test_traffic_moves_no_state() -> None:
    for state in BOUND:
        for command_id in ESME_MAY_SEND[state] - {c.UNBIND}:
            assert after_esme(state, command_id) is state
        for command_id in SMSC_MAY_SEND[state] - {c.UNBIND}:
            assert after_smsc(state, command_id, c.ESME_RTHROTTLED) is state
