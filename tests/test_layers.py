"""The layering, held by reading the imports: a file uses lower levels and its own folder only.

Level 0 is the protocol and the decision. It is pure: octets and `now` are its arguments, so that
it is tested on every input without a socket or a clock. Level 1 reaches files, Redis and the log,
level 2 is the path, level 3 the commands. A file outside this table fails the test: a new folder
has to be given its level here.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "smsfilter"

LEVELS = {
    "smpp": 0,
    "rules": 0,
    "ledger": 0,
    "decisions": 0,
    "flow": 0,
    "": 1,  # the files at the top: config, log, metrics and what they share
    "store": 1,
    "proxy": 2,
    "desk": 2,
    "reports": 2,
    "staff": 2,
    "cases": 2,
    "cli": 3,
}
EXCEPTIONS = {
    ("rules", "smpp"): "the decision is about PDUs and answers with command_statuses",
    ("reports", "desk"): "a report becomes a block, a case and a row of the ledger",
    ("staff", "desk"): "people act on the desk's records",
    ("cases", "desk"): "a case is about a customer, a company and a block",
    ("cases", "reports"): "a case begins with a report and ends with an answer",
    ("cases", "staff"): "a case has an owner, who is on duty",
    ("__main__.py", "cli"): "the entry point of python -m",
}

IMPURE_MODULES = """
    asyncio hiredis http io logging msgspec multiprocessing os pathlib random redis secrets
    selectors shutil signal socket sqlite3 ssl structlog subprocess sys tempfile threading time
    urllib uvloop
"""
IMPURE_CALLS = frozenset({"open", "input", "print", "now", "utcnow", "today"})

FILES = sorted(PACKAGE.rglob("*.py"))


def folder_of(module: str) -> str:
    """The folder of a module of the package: `smpp` of `smsfilter.smpp.const`, else ''."""
    first = module.split(".")[1] if "." in module else ""
    return first if (PACKAGE / first / "__init__.py").exists() else ""


def imports(tree: ast.AST) -> Iterator[str]:
    """Every module that a file imports, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are written absolutely"
            assert node.module is not None
            if node.module == "smsfilter":
                yield from (f"smsfilter.{name.name}" for name in node.names)
            else:
                yield node.module


def calls(tree: ast.AST) -> Iterator[str]:
    """The last name of everything that a file calls."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                yield node.func.id
            elif isinstance(node.func, ast.Attribute):
                yield node.func.attr


def own_folder(file: Path) -> str:
    """The folder a file lies in, '' at the top."""
    return file.relative_to(PACKAGE).parts[0] if file.parent != PACKAGE else ""


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_file_imports_from_lower_levels_or_its_own_folder(file: Path):
    own = own_folder(file)
    assert own in LEVELS, f"give the folder {own} its level"
    wrong = [
        module
        for module in imports(ast.parse(file.read_text()))
        if module.partition(".")[0] == "smsfilter"
        and module != "smsfilter.__version__"
        and (used := folder_of(module)) != own
        and LEVELS[used] >= LEVELS[own]
        and (own, used) not in EXCEPTIONS
        and (file.name, used) not in EXCEPTIONS
    ]
    assert not wrong


@pytest.mark.parametrize(
    "file",
    [file for file in FILES if LEVELS.get(own_folder(file)) == 0],
    ids=lambda file: str(file.relative_to(PACKAGE)),
)
def test_level_0_has_no_socket_no_file_no_clock(file: Path):
    tree = ast.parse(file.read_text())
    assert not {module.partition(".")[0] for module in imports(tree)} & set(IMPURE_MODULES.split())
    assert not set(calls(tree)) & IMPURE_CALLS


def test_every_folder_has_a_level():
    folders = {own_folder(file) for file in FILES}
    assert folders == set(LEVELS)
