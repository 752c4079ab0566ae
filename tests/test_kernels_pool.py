"""Launches among the other jobs of a pool: bounds, limits, ends from outside, nesting."""

from __future__ import annotations

import asyncio
import ctypes
import threading
import time
from typing import Any

import pytest
from helpers import WAIT, Background, Gate, identity, in_threads, wait_until

np: Any = pytest.importorskip("numpy")

from kernel_tools import NO_COMPILER, kernels  # noqa: E402

import loomy  # noqa: E402
from loomy import Pool  # noqa: E402

pytestmark = pytest.mark.skipif(NO_COMPILER is not None, reason=str(NO_COMPILER))


@pytest.fixture
def poll() -> loomy.Kernel:
    return kernels("native.c").poll


@pytest.fixture
def saxpy() -> loomy.Kernel:
    return kernels("native.c").saxpy


def test_cancel_ends_a_running_launch_at_once(poll: loomy.Kernel) -> None:
    with Pool(identity, size=2) as pool:
        result = pool.launch(poll, 20.0, n=20)
        wait_until(result.running)
        begun = time.monotonic()
        assert result.cancel()
        assert result.cancelled()
        assert result.done()
        with pytest.raises(loomy.JobCancelled):
            result.result(WAIT)
        wait_until(lambda: pool.running == 0, "the kernel to look whether it is to stop")
        assert time.monotonic() - begun < WAIT / 2
        assert pool.stats().cancelled == 1
        assert result.cancel()  # it is cancelled, as with other jobs


def test_cancel_of_a_queued_launch_runs_none_of_it(saxpy: loomy.Kernel) -> None:
    with Gate() as gate, Pool(gate.block, size=1, affinity="worker") as pool:
        pool.process_async(1)
        gate.wait_entered()
        y = np.zeros(100)
        result = pool.launch(saxpy, np.ones(100), y, 1.0)
        assert result.cancel()
        gate.open()
    assert not y.any()
    assert pool.stats().cancelled == 1


def test_cancel_after_the_end_is_false(saxpy: loomy.Kernel) -> None:
    with Pool(identity, size=1) as pool:
        result = pool.launch(saxpy, np.ones(10), np.ones(10), 1.0)
        result.result(WAIT)
        assert not result.cancel()


def test_timeout_ends_a_running_launch(poll: loomy.Kernel) -> None:
    with Pool(identity, size=1) as pool:
        result = pool.launch(poll, 20.0, n=20, timeout=0.05)
        with pytest.raises(loomy.JobTimedOut, match="timeout"):
            result.result(WAIT)
        assert pool.stats().timed_out == 1


def test_a_timeout_that_has_passed_starts_nothing(saxpy: loomy.Kernel) -> None:
    with Pool(identity, size=1) as pool:
        y = np.zeros(10)
        result = pool.launch(saxpy, np.ones(10), y, 1.0, timeout=0)
        with pytest.raises(loomy.JobTimedOut):
            result.result(WAIT)
        assert not y.any()
        assert pool.stats().timed_out == 1


def test_the_deadline_and_the_cancellation_of_a_context_count(poll: loomy.Kernel) -> None:
    with Pool(identity, size=1) as pool:
        with pytest.raises(loomy.DeadlineExceeded):
            pool.launch(poll, 20.0, n=20, ctx=loomy.Context(0.05)).result(WAIT)
        ctx = loomy.Context()
        result = pool.launch(poll, 20.0, n=20, ctx=ctx)
        wait_until(result.running)
        ctx.cancel("enough")
        with pytest.raises(loomy.JobCancelled, match="enough"):
            result.result(WAIT)
        with pytest.raises(loomy.JobCancelled):
            pool.launch(poll, 20.0, n=20, ctx=ctx).result(WAIT)


def test_an_awaiting_task_that_is_cancelled_can_cancel_its_launch(poll: loomy.Kernel) -> None:
    async def main(pool: Pool[int, int]) -> None:
        result = pool.launch(poll, 20.0, n=20)

        async def wait() -> None:
            await result

        task = asyncio.create_task(wait())
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        result.cancel()

    with Pool(identity, size=1) as pool:
        begun = time.monotonic()
        asyncio.run(main(pool))
    assert time.monotonic() - begun < 5


def test_a_result_whose_wait_times_out_goes_on(poll: loomy.Kernel) -> None:
    with Pool(identity, size=1) as pool:
        result = pool.launch(poll, 0.2, n=1)
        with pytest.raises(TimeoutError):
            result.result(0.01)
        assert result.result(WAIT) is None


def test_done_callbacks_are_called(saxpy: loomy.Kernel) -> None:
    with Pool(identity, size=1) as pool:
        seen: list[object] = []
        result = pool.launch(saxpy, np.ones(10), np.ones(10), 1.0)
        result.add_done_callback(seen.append)
        result.result(WAIT)
        wait_until(lambda: seen == [result])


def test_a_bounded_pool_is_full_for_launches_too(saxpy: loomy.Kernel) -> None:
    with Gate() as gate, Pool(gate.block, size=1, max_pending=1, on_full="raise", affinity="worker") as pool:
        pool.process_async(1)
        gate.wait_entered()
        y = np.zeros(100)
        first = pool.launch(saxpy, np.ones(100), y, 1.0)
        with pytest.raises(loomy.PoolFull) as caught:
            pool.launch(saxpy, np.ones(100), y.copy(), 1.0)
        assert caught.value.depth == 1
        gate.open()
        first.result(WAIT)
    assert y.all()
    assert pool.stats().rejected == 1


def test_a_blocked_launch_goes_on_when_there_is_a_place(saxpy: loomy.Kernel) -> None:
    with Gate() as gate, Pool(gate.block, size=1, max_pending=1, affinity="worker") as pool:
        pool.process_async(1)
        gate.wait_entered()
        ys = [np.zeros(100) for _ in range(3)]
        pool.launch(saxpy, np.ones(100), ys[0], 1.0)
        blocked = Background(lambda: [pool.launch(saxpy, np.ones(100), y, 1.0) for y in ys[1:]])
        time.sleep(0.05)
        assert not ys[1].any()
        gate.open()
        for result in blocked.result():
            result.result(WAIT)
    assert all(y.all() for y in ys)


def test_what_finish_says_of_an_attempt_that_found_no_place_is_forgotten() -> None:
    counts = (ctypes.c_int64 * 3)()
    gate = threading.Event()
    with Pool[None, bool](lambda _: gate.wait(WAIT), size=1, max_pending=1, on_full="block") as pool:
        before = [pool.process_async(None) for _ in range(2)]

        def open_when_an_attempt_is_over() -> None:
            wait_until(lambda: counts[2] > 0, "an attempt that found no place")
            gate.set()

        opener = Background(open_when_an_attempt_is_over)
        assert pool.launch(kernels("native.c").attempts, counts, n=4).result(WAIT) is None
        assert all(result.result(WAIT) for result in before)
        opener.result()
    prepared, items, finished = counts
    assert items == 4
    assert prepared == finished
    assert prepared >= 2


def test_a_blocked_launch_ends_at_its_timeout(saxpy: loomy.Kernel) -> None:
    with Gate() as gate, Pool(gate.block, size=1, max_pending=0, affinity="worker") as pool:
        pool.process_async(1)
        gate.wait_entered()
        y = np.zeros(100)
        result = pool.launch(saxpy, np.ones(100), y, 1.0, timeout=0.05)
        with pytest.raises(loomy.JobTimedOut):
            result.result(WAIT)
        gate.open()
    assert not y.any()


def test_the_caller_runs_a_launch_that_has_no_place(saxpy: loomy.Kernel) -> None:
    with Gate() as gate:
        pool = Pool(gate.block, size=1, max_pending=0, on_full="caller_runs", affinity="worker")
        with pool:
            pool.process_async(1)
            gate.wait_entered()
            y = np.zeros(100)
            result = pool.launch(saxpy, np.ones(100), y, 1.0)
            assert result.done()
            assert y.all()
            gate.open()


def test_close_refuses_a_queued_launch_and_lets_a_running_one_end(saxpy: loomy.Kernel) -> None:
    with Gate() as gate:
        pool = Pool(gate.block, size=1, affinity="worker")
        pool.process_async(1)
        gate.wait_entered()
        y = np.zeros(100)
        queued = pool.launch(saxpy, np.ones(100), y, 1.0)
        closer = Background(pool.close)
        with pytest.raises(loomy.PoolNotRunning):
            queued.result(WAIT)
        gate.open()
        closer.result()
    assert not y.any()
    pool = Pool(identity, size=1)
    running = pool.launch(kernels("native.c").poll, 0.2, n=1)
    wait_until(running.running)
    pool.close()
    assert running.result(WAIT) is None
    with pytest.raises(loomy.PoolNotRunning):
        pool.launch(saxpy, np.ones(1), np.ones(1), 1.0)


def test_shutdown_runs_queued_launches(saxpy: loomy.Kernel) -> None:
    ys = [np.zeros(1000) for _ in range(30)]
    pool = Pool(identity, size=2)
    for y in ys:
        pool.launch(saxpy, np.ones(1000), y, 1.0)
    pool.shutdown()
    assert all(y.all() for y in ys)


def test_shutdown_with_a_timeout_stops_a_running_kernel(poll: loomy.Kernel) -> None:
    pool = Pool(identity, size=1)
    result = pool.launch(poll, 20.0, n=20)
    wait_until(result.running)
    begun = time.monotonic()
    with pytest.raises(loomy.JobTimedOut):
        pool.shutdown(0.05)
    assert time.monotonic() - begun < WAIT / 2
    assert result.exception(WAIT) is not None


@pytest.mark.parametrize("size", [1, 2, 3])
def test_07_nested_loops_of_a_kernel_on_every_worker_at_once(size: int) -> None:
    nest = kernels("native.c").nest
    with Pool(identity, size=size) as pool:
        arrays = [np.zeros(500, np.int64) for _ in range(2 * size)]
        results = [pool.launch(nest, seen, n=20) for seen in arrays]
        for result in results:
            result.result(WAIT)
    assert all((seen == 20).all() for seen in arrays)


@pytest.mark.parametrize("size", [1, 2])
def test_07_python_jobs_on_every_worker_launch_kernels(size: int) -> None:
    nest = kernels("native.c").nest
    all_at_once = threading.Barrier(size)

    def job(payload: int) -> int:
        if payload == 5:
            all_at_once.wait(WAIT)
        seen = np.zeros(300, np.int64)
        pool.launch(nest, seen, n=payload).result(WAIT)
        other = np.zeros(300, np.int64)
        nest(other, n=payload)
        return int(seen.sum() + other.sum())

    with Pool(job, size=size) as pool:
        answers = in_threads(4, lambda _: pool.process(7))
        results = [pool.process_async(5) for _ in range(size)]
        assert [result.result(WAIT) for result in results] == [2 * 300 * 5] * size
    assert answers == [2 * 300 * 7] * 4


def test_kernels_on_the_default_pool_from_its_own_jobs() -> None:
    nest = kernels("native.c").nest

    def job() -> int:
        seen = np.zeros(300, np.int64)
        nest(seen, n=9)
        return int(seen.sum())

    pool = loomy.default_pool()
    results = [pool.process_async(job) for _ in range(3 * pool.size)]
    assert [result.result(WAIT) for result in results] == [300 * 9] * (3 * pool.size)


def test_a_kernel_called_in_a_job_ends_with_the_job(poll: loomy.Kernel) -> None:
    ended = threading.Event()

    def job(ctx: loomy.Context, payload: int) -> int:
        try:
            poll(20.0, n=20)
        finally:
            ended.set()
        return payload

    with Pool(job, size=1, pass_context=True, affinity="worker") as pool:
        result = pool.process_async(1, timeout=0.1)
        with pytest.raises(loomy.JobTimedOut):
            result.result(WAIT)
        assert ended.wait(5)


def test_a_call_on_a_thread_of_its_own_takes_part(saxpy: loomy.Kernel) -> None:
    def work() -> bool:
        y = np.zeros(200_000)
        saxpy(np.ones(200_000), y, 1.0)
        return bool(y.all())

    assert Background(work).result()


def test_launching_with_no_workers_waits_for_some(saxpy: loomy.Kernel) -> None:
    with Pool(identity, size=0) as pool:
        y = np.zeros(10)
        result = pool.launch(saxpy, np.ones(10), y, 1.0)
        assert not result.done()
        pool.size = 1
        result.result(WAIT)
    assert y.all()
