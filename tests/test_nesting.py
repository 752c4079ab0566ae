"""Jobs that wait for jobs: one worker is enough, to any depth, across pools, in every way of waiting."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from helpers import WAIT, Background, Gate, double, in_threads, wait_until

from loomy import Context, Hooks, Pool, Worker

AFFINITIES: pytest.MarkDecorator = pytest.mark.parametrize("affinity", ["any", "worker"])


@pytest.fixture(autouse=True)
def deep_recursion() -> Iterator[None]:
    """Room for 1,000 levels of nesting: a job that waits may have any queued job run inside itself."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    yield
    sys.setrecursionlimit(limit)


@AFFINITIES
def test_process_nested_a_thousand_deep_on_one_worker(affinity: Any) -> None:
    def job(depth: int) -> int:
        return pool.process(depth - 1) + 1 if depth else 0

    pool: Pool[int, int] = Pool(job, size=1, affinity=affinity)
    with pool:
        assert pool.process(1000) == 1000


def test_wait_nested_a_thousand_deep_on_one_worker() -> None:
    def job(depth: int) -> int:
        return pool.process_async(depth - 1).wait(WAIT) + 1 if depth else 0

    pool: Pool[int, int] = Pool(job, size=1)
    with pool:
        assert pool.process_async(1000).wait(WAIT) == 1000


@AFFINITIES
def test_process_with_a_deadline_nested_on_one_worker(affinity: Any) -> None:
    def job(depth: int) -> int:
        return pool.process(depth - 1, timeout=WAIT) + 1 if depth else 0

    pool: Pool[int, int] = Pool(job, size=1, affinity=affinity)
    with pool:
        assert pool.process(50) == 50


@AFFINITIES
def test_batches_nested_on_one_worker(affinity: Any) -> None:
    def job(depth: int) -> int:
        if depth == 0:
            return 1
        return sum(result for result in pool.process_batch([depth - 1] * 2).raise_for_errors())

    pool: Pool[int, int] = Pool(job, size=1, affinity=affinity)
    with pool:
        assert pool.process(8) == 256


def test_maps_nested_on_one_worker() -> None:
    def job(depth: int) -> int:
        return sum(pool.map([depth - 1] * 2)) if depth else 1

    pool: Pool[int, int] = Pool(job, size=1)
    with pool:
        assert pool.process(7) == 128


def test_stateful_worker_nested_on_one_worker() -> None:
    class Nested(Worker[int, int]):
        def process(self, ctx: Context, payload: int) -> int:
            return pool.process(payload - 1) + 1 if payload else 0

    pool: Pool[int, int] = Pool.from_workers(Nested, size=1)
    with pool:
        assert pool.process(50) == 50


@pytest.mark.parametrize("size", [1, 2, 4])
def test_recursive_tree_of_jobs(size: int) -> None:
    def fibonacci(n: int) -> int:
        if n < 2:
            return n
        left = pool.process_async(n - 1)
        return pool.process(n - 2) + left.wait(WAIT)

    pool: Pool[int, int] = Pool(fibonacci, size=size)
    with pool:
        assert pool.process(14) == 377


@pytest.mark.parametrize("size", [1, 2])
def test_recursive_sort(size: int) -> None:
    def sort(values: list[int]) -> list[int]:
        if len(values) < 2:
            return values
        pivot, *rest = values
        low = pool.process_async([value for value in rest if value < pivot])
        high = pool.process_async([value for value in rest if value >= pivot])
        return [*low.wait(WAIT), pivot, *high.wait(WAIT)]

    pool: Pool[list[int], list[int]] = Pool(sort, size=size)
    with pool:
        values = [(i * 7919) % 1009 for i in range(500)]
        assert pool.process(values) == sorted(values)


def test_waiting_for_many_nested_jobs_in_reverse_order() -> None:
    def job(payload: int) -> int:
        if payload < 0:
            results = [pool.process_async(i) for i in range(100)]
            return sum(result.wait(WAIT) for result in reversed(results))
        return payload

    pool: Pool[int, int] = Pool(job, size=1)
    with pool:
        assert pool.process_async(-1).wait(WAIT) == sum(range(100))


def test_every_worker_waiting_for_nested_jobs_at_once() -> None:
    def job(depth: int) -> int:
        return pool.process_async(depth - 1).wait(WAIT) + 1 if depth else 0

    pool: Pool[int, int] = Pool(job, size=2)
    with pool:
        results = [pool.process_async(20) for _ in range(20)]
        assert [result.wait(WAIT) for result in results] == [20] * 20


def test_nested_job_that_raises_raises_in_the_job_that_waits() -> None:
    def job(depth: int) -> int:
        if depth == 0:
            raise ValueError("at the bottom")
        return pool.process(depth - 1)

    pool: Pool[int, int] = Pool(job, size=1, affinity="worker")
    with pool, pytest.raises(ValueError, match="at the bottom"):
        pool.process(10)


def test_nested_jobs_count_like_any_others() -> None:
    def job(depth: int) -> int:
        return pool.process(depth - 1) + 1 if depth else 0

    pool: Pool[int, int] = Pool(job, size=1, affinity="worker")
    with pool:
        pool.process(9)
        assert pool.stats().completed == 10


def test_pool_inside_a_job_of_another_pool() -> None:
    def job(payload: int) -> int:
        with Pool(double, size=2) as inner:
            return sum(inner.map(range(payload)))

    with Pool(job, size=2) as outer:
        assert outer.process_batch([10, 20]).raise_for_errors() == [90, 380]


@AFFINITIES
def test_ring_of_two_pools_waiting_on_each_other(affinity: Any) -> None:
    def to_second(depth: int) -> int:
        return second.process(depth - 1) + 1 if depth else 0

    def to_first(depth: int) -> int:
        return first.process(depth - 1) + 1 if depth else 0

    first: Pool[int, int] = Pool(to_second, size=1, affinity=affinity)
    second: Pool[int, int] = Pool(to_first, size=1, affinity=affinity)
    with first, second:
        assert first.process(20) == 20
        assert first.process_async(21).wait(WAIT) == 21


def test_two_rings_at_once() -> None:
    def to_second(depth: int) -> int:
        return second.process(depth - 1) + 1 if depth else 0

    def to_first(depth: int) -> int:
        return first.process(depth - 1) + 1 if depth else 0

    first: Pool[int, int] = Pool(to_second, size=2)
    second: Pool[int, int] = Pool(to_first, size=2)
    with first, second:
        assert in_threads(4, lambda index: (first, second)[index % 2].process(10)) == [10] * 4


def test_hook_waiting_for_a_job_of_the_same_pool_on_one_worker() -> None:
    answers: list[int] = []

    class Asking(Hooks[int, int]):
        def on_job_complete(self, payload: int, result: int, duration: float) -> None:
            if payload == 1:
                answers.append(pool.process(2))

    pool: Pool[int, int] = Pool(double, size=1, hooks=Asking(), affinity="worker")
    with pool:
        assert pool.process_async(1).wait(WAIT) == 2
    assert answers == [4]


def test_nested_waiter_wakes_when_another_worker_ends_the_job() -> None:
    with Gate() as gate:

        def job(payload: int) -> int:
            return gate.block(payload) if payload else others[0].wait(WAIT) + 1

        with Pool(job, size=2) as pool:
            others = [pool.process_async(41)]
            gate.wait_entered()
            waiter = pool.process_async(0)
            gate.open()
            assert waiter.wait(WAIT) == 42


def test_nested_job_that_the_waiter_gives_up_never_runs() -> None:
    ran: list[int] = []
    together = threading.Barrier(2)

    def job(payload: int) -> int:
        ran.append(payload)
        if payload == 0:
            queued = pool.process_async(1)
            queued.cancel()
            together.wait(WAIT)
        return payload

    pool: Pool[int, int] = Pool(job, size=1)
    with pool:
        outer = pool.process_async(0)
        together.wait(WAIT)
        outer.wait(WAIT)
    assert ran == [0]


def test_nested_process_on_a_full_bounded_queue() -> None:
    def job(depth: int) -> int:
        return pool.process(depth - 1) + 1 if depth else 0

    pool: Pool[int, int] = Pool(job, size=1, max_pending=1, affinity="worker")
    with pool:
        assert pool.process(30) == 30


def test_nested_submission_to_a_full_queue_does_not_deadlock() -> None:
    def job(payload: int) -> int:
        if payload:
            return payload
        return sum(result.wait(WAIT) for result in [pool.process_async(i) for i in range(1, 11)])

    pool: Pool[int, int] = Pool(job, size=1, max_pending=2)
    with pool:
        assert Background(lambda: pool.process_async(0).wait(WAIT)).result() == 55


def test_thousands_of_jobs_that_wait_for_one_that_runs() -> None:
    """Each may run others inside itself, but only so many: Python's stack is not endless."""
    depth = threading.local()
    deepest: list[int] = []

    def job(payload: int) -> int:
        if payload < 0:
            return gate.block(payload)
        depth.now = getattr(depth, "now", 0) + 1
        deepest.append(depth.now)
        try:
            return awaited.wait()
        finally:
            depth.now -= 1

    sys.setrecursionlimit(1_000)  # the usual one, which the fixture restores
    with Gate() as gate, Pool(job, size=2) as pool:
        awaited = pool.process_async(-7)
        gate.wait_entered()
        waiting = [pool.process_async(i) for i in range(3_000)]
        wait_until(lambda: len(deepest) >= 33)
        gate.open()
        assert [result.wait(WAIT) for result in waiting] == [-7] * 3_000
    assert 1 < max(deepest) <= 33
