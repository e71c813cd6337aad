"""The tests without I/O on the other Pythons that are supported, where these are installed.

Each gets an environment of its own with nothing but pytest, hypothesis and pydantic: so it is also
held that the protocol and the rules need no more. A test file takes part if it, too, needs no
more. The interpreter that runs the whole suite is left out.
"""

import ast
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.test_layers import imports

ROOT = Path(__file__).parents[1]
VERSIONS = ("3.11", "3.12", "3.13")
REQUIRED = ("hypothesis", "pydantic", "pytest", "pytest-asyncio", "pytest-timeout")
PURE = ("hypothesis", "pytest", "smsfilter.rules", "smsfilter.smpp", "tests.strategies")


def interpreter(version: str) -> Path | None:
    """The path of a Python of this version that runs; a shim of pyenv may need to be told."""
    found = shutil.which(f"python{version}")
    if found is None:
        return None
    done = subprocess.run(
        [found, "-c", "import sys; print(sys.executable)"],
        env={**os.environ, "PYENV_VERSION": os.environ.get("PYENV_VERSION", version)},
        capture_output=True,
        text=True,
        check=False,
    )
    return Path(done.stdout.strip()) if done.returncode == 0 else None


def is_pure(file: Path) -> bool:
    """Whether a test file uses only the protocol, the rules, and what is installed for them."""
    return all(
        module.partition(".")[0] in sys.stdlib_module_names
        or any(module == name or module.startswith(f"{name}.") for name in PURE)
        for module in imports(ast.parse(file.read_text(encoding="utf-8")))
    )


def requirements() -> list[str]:
    """What has to be installed, with the bounds that the project gives."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    return [line for line in lines if line.partition(">")[0] in REQUIRED]


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("version", VERSIONS)
def test_the_io_free_tests_pass_on(version: str, tmp_path: Path):
    if sys.version_info[:2] == tuple(map(int, version.split("."))):
        pytest.skip("runs the whole suite")
    python = interpreter(version)
    if python is None:
        pytest.skip(f"Python {version} is not installed")
    folders = (ROOT / "tests" / name for name in ("unit", "property", "wire"))
    files = [str(file) for folder in folders for file in folder.rglob("test_*.py") if is_pure(file)]
    assert files

    venv = tmp_path / "venv"
    pip = [sys.executable, "-m", "pip", "--python", str(venv / "bin" / "python")]
    for command in (
        [str(python), "-m", "venv", "--without-pip", str(venv)],
        [*pip, "install", "--quiet", "--disable-pip-version-check", *requirements()],
        [
            *(str(venv / "bin" / "python"), "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            *("-W", "error", "--rootdir", str(ROOT), "-c", str(ROOT / "pyproject.toml"), *files),
        ],
    ):
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
