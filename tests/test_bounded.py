"""Bounded queues: `max_pending`, the three `on_full` policies, `try_process_async`."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from helpers import WAIT, Background, Gate, double, identity, in_threads, wait_until

import loomy
from loomy import AsyncResult, Context, Pool


def full_pool(gate: Gate, pending: int, **options: Any) -> Pool[int, int]:
    """A pool with one worker stopped at the gate and `pending` jobs in a queue that has no room for more."""
    pool: Pool[int, int] = Pool(gate.block, size=1, max_pending=pending, **options)
    pool.process_async(1000)
    gate.wait_entered()
    for i in range(pending):
        pool.process_async(i)
    return pool


@pytest.mark.parametrize("bound", [1, 2, 7, 100])
def test_queue_is_full_at_exactly_the_bound(bound: int) -> None:
    with Gate() as gate, full_pool(gate, bound, on_full="raise") as pool:
        assert pool.queue_length == bound
        with pytest.raises(loomy.PoolFull):
            pool.process_async(1)
        assert pool.queue_length == bound
        gate.open()


def test_bound_is_exact_under_contention() -> None:
    with Gate() as gate, Pool(gate.block, size=1, max_pending=50, on_full="raise") as pool:
        pool.process_async(0)
        gate.wait_entered()

        def producer(_: int) -> int:
            accepted = 0
            for i in range(100):
                try:
                    pool.process_async(i)
                    accepted += 1
                except loomy.PoolFull:
                    pass
            return accepted

        assert sum(in_threads(8, producer)) == 50
        assert pool.queue_length == 50
        gate.open()


def test_pool_full_carries_the_depth() -> None:
    with Gate() as gate, full_pool(gate, 3, on_full="raise") as pool:
        with pytest.raises(loomy.PoolFull) as caught:
            pool.process_async(1)
        assert caught.value.depth == 3
        gate.open()


def test_process_raises_pool_full_too() -> None:
    with Gate() as gate, full_pool(gate, 1, on_full="raise") as pool:
        with pytest.raises(loomy.PoolFull):
            pool.process(1)
        gate.open()


def test_process_batch_raises_pool_full_too() -> None:
    with Gate() as gate, full_pool(gate, 1, on_full="raise") as pool:
        with pytest.raises(loomy.PoolFull):
            pool.process_batch([1, 2])
        gate.open()


def test_rejected_jobs_are_counted_apart_from_submitted_ones() -> None:
    with Gate() as gate, full_pool(gate, 1, on_full="raise") as pool:
        for _ in range(3):
            with pytest.raises(loomy.PoolFull):
                pool.process_async(1)
        stats = pool.stats()
        assert stats.rejected == 3
        assert stats.submitted == 2
        gate.open()


def test_queue_takes_jobs_again_after_it_was_full() -> None:
    with Gate() as gate, full_pool(gate, 2, on_full="raise") as pool:
        with pytest.raises(loomy.PoolFull):
            pool.process_async(1)
        gate.open()
        wait_until(lambda: pool.queue_length == 0)
        assert pool.process_async(7).wait(WAIT) == 7


def test_cancelled_job_gives_its_place_back() -> None:
    with Gate() as gate, Pool(gate.block, size=1, max_pending=1, on_full="raise") as pool:
        pool.process_async(0)
        gate.wait_entered()
        pool.process_async(1).cancel()
        pool.process_async(2)
        gate.open()


def test_timed_out_job_gives_its_place_back() -> None:
    with Gate() as gate, Pool(gate.block, size=1, max_pending=1, on_full="raise") as pool:
        pool.process_async(0)
        gate.wait_entered()
        with pytest.raises(loomy.JobTimedOut):
            pool.process(1, timeout=0.02)
        wait_until(lambda: pool.queue_length == 0)
        pool.process_async(2)
        gate.open()


def test_try_process_async_gives_none_when_the_queue_is_full() -> None:
    with Gate() as gate, full_pool(gate, 2) as pool:
        assert pool.try_process_async(1) is None
        gate.open()


@pytest.mark.parametrize("on_full", ["block", "raise", "caller_runs"])
def test_try_process_async_never_blocks_whatever_on_full_says(on_full: str) -> None:
    with Gate() as gate, full_pool(gate, 1, on_full=on_full) as pool:
        assert pool.try_process_async(1) is None
        gate.open()


def test_try_process_async_gives_a_result_when_there_is_room() -> None:
    with Pool(double, size=1, max_pending=5) as pool:
        result = pool.try_process_async(4)
        assert result is not None
        assert result.wait(WAIT) == 8


def test_try_process_async_on_an_unbounded_pool_always_gives_a_result() -> None:
    with Gate() as gate, Pool(gate.block, size=1) as pool:
        assert all(pool.try_process_async(i) is not None for i in range(1000))
        gate.open()


def blocked_submit(pool: Pool[int, int], payload: int = 5, **options: Any) -> Background[AsyncResult[int]]:
    """A submission that waits for room, on a thread of its own."""
    producer = Background(lambda: pool.process_async(payload, **options))
    # nothing announces a blocked producer; it is still there after a while, or the test below finds out
    producer.thread.join(0.05)
    assert producer.running()
    return producer


def test_blocked_producer_is_freed_when_there_is_room() -> None:
    with Gate() as gate, full_pool(gate, 1) as pool:
        producer = blocked_submit(pool)
        gate.open()
        assert producer.result().wait(WAIT) == 5


def test_blocked_producer_holds_no_gil() -> None:
    with Gate() as gate, full_pool(gate, 1) as pool:
        producer = blocked_submit(pool)
        assert Background(lambda: sum(range(1000))).result() == 499500
        gate.open()
        producer.result().wait(WAIT)


def test_blocked_producer_is_freed_by_its_timeout() -> None:
    with Gate() as gate, full_pool(gate, 1) as pool:
        with pytest.raises(loomy.JobTimedOut):
            pool.process_async(5, timeout=0.05).wait(WAIT)
        assert pool.queue_length == 1
        gate.open()


def test_blocked_caller_of_process_is_freed_by_its_timeout() -> None:
    with Gate() as gate, full_pool(gate, 1) as pool:
        with pytest.raises(loomy.JobTimedOut):
            pool.process(5, timeout=0.05)
        gate.open()


def test_blocked_batch_is_freed_by_its_timeout() -> None:
    with Gate() as gate, full_pool(gate, 1) as pool:
        _, errors = pool.process_batch([5, 6], timeout=0.05)
        assert [type(error) for error in errors] == [loomy.JobTimedOut] * 2
        gate.open()


def test_blocked_producer_is_freed_by_the_deadline_of_its_context() -> None:
    with Gate() as gate, full_pool(gate, 1) as pool:
        with pytest.raises(loomy.DeadlineExceeded):
            pool.process_async(5, ctx=Context(timeout=0.05)).wait(WAIT)
        gate.open()


def test_blocked_producer_is_freed_by_cancelling_its_context() -> None:
    with Gate() as gate, full_pool(gate, 1) as pool:
        ctx = Context()
        producer = blocked_submit(pool, ctx=ctx)
        ctx.cancel()
        with pytest.raises(loomy.JobCancelled):
            producer.result().wait(WAIT)
        gate.open()


def test_blocked_producer_is_freed_by_close() -> None:
    with Gate() as gate, full_pool(gate, 1) as pool:
        producer = blocked_submit(pool)
        closer = Background(pool.close)
        with pytest.raises(loomy.PoolNotRunning):
            producer.result().wait(WAIT)
        gate.open()
        closer.result()


def test_blocked_producers_are_all_freed_by_one_draining_worker() -> None:
    with Pool(identity, size=1, max_pending=1) as pool:

        def producer(index: int) -> int:
            return sum(pool.process_async(index * 200 + i).wait(WAIT) for i in range(200))

        assert sum(in_threads(8, producer)) == sum(range(1600))


def test_producers_never_overfill_a_bounded_queue() -> None:
    with Pool(identity, size=2, max_pending=3) as pool:

        def producer(index: int) -> None:
            for i in range(300):
                pool.process_async(index + i)
                assert pool.queue_length <= 3

        in_threads(4, producer)
        assert pool.stats().peak_queued <= 3


def test_caller_runs_what_did_not_fit() -> None:
    threads: dict[int, int] = {}
    with Gate() as gate:

        def job(payload: int) -> int:
            threads[payload] = threading.get_ident()
            return gate.block(payload) if payload == 0 else payload

        with Pool(job, size=1, max_pending=1, on_full="caller_runs") as pool:
            pool.process_async(0)
            gate.wait_entered()
            queued = pool.process_async(1)
            overflow = pool.process_async(2)
            assert overflow.done()
            assert overflow.wait(0) == 2
            assert not queued.done()
            gate.open()
            assert queued.wait(WAIT) == 1
    assert threads[2] == threading.get_ident()
    assert threads[1] != threading.get_ident()


def test_error_of_a_job_the_caller_ran_stays_in_its_result() -> None:
    with Gate() as gate:

        def job(payload: int) -> int:
            if payload == 2:
                raise ValueError("from the caller's run")
            return gate.block(payload)

        with Pool(job, size=1, max_pending=0, on_full="caller_runs") as pool:
            pool.process_async(0)
            gate.wait_entered()
            overflow = pool.process_async(2)
            with pytest.raises(ValueError, match="from the caller's run"):
                overflow.wait(WAIT)
            gate.open()


def test_batch_that_did_not_fit_is_run_by_its_caller() -> None:
    threads: set[int] = set()
    with Gate() as gate:

        def job(payload: int) -> int:
            if payload >= 0:
                threads.add(threading.get_ident())
                return payload
            return gate.block(payload)

        with Pool(job, size=1, max_pending=1, on_full="caller_runs") as pool:
            pool.process_async(-1)
            gate.wait_entered()
            pool.process_async(-2)
            results, _ = pool.process_batch(range(5))
            gate.open()
    assert results == list(range(5))
    assert threads == {threading.get_ident()}


def test_hand_off_accepts_a_job_while_a_worker_is_idle() -> None:
    with Pool(double, size=1, max_pending=0, on_full="raise") as pool:
        assert pool.process_async(4).wait(WAIT) == 8


def test_hand_off_refuses_a_job_while_every_worker_is_busy() -> None:
    with Gate() as gate, Pool(gate.block, size=2, max_pending=0, on_full="raise") as pool:
        pool.process_async(1)
        pool.process_async(2)
        gate.wait_entered(2)
        with pytest.raises(loomy.PoolFull):
            pool.process_async(3)
        assert pool.try_process_async(4) is None
        gate.open()


def test_hand_off_blocks_until_a_worker_is_idle() -> None:
    with Gate() as gate, full_pool(gate, 0) as pool:
        producer = blocked_submit(pool)
        gate.open()
        assert producer.result().wait(WAIT) == 5


def test_hand_off_loses_nothing_under_contention() -> None:
    with Pool(identity, size=2, max_pending=0) as pool:

        def producer(index: int) -> int:
            return sum(pool.process_async(index * 100 + i).wait(WAIT) for i in range(100))

        assert sum(in_threads(6, producer)) == sum(range(600))


def test_hand_off_on_a_pool_without_workers_refuses_everything() -> None:
    with Pool(identity, size=0, max_pending=0, on_full="raise") as pool:
        with pytest.raises(loomy.PoolFull):
            pool.process_async(1)
        assert pool.try_process_async(1) is None


def test_process_runs_on_a_free_slot_however_small_the_queue() -> None:
    with Pool(double, size=1, max_pending=0, on_full="raise") as pool:
        assert [pool.process(i) for i in range(100)] == [2 * i for i in range(100)]


def test_bounded_pool_without_a_limit_that_matters_behaves_like_any_other() -> None:
    with Pool(double, size=2, max_pending=10**6) as pool:
        assert [result.wait(WAIT) for result in [pool.process_async(i) for i in range(1000)]] == [
            2 * i for i in range(1000)
        ]
