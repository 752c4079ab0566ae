"""Forks with live pools: the child's old pools fail clearly, new ones work, the parent notices nothing."""

from __future__ import annotations

import concurrent.futures
import contextlib
import gc
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable

from _common import WAIT, in_child, scenario_of

import loomy
from loomy import AsyncResult, Context, Executor, Pool

door = threading.Event()
started = threading.Event()


def double(payload: int) -> int:
    return 2 * payload


def job(payload: int) -> int:
    started.set()
    door.wait(WAIT)
    return payload


def refuses(call: Callable[[], object]) -> None:
    try:
        call()
    except loomy.PoolNotRunning:
        return
    raise AssertionError("PoolNotRunning expected")


def new_pool_works() -> None:
    with Pool(double, size=2, affinity="worker") as pool:
        assert pool.process(4) == 8
        assert pool.process(4, timeout=WAIT) == 8
        assert pool.process_async(4).wait(WAIT) == 8
        results, _ = pool.process_batch(range(100))
        assert results == [2 * i for i in range(100)]
        assert list(pool.map(range(100))) == [2 * i for i in range(100)]


def only_new_pools_work(old: Pool[int, int]) -> None:
    refuses(lambda: old.process(1))
    new_pool_works()


def used_pool() -> Pool[int, int]:
    pool = Pool(double, size=2, affinity="worker")
    pool.process_batch(range(100))
    assert pool.process_async(4, timeout=WAIT).wait(WAIT) == 8  # the timer has run
    return pool


def every_call_of_an_old_pool_is_refused() -> None:
    with used_pool() as pool:

        def check() -> None:
            refuses(lambda: pool.process(1))
            refuses(lambda: pool.process(1, timeout=WAIT))
            refuses(lambda: pool.process_async(1))
            refuses(lambda: pool.try_process_async(1))
            refuses(lambda: pool.process_batch([1]))
            refuses(lambda: pool.process_batch_async([1]))
            refuses(lambda: list(pool.map([1])))
            refuses(lambda: pool.set_size(1))

        in_child(check)


def unused_old_pool_is_refused_too() -> None:
    with Pool(double, size=2) as pool:
        in_child(lambda: refuses(lambda: pool.process(1)))
        assert pool.process(4) == 8


def closing_an_old_pool_does_not_hang() -> None:
    with used_pool() as pool:

        def check() -> None:
            for end in (pool.close, pool.shutdown):
                with contextlib.suppress(loomy.PoolNotRunning):
                    end()

        in_child(check)


def dropping_an_old_pool_does_not_hang() -> None:
    pools = [used_pool()]

    def check() -> None:
        pools.clear()
        gc.collect()
        new_pool_works()

    in_child(check)
    pools[0].close()


def leaving_the_block_of_an_old_pool_does_not_hang() -> None:
    child = -1
    try:
        with used_pool():
            child = os.fork()
    except loomy.PoolNotRunning:
        assert child == 0
    if child == 0:
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def pending_results_are_refused() -> None:
    with Pool(job, size=1) as pool:
        running, queued = pool.process_async(1), pool.process_async(2)
        batch = pool.process_batch_async([3, 4])
        assert started.wait(WAIT)

        def check() -> None:
            for result in (running, queued):
                refuses(result.wait)
                refuses(lambda result=result: result.wait(WAIT))  # type: ignore[misc]
            try:
                _, errors = batch.wait()
                assert [type(error) for error in errors] == [loomy.PoolNotRunning] * 2
            except loomy.PoolNotRunning:
                pass

        in_child(check)
        door.set()
        assert (running.wait(WAIT), queued.wait(WAIT)) == (1, 2)
        assert batch.wait(WAIT).raise_for_errors() == [3, 4]


def finished_results_keep_their_value() -> None:
    with used_pool() as pool:
        result = pool.process_async(21)
        result.wait(WAIT)

        def check() -> None:
            assert result.done()
            assert result.wait(0) == 42

        in_child(check)


def new_pools_work_in_the_child() -> None:
    with used_pool():
        in_child(new_pool_works)


def child_of_a_child() -> None:
    with used_pool():

        def check() -> None:
            with used_pool() as pool:
                in_child(lambda: only_new_pools_work(pool))
                assert pool.process(4) == 8

        in_child(check)


def deadlines_work_in_the_child() -> None:
    with used_pool():

        def check() -> None:
            told = threading.Event()
            with Pool(job, size=1) as pool:
                pool.process_async(1)
                assert started.wait(WAIT)
                late = pool.process_async(2, timeout=0.05)
                late.add_done_callback(lambda _: told.set())
                assert told.wait(WAIT)  # nobody waits for it: the timer's thread has to live
                assert Context(timeout=0.02).wait(WAIT)
                door.set()

        in_child(check)


def parent_goes_on() -> None:
    with used_pool() as pool:
        results = [pool.process_async(i) for i in range(1000)]
        in_child(lambda: None)
        results += [pool.process_async(i) for i in range(1000, 2000)]
        assert [result.wait(WAIT) for result in results] == [2 * i for i in range(2000)]
        assert pool.size == 2


def fork_inside_a_job() -> None:
    def forking(payload: int) -> int:
        in_child(new_pool_works)
        return payload

    with Pool(forking, size=2, affinity="worker") as pool:
        assert pool.process(7) == 7
        assert pool.process(8) == 8


def fork_inside_a_job_of_the_caller() -> None:
    def forking(payload: int) -> int:
        in_child(lambda: only_new_pools_work(pool))
        return payload

    pool: Pool[int, int] = Pool(forking, size=2)
    with pool:
        assert pool.process(7) == 7


def fork_while_other_threads_use_the_pool() -> None:
    stop = threading.Event()
    with used_pool() as pool:

        def use(index: int) -> None:
            while not stop.is_set():
                assert pool.process(index) == 2 * index
                results: list[AsyncResult[int]] = [pool.process_async(i) for i in range(20)]
                assert [result.wait(WAIT) for result in results] == [2 * i for i in range(20)]
                pool.process_batch(range(20)).raise_for_errors()

        users = [threading.Thread(target=use, args=(i,)) for i in range(4)]
        for user in users:
            user.start()
        try:
            for _ in range(20):
                in_child(lambda: only_new_pools_work(pool))
        finally:
            stop.set()
            for user in users:
                user.join(WAIT)
        assert not any(user.is_alive() for user in users)


def fork_while_another_thread_makes_pools() -> None:
    """What others have registered with os.register_at_fork is Python, and threads are switched in it."""
    ended = threading.Event()

    def make() -> None:
        while not ended.is_set():
            Pool(double, size=1).close()

    maker = threading.Thread(target=make, daemon=True)
    maker.start()
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    for _ in range(30):
        in_child(lambda: None)
    sys.setswitchinterval(before)
    ended.set()
    maker.join(WAIT)
    assert not maker.is_alive()


def child_that_exits_normally() -> None:
    with used_pool():
        child = os.fork()
        if child == 0:
            signal.alarm(25)
            sys.exit(0)  # through finalisation, with the parent's pool still there
        assert os.waitpid(child, 0)[1] == 0


def child_that_exits_with_a_pool_of_its_own() -> None:
    with used_pool():
        child = os.fork()
        if child == 0:
            signal.alarm(25)
            globals()["own"] = used_pool()
            sys.exit(0)
        assert os.waitpid(child, 0)[1] == 0


def use_a_pool(payload: int) -> int:
    with Pool(double, size=2, affinity="worker") as pool:
        return pool.process(payload)


def multiprocessing_with_fork() -> None:
    method = multiprocessing.get_context("fork")
    with used_pool() as pool:
        process = method.Process(target=new_pool_works)
        process.start()
        process.join(WAIT)
        assert process.exitcode == 0
        with method.Pool(2) as processes:
            assert processes.map(use_a_pool, range(10)) == [2 * i for i in range(10)]
        assert pool.process(4) == 8


def multiprocessing_from_inside_a_job() -> None:
    method = multiprocessing.get_context("fork")

    def forking(payload: int) -> int:
        process = method.Process(target=new_pool_works)
        process.start()
        process.join(WAIT)
        assert process.exitcode == 0
        return payload

    with Pool(forking, size=1, affinity="worker") as pool:
        assert pool.process(7) == 7


def executor_of_the_parent_is_refused() -> None:
    with Executor(1) as executor:
        finished, running = executor.submit(double, 4), executor.submit(job, 1)
        queued = executor.submit(double, 5)
        results = executor.map(double, [6])
        assert started.wait(WAIT)

        def check() -> None:
            refuses(lambda: executor.submit(double, 1))
            refuses(lambda: executor.map(double, [1]))
            refuses(lambda: next(results))
            refuses(running.result)
            refuses(queued.exception)
            assert finished.result() == 8
            assert (running.done(), queued.done()) == (True, True)
            done, pending = concurrent.futures.wait([finished, running, queued], 5)
            assert (len(done), len(pending)) == (3, 0)
            executor.shutdown()
            with Executor(1) as another:
                assert another.submit(double, 4).result(WAIT) == 8

        in_child(check)
        door.set()
        assert (running.result(WAIT), queued.result(WAIT), list(results)) == (1, 10, [12])


def futures_that_others_looked_at() -> None:
    with Executor(1) as executor:
        running, queued = executor.submit(job, 1), executor.submit(double, 5)
        assert started.wait(WAIT)
        concurrent.futures.wait([running, queued], 0.01)

        def check() -> None:
            done, pending = concurrent.futures.wait([running, queued], 5)
            assert (len(done), len(pending)) == (2, 0)
            assert [future._state for future in (running, queued)] == ["FINISHED"] * 2
            assert len(list(concurrent.futures.as_completed([running, queued], 5))) == 2
            refuses(queued.result)

        with running._condition:  # nobody in the child will let go of it
            in_child(check)
        door.set()
        done, pending = concurrent.futures.wait([running, queued], WAIT)
        assert ({future.result() for future in done}, len(pending)) == ({1, 10}, 0)


def multiprocessing_from_inside_a_job_of_an_executor() -> None:
    method = multiprocessing.get_context("fork")

    def new_executor_works() -> None:
        with Executor(2) as executor:
            assert list(executor.map(double, range(5))) == [0, 2, 4, 6, 8]

    def forking() -> int:
        process = method.Process(target=new_executor_works)
        process.start()
        process.join(WAIT)
        return int(process.exitcode if process.exitcode is not None else -1)

    with Executor(2) as executor:
        assert [executor.submit(forking).result(WAIT) for _ in range(3)] == [0, 0, 0]


def process_pool_from_inside_a_job_of_an_executor() -> None:
    def parallel() -> list[int]:
        method = multiprocessing.get_context("fork")
        with concurrent.futures.ProcessPoolExecutor(2, mp_context=method) as processes:
            return list(processes.map(double, range(5)))

    with Executor(1) as executor:
        assert executor.submit(parallel).result(WAIT) == [0, 2, 4, 6, 8]


SCENARIOS: dict[str, Callable[[], None]] = {
    scenario.__name__: scenario
    for scenario in (
        every_call_of_an_old_pool_is_refused,
        unused_old_pool_is_refused_too,
        closing_an_old_pool_does_not_hang,
        dropping_an_old_pool_does_not_hang,
        leaving_the_block_of_an_old_pool_does_not_hang,
        pending_results_are_refused,
        finished_results_keep_their_value,
        new_pools_work_in_the_child,
        child_of_a_child,
        deadlines_work_in_the_child,
        parent_goes_on,
        fork_inside_a_job,
        fork_inside_a_job_of_the_caller,
        fork_while_other_threads_use_the_pool,
        fork_while_another_thread_makes_pools,
        child_that_exits_normally,
        child_that_exits_with_a_pool_of_its_own,
        multiprocessing_with_fork,
        multiprocessing_from_inside_a_job,
        executor_of_the_parent_is_refused,
        futures_that_others_looked_at,
        multiprocessing_from_inside_a_job_of_an_executor,
        process_pool_from_inside_a_job_of_an_executor,
    )
}

if __name__ == "__main__":
    signal.alarm(35)  # children do not inherit it
    scenario_of(SCENARIOS)()
