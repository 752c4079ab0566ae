"""Reading wall and CPU time around one call, and choosing how many jobs make a round long enough."""

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

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


class CollectorClock:
    """Seconds that Python's garbage collector took while the ``with`` block ran."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._start = 0.0

    def __enter__(self) -> Self:
        gc.callbacks.append(self._heard)
        return self

    def __exit__(self, *failure: object) -> None:
        gc.callbacks.remove(self._heard)

    def _heard(self, phase: str, info: dict[str, int]) -> None:
        now = time.perf_counter()
        if phase == "start":
            self._start = now
        else:
            self.seconds += now - self._start


def jobs_for(seconds: float, run: Callable[[int], object], limit: int = 1_000_000, least: int = 64) -> int:
    """How many jobs keep ``run(jobs)`` busy for about ``seconds``, for figures that do not depend on it."""
    jobs = least
    while True:
        wall = min(timed(run, jobs).wall for _ in range(2))
        if wall >= seconds / 4 or jobs >= limit:
            return max(least, min(limit, int(jobs * seconds / wall)))
        jobs *= 4
