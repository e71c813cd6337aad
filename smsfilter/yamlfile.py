"""From a YAML file to a frozen pydantic model, with every error at its line and column.

Every scalar is read as text and converted by the model, so that `off`, `NO`, `012345` and
`22:00` mean what they say; only an empty value, `~` and a bare `null` are None. A key given
twice, an unknown key and an empty file are errors: nothing here may turn a slip of the pen into
a rule set that allows everything. All errors of a file are reported at once, as
`file:line:column: what is wrong, and what would be right`. Knows YAML and pydantic, and nothing
of what the files mean.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from smsfilter.wording import explain

try:
    from yaml import CBaseLoader as Loader
except ImportError:  # PyYAML built without libyaml: slower, the same result
    from yaml import BaseLoader as Loader  # type: ignore[assignment]

Loc = tuple[int | str, ...]
M = TypeVar("M", bound=BaseModel)

DEPTH_MAX = 40
"""No file of ours nests deeper than 8; PyYAML's composer crashes the process at some 10,000."""

OCTETS_MAX = 64 << 20
"""A registry of 100,000 companies takes some 20 MiB."""

VALUES_MAX = 2_000_000
"""Values after aliases are expanded: a registry of 100,000 companies holds a third of that."""

ENVIRONMENT_PREFIX = "SMSFILTER__"

_NULLS = ("", "~", "null")


class Place(NamedTuple):
    """Where something is written; line 0 means that the file (or variable) has no lines."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


PlaceOf = Callable[[Any], Place]
"""From a mark of PyYAML (either of its two classes) to a place."""


def _always(place: Place) -> PlaceOf:
    return lambda _mark: place


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in a file, and what would be right."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{Place(self.file, self.line, self.column)}: {self.message}"


class ConfigError(ValueError):
    """A file cannot be used; `problems` says all that is wrong with it."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))

    @classmethod
    def at(cls, place: Place, message: str) -> "ConfigError":
        """Build the error of a single problem."""
        return cls([Problem(*place, message)])


class Document:
    """The content of one YAML file as plain values, and where each of them is written."""

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self._values: dict[Loc, Place] = {}
        self._keys: dict[Loc, Place] = {}
        self._problems: list[Problem] = []
        self._count = 0
        self.data = self._read(text, (), lambda mark: Place(file, mark.line + 1, mark.column + 1))
        if self.data is None and not self._problems:
            raise ConfigError.at(Place(file, 1, 1), "the file is empty; nothing is set by it")

    def override(self, environ: Mapping[str, str]) -> None:
        """Let `SMSFILTER__PROXY__ADMIN=…` and the like take the place of what the file says."""
        for name in sorted(name for name in environ if name.startswith(ENVIRONMENT_PREFIX)):
            loc = tuple(name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__"))
            place, text = Place(name), environ[name]
            below = self.data
            for at, part in enumerate(loc[:-1]):
                if isinstance(below, dict) and below.get(part) is None:
                    below[part] = {}
                    self._keys[loc[: at + 1]] = self._values[loc[: at + 1]] = place
                below = below.get(part) if isinstance(below, dict) else None
            if not isinstance(below, dict):
                self._problem(place, f"{'.'.join(loc[:-1]) or 'the file'} has no keys below it")
                continue
            self._keys[loc] = self._values[loc] = place
            if text.startswith(("[", "{")):
                below[loc[-1]] = self._read(text, loc, _always(place))
            else:
                below[loc[-1]] = None if text in _NULLS else text

    def get(self, loc: Iterable[int | str]) -> str | None:
        """Return the text that is written at `loc`, if one is."""
        found = self.data
        for part in loc:
            found = found.get(part) if isinstance(found, dict) else None
        return found if isinstance(found, str) else None

    def place(self, loc: Iterable[int | str], *, key: bool = False) -> Place:
        """Where `loc` is written, or what is next above it; `key` prefers the key's place.

        pydantic's locations also hold the tags of unions: parts that name nothing are skipped.
        """
        found: Loc = ()
        for part in loc:
            if (*found, part) in self._values:
                found = (*found, part)
        if key and found in self._keys:
            return self._keys[found]
        return self._values.get(found, Place(self.file, 1, 1))

    def validate(self, model: type[M]) -> M:
        """Build `model` of what was read, or raise all that is wrong with it."""
        problems = list(self._problems)
        try:
            result = model.model_validate(self.data)
        except ValidationError as error:
            schema: dict[str, Any] = model.model_json_schema()
            problems += self._explained(error, schema)
        if problems:
            order = sorted(problems, key=lambda p: (p.file != self.file, p.file, p.line, p.column))
            raise ConfigError(dict.fromkeys(order))
        return result

    def _explained(self, error: ValidationError, schema: dict[str, Any]) -> Iterable[Problem]:
        seen: set[Place] = set()
        for detail in error.errors(include_url=False):
            loc, kind = detail["loc"], detail["type"]
            if kind == "union_tag_invalid":
                loc = (*loc, detail["ctx"]["discriminator"].strip("'"))
            of_key = kind == "extra_forbidden" or (bool(loc) and loc[-1] == "[key]")
            place = self.place(loc, key=of_key)
            # every member of a union says its own: the first is enough
            if place in seen and kind not in ("missing", "extra_forbidden"):
                continue
            seen.add(place)
            yield Problem(*place, explain(detail, schema))

    def _problem(self, place: Place, message: str) -> None:
        self._problems.append(Problem(*place, message))

    def _read(self, text: str, loc: Loc, place_of: PlaceOf) -> Any:
        try:
            _limit_depth(text)
            root = Loader(text).get_single_node()
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = place_of(mark) if mark else Place(self.file, 1, 1)
            raise ConfigError.at(place, _syntax(error, text)) from None
        except yaml.reader.ReaderError as error:
            raise ConfigError.at(
                _unprintable(self.file, text), f"not YAML: {error.reason}"
            ) from None
        if root is None:
            return None
        return self._value(root, loc, place_of, ())

    def _value(
        self,
        node: yaml.Node,
        loc: Loc,
        place_of: PlaceOf,
        above: tuple[yaml.Node, ...],
    ) -> Any:
        place = place_of(node.start_mark)
        self._values[loc] = place
        self._count += 1
        if any(node is other for other in above):
            raise ConfigError.at(place, "an anchor is used inside itself")
        if self._count > VALUES_MAX:
            raise ConfigError.at(place, f"more than {VALUES_MAX:,} values, aliases included")
        if isinstance(node, yaml.ScalarNode):
            if not node.tag.startswith("tag:yaml.org,2002:"):
                self._problem(place, f"tags such as {node.tag} are not supported")
            bare = node.style in ("", None) and node.value in _NULLS
            return None if bare else node.value
        above = (*above, node)
        if isinstance(node, yaml.SequenceNode):
            return [
                self._value(item, (*loc, index), place_of, above)
                for index, item in enumerate(node.value)
            ]
        return self._mapping(node, loc, place_of, above)

    def _mapping(
        self,
        node: yaml.Node,
        loc: Loc,
        place_of: PlaceOf,
        above: tuple[yaml.Node, ...],
    ) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merges: list[yaml.Node] = []
        for key, value in node.value:
            place = place_of(key.start_mark)
            if not isinstance(key, yaml.ScalarNode):
                self._problem(place, "a key must be a plain word, not a list or a mapping")
            elif key.value == "<<" and not key.style:
                merges += value.value if isinstance(value, yaml.SequenceNode) else [value]
            elif key.value in own:
                first = self._keys[(*loc, key.value)]
                self._problem(
                    place, f"'{key.value}' is given twice; the first is in line {first.line}"
                )
            else:
                self._keys[(*loc, key.value)] = place
                own[key.value] = self._value(value, (*loc, key.value), place_of, above)
        for merged in merges:
            place = place_of(merged.start_mark)
            if not isinstance(merged, yaml.MappingNode):
                self._problem(place, "'<<' takes a mapping, such as *anchor")
                continue
            if any(merged is other for other in above):
                raise ConfigError.at(place, "an anchor is used inside itself")
            left = [(k, v) for k, v in merged.value if _plain(k) not in own]
            rest = yaml.MappingNode(merged.tag, left, merged.start_mark, merged.end_mark)
            own |= self._mapping(rest, loc, place_of, (*above, merged))
        return own


def load_yaml(source: Path | str, model: type[M]) -> M:
    """Read a file (a Path) or a text (a str) into `model`; raises ConfigError."""
    return read_document(source).validate(model)


def read_document(source: Path | str) -> Document:
    """Read a file (a Path) or a text (a str) without a model yet; raises ConfigError."""
    if isinstance(source, str):
        return Document("<text>", source)
    file = str(source)
    try:
        with source.open("rb") as opened:
            octets = opened.read(OCTETS_MAX + 1)
    except OSError as error:
        raise ConfigError.at(Place(file), f"cannot be read: {error.strerror}") from None
    if len(octets) > OCTETS_MAX:
        raise ConfigError.at(Place(file), f"is longer than {OCTETS_MAX >> 20} MiB")
    try:
        text = octets.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = octets.count(b"\n", 0, error.start) + 1
        begin = octets.rfind(b"\n", 0, error.start) + 1
        column = len(octets[begin : error.start].decode("utf-8", "replace")) + 1
        raise ConfigError.at(
            Place(file, line, column),
            f"octet 0x{octets[error.start]:02x} is not UTF-8; save the file in UTF-8",
        ) from None
    return Document(file, text)


def _plain(key: yaml.Node) -> str | None:
    return key.value if isinstance(key, yaml.ScalarNode) else None


def _limit_depth(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEPTH_MAX:
                mark: Any = event.start_mark
                raise yaml.MarkedYAMLError(
                    problem=f"nested deeper than {DEPTH_MAX}", problem_mark=mark
                )
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _unprintable(file: str, text: str) -> Place:
    for number, line in enumerate(text.split("\n"), 1):
        for column, char in enumerate(line, 1):
            if yaml.reader.Reader.NON_PRINTABLE.match(char):
                return Place(file, number, column)
    return Place(file, 1, 1)


def _syntax(error: yaml.MarkedYAMLError, text: str) -> str:
    problem, mark = error.problem or "cannot be parsed", error.problem_mark
    lines = text.split("\n")
    line = lines[mark.line] if mark and mark.line < len(lines) else ""
    char = line[mark.column : mark.column + 1] if mark else ""
    if char == "\t":
        return "not YAML: a tab; indent with spaces"
    if problem == "found character that cannot start any token":
        return f"not YAML: a value cannot begin with {char!r}; put it in quotes"
    if problem.startswith("mapping values are not allowed"):
        return "not YAML: a second ': ' in a line, or wrong indentation; put the value in quotes"
    where = f", {error.context}" if error.context else ""
    since = error.context_mark
    begun = f" that begins in line {since.line + 1}" if where and since else ""
    return f"not YAML: {problem}{where}{begun}"
