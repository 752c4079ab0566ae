"""asyncio: results are awaited, maps iterated, pools left, all without blocking the event loop."""

from __future__ import annotations

import asyncio
import itertools
import threading

import pytest
from helpers import WAIT, Background, Gate, double, fail_on_negative, identity, wait_until
from loops import as_coroutine, soon

import loomy
from loomy import Context, Pool


def test_await_gives_the_result() -> None:
    async def main() -> None:
        with Pool(double, size=1) as pool:
            assert await pool.process_async(21) == 42

    asyncio.run(main())


def test_await_raises_the_very_exception_of_the_job() -> None:
    error = ValueError("from the job")

    def job(_: int) -> int:
        raise error

    async def main() -> None:
        with Pool(job, size=1) as pool:
            with pytest.raises(ValueError, match="from the job") as caught:
                await pool.process_async(1)
            assert caught.value is error

    asyncio.run(main())


def test_await_of_a_finished_result() -> None:
    async def main() -> None:
        with Pool(double, size=1) as pool:
            result = pool.process_async(21)
            result.wait(WAIT)
            assert await result == 42
            assert await result == 42

    asyncio.run(main())


def test_two_tasks_may_await_the_same_result() -> None:
    async def main() -> None:
        with Gate() as gate, Pool(gate.block, size=1) as pool:
            result = pool.process_async(7)
            tasks = [asyncio.create_task(as_coroutine(result)) for _ in range(2)]
            await asyncio.sleep(0)
            gate.open()
            assert await asyncio.gather(*tasks) == [7, 7]

    asyncio.run(main())


def test_await_does_not_block_the_loop() -> None:
    async def main() -> None:
        with Gate() as gate, Pool(gate.block, size=1) as pool:

            async def open_later() -> None:
                await soon(lambda: pool.running == 1)
                gate.open()

            result, _ = await asyncio.gather(pool.process_async(7), open_later())
            assert result == 7

    asyncio.run(main())


def test_gather_of_a_thousand() -> None:
    async def main() -> None:
        with Pool(double, size=2) as pool:
            assert await asyncio.gather(*(pool.process_async(i) for i in range(1000))) == [
                2 * i for i in range(1000)
            ]

    asyncio.run(main())


def test_sequential_awaits() -> None:
    async def main() -> None:
        with Pool(double, size=1) as pool:
            for i in range(500):
                assert await pool.process_async(i) == 2 * i

    asyncio.run(main())


def test_stop_iteration_of_a_job_reaches_the_awaiter() -> None:
    def job(_: int) -> int:
        raise StopIteration("from the job")

    async def main() -> None:
        with Pool(job, size=1) as pool:
            # a coroutine cannot raise StopIteration: Python turns it into a RuntimeError
            with pytest.raises(RuntimeError) as caught:
                await as_coroutine(pool.process_async(1))
            assert isinstance(caught.value.__cause__, StopIteration)

    asyncio.run(main())


def test_panic_of_a_job_reaches_the_awaiter() -> None:
    def job(_: int) -> int:
        raise SystemExit(3)

    async def main() -> None:
        with Pool(job, size=1) as pool, pytest.raises(loomy.WorkerPanic):
            await pool.process_async(1)

    asyncio.run(main())


def test_await_of_a_cancelled_job_raises_job_cancelled() -> None:
    async def main() -> None:
        with Pool(identity, size=0) as pool:
            result = pool.process_async(1)
            result.cancel()
            with pytest.raises(loomy.JobCancelled):
                await result

    asyncio.run(main())


def test_await_of_a_job_with_a_timeout_raises_job_timed_out() -> None:
    async def main() -> None:
        with Pool(identity, size=0) as pool, pytest.raises(loomy.JobTimedOut):
            await pool.process_async(1, timeout=0.02)

    asyncio.run(main())


def test_await_of_a_job_of_a_closed_pool_raises_pool_not_running() -> None:
    async def main() -> None:
        pool = Pool(identity, size=0)
        result = pool.process_async(1)
        task = asyncio.create_task(as_coroutine(result))
        await asyncio.sleep(0)
        pool.close()
        with pytest.raises(loomy.PoolNotRunning):
            await task

    asyncio.run(main())


def test_cancelling_the_awaiting_task_cancels_the_queued_job() -> None:
    ran: list[int] = []

    async def main() -> None:
        with Pool(ran.append, size=0) as pool:
            result = pool.process_async(1)
            task = asyncio.create_task(as_coroutine(result))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert result.cancelled()
            pool.size = 1

    asyncio.run(main())
    assert ran == []


def test_cancelling_the_awaiting_task_cancels_the_context_of_the_running_job() -> None:
    saw: list[bool] = []
    started = threading.Event()

    def job(ctx: Context, _: int) -> None:
        started.set()
        saw.append(ctx.wait(WAIT))

    async def main() -> None:
        with Pool(job, size=1, pass_context=True) as pool:
            task = asyncio.create_task(as_coroutine(pool.process_async(1)))
            await asyncio.sleep(0)  # a task cancelled before its first step has not begun to await
            await soon(started.is_set)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    assert saw == [True]


def test_wait_for_that_expires_cancels_the_job() -> None:
    ran: list[int] = []

    async def main() -> None:
        with Pool(ran.append, size=0) as pool:
            result = pool.process_async(1)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(as_coroutine(result), 0.02)
            assert result.cancelled()
            pool.size = 1

    asyncio.run(main())
    assert ran == []


def test_timeout_block_that_expires_cancels_the_job() -> None:
    async def main() -> None:
        with Pool(identity, size=0) as pool:
            result = pool.process_async(1)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02):
                    await result
            assert result.cancelled()

    asyncio.run(main())


def test_failing_sibling_in_a_task_group_cancels_the_job() -> None:
    async def main() -> None:
        with Pool(identity, size=0) as pool:
            result = pool.process_async(1)

            async def fail() -> None:
                raise ValueError("sibling")

            async def both() -> None:
                async with asyncio.TaskGroup() as group:
                    group.create_task(as_coroutine(result))
                    group.create_task(fail())

            with pytest.raises(ExceptionGroup):
                await both()
            assert result.cancelled()

    asyncio.run(main())


def test_process_batch_async_can_be_awaited() -> None:
    async def main() -> None:
        with Pool(fail_on_negative, size=2) as pool:
            results, errors = await pool.process_batch_async([1, -2, 3])
            assert results == [1, None, 3]
            assert isinstance(errors[1], ValueError)

    asyncio.run(main())


def test_cancelling_the_task_that_awaits_a_batch_cancels_the_batch() -> None:
    ran: list[int] = []

    async def main() -> None:
        with Pool(ran.append, size=0) as pool:
            task = asyncio.create_task(as_coroutine(pool.process_batch_async(range(5))))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert pool.queue_length == 0
            pool.size = 1

    asyncio.run(main())
    assert ran == []


@pytest.mark.parametrize("ordered", [True, False])
def test_async_for_over_a_map(ordered: bool) -> None:
    async def main() -> None:
        with Pool(double, size=2) as pool:
            results = [result async for result in pool.map(range(200), ordered=ordered)]
            assert sorted(results) == [2 * i for i in range(200)]
            assert not ordered or results == sorted(results)

    asyncio.run(main())


def test_async_for_over_a_map_does_not_block_the_loop() -> None:
    async def main() -> None:
        with Gate() as gate, Pool(gate.block, size=1) as pool:

            async def open_later() -> None:
                await soon(lambda: pool.running == 1)
                gate.open()

            async def collect() -> list[int]:
                return [result async for result in pool.map(range(5))]

            results, _ = await asyncio.gather(collect(), open_later())
            assert results == list(range(5))

    asyncio.run(main())


def test_async_for_over_an_endless_map_can_be_left() -> None:
    async def main() -> None:
        with Pool(double, size=1) as pool:
            results = pool.map(itertools.count())
            taken: list[int] = []
            async for result in results:
                taken.append(result)
                if len(taken) == 20:
                    break
            results.close()
            assert taken == [2 * i for i in range(20)]

    asyncio.run(main())


def test_async_for_raises_the_error_of_a_job_at_its_turn() -> None:
    async def main() -> None:
        with Pool(fail_on_negative, size=1) as pool:
            taken: list[int] = []

            async def take_all() -> None:
                async for result in pool.map([1, 2, -3, 4]):
                    taken.append(result)

            with pytest.raises(ValueError, match="negative: -3"):
                await take_all()
            assert taken == [1, 2]

    asyncio.run(main())


def test_cancelling_a_task_in_the_middle_of_an_async_for() -> None:
    async def main() -> None:
        with Gate() as gate, Pool(gate.block, size=1) as pool:

            async def collect() -> None:
                async for _ in pool.map(itertools.count()):
                    pass

            task = asyncio.create_task(collect())
            await asyncio.sleep(0)
            await soon(lambda: pool.running == 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            gate.open()

    asyncio.run(main())


def test_async_with_drains_without_blocking_the_loop() -> None:
    done: list[int] = []
    ticks = 0

    async def main() -> None:
        nonlocal ticks
        with Gate() as gate:

            def job(payload: int) -> None:
                gate.block(payload)
                done.append(payload)

            async def open_after_some_ticks(pool: Pool[int, None]) -> None:
                nonlocal ticks
                await soon(lambda: pool.closed)
                for _ in range(5):
                    ticks += 1
                    await asyncio.sleep(0)
                gate.open()

            async with Pool(job, size=1) as pool:
                for i in range(10):
                    pool.process_async(i)
                ticker = asyncio.create_task(open_after_some_ticks(pool))
            await ticker
            assert pool.closed

    asyncio.run(main())
    assert done == list(range(10))
    assert ticks == 5


def test_async_with_left_by_an_exception_starts_nothing_more() -> None:
    ran: list[int] = []

    async def main() -> None:
        gate = Gate()

        def job(payload: int) -> int:
            ran.append(payload)
            return gate.block(payload)

        async with Pool(job, size=1) as pool:
            results = [pool.process_async(i) for i in range(10)]
            await soon(lambda: bool(ran))
            results[-1].add_done_callback(lambda _: gate.open())
            raise KeyError("leaving")

    with pytest.raises(KeyError):
        asyncio.run(main())
    assert ran == [0]


def test_two_loops_in_two_threads_share_a_pool() -> None:
    with Pool(double, size=2) as pool:

        async def main() -> list[int]:
            return [await pool.process_async(i) for i in range(100)]

        loops = [Background(lambda: asyncio.run(main())) for _ in range(2)]
        assert [loop.result() for loop in loops] == [[2 * i for i in range(100)]] * 2


def test_one_loop_after_another_uses_the_same_pool() -> None:
    with Pool(double, size=2) as pool:

        async def main() -> int:
            return await pool.process_async(4)

        assert [asyncio.run(main()) for _ in range(5)] == [8] * 5


def test_result_whose_loop_is_gone_still_ends() -> None:
    with Gate() as gate, Pool(gate.block, size=1) as pool:
        result = pool.process_async(7)

        async def main() -> None:
            task = asyncio.create_task(as_coroutine(asyncio.shield(as_coroutine(result))))
            await asyncio.sleep(0)
            task.cancel()

        asyncio.run(main())
        gate.open()
        wait_until(result.done)
        assert pool.process_async(8).wait(WAIT) == 8


def test_await_outside_asyncio_is_a_clear_error() -> None:
    with Gate() as gate, Pool(gate.block, size=1) as pool:
        result = pool.process_async(7)
        gate.wait_entered()
        coroutine = as_coroutine(result)
        with pytest.raises(RuntimeError, match="loop"):
            coroutine.send(None)
        gate.open()


def test_tasks_and_threads_wait_for_the_same_result() -> None:
    with Gate() as gate, Pool(gate.block, size=1) as pool:
        result = pool.process_async(7)
        waiter = Background(lambda: result.wait(WAIT))

        async def main() -> int:
            task = asyncio.create_task(as_coroutine(result))
            await asyncio.sleep(0)
            gate.open()
            return await task

        assert asyncio.run(main()) == 7
        assert waiter.result() == 7
