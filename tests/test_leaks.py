"""What is done very often grows nothing; .ci/exact_references counts references with a debug build."""

from __future__ import annotations

import os
import sys

import pytest
from helpers import LONG, run_script

TIMES = 100_000 if LONG else 2_000


def test_no_operation_grows_memory_or_objects() -> None:
    finished = run_script("leaks", "all", TIMES, timeout=50 if not LONG else 900)
    assert finished.returncode == 0, finished.stderr


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or "LD_PRELOAD" in os.environ,
    reason="what is measured is Linux's, and no sanitizer's",
)
@pytest.mark.parametrize(
    ("loss", "seen"), [("lost_objects", "objects"), ("lost_memory", "bytes"), ("lost_pages", "kB")]
)
def test_one_thing_lost_in_each_turn_is_seen(loss: str, seen: str) -> None:
    finished = run_script("leaks", loss, 300)
    assert finished.returncode == 1
    assert f" more {seen} in 300 turns" in finished.stderr
