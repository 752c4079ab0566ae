"""What is done very often grows nothing; .ci/exact_references counts references with a debug build."""

from __future__ import annotations

from helpers import LONG, run_script

TIMES = 100_000 if LONG else 2_000


def test_no_operation_grows_memory_or_objects() -> None:
    finished = run_script("leaks", "all", TIMES, timeout=50 if not LONG else 900)
    assert finished.returncode == 0, finished.stderr
