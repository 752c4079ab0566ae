"""Changing the size of a pool: at any time, from anywhere, losing nothing."""

from __future__ import annotations

import contextlib
import math
import threading
from typing import Any

import pytest
from helpers import LONG, WAIT, Background, Gate, double, identity, in_threads, wait_until

import loomy
from loomy import Context, Hooks, Pool, Worker


def test_size_can_be_read_and_set() -> None:
    with Pool(identity, size=2) as pool:
        pool.size = 5
        assert pool.size == 5
        pool.set_size(1)
        assert pool.size == 1


def test_growing_lets_more_jobs_run_at_once() -> None:
    together = threading.Barrier(4)

    def job(_: int) -> int:
        return together.wait(WAIT)

    with Pool(job, size=1) as pool:
        results = [pool.process_async(i) for i in range(4)]
        pool.size = 4
        assert sorted(result.wait(WAIT) for result in results) == [0, 1, 2, 3]


def test_after_shrinking_no_more_jobs_run_at_once_than_the_new_size() -> None:
    lock = threading.Lock()
    now = 0
    most = 0

    def job(payload: int) -> int:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        for _ in range(100):
            pass
        with lock:
            now -= 1
        return payload

    with Pool(job, size=4) as pool:
        pool.process_batch(range(100))
        pool.set_size(1)
        most = 0
        for i in range(200):
            pool.process_async(i)
        pool.process_batch(range(100))
    assert most == 1


def test_shrinking_beside_a_busy_and_an_idle_worker_lets_the_idle_one_go() -> None:
    with Gate() as gate, Pool(gate.block, size=2) as pool:
        busy = pool.process_async(1)
        gate.wait_entered()
        # waits for whoever leaves: returns only because that is the idle worker
        pool.set_size(1, timeout=WAIT)
        assert not busy.done()
        gate.open()
        assert busy.wait(WAIT) == 1


def test_shrinking_loses_no_queued_job() -> None:
    with Gate() as gate, Pool(gate.block, size=4) as pool:
        results = [pool.process_async(i) for i in range(100)]
        gate.wait_entered(4)
        pool.set_size(1, wait=False)
        gate.open()
        assert [result.wait(WAIT) for result in results] == list(range(100))


def test_set_size_without_wait_returns_while_the_leaving_worker_is_busy() -> None:
    with Gate() as gate, Pool(gate.block, size=2) as pool:
        pool.process_async(1)
        pool.process_async(2)
        gate.wait_entered(2)
        pool.set_size(1, wait=False)
        assert pool.size == 1
        gate.open()


def test_set_size_waits_for_the_worker_that_leaves() -> None:
    left: list[int] = []

    class Watching(Hooks[int, int]):
        def on_worker_stop(self, worker_id: int) -> None:
            left.append(worker_id)

    with Pool(double, size=4, hooks=Watching()) as pool:
        pool.process_batch(range(100))
        pool.set_size(1)
        assert len(left) == 3


def test_set_size_whose_timeout_passes_raises_and_the_size_is_set_all_the_same() -> None:
    with Gate() as gate, Pool(gate.block, size=1) as pool:
        pool.process_async(1)
        gate.wait_entered()
        with pytest.raises(TimeoutError):
            pool.set_size(0, timeout=0.05)
        assert pool.size == 0
        gate.open()


def test_pool_shrunk_to_zero_queues_until_it_grows_again() -> None:
    with Pool(double, size=2) as pool:
        assert pool.process_async(1).wait(WAIT) == 2
        pool.size = 0
        queued = pool.process_async(2)
        assert not queued.done()
        assert pool.queue_length == 1
        pool.size = 2
        assert queued.wait(WAIT) == 4


def test_process_on_a_pool_of_size_zero_waits_for_a_worker() -> None:
    with Pool(double, size=0) as pool:
        caller = Background(lambda: pool.process(4))
        wait_until(lambda: pool.queue_length == 1)
        pool.size = 1
        assert caller.result() == 8


def test_process_with_a_timeout_on_a_pool_of_size_zero_times_out() -> None:
    with Pool(double, size=0) as pool, pytest.raises(loomy.JobTimedOut):
        pool.process(4, timeout=0.02)


@pytest.mark.parametrize("size", [-1, -(10**30), 65537, 10**30])
def test_size_out_of_range_is_a_value_error_and_changes_nothing(size: int) -> None:
    with Pool(identity, size=2) as pool:
        with pytest.raises(ValueError, match="size"):
            pool.set_size(size)
        with pytest.raises(ValueError, match="size"):
            pool.size = size
        assert pool.size == 2


@pytest.mark.parametrize("size", [None, True, 1.0, math.nan, "4", object()], ids=repr)
def test_size_that_is_no_int_is_a_type_error_and_changes_nothing(size: Any) -> None:
    with Pool(identity, size=2) as pool:
        with pytest.raises(TypeError):
            pool.set_size(size)
        with pytest.raises(TypeError):
            pool.size = size
        assert pool.size == 2


def test_set_size_from_inside_a_job_does_not_wait_for_itself() -> None:
    pools: list[Pool[int, int]] = []

    def job(size: int) -> int:
        pools[0].set_size(size)
        return pools[0].size

    with Pool(job, size=1, affinity="worker") as pool:
        pools.append(pool)
        assert pool.process(3) == 3
        assert pool.process(1) == 1
        assert pool.process_async(0).wait(WAIT) == 0
        pool.size = 1
        assert pool.process(2) == 2


def test_set_size_from_a_job_that_the_caller_runs() -> None:
    pools: list[Pool[int, int]] = []

    def job(size: int) -> int:
        pools[0].size = size
        return size

    with Pool(job, size=1) as pool:
        pools.append(pool)
        for size in (3, 1, 2, 0):
            assert pool.process(size) == size
        assert pool.size == 0


def test_set_size_from_a_hook() -> None:
    resized = threading.Event()

    class Growing(Hooks[int, int]):
        def on_job_start(self, payload: int) -> None:
            if payload >= 0:
                pools[0].set_size(payload)
                resized.set()

    pools: list[Pool[int, int]] = []
    with Pool(identity, size=1, hooks=Growing(), affinity="worker") as pool:
        pools.append(pool)
        assert pool.process_async(4).wait(WAIT) == 4
        assert resized.wait(WAIT)
        assert pool.size == 4
        assert pool.process_async(1).wait(WAIT) == 1
        assert pool.size == 1


def test_set_size_from_a_worker_hook() -> None:
    pools: list[Pool[int, int]] = []

    class Chain(Hooks[int, int]):
        def on_worker_start(self, worker_id: int) -> None:
            if pools and worker_id < 3:
                pools[0].set_size(worker_id + 2, wait=False)

    with Pool(identity, size=1, hooks=Chain()) as pool:
        pools.append(pool)
        pool.size = 2
        wait_until(lambda: pool.size == 4)
        assert pool.process_async(1).wait(WAIT) == 1


@pytest.mark.timeout(300 if LONG else 60, method="thread")
def test_resizing_under_load_loses_nothing() -> None:
    with Pool(identity, size=1) as pool:
        stop = threading.Event()

        def producer(index: int) -> int:
            if index == 0:
                try:
                    for _ in range(1000 if LONG else 60):
                        pool.set_size(64)
                        pool.set_size(1)
                finally:
                    stop.set()
                return 0
            sent = 0
            while not stop.is_set():
                expected = list(range(20))
                assert [result.wait(WAIT) for result in [pool.process_async(i) for i in expected]] == expected
                assert pool.process(7) == 7
                sent += 21
            return sent

        sent = sum(in_threads(3, producer))
        stats = pool.stats()
        assert stats.completed == sent


def test_concurrent_resizes_end_with_one_of_the_sizes_asked_for() -> None:
    with Pool(identity, size=1) as pool:

        def resize(index: int) -> None:
            for _ in range(30):
                pool.set_size(index + 1)

        in_threads(5, resize)
        assert pool.size in {1, 2, 3, 4, 5}
        assert pool.process_async(7).wait(WAIT) == 7


def test_worker_ids_are_the_lowest_free_ones() -> None:
    joined: list[int] = []

    class Watching(Hooks[int, int]):
        def on_worker_start(self, worker_id: int) -> None:
            joined.append(worker_id)

    with Pool(identity, size=2, hooks=Watching()) as pool:
        pool.size = 4
        assert sorted(joined) == [0, 1, 2, 3]
        pool.size = 0
        joined.clear()
        pool.size = 3
        assert sorted(joined) == [0, 1, 2]


def test_stateful_workers_come_and_go_with_the_size() -> None:
    lock = threading.Lock()
    alive: set[int] = set()
    counter = 0

    class Counted(Worker[int, int]):
        def __init__(self) -> None:
            nonlocal counter
            with lock:
                counter += 1
                self.number = counter
                alive.add(self.number)

        def process(self, ctx: Context, payload: int) -> int:
            return payload

        def terminate(self) -> None:
            with lock:
                alive.discard(self.number)

    with Pool.from_workers(Counted, size=1) as pool:
        pool.set_size(4)
        wait_until(lambda: len(alive) == 4)
        pool.set_size(2)
        wait_until(lambda: len(alive) == 2)
        assert list(pool.map(range(20))) == list(range(20))
    assert alive == set()


def test_set_size_to_the_same_size_changes_nothing() -> None:
    with Gate() as gate, Pool(gate.block, size=1) as pool:
        pool.process_async(1)
        gate.wait_entered()
        pool.set_size(1)
        gate.open()


def test_set_size_after_close_raises() -> None:
    pool = Pool(identity, size=1)
    pool.close()
    with pytest.raises(loomy.PoolNotRunning):
        pool.set_size(2)
    with pytest.raises(loomy.PoolNotRunning):
        pool.size = 2


def test_close_wakes_a_set_size_that_waits() -> None:
    with Gate() as gate, Pool(gate.block, size=1) as pool:
        pool.process_async(1)
        gate.wait_entered()
        resizer = Background(lambda: pool.set_size(0))
        wait_until(lambda: pool.size == 0)
        closer = Background(pool.close)
        gate.open()
        closer.result()
        with contextlib.suppress(loomy.PoolNotRunning):
            resizer.result()


def test_set_size_that_is_the_last_to_let_a_blocked_producer_go() -> None:
    with Pool(identity, size=0, max_pending=0) as pool:
        producer = Background(lambda: pool.process_async(5))
        producer.thread.join(0.05)
        assert producer.running()
        pool.size = 1
        assert producer.result().wait(WAIT) == 5
