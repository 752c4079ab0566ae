"""Event loops inside jobs: what they wait for does not hold them up, and always has a slot to run on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from helpers import WAIT, Gate, identity, raise_it, wait_until
from loops import as_coroutine, soon

from loomy import Pool
from loomy.aio import _shared, to_thread

Call = Callable[[], Any]


@pytest.fixture(autouse=True)
def _close_the_shared_pools() -> Iterator[None]:
    yield
    shared: Any = _shared
    while shared is not None:
        shared.get().shutdown()
        shared = shared._nested


def call(payload: Call) -> Any:
    return payload()


def in_loop(main: Callable[[], Awaitable[Any]]) -> Call:
    """A job that runs a loop."""
    return lambda: asyncio.run(as_coroutine(main()))


async def open_soon(gate: Gate) -> None:
    """What another task does meanwhile: were the loop held up by a job at the gate, it would stay shut."""
    await asyncio.sleep(0.01)
    gate.open()


# to_thread


def test_to_thread_inside_to_thread_runs_on_other_threads() -> None:
    async def nested() -> None:
        with Gate() as gate:
            calls = [to_thread(lambda: (gate.block(0), threading.get_ident())) for _ in range(10)]
            results, _ = await asyncio.gather(asyncio.gather(*calls), open_soon(gate))
        assert threading.get_ident() not in [thread for _, thread in results]

    async def main() -> None:
        with Gate() as busy:
            others = [asyncio.create_task(to_thread(busy.block, 0)) for _ in range(_shared.get().size - 1)]
            await soon(lambda: _shared.get().running == len(others))
            await to_thread(in_loop(nested))
            busy.open()
            await asyncio.gather(*others)

    asyncio.run(main())


def test_as_many_loops_in_to_thread_as_there_are_threads() -> None:
    size = _shared.get().size
    all_there = threading.Barrier(size)

    async def nested() -> int:
        all_there.wait(WAIT)
        return await to_thread(identity, 3)

    async def main() -> list[Any]:
        return await asyncio.gather(*(to_thread(in_loop(nested)) for _ in range(size)))

    assert asyncio.run(main()) == [3] * size


def test_to_thread_ten_deep() -> None:
    async def level(depth: int) -> Any:
        return depth if depth == 10 else await to_thread(in_loop(lambda: level(depth + 1)))

    assert asyncio.run(level(0)) == 10


# A pool of one's own


def test_a_job_waits_for_a_slot_that_will_be_free() -> None:
    """Other tasks of the loop have their turns meanwhile, and while the job runs."""
    with Gate() as busy, Gate() as gate, Pool(call, size=2) as pool:
        pool.process_async(lambda: busy.block(0))
        busy.wait_entered()

        async def main() -> Any:
            job = asyncio.create_task(as_coroutine(pool.process_async(lambda: gate.block(7))))
            await asyncio.sleep(0.05)  # it has been looked for jobs that nobody else can run
            assert pool.queue_length == 1
            busy.open()
            await soon(lambda: pool.queue_length == 0)
            gate.open()
            return await job

        assert pool.process_async(in_loop(main)).wait(WAIT) == 7


async def await_it(pool: Pool[Call, Any], job: Call) -> list[Any]:
    return [await pool.process_async(job) for _ in range(3)]


async def gather_it(pool: Pool[Call, Any], job: Call) -> list[Any]:
    return await asyncio.gather(*(pool.process_async(job) for _ in range(3)))


async def batch_it(pool: Pool[Call, Any], job: Call) -> list[Any]:
    return (await pool.process_batch_async([job] * 3)).raise_for_errors()


async def map_it(pool: Pool[Call, Any], job: Call) -> list[Any]:
    return [result async for result in pool.map([job] * 3, buffer=2)]


async def map_it_unordered(pool: Pool[Call, Any], job: Call) -> list[Any]:
    return [result async for result in pool.map([job] * 3, buffer=2, ordered=False)]


WAYS = pytest.mark.parametrize("way", [await_it, gather_it, batch_it, map_it, map_it_unordered])


@WAYS
def test_on_a_pool_of_one_the_loop_runs_what_it_waits_for(way: Any) -> None:
    with Pool(call, size=1) as pool:
        outer = pool.process_async(in_loop(lambda: way(pool, lambda: 7)))
        assert outer.wait(WAIT) == [7, 7, 7]


@WAYS
def test_loops_on_every_slot_of_a_pool(way: Any) -> None:
    all_there = threading.Barrier(3)

    async def main() -> Any:
        all_there.wait(WAIT)
        return await way(pool, lambda: 7)

    with Pool(call, size=3) as pool:
        outer = [pool.process_async(in_loop(main)) for _ in range(3)]
        assert [result.wait(WAIT) for result in outer] == [[7, 7, 7]] * 3


@WAYS
def test_a_slot_that_comes_to_be_held_by_a_loop_while_another_loop_waits_for_it(way: Any) -> None:
    started = threading.Event()

    async def first() -> Any:
        started.set()
        return await way(pool, lambda: 7)

    def second() -> Any:
        started.wait(WAIT)
        wait_until(lambda: pool.queue_length > 0)
        return asyncio.run(as_coroutine(one))

    with Pool(call, size=2) as pool, Gate() as gate:
        other = pool.process_async(lambda: (gate.block(0), second())[1])
        gate.wait_entered()
        one = pool.process_async(in_loop(first))
        gate.open()
        assert other.wait(WAIT) == [7, 7, 7]


@WAYS
def test_two_pools_of_one_whose_loops_wait_for_each_other(way: Any) -> None:
    async def there() -> Any:
        return await way(other, in_loop(back))

    async def back() -> Any:
        return sum(await way(pool, lambda: 7))

    with Pool(call, size=1, name="here") as pool, Pool(call, size=1, name="there") as other:
        assert pool.process_async(in_loop(there)).wait(WAIT) == [21, 21, 21]


def test_loops_in_jobs_fifty_deep_on_one_slot() -> None:
    async def level(depth: int) -> Any:
        return depth if depth == 50 else await pool.process_async(in_loop(lambda: level(depth + 1)))

    with Pool(call, size=1) as pool:
        assert pool.process_async(in_loop(lambda: level(0))).wait(WAIT) == 50


def test_a_slot_is_an_ordinary_one_again_after_the_job_that_ran_a_loop() -> None:
    async def nested() -> Any:
        return await pool.process_async(lambda: 1)

    with Pool(call, size=2) as pool, Gate() as busy:
        results = [pool.process_async(in_loop(nested)) for _ in range(4)]
        assert [result.wait(WAIT) for result in results] == [1] * 4
        pool.process_async(lambda: busy.block(0))
        busy.wait_entered()

        async def main() -> None:
            job = asyncio.create_task(as_coroutine(pool.process_async(threading.get_ident)))
            await asyncio.sleep(0.05)
            assert not job.done()  # left to the other slot
            busy.open()
            assert await job != threading.get_ident()

        pool.process_async(in_loop(main)).wait(WAIT)


def test_what_a_job_that_a_loop_runs_raises_is_the_jobs() -> None:
    async def main() -> None:
        with pytest.raises(KeyError):
            await pool.process_async(lambda: raise_it(KeyError()))
        jobs: list[Any] = [pool.process_async(lambda: raise_it(KeyError())), pool.process_async(lambda: 2)]
        failed, result = await asyncio.gather(*jobs, return_exceptions=True)
        assert isinstance(failed, KeyError)
        assert result == 2

    with Pool(call, size=1) as pool:
        pool.process_async(in_loop(main)).wait(WAIT)
