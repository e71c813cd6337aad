"""pydantic's errors in words for people who do not know pydantic: what is wrong, what is right.

Works on the details of a ValidationError and on the model's JSON Schema, from which it takes the
keys that are known at a place and what a field is for. Knows no file and no YAML.
"""

import difflib
from collections.abc import Iterable
from typing import Any

Loc = tuple[int | str, ...]


def suggestion(word: str, known: Iterable[str], listed_as: str = "known here:") -> str:
    """`; did you mean 'x'?` where one of `known` is near, else the list of them."""
    names = sorted(known)
    near = difflib.get_close_matches(word.lower(), names, n=1)
    listed = f"; {listed_as} {', '.join(names)}" if 0 < len(names) <= 30 else ""
    return f"; did you mean '{near[0]}'?" if near else listed


# What pydantic says, in words for people who do not know pydantic. {input} is what was written.
_SECTION = "must be a section with keys below it"
_LIST = "must be a list, such as [a, b]"
_NETWORK = "{input!r} is not an IP network: write one such as 192.0.2.0/24 or 2001:db8::/32"
_MESSAGES = {
    "missing": "'{name}' is missing{about}",
    "extra_forbidden": "unknown key '{name}'{near}",
    "union_tag_not_found": "'{tag_name}' is missing{near}",
    "union_tag_invalid": "unknown {tag_name} {tag!r}{near}",
    "literal_error": "{input!r} is not allowed here{near}",
    "enum": "{input!r} is not allowed here{near}",
    "string_pattern_mismatch": "{input!r} does not fit{about}",
    "string_type": "must be a single value",
    "string_too_short": "{input!r} is too short: {min_length} or more characters",
    "string_too_long": "{input!r} is too long: at most {max_length} characters",
    "too_short": "needs {min_length} or more entries",
    "too_long": "has more than {max_length} entries",
    "int_parsing": "{input!r} is not a whole number",
    "int_type": "{input!r} is not a whole number",
    "int_from_float": "{input!r} is not a whole number",
    "greater_than": "{input!r} must be more than {gt}",
    "greater_than_equal": "{input!r} must be {ge} or more",
    "less_than_equal": "{input!r} must be {le} or less",
    "value_error": "{error}",
    "ip_v4_network": _NETWORK,
    "ip_v6_network": _NETWORK,
    "model_type": _SECTION,
    "model_attributes_type": _SECTION,
    "dict_type": _SECTION,
    "tuple_type": _LIST,
    "list_type": _LIST,
    "set_type": _LIST,
    "frozen_set_type": _LIST,
}


def explain(detail: Any, schema: dict[str, Any]) -> str:
    """Say what a detail of a ValidationError means; `schema` is the JSON Schema of the model."""
    loc, kind = detail["loc"], detail["type"]
    if loc and loc[-1] == "[key]":
        loc = loc[:-1]
    value = detail["input"]
    if value is None and kind != "missing":
        return "nothing is written here; remove the key for its default, or put the text in quotes"
    if kind == "union_tag_not_found" and not isinstance(value, dict):
        kind = "dict_type"
    ctx = detail.get("ctx", {})
    words = {
        "name": loc[-1] if loc else "",
        "input": value if len(str(value)) <= 60 else f"{str(value)[:57]}…",
        "about": "",
        "near": "",
        "tag_name": str(ctx.get("discriminator", "")).strip("'"),
        **ctx,
    }
    if kind == "missing":
        about = _at(schema, loc).get("description")
        words["about"] = f": {about}" if about else ""
    elif kind == "string_pattern_mismatch":
        words["about"] = f": {_at(schema, loc).get('description') or ctx['pattern']}"
    elif kind == "extra_forbidden":
        words["near"] = suggestion(str(words["name"]), _at(schema, loc[:-1]).get("properties", {}))
    elif kind == "union_tag_not_found":
        known = _at(schema, loc).get("discriminator", {}).get("mapping", {})
        words["near"] = f": one of {', '.join(sorted(known))}"
    elif kind == "union_tag_invalid":
        words["near"] = suggestion(str(ctx["tag"]), _quoted(ctx["expected_tags"]))
    elif kind in ("literal_error", "enum"):
        words["near"] = suggestion(str(value), _quoted(ctx["expected"]), "write")
    if kind in _MESSAGES:
        return _MESSAGES[kind].format(**words)
    said = str(detail["msg"]).replace("Input should", "must")
    return f"{words['input']!r}: {said}" if isinstance(value, str | int) else said


def _quoted(text: str) -> list[str]:
    """Take the words out of pydantic's `'a', 'b' or 'c'`."""
    return text.split("'")[1::2]


def _at(schema: dict[str, Any], loc: Loc) -> dict[str, Any]:
    """Find the JSON Schema of what stands at `loc`, tags of unions skipped; {} where unknown."""
    found = [schema]
    for part in loc:
        below = [nxt for one in found for nxt in _below(schema, one, part)]
        found = below or found
    merged: dict[str, Any] = {}
    for one in (choice for top in found for choice in _choices(schema, top)):
        properties = one.get("properties", {}) | merged.get("properties", {})
        merged = one | merged | {"properties": properties}
    return merged


def _choices(root: dict[str, Any], schema: dict[str, Any]) -> Iterable[dict[str, Any]]:
    name = schema.get("$ref", "").rpartition("/")[2]
    schema = (root["$defs"][name] if name else {}) | schema
    yield schema
    for one in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        yield from _choices(root, one)


def _below(root: dict[str, Any], schema: dict[str, Any], part: int | str) -> Iterable[Any]:
    for one in _choices(root, schema):
        if isinstance(part, int):
            below = one.get("items")
        elif part in one.get("properties", {}):
            below = one["properties"][part]
        elif part in one.get("discriminator", {}).get("mapping", {}):
            below = {"$ref": one["discriminator"]["mapping"][part]}
        else:
            patterns = one.get("patternProperties", {}).values()
            below = next(iter(patterns), one.get("additionalProperties"))
        if isinstance(below, dict):
            yield below
