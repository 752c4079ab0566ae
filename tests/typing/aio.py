"""What checkers infer for `loomy.aio`, and for jobs in asyncio. Never run: see test_typing.py."""

from __future__ import annotations

import asyncio
from typing import assert_type

import loomy
import loomy.aio
from loomy import AsyncResult, MapIterator, Pool


def area(width: int, height: int = 1, *, unit: str = "m") -> str:
    raise NotImplementedError


async def the_signature_is_kept() -> None:
    assert_type(await loomy.aio.to_thread(area, 1), str)
    assert_type(await loomy.aio.to_thread(area, 1, height=2, unit="cm"), str)
    assert_type(await loomy.aio.to_thread(lambda: 1), int)


async def it_makes_a_task() -> None:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(loomy.aio.to_thread(area, 1))
    assert_type(task.result(), str)


async def results_are_gathered(pool: Pool[int, str]) -> None:
    assert_type(await asyncio.gather(pool.process_async(1), pool.process_async(2)), tuple[str, str])
    assert_type(await asyncio.gather(*[pool.process_async(1)]), list[str])
    assert_type(await asyncio.wait_for(pool.process_async(1), 5), str)


async def a_next_result_is_a_coroutine(results: MapIterator[str]) -> None:
    assert_type(await asyncio.create_task(anext(results)), str)
    assert_type(await asyncio.ensure_future(anext(results)), str)
    assert_type(await asyncio.gather(anext(results), anext(results)), tuple[str, str])


def a_loop_runs_until_a_result_is_complete(loop: asyncio.AbstractEventLoop, result: AsyncResult[str]) -> None:
    assert_type(loop.run_until_complete(result), str)
    assert_type(loop.run_until_complete(asyncio.ensure_future(result, loop=loop)), str)


async def a_result_has_what_a_future_has(result: AsyncResult[str], lengths: list[int]) -> None:
    result.add_done_callback(lambda ended: lengths.append(len(ended.result())))
    assert_type(result.get_loop(), asyncio.AbstractEventLoop)
    assert_type(result.remove_done_callback(print), int)


async def an_executor_is_installed(loop: asyncio.AbstractEventLoop, executor: loomy.Executor) -> None:
    assert_type(loomy.aio.install(), loomy.Executor)
    assert_type(loomy.aio.install(loop, executor), loomy.Executor)
