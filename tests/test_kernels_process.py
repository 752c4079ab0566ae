"""Kernels and the process: Ctrl-C, exit and fork while launches are in every state."""

from __future__ import annotations

import os
import signal
import time

import pytest
from helpers import assert_soon_interrupted, in_threads, run_script, scenarios_in
from kernel_tools import NO_COMPILER, library

pytestmark = [
    pytest.mark.skipif(NO_COMPILER is not None, reason=str(NO_COMPILER)),
    pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="needs POSIX signals"),
]

RUNS = int(os.environ.get("LOOMY_EXIT_RUNS", "3"))


@pytest.mark.parametrize("call", scenarios_in("kernel_ctrl_c"))
def test_04_ctrl_c_stops(call: str) -> None:
    within, tries = (0.1, 5) if call.startswith("polling_kernel") else (0.5, 3)
    assert_soon_interrupted("kernel_ctrl_c", call, library("native.c"), within=within, tries=tries)


@pytest.mark.timeout(60 + 3 * RUNS, method="thread")
@pytest.mark.parametrize("state", scenarios_in("kernel_exit"))
def test_05_exit_is_silent_with(state: str) -> None:
    left = RUNS
    path = library("native.c")
    while left > 0:
        together = min(left, 4)
        left -= together
        for finished in in_threads(together, lambda _: run_script("kernel_exit", state, path)):
            assert (finished.returncode, finished.stdout, finished.stderr) == (0, "", "")


def test_05_exit_with_a_running_launch_takes_no_second() -> None:
    took = []
    for _ in range(3):
        begun = time.monotonic()
        assert run_script("kernel_exit", "running_launch", library("native.c")).returncode == 0
        running = time.monotonic() - begun
        begun = time.monotonic()
        assert run_script("kernel_exit", "finished_launches", library("native.c")).returncode == 0
        took.append(running - (time.monotonic() - begun))
        if took[-1] < 1:
            return
    pytest.fail(f"a running launch made the exit {took} s longer")


@pytest.mark.parametrize("case", scenarios_in("kernel_fork"))
def test_06_fork(case: str) -> None:
    # from 3.12 on forking a process with threads warns; that is what is tested here
    flags = ("-W", "ignore::DeprecationWarning")
    finished = run_script("kernel_fork", case, library("native.c"), flags=flags)
    assert (finished.returncode, finished.stderr) == (0, "")
