"""Cancellation reaches jobs: through contexts, results and deadlines, queued or running."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any

import pytest
from helpers import WAIT, Background, Gate, identity, in_threads, wait_until

import loomy
from loomy import Context, Pool, Worker

AFFINITIES: pytest.MarkDecorator = pytest.mark.parametrize("affinity", ["any", "worker"])


def test_there_is_no_current_context_outside_a_job() -> None:
    assert loomy.current_context() is None
    loomy.check_cancelled()


@AFFINITIES
def test_current_context_inside_a_job(affinity: Any) -> None:
    def job(_: int) -> bool:
        return isinstance(loomy.current_context(), Context)

    with Pool(job, size=1, affinity=affinity) as pool:
        assert pool.process(1)
        assert pool.process_async(1).wait(WAIT)
        assert pool.process_batch([1]).raise_for_errors() == [True]
        assert list(pool.map([1])) == [True]
        assert loomy.current_context() is None


def test_current_context_is_the_one_the_job_is_given() -> None:
    def job(ctx: Context, _: int) -> bool:
        return loomy.current_context() is ctx

    with Pool(job, size=1, pass_context=True) as pool:
        assert pool.process(1)
        assert pool.process(1, timeout=WAIT)


def test_current_context_carries_the_values_of_the_callers() -> None:
    def job(_: int) -> object:
        ctx = loomy.current_context()
        assert ctx is not None
        return ctx.value("user")

    with Pool(job, size=1) as pool:
        ctx = Context().with_value("user", "ada")
        assert pool.process(1, ctx=ctx) == "ada"
        assert pool.process_async(1, ctx=ctx).wait(WAIT) == "ada"
        assert pool.process_batch([1, 2], ctx=ctx).raise_for_errors() == ["ada", "ada"]
        assert list(pool.map([1, 2], ctx=ctx)) == ["ada", "ada"]


def test_current_context_has_the_nearest_deadline() -> None:
    def job(_: int) -> float:
        ctx = loomy.current_context()
        assert ctx is not None
        remaining = ctx.remaining()
        assert remaining is not None
        return remaining

    with Pool(job, size=1) as pool:
        assert 0 < pool.process(1, timeout=100) <= 100
        assert 0 < pool.process(1, ctx=Context(timeout=200)) <= 200
        assert 0 < pool.process(1, timeout=100, ctx=Context(timeout=200)) <= 100
        assert 0 < pool.process(1, timeout=200, ctx=Context(timeout=100)) <= 100


def test_job_without_a_deadline_has_a_context_without_one() -> None:
    def job(ctx: Context, _: int) -> float | None:
        return ctx.deadline

    with Pool(job, size=1, pass_context=True) as pool:
        assert pool.process(1) is None


def test_deadline_counts_from_the_call_and_not_from_the_start_of_the_job() -> None:
    with Gate() as gate:

        def job(ctx: Context, payload: int) -> float:
            if payload:
                gate.block(payload)
            assert ctx.deadline is not None
            return ctx.deadline

        with Pool(job, size=1, pass_context=True) as pool:
            pool.process_async(1, timeout=WAIT)
            gate.wait_entered()
            before = time.monotonic()
            queued = pool.process_async(0, timeout=WAIT)
            after = time.monotonic()
            gate.open()
            assert before + WAIT - 0.01 <= queued.wait(WAIT) <= after + WAIT + 0.01


def test_check_cancelled_ends_a_job_whose_result_was_cancelled() -> None:
    ended: list[type[BaseException]] = []
    started = threading.Event()

    def job(_: int) -> None:
        started.set()
        try:
            while True:
                loomy.check_cancelled()
        except loomy.LoomyError as error:
            ended.append(type(error))
            raise

    with Pool(job, size=1) as pool:
        result = pool.process_async(1)
        assert started.wait(WAIT)
        result.cancel()
        with pytest.raises(loomy.JobCancelled):
            result.wait(WAIT)
    assert ended == [loomy.JobCancelled]


def test_check_cancelled_ends_a_job_whose_timeout_passed() -> None:
    ended: list[BaseException] = []

    def job(_: int) -> None:
        try:
            while True:
                loomy.check_cancelled()
        except loomy.LoomyError as error:
            ended.append(error)
            raise

    with Pool(job, size=1) as pool, pytest.raises(loomy.JobTimedOut):
        pool.process(1, timeout=0.3)
    assert len(ended) == 1
    assert isinstance(ended[0], loomy.JobTimedOut | loomy.JobCancelled)


def test_check_cancelled_says_deadline_exceeded_for_a_context() -> None:
    ended: list[type[BaseException]] = []

    def job(_: int) -> None:
        try:
            while True:
                loomy.check_cancelled()
        except loomy.LoomyError as error:
            ended.append(type(error))
            raise

    with Pool(job, size=1) as pool, pytest.raises(loomy.DeadlineExceeded):
        pool.process(1, ctx=Context(timeout=0.3))
    assert ended == [loomy.DeadlineExceeded]


def test_check_cancelled_does_nothing_in_a_job_nobody_gave_up() -> None:
    def job(payload: int) -> int:
        for _ in range(100):
            loomy.check_cancelled()
        return payload

    with Pool(job, size=1) as pool:
        assert pool.process(7) == 7
        assert pool.process(7, timeout=WAIT) == 7


@AFFINITIES
def test_cancelling_a_context_reaches_queued_and_running_jobs(affinity: Any) -> None:
    saw: list[int] = []
    started = threading.Event()

    def job(ctx: Context, payload: int) -> None:
        saw.append(payload)
        started.set()
        ctx.wait(WAIT)

    with Pool(job, size=1, pass_context=True, affinity=affinity) as pool:
        parent = Context()
        results = [pool.process_async(i, ctx=parent.with_cancel()) for i in range(10)]
        assert started.wait(WAIT)
        parent.cancel()
        for result in results:
            with pytest.raises(loomy.JobCancelled):
                result.wait(WAIT)
            assert result.cancelled()
    assert saw == [0]


def test_reason_of_a_cancellation_is_in_the_error() -> None:
    with Pool(identity, size=0) as pool:
        ctx = Context()
        result = pool.process_async(1, ctx=ctx)
        ctx.cancel("the user left")
        with pytest.raises(loomy.JobCancelled, match="the user left"):
            result.wait(WAIT)


def test_queued_job_whose_caller_gave_up_never_runs() -> None:
    ran: list[int] = []
    with Gate() as gate:

        def job(payload: int) -> int:
            ran.append(payload)
            return gate.block(payload)

        with Pool(job, size=1) as pool:
            pool.process_async(0)
            gate.wait_entered()
            ctx = Context()
            pool.process_async(1).cancel()
            pool.process_async(2, ctx=ctx)
            callers = [
                Background(lambda: pool.process(3, timeout=0.02)),
                Background(lambda: pool.process(4, ctx=Context(timeout=0.02))),
                Background(lambda: pool.process(5, ctx=ctx)),
            ]
            for caller in callers[:2]:
                with pytest.raises(loomy.JobTimedOut):
                    caller.result()
            ctx.cancel()
            with pytest.raises(loomy.JobCancelled):
                callers[2].result()
            wait_until(lambda: pool.queue_length == 0)
            gate.open()
    assert ran == [0]


def test_context_that_ends_after_the_job_changes_nothing() -> None:
    with Pool(identity, size=1) as pool:
        ctx = Context()
        result = pool.process_async(7, ctx=ctx)
        assert result.wait(WAIT) == 7
        ctx.cancel()
        assert result.wait(0) == 7
        assert not result.cancelled()


def test_one_context_for_many_jobs() -> None:
    with Pool(identity, size=2) as pool:
        ctx = Context(timeout=WAIT)
        results = [pool.process_async(i, ctx=ctx) for i in range(1000)]
        assert [result.wait(WAIT) for result in results] == list(range(1000))
        assert not ctx.cancelled


def test_cancelling_the_context_of_a_job_leaves_the_callers_alone() -> None:
    def job(ctx: Context, payload: int) -> int:
        ctx.cancel()
        return payload

    with Pool(job, size=1, pass_context=True) as pool:
        parent = Context()
        with contextlib.suppress(loomy.JobCancelled):
            pool.process(7, ctx=parent, timeout=WAIT)
        assert not parent.cancelled


def test_context_of_a_job_ends_with_the_job() -> None:
    kept: list[Context] = []

    def job(ctx: Context, payload: int) -> int:
        kept.append(ctx)
        return payload

    with Pool(job, size=1, pass_context=True) as pool:
        assert pool.process_async(1).wait(WAIT) == 1
    kept[0].cancel()  # nobody is hurt any more
    assert kept[0].cancelled


def test_nested_jobs_given_the_context_end_with_it() -> None:
    started = threading.Event()

    def job(ctx: Context, depth: int) -> None:
        if depth:
            pool.process(depth - 1, ctx=ctx)
            return
        started.set()
        ctx.wait(WAIT)
        ctx.check()

    pool: Pool[int, None] = Pool(job, size=1, pass_context=True)
    with pool:
        outer = pool.process_async(5)
        assert started.wait(WAIT)
        outer.cancel()
        with pytest.raises(loomy.JobCancelled):
            outer.wait(WAIT)


def test_on_cancel_of_the_jobs_context_is_called_when_the_job_is_given_up() -> None:
    told = threading.Event()
    started = threading.Event()

    def job(ctx: Context, _: int) -> bool:
        ctx.on_cancel(told.set)
        started.set()
        return told.wait(WAIT)

    with Pool(job, size=1, pass_context=True) as pool:
        result = pool.process_async(1)
        assert started.wait(WAIT)
        result.cancel()
        assert told.wait(WAIT)


def test_abandoned_job_keeps_its_slot_until_it_returns() -> None:
    lock = threading.Lock()
    now = 0
    most = 0
    with Gate() as gate:

        def job(payload: int) -> int:
            nonlocal now, most
            with lock:
                now += 1
                most = max(most, now)
            gate.block(payload)
            with lock:
                now -= 1
            return payload

        with Pool(job, size=1) as pool:
            first = pool.process_async(0)
            gate.wait_entered()
            first.cancel()
            assert first.done()
            second = pool.process_async(1)
            gate.open()
            assert second.wait(WAIT) == 1
    assert most == 1


def test_what_an_abandoned_job_returns_or_raises_is_dropped() -> None:
    with Gate() as gate:

        def job(payload: int) -> int:
            gate.block(payload)
            raise ValueError("too late")

        with Pool(job, size=1) as pool:
            result = pool.process_async(0)
            gate.wait_entered()
            result.cancel()
            gate.open()
            with pytest.raises(loomy.JobCancelled):
                result.wait(WAIT)
        stats = pool.stats()
    assert (stats.cancelled, stats.failed, stats.completed) == (1, 0, 0)


def test_cancel_from_many_threads_has_one_outcome() -> None:
    for _ in range(30):
        with Gate() as gate, Pool(gate.block, size=1) as pool:
            pool.process_async(0)
            gate.wait_entered()
            queued = pool.process_async(1)
            in_threads(4, lambda _, queued=queued: queued.cancel())  # type: ignore[misc]
            assert queued.cancelled()
            gate.open()
        assert pool.stats().cancelled == 1


def test_deadlines_of_many_queued_jobs_pass_in_any_order() -> None:
    with Pool(identity, size=0) as pool:
        results = [pool.process_async(i, timeout=0.001 * ((i * 37) % 100 + 1)) for i in range(300)]
        for result in results:
            with pytest.raises(loomy.JobTimedOut):
                result.wait(WAIT)
        assert pool.stats().timed_out == 300
        wait_until(lambda: pool.queue_length == 0)


def test_stateful_worker_gets_the_context_of_each_job() -> None:
    class Seeing(Worker[int, bool]):
        def process(self, ctx: Context, payload: int) -> bool:
            return loomy.current_context() is ctx and ctx.value("n") == payload

    with Pool.from_workers(Seeing, size=1) as pool:
        for i in range(10):
            assert pool.process(i, ctx=Context().with_value("n", i))
