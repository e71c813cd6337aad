"""The evasions as data: what a row of the YAML files means, as octets.

`load_rows` reads every `*.yaml` of this folder but world.yaml, and turns each row into PDUs that
must be refused and clean ones, much like them, that must pass. Octets are built by the test kit's
own hand, never by the codec under test, as most of them are ill-formed on purpose. How a row is
written is told at the head of world.yaml.
"""

import itertools
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from smsfilter.smpp import const
from smsfilter.smpp.const import COMMAND_NAMES, DATA_SM, RESPONSE_BIT, SUBMIT_SM
from tests.fakes import wire

HERE = Path(__file__).parent
COMMAND_IDS = {name: number for number, name in COMMAND_NAMES.items()}
FORWARDED = "forwarded"
DROPPED = "dropped"

_FIRST_NUMBER = 10_000  # far from the numbers that a session's own requests take
_PLACE = re.compile(r"\{(customer|head|middle|tail)\}")
_SPAN = re.compile(r"(\d+)-(\d+)")


class Coded(NamedTuple):
    """Text that becomes octets by another encoding than UTF-8."""

    text: str
    encoding: str


class _Loader(yaml.SafeLoader):
    """YAML with octets in it: `!hex "00 ff"`, `!latin1 "\\xa0"`, `!gbk …`, `!utf16 …`."""


def _coded(encoding: str) -> Any:
    return lambda loader, node: Coded(loader.construct_scalar(node), encoding)


_Loader.add_constructor("!hex", lambda loader, node: bytes.fromhex(loader.construct_scalar(node)))
for _tag, _encoding in {"latin1": "latin-1", "gbk": "gbk", "utf16": "utf-16-be"}.items():
    _Loader.add_constructor(f"!{_tag}", _coded(_encoding))


def read_yaml(path: Path) -> Any:
    """A YAML file, octets included."""
    return yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)


WORLD: dict[str, Any] = read_yaml(HERE / "world.yaml")


@dataclass(frozen=True)
class Shape:
    """One PDU of one account."""

    account: str
    octets: bytes
    passes: bool

    @property
    def is_answered(self) -> bool:
        """Whether anybody answers it: a response gets none."""
        command_id = wire.header(self.octets).command_id
        return not command_id & RESPONSE_BIT and command_id != const.ALERT_NOTIFICATION


@dataclass(frozen=True)
class Row:
    """One trick: the PDUs that try it, and those that only look like it."""

    id: str
    row: int
    expect: str
    status: int
    counted: int
    policy: Mapping[str, Any]
    tries: tuple[Shape, ...]
    twins: tuple[Shape, ...]

    def shapes(self) -> list[Shape]:
        """All PDUs, tries and twins taking turns."""
        pairs = itertools.zip_longest(self.tries, self.twins)
        return [shape for pair in pairs for shape in pair if shape is not None]


def load_rows() -> list[Row]:
    """Every row of every file."""
    numbers = itertools.count(_FIRST_NUMBER)
    return [
        _row(entry, numbers)
        for path in sorted(HERE.glob("*.yaml"))
        if path.name != "world.yaml"
        for entry in read_yaml(path)
    ]


_TRICK = {"id", "row", "why", "account", "pdu", "each", "policy"}
_OUTCOME = {"expect", "status", "counted", "twins"}


def _row(entry: dict[str, Any], numbers: Iterator[int]) -> Row:
    unknown = entry.keys() - _TRICK - _OUTCOME
    assert not unknown, f"{entry['id']}: unknown {unknown}"
    expect = entry["expect"]
    passes = expect == FORWARDED
    known = WORLD["statuses"]
    assert passes or expect == DROPPED or expect in known, f"{entry['id']}: unknown {expect}"
    own = {"account": entry.get("account", "acme"), "customer": WORLD["customer"]}
    pdu = {"source": "10657555", "destination": "86{customer}"} | entry.get("pdu", {})
    each = entry.get("each", {})
    default = WORLD["default_twins"] if expect == "blocked_by_report" else []
    twins = [
        WORLD["twins"][twin] if isinstance(twin, str) else twin
        for twin in entry.get("twins", default)
    ]
    return Row(
        id=entry["id"],
        row=entry["row"],
        expect=expect,
        status=entry.get("status", 0 if passes else known.get(expect, 0)),
        counted=entry.get("counted", 1),
        policy=entry.get("policy", {}),
        tries=tuple(_shapes(own | pdu, each, numbers, passes)),
        twins=tuple(
            shape
            for twin in twins
            for shape in _shapes(own | pdu | twin, each, numbers, True, twin)
        ),
    )


def _shapes(
    pdu: dict[str, Any],
    each: dict[str, Any],
    numbers: Iterator[int],
    passes: bool,
    fixed: Collection[str] = (),
) -> Iterator[Shape]:
    """One PDU for every combination of the values of `each`, but for the fields in `fixed`."""
    varied = {field: _values(values) for field, values in each.items() if field not in fixed}
    for values in itertools.product(*varied.values()):
        fields = pdu | dict(zip(varied, values, strict=True))
        account, customer = fields.pop("account"), fields.pop("customer")
        yield Shape(account, _octets(fields, customer, next(numbers)), passes)


def _values(values: Any) -> list[Any]:
    """A list as it is; "0-255" and the like as numbers."""
    if not isinstance(values, str):
        return list(values)
    found = _SPAN.fullmatch(values)
    assert found, f"{values} is no span of numbers"
    return list(range(int(found[1]), int(found[2]) + 1))


def _octets(fields: dict[str, Any], customer: str, number: int) -> bytes:
    """The PDU that `fields` describe, its placeholders filled for one customer."""
    fields = {name: _filled(value, customer) for name, value in fields.items()}
    command = fields.pop("command", SUBMIT_SM)
    command_id = COMMAND_IDS[command.decode()] if isinstance(command, bytes) else command
    number = fields.pop("sequence_number", number)
    head = {
        name: fields.pop(name) for name in ("command_length", "command_status") if name in fields
    }
    if "body" in fields:
        pdu = wire.pack(command_id, number, b"".join(map(_piece, fields["body"])))
    elif command_id == DATA_SM:
        pdu = wire.data_sm(number, **fields)
    else:
        pdu = wire.submit_sm(number, command_id=command_id, **fields)
    return wire.HEADER.pack(*wire.header(pdu)._replace(**head)) + pdu[wire.HEADER.size :]


def _filled(value: Any, customer: str) -> Any:
    """Text as octets with the customer's number in it; a nested PDU as its octets."""
    if isinstance(value, str | Coded):
        text, encoding = value if isinstance(value, Coded) else (value, "utf-8")
        places = {
            "customer": customer,
            "head": customer[:3],
            "middle": customer[3:7],
            "tail": customer[7:],
        }
        return _PLACE.sub(lambda found: places[found[1]], text).encode(encoding)
    if isinstance(value, list):
        return [_filled(item, customer) for item in value]
    if isinstance(value, dict):
        nested = {"source": "10657555", "destination": "86{customer}"} | value["pdu"]
        return _octets(nested, WORLD["customer"], 1)
    return value


def _piece(piece: Any) -> bytes:
    """A piece of a body: text as octets without a NUL, a number as one octet, nested in order."""
    if isinstance(piece, list):
        return b"".join(map(_piece, piece))
    return bytes((piece,)) if isinstance(piece, int) else piece
