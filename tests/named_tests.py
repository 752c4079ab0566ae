"""The tables of README.md that say which tests show what."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parent


def rows_of(section: str) -> list[tuple[str, str]]:
    """(number, the cell with the tests) of the table under that heading."""
    text = (TESTS / "README.md").read_text(encoding="utf-8")
    (found,) = re.findall(rf"^## {re.escape(section)}$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return re.findall(r"^\| (\d+) \|.*\| (.*) \|$", found, re.MULTILINE)


def named_in(cell: str) -> list[tuple[str, str]]:
    """(file, test) of those that it names."""
    return re.findall(r"`([\w/.]+\.(?:py|cpp))::([^`]+)`", cell)


def check_that_it_is_there(file: str, test: str) -> None:
    text = (TESTS / file).read_text(encoding="utf-8")
    if file.endswith(".py"):
        pattern = rf"^(?:async )?def {test}\("
    else:
        pattern = rf'^TEST_CASE(?:_TEMPLATE)?\("{re.escape(test)}"'
    assert re.search(pattern, text, re.MULTILINE), f"there is no {file}::{test}"
