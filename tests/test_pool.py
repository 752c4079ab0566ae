"""Making a pool: the three constructors, the options, and what they refuse."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable
from typing import Any

import pytest
from helpers import WAIT, Gate, double, identity, thread_of_job

import loomy
from loomy import Context, Pool, Worker

AnyPool = Pool[Any, Any]


class Doubler(Worker[int, int]):
    def process(self, ctx: Context, payload: int) -> int:
        return 2 * payload


def worker_threads(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(f"{name}-")]


def test_pool_of_a_function_runs_it() -> None:
    with Pool(double, size=2) as pool:
        assert pool.process(21) == 42


def test_pass_context_gives_the_function_a_context_first() -> None:
    def job(ctx: Context, payload: int) -> tuple[bool, int]:
        return isinstance(ctx, Context), payload

    with Pool(job, size=1, pass_context=True) as pool:
        assert pool.process(7) == (True, 7)


def test_from_workers_runs_the_worker_of_the_factory() -> None:
    with Pool.from_workers(Doubler, size=2) as pool:
        assert pool.process(21) == 42


def test_from_callbacks_calls_its_payloads() -> None:
    with Pool.from_callbacks(size=2) as pool:
        assert pool.process(lambda: "called") == "called"


@pytest.mark.parametrize("payload", [None, 7, "text", [], object()], ids=repr)
def test_from_callbacks_refuses_a_payload_that_cannot_be_called(payload: Any) -> None:
    with Pool.from_callbacks(size=1) as pool, pytest.raises(loomy.JobNotCallable):
        pool.process(payload)


def test_from_callbacks_refuses_at_submission_and_counts_nothing_as_completed() -> None:
    with Pool.from_callbacks(size=1) as pool:
        payload: Any = 7
        with pytest.raises(loomy.JobNotCallable):
            pool.process_async(payload)
        assert pool.process(lambda: 1) == 1
        assert pool.stats().completed == 1


def test_not_callable_payload_in_a_batch_is_the_error_of_that_item() -> None:
    payloads: list[Any] = [lambda: 1, 7, lambda: 3]
    with Pool.from_callbacks(size=1) as pool:
        results, errors = pool.process_batch(payloads)
    assert results == [1, None, 3]
    assert [type(error) for error in errors] == [type(None), loomy.JobNotCallable, type(None)]


def test_not_callable_payload_in_a_map_raises_at_its_turn() -> None:
    payloads: list[Any] = [lambda: 1, 7]
    with Pool.from_callbacks(size=1) as pool:
        results = pool.map(payloads)
        assert next(results) == 1
        with pytest.raises(loomy.JobNotCallable):
            next(results)
        results.close()


def test_default_size_is_the_number_of_usable_cpus() -> None:
    with Pool(identity) as pool:
        usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        assert 1 <= pool.size <= usable


def test_default_size_follows_the_affinity_of_the_process() -> None:
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("no CPU affinity on this system")
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        with Pool(identity) as pool:
            assert pool.size == 1
    finally:
        os.sched_setaffinity(0, allowed)


@pytest.mark.parametrize("size", [0, 1, 2, 65536])
def test_size_is_what_was_asked_for(size: int) -> None:
    with Pool(identity, size=size) as pool:
        assert pool.size == size


def test_size_zero_queues_jobs_until_the_pool_grows() -> None:
    with Pool(double, size=0) as pool:
        results = [pool.process_async(i) for i in range(5)]
        assert pool.queue_length == 5
        pool.size = 1
        assert [result.wait(WAIT) for result in results] == [0, 2, 4, 6, 8]


MAKERS: list[Callable[..., AnyPool]] = [
    lambda **options: Pool(identity, **options),
    lambda **options: Pool.from_workers(Doubler, **options),
    lambda **options: Pool.from_callbacks(**options),
]


@pytest.mark.parametrize("make", MAKERS, ids=["function", "workers", "callbacks"])
@pytest.mark.parametrize("size", [-1, -(10**30), 65537, 10**30])
def test_size_out_of_range_is_a_value_error(make: Callable[..., AnyPool], size: int) -> None:
    with pytest.raises(ValueError, match="size"):
        make(size=size)


@pytest.mark.parametrize("make", MAKERS, ids=["function", "workers", "callbacks"])
@pytest.mark.parametrize("size", [True, False, 1.0, math.nan, "4", [], object()], ids=repr)
def test_size_that_is_no_int_is_a_type_error(make: Callable[..., AnyPool], size: Any) -> None:
    with pytest.raises(TypeError):
        make(size=size)


@pytest.mark.parametrize("max_pending", [-1, -(10**30)])
def test_negative_max_pending_is_a_value_error(max_pending: int) -> None:
    with pytest.raises(ValueError, match="max_pending"):
        Pool(identity, size=1, max_pending=max_pending)


@pytest.mark.parametrize("max_pending", [1.5, "4", [], True], ids=repr)
def test_max_pending_that_is_no_int_is_a_type_error(max_pending: Any) -> None:
    with pytest.raises(TypeError):
        Pool(identity, size=1, max_pending=max_pending)


def test_unknown_on_full_is_a_value_error_that_lists_the_words() -> None:
    word: Any = "explode"
    with pytest.raises(ValueError, match=r"(?s)(?=.*block)(?=.*raise)(?=.*caller_runs)"):
        Pool(identity, size=1, on_full=word)


def test_unknown_affinity_is_a_value_error_that_lists_the_words() -> None:
    word: Any = "moon"
    with pytest.raises(ValueError, match=r"(?s)(?=.*any)(?=.*worker)"):
        Pool(identity, size=1, affinity=word)


@pytest.mark.parametrize("spin", [-1, -0.5, math.nan])
def test_negative_or_nan_spin_is_a_value_error(spin: float) -> None:
    with pytest.raises(ValueError, match="spin"):
        Pool(identity, size=1, spin=spin)


@pytest.mark.parametrize("spin", [None, 0, 0.5, 50, 1000.0])
def test_spin_changes_no_result(spin: float | None) -> None:
    with Pool(double, size=2, spin=spin, affinity="worker") as pool:
        assert [pool.process(i) for i in range(20)] == [2 * i for i in range(20)]


@pytest.mark.parametrize("name", [None, 7, b"bytes"], ids=repr)
def test_name_that_is_no_str_is_a_type_error(name: Any) -> None:
    with pytest.raises(TypeError):
        Pool(identity, size=1, name=name)


@pytest.mark.parametrize("fn", [None, 7, "text", object()], ids=repr)
def test_function_that_cannot_be_called_is_a_type_error(fn: Any) -> None:
    with pytest.raises(TypeError):
        Pool(fn, size=1)


@pytest.mark.parametrize("factory", [None, 7, "text", object()], ids=repr)
def test_factory_that_cannot_be_called_is_a_type_error(factory: Any) -> None:
    with pytest.raises(TypeError):
        Pool.from_workers(factory, size=1)


def test_options_are_keyword_only() -> None:
    make: Any = Pool
    with pytest.raises(TypeError):
        make(identity, 1, "name")


def test_unknown_option_is_a_type_error() -> None:
    make: Any = Pool
    with pytest.raises(TypeError):
        make(identity, size=1, colour="red")


def test_pool_is_generic() -> None:
    assert Pool[int, int] is not None


def test_repr_shows_the_name_and_whether_the_pool_is_closed() -> None:
    pool = Pool(identity, size=3, name="looms")
    shown_open = repr(pool)
    pool.close()
    assert "looms" in shown_open
    assert "looms" in repr(pool)
    assert repr(pool) != shown_open


def test_leaving_the_with_block_drains_the_queue() -> None:
    done: list[int] = []
    with Pool(done.append, size=1, affinity="worker") as pool:
        for i in range(1000):
            pool.process_async(i)
    assert done == list(range(1000))


def test_leaving_the_with_block_on_an_exception_starts_nothing_more() -> None:
    gate = Gate()
    ran: list[int] = []
    results: list[loomy.AsyncResult[int]] = []

    class Oops(Exception):
        pass

    def job(payload: int) -> int:
        ran.append(payload)
        return gate.block(payload)

    def leave_by_exception() -> None:
        with Pool(job, size=1) as pool:
            results.extend(pool.process_async(i) for i in range(10))
            gate.wait_entered()
            # the running job goes on until the pool has failed what is queued
            results[-1].add_done_callback(lambda _: gate.open())
            raise Oops

    with pytest.raises(Oops):
        leave_by_exception()
    assert ran == [0]
    assert results[0].wait(WAIT) == 0
    for result in results[1:]:
        with pytest.raises(loomy.PoolNotRunning):
            result.wait(WAIT)


def test_with_gives_the_pool_itself() -> None:
    pool = Pool(identity, size=1)
    with pool as entered:
        assert entered is pool


def test_no_thread_starts_before_the_first_job_needs_one() -> None:
    with Pool(identity, size=4, name="lazy-pool"):
        assert worker_threads("lazy-pool") == []


def test_a_pool_whose_callers_run_all_jobs_starts_no_thread() -> None:
    with Pool(identity, size=4, name="inline-pool") as pool:
        for i in range(100):
            pool.process(i)
        assert worker_threads("inline-pool") == []


def test_stateful_workers_start_with_the_pool() -> None:
    made = threading.Semaphore(0)

    def factory() -> Doubler:
        made.release()
        return Doubler()

    with Pool.from_workers(factory, size=3):
        for _ in range(3):
            assert made.acquire(timeout=WAIT)


def test_affinity_any_lets_the_caller_run_the_job() -> None:
    with Pool(thread_of_job, size=1) as pool:
        assert pool.process(0) == threading.get_ident()


def test_affinity_worker_runs_every_job_on_a_worker_thread() -> None:
    with Pool(thread_of_job, size=1, affinity="worker") as pool:
        assert pool.process(0) != threading.get_ident()


def test_two_pools_do_not_share_anything() -> None:
    with Pool(double, size=1, name="one") as one, Pool(identity, size=1, name="two") as two:
        one.close()
        assert two.process(3) == 3


def test_pool_can_be_subclassed() -> None:
    class Named(Pool[int, int]):
        pass

    with Named(double, size=1) as pool:
        assert pool.process(4) == 8


def test_many_pools_come_and_go() -> None:
    for i in range(200):
        with Pool(double, size=2, affinity="worker") as pool:
            assert pool.process(i) == 2 * i
