"""Several event loops on one thread: one after another, one inside another."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

from helpers import identity
from loops import Run, in_every_loop

from loomy import Pool

T = TypeVar("T")


def run_inside(main: Coroutine[Any, Any, T]) -> T:
    """Runs another loop inside a step of a task of this thread's loop, as nest_asyncio does."""
    outer = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    inner = asyncio.new_event_loop()
    asyncio._set_running_loop(None)
    asyncio.tasks._leave_task(outer, task)
    try:
        return inner.run_until_complete(main)
    finally:
        inner.close()
        asyncio._set_running_loop(outer)
        asyncio.tasks._enter_task(outer, task)


def slowly(payload: int) -> int:
    time.sleep(0.003)  # nobody waits so long in place
    return payload


@in_every_loop
def test_a_loop_inside_another_awaits_for_itself(run: Run[None]) -> None:
    async def inner(pool: Pool[int, int]) -> int:
        first = await pool.process_async(1)
        return first + sum(await asyncio.gather(*(pool.process_async(i) for i in (2, 3))))

    async def main() -> None:
        with Pool(slowly, size=1) as pool:
            for _ in range(3):
                assert await pool.process_async(7) == 7
                assert run_inside(inner(pool)) == 6
                assert await pool.process_async(8) == 8

    run(main())


def test_loops_that_take_turns_on_a_thread() -> None:
    async def some(pool: Pool[int, int]) -> list[int]:
        return [await pool.process_async(i) for i in range(3)]

    loops = [asyncio.new_event_loop() for _ in range(2)]
    try:
        with Pool(slowly, size=1) as pool:
            for loop in loops * 3:
                assert loop.run_until_complete(some(pool)) == [0, 1, 2]
    finally:
        for loop in loops:
            loop.close()


def test_a_task_of_the_outer_loop_goes_on_after_the_inner_one() -> None:
    async def inner(pool: Pool[int, int]) -> int:
        return await pool.process_async(2)

    async def main() -> None:
        with Pool(slowly, size=1) as pool:
            waiting = asyncio.ensure_future(pool.process_async(1))
            await asyncio.sleep(0)
            assert run_inside(inner(pool)) == 2
            assert await waiting == 1

    asyncio.run(main())


def test_outside_of_any_loop_a_callback_is_the_threads_own_again() -> None:
    async def one(pool: Pool[int, int]) -> int:
        return await pool.process_async(1)

    with Pool(identity, size=1) as pool:
        assert asyncio.run(one(pool)) == 1
        called: list[int] = []
        result = pool.process_async(2)
        result.wait()
        result.add_done_callback(lambda ended: called.append(ended.wait()))
        assert called == [2]
