"""An AsyncResult passes for a future: asyncio's own functions take it as it is, in every kind of loop."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import pickle
import sys
import threading
import weakref
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from helpers import WAIT, Background, Gate, double, identity, in_threads, wait_until
from loops import Run, as_coroutine, in_every_loop, plain, soon

import loomy
from loomy import Context, JobCancelled, Pool


def failing(payload: int) -> int:
    raise ValueError(f"job {payload}")


def stopping(payload: int) -> int:
    raise StopIteration(payload)


@in_every_loop
def test_one_after_the_other(run: Run[None]) -> None:
    async def main() -> None:
        with Pool(double, size=2) as pool:
            for i in range(300):
                assert await pool.process_async(i) == 2 * i

    run(main())


@in_every_loop
def test_gather_of_many(run: Run[None]) -> None:
    async def main() -> None:
        with Pool(double, size=2) as pool:
            for count in (0, 1, 1000):
                results = [pool.process_async(i) for i in range(count)]
                assert await asyncio.gather(*results) == [2 * i for i in range(count)]

    run(main())


@in_every_loop
def test_gather_of_one_result_twice(run: Run[None]) -> None:
    async def main() -> None:
        with Pool(double, size=1) as pool:
            result = pool.process_async(4)
            assert list(await asyncio.gather(result, result, as_coroutine(result))) == [8, 8, 8]

    run(main())


def test_gather_makes_no_task_for_a_job() -> None:
    async def main() -> None:
        with Gate() as gate, Pool(gate.block, size=1) as pool:
            result = pool.process_async(1)
            assert asyncio.isfuture(result)
            assert asyncio.ensure_future(result) is result
            together = asyncio.gather(result)
            assert len(asyncio.all_tasks()) == 1
            gate.open()
            assert await together == [1]

    asyncio.run(main())


@in_every_loop
def test_gather_raises_the_first_error(run: Run[None]) -> None:
    async def main() -> None:
        with Pool(in_turn, size=1) as pool:
            results = [pool.process_async(i) for i in range(3)]
            with pytest.raises(ValueError, match="job 0"):
                await asyncio.gather(*results)
            gate.set()

    gate = threading.Event()

    def in_turn(payload: int) -> int:
        # gather asks each whether it is done: one that ends meanwhile would come before those it has asked.
        assert payload == 0 or gate.wait(WAIT)
        return failing(payload)

    run(main())


@in_every_loop
def test_gather_returns_errors_when_asked_to(run: Run[None]) -> None:
    async def main() -> None:
        with Pool(failing, size=1) as pool:
            errors = await asyncio.gather(*(pool.process_async(i) for i in range(3)), return_exceptions=True)
            assert [str(error) for error in errors] == ["job 0", "job 1", "job 2"]

    run(main())


@in_every_loop
def test_gather_that_is_cancelled_cancels_its_jobs(run: Run[None]) -> None:
    async def main() -> None:
        with Gate() as gate, Pool(gate.block, size=1) as pool:
            results = [pool.process_async(i) for i in range(5)]

            async def together() -> None:
                await asyncio.gather(*results)

            task = asyncio.create_task(together())
            await asyncio.sleep(0)
            await soon(lambda: pool.running == 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError) as caught:
                await task
            assert not isinstance(caught.value, Exception)
            assert task.cancelled()
            gate.open()
            assert [result.cancelled() for result in results] == [True] * 5

    run(main())


@in_every_loop
def test_gather_of_a_job_that_somebody_else_cancels(run: Run[None]) -> None:
    async def main() -> None:
        with Pool(identity, size=0) as pool:
            results = [pool.process_async(i) for i in range(2)]
            together = asyncio.gather(*results, return_exceptions=True)
            for result in results:
                result.cancel()
            assert [type(error) for error in await together] == [asyncio.CancelledError] * 2
            with pytest.raises(asyncio.CancelledError) as caught:
                await asyncio.gather(*results)
            # at the bottom of it is what the pool says
            chain: BaseException | None = caught.value
            while chain is not None and not isinstance(chain, JobCancelled):
                chain = chain.__cause__ or chain.__context__
            assert isinstance(chain, JobCancelled)

    run(main())


@in_every_loop
def test_stop_iteration_becomes_a_runtime_error(run: Run[None]) -> None:
    async def main() -> None:
        with Pool(stopping, size=1) as pool:
            with pytest.raises(RuntimeError, match="StopIteration") as caught:
                await pool.process_async(1)
            assert isinstance(caught.value.__cause__, StopIteration)
            with pytest.raises(RuntimeError, match="StopIteration"):
                await asyncio.wait_for(asyncio.gather(pool.process_async(1)), WAIT)
            with pytest.raises(RuntimeError, match="StopIteration"):
                await asyncio.wait_for(pool.process_async(1), WAIT)

    run(main())


@in_every_loop
def test_wait_for_that_expires_cancels_the_job(run: Run[None]) -> None:
    async def main() -> None:
        with Pool(identity, size=0) as pool:
            result = pool.process_async(1)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(result, 0.01)
            assert result.cancelled()

    run(main())


@in_every_loop
def test_wait_for_cancels_the_context_of_a_running_job(run: Run[None]) -> None:
    def job(ctx: Context, _: int) -> bool:
        return ctx.wait(WAIT)

    async def main() -> None:
        with Pool(job, size=1, pass_context=True) as pool:
            result = pool.process_async(1)
            await soon(lambda: pool.running == 1)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(result, 0.01)
            await soon(lambda: pool.running == 0)

    run(main())


@in_every_loop
def test_wait_for_in_time(run: Run[None]) -> None:
    async def main() -> None:
        with Pool(double, size=1) as pool:
            assert await asyncio.wait_for(pool.process_async(2), WAIT) == 4
            with pytest.raises(ValueError, match="job 3"), Pool(failing, size=1) as other:
                await asyncio.wait_for(other.process_async(3), WAIT)

    run(main())


@in_every_loop
def test_wait_for_the_first(run: Run[None]) -> None:
    async def main() -> None:
        with Gate() as gate, Pool(gate.block, size=1) as held, Pool(double, size=1) as pool:
            slow, fast = held.process_async(1), pool.process_async(2)
            done, pending = await asyncio.wait([slow, fast], return_when=asyncio.FIRST_COMPLETED)  # type: ignore[type-var]
            assert (done, pending) == ({fast}, {slow})
            gate.open()
            done, pending = await asyncio.wait([slow, fast])  # type: ignore[type-var]
            assert (done, pending) == ({slow, fast}, set())

    run(main())


@in_every_loop
def test_as_completed(run: Run[None]) -> None:
    async def main() -> None:
        with Pool(double, size=2) as pool:
            answers = [await one for one in asyncio.as_completed([pool.process_async(i) for i in range(50)])]
            assert sorted(answers) == [2 * i for i in range(50)]

    run(main())


@in_every_loop
def test_shield_protects_the_job_from_the_cancellation(run: Run[None]) -> None:
    async def main() -> None:
        with Gate() as gate, Pool(gate.block, size=1) as pool:
            result = pool.process_async(7)

            async def shielded() -> int:
                return await asyncio.shield(result)

            task = asyncio.create_task(shielded())
            await asyncio.sleep(0)
            await soon(lambda: pool.running == 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not result.done()
            gate.open()
            assert await asyncio.shield(result) == 7

    run(main())


@in_every_loop
def test_task_group_of_jobs(run: Run[None]) -> None:
    async def main() -> None:
        with Pool(double, size=2) as pool:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(as_coroutine(pool.process_async(i))) for i in range(100)]
            assert [task.result() for task in tasks] == [2 * i for i in range(100)]

    run(main())


@in_every_loop
def test_timeout_block_that_expires_cancels_the_job(run: Run[None]) -> None:
    async def main() -> None:
        with Pool(identity, size=0) as pool:
            result = pool.process_async(1)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await result
            assert result.cancelled()

    run(main())


def test_an_exception_of_a_cancelled_job_is_of_both_kinds() -> None:
    async def main() -> BaseException:
        with Pool(identity, size=0) as pool:
            result = pool.process_async(1)
            result.cancel()
            with pytest.raises(JobCancelled) as caught:
                result.result()
            assert isinstance(caught.value, asyncio.CancelledError)
            return caught.value

    error = asyncio.run(main())
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)


def test_outside_asyncio_the_error_is_the_pools_alone() -> None:
    with Pool(identity, size=0) as pool:
        result = pool.process_async(1)
        result.cancel()
        with pytest.raises(JobCancelled) as caught:
            result.result()
        assert not isinstance(caught.value, asyncio.CancelledError)
        with pytest.raises(RuntimeError, match="none runs on this thread"):
            result.get_loop()
    with Pool(stopping, size=1) as pool:
        assert isinstance(pool.process_async(1).exception(), StopIteration)


# Callbacks


@in_every_loop
def test_a_callback_is_called_in_the_loop_it_was_added_in(run: Run[None]) -> None:
    async def main() -> None:
        called = asyncio.Event()
        threads: list[int] = []

        def note(ended: loomy.AsyncResult[int]) -> None:
            assert asyncio.get_running_loop() is loop
            threads.append(threading.get_ident())
            called.set()

        loop = asyncio.get_running_loop()
        with Gate() as gate, Pool(gate.block, size=1) as pool:
            result = pool.process_async(1)
            result.add_done_callback(note)
            gate.open()
            await called.wait()
            called.clear()
            result.add_done_callback(note)  # it has ended: soon, not at once
            assert len(threads) == 1
            await called.wait()
        assert threads == [threading.get_ident()] * 2

    run(main())


@in_every_loop
def test_callbacks_are_called_in_order_and_in_their_contexts(run: Run[None]) -> None:
    variable = contextvars.ContextVar("variable", default="outside")
    called: list[tuple[int, str]] = []

    async def main() -> None:
        given = contextvars.copy_context()
        given.run(variable.set, "given")
        with Gate() as gate, Pool(gate.block, size=1) as pool:
            result = pool.process_async(1)

            def note(index: int) -> Any:
                def call(_: object) -> None:
                    called.append((index, variable.get()))
                    variable.set("changed")

                return call

            for index in range(3):
                variable.set(f"at {index}")
                result.add_done_callback(note(index))
            result.add_done_callback(note(3), context=given)
            gate.open()
            await soon(lambda: len(called) == 4)
            assert variable.get() == "at 2"
            assert given[variable] == "changed"

    run(main())
    assert called == [(0, "at 0"), (1, "at 1"), (2, "at 2"), (3, "given")]


@in_every_loop
def test_what_a_callback_raises_goes_to_the_loops_handler(run: Run[None]) -> None:
    async def main() -> None:
        reports: list[dict[str, Any]] = []
        called: list[int] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, report: reports.append(report))
        with Pool(identity, size=1) as pool:
            result = pool.process_async(1)
            result.add_done_callback(lambda _: 1 // 0)
            result.add_done_callback(lambda _: called.append(1))
            await soon(lambda: bool(called))
        assert isinstance(reports[0]["exception"], ZeroDivisionError)

    run(main())


def test_a_callback_that_ends_the_loop_keeps_no_other_from_being_called() -> None:
    loop = asyncio.new_event_loop()
    called: list[int] = []

    def leave(_: object) -> None:
        raise SystemExit(3)

    async def main(result: loomy.AsyncResult[int]) -> None:
        result.add_done_callback(leave)
        result.add_done_callback(lambda _: called.append(1))
        await soon(lambda: bool(called))

    with Pool(identity, size=1) as pool:
        task = loop.create_task(main(pool.process_async(1)))
        with pytest.raises(SystemExit):
            loop.run_until_complete(task)
        assert called == []
        loop.run_until_complete(task)
    loop.close()
    assert called == [1]


@in_every_loop
def test_callbacks_can_be_taken_back(run: Run[None]) -> None:
    class Noter:
        def __init__(self) -> None:
            self.called = 0

        def note(self, _: object) -> None:
            self.called += 1

    async def main() -> None:
        with Gate() as gate, Pool(gate.block, size=1) as pool:
            result = pool.process_async(1)
            gate.wait_entered()
            one, two = Noter(), Noter()
            for noter in (one, two, one):
                result.add_done_callback(noter.note)
            assert result.remove_done_callback(one.note) == 2
            assert result.remove_done_callback(one.note) == 0
            gate.open()
            await soon(lambda: two.called == 1)
            assert one.called == 0

    run(main())


def test_callbacks_can_be_taken_back_outside_asyncio() -> None:
    called: list[object] = []
    with Gate() as gate, Pool(gate.block, size=1) as pool:
        result = pool.process_async(1)
        result.add_done_callback(called.append)
        assert result.remove_done_callback(called.append) == 1
        gate.open()
        assert result.wait(WAIT) == 1
    assert called == []


def test_a_comparison_that_raises_while_a_callback_is_taken_back() -> None:
    class Odd:
        def __call__(self, _: object) -> None: ...

        def __eq__(self, other: object) -> bool:
            raise ZeroDivisionError

        __hash__ = None  # type: ignore[assignment]

    with Pool(identity, size=0) as pool:
        result = pool.process_async(1)
        result.add_done_callback(Odd())
        with pytest.raises(ZeroDivisionError):
            result.remove_done_callback(print)
        result.cancel()


# Where no loop runs it is an awaitable: for a loop that is yet to run, asyncio makes a task of it.


def test_a_loop_runs_until_a_result_is_complete() -> None:
    loop = asyncio.new_event_loop()
    with Gate() as gate, Pool(gate.block, size=1) as pool:
        loop.call_later(0.01, gate.open)
        assert loop.run_until_complete(pool.process_async(1)) == 1
        result = pool.process_async(2)
        result.wait(WAIT)
        assert loop.run_until_complete(result) == 2  # it has ended already
    with Pool(failing, size=1) as pool, pytest.raises(ValueError, match="job 3"):
        loop.run_until_complete(pool.process_async(3))
    loop.close()


def test_a_task_of_a_result_for_a_loop_that_does_not_run_yet() -> None:
    loop = asyncio.new_event_loop()
    with Pool(double, size=1) as pool:
        result = pool.process_async(1)
        assert not asyncio.isfuture(result)
        task = asyncio.ensure_future(result, loop=loop)
        assert isinstance(task, asyncio.Task)
        assert loop.run_until_complete(task) == 2
    with Pool(identity, size=0) as pool:
        result = pool.process_async(1)
        task = asyncio.ensure_future(result, loop=loop)
        loop.call_soon(task.cancel)
        with pytest.raises(asyncio.CancelledError):
            loop.run_until_complete(task)
        assert result.cancelled()
    loop.close()


def test_results_are_gathered_for_a_loop_that_does_not_run_yet() -> None:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        with Pool(double, size=2) as pool:
            gathered = asyncio.gather(*(pool.process_async(i) for i in range(3)))
            assert loop.run_until_complete(gathered) == [0, 2, 4]
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def test_a_thread_without_a_loop_sees_no_future_while_others_do() -> None:
    async def main() -> None:
        with Pool(double, size=1) as pool:
            result = pool.process_async(1)
            assert asyncio.isfuture(result)
            assert not Background(lambda: asyncio.isfuture(result)).result()
            assert await result == 2

    asyncio.run(main())


# Contexts, loops, lifetimes


@in_every_loop
def test_contextvars_are_the_tasks_before_and_after(run: Run[None]) -> None:
    variable = contextvars.ContextVar("variable", default="outside")

    def job(_: int) -> str:
        before = variable.get()
        variable.set("by the job")
        return before

    async def one(pool: Pool[int, str], name: str) -> None:
        variable.set(name)
        for _ in range(20):
            assert await pool.process_async(1) == name
            assert variable.get() == name
        assert await asyncio.gather(*[pool.process_async(1)]) == [name]

    async def main() -> None:
        with Pool(job, size=2) as pool:
            await asyncio.gather(*(one(pool, f"task {i}") for i in range(5)))
            await one(pool, "alone")

    run(main())


def test_many_loops_in_many_threads_await_one_result() -> None:
    with Gate() as gate, Pool(gate.block, size=1) as pool:
        result = pool.process_async(7)

        async def main() -> list[int]:
            return list(await asyncio.gather(result, as_coroutine(result), asyncio.shield(result)))

        threads = [Background(lambda: asyncio.run(main())) for _ in range(6)]
        gate.wait_entered()
        gate.open()
        assert [thread.result() for thread in threads] == [[7, 7, 7]] * 6


def test_a_storm_of_loops_and_cancellations() -> None:
    def job(payload: int) -> int:
        return payload

    async def one(pool: Pool[int, int], seed: int) -> int:
        ended = 0
        for i in range(100):
            result = pool.process_async(i)
            task = asyncio.create_task(as_coroutine(result))
            if (i + seed) % 3 == 0:
                await asyncio.sleep(0)
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                assert await task == i
            ended += 1
        return ended

    async def main(pool: Pool[int, int]) -> int:
        return sum(await asyncio.gather(*(one(pool, seed) for seed in range(5))))

    with Pool(job, size=2) as pool:
        assert in_threads(3, lambda _: asyncio.run(main(pool))) == [500] * 3


@in_every_loop
def test_a_closed_loop_is_not_kept_by_the_jobs_it_waited_for(run: Run[Any]) -> None:
    async def begin(pool: Pool[int, int]) -> weakref.ref[Any]:
        result = pool.process_async(1)
        result.add_done_callback(lambda _: None)
        asyncio.gather(result).add_done_callback(lambda outer: outer.cancelled() or outer.exception())
        await soon(lambda: pool.running == 1)
        return weakref.ref(asyncio.get_running_loop())

    with Gate() as gate, Pool(gate.block, size=1) as pool:
        loop = run(begin(pool))
        gate.open()
        wait_until(lambda: pool.running == 0)
        gc.collect()
        assert loop() is None


def test_a_loop_that_is_closed_before_it_takes_what_arrived_is_not_kept() -> None:
    class Holder:
        pass

    def begin(pool: Pool[int, int], gate: Gate) -> tuple[weakref.ref[Any], weakref.ref[Any]]:
        loop = asyncio.new_event_loop()
        holder = Holder()
        holder.loop = loop  # type: ignore[attr-defined]

        async def add() -> None:
            results = [pool.process_async(i) for i in range(10)]
            for result in results:
                result.add_done_callback(partial(print, holder))  # never called
            gate.open()
            for result in results:
                result.wait(WAIT)  # blocks the loop, so that all arrive and none is taken

        loop.run_until_complete(add())
        loop.close()
        return weakref.ref(loop), weakref.ref(holder)

    with Gate() as gate, Pool(gate.block, size=1) as pool:
        loop, holder = begin(pool, gate)
        # Without the GIL the waiter may go on while the worker still tells the loop; its reference is gone
        # when its job has left the slot.
        wait_until(lambda: pool.running == 0)
        gc.collect()
        assert loop() is None
        assert holder() is None


def test_a_loop_that_runs_again_takes_what_arrived_meanwhile() -> None:
    loop = asyncio.new_event_loop()
    called: list[int] = []

    async def add(result: loomy.AsyncResult[int]) -> None:
        result.add_done_callback(lambda ended: called.append(ended.wait()))

    with Gate() as gate, Pool(gate.block, size=1) as pool:
        result = pool.process_async(5)
        loop.run_until_complete(add(result))
        gate.open()
        result.wait(WAIT)
        loop.run_until_complete(soon(lambda: bool(called)))
    loop.close()
    assert called == [5]


def test_a_loop_inside_the_only_worker_awaits_jobs_of_the_same_pool() -> None:
    def job(depth: int) -> int:
        async def main() -> int:
            if depth == 0:
                return 0
            batch = await pool.process_batch_async([0, 0])
            together = await asyncio.gather(as_coroutine(pool.process_async(depth - 1)))
            return 1 + together[0] + sum(batch.raise_for_errors())

        return asyncio.run(main())

    with Pool(job, size=1) as pool:
        assert pool.process_async(8).wait(WAIT) == 8


@in_every_loop
def test_an_await_that_has_ended_cannot_be_continued(run: Run[None]) -> None:
    async def main() -> None:
        with Pool(double, size=1) as pool:
            result = pool.process_async(1)
            result.wait(WAIT)
            once = result.__await__()
            with pytest.raises(StopIteration) as stop:
                once.send(None)
            assert stop.value.value == 2
            with pytest.raises(RuntimeError, match="ended already"):
                once.send(None)

    run(main())


def test_a_result_that_is_a_tuple_or_an_exception_comes_through_whole() -> None:
    not_yet = object()

    def stopped(once: Iterator[Any]) -> object:
        try:
            next(once)
        except StopIteration as stop:
            return stop.value
        return not_yet

    odd: list[Any] = [(), (1, 2), ValueError("returned"), StopIteration(3), None]

    async def main() -> None:
        with Pool(odd.__getitem__, size=1) as pool:
            for index, expected in enumerate(odd):
                assert await pool.process_async(index) is expected
                result = pool.process_async(index)
                result.wait(WAIT)
                once = result.__await__()
                if (value := stopped(once)) is not_yet:  # it wants a turn of the loop first
                    await asyncio.sleep(0)
                    value = stopped(once)
                assert value is expected

    asyncio.run(main())


def test_a_traced_task_awaits_as_well() -> None:
    """With a trace function CPython drives an await another way."""

    async def main() -> None:
        with Pool(double, size=1) as pool:
            sys.settrace(lambda *_: None)
            try:
                for i in range(20):
                    assert await pool.process_async(i) == 2 * i
            finally:
                sys.settrace(None)

    plain(main())


def test_a_coroutine_that_is_closed_cancels_its_job() -> None:
    async def main() -> None:
        with Pool(identity, size=0) as pool:
            result = pool.process_async(1)
            coroutine = as_coroutine(result)
            coroutine.send(None)
            coroutine.close()
            assert result.cancelled()

    asyncio.run(main())
