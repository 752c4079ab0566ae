"""Several event loops on one thread: one after another, one inside another, one inside itself."""

from __future__ import annotations

import asyncio
import gc
import heapq
import threading
import time
import weakref
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest
from helpers import WAIT, Background, Gate, identity, wait_until
from loops import Run, in_every_loop, soon

from loomy import AsyncResult, Pool

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


# One inside itself: a step of a task runs the loop, as with nest_asyncio in a notebook.


class Nestable(asyncio.SelectorEventLoop):
    """A loop of which `_run_once` may be called inside what it calls."""

    _ready: Any
    _scheduled: list[Any]
    _selector: Any
    _process_events: Any

    def _run_once(self) -> None:
        soonest = max(0.0, self._scheduled[0].when() - self.time()) if self._scheduled else WAIT
        self._process_events(self._selector.select(0 if self._ready else soonest))
        while self._scheduled and self._scheduled[0].when() <= self.time():
            self._ready.append(heapq.heappop(self._scheduled))
        for _ in range(len(self._ready)):
            if not self._ready:
                break  # called by a loop inside
            handle = self._ready.popleft()
            if not handle.cancelled():
                handle._run()

    def run_inside(self, condition: Callable[[], bool]) -> None:
        """Runs the loop inside a step of a task, or in a callback."""
        task = asyncio.current_task()
        if task is not None:
            asyncio.tasks._leave_task(self, task)
        end = self.time() + WAIT
        timer = self.call_later(WAIT, int)  # so that a turn in which nothing happens ends
        while not condition() and self.time() < end:
            self._run_once()
        timer.cancel()
        if task is not None:
            asyncio.tasks._enter_task(self, task)
        assert condition()


def in_a_nestable_loop(main: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=Nestable) as runner:
        runner.run(main)


def end_together(gate: Gate, results: list[AsyncResult[int]]) -> None:
    """Blocks the loop until it has been told of all of them, so that it finds them at once.

    That a result can be had does not mean that the loop was told of it; callbacks are called in order.
    """
    told = threading.Semaphore(0)

    def add() -> None:
        for result in results:
            result.add_done_callback(lambda _: told.release())

    Background(add).result()
    gate.open()
    for _ in results:
        assert told.acquire(timeout=WAIT)


def test_a_loop_inside_itself_awaits_what_ended_together_with_what_it_is_inside_of() -> None:
    order: list[int] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Nestable)
        with Gate() as gate, Pool(gate.block, size=1) as pool:
            results = [pool.process_async(i) for i in range(5)]

            async def one(index: int) -> None:
                assert await results[index] == index
                # The first waits for the third, and so on: a loop inside a loop inside a loop.
                if index + 2 < 5:
                    loop.run_inside(tasks[index + 2].done)
                order.append(index)

            tasks = [asyncio.create_task(one(index)) for index in range(5)]
            await asyncio.sleep(0)
            end_together(gate, results)
            await asyncio.gather(*tasks)

    in_a_nestable_loop(main())
    assert sorted(order) == list(range(5))
    assert order.index(4) < order.index(2) < order.index(0)
    assert order.index(3) < order.index(1)


def test_callbacks_of_what_ended_together_are_called_once_each_in_order() -> None:
    called: list[int] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Nestable)
        with Gate() as gate, Pool(gate.block, size=1) as pool:
            results = [pool.process_async(i) for i in range(6)]

            def call(ended: AsyncResult[int]) -> None:
                called.append(ended.wait())
                if called[-1] == 1:
                    later = pool.process_async(6)  # arrives while the rest has been taken
                    later.add_done_callback(call)
                    later.wait(WAIT)
                    loop.run_inside(lambda: len(called) == 7)

            for result in results:
                result.add_done_callback(call)
            end_together(gate, results)
            await soon(lambda: len(called) == 7)

    in_a_nestable_loop(main())
    assert called == list(range(7))


def test_the_rest_is_called_when_a_loop_inside_is_left_by_an_exception() -> None:
    called: list[int] = []
    loop = Nestable()

    async def main(gate: Gate, pool: Pool[int, int]) -> None:
        results = [pool.process_async(i) for i in range(5)]

        def call(ended: AsyncResult[int]) -> None:
            called.append(ended.wait())
            if called[-1] == 0:
                loop.run_inside(lambda: False)
            if called[-1] == 2:
                raise SystemExit(2)

        for result in results:
            result.add_done_callback(call)
        end_together(gate, results)
        await soon(lambda: len(called) == 5)

    with Gate() as gate, Pool(gate.block, size=1) as pool:
        task = loop.create_task(main(gate, pool))
        with pytest.raises(SystemExit):
            loop.run_until_complete(task)
        assert called == [0, 1, 2]
        loop.run_until_complete(task)
    loop.close()
    assert called == list(range(5))


def test_a_loop_that_is_closed_in_the_middle_of_what_arrived_is_not_kept() -> None:
    class Holder:
        pass

    def begin(pool: Pool[int, int], gate: Gate) -> tuple[weakref.ref[Any], weakref.ref[Any]]:
        loop = asyncio.new_event_loop()
        holder = Holder()
        holder.loop = loop  # type: ignore[attr-defined]

        def leave(_: object) -> None:
            raise SystemExit

        async def add() -> None:
            results = [pool.process_async(i) for i in range(5)]
            for result in results:
                result.add_done_callback(leave)
                result.add_done_callback(lambda _, kept=holder: print(kept))  # type: ignore[misc]
            end_together(gate, results)
            await asyncio.sleep(WAIT)

        task = loop.create_task(add())
        with pytest.raises(SystemExit):
            loop.run_until_complete(task)
        task.cancel()
        loop.close()
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        return weakref.ref(loop), weakref.ref(holder)

    with Gate() as gate, Pool(gate.block, size=1) as pool:
        loop, holder = begin(pool, gate)
        wait_until(lambda: pool.running == 0)
        gc.collect()
        assert loop() is None
        assert holder() is None


def test_others_that_end_meanwhile_wake_a_loop_that_is_woken_by_itself_no_more() -> None:
    woken: list[None] = []

    class Counting(asyncio.SelectorEventLoop):
        def call_soon_threadsafe(self, *args: Any, **options: Any) -> asyncio.Handle:  # type: ignore[override]
            woken.append(None)
            return super().call_soon_threadsafe(*args, **options)

    called: list[int] = []

    async def main() -> None:
        with Gate() as gate, Gate() as other:

            def job(payload: int) -> int:
                return (gate if payload < 3 else other).block(payload)

            def begin(payloads: range) -> list[AsyncResult[int]]:
                results = [pool.process_async(i) for i in payloads]
                for result in results:
                    result.add_done_callback(call)
                return results

            def call(ended: AsyncResult[int]) -> None:
                called.append(ended.wait())
                if called[-1] == 0:
                    end_together(other, begin(range(3, 6)))

            with Pool(job, size=1) as pool:
                end_together(gate, begin(range(3)))
                await soon(lambda: len(called) == 6)

    with asyncio.Runner(loop_factory=Counting) as runner:
        runner.run(main())
    assert called == list(range(6))
    assert len(woken) == 1
