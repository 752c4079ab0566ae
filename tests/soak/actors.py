"""The actors: each is called again and again, on a thread of its own, until the end."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import gc
import math
import random
import threading
import time
from functools import partial
from typing import Any

import loomy
from loomy import Context, Executor, Pool

try:
    import numpy as np
except ImportError:  # there are interpreters that it has no wheels for
    np = None  # type: ignore[assignment]

from .shared import WAIT, Fault, Odd, Soak, check, expect, fail, until_cancelled


def number(i: int) -> int:
    return i


def calls(soak: Soak, dice: random.Random) -> None:
    """Jobs that are as they should be: one, many, a batch, a map."""
    n = dice.randrange(1, 60)
    check(soak.pool.process(partial(number, n)) == n, "process")
    results = [soak.pool.process_async(partial(number, i)) for i in range(n)]
    check([result.wait(WAIT) for result in results] == list(range(n)), "process_async")
    with Pool(math.sqrt, size=2) as pool:
        squares = [float(i * i) for i in range(n)]
        check(list(pool.map(squares, buffer=4)) == list(range(n)), "map")
        check(pool.process_batch(squares).results == list(range(n)), "process_batch")


def raising(soak: Soak, dice: random.Random) -> None:
    """Jobs that raise, also what is no Exception, what has no text, and StopIteration."""
    for error in (Fault("soak"), Odd(), StopIteration(1), MemoryError(), RecursionError()):
        with soak.fault("job raises"):
            expect(type(error), partial(soak.pool.process, partial(fail, error)))
    for last in (SystemExit(3), KeyboardInterrupt(), GeneratorExit()):
        with soak.fault("job raises what is no Exception"):
            expect(loomy.WorkerPanic, partial(soak.pool.process_async(partial(fail, last)).wait, WAIT))
    with soak.fault("one item of a batch raises"), Pool(math.sqrt, size=2) as pool:
        done = pool.process_batch([4.0, -1.0, 9.0])
        check(done.results == [2, None, 3] and isinstance(done.errors[1], ValueError), done)


def hanging(soak: Soak, dice: random.Random) -> None:
    """Jobs that hang until their context, their caller, a deadline or a shutdown ends them."""
    pool: Pool[int, bool] = Pool(lambda context, _: context.wait(WAIT), size=2, pass_context=True)
    with soak.fault("job hangs until cancelled", 4):
        running = [pool.process_async(0) for _ in range(4)]
        time.sleep(dice.random() / 1000)
        for result in running:
            result.cancel()
            expect(loomy.JobCancelled, partial(result.wait, WAIT))
    with soak.fault("job hangs past its deadline"):
        expect(loomy.JobTimedOut, partial(pool.process, 0, timeout=dice.random() / 500))
    with soak.fault("context is cancelled"), Context() as context:
        result = pool.process_async(0, ctx=context)
        context.cancel()
        expect(loomy.JobCancelled, partial(result.wait, WAIT))
    with soak.fault("shutdown does not wait for a job that hangs"):
        last = pool.process_async(0)
        expect(loomy.JobTimedOut, partial(pool.shutdown, timeout=0.01))
        last.exception(WAIT)  # it was given up, unless it came to its end first


def resizing(soak: Soak, dice: random.Random) -> None:
    """The pool that everybody uses gets another size."""
    with soak.fault("resize"):
        soak.pool.set_size(dice.randrange(2, 9), wait=dice.random() < 0.2, timeout=WAIT)
    with soak.fault("resize inside a job"):
        soak.pool.process(partial(soak.pool.set_size, dice.randrange(2, 9)))
    time.sleep(0.002)


def closing(soak: Soak, dice: random.Random) -> None:
    """A pool ends while jobs are submitted: each is run once, or refused."""
    ran: list[int] = []
    pool = Pool(ran.append, size=dice.randrange(1, 5), name="closing")
    results: list[loomy.AsyncResult[None]] = []

    def submit() -> None:
        with contextlib.suppress(loomy.PoolNotRunning):
            for i in range(200):
                results.append(pool.process_async(i))

    with soak.fault("close while others submit"):
        submitter = threading.Thread(target=submit)
        submitter.start()
        time.sleep(dice.random() / 1000)
        if dice.random() < 0.5:
            pool.shutdown(WAIT)
        else:
            pool.close()
        submitter.join(WAIT)
        refused = sum(isinstance(result.exception(WAIT), loomy.PoolNotRunning) for result in results)
        check(len(set(ran)) == len(ran) == len(results) - refused, "each job once, or refused")
        stats = pool.stats()
        check(stats.submitted == stats.completed + stats.failed and stats.queued == 0, stats)
    with soak.fault("executor is dropped with jobs queued"):
        executor = Executor(2)
        futures = [executor.submit(pow, i, 2) for i in range(20)]
        del executor
        check([future.result(WAIT) for future in futures] == [i * i for i in range(20)], "all of them run")


def executing(soak: Soak, dice: random.Random) -> None:
    """The standard library's interface: wait, as_completed, map, nesting, a shutdown that cancels."""
    with Executor(3, "executing") as executor:
        futures = [executor.submit(pow, i, 2) for i in range(40)]
        ended = concurrent.futures.as_completed(futures, WAIT)
        check(sum(future.result() for future in ended) == sum(i * i for i in range(40)), "as_completed")
        check(list(executor.map(abs, range(-20, 0))) == list(range(20, 0, -1)), "map")
        with soak.fault("future raises"):
            expect(Fault, partial(executor.submit(fail, Fault()).result, WAIT))
        with soak.fault("nested jobs"):
            inner = executor.submit(lambda: executor.submit(pow, 2, 3).result(WAIT))
            check(inner.result(WAIT) == 8, "nested")
        with soak.fault("shutdown cancels what is queued"):
            late = [executor.submit(time.sleep, 0.001) for _ in range(20)]
            executor.shutdown(wait=False, cancel_futures=True)
            check(not concurrent.futures.wait(late, WAIT).not_done, "wait() hangs on what was cancelled")


def awaiting(soak: Soak, dice: random.Random) -> None:
    """asyncio: awaits, gather, tasks that are cancelled."""

    async def main() -> None:
        check(await loomy.aio.to_thread(pow, 2, 5) == 32, "to_thread")
        got = await asyncio.gather(*(soak.pool.process_async(partial(number, i)) for i in range(30)))
        check(got == list(range(30)), "gather")
        with soak.fault("task is cancelled"):
            hangs = asyncio.ensure_future(loomy.aio.to_thread(until_cancelled))
            await asyncio.sleep(dice.random() / 1000)
            hangs.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await hangs
            check(hangs.cancelled(), "the task was not cancelled")

    asyncio.run(main())


def leaking(soak: Soak, dice: random.Random) -> None:
    """Jobs that leave threads behind, which go on using the pool."""
    left: list[threading.Thread] = []

    def job() -> None:
        thread = threading.Thread(target=lambda: soak.pool.process(lambda: time.sleep(0.01)))
        left.append(thread)
        thread.start()

    with soak.fault("job leaves a thread behind"):
        soak.pool.process(job)
        left[0].join(WAIT)
        check(not left[0].is_alive(), "the thread it left ends")


class Cycle:
    """Of an executor, whose finaliser submits. Not made in each round: CPython 3.13t never frees a class."""

    def __init__(self, soak: Soak) -> None:
        self.me = self
        self.soak = soak
        self.executor = Executor(1)
        self.future: Any = self.executor.submit(id, self)

    def __del__(self) -> None:
        with contextlib.suppress(loomy.PoolNotRunning):
            self.soak.pool.process_async(int)


def collecting(soak: Soak, dice: random.Random) -> None:
    """Garbage: collections in jobs, executors in cycles, objects whose finaliser submits."""
    with soak.fault("executor in a cycle, finaliser submits"):
        Cycle(soak).future.result(WAIT)
    with soak.fault("collection in jobs"):
        for result in [soak.pool.process_async(gc.collect) for _ in range(2)]:
            result.wait(WAIT)


def kernels(soak: Soak, dice: random.Random) -> None:
    """NumPy's loops in pieces on the workers, and errors of theirs."""
    if np is None:
        time.sleep(0.1)
        return
    values = np.arange(dice.randrange(100_000, 300_000), dtype=np.float64)
    root = loomy.ufunc(np.sqrt)
    check(np.array_equal(root(values), np.sqrt(values)), "ufunc")
    with soak.fault("arithmetic error in a kernel"), np.errstate(all="raise"):
        expect(FloatingPointError, partial(root, values - 10.0))


ACTORS = (calls, raising, hanging, resizing, closing, executing, awaiting, leaking, collecting, kernels)
