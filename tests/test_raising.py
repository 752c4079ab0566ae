"""What hooks, callbacks and `interrupt` raise is reported, changes nothing, and ends no thread of loomy."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from helpers import WAIT, Gate, fail_on_negative, identity, unraisable_errors, wait_until

import loomy
from loomy import AsyncResult, Context, Hooks, Pool, Worker

RAISES: pytest.MarkDecorator = pytest.mark.parametrize(
    "error", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration]
)


@RAISES
@pytest.mark.parametrize(
    "name", ["on_job_start", "on_job_complete", "on_job_error", "on_worker_start", "on_worker_stop"]
)
@pytest.mark.parametrize("affinity", ["any", "worker"])
def test_hook_that_raises_is_reported_and_changes_nothing(
    name: str, error: type[BaseException], affinity: Any
) -> None:
    class Bad(Hooks[int, int]):
        pass

    def bad(*_: object) -> None:
        raise error("from the hook")

    setattr(Bad, name, bad)
    with unraisable_errors() as reported:
        with Pool(fail_on_negative, size=1, hooks=Bad(), affinity=affinity) as pool:
            assert pool.process(4) == 4
            with pytest.raises(ValueError, match="negative"):
                pool.process(-4)
            assert pool.process_async(5).wait(WAIT) == 5
        stats = pool.stats()
        assert reported
        assert {type(each) for each in reported} == {error}
    assert (stats.completed, stats.failed) == (2, 1)


@RAISES
def test_error_hook_of_a_job_that_was_given_up_raises_and_the_caller_hears_nothing_of_it(
    error: type[BaseException],
) -> None:
    class Bad(Hooks[int, int]):
        def on_job_error(self, *_: object) -> None:
            raise error("from the hook")

    with unraisable_errors() as reported, Gate() as gate:
        with Pool(gate.block, size=1, hooks=Bad()) as pool:
            running = pool.process_async(0)
            queued = pool.process_async(1)
            gate.wait_entered()
            assert queued.cancel()  # the hook runs here
            assert running.cancel()
            with pytest.raises(loomy.JobTimedOut):
                pool.process(2, timeout=0.01)
            by_its_deadline = pool.process_async(3, timeout=0.01)  # there on the thread for deadlines
            assert isinstance(by_its_deadline.exception(WAIT), loomy.JobTimedOut)
            gate.open()
            assert pool.process_async(4).wait(WAIT) == 4
        wait_until(lambda: len(reported) == 4)
        assert {type(each) for each in reported} == {error}


@RAISES
def test_done_callback_that_raises_leaves_the_worker_alive(error: type[BaseException]) -> None:
    calls: list[AsyncResult[int]] = []

    def bad(_: AsyncResult[int]) -> None:
        raise error("from the callback")

    with unraisable_errors() as reported, Gate() as gate:
        with Pool(gate.block, size=1, affinity="worker") as pool:
            result = pool.process_async(4)
            gate.wait_entered()
            result.add_done_callback(bad)
            result.add_done_callback(calls.append)
            gate.open()
            assert pool.process_async(5).wait(WAIT) == 5
            assert pool.stats().workers == 1
        assert calls == [result]
        assert [type(each) for each in reported] == [error]


@RAISES
def test_callbacks_that_raise_leave_the_thread_for_deadlines_alive(error: type[BaseException]) -> None:
    told = threading.Semaphore(0)

    def bad(*_: object) -> None:
        told.release()
        raise error("from the callback")

    with unraisable_errors(), Gate() as gate, Pool(gate.block, size=1) as pool:
        pool.process_async(0)
        gate.wait_entered()
        for _ in range(3):
            late = pool.process_async(1, timeout=0.01)
            late.add_done_callback(bad)
            handle = Context(timeout=0.01).on_cancel(bad)
            for _ in range(2):
                assert told.acquire(timeout=WAIT)
            handle.close()
            assert isinstance(late.exception(WAIT), loomy.JobTimedOut)
        gate.open()


@RAISES
def test_interrupt_that_raises_is_reported_and_later_ones_are_delivered(error: type[BaseException]) -> None:
    running = threading.Semaphore(0)
    struck = threading.Semaphore(0)

    class Grumpy(Worker[int, int]):
        def process(self, ctx: Context, payload: int) -> int:
            if payload >= 0:
                return payload
            running.release()
            assert struck.acquire(timeout=WAIT)
            return payload

        def interrupt(self) -> None:
            struck.release()
            raise error("from interrupt")

    with unraisable_errors() as reported:
        with Pool.from_workers(Grumpy, size=1) as pool:
            for _ in range(3):
                result = pool.process_async(-1)
                assert running.acquire(timeout=WAIT)
                assert result.cancel()
                assert pool.process(7) == 7
        assert [type(each) for each in reported] == [error] * 3


@RAISES
def test_terminate_that_raises_stops_no_other_worker(error: type[BaseException]) -> None:
    ended = threading.Semaphore(0)

    class Untidy(Worker[int, int]):
        def process(self, ctx: Context, payload: int) -> int:
            return payload

        def terminate(self) -> None:
            ended.release()
            raise error("from terminate")

    with unraisable_errors() as reported:
        pool = Pool.from_workers(Untidy, size=3)
        pool.process(1)
        pool.close()
        for _ in range(3):
            assert ended.acquire(timeout=WAIT)
        wait_until(lambda: len(reported) == 3)
        assert {type(each) for each in reported} == {error}


@RAISES
def test_hooks_are_set_again_after_they_raised(error: type[BaseException]) -> None:
    class Bad(Hooks[int, int]):
        def on_job_start(self, payload: int) -> None:
            raise error("from the hook")

    started: list[int] = []

    class Good(Hooks[int, int]):
        def on_job_start(self, payload: int) -> None:
            started.append(payload)

    with unraisable_errors(), Pool(identity, size=1, hooks=Bad()) as pool:
        assert pool.process(1) == 1
        pool.set_hooks(Good())
        assert pool.process(2) == 2
    assert started == [2]
