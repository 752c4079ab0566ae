"""What native kernels must do: each line has its tests (the table of tests/README.md), one by its number."""

from __future__ import annotations

import pytest
from named_tests import check_that_it_is_there, named_in, rows_of

ROWS = rows_of("Native kernels")


def test_every_line_has_its_tests() -> None:
    assert [int(number) for number, _ in ROWS] == list(range(1, 13))


@pytest.mark.parametrize(("number", "named"), ROWS, ids=[number for number, _ in ROWS])
def test_the_tests_of_a_line_are_there(number: str, named: str) -> None:
    tests = named_in(named)
    for file, test in tests:
        check_that_it_is_there(file, test)
    assert any(test.startswith(f"test_{int(number):02}_") for _, test in tests)
