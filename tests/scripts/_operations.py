"""What `leaks.py` does very often: each operation does a number of turns, and any could lose something."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import wait

import loomy
import loomy.aio

Operation = Callable[[int], None]

OPERATIONS: dict[str, Operation] = {}
COSTS: dict[str, int] = {}


def operation(cost: int) -> Callable[[Operation], Operation]:
    """Registers it; a turn of it takes `cost` times what a plain job takes, so that fewer are enough."""

    def register(function: Operation) -> Operation:
        name = function.__name__.rstrip("_")
        OPERATIONS[name], COSTS[name] = function, cost
        return function

    return register


def double(x: int) -> int:
    return 2 * x


def fail(x: int) -> int:
    raise ValueError(x)


def double_or_fail(x: int) -> int:
    return 2 * x if x >= 0 else fail(x)


def failure_of(call: Callable[[], object]) -> None:
    with contextlib.suppress(ValueError, loomy.LoomyError):
        call()


@operation(1)
def process(turns: int) -> None:
    with loomy.Pool(double, 1) as pool:
        for i in range(turns):
            pool.process(i)


@operation(1)
def process_on_a_worker(turns: int) -> None:
    with loomy.Pool(double, 1, affinity="worker") as pool:
        for i in range(turns):
            pool.process(i)


@operation(1)
def process_that_fails(turns: int) -> None:
    with loomy.Pool(fail, 1) as pool:
        for i in range(turns):
            failure_of(lambda i=i: pool.process(i))  # type: ignore[misc]


@operation(1)
def process_that_times_out(turns: int) -> None:
    with loomy.Pool(double, 1) as pool:
        for i in range(turns):
            failure_of(lambda i=i: pool.process(i, timeout=1e-6))  # type: ignore[misc]


@operation(1)
def process_async(turns: int) -> None:
    with loomy.Pool(double, 2) as pool:
        for begin in range(0, turns, 100):
            for result in [pool.process_async(i) for i in range(begin, min(begin + 100, turns))]:
                result.wait()


@operation(1)
def process_async_dropped(turns: int) -> None:
    with loomy.Pool(double, 2, max_pending=100) as pool:  # the queue's memory stays what it is
        for i in range(turns):
            pool.process_async(i)


@operation(1)
def process_async_cancelled(turns: int) -> None:
    with loomy.Pool(double, 2) as pool:
        for i in range(turns):
            pool.process_async(i).cancel()


@operation(1)
def process_async_with_a_callback(turns: int) -> None:
    with loomy.Pool(double, 2, max_pending=100) as pool:
        for i in range(turns):
            pool.process_async(i).add_done_callback(lambda _: None)


@operation(1)
def try_process_async(turns: int) -> None:
    with loomy.Pool(double, 1, max_pending=2) as pool:
        for i in range(turns):
            pool.try_process_async(i)
    with loomy.Pool(double, 0, max_pending=2) as full:
        taken = sum(full.try_process_async(i) is not None for i in range(turns))
    assert taken == 2


@operation(1)
def refused_by_a_full_queue(turns: int) -> None:
    with loomy.Pool(double, 0, max_pending=0, on_full="raise") as pool:
        for i in range(turns):
            failure_of(lambda i=i: pool.process_async(i))  # type: ignore[misc]


@operation(10)
def process_batch(turns: int) -> None:
    with loomy.Pool(double_or_fail, 2) as pool:
        for _ in range(turns):
            pool.process_batch(range(-1, 9))


@operation(10)
def process_batch_async(turns: int) -> None:
    with loomy.Pool(double_or_fail, 2) as pool:
        for _ in range(turns):
            pool.process_batch_async([1, -2, 3]).wait()
            pool.process_batch_async([1, 2, 3]).cancel()


@operation(10)
def map_(turns: int) -> None:
    with loomy.Pool(double, 2) as pool:
        for _ in range(turns):
            for _answer in pool.map(range(10), buffer=4):
                pass
            next(iter(pool.map(range(10))))  # the rest is let go of


@operation(1)
def contexts(turns: int) -> None:
    root = loomy.Context()
    with loomy.Pool(double, 1) as pool:
        for i in range(turns):
            with root.with_timeout(100) as ctx:
                handle = ctx.on_cancel(lambda: None)
                pool.process(i, ctx=ctx)
                handle.close()


@operation(20)
def pools(turns: int) -> None:
    for i in range(turns):
        with loomy.Pool(double, 1) as pool:
            pool.process_async(i)
            pool.set_size(2)


@operation(20)
def resize(turns: int) -> None:
    with loomy.Pool(double, 1) as pool:
        for _ in range(turns):
            pool.set_size(3)
            for result in [pool.process_async(i) for i in range(6)]:
                result.wait()
            pool.set_size(1)


@operation(10)
def close_with_jobs_queued(turns: int) -> None:
    for i in range(turns):
        pool = loomy.Pool(double, 0)
        results = [pool.process_async(i), pool.process_async(i)]
        batch = pool.process_batch_async([1, 2, 3])
        rest = pool.map([1, 2, 3])
        pool.close()
        for result in (*results, batch):
            failure_of(result.wait)
        failure_of(lambda rest=rest: next(rest))  # type: ignore[misc]


class Stateful(loomy.Worker[int, int]):
    """Has all the methods that a worker may have. A negative job lasts until it is interrupted."""

    def __init__(self) -> None:
        self.running, self.struck = threading.Semaphore(0), threading.Semaphore(0)

    def process(self, ctx: loomy.Context, payload: int) -> int:
        if payload < 0:
            self.running.release()
            self.struck.acquire()
        return 2 * payload

    def block_until_ready(self) -> None: ...

    def interrupt(self) -> None:
        self.struck.release()

    def terminate(self) -> None: ...


@operation(4)
def from_workers(turns: int) -> None:
    worker = Stateful()
    with loomy.Pool.from_workers(lambda: worker, 1) as pool:
        for i in range(turns):
            assert pool.process(i) == 2 * i
            given_up = pool.process_async(-1)
            worker.running.acquire()
            given_up.cancel()


@operation(20)
def pools_from_workers(turns: int) -> None:
    for i in range(turns):
        with loomy.Pool.from_workers(Stateful, 2) as pool:
            assert pool.process(i) == 2 * i


class CountingHooks(loomy.Hooks[int, int]):
    """All five, so that each is called in each turn; counts them."""

    def __init__(self) -> None:
        self.calls = Counter[str]()

    def on_job_start(self, payload: int) -> None:
        self.calls["job starts"] += 1

    def on_job_complete(self, payload: int, result: int, duration: float) -> None:
        self.calls["job completes"] += 1

    def on_job_error(self, payload: int, error: BaseException, duration: float) -> None:
        self.calls["job errors"] += 1

    def on_worker_start(self, worker_id: int) -> None:
        self.calls["worker starts"] += 1

    def on_worker_stop(self, worker_id: int) -> None:
        self.calls["worker stops"] += 1


@operation(2)
def hooks(turns: int) -> None:
    counting = CountingHooks()
    with loomy.Pool(double_or_fail, 1, hooks=counting) as pool:
        for i in range(turns):
            pool.process(i)
            failure_of(lambda: pool.process(-1))
            pool.set_size(2)
            pool.set_size(1)
    assert counting.calls == {
        "job starts": 2 * turns,
        "job completes": turns,
        "job errors": turns,
        "worker starts": turns + 1,
        "worker stops": turns + 1,
    }


@operation(2)
def set_hooks(turns: int) -> None:
    with loomy.Pool(double, 1) as pool:
        for i in range(turns):
            counting = CountingHooks()
            pool.set_hooks(counting)
            pool.process(i)
            assert counting.calls["job completes"] == 1
        pool.set_hooks(None)


@operation(1)
def executor_submit(turns: int) -> None:
    with loomy.Executor(2) as executor:
        for begin in range(0, turns, 100):
            some = [executor.submit(double, i) for i in range(begin, min(begin + 100, turns))]
            some[-1].cancel()
            wait(some)


@operation(10)
def executor_map(turns: int) -> None:
    with loomy.Executor(2) as executor:
        for _ in range(turns):
            list(executor.map(double, range(10)))


@operation(20)
def executors(turns: int) -> None:
    for i in range(turns):
        with loomy.Executor(2, initializer=gc.isenabled) as executor:
            assert executor.submit(double, i).result() == 2 * i


@operation(2)
def awaited(turns: int) -> None:
    async def main() -> None:
        with loomy.Pool(double, 2) as pool:
            for i in range(turns):
                await pool.process_async(i)

    asyncio.run(main())


@operation(20)
def gathered(turns: int) -> None:
    async def main() -> None:
        with loomy.Pool(double, 2) as pool:
            for _ in range(turns):
                await asyncio.gather(*[pool.process_async(i) for i in range(10)])

    asyncio.run(main())


@operation(4)
def to_thread(turns: int) -> None:
    async def main() -> None:
        for i in range(turns):
            assert await loomy.aio.to_thread(double, i) == 2 * i

    asyncio.run(main())


@operation(4)
def launch(turns: int) -> None:
    library = ctypes.CDLL("libm.so.6")
    library.cbrt.argtypes, library.cbrt.restype = [ctypes.c_double], ctypes.c_double
    given, taken = (ctypes.c_double * 8)(*[27.0] * 8), (ctypes.c_double * 8)()
    with loomy.Pool(double, 2) as pool:
        for _ in range(turns):
            kernel = loomy.kernel(library.cbrt)
            pool.launch(kernel, given, taken).wait()
            pool.launch(kernel, given, taken, chunks=4).cancel()
            failure_of(lambda kernel=kernel: pool.launch(kernel, 1.0, (ctypes.c_double * 7)()))  # type: ignore[misc]
    assert abs(taken[7] - 3.0) < 1e-12


@operation(20)
def ufunc(turns: int) -> None:
    try:
        import numpy as np
    except ImportError:
        return
    from loomy._ufunc import SharedCall

    given = np.linspace(0.0, 1.0, 40_000)
    with loomy.Pool(double, 2) as pool:
        small = loomy.ufunc(np.sqrt, pool=pool)
        for _ in range(turns):
            small(given[:10])
            assert SharedCall(np.sqrt, pool).call(given) is not NotImplemented  # shared, whatever it pays
