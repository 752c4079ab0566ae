"""Fork with live pools, each case in an interpreter of its own: tests/scripts/fork_with.py has them."""

from __future__ import annotations

import os

import pytest
from helpers import run_script, scenarios_in

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.mark.parametrize("case", scenarios_in("fork_with"))
def test_fork(case: str) -> None:
    # from 3.12 on forking a process with threads warns; that is what is tested here
    finished = run_script("fork_with", case, flags=("-W", "ignore::DeprecationWarning"))
    assert (finished.returncode, finished.stderr) == (0, "")
