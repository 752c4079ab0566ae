"""`async for` over a map while the queue is full: the loop goes on, and the map when there is a place."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from helpers import WAIT, Gate, identity
from loops import Run, as_coroutine, in_every_loop, soon

from loomy import Context, JobCancelled, JobTimedOut, Pool, PoolFull, PoolNotRunning


@contextmanager
def full_pool(gate: Gate, **options: Any) -> Iterator[Pool[int, int]]:
    with Pool(gate.block, size=1, max_pending=1, **options) as pool, gate:
        held = pool.process_async(1)
        gate.wait_entered()
        pool.process_async(2)
        yield pool
        gate.open()
        assert held.wait(WAIT) == 1  # nobody waited in vain for the gate


async def collect(results: Any) -> list[int]:
    return [result async for result in results]


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("on_full", ["block", "caller_runs"])
@in_every_loop
def test_the_loop_goes_on_while_a_map_waits_for_a_place(run: Run[None], ordered: bool, on_full: Any) -> None:
    async def main() -> None:
        gate = Gate()

        async def open_soon() -> None:  # or never, were the loop held up
            await asyncio.sleep(0.01)
            gate.open()

        with full_pool(gate, on_full=on_full) as pool:
            results, _ = await asyncio.gather(collect(pool.map([3, 4, 5], ordered=ordered)), open_soon())
            assert sorted(results) == [3, 4, 5]

    run(main())


@in_every_loop
def test_cancelling_a_map_that_waits_for_a_place(run: Run[None]) -> None:
    async def main() -> None:
        threads = threading.active_count()
        with full_pool(Gate()) as pool:
            results = pool.map([3, 4, 5])
            task = asyncio.create_task(collect(results))
            await soon(lambda: threading.active_count() > threads + 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await soon(lambda: threading.active_count() == threads + 1)
            with pytest.raises(StopAsyncIteration):
                await anext(results)
            assert pool.queue_length == 1

    run(main())


def test_a_coroutine_that_is_closed_while_its_map_waits_for_a_place() -> None:
    async def main() -> None:
        threads = threading.active_count()
        with full_pool(Gate()) as pool:
            coroutine = collect(pool.map([3]))
            coroutine.send(None)
            coroutine.close()
            await soon(lambda: threading.active_count() == threads + 1)

    asyncio.run(main())


def test_the_timeout_of_a_map_that_waits_for_a_place() -> None:
    async def main() -> None:
        with full_pool(Gate()) as pool, pytest.raises(JobTimedOut):
            await asyncio.wait_for(collect(pool.map([3], timeout=0.05)), WAIT)

    asyncio.run(main())


def test_the_context_of_a_map_that_waits_for_a_place() -> None:
    async def main() -> None:
        context = Context()
        with full_pool(Gate()) as pool:
            task = asyncio.create_task(collect(pool.map([3], ctx=context)))
            await asyncio.sleep(0.02)
            context.cancel()
            with pytest.raises(JobCancelled):
                await asyncio.wait_for(task, WAIT)

    asyncio.run(main())


def test_a_pool_that_closes_while_a_map_waits_for_a_place() -> None:
    async def main() -> None:
        gate = Gate()
        with full_pool(gate) as pool:
            task = asyncio.create_task(collect(pool.map([3])))
            await asyncio.sleep(0.02)
            closer = threading.Thread(target=pool.close)
            closer.start()
            with pytest.raises(PoolNotRunning):
                await asyncio.wait_for(task, WAIT)
            gate.open()
            closer.join(WAIT)

    asyncio.run(main())


def test_a_pool_that_raises_when_it_is_full_does_so_here_too() -> None:
    async def main() -> None:
        with full_pool(Gate(), on_full="raise") as pool, pytest.raises(PoolFull):
            await collect(pool.map([3]))

    asyncio.run(main())


def test_several_maps_share_the_only_place() -> None:
    async def main() -> None:
        with Pool(identity, size=1, max_pending=0) as pool:
            maps = [collect(pool.map(range(i, i + 20))) for i in (0, 100, 200)]
            async with asyncio.timeout(WAIT):
                results = await asyncio.gather(*maps)
            assert results == [list(range(i, i + 20)) for i in (0, 100, 200)]

    asyncio.run(main())


def test_a_map_inside_a_job_that_has_the_only_slot_of_a_full_pool() -> None:
    def job(payload: int) -> Any:
        if payload != 0:
            return payload
        pool.process_async(1)  # now it is full
        return asyncio.run(as_coroutine(collect(pool.map([2, 3]))))

    with Pool(job, size=1, max_pending=1) as pool:
        assert pool.process_async(0).wait(WAIT) == [2, 3]
