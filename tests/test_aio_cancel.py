"""Cancelling a task reaches the jobs it waits for, many at once: those of a batch, and of an `async for`."""

from __future__ import annotations

import asyncio
import itertools
import signal
import threading
from contextlib import suppress
from typing import Any

import pytest
from helpers import WAIT, Background, Gate, identity, wait_until
from loops import Run, as_coroutine, in_every_loop, soon

import loomy
from loomy import Context, MapIterator, Pool


class Told:
    """Jobs that wait for their own cancellation, and say whether it came."""

    def __init__(self) -> None:
        self.started: list[int] = []
        self.outcomes: list[bool] = []
        self.end = threading.Event()

    def job(self, ctx: Context, payload: int) -> int:
        self.started.append(payload)
        for _ in range(int(WAIT / 0.01)):
            if self.end.is_set() or ctx.wait(0.01):
                break
        self.outcomes.append(ctx.cancelled)
        return payload


async def consume(results: MapIterator[int]) -> None:
    async for _ in results:
        pass


async def cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@in_every_loop
def test_cancelling_the_task_that_awaits_a_batch_reaches_the_items_that_run(run: Run[None]) -> None:
    told = Told()

    async def main() -> None:
        task = asyncio.create_task(as_coroutine(pool.process_batch_async(range(9))))
        await asyncio.sleep(0)  # a task that is cancelled before its first step awaits nothing
        await soon(lambda: len(told.started) == 2)
        await cancelled(task)
        await soon(lambda: told.outcomes == [True, True])

    with Pool(told.job, size=2, pass_context=True) as pool:
        run(main())
    assert len(told.started) == 2


def test_cancelling_the_result_of_a_batch_reaches_the_items_that_run() -> None:
    told = Told()
    with Pool(told.job, size=2, pass_context=True) as pool:
        result = pool.process_batch_async(range(9))
        asyncio.run(soon(lambda: len(told.started) == 2))
        assert result.cancel()
    assert (len(told.started), told.outcomes) == (2, [True, True])


def test_an_item_that_asks_for_its_context_after_the_batch_was_cancelled() -> None:
    with Gate() as gate:

        def job(payload: int) -> int:
            gate.block(payload)
            context = loomy.current_context()
            assert context is not None
            outcomes.append(context.cancelled)
            return payload

        outcomes: list[bool] = []
        with Pool(job, size=1) as pool:
            result = pool.process_batch_async(range(3))
            gate.wait_entered()
            assert result.cancel()
            gate.open()
    assert outcomes == [True]


def test_a_batch_that_ends_by_itself_cancels_no_context() -> None:
    contexts: list[Context] = []

    def job(ctx: Context, _: int) -> None:
        contexts.append(ctx)

    with Pool(job, size=2, pass_context=True) as pool:
        assert pool.process_batch(range(20)).ok
    assert not any(context.cancelled for context in contexts)


def test_ctrl_c_in_a_batch_reaches_the_items_that_others_run() -> None:
    told = Told()

    def job(ctx: Context, payload: int) -> int:
        if threading.current_thread() is not threading.main_thread():
            return told.job(ctx, payload)
        for _ in range(int(WAIT / 0.01)):
            if told.started:
                signal.raise_signal(signal.SIGINT)
            ctx.wait(0.01)
        return payload

    with Pool(job, size=2, pass_context=True) as pool, pytest.raises(KeyboardInterrupt):
        pool.process_batch(range(9))
    assert told.outcomes == [True]


@pytest.mark.parametrize("ordered", [True, False])
@in_every_loop
def test_cancelling_an_async_for_ends_all_that_it_has_begun(run: Run[None], ordered: bool) -> None:
    told = Told()

    async def main() -> None:
        results = pool.map(range(50), ordered=ordered, buffer=10)  # kept: collecting it would close it
        task = asyncio.create_task(consume(results))
        await soon(lambda: len(told.started) == 2)
        await cancelled(task)
        await soon(lambda: told.outcomes == [True, True])
        with pytest.raises(StopAsyncIteration):
            await anext(results)

    with Pool(told.job, size=2, pass_context=True) as pool:
        run(main())
        assert pool.queue_length == 0
    assert len(told.started) == 2


@in_every_loop
def test_cancelling_an_async_for_whose_results_are_there(run: Run[None]) -> None:
    """Its awaits do not suspend, but for a turn of the loop now and then: that is where it is cancelled."""
    told = Told()

    def job(ctx: Context, payload: int) -> int:
        return payload if payload < 1_000_000 else told.job(ctx, payload)

    async def main() -> None:
        payloads = itertools.chain([1_000_000], itertools.repeat(1))
        results = pool.map(payloads, ordered=False, buffer=4)
        task: asyncio.Task[None] = asyncio.create_task(consume(results))
        await soon(lambda: bool(told.started))
        await asyncio.sleep(0.01)
        await cancelled(task)
        await soon(lambda: told.outcomes == [True])

    with Pool(job, size=2, pass_context=True) as pool:
        run(main())


def test_closing_a_map_lets_what_runs_go_on() -> None:
    told = Told()

    async def main() -> None:
        results = pool.map(range(50), buffer=10)
        task = asyncio.create_task(consume(results))
        await soon(lambda: len(told.started) == 2)
        results.close()
        told.end.set()
        await soon(lambda: told.outcomes == [False, False])
        await asyncio.wait([task])

    with Pool(told.job, size=2, pass_context=True) as pool:
        asyncio.run(main())
    assert len(told.started) == 2


def test_closing_the_coroutine_of_an_async_for_closes_the_map() -> None:
    told = Told()

    async def main() -> None:
        results = pool.map(range(50), buffer=10)
        coroutine = consume(results)
        coroutine.send(None)
        await soon(lambda: len(told.started) == 2)
        coroutine.close()
        assert pool.queue_length == 0
        told.end.set()
        await soon(lambda: told.outcomes == [False, False])

    with Pool(told.job, size=2, pass_context=True) as pool:
        asyncio.run(main())


def test_a_second_task_in_the_same_map_is_refused_and_leaves_it_alone() -> None:
    async def main() -> None:
        def payloads() -> Any:
            yield 1
            with pytest.raises(ValueError, match="being advanced"):
                as_coroutine(anext(results)).send(None)
            yield 2

        results = pool.map(payloads(), buffer=1)
        assert [result async for result in results] == [1, 2]

    with Pool(identity, size=1) as pool:
        asyncio.run(main())


def test_cancelling_an_async_for_over_a_map_that_a_thread_is_advancing() -> None:
    async def main() -> None:
        with Gate() as gate, Pool(gate.block, size=1) as pool:
            results = pool.map([1, 2], buffer=1)
            task = asyncio.create_task(consume(results))
            await soon(lambda: pool.running == 1)
            thread = Background(lambda: advance(results))
            wait_until(lambda: is_advancing(results))
            await cancelled(task)
            gate.open()
            assert thread.result() == 1
            results.close()

    def advance(results: MapIterator[int]) -> int:
        while True:
            with suppress(ValueError):  # it comes while is_advancing looks
                return next(results)

    def is_advancing(results: MapIterator[int]) -> bool:
        try:
            results.__anext__().close()
        except ValueError:
            return True
        return False

    asyncio.run(main())
