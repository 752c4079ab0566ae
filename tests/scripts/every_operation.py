"""A little of everything, in one process that ends in the ordinary way: what a leak detector is run on.

The number of turns is the argument; what is lost in each turn stands out from what is allocated once.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time
from concurrent.futures import wait

import loomy
import loomy.aio


def double(x: int) -> int:
    return 2 * x


def fail(x: int) -> int:
    raise ValueError(x)


def jobs() -> None:
    with loomy.Pool(double, 2) as pool:
        assert pool.process(1) == 2
        assert pool.process_async(2).result() == 4
        assert pool.process_batch(range(100)).results == [2 * x for x in range(100)]
        assert list(pool.map(range(100), ordered=False, buffer=8)) != []
        pool.process_async(3)  # nobody asks for its result
        pool.set_size(3)
        with contextlib.suppress(TypeError):
            pool.process_batch(5)  # type: ignore[arg-type]


def errors() -> None:
    with loomy.Pool(fail, 1) as pool:
        with contextlib.suppress(ValueError):
            pool.process(1)
        with contextlib.suppress(ValueError, ExceptionGroup):
            raise pool.process_batch([1, 2, 3]).errors[0] or AssertionError
        result = pool.process_async(1)
        result.cancel()
        with contextlib.suppress(Exception):
            result.result()
        with contextlib.suppress(loomy.JobTimedOut, ValueError):
            pool.process(1, timeout=1e-9)


def futures() -> None:
    with loomy.Executor(2) as executor:
        some = [executor.submit(double, x) for x in range(10)]
        some.append(executor.submit(fail, 1))
        some[-1].add_done_callback(lambda _: None)
        wait(some)
        assert list(executor.map(double, range(50))) == [2 * x for x in range(50)]


async def loops() -> None:
    with loomy.Pool(double, 2) as pool:
        assert await pool.process_async(1) == 2
        assert await asyncio.gather(*[pool.process_async(x) for x in range(20)]) == [2 * x for x in range(20)]
    assert await loomy.aio.to_thread(double, 4) == 8


def threads_have_ended() -> None:
    """Those of the last pools: the interpreter loses what it ends at exit. What serves the process stays."""
    stay = ("MainThread", "loomy-service", "loomy-aio", "loomy-default")
    end = time.monotonic() + 10
    while time.monotonic() < end and any(
        not thread.name.startswith(stay) for thread in threading.enumerate()
    ):
        time.sleep(0.01)


def main(turns: int) -> None:
    for _ in range(turns):
        jobs()
        errors()
        futures()
        asyncio.run(loops())
    threads_have_ended()


if __name__ == "__main__":
    main(int(sys.argv[1]))
