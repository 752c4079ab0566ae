"""Ctrl-C during one blocking call: KeyboardInterrupt at once, and a pool that can be used again."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable

from _common import WAIT, CtrlC, must_end, report, scenario_of

import loomy
from loomy import Context, Pool

door = threading.Event()
started = threading.Event()


def job(payload: int) -> int:
    if payload == 0:
        started.set()
        door.wait(WAIT)
    return payload


def stuck_pool(max_pending: int | None = None) -> Pool[int, int]:
    """A pool whose only worker is busy until the door opens."""
    pool = Pool(job, size=1, max_pending=max_pending)
    pool.process_async(0)
    assert started.wait(WAIT)
    return pool


def interrupt(pool: Pool[int, int], call: Callable[[], object], reusable: bool = True) -> None:
    """Makes the call, expects Ctrl-C to end it, then uses the pool again."""
    ctrl_c = CtrlC(started)
    try:
        call()
    except KeyboardInterrupt:
        latency = ctrl_c.latency()
    else:
        raise AssertionError("the call returned")
    door.set()
    if reusable:
        assert pool.process(5) == 5
        assert pool.process_async(6).wait(WAIT) == 6
        results, _ = pool.process_batch([7, 8])
        assert results == [7, 8]
    pool.close()
    stats = pool.stats()
    ended = stats.completed + stats.failed + stats.cancelled + stats.timed_out
    assert stats.queued == stats.running == 0, stats
    assert stats.submitted == ended, stats
    report(latency=latency)


def process() -> None:
    pool = Pool(job, size=1, affinity="worker")
    interrupt(pool, lambda: pool.process(0))


def process_with_a_timeout() -> None:
    pool = Pool(job, size=1)
    interrupt(pool, lambda: pool.process(0, timeout=WAIT))


def process_with_a_context() -> None:
    pool = Pool(job, size=1, affinity="worker")
    interrupt(pool, lambda: pool.process(0, ctx=Context()))


def process_of_a_queued_job() -> None:
    pool = stuck_pool()
    interrupt(pool, lambda: pool.process(1))


def process_run_by_its_caller() -> None:
    pool = Pool(job, size=1)
    interrupt(pool, lambda: pool.process(0))


def wait() -> None:
    pool = Pool(job, size=1)
    result = pool.process_async(0)
    interrupt(pool, result.wait)
    assert result.wait(WAIT) == 0


def wait_with_a_timeout() -> None:
    pool = Pool(job, size=1)
    result = pool.process_async(0)
    interrupt(pool, lambda: result.wait(WAIT))
    assert result.wait(WAIT) == 0


def exception() -> None:
    pool = Pool(job, size=1)
    result = pool.process_async(0)
    interrupt(pool, result.exception)


def exception_with_a_timeout() -> None:
    pool = Pool(job, size=1)
    result = pool.process_async(0)
    interrupt(pool, lambda: result.exception(WAIT))
    assert result.exception(WAIT) is None


def process_batch() -> None:
    pool = Pool(job, size=1, affinity="worker")
    interrupt(pool, lambda: pool.process_batch([0, 1, 2]))


def process_batch_helped_by_its_caller() -> None:
    pool = Pool(job, size=1)
    interrupt(pool, lambda: pool.process_batch([0, 1, 2]))


def wait_for_a_batch() -> None:
    pool = Pool(job, size=1)
    batch = pool.process_batch_async([0, 1, 2])
    interrupt(pool, batch.wait)


def map_ordered() -> None:
    pool = Pool(job, size=1, affinity="worker")
    interrupt(pool, lambda: next(pool.map([0, 1, 2])))


def map_unordered() -> None:
    pool = Pool(job, size=1, affinity="worker")
    interrupt(pool, lambda: next(pool.map([0, 1, 2], ordered=False)))


def loop_over_a_map() -> None:
    """It took the results before; what had not started, of an endless map, never does."""
    pool = Pool(job, size=1, affinity="worker")
    seen: list[int] = []

    def loop() -> None:
        for each in pool.map(itertools.chain([3, 4], itertools.repeat(0)), buffer=4):
            seen.append(each)

    interrupt(pool, loop)
    assert seen == [3, 4]
    assert pool.stats().submitted < 20


def shutdown() -> None:
    pool = stuck_pool()
    interrupt(pool, pool.shutdown, reusable=False)


def shutdown_with_a_timeout() -> None:
    pool = stuck_pool()
    interrupt(pool, lambda: pool.shutdown(WAIT), reusable=False)


def shutdown_with_a_context() -> None:
    pool = stuck_pool()
    context = Context()
    interrupt(pool, lambda: pool.shutdown(ctx=context), reusable=False)
    assert not context.cancelled


def leaving_the_block() -> None:
    pool = Pool(job, size=1)

    def block() -> None:
        with pool:
            pool.process_async(0)

    interrupt(pool, block, reusable=False)


def leaving_the_block_on_an_exception() -> None:
    pool = Pool(job, size=1)

    def block() -> None:
        with pool:
            pool.process_async(0)
            assert started.wait(WAIT)
            raise ValueError("Ctrl-C is raised instead")

    interrupt(pool, block, reusable=False)


def close() -> None:
    pool = stuck_pool()
    interrupt(pool, pool.close, reusable=False)


def shrinking(shrink: Callable[[Pool[int, int]], object]) -> None:
    pool = stuck_pool()

    def shrink_and_grow() -> None:
        try:
            shrink(pool)
        finally:
            assert pool.size == 0
            pool.set_size(1, wait=False)

    interrupt(pool, shrink_and_grow)


def set_size() -> None:
    shrinking(lambda pool: pool.set_size(0))


def set_size_with_a_timeout() -> None:
    shrinking(lambda pool: pool.set_size(0, timeout=WAIT))


def assigning_the_size() -> None:
    shrinking(lambda pool: setattr(pool, "size", 0))


def full_pool() -> Pool[int, int]:
    pool = stuck_pool(max_pending=1)
    pool.process_async(1)
    return pool


def process_async_on_a_full_queue() -> None:
    pool = full_pool()
    interrupt(pool, lambda: pool.process_async(2))


def process_on_a_full_queue() -> None:
    pool = full_pool()
    interrupt(pool, lambda: pool.process(2))


def process_batch_on_a_full_queue() -> None:
    pool = full_pool()
    interrupt(pool, lambda: pool.process_batch([2, 3]))


def process_with_a_timeout_on_a_full_queue() -> None:
    pool = full_pool()
    interrupt(pool, lambda: pool.process(2, timeout=WAIT))


def process_batch_async_on_a_full_queue() -> None:
    pool = full_pool()
    interrupt(pool, lambda: pool.process_batch_async([2, 3]))


def map_on_a_full_queue() -> None:
    pool = full_pool()
    interrupt(pool, lambda: list(pool.map([2, 3])))


def wait_of_a_context() -> None:
    pool = stuck_pool()
    interrupt(pool, Context().wait)


def wait_of_a_context_with_a_timeout() -> None:
    pool = stuck_pool()
    interrupt(pool, lambda: Context().wait(WAIT))


def closing_a_callback_that_runs() -> None:
    pool = stuck_pool()
    context, entered = Context(), threading.Event()

    def callback() -> None:
        entered.set()
        door.wait(WAIT)

    handle = context.on_cancel(callback)
    canceller = threading.Thread(target=context.cancel)
    canceller.start()
    assert entered.wait(WAIT)
    interrupt(pool, handle.close)
    canceller.join(WAIT)
    handle.close()


def job_run_by_its_caller_is_interrupted() -> None:
    """The KeyboardInterrupt is raised in the job itself, which may catch it."""
    caught: list[bool] = []

    def sleeper(_: int) -> int:
        started.set()
        try:
            time.sleep(WAIT)
        except KeyboardInterrupt:
            caught.append(True)
            raise
        return 0

    pool: Pool[int, int] = Pool(sleeper, size=1)
    ctrl_c = CtrlC(started)
    try:
        pool.process(1)
    except KeyboardInterrupt:
        latency = ctrl_c.latency()
    except loomy.WorkerPanic:
        raise AssertionError("a Ctrl-C in the caller's own job is no panic") from None
    assert caught == [True]
    pool.close()
    report(latency=latency)


SCENARIOS: dict[str, Callable[[], None]] = {
    scenario.__name__: scenario
    for scenario in (
        process,
        process_with_a_timeout,
        process_with_a_context,
        process_of_a_queued_job,
        process_run_by_its_caller,
        job_run_by_its_caller_is_interrupted,
        wait,
        wait_with_a_timeout,
        exception,
        exception_with_a_timeout,
        process_batch,
        process_batch_helped_by_its_caller,
        wait_for_a_batch,
        map_ordered,
        map_unordered,
        loop_over_a_map,
        shutdown,
        shutdown_with_a_timeout,
        shutdown_with_a_context,
        leaving_the_block,
        leaving_the_block_on_an_exception,
        close,
        set_size,
        set_size_with_a_timeout,
        assigning_the_size,
        process_async_on_a_full_queue,
        process_on_a_full_queue,
        process_with_a_timeout_on_a_full_queue,
        process_batch_on_a_full_queue,
        process_batch_async_on_a_full_queue,
        map_on_a_full_queue,
        wait_of_a_context,
        wait_of_a_context_with_a_timeout,
        closing_a_callback_that_runs,
    )
}

if __name__ == "__main__":
    must_end()
    scenario_of(SCENARIOS)()
