"""What checkers infer for results, batches, iterators and contexts. Never run: see test_typing.py."""

from __future__ import annotations

from typing import Any, assert_type

import loomy
from loomy import AsyncResult, BatchResult, Context, Histogram, MapIterator, Pool, PoolStats


async def a_result_is_waited_for_or_awaited(result: AsyncResult[str]) -> None:
    assert_type(result.wait(), str)
    assert_type(result.result(timeout=0.5), str)
    assert_type(await result, str)
    assert_type(result.exception(), BaseException | None)
    assert_type(result.done(), bool)
    assert_type(result.running(), bool)
    assert_type(result.cancelled(), bool)
    assert_type(result.cancel(), bool)


def callbacks_get_the_result_with_its_type(result: AsyncResult[str], lengths: list[int]) -> None:
    result.add_done_callback(lambda ended: lengths.append(len(ended.wait())))


def a_result_stands_for_a_wider_one(result: AsyncResult[bool]) -> AsyncResult[int]:
    return result


def a_batch_unpacks_into_two_lists(batch: BatchResult[str]) -> None:
    results, errors = batch
    assert_type(results, list[str | None])
    assert_type(errors, list[BaseException | None])
    assert_type(batch.results, list[str | None])
    assert_type(batch.errors, list[BaseException | None])
    assert_type(batch.ok, bool)
    assert_type(batch.raise_for_errors(), list[str])


async def a_batch_is_awaited_like_a_job(pool: Pool[int, str]) -> None:
    results, errors = await pool.process_batch_async([1, 2])
    assert_type(results, list[str | None])
    assert_type(errors, list[BaseException | None])


async def a_map_is_iterated_both_ways(results: MapIterator[str]) -> None:
    for result in results:
        assert_type(result, str)
    async for result in results:
        assert_type(result, str)
    assert_type(next(results), str)
    with results as entered:
        assert_type(entered, MapIterator[str])


def contexts_derive(ctx: Context) -> None:
    with Context(timeout=5.0) as root, root.with_timeout(1) as child:
        assert_type(child, Context)
    assert_type(ctx.with_deadline(1.0).with_cancel().with_value("key", 1), Context)
    assert_type(ctx.deadline, float | None)
    assert_type(ctx.remaining(), float | None)
    assert_type(ctx.cancelled, bool)
    assert_type(ctx.err(), loomy.JobCancelled | loomy.DeadlineExceeded | None)
    assert_type(ctx.value("key"), Any)
    assert_type(ctx.wait(0.1), bool)
    assert_type(ctx.on_cancel(lambda: 7), loomy.CancelHandle)
    assert_type(loomy.current_context(), Context | None)
    assert_type(loomy.current_worker_id(), int | None)


def statistics_are_typed(pool: Pool[int, str]) -> None:
    assert_type(pool.stats(), PoolStats)
    assert_type(pool.stats().submitted, int)
    assert_type(pool.stats().queue_wait, Histogram)
    assert_type(pool.stats().queue_wait.percentile(99), float)


def size_is_read_and_assigned(pool: Pool[int, str]) -> None:
    assert_type(pool.size, int)
    pool.size = 3
    pool.set_size(4, wait=False)
