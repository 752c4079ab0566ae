"""A job that a busy thread runs in between finds what it would find on a worker's own thread: nothing.

Neither the exceptions that the thread is handling nor its event loop, in each way of having a job run here.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from helpers import Gate, raise_it

from loomy import Executor, Hooks, Pool

Call = Callable[[], Any]
Middle = Callable[[Call], Any]


def call(payload: Call) -> Any:
    return payload()


# In the middle of what a thread has the job run.


def handling(inner: Call) -> Any:
    outer = KeyError("outer")
    try:
        raise outer
    except KeyError:
        result = inner()
        assert sys.exc_info()[1] is outer
        return result


def handling_around_a_generator(inner: Call) -> Any:
    def generator() -> Any:
        yield inner()

    return handling(lambda: next(generator()))


def in_a_loop(inner: Call) -> Any:
    async def main() -> Any:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        result = handling(inner)
        assert (asyncio.get_running_loop(), asyncio.current_task()) == (loop, task)
        return result

    return asyncio.run(main())


# How it comes to run the job. Each returns the job's result or raises its exception.


def process(middle: Middle, job: Call) -> Any:
    with Pool(call, 1) as pool:
        return middle(lambda: pool.process(job))


def process_with_hooks(middle: Middle, job: Call) -> Any:
    class Noticing(Hooks[Call, Any]):
        def on_job_start(self, payload: Call) -> None:
            pass

    with Pool(call, 1, hooks=Noticing()) as pool:
        return middle(lambda: pool.process(job))


def process_inside_a_job(middle: Middle, job: Call) -> Any:
    with Pool(call, 1) as pool:
        return pool.process(lambda: middle(lambda: pool.process(job)))


def process_batch(middle: Middle, job: Call) -> Any:
    with Pool(call, 1) as pool:
        (result,), (error,) = middle(lambda: pool.process_batch([job]))
    return result if error is None else raise_it(error)


def wait(middle: Middle, job: Call) -> Any:
    with Pool(call, 1) as pool:
        return pool.process(lambda: middle(lambda: pool.process_async(job).wait()))


def pool_map(middle: Middle, job: Call) -> Any:
    with Pool(call, 1) as pool:
        return pool.process(lambda: middle(lambda: next(pool.map([job]))))


def future_result(middle: Middle, job: Call) -> Any:
    with Executor(1) as executor:
        return executor.submit(lambda: middle(lambda: executor.submit(job).result())).result()


def future_exception(middle: Middle, job: Call) -> Any:
    with Executor(1) as executor:

        def outer() -> Any:
            future = executor.submit(job)
            middle(future.exception)
            return future.result()

        return executor.submit(outer).result()


def executor_map(middle: Middle, job: Call) -> Any:
    with Executor(1) as executor:
        return executor.submit(lambda: middle(lambda: next(executor.map(call, [job])))).result()


def executor_map_of_an_iterator(middle: Middle, job: Call) -> Any:
    with Executor(1) as executor:
        return executor.submit(lambda: middle(lambda: next(executor.map(call, iter([job]))))).result()


def caller_runs(middle: Middle, job: Call) -> Any:
    with Gate() as gate, Executor(1, max_pending=0, on_full="caller_runs") as executor:
        executor.submit(gate.block, 0)
        gate.wait_entered()
        future = middle(lambda: executor.submit(job))
        gate.open()
        return future.result()


def await_(middle: Middle, job: Call) -> Any:
    async def main() -> Any:
        try:
            raise KeyError("outer")
        except KeyError:
            return await pool.process_async(job)

    with Pool(call, 1) as pool:
        return pool.process(lambda: asyncio.run(main()))


WAYS = pytest.mark.parametrize(
    "way",
    [
        process,
        process_with_hooks,
        process_inside_a_job,
        process_batch,
        wait,
        pool_map,
        future_result,
        future_exception,
        executor_map,
        executor_map_of_an_iterator,
        caller_runs,
        await_,
    ],
)
MIDDLES = pytest.mark.parametrize("middle", [handling, handling_around_a_generator, in_a_loop])


@WAYS
def test_the_job_is_run_by_the_busy_thread(way: Callable[[Middle, Call], Any]) -> None:
    # Or else the tests below say nothing.
    busy: list[int] = []

    def noting(inner: Call) -> Any:
        busy.append(threading.get_ident())
        return inner()

    ran_by = way(noting, threading.get_ident)
    assert busy == [ran_by] or way is await_


@WAYS
@MIDDLES
def test_the_job_finds_no_exception_that_is_handled(
    way: Callable[[Middle, Call], Any], middle: Middle
) -> None:
    assert way(middle, sys.exc_info) == (None, None, None)


@WAYS
@MIDDLES
def test_a_bare_raise_in_the_job_raises_nothing_of_others(
    way: Callable[[Middle, Call], Any], middle: Middle
) -> None:
    def job() -> None:
        raise

    with pytest.raises(RuntimeError, match="No active exception"):
        way(middle, job)


@WAYS
@MIDDLES
def test_the_exception_of_the_job_has_no_context(way: Callable[[Middle, Call], Any], middle: Middle) -> None:
    with pytest.raises(ValueError, match="inner") as caught:
        way(middle, lambda: raise_it(ValueError("inner")))
    assert caught.value.__context__ is None


@WAYS
def test_an_exception_that_the_job_handles_is_handled_for_it_alone(
    way: Callable[[Middle, Call], Any],
) -> None:
    def job() -> BaseException | None:
        try:
            raise_it(ValueError("inner"))
        except ValueError:
            return sys.exc_info()[1]
        return None

    assert isinstance(way(handling, job), ValueError)  # `handling` looks that its own is there again


@WAYS
def test_the_job_runs_an_event_loop_of_its_own(way: Callable[[Middle, Call], Any]) -> None:
    async def inner() -> str:
        await asyncio.sleep(0)
        return "ran"

    assert way(in_a_loop, lambda: asyncio.run(inner())) == "ran"


@WAYS
def test_the_job_finds_no_running_loop(way: Callable[[Middle, Call], Any]) -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        way(in_a_loop, asyncio.get_running_loop)


def test_the_loop_is_hidden_from_each_job_and_shown_again() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        for _ in range(100):
            assert pool.process(asyncio._get_running_loop) is None
            assert asyncio.get_running_loop() is loop
            with pytest.raises(ZeroDivisionError):
                pool.process(lambda: 1 // 0)
            assert asyncio.get_running_loop() is loop
            await asyncio.sleep(0)

    with Pool(call, 1) as pool:
        asyncio.run(main())
