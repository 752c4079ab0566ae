"""Every job runs exactly once, whoever submits it and however many workers there are."""

from __future__ import annotations

import os
import threading
from typing import Any

import pytest
from helpers import LONG, WAIT, identity, in_threads

from loomy import Pool

COUNTS = [1, 2, 4, 8]


@pytest.mark.parametrize("producers", COUNTS)
@pytest.mark.parametrize("workers", COUNTS)
def test_exactly_once(producers: int, workers: int) -> None:
    each = 400
    counts = [0] * (producers * each)

    def job(payload: int) -> int:
        counts[payload] += 1  # no other job touches this cell
        return payload

    with Pool(job, size=workers) as pool:

        def producer(index: int) -> int:
            mine = range(index * each, (index + 1) * each)
            results = [pool.process_async(i) for i in mine]
            return sum(result.wait(WAIT) for result in results)

        total = sum(in_threads(producers, producer))
    assert counts == [1] * (producers * each)
    assert total == sum(range(producers * each))


def test_exactly_once_through_every_call_at_once() -> None:
    each = 300
    counts = [0] * (8 * each)

    def job(payload: int) -> int:
        counts[payload] += 1
        return payload

    with Pool(job, size=2) as pool:

        def producer(index: int) -> int:
            mine = range(index * each, (index + 1) * each)
            match index % 4:
                case 0:
                    return sum(pool.process(i) for i in mine)
                case 1:
                    return sum(pool.process(i, timeout=WAIT) for i in mine)
                case 2:
                    return sum(pool.map(mine, buffer=7))
                case _:
                    return sum(pool.process_batch(mine).raise_for_errors())

        total = sum(in_threads(8, producer))
    assert counts == [1] * (8 * each)
    assert total == sum(range(8 * each))


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs CPU affinity")
def test_exactly_once_on_one_cpu_with_ten_times_as_many_threads() -> None:
    allowed = os.sched_getaffinity(0)
    counts = [0] * 4000

    def job(payload: int) -> None:
        counts[payload] += 1

    os.sched_setaffinity(0, {min(allowed)})
    try:
        with Pool(job, size=10) as pool:

            def producer(index: int) -> None:
                for i in range(index * 400, (index + 1) * 400):
                    pool.process_async(i)

            in_threads(10, producer)
    finally:
        os.sched_setaffinity(0, allowed)
    assert counts == [1] * 4000


@pytest.mark.parametrize("affinity", ["any", "worker"])
def test_no_wake_up_is_lost_between_a_submission_and_a_worker_going_to_sleep(affinity: Any) -> None:
    """Gaps that straddle the moment of parking; a lost wake-up shows as a wait that expires."""
    with Pool(identity, size=1, affinity=affinity) as pool:
        for i in range(200_000 if LONG else 3000):
            result = pool.process_async(i)
            for _ in range(i % 97):
                pass
            assert result.wait(WAIT) == i


def test_no_wake_up_is_lost_beside_many_sleepers() -> None:
    with Pool(identity, size=32) as pool:

        def producer(index: int) -> None:
            for i in range(300):
                assert pool.process_async(index + i).wait(WAIT) == index + i

        in_threads(4, producer)


def test_a_million_queued_jobs() -> None:
    count = 1_000_000 if LONG else 200_000
    with Pool(identity, size=0) as pool:
        results = [pool.process_async(i) for i in range(count)]
        assert pool.queue_length == count
        pool.size = 2
        assert sum(result.wait(WAIT) for result in results) == count * (count - 1) // 2
        stats = pool.stats()
    assert (stats.submitted, stats.completed, stats.queued) == (count, count, 0)
    assert stats.peak_queued == count


def test_submitters_that_come_and_go() -> None:
    with Pool(identity, size=2) as pool:
        for _ in range(30):
            assert in_threads(4, lambda index: pool.process_async(index).wait(WAIT)) == [0, 1, 2, 3]


def test_jobs_that_submit_jobs_without_waiting_are_all_run() -> None:
    lock = threading.Lock()
    ran = 0
    done = threading.Event()

    def job(depth: int) -> None:
        nonlocal ran
        if depth:
            pool.process_async(depth - 1)
            pool.process_async(depth - 1)
        with lock:
            ran += 1
            if ran == 2**11 - 1:
                done.set()

    pool: Pool[int, None] = Pool(job, size=2)
    with pool:
        pool.process_async(10)
        assert done.wait(WAIT)
    assert ran == 2**11 - 1
