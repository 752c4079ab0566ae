"""An exception of a job that nobody retrieved is logged once, and no other."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from helpers import WAIT, Gate, fail_on_negative, unraisable_errors, wait_until
from loops import Run, as_coroutine, in_every_loop, soon

from loomy import AsyncResult, Executor, Pool


def unretrieved(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "loomy" and record.levelno == logging.ERROR]


def test_exception_nobody_retrieved_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    with Pool(fail_on_negative, size=1) as pool:
        result = pool.process_async(-41)
        wait_until(result.done)
        del result
        gc.collect()
        wait_until(lambda: bool(unretrieved(caplog)), "the report")
    gc.collect()
    assert len(unretrieved(caplog)) == 1
    assert "negative: -41" in caplog.text


def test_exception_of_a_result_dropped_before_its_job_ended_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Gate() as gate:

        def job(payload: int) -> int:
            gate.block(payload)
            raise ValueError("unheard")

        with Pool(job, size=1) as pool:
            pool.process_async(1)
            gate.wait_entered()
            gate.open()
    wait_until(lambda: gc.collect() >= 0 and bool(unretrieved(caplog)), "the report")
    assert len(unretrieved(caplog)) == 1


def test_exception_that_was_retrieved_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    with Pool(fail_on_negative, size=1) as pool:
        result = pool.process_async(-1)
        assert isinstance(result.exception(WAIT), ValueError)
        other = pool.process_async(-2)
        with pytest.raises(ValueError, match="negative"):
            other.wait(WAIT)
        del result, other
        gc.collect()
    gc.collect()
    assert unretrieved(caplog) == []


def test_cancelled_result_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    with Gate() as gate, Pool(gate.block, size=1) as pool:
        pool.process_async(1)
        gate.wait_entered()
        queued = pool.process_async(2)
        queued.cancel()
        del queued
        gc.collect()
        gate.open()
    gc.collect()
    assert unretrieved(caplog) == []


def test_unretrieved_exception_that_cannot_be_shown_is_still_reported(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Shy(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

        __repr__ = __str__

    def job(_: int) -> int:
        raise Shy

    with unraisable_errors() as reported, Pool(job, size=1) as pool:
        result = pool.process_async(1)
        wait_until(result.done)
        del result
        gc.collect()
    gc.collect()
    assert reported == []
    assert len(unretrieved(caplog)) == 1


async def never_awaited(pool: Pool[int, int]) -> AsyncResult[int]:
    return pool.process_async(-1)


DROPPED: dict[str, Callable[[Pool[int, int]], object]] = {
    "process_async": lambda pool: pool.process_async(-1),
    "process_async with a timeout": lambda pool: pool.process_async(-1, timeout=WAIT),
    "try_process_async": lambda pool: pool.try_process_async(-1),
    "process_async in a loop": lambda pool: asyncio.run(never_awaited(pool)),
}


@pytest.mark.parametrize("way", DROPPED)
def test_exception_nobody_retrieved_is_logged_whichever_way_its_job_came(
    way: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Pool(fail_on_negative, size=1) as pool:
        DROPPED[way](pool)
    wait_until(lambda: gc.collect() >= 0 and bool(unretrieved(caplog)), "the report")
    gc.collect()
    assert len(unretrieved(caplog)) == 1


def test_panic_nobody_retrieved_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    def job(_: int) -> int:
        raise SystemExit(3)

    with Pool(job, size=1) as pool:
        pool.process_async(1)
    wait_until(lambda: gc.collect() >= 0 and bool(unretrieved(caplog)), "the report")
    assert len(unretrieved(caplog)) == 1


def take_one(results: Any) -> None:
    with suppress(ValueError):
        next(results)


async def awaited(pool: Pool[int, int]) -> None:
    with suppress(ValueError):
        await pool.process_async(-1)


def suppressed(call: Callable[[], object]) -> None:
    with suppress(ValueError):
        call()


# The caller has the error, or has said that it does not want it.
HEARD: dict[str, Callable[[Pool[int, int]], object]] = {
    "process": lambda pool: suppressed(lambda: pool.process(-1)),
    "process with a timeout": lambda pool: suppressed(lambda: pool.process(-1, timeout=WAIT)),
    "await": lambda pool: asyncio.run(awaited(pool)),
    "process_batch": lambda pool: pool.process_batch([-1, -2]),
    "process_batch_async": lambda pool: pool.process_batch_async([-1, -2]).wait(WAIT),
    "map": lambda pool: take_one(pool.map([-1, -2, -3])),
    "map that nobody took from": lambda pool: pool.map([-1, -2, -3]),
    "unordered map": lambda pool: take_one(pool.map([-1, -2, -3], ordered=False)),
}


@pytest.mark.parametrize("affinity", ["any", "worker"])
@pytest.mark.parametrize("way", HEARD)
def test_exception_that_its_caller_has_is_not_logged(
    way: str, affinity: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with Pool(fail_on_negative, size=2, affinity=affinity) as pool:
        HEARD[way](pool)
    gc.collect()
    assert unretrieved(caplog) == []


# A task whose cancellation comes at the same time as the job's failure: it is told of the cancellation, and
# nobody can look at the error any more. asyncio says nothing of its futures there.


async def wait_with_timeout(result: AsyncResult[int]) -> None:
    async with asyncio.timeout(0.1):
        await result


async def wait_with_wait_for(result: AsyncResult[int]) -> None:
    await asyncio.wait_for(result, 0.1)


async def wait_for_coroutine(result: AsyncResult[int]) -> None:
    await asyncio.wait_for(as_coroutine(result), 0.1)


@pytest.mark.parametrize("wait", [wait_with_timeout, wait_with_wait_for, wait_for_coroutine])
@in_every_loop
def test_exception_of_a_job_that_fails_as_a_timeout_passes_is_not_logged(
    run: Run[None], wait: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        with Gate() as gate:

            def job(payload: int) -> int:
                gate.block(payload)
                raise ValueError("too late")

            with Pool(job, size=1) as pool:
                task = asyncio.create_task(wait(pool.process_async(1)))
                await asyncio.sleep(0)  # a task that has not begun yet waits for nothing
                await soon(lambda: pool.running == 1)

                def fail() -> None:
                    gate.open()
                    wait_until(lambda: pool.running == 0)

                # Both timers are due in the same turn: the job fails, then the timeout passes, and only in
                # the next turn the loop hears of the job.
                asyncio.get_running_loop().call_later(0, fail)
                time.sleep(0.15)
                with pytest.raises((TimeoutError, ValueError)):
                    await task

    run(main())
    gc.collect()
    assert unretrieved(caplog) == []


@in_every_loop
def test_exception_of_a_job_that_failed_before_its_task_was_cancelled_is_not_logged(
    run: Run[None], caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        with Gate() as gate:

            def job(payload: int) -> int:
                gate.block(payload)
                raise ValueError("first")

            with Pool(job, size=1) as pool:
                task = asyncio.create_task(as_coroutine(pool.process_async(1)))
                await asyncio.sleep(0)  # a task that has not begun yet waits for nothing
                await soon(lambda: pool.running == 1)
                gate.wait_entered()
                gate.open()
                wait_until(lambda: pool.running == 0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task

    run(main())
    gc.collect()
    assert unretrieved(caplog) == []


def test_exception_of_a_job_whose_task_is_cancelled_in_a_turn_before_it_looks_is_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def look(pool: Pool[int, int]) -> None:
        good, failed = pool.process_async(1), pool.process_async(-1)
        wait_until(lambda: good.done() and failed.done())
        await good  # from now on a task may go on without suspending for so long
        time.sleep(0.01)
        await failed

    async def main() -> None:
        with Pool(fail_on_negative, size=1) as pool:
            task = asyncio.create_task(look(pool))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    gc.collect()
    assert unretrieved(caplog) == []


@pytest.mark.parametrize("look", ["submit", "map"])
def test_exception_of_an_executor_is_not_logged_as_with_the_standard_librarys(
    look: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Executor(2) as executor:
        if look == "submit":
            executor.submit(fail_on_negative, -1)
        else:
            executor.map(fail_on_negative, [-1, -2])
    gc.collect()
    assert caplog.records == []


def test_exception_that_many_references_had_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    with Pool(fail_on_negative, size=1) as pool:
        results = [pool.process_async(-1)] * 3
        results[0].add_done_callback(results.append)  # it saw the result and not the exception
        wait_until(results[0].done)
    del results
    wait_until(lambda: gc.collect() >= 0 and bool(unretrieved(caplog)), "the report")
    assert len(unretrieved(caplog)) == 1


def test_exception_in_a_cycle_with_its_result_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    with Pool(fail_on_negative, size=1) as pool:
        holder: dict[str, object] = {}
        holder["self"] = holder
        holder["result"] = pool.process_async(-1)
        del holder
    wait_until(lambda: gc.collect() >= 0 and bool(unretrieved(caplog)), "the report")
    assert len(unretrieved(caplog)) == 1
    assert isinstance(unretrieved(caplog)[0].exc_info, tuple)
