"""The three ways to hash many files.

Each is a generator; closing it early stops what is running at its next block and drops the rest.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor

import loomy
from loomy._cli.files import Unreadable
from loomy._cli.hashing import Hashed, hash_file

Outcomes = Generator[Hashed | Unreadable, None, None]
Way = Callable[[Sequence[str], int], Outcomes]


class Stopped(Exception):
    """Ends a job of the standard library's pool, which cannot cancel what is running."""


def one_by_one(paths: Sequence[str], _workers: int) -> Outcomes:
    for path in paths:
        yield hash_file(path, lambda: None)


def with_standard_library(paths: Sequence[str], workers: int) -> Outcomes:
    stop = threading.Event()

    def poll() -> None:
        if stop.is_set():
            raise Stopped

    executor = ThreadPoolExecutor(workers, thread_name_prefix="demo-stdlib")
    try:
        yield from executor.map(lambda path: hash_file(path, poll), paths)
    finally:
        stop.set()
        executor.shutdown(cancel_futures=True)


def with_loomy(paths: Sequence[str], workers: int) -> Outcomes:
    def job(path: str) -> Hashed | Unreadable:
        return hash_file(path, loomy.check_cancelled)

    # The context is left first: it cancels what is running, for which the pool then waits.
    with loomy.Pool(job, size=workers, name="demo") as pool, loomy.Context() as context:
        yield from pool.map(paths, ordered=False, ctx=context)


WAYS: dict[str, Way] = {
    "one by one": one_by_one,
    "ThreadPoolExecutor": with_standard_library,
    "loomy.Pool": with_loomy,
}
