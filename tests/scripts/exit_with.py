"""Ends the interpreter with pools in some state. Whatever it is: exit code 0, no output, no hang."""

from __future__ import annotations

import atexit
import contextlib
import contextvars
import os
import sys
import threading
import time
from collections.abc import Callable

from _common import WAIT, must_end, scenario_of

import loomy
from loomy import AsyncResult, Context, Pool, Worker

started = threading.Event()
kept: list[object] = []  # lives until the interpreter is torn down


def say(word: str) -> None:
    os.write(1, f"{word}\n".encode())


def identity(payload: int) -> int:
    return payload


def until_cancelled(ctx: Context, payload: int) -> int:
    started.set()
    ctx.wait(WAIT)
    return payload


def spin(payload: int) -> int:
    started.set()
    end = time.monotonic() + WAIT
    while time.monotonic() < end:
        pass
    return payload


def unused_pool() -> None:
    kept.append(Pool(identity, size=4))


def idle_pool() -> None:
    pool = Pool(identity, size=4)
    pool.process_batch(range(1000))
    for i in range(100):
        pool.process_async(i).wait(WAIT)
    kept.append(pool)


def many_idle_pools() -> None:
    for _ in range(20):
        idle_pool()


def pool_that_only_its_callers_used() -> None:
    pool = Pool(identity, size=4)
    pool.process(1)
    kept.append(pool)


def idle_stateful_workers() -> None:
    class Echo(Worker[int, int]):
        def process(self, ctx: Context, payload: int) -> int:
            return payload

    pool = Pool.from_workers(Echo, size=2)
    pool.process(1)
    kept.append(pool)


def busy_job_that_heeds_its_context() -> None:
    pool = Pool(until_cancelled, size=1, pass_context=True)
    kept.append((pool, pool.process_async(1)))
    started.wait(WAIT)


def busy_job_in_python() -> None:
    def spin(ctx: Context, payload: int) -> int:
        started.set()
        while not ctx.cancelled:
            pass
        return payload

    pool = Pool(spin, size=2, pass_context=True)
    kept.append((pool, pool.process_async(1), pool.process_async(2)))
    started.wait(WAIT)


def busy_job_that_heeds_nothing() -> None:
    def sleep(payload: int) -> int:
        started.set()
        time.sleep(WAIT)
        return payload

    pool = Pool(sleep, size=1)
    kept.append((pool, pool.process_async(1)))
    started.wait(WAIT)


def busy_job_in_python_that_heeds_nothing() -> None:
    pool = Pool(spin, size=1)
    kept.append((pool, pool.process_async(1)))
    started.wait(WAIT)


def busy_job_in_python_whose_context_is_nobody_elses() -> None:
    variable: contextvars.ContextVar[object] = contextvars.ContextVar("variable")

    def spin_with_another(payload: int) -> int:
        variable.set(object())
        return spin(payload)

    pool = Pool(spin_with_another, size=1)
    variable.set(object())
    kept.append((pool, pool.process_async(1)))
    started.wait(WAIT)
    variable.set(object())


def queued_jobs() -> None:
    def job(ctx: Context, payload: int) -> int:
        if payload:
            say("a queued job ran")
        return until_cancelled(ctx, payload)

    pool = Pool(job, size=1, pass_context=True)
    kept.append((pool, [pool.process_async(i) for i in range(1000)]))
    started.wait(WAIT)


def queued_batch_and_map() -> None:
    pool = Pool(until_cancelled, size=1, pass_context=True)
    results = pool.map(range(100))
    kept.append((pool, pool.process_batch_async(range(1000)), results))
    started.wait(WAIT)


def pool_of_size_zero_with_jobs() -> None:
    pool = Pool(identity, size=0)
    kept.append((pool, pool.process_async(1)))


def blocked_callers() -> None:
    """Daemon threads that wait for jobs, for results and for room in the queue."""
    pool = Pool(until_cancelled, size=1, pass_context=True, max_pending=1)
    first = pool.process_async(0)
    started.wait(WAIT)
    second = pool.process_async(1)
    calls: list[Callable[[], object]] = [
        first.wait,
        second.wait,
        lambda: pool.process(2),
        lambda: pool.process_async(3),
    ]
    for call in calls:

        def run(call: Callable[[], object] = call) -> None:
            with contextlib.suppress(loomy.LoomyError):
                call()

        threading.Thread(target=run, daemon=True).start()
    kept.append(pool)


def waiting_thread_that_is_no_daemon() -> None:
    pool = Pool(until_cancelled, size=1, pass_context=True)
    pool.process_async(0)
    started.wait(WAIT)
    queued = pool.process_async(1)

    def wait() -> None:
        with contextlib.suppress(loomy.PoolNotRunning):
            queued.wait(WAIT)

    threading.Thread(target=wait).start()
    kept.append(pool)


def submitting_thread_that_is_no_daemon() -> None:
    pool = Pool(identity, size=2)

    def submit() -> None:
        try:
            for i in range(20_000):
                pool.process_async(i)
        except loomy.PoolNotRunning:
            pass

    threading.Thread(target=submit).start()
    kept.append(pool)


def submitting_daemon_thread() -> None:
    pool = Pool(identity, size=2)

    def submit() -> None:
        started.set()
        try:
            while True:
                pool.process_async(1).wait(WAIT)
        except loomy.PoolNotRunning:
            pass

    threading.Thread(target=submit, daemon=True).start()
    started.wait(WAIT)


def pool_of_a_daemon_thread() -> None:
    def work() -> None:
        pool = Pool(identity, size=2)
        kept.append(pool)
        pool.process_batch(range(100))
        started.set()
        threading.Event().wait(WAIT)

    threading.Thread(target=work, daemon=True).start()
    started.wait(WAIT)


def pool_made_in_atexit() -> None:
    def work() -> None:
        pool = Pool(identity, size=2)
        kept.append(pool)
        if pool.process(7) != 7:
            say("wrong result")

    atexit.register(work)


def pool_used_in_atexit() -> None:
    pool = Pool(identity, size=2, affinity="worker")
    pool.process(1)

    def work() -> None:
        try:
            pool.process(1)
        except loomy.PoolNotRunning:
            return
        say("a pool outlived its threads")

    atexit.register(work)


def pool_closed_in_atexit() -> None:
    _pool_ended_in_atexit("close")


def pool_shut_down_in_atexit() -> None:
    _pool_ended_in_atexit("shutdown")


def _pool_ended_in_atexit(end: str) -> None:
    pool = Pool(identity, size=2)
    pool.process_batch(range(1000))
    kept.extend(pool.process_async(i) for i in range(1000))
    atexit.register(getattr(pool, end))


def pool_made_and_closed_in_atexit() -> None:
    _pool_made_and_ended_in_atexit("close")


def pool_made_and_shut_down_in_atexit() -> None:
    _pool_made_and_ended_in_atexit("shutdown")


def _pool_made_and_ended_in_atexit(end: str) -> None:
    def work() -> None:
        pool = Pool(identity, size=2, affinity="worker")
        try:
            results = [pool.process_async(i) for i in range(1000)]
        except RuntimeError:
            # from 3.12 on no thread can be started any more
            results = []
            if sys.version_info < (3, 12):
                raise
        getattr(pool, end)()
        for i, result in enumerate(results):
            try:
                if result.wait(WAIT) != i:
                    say("wrong result")
            except loomy.PoolNotRunning:
                if end == "shutdown":
                    say("a job that was accepted did not run")

    atexit.register(work)


def pending_deadline() -> None:
    pool = Pool(until_cancelled, size=1, pass_context=True)
    kept.append((pool, pool.process_async(1), pool.process_async(2, timeout=1000), Context(timeout=1000)))
    started.wait(WAIT)


def pool_in_a_cycle_with_its_jobs() -> None:
    pools: list[Pool[int, int]] = []

    def job(payload: int) -> int:
        return payload + len(pools)

    pool: Pool[int, int] = Pool(job, size=1)
    pools.append(pool)
    pool.process_async(1).wait(WAIT)


def callback_that_submits_again() -> None:
    pool = Pool(identity, size=1)

    def again(result: AsyncResult[int]) -> None:
        with contextlib.suppress(loomy.PoolNotRunning):
            pool.process_async(1).add_done_callback(again)

    again(pool.process_async(0))


def job_that_says_it_was_cancelled() -> None:
    def job(ctx: Context, payload: int) -> int:
        started.set()
        if ctx.wait(WAIT):
            say("cancelled")
        return payload

    pool = Pool(job, size=1, pass_context=True)
    kept.append((pool, pool.process_async(1)))
    started.wait(WAIT)


SCENARIOS: dict[str, Callable[[], None]] = {
    scenario.__name__: scenario
    for scenario in (
        unused_pool,
        idle_pool,
        many_idle_pools,
        pool_that_only_its_callers_used,
        idle_stateful_workers,
        busy_job_that_heeds_its_context,
        busy_job_in_python,
        busy_job_that_heeds_nothing,
        busy_job_in_python_that_heeds_nothing,
        busy_job_in_python_whose_context_is_nobody_elses,
        queued_jobs,
        queued_batch_and_map,
        pool_of_size_zero_with_jobs,
        blocked_callers,
        waiting_thread_that_is_no_daemon,
        submitting_thread_that_is_no_daemon,
        submitting_daemon_thread,
        pool_of_a_daemon_thread,
        pool_made_in_atexit,
        pool_used_in_atexit,
        pool_closed_in_atexit,
        pool_shut_down_in_atexit,
        pool_made_and_closed_in_atexit,
        pool_made_and_shut_down_in_atexit,
        pending_deadline,
        pool_in_a_cycle_with_its_jobs,
        callback_that_submits_again,
        job_that_says_it_was_cancelled,
    )
}

if __name__ == "__main__":
    must_end()
    scenario_of(SCENARIOS)()
