"""Context variables: a job sees its submitter's, and what it sets stays in the job."""

from __future__ import annotations

import asyncio
import decimal
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import pytest
from helpers import WAIT, Gate, wait_until
from loops import Run, in_every_loop

import loomy
import loomy.aio
from loomy import Context, Executor, Pool, Worker

request: ContextVar[str] = ContextVar("request", default="none")

AFFINITIES: pytest.MarkDecorator = pytest.mark.parametrize("affinity", ["any", "worker"])


@contextmanager
def request_is(value: str) -> Iterator[None]:
    token = request.set(value)
    try:
        yield
    finally:
        request.reset(token)


def read(_: int) -> str:
    return request.get()


@AFFINITIES
def test_job_sees_the_variables_of_its_submitter(affinity: Any) -> None:
    with Pool(read, size=1, affinity=affinity) as pool, request_is("mine"):
        assert pool.process(1) == "mine"
        assert pool.process(1, timeout=WAIT) == "mine"
        assert pool.process_async(1).wait(WAIT) == "mine"


@AFFINITIES
def test_items_of_a_batch_see_the_variables_of_its_submitter(affinity: Any) -> None:
    with Pool(read, size=2, affinity=affinity) as pool, request_is("mine"):
        assert pool.process_batch(range(20)).raise_for_errors() == ["mine"] * 20
        assert pool.process_batch_async(range(20)).wait(WAIT).raise_for_errors() == ["mine"] * 20


@pytest.mark.parametrize("ordered", [True, False])
def test_jobs_of_a_map_see_the_variables_of_its_caller(ordered: bool) -> None:
    with Pool(read, size=2) as pool, request_is("mine"):
        assert list(pool.map(range(20), ordered=ordered)) == ["mine"] * 20


# Every way in, from a thread and from a loop: what was set when it was called is what the job sees, although
# it starts later, when that has been set back.


def queued(pool: Pool[int, str], executor: Executor) -> Iterator[Callable[[], Any]]:
    yield pool.process_async(1).wait
    yield pool.process_async(1, timeout=WAIT).wait
    waiting = pool.try_process_async(1)
    assert waiting is not None
    yield waiting.wait
    yield pool.process_batch_async([1]).wait
    yield pool.process_batch_async([1], timeout=WAIT).wait
    yield executor.submit(read, 1).result
    mapped = executor.map(read, [1])
    yield lambda: list(mapped)
    buffered = executor.map(read, [1], buffersize=1)
    yield lambda: list(buffered)
    chunked = executor.map(read, [1], chunksize=2)
    yield lambda: list(chunked)


def values_of(answer: Any) -> list[str]:
    if isinstance(answer, loomy.BatchResult):
        return answer.raise_for_errors()
    return answer if isinstance(answer, list) else [answer]


def test_every_way_to_queue_a_job_copies_the_variables_of_that_moment() -> None:
    gate = Gate()

    def job(payload: int) -> str:
        if payload == 0:
            gate.block(payload)
        return request.get()

    with Pool(job, size=1) as pool, Executor(1) as executor, gate:
        pool.process_async(0)
        executor.submit(gate.block, 0)
        gate.wait_entered(2)
        with request_is("then"):
            answers = list(queued(pool, executor))
        with request_is("later"):
            gate.open()
            assert [values_of(answer()) for answer in answers] == [["then"]] * len(answers)


@in_every_loop
def test_every_way_in_from_a_loop_copies_the_variables_of_its_task(run: Run[None]) -> None:
    async def one(pool: Pool[int, str], value: str) -> list[Any]:
        request.set(value)
        loop = asyncio.get_running_loop()
        return [
            await pool.process_async(1),
            await pool.process_async(1, timeout=WAIT),
            *(await pool.process_batch_async([1, 2])).results,
            *[result async for result in pool.map([1, 2])],
            *[result async for result in pool.map([1, 2], ordered=False)],
            await loomy.aio.to_thread(read, 1),
            await asyncio.to_thread(read, 1),  # through the executor that was installed
            await asyncio.gather(pool.process_async(1), loomy.aio.to_thread(read, 1)),
            await loop.run_in_executor(None, read, 1),
        ]

    async def main() -> None:
        loomy.aio.install()
        with Pool(read, size=2) as pool:
            first, second = await asyncio.gather(one(pool, "first"), one(pool, "second"))
        assert first == ["first"] * 10 + [["first", "first"], "first"]
        assert second == ["second"] * 10 + [["second", "second"], "second"]

    try:
        run(main())
    finally:
        loomy.aio._shared.get().shutdown()


def test_job_sees_the_variables_of_the_moment_it_was_submitted() -> None:
    with Gate() as gate:

        def job(payload: int) -> str:
            if payload == 0:
                gate.block(payload)
            return request.get()

        with Pool(job, size=1) as pool:
            pool.process_async(0)
            gate.wait_entered()
            with request_is("then"):
                queued = pool.process_async(1)
            with request_is("later"):
                gate.open()
                assert queued.wait(WAIT) == "then"


@AFFINITIES
def test_what_a_job_sets_stays_in_the_job(affinity: Any) -> None:
    def job(payload: int) -> str:
        before = request.get()
        request.set(f"set by {payload}")
        return before

    with Pool(job, size=1, affinity=affinity) as pool:
        assert [pool.process(i) for i in range(3)] == ["none"] * 3
        assert [result.wait(WAIT) for result in [pool.process_async(i) for i in range(3)]] == ["none"] * 3
        pool.process_batch(range(3))
        assert pool.process(9) == "none"
    assert request.get() == "none"


def test_what_a_job_sets_is_gone_when_its_callbacks_are_called() -> None:
    class Thing:
        pass

    variable: ContextVar[Thing] = ContextVar("thing")

    def job(_: int) -> weakref.ref[Thing]:
        gate.block(0)
        variable.set(Thing())
        return weakref.ref(variable.get())

    left: list[Thing | None] = []
    with Gate() as gate, Pool(job, size=1) as pool:
        result = pool.process_async(0)
        gate.wait_entered()
        result.add_done_callback(lambda ended: left.append(ended.wait()()))
        gate.open()
        result.wait(WAIT)
        wait_until(lambda: bool(left), "the callback")
    assert left == [None]


def test_a_caller_that_ran_what_the_queue_had_no_place_for_keeps_none_of_its_variables() -> None:
    class Thing:
        pass

    variable: ContextVar[Thing | None] = ContextVar("thing")
    with Gate() as gate:

        def job(payload: int) -> bool:
            return variable.get() is not None if payload else gate.block(payload) is None

        with Pool(job, size=1, max_pending=0, on_full="caller_runs") as pool:
            variable.set(None)
            pool.process_async(0)
            gate.wait_entered()
            thing = Thing()
            variable.set(thing)
            assert all(pool.process_async(i).wait(0) for i in range(1, 100))
            assert pool.stats().inline == 99
            variable.set(None)
            kept = weakref.ref(thing)
            del thing
            gone = kept() is None
            gate.open()
    assert gone


@AFFINITIES
def test_a_finalizer_of_what_a_job_has_set_may_run_jobs(affinity: Any) -> None:
    """It does so on the thread that has just left the job's context, below which others are entered."""
    seen: list[str] = []

    class Thing:
        def __init__(self, depth: int) -> None:
            self.depth = depth

        def __del__(self) -> None:
            seen.append(pool.process_async(-self.depth).wait())

    thing: ContextVar[Thing] = ContextVar("thing")

    def job(depth: int) -> str:
        if depth < 0:
            return request.get()
        request.set(f"depth {depth}")
        if depth > 0:
            below = pool.process_async(depth - 1).wait()
            assert below == f"depth {depth - 1}"
        thing.set(Thing(depth + 1))
        return request.get()

    with Pool(job, size=1, affinity=affinity) as pool:
        assert pool.process(3) == "depth 3"
        wait_until(lambda: len(seen) == 4, "the finalizers")
    assert seen == ["depth 1", "depth 2", "depth 3", "none"]


def test_what_a_job_sets_does_not_leak_when_it_raises() -> None:
    def job(_: int) -> None:
        request.set("leaked")
        raise ValueError("after setting")

    with Pool(job, size=1) as pool, pytest.raises(ValueError, match="after setting"):
        pool.process(1)
    assert request.get() == "none"


def test_without_copy_context_a_job_on_a_worker_sees_defaults() -> None:
    with Pool(read, size=1, copy_context=False, affinity="worker") as pool, request_is("mine"):
        assert pool.process(1) == "none"
        assert pool.process_async(1).wait(WAIT) == "none"


@pytest.mark.parametrize("flag", [None, 1, "yes"], ids=repr)
def test_copy_context_that_is_no_bool_is_a_type_error(flag: Any) -> None:
    with pytest.raises(TypeError):
        Pool(read, size=1, copy_context=flag)


def test_stateful_worker_sees_the_variables_of_the_submitter() -> None:
    class Reading(Worker[int, str]):
        def process(self, ctx: Context, payload: int) -> str:
            return request.get()

    with Pool.from_workers(Reading, size=1) as pool, request_is("mine"):
        assert pool.process(1) == "mine"


def test_decimal_precision_travels_with_the_job() -> None:
    def third(_: int) -> str:
        return str(decimal.Decimal(1) / 3)

    with Pool(third, size=1, affinity="worker") as pool, decimal.localcontext() as local:
        local.prec = 4
        assert pool.process(1) == "0.3333"


def test_nested_jobs_inherit_from_the_job_that_submits_them() -> None:
    def job(depth: int) -> str:
        if depth == 0:
            return request.get()
        request.set(f"{request.get()}>{depth}")
        return pool.process(depth - 1)

    pool: Pool[int, str] = Pool(job, size=1, affinity="worker")
    with pool, request_is("top"):
        assert pool.process(2) == "top>2>1"
        assert request.get() == "top"


def test_job_keeps_its_own_context_while_it_helps_with_another() -> None:
    def job(depth: int) -> str:
        request.set(f"level {depth}")
        if depth:
            pool.process_async(depth - 1).wait(WAIT)
        return request.get()

    pool: Pool[int, str] = Pool(job, size=1)
    with pool:
        assert pool.process_async(5).wait(WAIT) == "level 5"


def test_current_context_of_loomy_is_not_the_contextvars_one() -> None:
    def job(_: int) -> bool:
        return isinstance(loomy.current_context(), Context)

    with Pool(job, size=1) as pool:
        assert pool.process(1)


def test_contexts_of_many_submitters_do_not_mix() -> None:
    with Pool(read, size=2) as pool:
        expected = [str(i) for i in range(200)]
        results = []
        for value in expected:
            with request_is(value):
                results.append(pool.process_async(1))
        assert [result.wait(WAIT) for result in results] == expected
