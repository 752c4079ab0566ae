"""Timed waits, and rest, while the system clock jumps by hours at each look, as jumping_clock.c makes it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from _common import WAIT, must_end, report

import loomy
from loomy import Context, Executor, Pool

TIMEOUT = 0.1

door = threading.Event()
started = threading.Semaphore(0)


def job(payload: int) -> int:
    started.release()
    door.wait(WAIT)
    return payload


def takes_its_time(call: Callable[[], object], error: type[Exception]) -> None:
    begun = time.monotonic()
    try:
        call()
    except error:
        elapsed = time.monotonic() - begun
        assert TIMEOUT - 0.001 <= elapsed < WAIT / 2, f"ended after {elapsed} s"
    else:
        raise AssertionError(f"{error.__name__} expected")


def ended(context: Context) -> None:
    context.wait(WAIT)
    context.check()


def notified(context: Context) -> None:
    """Nobody waits for that deadline but the thread that serves them all."""
    told = threading.Event()
    context.on_cancel(told.set)
    assert told.wait(WAIT)
    context.check()


def not_ended(context: Context) -> None:
    if not context.wait(TIMEOUT):
        raise TimeoutError


def timed_waits() -> None:
    pool = Pool(job, size=1, max_pending=0)
    executor = Executor(1)
    running, future = pool.process_async(0), executor.submit(job, 0)
    for _ in range(2):
        assert started.acquire(timeout=WAIT)
    takes_its_time(lambda: running.wait(TIMEOUT), TimeoutError)
    takes_its_time(lambda: future.result(TIMEOUT), TimeoutError)
    takes_its_time(lambda: next(executor.map(job, [1], timeout=TIMEOUT)), TimeoutError)
    takes_its_time(lambda: pool.process(1, timeout=TIMEOUT), loomy.JobTimedOut)  # for room
    takes_its_time(lambda: pool.process_batch([1], timeout=TIMEOUT).raise_for_errors(), ExceptionGroup)
    takes_its_time(lambda: not_ended(Context()), TimeoutError)
    takes_its_time(lambda: ended(Context(TIMEOUT)), loomy.DeadlineExceeded)
    takes_its_time(lambda: notified(Context(TIMEOUT)), loomy.DeadlineExceeded)
    takes_its_time(lambda: pool.set_size(0, timeout=TIMEOUT), TimeoutError)
    takes_its_time(lambda: pool.shutdown(TIMEOUT), loomy.JobTimedOut)
    with Pool(job, size=1) as other:
        takes_its_time(lambda: other.process(1, timeout=TIMEOUT), loomy.JobTimedOut)  # of a running job
        takes_its_time(lambda: other.process_async(1, timeout=TIMEOUT).wait(), loomy.JobTimedOut)  # queued
        threading.Timer(2 * TIMEOUT, door.set).start()
        assert other.process(5, timeout=WAIT) == 5  # and none is shortened
    pool.close()
    executor.shutdown()


def rest() -> None:
    """With a deadline that is far away; CPU time, so that it does not matter what else runs."""
    pool: Pool[int, int] = Pool(abs, size=1, affinity="worker")
    with pool:
        assert pool.process(-1) == 1
        pool.set_size(0)
        far = pool.process_async(2, timeout=3600)
        wakes, used = pool.stats().wakes, time.process_time()
        time.sleep(0.3)
        assert time.process_time() - used < 0.1
        assert pool.stats().wakes == wakes
        assert not far.done()
        pool.set_size(1)
        assert far.wait(WAIT) == 2


if __name__ == "__main__":
    must_end()
    jumps = [abs(time.time() - time.time()) for _ in range(3)]
    assert min(jumps) > 3600, "jumping_clock.c is not in effect"
    timed_waits()
    rest()
    report(jumps=jumps)
