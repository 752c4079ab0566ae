"""Signals: Ctrl-C ends every blocking call at once, other signals end none."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from typing import Any

import pytest
from helpers import WAIT, Gate, assert_soon_interrupted, run_script, scenarios_in

from loomy import AsyncResult, Executor, Pool

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="needs POSIX signals")

CALM = 75  # of signal_storm.py: the machine had no time for a storm


@pytest.mark.parametrize("call", scenarios_in("ctrl_c"))
def test_ctrl_c_interrupts(call: str) -> None:
    assert_soon_interrupted("ctrl_c", call)


@pytest.mark.parametrize("call", scenarios_in("ctrl_c_asyncio"))
def test_ctrl_c_ends_an_event_loop_that_waits_for_jobs(call: str) -> None:
    assert_soon_interrupted("ctrl_c_asyncio", call)


@pytest.mark.parametrize("call", scenarios_in("signal_storm"))
def test_other_signals_break_no_wait_and_shorten_no_timeout(call: str) -> None:
    for _ in range(5):
        finished = run_script("signal_storm", call)
        if finished.returncode != CALM:
            break
    assert finished.returncode == 0, finished.stderr


def blocked(_: int = 0) -> set[int]:
    return {int(each) for each in signal.pthread_sigmask(signal.SIG_BLOCK, [])}


@pytest.mark.parametrize("kind", [Pool, Executor])
def test_workers_block_what_the_thread_blocks_that_starts_them(kind: Any) -> None:
    def mask_of_a_worker() -> set[int]:
        if kind is Pool:
            with Pool(blocked, size=1, affinity="worker") as pool:
                return pool.process(1)
        with Executor(1) as executor:
            return executor.submit(blocked).result(WAIT)

    before = blocked()
    assert mask_of_a_worker() == before
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
    try:
        assert mask_of_a_worker() == before | {int(signal.SIGUSR2)}
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_workers_started_for_a_callback_of_a_deadline_block_no_more() -> None:
    """The thread for deadlines blocks all signals: it starts the worker here."""
    with Pool(blocked, size=1) as pool, Gate() as gate:
        masks: list[AsyncResult[set[int]]] = []
        told = threading.Event()

        def submit(_: object) -> None:
            masks.append(pool.process_async(0))
            told.set()

        with Pool(gate.block, size=1) as busy:
            busy.process_async(0)
            gate.wait_entered()
            busy.process_async(0, timeout=0.01).add_done_callback(submit)
            assert told.wait(WAIT)
            assert masks[0].wait(WAIT) == blocked()
            gate.open()


def test_process_that_a_job_starts_can_be_terminated() -> None:
    def job(_: int) -> int:
        child = subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({WAIT})"])
        try:
            child.terminate()
            return child.wait(WAIT / 2)
        finally:
            child.kill()
            child.wait()

    with Pool(job, size=1, affinity="worker") as pool:
        assert pool.process(0) == -signal.SIGTERM


def test_caller_that_runs_a_job_keeps_its_signal_mask() -> None:
    with Pool(blocked, size=1) as pool:
        assert pool.process(1) == blocked(1)


def test_signal_handler_may_submit_while_the_main_thread_waits() -> None:
    answers: list[int] = []
    told = threading.Event()

    def handler(*_: object) -> None:
        answers.append(pool.process_async(2).wait(WAIT))
        told.set()

    def job(payload: int) -> int:
        if payload == 1:
            os.kill(os.getpid(), signal.SIGUSR1)
            told.wait(WAIT)
        return payload

    previous = signal.signal(signal.SIGUSR1, handler)
    try:
        pool: Pool[int, int] = Pool(job, size=2, affinity="worker")
        with pool:
            assert pool.process(1) == 1
    finally:
        signal.signal(signal.SIGUSR1, previous)
    assert answers == [2]


def test_signal_handler_may_submit_while_the_main_thread_submits() -> None:
    submitted: list[int] = []

    def handler(*_: object) -> None:
        submitted.append(pool.process_async(-1).wait(WAIT))

    def job(payload: int) -> int:
        return payload

    previous = signal.signal(signal.SIGALRM, handler)
    try:
        with Pool(job, size=1) as pool:
            signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
            results = [pool.process_async(i) for i in range(20_000)]
            assert [result.wait(WAIT) for result in results] == list(range(20_000))
            while not submitted:  # the handler runs between two bytecodes
                pass
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert set(submitted) == {-1}
