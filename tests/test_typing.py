"""What checkers make of our types: tests/typing/ under mypy and pyright, and the stub against the module."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = {file.name: file.read_text() for file in sorted((ROOT / "tests" / "typing").glob("*.py"))}
MARK = "  # type: ignore"  # on the lines of wrong.py that have a mistake

Errors = set[tuple[str, int]]  # name of the file, line


def run(tmp_path: Path, *command: object) -> subprocess.CompletedProcess[str]:
    """Runs a module of this interpreter in `tmp_path`, where no configuration but ours is found."""
    environment = {
        **os.environ,
        "MYPYPATH": str(ROOT / "python"),  # editable installs are invisible to checkers
        "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1",  # that there is a newer one
    }
    return subprocess.run(
        [sys.executable, "-m", *map(str, command)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )


def mypy(tmp_path: Path, sources: dict[str, str]) -> tuple[Errors, str]:
    write(tmp_path, sources)
    done = run(tmp_path, "mypy", "--strict", "--config-file=", "--cache-dir=cache", *sources)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found = re.findall(r"^(.+?):(\d+): error:", done.stdout, re.MULTILINE)
    return {(Path(file).name, int(line)) for file, line in found}, done.stdout


def pyright(tmp_path: Path, sources: dict[str, str]) -> tuple[Errors, str]:
    settings = {
        "include": list(sources),
        "extraPaths": [str(ROOT / "python")],
        "typeCheckingMode": "strict",
        "reportUnnecessaryTypeIgnoreComment": "error",
    }
    write(tmp_path, {**sources, "pyrightconfig.json": json.dumps(settings)})
    done = run(tmp_path, "pyright", "--outputjson", "--pythonpath", sys.executable)
    if not done.stdout.startswith("{"):
        pytest.skip(f"pyright does not start, without Node.js install pyright[nodejs]: {done.stderr[-300:]}")
    report = json.loads(done.stdout)
    assert report["summary"]["filesAnalyzed"] == len(sources), done.stdout
    errors = [found for found in report["generalDiagnostics"] if found["severity"] == "error"]
    return {(Path(found["file"]).name, found["range"]["start"]["line"] + 1) for found in errors}, done.stdout


def write(tmp_path: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content)


def needs(module: str) -> pytest.MarkDecorator:
    found = importlib.util.find_spec(module) is not None
    return pytest.mark.skipif(not found, reason=f"{module} is not installed: pip install loomy[test]")


def needs_compiled_mypy() -> pytest.MarkDecorator:
    found = importlib.util.find_spec("mypy") and importlib.util.find_spec("mypy.build")
    compiled = bool(found and found.origin and not found.origin.endswith(".py"))
    return pytest.mark.skipif(not compiled, reason="no compiled mypy here; in plain Python it takes minutes")


Checker = Callable[[Path, dict[str, str]], tuple[Errors, str]]
CHECKERS = pytest.mark.parametrize(
    "check",
    [
        pytest.param(mypy, marks=needs_compiled_mypy(), id="mypy"),
        pytest.param(pyright, marks=needs("pyright"), id="pyright"),
    ],
)


@CHECKERS
def test_types_are_inferred(check: Checker, tmp_path: Path) -> None:
    errors, output = check(tmp_path, EXAMPLES)
    assert not errors, output


@CHECKERS
def test_mistakes_are_found(check: Checker, tmp_path: Path) -> None:
    source = EXAMPLES["wrong.py"]
    expected = {("wrong.py", n) for n, line in enumerate(source.splitlines(), 1) if line.endswith(MARK)}
    assert len(expected) > 20, "wrong.py has lost the comments that mark its mistakes"
    errors, output = check(tmp_path, {"wrong.py": source.replace(MARK, "")})
    assert errors == expected, output


@needs_compiled_mypy()
def test_the_stub_agrees_with_the_compiled_module(tmp_path: Path) -> None:
    # Which classes have a layout of their own is left out: not every checker knows that decorator yet.
    done = run(tmp_path, "mypy.stubtest", "loomy._loomy", "--ignore-disjoint-bases")
    assert done.returncode == 0, done.stdout + done.stderr
