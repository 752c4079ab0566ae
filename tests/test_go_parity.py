"""Parity with the Go original: a test for each row of the table in api.md §9, and for each defect it names.

Row tests are called `test_row_…` after the Go names, defect tests `test_defect_…` after what Go's pool does
and ours must not.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from typing import Any

import pytest
from helpers import (
    LONG,
    WAIT,
    Background,
    Gate,
    double,
    fail_on_negative,
    identity,
    in_threads,
    run_script,
    unraisable_errors,
    wait_until,
)

import loomy
from loomy import AsyncResult, Context, Hooks, Pool, Worker


class Doubler(Worker[int, int]):
    def process(self, ctx: Context, payload: int) -> int:
        return 2 * payload


def test_row_new_new_func_new_callback() -> None:
    with Pool.from_workers(Doubler, size=1) as workers:
        assert workers.process(4) == 8
    with Pool(double, size=1) as function:
        assert function.process(4) == 8
    with Pool.from_callbacks(size=1) as callbacks:
        assert callbacks.process(lambda: 8) == 8


@pytest.mark.parametrize("constructor", ["function", "workers", "callbacks"])
def test_defect_hooks_cannot_be_given_at_construction_so_start_events_are_lost(constructor: str) -> None:
    started: list[int] = []

    class Starts(Hooks[Any, Any]):
        def on_worker_start(self, worker_id: int) -> None:
            started.append(worker_id)

    pool: Pool[Any, Any]
    match constructor:
        case "function":
            pool = Pool(double, size=3, hooks=Starts())
        case "workers":
            pool = Pool.from_workers(Doubler, size=3, hooks=Starts())
        case _:
            pool = Pool.from_callbacks(size=3, hooks=Starts())
    with pool:
        assert sorted(started) == [0, 1, 2]


def test_row_process() -> None:
    with Pool(double, size=2) as pool:
        assert pool.process(21) == 42


def test_defect_four_channel_hand_offs_per_job() -> None:
    with Pool(double, size=2) as pool:
        for i in range(1000):
            pool.process(i)
        stats = pool.stats()
    assert stats.inline == 1000
    assert stats.wakes == 0


def test_row_process_timed() -> None:
    with Pool(double, size=1) as pool:
        assert pool.process(21, timeout=WAIT) == 42


def test_defect_process_timed_returns_deadline_exceeded_never_job_timed_out() -> None:
    with Gate() as gate, Pool(gate.block, size=1) as pool:
        with pytest.raises(loomy.JobTimedOut) as caught:
            pool.process(1, timeout=0.05)
        assert type(caught.value) is loomy.JobTimedOut
        gate.open()


def test_row_process_ctx() -> None:
    with Pool(double, size=1) as pool:
        assert pool.process(21, ctx=Context(timeout=WAIT)) == 42
        cancelled = Context()
        cancelled.cancel()
        with pytest.raises(loomy.JobCancelled):
            pool.process(21, ctx=cancelled)
        with pytest.raises(loomy.DeadlineExceeded):
            pool.process(21, ctx=Context(timeout=0))


def busy_for_20_microseconds(payload: int) -> int:
    end = time.perf_counter() + 20e-6
    while time.perf_counter() < end:
        pass
    return payload


@pytest.mark.timeout(120, method="thread")
@pytest.mark.parametrize("limit", ["ctx", "timeout"])
def test_defect_a_deadline_between_two_hand_off_steps_wedges_the_worker_for_ever(limit: str) -> None:
    """The deadline storm: 2 workers, 20 µs jobs, 8 callers, deadlines of 0 to 300 µs."""
    seconds = (30.0 if LONG else 1.0) / 2
    together = threading.Barrier(2)

    def job(payload: int) -> int:
        if payload < 0:
            together.wait(WAIT)
            return payload
        return busy_for_20_microseconds(payload)

    pool = Pool(job, size=2)
    end = time.monotonic() + seconds

    def caller(index: int) -> Counter[str]:
        chance = random.Random(index)
        outcomes: Counter[str] = Counter()
        while time.monotonic() < end:
            deadline = chance.uniform(0, 300e-6)
            number = chance.randrange(10**6)
            try:
                if limit == "ctx":
                    answer = pool.process(number, ctx=Context(timeout=deadline))
                else:
                    answer = pool.process(number, timeout=deadline)
                assert answer == number
                outcomes["completed"] += 1
            except loomy.JobTimedOut:
                outcomes["timed out"] += 1
        return outcomes

    outcomes: Counter[str] = sum(in_threads(8, caller), Counter())
    # both workers must be alive to meet at the barrier
    alive = [pool.process_async(-1) for _ in range(2)]
    assert [result.wait(WAIT) for result in alive] == [-1, -1]
    stats = pool.stats()
    assert stats.completed == outcomes["completed"] + 2
    assert stats.failed == stats.cancelled == 0
    begun = time.monotonic()
    pool.close()
    assert time.monotonic() - begun < 1.0


def test_row_process_async_async_result_wait_done() -> None:
    with Pool(double, size=1) as pool:
        result = pool.process_async(21)
        assert isinstance(result, AsyncResult)
        assert result.wait(WAIT) == 42
        assert result.done()


def test_defect_close_right_after_twenty_thousand_submissions_loses_thousands() -> None:
    pool = Pool(double, size=2)
    results = [pool.process_async(i) for i in range(20_000)]
    pool.close()
    completed = refused = 0
    for i, result in enumerate(results):
        assert result.done()
        try:
            assert result.wait(0) == 2 * i
            completed += 1
        except loomy.PoolNotRunning:
            refused += 1
    assert completed + refused == 20_000
    assert pool.stats().completed == completed


def test_defect_async_result_has_no_timeout() -> None:
    with Gate() as gate, Pool(gate.block, size=1) as pool:
        result = pool.process_async(7)
        with pytest.raises(TimeoutError):
            result.wait(0.02)
        gate.open()
        assert result.wait(WAIT) == 7


def test_defect_async_result_has_no_cancel() -> None:
    with Pool(double, size=0) as pool:
        result = pool.process_async(7)
        assert result.cancel()
        with pytest.raises(loomy.JobCancelled):
            result.wait(WAIT)


def test_row_process_batch_process_batch_ctx() -> None:
    with Pool(fail_on_negative, size=2) as pool:
        results, errors = pool.process_batch([1, -2, 3])
        assert results == [1, None, 3]
        assert isinstance(errors[1], ValueError)
        assert pool.process_batch([1, 2], ctx=Context(timeout=WAIT)).ok
        _, errors = pool.process_batch([1, 2], ctx=Context(timeout=0))
        assert [type(error) for error in errors] == [loomy.DeadlineExceeded] * 2


def test_defect_a_goroutine_per_payload_costs_235_mb_for_fifty_thousand() -> None:
    finished = run_script("batch_memory")
    assert finished.returncode == 0, finished.stderr
    measured = json.loads(finished.stdout)
    assert measured["grown"] < 50 * 1024  # KiB
    assert measured["threads"] <= 3


def test_row_panic_recovery_err_worker_panic() -> None:
    def job(payload: int) -> int:
        if payload == 1:
            raise ValueError("an exception as itself")
        if payload == 2:
            raise SystemExit("a panic")
        return payload

    with Pool(job, size=1) as pool:
        with pytest.raises(ValueError, match="an exception as itself"):
            pool.process(1)
        with pytest.raises(loomy.WorkerPanic):
            pool.process(2)
        assert pool.process(3) == 3


def test_defect_the_value_and_the_stack_of_a_panic_are_dropped() -> None:
    def culprit(_: int) -> int:
        raise SystemExit("the value")

    with Pool(culprit, size=1, affinity="worker") as pool, pytest.raises(loomy.WorkerPanic) as caught:
        pool.process(1)
    cause = caught.value.__cause__
    assert isinstance(cause, SystemExit)
    assert cause.code == "the value"
    names = set()
    step = cause.__traceback__
    while step is not None:
        names.add(step.tb_frame.f_code.co_name)
        step = step.tb_next
    assert "culprit" in names


@pytest.mark.parametrize("panic", [ValueError, SystemExit, KeyboardInterrupt])
def test_defect_a_panic_in_a_hook_kills_the_process(panic: type[BaseException]) -> None:
    class Bad(Hooks[int, int]):
        def on_job_start(self, payload: int) -> None:
            raise panic

        def on_job_complete(self, payload: int, result: int, duration: float) -> None:
            raise panic

        def on_worker_stop(self, worker_id: int) -> None:
            raise panic

    with unraisable_errors() as reported:
        with Pool(double, size=1, hooks=Bad(), affinity="worker") as pool:
            assert pool.process(4) == 8
        assert [type(error) for error in reported] == [panic] * 3


@pytest.mark.parametrize("panic", [ValueError, SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("where", ["block_until_ready", "terminate"])
def test_defect_a_panic_in_block_until_ready_or_terminate_kills_the_process(
    where: str, panic: type[BaseException]
) -> None:
    first = [True]

    class Bad(Doubler):
        def block_until_ready(self) -> None:
            if where == "block_until_ready" and first:
                first.clear()
                raise panic

        def terminate(self) -> None:
            if where == "terminate":
                raise panic

    with unraisable_errors(), Pool.from_workers(Bad, size=1) as pool:
        if where == "block_until_ready":
            with pytest.raises((panic, loomy.WorkerPanic)):
                pool.process(4)
        assert pool.process(4) == 8


class Interruptible(Worker[int, int]):
    """Runs a positive payload until it is interrupted."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self.interrupted = threading.Event()
        self.current = 0
        self.hits: list[int] = []

    def process(self, ctx: Context, payload: int) -> int:
        self.current = payload
        self.started.set()
        if payload > 0:
            assert self.interrupted.wait(WAIT)
            self.interrupted.clear()
        self.current = 0
        return payload

    def interrupt(self) -> None:
        self.hits.append(self.current)
        self.interrupted.set()


def test_row_worker_interrupt() -> None:
    worker = Interruptible()
    with Pool.from_workers(lambda: worker, size=1) as pool:
        with pytest.raises(loomy.JobTimedOut):
            pool.process(1, timeout=0.3)
        assert pool.process(-1) == -1
    assert worker.hits == [1]


def test_defect_interrupt_arrives_after_the_job_has_ended() -> None:
    worker = Interruptible()
    with Pool.from_workers(lambda: worker, size=1) as pool:
        for i in range(1, 101):
            worker.started.clear()
            result = pool.process_async(i)
            assert worker.started.wait(WAIT)
            assert result.cancel()
            # the job runs on until it is interrupted, so it is still there to be hit
            assert pool.process(-1) == -1
    assert worker.hits == list(range(1, 101))


def test_defect_interrupt_can_hit_another_callers_job() -> None:
    hits: list[int] = []
    given_up: set[int] = set()
    lock = threading.Lock()

    class Brief(Worker[int, int]):
        current = 0

        def process(self, ctx: Context, payload: int) -> int:
            self.current = payload
            busy_for_20_microseconds(payload)
            self.current = 0
            return payload

        def interrupt(self) -> None:
            current = self.current
            if current:
                hits.append(current)

    with Pool.from_workers(Brief, size=2) as pool:

        def caller(index: int) -> None:
            chance = random.Random(index)
            for i in range(300):
                number = index * 1000 + i + 1
                try:
                    assert pool.process(number, timeout=chance.uniform(0, 300e-6)) == number
                except loomy.JobTimedOut:
                    with lock:
                        given_up.add(number)

        in_threads(4, caller)
    assert set(hits) <= given_up


def test_defect_interrupt_blocks_the_timed_out_caller() -> None:
    with Gate() as gate:

        class Slow(Doubler):
            def process(self, ctx: Context, payload: int) -> int:
                return gate.block(payload)

            def interrupt(self) -> None:
                gate.block(0)

        with Pool.from_workers(Slow, size=1) as pool:
            with pytest.raises(loomy.JobTimedOut):
                pool.process(1, timeout=0.3)  # returns although interrupt() is still at the gate
            gate.open()


def test_row_hooks_set_hooks() -> None:
    events: list[str] = []

    class Counting(Hooks[int, int]):
        def on_job_start(self, payload: int) -> None:
            events.append("start")

        def on_job_complete(self, payload: int, result: int, duration: float) -> None:
            events.append("complete")

        def on_job_error(self, payload: int, error: BaseException, duration: float) -> None:
            events.append("error")

        def on_worker_start(self, worker_id: int) -> None:
            events.append("worker start")

        def on_worker_stop(self, worker_id: int) -> None:
            events.append("worker stop")

    with Pool(fail_on_negative, size=1, hooks=Counting()) as pool:
        pool.process(1)
        with pytest.raises(ValueError, match="negative"):
            pool.process(-1)
        pool.set_hooks(None)
        pool.process(1)
        pool.set_hooks(Counting())
    assert events == ["worker start", "start", "complete", "start", "error", "worker stop"]


def test_defect_jobs_the_caller_saw_time_out_count_as_complete() -> None:
    ends: list[str] = []

    class Ends(Hooks[int, int]):
        def on_job_complete(self, payload: int, result: int, duration: float) -> None:
            ends.append("complete")

        def on_job_error(self, payload: int, error: BaseException, duration: float) -> None:
            ends.append(type(error).__name__)

    with Gate() as gate, Pool(gate.block, size=1, hooks=Ends()) as pool:
        with pytest.raises(loomy.JobTimedOut):
            pool.process(1, timeout=0.05)
        gate.open()
    stats = pool.stats()
    assert ends == ["JobTimedOut"]
    assert (stats.completed, stats.timed_out) == (0, 1)


@pytest.mark.parametrize("hook", ["on_job_start", "on_job_complete", "on_worker_start", "on_worker_stop"])
def test_defect_set_hooks_from_a_hook_deadlocks(hook: str) -> None:
    called = threading.Event()
    pools: list[Pool[int, int]] = []

    class Replacing(Hooks[int, int]):
        pass

    def replace(*_: object) -> None:
        if pools:
            pools[0].set_hooks(None)
            called.set()

    setattr(Replacing, hook, replace)
    with Pool(double, size=1, hooks=Replacing(), affinity="worker") as pool:
        pools.append(pool)
        pool.size = 2
        assert pool.process(4) == 8
    assert called.wait(WAIT)


def test_row_set_size_get_size() -> None:
    with Pool(double, size=2) as pool:
        assert pool.size == 2
        pool.size = 4
        assert pool.size == 4
        pool.set_size(1)
        assert pool.size == 1
        assert pool.process(4) == 8


def test_defect_set_size_from_a_job_deadlocks() -> None:
    def job(size: int) -> int:
        pool.set_size(size)
        return pool.size

    pool: Pool[int, int] = Pool(job, size=1, affinity="worker")
    with pool:
        assert pool.process(4) == 4
        assert pool.process(1) == 1


def test_defect_shrinking_waits_for_a_busy_worker_while_others_idle() -> None:
    with Gate() as gate, Pool(gate.block, size=4) as pool:
        busy = pool.process_async(1)
        gate.wait_entered()
        pool.set_size(1)
        assert not busy.done()
        gate.open()


def test_row_queue_length() -> None:
    with Pool(double, size=0) as pool:
        for i in range(3):
            pool.process_async(i)
        pool.process_batch_async(range(4))
        assert pool.queue_length == 7
        pool.size = 1


def test_defect_queue_length_counts_running_jobs_too() -> None:
    with Gate() as gate, Pool(gate.block, size=2) as pool:
        for i in range(5):
            pool.process_async(i)
        gate.wait_entered(2)
        assert pool.queue_length == 3
        assert pool.running == 2
        gate.open()


def test_row_close_shutdown() -> None:
    for end in ("close", "shutdown"):
        pool = Pool(double, size=2)
        result = pool.process_async(4)
        result.wait(WAIT)
        getattr(pool, end)()
        with pytest.raises(loomy.PoolNotRunning):
            pool.process(4)


def test_defect_shutdown_polls_every_ten_milliseconds() -> None:
    times = []
    for _ in range(200):
        pool = Pool(double, size=2, affinity="worker")
        pool.process(4)
        begun = time.perf_counter()
        pool.shutdown()
        times.append(time.perf_counter() - begun)
        if times[-1] < 0.01:  # a poll would show in every one
            return
    pytest.fail(f"never in less than {min(times)} s")


def test_defect_shutdown_is_not_bounded_by_its_context() -> None:
    with Gate() as gate, Pool(gate.block, size=1) as pool:
        pool.process_async(1)
        gate.wait_entered()
        begun = time.monotonic()
        with pytest.raises(loomy.DeadlineExceeded):
            pool.shutdown(ctx=Context(timeout=0.05))
        assert time.monotonic() - begun < 5  # the job would take thirty
        gate.open()


def test_defect_shutdown_keeps_admitting() -> None:
    with Gate() as gate, Pool(gate.block, size=1) as pool:
        pool.process_async(1)
        gate.wait_entered()
        ender = Background(pool.shutdown)
        wait_until(lambda: pool.closed)
        with pytest.raises(loomy.PoolNotRunning):
            pool.process_async(2)
        gate.open()
        ender.result()


def test_defect_close_twice_panics() -> None:
    pool = Pool(double, size=1)
    pool.process(4)
    pool.close()
    pool.close()


ROW_ERRORS = [
    "LoomyError",
    "PoolNotRunning",
    "PoolFull",
    "JobTimedOut",
    "DeadlineExceeded",
    "JobCancelled",
    "WorkerClosed",
    "WorkerPanic",
    "JobNotCallable",
]


@pytest.mark.parametrize("name", ROW_ERRORS)
def test_row_errors(name: str) -> None:
    assert issubclass(getattr(loomy, name), loomy.LoomyError)


def test_defect_err_job_timed_out_is_never_returned() -> None:
    with Pool(identity, size=0) as pool:
        with pytest.raises(loomy.JobTimedOut):
            pool.process(1, timeout=0.01)
        with pytest.raises(loomy.JobTimedOut):
            pool.process_async(1, timeout=0.01).wait(WAIT)
        _, errors = pool.process_batch([1], timeout=0.01)
        assert isinstance(errors[0], loomy.JobTimedOut)


def test_row_zero_workers() -> None:
    with Pool(double, size=0) as pool:
        queued = pool.process_async(4)
        assert pool.queue_length == 1
        pool.size = 1
        assert queued.wait(WAIT) == 8


def test_row_nested_process_on_a_full_pool() -> None:
    def job(depth: int) -> int:
        return pool.process(depth - 1) + 1 if depth else 0

    pool: Pool[int, int] = Pool(job, size=1, affinity="worker")
    with pool:
        assert pool.process(20) == 20


def test_defect_zero_workers_block_for_ever() -> None:
    with Pool(double, size=0) as pool:
        with pytest.raises(loomy.JobTimedOut):
            pool.process(4, timeout=0.02)
        caller = Background(lambda: pool.process(4))
        wait_until(lambda: pool.queue_length >= 1)
        pool.close()
        with pytest.raises(loomy.PoolNotRunning):
            caller.result()


def test_defect_nested_process_on_a_full_pool_blocks_for_ever() -> None:
    def job(depth: int) -> int:
        return pool.process_async(depth - 1).wait(WAIT) + 1 if depth else 0

    pool: Pool[int, int] = Pool(job, size=2, affinity="worker")
    with pool:
        assert in_threads(4, lambda _: pool.process(10)) == [10] * 4
