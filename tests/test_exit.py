"""The interpreter ends while pools are in every kind of state: exit code 0, no output, no hang."""

from __future__ import annotations

import os
import time

import pytest
from helpers import in_threads, run_program, run_script, scenarios_in

RUNS = int(os.environ.get("LOOMY_EXIT_RUNS", "3"))

TELLING = "job_that_says_it_was_cancelled"
# each run of these lasts the second that exit grants to running jobs
SLOW = {
    "busy_job_that_heeds_nothing",
    "busy_job_in_python_that_heeds_nothing",
    "busy_job_in_python_whose_context_is_nobody_elses",
}


@pytest.mark.timeout(60 + 3 * RUNS, method="thread")
@pytest.mark.parametrize("state", [name for name in scenarios_in("exit_with") if name != TELLING])
def test_exit_is_silent_with(state: str) -> None:
    left = 1 if state in SLOW and RUNS < 100 else RUNS
    while left > 0:
        together = min(left, 4)
        left -= together
        for finished in in_threads(together, lambda _: run_script("exit_with", state)):
            assert (finished.returncode, finished.stdout, finished.stderr) == (0, "", "")


def test_exit_cancels_the_contexts_of_running_jobs() -> None:
    finished = run_script("exit_with", TELLING)
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "cancelled\n", "")


def test_exit_does_not_wait_for_a_job_that_never_ends() -> None:
    begun = time.monotonic()
    finished = run_script("exit_with", "busy_job_that_heeds_nothing")
    assert finished.returncode == 0, finished.stderr
    assert time.monotonic() - begun < 15  # one second is granted; the job would take twenty


@pytest.mark.parametrize(
    "ending", ["raise SystemExit(3)", "import sys; sys.exit(3)", "import os; os._exit(3)"]
)
def test_exit_code_of_the_program_is_kept(ending: str) -> None:
    program = f"import loomy; pool = loomy.Pool(abs, size=2); pool.process_async(1).wait(); {ending}"
    finished = run_program(program)
    assert (finished.returncode, finished.stdout, finished.stderr) == (3, "", "")


def test_exit_by_an_exception_shows_that_exception_alone() -> None:
    program = (
        "import loomy; pool = loomy.Pool(abs, size=2); pool.process_async(1).wait(); raise ValueError('mine')"
    )
    finished = run_program(program)
    assert finished.returncode == 1
    assert finished.stderr.count("Traceback") == 1
    assert finished.stderr.rstrip().endswith("ValueError: mine")
