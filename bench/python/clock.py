"""Reading wall and CPU time around one call, and choosing how many jobs make a round long enough."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Lap(Generic[T]):
    result: T
    wall: float
    cpu: float


def timed(run: Callable[..., T], *args: object) -> Lap[T]:
    """Call ``run(*args)``; its result is still alive when the clock stops, so no row pays for freeing it."""
    cpu = time.process_time()
    start = time.perf_counter()
    result = run(*args)
    wall = time.perf_counter() - start
    return Lap(result, wall, time.process_time() - cpu)


def jobs_for(seconds: float, run: Callable[[int], object], limit: int = 1_000_000) -> int:
    """How many jobs keep ``run(jobs)`` busy for about ``seconds``, for figures that do not depend on it."""
    jobs = 64
    while True:
        wall = min(timed(run, jobs).wall for _ in range(2))
        if wall >= seconds / 4 or jobs >= limit:
            return max(64, min(limit, int(jobs * seconds / wall)))
        jobs *= 4
