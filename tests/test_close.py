"""`close` and `shutdown`: what they do to queued and running jobs, from everywhere, bounded in time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from helpers import WAIT, Background, Gate, double, identity, in_threads, wait_until

import loomy
from loomy import AsyncResult, Context, Pool, Worker

ENDS: pytest.MarkDecorator = pytest.mark.parametrize("end", ["close", "shutdown"])


def test_close_fails_what_is_queued() -> None:
    ran: list[int] = []
    with Gate() as gate:

        def job(payload: int) -> int:
            ran.append(payload)
            return gate.block(payload)

        with Pool(job, size=1) as pool:
            running = pool.process_async(0)
            queued = [pool.process_async(i) for i in range(1, 50)]
            gate.wait_entered()
            closer = Background(pool.close)
            for result in queued:
                with pytest.raises(loomy.PoolNotRunning):
                    result.wait(WAIT)
            gate.open()
            closer.result()
            assert running.wait(WAIT) == 0
    assert ran == [0]


def test_close_returns_only_after_running_jobs_have_ended() -> None:
    ended: list[int] = []
    with Gate() as gate:

        def job(payload: int) -> int:
            gate.block(payload)
            ended.append(payload)
            return payload

        with Pool(job, size=2) as pool:
            pool.process_async(1)
            pool.process_async(2)
            gate.wait_entered(2)
            seen_by_close: list[list[int]] = []

            def close() -> None:
                pool.close()
                seen_by_close.append(sorted(ended))

            closer = Background(close)
            gate.open()
            closer.result()
    assert seen_by_close == [[1, 2]]


def test_shutdown_runs_what_is_queued() -> None:
    ran: list[int] = []
    pool = Pool(ran.append, size=2, affinity="worker")
    for i in range(1000):
        pool.process_async(i)
    pool.shutdown()
    assert sorted(ran) == list(range(1000))


@ENDS
def test_ending_joins_the_worker_threads(end: str) -> None:
    pool = Pool(identity, size=3, name=f"joined-{end}", affinity="worker")
    pool.process_batch(range(100))
    getattr(pool, end)()
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("joined-")] == []


@ENDS
def test_ending_an_unused_pool(end: str) -> None:
    pool = Pool(identity, size=4)
    getattr(pool, end)()
    assert pool.closed


@ENDS
def test_ending_twice_is_harmless(end: str) -> None:
    pool = Pool(double, size=1)
    pool.process_async(1).wait(WAIT)
    for _ in range(3):
        getattr(pool, end)()


def test_close_and_shutdown_in_any_order() -> None:
    for first, second in (("close", "shutdown"), ("shutdown", "close")):
        pool = Pool(double, size=1)
        pool.process_async(1).wait(WAIT)
        getattr(pool, first)()
        getattr(pool, second)()


@ENDS
def test_ending_from_five_threads_at_once(end: str) -> None:
    pool = Pool(identity, size=2)
    results = [pool.process_async(i) for i in range(1000)]
    in_threads(5, lambda _: getattr(pool, end)())
    for i, result in enumerate(results):
        assert result.done()
        try:
            assert result.wait(0) == i
        except loomy.PoolNotRunning:
            assert end == "close"


def test_close_and_shutdown_from_many_threads_at_once() -> None:
    pool = Pool(identity, size=2)
    for i in range(1000):
        pool.process_async(i)
    in_threads(6, lambda index: pool.close() if index % 2 else pool.shutdown())


CALLS: list[tuple[str, Callable[[Pool[int, int]], object]]] = [
    ("process", lambda pool: pool.process(1)),
    ("process with a timeout", lambda pool: pool.process(1, timeout=5)),
    ("process with a context", lambda pool: pool.process(1, ctx=Context())),
    ("process_async", lambda pool: pool.process_async(1)),
    ("try_process_async", lambda pool: pool.try_process_async(1)),
    ("process_batch", lambda pool: pool.process_batch([1])),
    ("process_batch of nothing", lambda pool: pool.process_batch([])),
    ("process_batch_async", lambda pool: pool.process_batch_async([1])),
    ("map", lambda pool: list(pool.map([1]))),
    ("set_size", lambda pool: pool.set_size(2)),
]


@ENDS
@pytest.mark.parametrize("call", [call for _, call in CALLS], ids=[name for name, _ in CALLS])
def test_every_call_after_the_end_raises_pool_not_running(
    end: str, call: Callable[[Pool[int, int]], object]
) -> None:
    pool = Pool(identity, size=1)
    getattr(pool, end)()
    with pytest.raises(loomy.PoolNotRunning):
        call(pool)


@pytest.mark.parametrize("call", [call for _, call in CALLS], ids=[name for name, _ in CALLS])
def test_shutdown_admits_nothing_while_it_drains(call: Callable[[Pool[int, int]], object]) -> None:
    with Gate() as gate, Pool(gate.block, size=1) as pool:
        pool.process_async(1)
        gate.wait_entered()
        ender = Background(pool.shutdown)
        wait_until(lambda: pool.closed)
        with pytest.raises(loomy.PoolNotRunning):
            call(pool)
        assert ender.running()
        gate.open()
        ender.result()


def test_closed_tells_whether_the_pool_takes_jobs() -> None:
    pool = Pool(identity, size=1)
    assert not pool.closed
    pool.close()
    assert pool.closed


def test_what_can_be_read_can_be_read_after_close() -> None:
    pool = Pool(identity, size=1)
    pool.process(1)
    pool.close()
    assert pool.queue_length == 0
    assert pool.running == 0
    assert pool.stats().completed == 1


def test_close_frees_callers_whose_jobs_are_queued() -> None:
    with Gate() as gate, Pool(gate.block, size=1) as pool:
        pool.process_async(0)
        gate.wait_entered()
        callers = [Background(lambda: pool.process(1)) for _ in range(4)]
        wait_until(lambda: pool.queue_length == 4)
        closer = Background(pool.close)
        for caller in callers:
            with pytest.raises(loomy.PoolNotRunning):
                caller.result()
        gate.open()
        closer.result()


def test_caller_whose_job_runs_gets_its_result_from_a_closing_pool() -> None:
    with Gate() as gate, Pool(gate.block, size=1, affinity="worker") as pool:
        caller = Background(lambda: pool.process(7))
        gate.wait_entered()
        closer = Background(pool.close)
        wait_until(lambda: pool.closed)
        gate.open()
        closer.result()
        assert caller.result() == 7


def test_close_waits_for_a_job_that_its_caller_runs() -> None:
    with Gate() as gate, Pool(gate.block, size=1) as pool:
        caller = Background(lambda: pool.process(7))
        gate.wait_entered()
        closer = Background(pool.close)
        wait_until(lambda: pool.closed)
        gate.open()
        assert caller.result() == 7
        closer.result()


def test_shutdown_may_be_cut_short_by_close_from_another_thread() -> None:
    with Gate() as gate, Pool(gate.block, size=1) as pool:
        pool.process_async(0)
        gate.wait_entered()
        queued = pool.process_async(1)
        ender = Background(pool.shutdown)
        wait_until(lambda: pool.closed)
        closer = Background(pool.close)
        with pytest.raises(loomy.PoolNotRunning):
            queued.wait(WAIT)
        gate.open()
        ender.result()
        closer.result()


@ENDS
def test_ending_racing_submissions_leaves_none_without_an_end(end: str) -> None:
    """10,000 of them; what a shutdown has admitted it runs."""
    pool = Pool(identity, size=2)
    half_way = threading.Event()

    def submitter(index: int) -> int:
        if index == 0:
            half_way.wait(WAIT)
            getattr(pool, end)()
            return 0
        completed = 0
        results: list[AsyncResult[int]] = []
        for i in range(2500):
            if i == 1000:
                half_way.set()
            try:
                results.append(pool.process_async(i))
            except loomy.PoolNotRunning:
                break
        for i, result in enumerate(results):
            try:
                assert result.wait(WAIT) == i
                completed += 1
            except loomy.PoolNotRunning:
                assert end == "close"
        return completed

    completed = sum(in_threads(5, submitter))
    assert pool.stats().completed == completed


def test_close_racing_callers_leaves_none_waiting() -> None:
    for _ in range(50):
        pool = Pool(double, size=1, affinity="worker")

        def caller(index: int, pool: Pool[int, int] = pool) -> bool:
            if index == 0:
                pool.close()
                return True
            try:
                return pool.process(index) == 2 * index
            except loomy.PoolNotRunning:
                return True

        assert all(in_threads(4, caller))


@pytest.mark.parametrize("end", ["timeout", "context deadline"])
def test_shutdown_that_cannot_drain_in_time_raises_and_returns(end: str) -> None:
    with Gate() as gate, Pool(gate.block, size=1) as pool:
        pool.process_async(1)
        gate.wait_entered()
        started = time.monotonic()
        if end == "timeout":
            with pytest.raises(loomy.JobTimedOut) as caught:
                pool.shutdown(0.2)
            assert not isinstance(caught.value, loomy.DeadlineExceeded)
        else:
            with pytest.raises(loomy.DeadlineExceeded):
                pool.shutdown(ctx=Context(timeout=0.2))
        assert 0.15 < time.monotonic() - started < 10  # and not only when the job has ended, in 30
        gate.open()


def test_shutdown_whose_context_is_cancelled_raises_job_cancelled() -> None:
    with Gate() as gate, Pool(gate.block, size=1) as pool:
        pool.process_async(1)
        gate.wait_entered()
        ctx = Context()
        ender = Background(lambda: pool.shutdown(ctx=ctx))
        wait_until(lambda: pool.closed)
        ctx.cancel()
        with pytest.raises(loomy.JobCancelled):
            ender.result()
        gate.open()


def test_shutdown_at_its_deadline_fails_what_is_queued() -> None:
    with Gate() as gate, Pool(gate.block, size=1) as pool:
        pool.process_async(0)
        gate.wait_entered()
        queued = [pool.process_async(i) for i in range(5)]
        with pytest.raises(loomy.JobTimedOut):
            pool.shutdown(0.05)
        for result in queued:
            with pytest.raises(loomy.LoomyError):
                result.wait(WAIT)
        gate.open()


def test_shutdown_at_its_deadline_cancels_the_contexts_of_running_jobs() -> None:
    saw: list[bool] = []
    started = threading.Event()

    def job(ctx: Context, _: int) -> None:
        started.set()
        saw.append(ctx.wait(WAIT))

    pool = Pool(job, size=1, pass_context=True)
    result = pool.process_async(1)
    assert started.wait(WAIT)
    with pytest.raises(loomy.JobTimedOut):
        pool.shutdown(0.05)
    with suppress(loomy.LoomyError):  # a job that heeds its context may still return in time
        result.wait(WAIT)
    pool.close()
    assert saw == [True]


def test_shutdown_at_its_deadline_interrupts_the_workers() -> None:
    started = threading.Event()
    interrupted = threading.Event()

    class Stubborn(Worker[int, int]):
        def process(self, ctx: Context, payload: int) -> int:
            started.set()
            assert interrupted.wait(WAIT)
            return payload

        def interrupt(self) -> None:
            interrupted.set()

    pool = Pool.from_workers(Stubborn, size=1)
    pool.process_async(1)
    assert started.wait(WAIT)
    with pytest.raises(loomy.JobTimedOut):
        pool.shutdown(0.05)
    assert interrupted.wait(WAIT)
    pool.close()


def test_close_after_a_shutdown_that_timed_out_waits_for_the_last_job() -> None:
    ended: list[int] = []
    with Gate() as gate:

        def job(payload: int) -> int:
            gate.block(payload)
            ended.append(payload)
            return payload

        pool = Pool(job, size=1)
        pool.process_async(1)
        gate.wait_entered()
        with pytest.raises(loomy.JobTimedOut):
            pool.shutdown(0.05)
        closer = Background(pool.close)
        gate.open()
        closer.result()
    assert ended == [1]


@pytest.mark.parametrize("timeout", [None, 30, 1e18, float("inf")])
def test_shutdown_in_good_time_raises_nothing(timeout: float | None) -> None:
    pool = Pool(double, size=1)
    result = pool.process_async(4)
    pool.shutdown(timeout)
    assert result.wait(0) == 8


def test_shutdown_refuses_nan_and_what_is_no_number() -> None:
    timeout: Any
    with Pool(double, size=1) as pool:
        with pytest.raises(ValueError, match=r"(?i)nan|timeout"):
            pool.shutdown(float("nan"))
        for timeout in ("1", True, []):
            with pytest.raises(TypeError):
                pool.shutdown(timeout)
        assert not pool.closed
        assert pool.process(4) == 8


def test_close_on_a_pool_of_size_zero_fails_what_is_queued() -> None:
    pool = Pool(double, size=0)
    queued = pool.process_async(1)
    pool.close()
    with pytest.raises(loomy.PoolNotRunning):
        queued.wait(WAIT)


@pytest.mark.parametrize("timeout", [None, 0.05])
def test_shutdown_of_a_pool_of_size_zero_fails_what_nobody_will_run(timeout: float | None) -> None:
    pool = Pool(double, size=0)
    queued = pool.process_async(1)
    with suppress(loomy.JobTimedOut):
        pool.shutdown(timeout)
    with pytest.raises(loomy.LoomyError):
        queued.wait(WAIT)


def test_jobs_submitted_by_running_jobs_of_a_closing_pool_are_refused() -> None:
    refused: list[bool] = []
    with Gate() as gate:

        def job(payload: int) -> int:
            gate.block(payload)
            try:
                pool.process_async(1)
            except loomy.PoolNotRunning:
                refused.append(True)
            return payload

        pool: Pool[int, int] = Pool(job, size=1)
        pool.process_async(0)
        gate.wait_entered()
        closer = Background(pool.close)
        wait_until(lambda: pool.closed)
        gate.open()
        closer.result()
    assert refused == [True]


def test_idle_pool_shuts_down_promptly() -> None:
    times: list[float] = []
    for _ in range(200):
        pool = Pool(double, size=4, affinity="worker")
        pool.process_batch(range(10))
        started = time.perf_counter()
        pool.shutdown()
        times.append(time.perf_counter() - started)
        if times[-1] < 0.1:  # no polling; the figure itself is a benchmark's
            return
    pytest.fail(f"never in less than {min(times)} s")
