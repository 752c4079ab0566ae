"""Does one operation very often and says what grew: memory, objects, on a debug build all reference counts.

    python tests/scripts/leaks.py OPERATION|all TIMES

Fails if anything grew by a part of what it would grow if each turn lost one thing.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import pathlib
import sys
from collections.abc import Callable
from concurrent.futures import wait

import loomy
import loomy.aio


def double(x: int) -> int:
    return 2 * x


def fail(x: int) -> int:
    raise ValueError(x)


def failure_of(call: Callable[[], object]) -> None:
    with contextlib.suppress(ValueError, loomy.LoomyError):
        call()


def process(times: int) -> None:
    with loomy.Pool(double, 1) as pool:
        for i in range(times):
            pool.process(i)


def process_on_a_worker(times: int) -> None:
    with loomy.Pool(double, 1, affinity="worker") as pool:
        for i in range(times):
            pool.process(i)


def process_that_fails(times: int) -> None:
    with loomy.Pool(fail, 1) as pool:
        for i in range(times):
            failure_of(lambda i=i: pool.process(i))  # type: ignore[misc]


def process_that_times_out(times: int) -> None:
    with loomy.Pool(double, 1) as pool:
        for i in range(times):
            failure_of(lambda i=i: pool.process(i, timeout=1e-6))  # type: ignore[misc]


def process_async(times: int) -> None:
    with loomy.Pool(double, 2) as pool:
        for _ in range(times // 100 + 1):
            for result in [pool.process_async(i) for i in range(100)]:
                result.wait()


def process_async_dropped(times: int) -> None:
    with loomy.Pool(double, 2) as pool:
        for i in range(times):
            pool.process_async(i)


def process_async_cancelled(times: int) -> None:
    with loomy.Pool(double, 2) as pool:
        for i in range(times):
            pool.process_async(i).cancel()


def process_async_with_a_callback(times: int) -> None:
    with loomy.Pool(double, 2) as pool:
        for i in range(times):
            pool.process_async(i).add_done_callback(lambda _: None)


def process_batch(times: int) -> None:
    with loomy.Pool(double, 2) as pool:
        for _ in range(times // 10 + 1):
            pool.process_batch(range(10))
            pool.process_batch_async([1, 2, 3]).wait()


def map_(times: int) -> None:
    with loomy.Pool(double, 2) as pool:
        for _ in range(times // 10 + 1):
            for _answer in pool.map(range(10), buffer=4):
                pass
            next(iter(pool.map(range(10))))  # the rest is let go of


def contexts(times: int) -> None:
    root = loomy.Context()
    with loomy.Pool(double, 1) as pool:
        for i in range(times):
            with root.with_timeout(100) as ctx:
                handle = ctx.on_cancel(lambda: None)
                pool.process(i, ctx=ctx)
                handle.close()


def pools(times: int) -> None:
    for i in range(times // 20 + 1):
        with loomy.Pool(double, 1) as pool:
            pool.process_async(i)
            pool.set_size(2)


def hooks(times: int) -> None:
    class Counting(loomy.Hooks[int, int]):
        def job_start(self, *_: object) -> None: ...
        def job_complete(self, *_: object) -> None: ...

    with loomy.Pool(double, 1, hooks=Counting()) as pool:
        for i in range(times):
            pool.process(i)


def executor_submit(times: int) -> None:
    with loomy.Executor(2) as executor:
        for _ in range(times // 100 + 1):
            some = [executor.submit(double, i) for i in range(100)]
            some[-1].cancel()
            wait(some)


def executor_map(times: int) -> None:
    with loomy.Executor(2) as executor:
        for _ in range(times // 10 + 1):
            list(executor.map(double, range(10)))


def awaited(times: int) -> None:
    async def main() -> None:
        with loomy.Pool(double, 2) as pool:
            for i in range(times // 2 + 1):
                await pool.process_async(i)
            for _ in range(times // 20 + 1):
                await asyncio.gather(*[pool.process_async(i) for i in range(10)])

    asyncio.run(main())


OPERATIONS = {
    operation.__name__.rstrip("_"): operation
    for operation in (
        process,
        process_on_a_worker,
        process_that_fails,
        process_that_times_out,
        process_async,
        process_async_dropped,
        process_async_cancelled,
        process_async_with_a_callback,
        process_batch,
        map_,
        contexts,
        pools,
        hooks,
        executor_submit,
        executor_map,
        awaited,
    )
}


def resident() -> int:
    """Kilobytes of this process in memory; 0 where the system has no such file."""
    status = pathlib.Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


def measure() -> dict[str, int]:
    for _ in range(3):
        gc.collect()
    found = {"blocks": sys.getallocatedblocks(), "objects": len(gc.get_objects()), "kB": resident()}
    total = getattr(sys, "gettotalrefcount", None)
    return found if total is None else {**found, "references": total()}


def look_at(name: str, times: int) -> list[str]:
    operation = OPERATIONS[name]
    operation(max(times // 10, 500))  # caches, and the memory of a queue at its longest
    operation(max(times // 10, 500))
    before = measure()
    operation(times)
    grown = {what: count - before[what] for what, count in measure().items()}
    # A turn of some operations is one of twenty. Reference counts are exact: the constant is this code's own.
    limits = {
        "blocks": times // 25 + 1000,  # heaps of threads without the GIL keep some, not more and more
        "objects": times // 25 + 100,
        "kB": times // 50 + 6000,
        "references": 60,
    }
    print(f"{name}, {times} times: {grown}")
    return [f"{name}: {count} more {what}" for what, count in grown.items() if count > limits[what]]


if __name__ == "__main__":
    which, times = sys.argv[1], int(sys.argv[2])
    problems = [
        problem for name in (OPERATIONS if which == "all" else [which]) for problem in look_at(name, times)
    ]
    sys.exit("\n".join(problems) or 0)
