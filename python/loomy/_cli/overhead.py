"""What a pool costs per job: jobs that do nothing, all submitted and then all collected."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import loomy

JOBS = 2_000
ROUNDS = 7


def overhead_per_job(workers: int) -> dict[str, float]:
    """Seconds per job of each pool: the median of rounds that take turns, on warm pools of the same size."""
    seconds: dict[str, list[float]] = {"ThreadPoolExecutor": [], "loomy.Pool": []}
    with ThreadPoolExecutor(workers) as executor, loomy.Pool(_nothing, size=workers, name="overhead") as pool:

        def standard_library() -> None:
            futures = [executor.submit(_nothing, number) for number in range(JOBS)]
            for future in futures:
                future.result()

        def native() -> None:
            results = [pool.process_async(number) for number in range(JOBS)]
            for result in results:
                result.wait()

        standard_library()
        native()
        for _ in range(ROUNDS):
            seconds["ThreadPoolExecutor"].append(_seconds(standard_library))
            seconds["loomy.Pool"].append(_seconds(native))
    return {name: statistics.median(taken) / JOBS for name, taken in seconds.items()}


def _nothing(number: int) -> int:
    return number


def _seconds(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
