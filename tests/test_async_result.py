"""`process_async` and the `AsyncResult` it gives: waiting, asking, cancelling, callbacks."""

from __future__ import annotations

import concurrent.futures
import gc
import math
import threading
from typing import Any

import pytest
from helpers import (
    ALREADY_PASSED,
    NO_LIMIT,
    NOT_A_TIMEOUT,
    WAIT,
    Background,
    Gate,
    double,
    fail_on_negative,
    identity,
    in_threads,
    unraisable_errors,
    wait_until,
)

import loomy
from loomy import AsyncResult, Context, Pool


def test_wait_returns_the_result() -> None:
    with Pool(double, size=1) as pool:
        assert pool.process_async(21).wait() == 42


def test_result_is_another_name_of_wait() -> None:
    with Pool(double, size=1) as pool:
        result = pool.process_async(21)
        assert result.result(WAIT) == result.wait(WAIT) == 42


def test_wait_raises_the_very_exception_of_the_job() -> None:
    error = ValueError("from the job")

    def job(_: int) -> int:
        raise error

    with Pool(job, size=1) as pool:
        result = pool.process_async(1)
        for _ in range(3):
            with pytest.raises(ValueError, match="from the job") as caught:
                result.wait(WAIT)
            assert caught.value is error


def test_exception_returns_the_exception_or_none() -> None:
    with Pool(fail_on_negative, size=1) as pool:
        assert pool.process_async(1).exception(WAIT) is None
        assert isinstance(pool.process_async(-1).exception(WAIT), ValueError)


def test_error_carries_a_note_that_names_pool_and_worker() -> None:
    with Pool(fail_on_negative, size=1, name="noted") as pool:
        error = pool.process_async(-1).exception(WAIT)
    notes = "\n".join(getattr(error, "__notes__", []))
    assert "noted" in notes
    assert "worker 0" in notes


def test_note_is_added_once_however_often_the_error_is_raised() -> None:
    with Pool(fail_on_negative, size=1) as pool:
        result = pool.process_async(-1)
        for _ in range(5):
            with pytest.raises(ValueError, match="negative"):
                result.wait(WAIT)
        assert len(getattr(result.exception(), "__notes__", [])) == 1


def test_done_and_running_follow_the_job() -> None:
    with Gate() as gate, Pool(gate.block, size=1) as pool:
        first, second = pool.process_async(1), pool.process_async(2)
        gate.wait_entered()
        assert (first.done(), first.running()) == (False, True)
        assert (second.done(), second.running()) == (False, False)
        gate.open()
        second.wait(WAIT)
        assert (first.done(), first.running()) == (True, False)
        assert (second.done(), second.running()) == (True, False)


def test_wait_that_expires_is_a_plain_timeout_error_and_the_job_goes_on() -> None:
    with Gate() as gate, Pool(gate.block, size=1) as pool:
        result = pool.process_async(7)
        gate.wait_entered()
        with pytest.raises(TimeoutError) as caught:
            result.wait(0.02)
        assert not isinstance(caught.value, loomy.LoomyError)
        assert not result.cancelled()
        gate.open()
        assert result.wait(WAIT) == 7


def test_exception_that_expires_is_a_plain_timeout_error() -> None:
    with Gate() as gate, Pool(gate.block, size=1) as pool:
        result = pool.process_async(7)
        with pytest.raises(TimeoutError) as caught:
            result.exception(0.02)
        assert not isinstance(caught.value, loomy.LoomyError)
        gate.open()


@pytest.mark.parametrize("timeout", ALREADY_PASSED)
def test_wait_with_no_time_left_asks_once(timeout: Any) -> None:
    with Gate() as gate, Pool(gate.block, size=1) as pool:
        result = pool.process_async(7)
        with pytest.raises(TimeoutError):
            result.wait(timeout)
        gate.open()
        result.wait()
        assert result.wait(timeout) == 7


@pytest.mark.parametrize("timeout", NO_LIMIT)
def test_wait_without_limit(timeout: Any) -> None:
    with Pool(double, size=1) as pool:
        assert pool.process_async(4).wait(timeout) == 8


def test_wait_takes_its_timeout_by_name_too() -> None:
    with Pool(double, size=1) as pool:
        result = pool.process_async(4)
        assert result.wait(timeout=WAIT) == result.result(timeout=WAIT) == 8
        assert result.exception(timeout=WAIT) is None


def test_wait_refuses_nan() -> None:
    with Gate() as gate, Pool(gate.block, size=1) as pool:
        result = pool.process_async(7)
        with pytest.raises(ValueError, match=r"(?i)nan|timeout"):
            result.wait(math.nan)
        gate.open()


@pytest.mark.parametrize("timeout", NOT_A_TIMEOUT, ids=repr)
def test_wait_refuses_what_is_no_number(timeout: Any) -> None:
    with Gate() as gate, Pool(gate.block, size=1) as pool:
        result = pool.process_async(7)
        with pytest.raises(TypeError):
            result.wait(timeout)
        gate.open()


def test_timeout_of_a_queued_job_passes_while_nobody_waits() -> None:
    ran: list[int] = []
    told = threading.Event()
    with Gate() as gate:

        def job(payload: int) -> int:
            ran.append(payload)
            return gate.block(payload)

        with Pool(job, size=1) as pool:
            pool.process_async(1)
            gate.wait_entered()
            late = pool.process_async(2, timeout=0.02)
            late.add_done_callback(lambda _: told.set())
            assert told.wait(WAIT)
            with pytest.raises(loomy.JobTimedOut):
                late.wait(0)
            gate.open()
    assert ran == [1]


def test_timeout_of_a_running_job_passes_while_it_runs() -> None:
    with Gate() as gate, Pool(gate.block, size=1) as pool:
        result = pool.process_async(1, timeout=0.3)
        gate.wait_entered()
        with pytest.raises(loomy.JobTimedOut):
            result.wait(WAIT)
        assert result.done()
        assert pool.running == 1
        gate.open()


@pytest.mark.parametrize("timeout", ALREADY_PASSED)
def test_timeout_that_has_already_passed_never_runs_the_job(timeout: Any) -> None:
    ran: list[int] = []
    with Pool(ran.append, size=1) as pool, pytest.raises(loomy.JobTimedOut):
        pool.process_async(1, timeout=timeout).wait(WAIT)
    assert ran == []


@pytest.mark.parametrize("timeout", NOT_A_TIMEOUT, ids=repr)
def test_timeout_that_is_no_number_is_a_type_error(timeout: Any) -> None:
    with Pool(identity, size=1) as pool:
        with pytest.raises(TypeError):
            pool.process_async(1, timeout=timeout)
        assert pool.stats().submitted == 0


def test_deadline_of_the_context_ends_a_queued_job() -> None:
    with Gate() as gate, Pool(gate.block, size=1) as pool:
        pool.process_async(1)
        gate.wait_entered()
        with pytest.raises(loomy.DeadlineExceeded):
            pool.process_async(2, ctx=Context(timeout=0.02)).wait(WAIT)
        gate.open()


def test_cancelling_the_context_ends_a_queued_job() -> None:
    with Gate() as gate, Pool(gate.block, size=1) as pool:
        pool.process_async(1)
        gate.wait_entered()
        ctx = Context()
        queued = pool.process_async(2, ctx=ctx)
        ctx.cancel()
        with pytest.raises(loomy.JobCancelled):
            queued.wait(WAIT)
        gate.open()


def test_cancel_of_a_queued_job_never_runs_it() -> None:
    ran: list[int] = []
    with Gate() as gate:

        def job(payload: int) -> int:
            ran.append(payload)
            return gate.block(payload)

        with Pool(job, size=1) as pool:
            pool.process_async(1)
            gate.wait_entered()
            queued = pool.process_async(2)
            assert queued.cancel() is True
            assert queued.cancelled()
            assert queued.done()
            with pytest.raises(loomy.JobCancelled):
                queued.wait(WAIT)
            gate.open()
    assert ran == [1]


def test_cancel_of_a_running_job_cancels_its_context() -> None:
    started = threading.Event()
    saw: list[bool] = []

    def job(ctx: Context, _: int) -> None:
        started.set()
        saw.append(ctx.wait(WAIT))

    with Pool(job, size=1, pass_context=True) as pool:
        result = pool.process_async(1)
        assert started.wait(WAIT)
        assert result.cancel() is True
        with pytest.raises(loomy.JobCancelled):
            result.wait(WAIT)
        assert result.cancelled()
    assert saw == [True]


def test_cancel_of_a_finished_job_changes_nothing() -> None:
    with Pool(double, size=1) as pool:
        result = pool.process_async(4)
        result.wait(WAIT)
        assert result.cancel() is False
        assert not result.cancelled()
        assert result.wait() == 8


def test_second_cancel_agrees_that_the_job_is_cancelled() -> None:
    with Gate() as gate, Pool(gate.block, size=1) as pool:
        pool.process_async(1)
        gate.wait_entered()
        queued = pool.process_async(2)
        queued.cancel()
        queued.cancel()
        assert queued.cancelled()
        gate.open()


def test_cancelled_job_raises_the_cancelled_error_of_the_standard_library() -> None:
    with Gate() as gate, Pool(gate.block, size=1) as pool:
        pool.process_async(1)
        gate.wait_entered()
        queued = pool.process_async(2)
        queued.cancel()
        with pytest.raises(concurrent.futures.CancelledError):
            queued.wait(WAIT)
        gate.open()


def test_exception_of_a_cancelled_job_says_that_it_was_cancelled() -> None:
    with Gate() as gate, Pool(gate.block, size=1) as pool:
        pool.process_async(1)
        gate.wait_entered()
        queued = pool.process_async(2)
        queued.cancel()
        try:
            error = queued.exception(WAIT)
        except loomy.JobCancelled as raised:
            error = raised
        assert isinstance(error, loomy.JobCancelled)
        gate.open()


def test_cancel_racing_start_has_exactly_one_outcome() -> None:
    ran: list[int] = []
    with Pool(ran.append, size=2) as pool:
        results = [pool.process_async(i) for i in range(3000)]
        cancelled = set()
        for i, result in enumerate(results):
            if i % 2 and result.cancel():
                cancelled.add(i)
        for i, result in enumerate(results):
            if i in cancelled:
                with pytest.raises(loomy.JobCancelled):
                    result.wait(WAIT)
            else:
                assert result.wait(WAIT) is None
        stats = pool.stats()
    assert stats.cancelled == len(cancelled)
    assert stats.completed == 3000 - len(cancelled)
    assert set(range(3000)) - cancelled <= set(ran)
    assert len(set(ran)) == len(ran)


def test_one_worker_runs_jobs_in_submission_order() -> None:
    order: list[int] = []
    with Pool(order.append, size=1) as pool:
        for i in range(5000):
            pool.process_async(i)
    assert order == list(range(5000))


def test_job_submitted_after_another_threads_submission_returned_runs_after_it() -> None:
    order: list[int] = []
    with Gate() as gate:

        def job(payload: int) -> None:
            if payload < 0:
                gate.block(payload)
            else:
                order.append(payload)

        with Pool(job, size=1) as pool:
            pool.process_async(-1)
            gate.wait_entered()
            turn = threading.Condition()
            counter = 0

            def submitter(_: int) -> None:
                nonlocal counter
                for _ in range(100):
                    with turn:
                        pool.process_async(counter)
                        counter += 1

            in_threads(4, submitter)
            gate.open()
    assert order == list(range(400))


def test_done_callback_is_called_with_the_result() -> None:
    got: list[AsyncResult[int]] = []
    with Pool(double, size=1) as pool:
        result = pool.process_async(4)
        result.add_done_callback(got.append)
    assert len(got) == 1
    assert got[0] is result


def test_done_callback_added_to_a_finished_result_is_called_at_once() -> None:
    got: list[AsyncResult[int]] = []
    with Pool(double, size=1) as pool:
        result = pool.process_async(4)
        result.wait(WAIT)
        wait_until(result.done)
        result.add_done_callback(got.append)
        assert len(got) == 1


def test_done_callbacks_are_called_in_the_order_they_were_added() -> None:
    order: list[int] = []

    def remember(index: int) -> Any:
        return lambda _: order.append(index)

    with Gate() as gate, Pool(gate.block, size=1) as pool:
        result = pool.process_async(4)
        gate.wait_entered()
        for i in range(10):
            result.add_done_callback(remember(i))
        gate.open()
    assert order == list(range(10))


def test_done_callback_sees_a_finished_result() -> None:
    seen: list[tuple[bool, int]] = []
    with Gate() as gate, Pool(gate.block, size=1) as pool:
        result = pool.process_async(4)
        gate.wait_entered()
        result.add_done_callback(lambda ended: seen.append((ended.done(), ended.wait(0))))
        gate.open()
    assert seen == [(True, 4)]


@pytest.mark.parametrize("end", ["fail", "cancel"])
def test_done_callback_is_called_when_the_job_fails_or_is_cancelled(end: str) -> None:
    told = threading.Event()
    with Gate() as gate:

        def job(payload: int) -> int:
            if payload < 0:
                raise ValueError(payload)
            return gate.block(payload)

        with Pool(job, size=1) as pool:
            pool.process_async(1)
            gate.wait_entered()
            result = pool.process_async(-1)
            result.add_done_callback(lambda _: told.set())
            if end == "cancel":
                result.cancel()
            gate.open()
            assert told.wait(WAIT)
            assert isinstance(result.exception(WAIT) if end == "fail" else ValueError(), ValueError)


def test_done_callback_that_raises_is_reported_and_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    later: list[AsyncResult[int]] = []

    def bad(_: AsyncResult[int]) -> None:
        raise RuntimeError("from the callback")

    with unraisable_errors() as reported, Gate() as gate:
        with Pool(gate.block, size=1) as pool:
            result = pool.process_async(4)
            gate.wait_entered()
            result.add_done_callback(bad)
            result.add_done_callback(later.append)
            gate.open()
            assert result.wait(WAIT) == 4
            assert pool.process_async(5).wait(WAIT) == 5
        assert later == [result]
        assert [str(error) for error in reported] == [
            "from the callback"
        ] or "from the callback" in caplog.text


def test_done_callback_may_submit_to_the_same_pool() -> None:
    chained: list[AsyncResult[int]] = []
    submitted = threading.Event()
    with Gate() as gate, Pool(gate.block, size=1) as pool:
        result = pool.process_async(1)
        gate.wait_entered()

        def chain(_: AsyncResult[int]) -> None:
            chained.append(pool.process_async(2))
            submitted.set()

        result.add_done_callback(chain)
        gate.open()
        assert submitted.wait(WAIT)
        assert chained[0].wait(WAIT) == 2


def test_callbacks_added_while_the_job_completes_are_called_once_each() -> None:
    with Pool(identity, size=2) as pool:
        for _ in range(200):
            called = [0] * 4
            result = pool.process_async(1)

            def add(index: int, called: list[int] = called, result: AsyncResult[int] = result) -> None:
                def count(_: AsyncResult[int]) -> None:
                    called[index] += 1

                result.add_done_callback(count)

            for index in range(4):
                add(index)
            result.wait(WAIT)
            wait_until(lambda called=called: sum(called) == 4)  # type: ignore[misc]
            assert called == [1] * 4


def test_callbacks_added_from_many_threads_while_the_job_completes() -> None:
    with Gate() as gate, Pool(gate.block, size=1) as pool:
        result = pool.process_async(1)
        gate.wait_entered()
        calls = threading.Semaphore(0)

        def add(index: int) -> None:
            if index == 0:
                gate.open()
            for _ in range(100):
                result.add_done_callback(lambda _: calls.release())

        in_threads(8, add)
        result.wait(WAIT)
        for _ in range(800):
            assert calls.acquire(timeout=WAIT)
        assert not calls.acquire(blocking=False)


def test_add_done_callback_refuses_what_cannot_be_called() -> None:
    callback: Any = 7
    with Pool(double, size=1) as pool:
        result = pool.process_async(4)
        with pytest.raises(TypeError):
            result.add_done_callback(callback)


def test_same_result_waited_on_by_64_threads() -> None:
    with Gate() as gate, Pool(gate.block, size=1) as pool:
        result = pool.process_async(7)
        gate.wait_entered()
        opener = Background(gate.open)
        assert in_threads(64, lambda _: result.wait(WAIT)) == [7] * 64
        opener.result()


def test_same_error_is_given_to_all_who_wait() -> None:
    with Pool(fail_on_negative, size=1) as pool:
        result = pool.process_async(-1)
        errors = in_threads(8, lambda _: result.exception(WAIT))
        assert all(error is errors[0] for error in errors)


def test_results_wait_in_any_order() -> None:
    with Pool(double, size=2) as pool:
        results = [pool.process_async(i) for i in range(1000)]
        assert [result.wait(WAIT) for result in reversed(results)] == [2 * i for i in reversed(range(1000))]


def test_hundred_thousand_results() -> None:
    with Pool(identity, size=2) as pool:
        results = [pool.process_async(i) for i in range(100_000)]
        assert sum(result.wait(WAIT) for result in results) == sum(range(100_000))


def test_result_outlives_its_pool() -> None:
    with Pool(double, size=1) as pool:
        result = pool.process_async(4)
    del pool
    gc.collect()
    assert result.wait(0) == 8


def test_repr_tells_the_state() -> None:
    with Gate() as gate, Pool(gate.block, size=1) as pool:
        result = pool.process_async(7)
        gate.wait_entered()
        running = repr(result)
        gate.open()
        result.wait(WAIT)
        assert repr(result) != running


def test_async_result_is_generic() -> None:
    assert AsyncResult[int] is not None
