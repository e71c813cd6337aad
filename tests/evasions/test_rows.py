"""Whether the evasions, as data, are what they are taken for."""

from collections import Counter

from smsfilter.rules.verdict import ANSWERS
from tests.evasions.rows import FORWARDED, WORLD, load_rows

ROWS = load_rows()
REQUIRED = frozenset({*range(1, 27), 28, 30})
"""Tricks that are single PDUs, if not only; those of test_streams.py are streams."""


def test_ids_are_unique() -> None:
    assert not [name for name, count in Counter(row.id for row in ROWS).items() if count > 1]


def test_no_trick_of_the_list_is_missing() -> None:
    assert not REQUIRED - {row.row for row in ROWS}


def test_each_trick_has_a_twin_that_passes() -> None:
    alone = [row.id for row in ROWS if not (row.tries and row.twins)]
    assert set(alone) <= {row.id for row in ROWS if row.tries and row.expect == FORWARDED}
    assert all(shape.passes for row in ROWS for shape in row.twins)


def test_no_account_sends_the_same_octets_twice() -> None:
    """Else one could hide behind the other when it is looked for at the SMSC."""
    sent = Counter((shape.account, shape.octets) for row in ROWS for shape in row.shapes())
    assert not [shape for shape, count in sent.items() if count > 1]


def test_statuses_are_those_of_the_table() -> None:
    told = {str(reason): answer.command_status for reason, answer in ANSWERS.items()}
    assert WORLD["statuses"] == {reason: told[reason] for reason in WORLD["statuses"]}
