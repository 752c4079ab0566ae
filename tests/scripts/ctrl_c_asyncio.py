"""Ctrl-C while an event loop waits for jobs: KeyboardInterrupt at once, and a pool that can be used again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from _common import must_end, scenario_of
from ctrl_c import interrupt, job

import loomy.aio
from loomy import Pool


def run(pool: Pool[int, int], main: Coroutine[Any, Any, object], reusable: bool = True) -> None:
    interrupt(pool, lambda: asyncio.run(main), reusable)


def awaiting_a_job() -> None:
    pool = Pool(job, size=1)

    async def main() -> None:
        await pool.process_async(0)

    run(pool, main())
    assert pool.stats().cancelled == 1


def awaiting_a_batch() -> None:
    pool = Pool(job, size=1)

    async def main() -> None:
        await pool.process_batch_async([0, 1, 2])

    run(pool, main())


def gather() -> None:
    pool = Pool(job, size=1)

    async def main() -> None:
        await asyncio.gather(*(pool.process_async(i) for i in range(3)))

    run(pool, main())
    assert pool.stats().cancelled == 3


def loop_over_a_map() -> None:
    pool = Pool(job, size=1)

    async def main() -> None:
        async for _ in pool.map([1, 0, 2]):
            pass

    run(pool, main())


def leaving_the_block() -> None:
    pool = Pool(job, size=1)

    async def main() -> None:
        async with pool:
            pool.process_async(0)
            pool.process_async(1)

    run(pool, main(), reusable=False)
    assert pool.stats().completed <= 1  # what had not started never did


def to_thread() -> None:
    pool = Pool(job, size=1)

    async def main() -> None:
        await loomy.aio.to_thread(job, 0)

    run(pool, main())


SCENARIOS: dict[str, Callable[[], None]] = {
    scenario.__name__: scenario
    for scenario in (
        awaiting_a_job,
        awaiting_a_batch,
        gather,
        loop_over_a_map,
        leaving_the_block,
        to_thread,
    )
}

if __name__ == "__main__":
    must_end()
    scenario_of(SCENARIOS)()
