"""Ctrl-C during one blocking call of an executor: KeyboardInterrupt at once, and it can be used again."""

from __future__ import annotations

import concurrent.futures
import threading
import time
from collections.abc import Callable

from _common import WAIT, CtrlC, must_end, report, scenario_of

from loomy import Executor

door = threading.Event()
started = threading.Event()


def job(payload: int) -> int:
    if payload == 0:
        started.set()
        door.wait(WAIT)
    return payload


def interrupt(executor: Executor, call: Callable[[], object], reusable: bool = True) -> None:
    """Makes the call, expects Ctrl-C to end it, then uses the executor again."""
    ctrl_c = CtrlC(started)
    try:
        call()
    except KeyboardInterrupt:
        latency = ctrl_c.latency()
    else:
        raise AssertionError("the call returned")
    door.set()
    if reusable:
        assert executor.submit(job, 5).result(WAIT) == 5
        assert list(executor.map(job, range(5))) == [0, 1, 2, 3, 4]
    executor.shutdown()
    stats = executor.stats()
    ended = stats.completed + stats.failed + stats.cancelled + stats.timed_out
    assert stats.queued == stats.running == 0, stats
    assert stats.submitted == ended, stats
    report(latency=latency)


def result() -> None:
    executor = Executor(1)
    interrupt(executor, executor.submit(job, 0).result)


def result_with_a_timeout() -> None:
    executor = Executor(1)
    future = executor.submit(job, 0)
    interrupt(executor, lambda: future.result(WAIT))


def exception() -> None:
    executor = Executor(1)
    interrupt(executor, executor.submit(job, 0).exception)


def exception_with_a_timeout() -> None:
    executor = Executor(1)
    future = executor.submit(job, 0)
    interrupt(executor, lambda: future.exception(WAIT))
    assert future.exception(WAIT) is None


def wait() -> None:
    executor = Executor(1)
    futures = [executor.submit(job, i) for i in range(3)]
    interrupt(executor, lambda: concurrent.futures.wait(futures))


def as_completed() -> None:
    executor = Executor(1)
    futures = [executor.submit(job, i) for i in range(3)]
    interrupt(executor, lambda: list(concurrent.futures.as_completed(futures)))


def iterating_over_a_map() -> None:
    executor = Executor(1)
    results = executor.map(job, range(100))
    interrupt(executor, lambda: list(results))
    assert executor.stats().cancelled >= 99  # nothing that had not started did


def iterating_over_a_bounded_map() -> None:
    executor = Executor(1)
    interrupt(executor, lambda: list(executor.map(job, range(100), buffersize=4)))


def submit_on_a_full_queue() -> None:
    executor = Executor(1, max_pending=1)
    executor.submit(job, 0)
    assert started.wait(WAIT)
    executor.submit(job, 1)
    interrupt(executor, lambda: executor.submit(job, 2))


def shutdown() -> None:
    executor = Executor(1)
    executor.submit(job, 0)
    interrupt(executor, executor.shutdown, reusable=False)


def leaving_the_block() -> None:
    executor = Executor(1)

    def block() -> None:
        with executor:
            executor.submit(job, 0)

    interrupt(executor, block, reusable=False)


def shrinking(**limit: float) -> None:
    executor = Executor(2)
    executor.submit(job, 0)
    assert started.wait(WAIT)
    executor.submit(time.sleep, 0)

    def shrink_and_grow() -> None:
        try:
            executor.set_max_workers(0, **limit)  # type: ignore[arg-type]
        finally:
            executor.set_max_workers(1, wait=False)

    interrupt(executor, shrink_and_grow)


def set_max_workers() -> None:
    shrinking()


def set_max_workers_with_a_timeout() -> None:
    shrinking(timeout=WAIT)


SCENARIOS: dict[str, Callable[[], None]] = {
    scenario.__name__: scenario
    for scenario in (
        result,
        result_with_a_timeout,
        exception,
        exception_with_a_timeout,
        wait,
        as_completed,
        iterating_over_a_map,
        iterating_over_a_bounded_map,
        submit_on_a_full_queue,
        shutdown,
        leaving_the_block,
        set_max_workers,
        set_max_workers_with_a_timeout,
    )
}

if __name__ == "__main__":
    must_end()
    scenario_of(SCENARIOS)()
