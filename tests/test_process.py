"""`Pool.process`: results, errors, timeouts, contexts, and who runs the job."""

from __future__ import annotations

import contextlib
import math
import threading
import traceback
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
    thread_of_job,
    wait_until,
)

import loomy
from loomy import Context, Pool, Worker

AFFINITIES: pytest.MarkDecorator = pytest.mark.parametrize("affinity", ["any", "worker"])


@AFFINITIES
def test_process_returns_the_result(affinity: Any) -> None:
    with Pool(double, size=2, affinity=affinity) as pool:
        assert [pool.process(i) for i in range(100)] == [2 * i for i in range(100)]


@AFFINITIES
@pytest.mark.parametrize("value", [None, 0, "", (), False, ValueError("a value, not an error")], ids=repr)
def test_process_returns_any_object_as_itself(affinity: Any, value: Any) -> None:
    def give_back(payload: Any) -> Any:
        return payload

    with Pool(give_back, size=1, affinity=affinity) as pool:
        assert pool.process(value) is value


@AFFINITIES
def test_process_raises_the_very_exception_of_the_job(affinity: Any) -> None:
    error = ValueError("from the job")

    def job(_: int) -> int:
        raise error

    with Pool(job, size=1, affinity=affinity) as pool:
        with pytest.raises(ValueError, match="from the job") as caught:
            pool.process(1)
        assert caught.value is error


@AFFINITIES
def test_traceback_of_an_error_reaches_into_the_job(affinity: Any) -> None:
    with (
        Pool(fail_on_negative, size=1, affinity=affinity) as pool,
        pytest.raises(ValueError, match="negative") as caught,
    ):
        pool.process(-1)
    assert "fail_on_negative" in [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]


@AFFINITIES
def test_error_carries_a_note_that_names_pool_and_worker(affinity: Any) -> None:
    with (
        Pool(fail_on_negative, size=1, affinity=affinity, name="noted") as pool,
        pytest.raises(ValueError, match="negative") as caught,
    ):
        pool.process(-1)
    notes = "\n".join(getattr(caught.value, "__notes__", []))
    assert "noted" in notes
    assert "worker 0" in notes


@AFFINITIES
def test_pool_works_on_after_an_error(affinity: Any) -> None:
    with Pool(fail_on_negative, size=1, affinity=affinity) as pool:
        for i in range(1, 20):
            with pytest.raises(ValueError, match="negative"):
                pool.process(-i)
            assert pool.process(i) == i


@pytest.mark.parametrize("timeout", NO_LIMIT)
def test_timeout_without_limit(timeout: Any) -> None:
    with Pool(double, size=1) as pool:
        assert pool.process(4, timeout=timeout) == 8


@pytest.mark.parametrize("timeout", ALREADY_PASSED)
def test_timeout_that_has_already_passed_never_runs_the_job(timeout: Any) -> None:
    ran: list[int] = []
    with Pool(ran.append, size=1) as pool, pytest.raises(loomy.JobTimedOut):
        pool.process(4, timeout=timeout)
    assert ran == []


@AFFINITIES
def test_nan_timeout_is_a_value_error(affinity: Any) -> None:
    with Pool(identity, size=1, affinity=affinity) as pool:
        with pytest.raises(ValueError, match=r"(?i)nan|timeout"):
            pool.process(1, timeout=math.nan)
        assert pool.stats().submitted == 0


@pytest.mark.parametrize("timeout", NOT_A_TIMEOUT, ids=repr)
def test_timeout_that_is_no_number_is_a_type_error(timeout: Any) -> None:
    with Pool(identity, size=1) as pool:
        with pytest.raises(TypeError):
            pool.process(1, timeout=timeout)
        assert pool.stats().submitted == 0


@pytest.mark.parametrize("kind", ["float64", "float32", "int64", "uint8"])
def test_timeout_may_be_a_numpy_scalar(kind: str) -> None:
    numpy: Any = pytest.importorskip("numpy")
    with Pool(double, size=1) as pool:
        assert pool.process(4, timeout=getattr(numpy, kind)(100)) == 8
        with pytest.raises(loomy.JobTimedOut):
            pool.process(4, timeout=getattr(numpy, kind)(0))


def test_tiny_timeout_ends_in_a_result_or_a_timeout() -> None:
    with Pool(double, size=1) as pool:
        for _ in range(100):
            with contextlib.suppress(loomy.JobTimedOut):
                assert pool.process(4, timeout=5e-324) == 8


@pytest.mark.parametrize("ctx", [7, "ctx", object(), 1.5], ids=repr)
def test_ctx_that_is_no_context_is_a_type_error(ctx: Any) -> None:
    with Pool(identity, size=1) as pool, pytest.raises(TypeError):
        pool.process(1, ctx=ctx)


def test_process_takes_exactly_one_payload() -> None:
    with Pool(identity, size=1) as pool:
        process: Any = pool.process
        with pytest.raises(TypeError):
            process()
        with pytest.raises(TypeError):
            process(1, 2)
        with pytest.raises(TypeError):
            process(1, colour="red")


def test_timeout_of_a_queued_job_never_runs_it() -> None:
    ran: list[int] = []
    with Gate() as gate:

        def job(payload: int) -> int:
            ran.append(payload)
            return gate.block(payload)

        with Pool(job, size=1) as pool:
            first = pool.process_async(1)
            gate.wait_entered()
            with pytest.raises(loomy.JobTimedOut):
                pool.process(2, timeout=0.02)
            gate.open()
            assert first.wait(WAIT) == 1
    assert ran == [1]


def test_timeout_of_a_running_job_returns_while_it_still_runs() -> None:
    with Gate() as gate, Pool(gate.block, size=1) as pool:
        with pytest.raises(loomy.JobTimedOut):
            pool.process(1, timeout=0.3)
        gate.wait_entered()
        assert pool.running == 1
        gate.open()


def test_timeout_of_a_running_job_cancels_its_context() -> None:
    ended: list[bool] = []

    def job(ctx: Context, _: int) -> None:
        ended.append(ctx.wait(WAIT))

    with Pool(job, size=1, pass_context=True) as pool, pytest.raises(loomy.JobTimedOut):
        pool.process(1, timeout=0.3)
    assert ended == [True]


def test_slot_of_an_abandoned_job_is_free_again_when_the_function_returns() -> None:
    with Gate() as gate, Pool(gate.block, size=1) as pool:
        with pytest.raises(loomy.JobTimedOut):
            pool.process(1, timeout=0.3)
        gate.wait_entered()
        later = pool.process_async(2)
        gate.open()
        assert later.wait(WAIT) == 2


def test_context_without_limit_changes_nothing() -> None:
    with Pool(double, size=1) as pool, Context() as ctx:
        assert pool.process(4, ctx=ctx) == 8


def test_deadline_of_the_context_raises_deadline_exceeded() -> None:
    with Gate() as gate, Pool(gate.block, size=1) as pool:
        with pytest.raises(loomy.DeadlineExceeded):
            pool.process(1, ctx=Context(timeout=0.1))
        gate.open()


def test_timeout_before_the_deadline_of_the_context_is_no_deadline_exceeded() -> None:
    with Gate() as gate, Pool(gate.block, size=1) as pool:
        with pytest.raises(loomy.JobTimedOut) as caught:
            pool.process(1, timeout=0.1, ctx=Context(timeout=1000))
        assert type(caught.value) is loomy.JobTimedOut
        gate.open()


def test_deadline_of_the_context_before_the_timeout_is_deadline_exceeded() -> None:
    with Gate() as gate, Pool(gate.block, size=1) as pool:
        with pytest.raises(loomy.DeadlineExceeded):
            pool.process(1, timeout=1000, ctx=Context(timeout=0.1))
        gate.open()


def test_cancelled_context_never_runs_the_job() -> None:
    ran: list[int] = []
    ctx = Context()
    ctx.cancel()
    with Pool(ran.append, size=1) as pool, pytest.raises(loomy.JobCancelled):
        pool.process(1, ctx=ctx)
    assert ran == []


def test_cancelling_the_context_returns_the_caller_of_a_running_job() -> None:
    with Gate() as gate, Pool(gate.block, size=1, affinity="worker") as pool:
        ctx = Context()
        caller = Background(lambda: pool.process(1, ctx=ctx))
        gate.wait_entered()
        ctx.cancel()
        with pytest.raises(loomy.JobCancelled):
            caller.result()
        assert pool.running == 1
        gate.open()


def test_cancelling_the_context_returns_the_caller_of_a_queued_job() -> None:
    with Gate() as gate, Pool(gate.block, size=1) as pool:
        pool.process_async(1)
        gate.wait_entered()
        ctx = Context()
        caller = Background(lambda: pool.process(2, ctx=ctx))
        wait_until(lambda: pool.queue_length == 1)
        ctx.cancel()
        with pytest.raises(loomy.JobCancelled):
            caller.result()
        gate.open()


def test_caller_runs_the_job_itself_when_a_slot_is_free() -> None:
    with Pool(thread_of_job, size=2) as pool:
        assert pool.process(0) == threading.get_ident()
        assert pool.stats().inline == 1


def test_caller_does_not_run_the_job_when_every_slot_is_taken() -> None:
    with Gate() as gate:

        def job(payload: int) -> int:
            if payload == 0:
                gate.block(payload)
            return threading.get_ident()

        with Pool(job, size=1) as pool:
            pool.process_async(0)
            gate.wait_entered()
            caller = Background(lambda: (threading.get_ident(), pool.process(1)))
            wait_until(lambda: pool.queue_length == 1)
            gate.open()
            caller_thread, job_thread = caller.result()
            assert caller_thread != job_thread


def test_job_with_a_deadline_runs_on_a_worker_thread() -> None:
    with Pool(thread_of_job, size=1) as pool:
        assert pool.process(0, timeout=WAIT) != threading.get_ident()
        assert pool.process(0, ctx=Context(timeout=WAIT)) != threading.get_ident()


def test_stateful_worker_is_never_run_by_the_caller() -> None:
    class Where(Worker[int, int]):
        def process(self, ctx: Context, payload: int) -> int:
            return threading.get_ident()

    with Pool.from_workers(Where, size=1) as pool:
        assert pool.process(0) != threading.get_ident()


@pytest.mark.parametrize("size", [1, 2, 3])
@AFFINITIES
def test_never_more_jobs_at_once_than_slots(size: int, affinity: Any) -> None:
    lock = threading.Lock()
    now = 0
    most = 0

    def job(_: int) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        for _ in range(200):
            pass
        with lock:
            now -= 1

    with Pool(job, size=size, affinity=affinity) as pool:

        def caller(index: int) -> None:
            for i in range(100):
                if (index + i) % 3:
                    pool.process(i)
                elif i % 2:
                    pool.process_async(i).wait(WAIT)
                else:
                    pool.process_batch(range(3))

        in_threads(8, caller)
    assert 1 <= most <= size


def test_as_many_jobs_at_once_as_slots() -> None:
    together = threading.Barrier(4)

    def job(_: int) -> int:
        return together.wait(WAIT)

    with Pool(job, size=4) as pool:
        assert sorted(in_threads(4, pool.process)) == [0, 1, 2, 3]


def test_same_pool_from_64_threads() -> None:
    with Pool(double, size=2) as pool:

        def caller(index: int) -> int:
            return sum(pool.process(index * 50 + i) for i in range(50))

        assert sum(in_threads(64, caller)) == 2 * sum(range(64 * 50))
        assert pool.stats().completed == 64 * 50


@pytest.mark.parametrize(
    "error",
    [
        StopIteration("stop"),
        StopAsyncIteration(),
        RecursionError(),
        MemoryError(),
        TimeoutError(),
        OSError(5, "io"),
        ExceptionGroup("g", [ValueError()]),
    ],
    ids=lambda error: type(error).__name__,
)
@AFFINITIES
def test_every_kind_of_exception_arrives_as_itself(affinity: Any, error: Exception) -> None:
    def job(_: int) -> int:
        raise error

    with Pool(job, size=1, affinity=affinity) as pool:
        with pytest.raises(type(error)) as caught:
            pool.process(1)
        assert caught.value is error
        assert pool.stats().failed == 1


@AFFINITIES
def test_runaway_recursion_in_a_job_is_a_recursion_error(affinity: Any) -> None:
    def forever(depth: int) -> int:
        return forever(depth + 1) + 1

    with Pool(forever, size=1, affinity=affinity) as pool:
        with pytest.raises(RecursionError):
            pool.process(0)
        assert pool.stats().failed == 1


@AFFINITIES
def test_falsy_exception_is_raised(affinity: Any) -> None:
    class Falsy(Exception):
        def __bool__(self) -> bool:
            return False

    def job(_: int) -> int:
        raise Falsy

    with Pool(job, size=1, affinity=affinity) as pool, pytest.raises(Falsy):
        pool.process(1)


@AFFINITIES
def test_exception_that_cannot_be_shown_is_raised(affinity: Any) -> None:
    class Shy(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

        __repr__ = __str__

    def job(_: int) -> int:
        raise Shy

    with Pool(job, size=1, affinity=affinity) as pool:
        with pytest.raises(Shy):
            pool.process(1)
        with pytest.raises(Shy):
            pool.process_async(1).wait(WAIT)


@AFFINITIES
def test_exception_that_takes_no_note_is_raised(affinity: Any) -> None:
    class Bare(Exception):
        def add_note(self, note: str, /) -> None:
            raise RuntimeError("no notes")

    def job(_: int) -> int:
        raise Bare

    with Pool(job, size=1, affinity=affinity) as pool, pytest.raises(Bare):
        pool.process(1)


@AFFINITIES
@pytest.mark.parametrize("panic", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_what_is_no_exception_becomes_a_worker_panic(affinity: Any, panic: type[BaseException]) -> None:
    def job(payload: int) -> int:
        if payload:
            raise panic("from the job")
        return payload

    with Pool(job, size=1, affinity=affinity) as pool:
        with pytest.raises(loomy.WorkerPanic) as caught:
            # on a thread of its own: in the main thread a KeyboardInterrupt cannot be told from a Ctrl-C
            Background(lambda: pool.process(1)).result()
        assert type(caught.value.__cause__) is panic
        assert pool.process(0) == 0


def test_payload_may_be_the_pool_itself() -> None:
    def job(payload: Any) -> Any:
        return payload

    with Pool(job, size=1) as pool:
        assert pool.process(pool) is pool


def test_bound_builtin_and_partial_functions_are_jobs_too() -> None:
    with Pool(len, size=1) as pool:
        assert pool.process([1, 2, 3]) == 3
    with Pool(str.upper, size=1) as upper:
        assert upper.process("loom") == "LOOM"
