"""Every log event that the code can write, read from the code itself.

The closing of a circle: a site fails if its daemon logged an event that is not in here, and what
is in here must be in the documents. So no event can be logged that the documents do not explain.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "smsfilter"

METHODS = r"\blog\b.*\.(debug|info|warning|error|critical|exception)"
ALIASES = r"write|self\._say_once"
"""Functions of the code's own that pass an event on."""

OTHERS = frozenset({"forwarded", "refused", "refused_summary", "would_refuse", "library"})
"""The lines of decisions, and what a library said: these are put together in log.py itself."""


def _written(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        if re.fullmatch(f"{METHODS}|{ALIASES}", ast.unparse(node.func)):
            for part in ast.walk(node.args[0]):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.value


@cache
def log_events() -> frozenset[str]:
    """The names of all log events."""
    found = {
        value
        for file in PACKAGE.rglob("*.py")
        for value in _written(ast.parse(file.read_text(encoding="utf-8")))
        if re.fullmatch(r"[a-z]+(_[a-z]+)*", value)
    }
    return frozenset(found | OTHERS)
