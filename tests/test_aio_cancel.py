"""Cancelling a task reaches the jobs of a batch that it waits for."""

from __future__ import annotations

import asyncio
import signal
import threading
from typing import Any

import pytest
from helpers import WAIT, Gate
from loops import Run, as_coroutine, in_every_loop, soon

import loomy
from loomy import Context, Pool


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


async def cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@in_every_loop
def test_cancelling_the_task_that_awaits_a_batch_reaches_the_items_that_run(run: Run[None]) -> None:
    told = Told()

    async def main() -> None:
        task = asyncio.create_task(as_coroutine(pool.process_batch_async(range(9))))
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
    with Pool(lambda ctx, _: contexts.append(ctx), size=2, pass_context=True) as pool:
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

    with Pool(job, size=2, pass_context=True) as pool:
        with pytest.raises(KeyboardInterrupt):
            pool.process_batch(range(9))
    assert told.outcomes == [True]
