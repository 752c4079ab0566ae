"""The life of an executor: shutdown, exit, fork, signals, and being forgotten."""

from __future__ import annotations

import concurrent.futures
import gc
import os
import signal
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import Any

import pytest
from helpers import (
    WAIT,
    Background,
    Gate,
    assert_soon_interrupted,
    double,
    identity,
    in_threads,
    one_busy_worker,
    run_script,
    scenarios_in,
    unraisable_errors,
    wait_until,
)

from loomy import Executor

RUNS = int(os.environ.get("LOOMY_EXIT_RUNS", "3"))


# Shutdown.


def test_leaving_the_block_runs_what_is_queued_and_ends_the_threads() -> None:
    ran: list[int] = []
    with Executor(2) as executor:
        for i in range(100):
            executor.submit(ran.append, i)
        threads = list(executor._threads)
    assert sorted(ran) == list(range(100))
    assert threads
    assert not any(thread.is_alive() for thread in threads)


def test_the_block_does_not_swallow_exceptions() -> None:
    executor = Executor(1)

    def block() -> None:
        with executor:
            raise ValueError("of the block")

    with pytest.raises(ValueError, match="of the block"):
        block()
    assert executor._shutdown


def test_entering_the_block_gives_the_executor() -> None:
    executor = Executor(1)
    with executor as entered:
        assert entered is executor


def test_shutdown_without_waiting_returns_at_once_and_jobs_go_on() -> None:
    with one_busy_worker() as (executor, gate):
        future = executor.submit(double, 4)
        executor.shutdown(wait=False)
        assert not future.done()
        gate.open()
        assert future.result(WAIT) == 8


def test_shutdown_waits_until_the_threads_have_ended() -> None:
    with Gate() as gate:
        executor = Executor(1)
        executor.submit(gate.block, 0)
        gate.wait_entered()
        (thread,) = executor._threads
        closing = Background(executor.shutdown)
        closing.thread.join(0.05)
        assert closing.running()
        gate.open()
        closing.result()
        assert not thread.is_alive()


def test_shutdown_cancels_what_has_not_started_if_asked_to() -> None:
    with one_busy_worker() as (executor, gate):
        futures = [executor.submit(identity, i) for i in range(10)]
        executor.shutdown(wait=False, cancel_futures=True)
        assert [future.cancelled() for future in futures] == [True] * 10
        for future in futures:
            with pytest.raises(CancelledError):
                future.result(0)
        gate.open()
    assert executor.stats().cancelled == 10


def test_shutdown_may_cancel_what_an_earlier_one_left() -> None:
    with one_busy_worker() as (executor, _):
        future = executor.submit(identity, 1)
        executor.shutdown(wait=False)
        executor.shutdown(wait=False, cancel_futures=True)
        assert future.cancelled()


def test_shutdown_takes_wait_by_position_and_the_rest_by_name() -> None:
    executor = Executor(1)
    wrong: Any = executor.shutdown
    executor.shutdown(True)
    with pytest.raises(TypeError):
        wrong(True, True)


def test_shutdown_is_idempotent_from_many_threads() -> None:
    executor = Executor(4)
    futures = [executor.submit(identity, i) for i in range(1000)]
    in_threads(5, lambda _: executor.shutdown())
    executor.shutdown()
    assert [future.result(0) for future in futures] == list(range(1000))


def test_shutdown_inside_a_job_does_not_wait_for_that_job() -> None:
    with Executor(1) as executor:
        assert executor.submit(executor.shutdown).result(WAIT) is None
        assert executor._shutdown


def test_shutdown_inside_a_callback_does_not_wait_for_its_own_thread() -> None:
    told = threading.Event()
    with one_busy_worker() as (executor, gate):

        def on_done(_: object) -> None:
            executor.shutdown()
            told.set()

        executor.submit(identity, 1).add_done_callback(on_done)
        gate.open()
        assert told.wait(WAIT)


def test_each_submit_that_races_shutdown_is_run_or_refused() -> None:
    for _ in range(20):
        ran = [0] * 200
        executor = Executor(2)

        def job(i: int, ran: list[int] = ran) -> None:
            ran[i] += 1

        def submit_all(index: int, executor: Executor = executor) -> list[Any]:
            futures: list[Any] = []
            if index == 3:
                time.sleep(0.0005)
                executor.shutdown()
                return futures
            for i in range(index, 200, 3):
                try:
                    futures.append(executor.submit(job, i))
                except RuntimeError:
                    return futures
            return futures

        futures = [future for part in in_threads(4, submit_all) for future in part]
        done, pending = concurrent.futures.wait(futures, WAIT)
        assert not pending
        assert (sum(ran), max(ran, default=0)) == (len(done), min(1, len(done)))


def test_statistics_and_properties_are_there_after_shutdown() -> None:
    with Executor(2, "name") as executor:
        executor.submit(identity, 1)
    assert executor.stats().completed == 1
    assert (executor.name, executor.queue_length, executor.running) == ("name", 0, 0)


# Being forgotten.


def test_an_executor_that_nobody_has_runs_what_was_queued_and_leaves_no_thread() -> None:
    ran: list[int] = []
    with Gate() as gate:
        executor = Executor(1)
        executor.submit(gate.block, 0)
        gate.wait_entered()
        (thread,) = executor._threads
        futures = [executor.submit(ran.append, i) for i in range(100)]
        gone = weakref.ref(executor)
        del executor
        gc.collect()
        assert gone() is None
        gate.open()
        concurrent.futures.wait(futures, WAIT)
    thread.join(WAIT)
    assert not thread.is_alive()
    assert ran == list(range(100))


def test_an_idle_executor_that_nobody_has_ends_its_threads() -> None:
    executor = Executor(4)
    list(executor.map(identity, range(100)))
    threads = list(executor._threads)
    del executor
    gc.collect()
    for thread in threads:
        thread.join(WAIT)
    assert not any(thread.is_alive() for thread in threads)


def test_an_executor_dropped_by_its_own_last_job_ends_its_threads() -> None:
    box = [Executor(1)]
    (thread,) = [box[0].submit(threading.current_thread).result(WAIT)]
    box[0].submit(box.clear)
    # Not join(): without a GIL, CPython lets the thread that made an object bury it when another has dropped
    # the last reference, between two of its bytecodes.
    wait_until(lambda: not thread.is_alive(), "the end of the thread")


def test_an_executor_in_a_cycle_with_its_jobs_is_collected() -> None:
    class Service:
        def __init__(self) -> None:
            self.executor = Executor(1)
            self.future: Any = self.executor.submit(self.work)

        def work(self) -> int:
            return 7

    service = Service()
    assert service.future.result(WAIT) == 7
    threads = list(service.executor._threads)
    gone = weakref.ref(service)
    del service
    wait_until(lambda: gc.collect() >= 0 and gone() is None, "the end of the cycle")
    for thread in threads:
        thread.join(WAIT)


# Submitting from where Python may run anything.


class Cyclic:
    def __init__(self, on_end: Callable[[], object]) -> None:
        self.me = self
        self.on_end = on_end

    def __del__(self) -> None:
        self.on_end()


def test_28_submit_in_a_finaliser_that_runs_inside_a_submit() -> None:
    inner: list[Any] = []
    before = gc.get_threshold()
    with Executor(1) as executor:
        gc.set_threshold(1)  # the collector runs wherever something is allocated
        try:
            outer = []
            for i in range(300):
                Cyclic(lambda: inner.append(executor.submit(identity, -1)))
                outer.append(executor.submit(lambda *args: args[0], i, [], {}))
        finally:
            gc.set_threshold(*before)
        gc.collect()
        assert [future.result(WAIT) for future in outer] == list(range(300))
        assert len(inner) == 300
        assert {future.result(WAIT) for future in inner} == {-1}


def test_28_submit_in_a_finaliser_of_an_argument() -> None:
    """The last reference to an argument goes on the worker, or in cancel(): wherever loomy drops it."""
    inner: list[Any] = []

    class Argument:
        def __del__(self) -> None:
            inner.append(executor.submit(identity, -1))

    with Executor(1) as executor:
        executor.submit(id, Argument()).result(WAIT)
        with Gate() as gate:
            executor.submit(gate.block, 0)
            gate.wait_entered()
            assert executor.submit(id, Argument()).cancel()
        wait_until(lambda: len(inner) == 2)
        assert [future.result(WAIT) for future in inner] == [-1, -1]


def test_28_submit_in_a_weakref_callback() -> None:
    inner: list[Any] = []
    with Executor(1) as executor:
        references = []
        for i in range(300):
            target = Cyclic(lambda: None)
            references.append(
                weakref.ref(target, lambda _: inner.append(executor.submit(identity, -1))),
            )
            target.me = None  # type: ignore[assignment]
            executor.submit(lambda i, target: i, i, target)
            del target
        wait_until(lambda: len(inner) == 300)
        assert {future.result(WAIT) for future in inner} == {-1}


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX timers")
def test_28_submit_in_a_signal_handler_that_runs_inside_a_submit() -> None:
    inner: list[Any] = []

    def handler(*_: object) -> None:
        inner.append(executor.submit(identity, -1))

    previous = signal.signal(signal.SIGALRM, handler)
    try:
        with Executor(1) as executor:
            signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
            end = time.monotonic() + WAIT
            outer = []
            while len(inner) < 50 and time.monotonic() < end:
                outer.append(executor.submit(identity, 1))
            signal.setitimer(signal.ITIMER_REAL, 0)
            assert {future.result(WAIT) for future in outer} == {1}
            assert {future.result(WAIT) for future in inner} == {-1}
            assert len(inner) >= 50
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def test_28_submit_in_the_callback_of_a_future() -> None:
    told: list[Any] = []
    with Executor(1) as executor, unraisable_errors() as errors:
        for i in range(100):
            executor.submit(identity, i).add_done_callback(
                lambda ended: told.append(executor.submit(double, ended.result()))
            )
        wait_until(lambda: len(told) == 100)
        assert sorted(future.result(WAIT) for future in told) == [2 * i for i in range(100)]
    assert errors == []


# The end of the interpreter, in one of its own: tests/scripts/executor_exit.py.

OUTPUT = {
    "busy": ["ran"],
    "queued": ["ran"] * 10,
    "queued_in_a_map": ["ran"] * 10,
    "queued_and_dropped": ["ran"] * 10,
    "queued_and_shut_down_without_waiting": ["ran"] * 10,
    "queued_and_cancelled": ["ran"],
    "job_that_submits_another": ["first", "cannot schedule new futures after interpreter shutdown"],
    "thread_that_submits_after_the_main_thread_has_ended": ["ran"],  # reliability 30
    "thread_that_a_job_starts": ["ran"],
    "submitting_in_atexit": ["ran"],
    "submitting_too_late": ["cannot schedule new futures after interpreter shutdown"],
    "no_thread_and_then_one": ["ran"],
    "ctrl_c_while_jobs_run": ["told to stop"],
    "ctrl_c_of_which_hooks_hear": ["CancelledError", *["PoolNotRunning"] * 10, "told to stop"],
}


@pytest.mark.timeout(60 + 3 * RUNS, method="thread")
@pytest.mark.parametrize("state", scenarios_in("executor_exit"))
def test_exit_runs_what_was_submitted_with_an_executor(state: str) -> None:
    for _ in range(RUNS):
        finished = run_script("executor_exit", state)
        assert finished.returncode == 0, finished.stderr
        said = finished.stdout.splitlines()
        # The job that is told to stop, and the hook that hears of it, are on two threads.
        assert (sorted(said) if state == "ctrl_c_of_which_hooks_hear" else said) == OUTPUT.get(state, [])
        if state.startswith("ctrl_c"):
            assert finished.stderr.splitlines()[-1].startswith("KeyboardInterrupt")
        else:
            assert finished.stderr == ""


@pytest.mark.parametrize("call", scenarios_in("executor_ctrl_c"))
def test_ctrl_c_interrupts(call: str) -> None:
    assert_soon_interrupted("executor_ctrl_c", call)
