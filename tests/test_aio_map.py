"""`anext()` of a map is what an async generator's is, whether its result is there already or not."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from helpers import WAIT, Gate, double, identity, wait_until
from loops import Run, in_every_loop

from loomy import MapIterator, Pool

# Each takes the awaitable as it is, and gives what it gives.
WAYS: dict[str, Callable[[Any], Awaitable[Any]]] = {
    "gather": lambda following: first_of(asyncio.gather(following)),
    "wait_for": lambda following: asyncio.wait_for(following, 30),
    "ensure_future": asyncio.ensure_future,
    "create_task": asyncio.create_task,
    "shield": asyncio.shield,
    "as_completed": lambda following: next(asyncio.as_completed([following])),
}
IN_EVERY_WAY = pytest.mark.parametrize("way", WAYS)


async def first_of(gathered: Awaitable[Any]) -> Any:
    return (await gathered)[0]


async def generator() -> AsyncIterator[int]:
    for i in range(3):
        yield 2 * i


@IN_EVERY_WAY
@in_every_loop
def test_a_next_result_that_is_there_is_a_coroutine_to_asyncio(run: Run[None], way: str) -> None:
    async def main() -> None:
        with Pool(double, size=1) as pool:
            for iterator in (generator(), pool.map(range(3))):
                got = [await anext(iterator)]
                wait_until(lambda: pool.running == pool.queue_length == 0)  # of the map: the others are there
                following = anext(iterator)
                assert asyncio.iscoroutine(following)
                assert not asyncio.isfuture(following)
                got.append(await WAYS[way](following))
                got.append(await WAYS[way](anext(iterator, None)))
                got.append(await WAYS[way](anext(iterator, None)))
                assert got == [0, 2, 4, None]

    run(main())


@IN_EVERY_WAY
@in_every_loop
def test_a_next_result_that_is_not_there_yet_is_a_coroutine_to_asyncio(run: Run[None], way: str) -> None:
    async def main() -> None:
        with Gate() as gate, Pool(gate.block, size=1) as pool:
            following = anext(pool.map([7]))
            assert asyncio.iscoroutine(following)
            assert not asyncio.isfuture(following)
            asyncio.get_running_loop().call_later(0.01, gate.open)
            assert await WAYS[way](following) == 7

    run(main())


@in_every_loop
def test_two_maps_side_by_side(run: Run[None]) -> None:
    async def main() -> None:
        with Pool(identity, size=2) as pool:
            one, two = pool.map(range(50)), pool.map(range(50))
            for i in range(50):
                if i % 2 == 0:  # now they are there, now they may not be
                    wait_until(lambda: pool.running == pool.queue_length == 0)
                assert list(await asyncio.gather(anext(one), anext(two))) == [i, i]

    run(main())


@in_every_loop
def test_iterators_are_merged_as_their_results_come(run: Run[None]) -> None:
    async def merge(*iterators: AsyncIterator[int]) -> AsyncIterator[int]:
        following = {asyncio.ensure_future(anext(iterator)): iterator for iterator in iterators}
        while following:
            ended, _ = await asyncio.wait(following, return_when=asyncio.FIRST_COMPLETED)
            for one in ended:
                iterator = following.pop(one)
                try:
                    yield one.result()
                except StopAsyncIteration:
                    continue
                following[asyncio.ensure_future(anext(iterator))] = iterator

    async def main() -> None:
        with Pool(double, size=2) as pool:
            maps: list[MapIterator[int]] = [pool.map(range(20)), pool.map(range(20), ordered=False)]
            merged = [result async for result in merge(generator(), *maps)]
            assert sorted(merged) == sorted([*range(0, 6, 2), *range(0, 40, 2), *range(0, 40, 2)])

    run(main())


def test_cancelling_a_task_made_of_a_next_result_ends_the_map() -> None:
    async def main() -> None:
        with Pool(identity, size=1) as pool:
            results = pool.map(range(9))
            assert await anext(results) == 0
            wait_until(lambda: pool.running == pool.queue_length == 0)
            task = asyncio.ensure_future(anext(results))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            with pytest.raises(StopAsyncIteration):
                await anext(results)

    asyncio.run(main())


# StopAsyncIteration of others is not the end.


@pytest.mark.parametrize("is_there", [True, False])
@pytest.mark.parametrize("ordered", [True, False])
@in_every_loop
def test_a_job_that_raises_stop_async_iteration_does_not_end_the_iteration(
    run: Run[None], ordered: bool, is_there: bool
) -> None:
    door = threading.Event()

    def job(payload: int) -> int:
        if payload == 1:
            assert door.wait(WAIT)
            raise StopAsyncIteration(payload)
        return payload

    got: list[int] = []

    async def consume(pool: Pool[int, int], results: MapIterator[int]) -> None:
        async for result in results:
            got.append(result)
            if is_there:
                door.set()
                wait_until(lambda: pool.running == pool.queue_length == 0)
            else:
                asyncio.get_running_loop().call_later(0.01, door.set)

    async def main() -> None:
        with Pool(job, size=1) as pool:
            results = pool.map(range(3), ordered=ordered)
            with pytest.raises(RuntimeError, match="StopAsyncIteration") as caught:
                await consume(pool, results)
            assert isinstance(caught.value.__cause__, StopAsyncIteration)
            with pytest.raises(StopAsyncIteration):
                await anext(results)
        assert got == [0]

    run(main())


@in_every_loop
def test_payloads_that_raise_stop_async_iteration_do_not_end_the_iteration(run: Run[None]) -> None:
    def payloads() -> Iterator[int]:
        yield 1
        raise StopAsyncIteration

    async def main() -> None:
        with Pool(identity, size=1) as pool:
            for first in (True, False):  # raised as the first thing, and after a result
                results = pool.map(payloads() if not first else map(stop, [1]))
                with pytest.raises(RuntimeError, match="StopAsyncIteration") as caught:
                    assert [await anext(results), await anext(results)] == []
                assert isinstance(caught.value.__cause__, StopAsyncIteration)

    def stop(_: int) -> int:
        raise StopAsyncIteration

    run(main())
