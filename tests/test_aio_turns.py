"""Awaiting jobs and the event loop's turns: nobody is starved, nothing is lost, little is spent."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from helpers import WAIT, Background, Gate, double, identity, wait_until
from loops import Run, as_coroutine, in_every_loop, soon

from loomy import Pool

Stop = Callable[[], bool]

# Starvation. None of these lets go of the loop by itself: it goes on until somebody else has had a turn.


async def await_short_jobs(pool: Pool[int, int], stop: Stop) -> None:
    while not stop():
        assert await pool.process_async(3) == 3


async def await_a_result_that_is_there(pool: Pool[int, int], stop: Stop) -> None:
    result = pool.process_async(3)
    result.wait(WAIT)
    while not stop():
        assert await result == 3


async def await_short_batches(pool: Pool[int, int], stop: Stop) -> None:
    while not stop():
        assert (await pool.process_batch_async([3])).results == [3]


async def iterate_over_a_map(pool: Pool[int, int], stop: Stop) -> None:
    def payloads() -> Any:
        while not stop():
            yield 3

    async for result in pool.map(payloads(), buffer=4):
        assert result == 3


async def gather_jobs(pool: Pool[int, int], stop: Stop) -> None:
    while not stop():
        assert await asyncio.gather(*[pool.process_async(3), pool.process_async(4)]) == [3, 4]


GREEDY = pytest.mark.parametrize(
    "greedy",
    [await_short_jobs, await_a_result_that_is_there, await_short_batches, iterate_over_a_map, gather_jobs],
)


def within(seconds: float, other: Callable[[], bool]) -> Stop:
    """True once `other()` is, or after a time in which anybody not starved has had a turn."""
    end = time.monotonic() + seconds
    return lambda: other() or time.monotonic() > end


@GREEDY
@in_every_loop
def test_timers_are_not_starved(run: Run[None], greedy: Any) -> None:
    async def main() -> None:
        ticked = threading.Event()
        with Pool(identity, size=1) as pool:
            asyncio.get_running_loop().call_later(0.005, ticked.set)
            await greedy(pool, within(WAIT, ticked.is_set))
        assert ticked.is_set()

    run(main())


@GREEDY
@in_every_loop
def test_other_tasks_are_not_starved(run: Run[None], greedy: Any) -> None:
    async def main() -> None:
        turns = 0

        async def other() -> None:
            nonlocal turns
            while turns < 20:
                await asyncio.sleep(0)
                turns += 1

        with Pool(identity, size=1) as pool:
            task = asyncio.create_task(other())
            await greedy(pool, within(WAIT, lambda: turns == 20))
            assert turns == 20
            await task

    run(main())


@GREEDY
@in_every_loop
def test_sockets_are_not_starved(run: Run[None], greedy: Any) -> None:
    async def main() -> None:
        got: list[bytes] = []
        ours, theirs = socket.socketpair()
        with ours, theirs, Pool(identity, size=1) as pool:
            ours.setblocking(False)
            loop = asyncio.get_running_loop()
            loop.add_reader(ours, lambda: got.append(ours.recv(10)))
            theirs.send(b"hello")
            await greedy(pool, within(WAIT, lambda: bool(got)))
            loop.remove_reader(ours)
        assert got == [b"hello"]

    run(main())


@GREEDY
@in_every_loop
def test_calls_from_other_threads_are_not_starved(run: Run[None], greedy: Any) -> None:
    async def main() -> None:
        called = threading.Event()
        loop = asyncio.get_running_loop()
        with Pool(identity, size=1) as pool:
            caller = Background(lambda: loop.call_soon_threadsafe(called.set))
            await greedy(pool, within(WAIT, called.is_set))
            caller.result()
        assert called.is_set()

    run(main())


@GREEDY
def test_a_timeout_ends_a_task_that_never_lets_go(greedy: Any) -> None:
    async def main() -> None:
        with Pool(identity, size=1) as pool:
            ended = within(WAIT, lambda: False)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await greedy(pool, ended)
            assert not ended()

    asyncio.run(main())


def test_two_greedy_tasks_take_turns() -> None:
    async def main() -> None:
        done = [0, 0]

        async def greedy(pool: Pool[int, int], index: int) -> None:
            stop = within(WAIT, lambda: min(done) >= 100)
            while not stop():
                await pool.process_async(1)
                done[index] += 1

        with Pool(identity, size=1) as pool:
            await asyncio.gather(greedy(pool, 0), greedy(pool, 1))
        assert min(done) >= 100

    asyncio.run(main())


# Wake-ups


def counted_wakes(loop: asyncio.AbstractEventLoop) -> list[int]:
    count = [0]
    original = loop.call_soon_threadsafe

    def call_soon_threadsafe(*args: Any, **options: Any) -> Any:
        count[0] += 1
        return original(*args, **options)

    loop.call_soon_threadsafe = call_soon_threadsafe  # type: ignore[method-assign, assignment]
    return count


def test_completions_for_one_loop_cost_one_wake_up() -> None:
    async def main() -> None:
        wakes = counted_wakes(asyncio.get_running_loop())
        called: list[int] = []
        with Gate() as gate, Pool(gate.block, size=2) as pool:
            results = [pool.process_async(i) for i in range(1000)]
            for result in results:
                result.add_done_callback(lambda ended: called.append(ended.wait()))
            gate.open()
            for result in results:
                result.wait(WAIT)  # the loop is not running meanwhile
            wait_until(lambda: wakes[0] >= 1)  # whoever waits is told first, and then the loop
            assert (wakes, called) == ([1], [])
            await soon(lambda: len(called) == 1000)
            assert sorted(called) == list(range(1000))

    asyncio.run(main())


def test_what_ends_while_the_loop_takes_what_has_ended_is_not_lost() -> None:
    async def main() -> None:
        wakes = counted_wakes(asyncio.get_running_loop())
        called: list[int] = []
        with Gate() as gate, Pool(identity, size=1) as pool, Pool(gate.block, size=1) as held:
            first, second = pool.process_async(1), held.process_async(2)

            def take_the_first(_: object) -> None:
                gate.open()
                assert second.wait(WAIT) == 2
                # its runner tells first whoever waits, and then the loop
                end = time.monotonic() + WAIT
                while wakes[0] < 2 and time.monotonic() < end:
                    time.sleep(0.001)
                called.append(1)

            second.add_done_callback(lambda _: called.append(2))
            first.add_done_callback(take_the_first)
            await soon(lambda: len(called) == 2)
            assert (wakes, called) == ([2], [1, 2])

    asyncio.run(main())


@in_every_loop
def test_no_wake_up_is_lost_whenever_jobs_end(run: Run[None]) -> None:
    """Jobs of many lengths, from none to far longer than anybody waits in place, in many tasks."""

    def job(payload: int) -> int:
        if payload % 5:
            time.sleep((payload * 37 % 100) * 1e-6)
        return payload

    async def one(pool: Pool[int, int], seed: int) -> None:
        for i in range(100):
            async with asyncio.timeout(WAIT):
                assert await pool.process_async(i * seed) == i * seed

    async def main() -> None:
        with Pool(job, size=3) as pool:
            await asyncio.gather(*(one(pool, seed) for seed in range(1, 8)))

    run(main())


def test_a_wake_up_that_fails_is_made_up_for_by_the_next() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        original = loop.call_soon_threadsafe
        failures = 0

        def fail_once(*args: Any, **options: Any) -> Any:
            nonlocal failures
            failures += 1
            if failures == 1:
                raise MemoryError
            return original(*args, **options)

        loop.call_soon_threadsafe = fail_once  # type: ignore[method-assign, assignment]
        called: list[int] = []
        with Pool(identity, size=1) as pool:
            for i in range(2):
                result = pool.process_async(i)
                result.add_done_callback(lambda ended: called.append(ended.wait()))
                result.wait(WAIT)
            await soon(lambda: len(called) == 2)
            assert called == [0, 1]

    reports: list[Any] = []
    previous, sys.unraisablehook = sys.unraisablehook, reports.append
    try:
        asyncio.run(main())
    finally:
        sys.unraisablehook = previous
    assert [report.exc_type for report in reports] == [MemoryError]


# Waiting in place


def test_a_short_job_need_not_cost_a_turn_of_the_loop() -> None:
    async def main() -> None:
        with Pool(double, size=1) as pool:
            end = time.monotonic() + WAIT
            answer = 0
            while answer == 0 and time.monotonic() < end:
                step = as_coroutine(pool.process_async(2))
                try:
                    step.send(None)
                except StopIteration as stop:
                    answer = stop.value
                step.close()
                await asyncio.sleep(0)
            assert answer == 4, "every await suspended"

    asyncio.run(main())


@in_every_loop
def test_jobs_of_several_tasks_run_at_the_same_time(run: Run[None]) -> None:
    async def main() -> None:
        barrier = threading.Barrier(2)

        def job(_: int) -> int:
            return barrier.wait(WAIT)

        with Pool(job, size=2) as pool:
            tasks = [asyncio.create_task(as_coroutine(pool.process_async(i))) for i in range(2)]
            assert sorted(await asyncio.gather(*tasks)) == [0, 1]

    run(main())
