"""Uses pools where there is no memory for the stacks of threads, or only for a few; then where there is.

RLIMIT_NPROC does not bind root, RLIMIT_AS does: a stack takes a gigabyte of it here, all else much less.
"""

from __future__ import annotations

import os
import resource
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from _common import WAIT, must_end, scenario_of

import loomy
from loomy import Context, Executor, Pool, Worker

STACK = 1 << 30
REFUSED = "has no worker thread and the system gives it none"


@contextmanager
def room_for(threads: float) -> Iterator[None]:
    """Inside, no more than so many threads can be started: leave half a stack for what else needs memory."""
    with open("/proc/self/statm") as statm:
        used = int(statm.read().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + int(threads * STACK), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def refuses(call: Callable[[], object], words: str = REFUSED) -> None:
    told = ""
    try:
        call()
    except RuntimeError as error:
        told = str(error)
    assert words in told, told or "it was not refused"


class Runs:
    """A job that counts how often each payload was run."""

    def __init__(self) -> None:
        self.counts = Counter[int]()
        self._lock = threading.Lock()

    def __call__(self, payload: int) -> int:
        with self._lock:
            self.counts[payload] += 1
        return payload


class Echo(Worker[int, int]):
    def process(self, ctx: Context, payload: int) -> int:
        return payload


def there_is_none() -> None:
    """As the limit says itself, not only loomy."""
    with room_for(0.5):
        refuses(threading.Thread(target=print).start, "can't start new thread")


def no_worker() -> None:
    """Each call says so and submits nothing; the same pool works when there are threads again."""
    runs = Runs()
    with Pool(runs, 2, affinity="worker") as pool:
        with room_for(0.5):
            refuses(lambda: pool.process(1))
            refuses(lambda: pool.process(1, timeout=WAIT))
            refuses(lambda: pool.process_async(1))
            refuses(lambda: pool.try_process_async(1))
            refuses(lambda: pool.process_batch([1, 2]))
            refuses(lambda: pool.process_batch_async([1, 2]))
            refuses(lambda: list(pool.map([1, 2])))
        results = [pool.process_async(i) for i in range(100)]
        assert [result.wait(WAIT) for result in results] == list(range(100))
        assert runs.counts == Counter(range(100))
    assert pool.stats().completed == 100


def no_worker_but_the_caller() -> None:
    """A caller that may run jobs itself needs no thread."""
    runs = Runs()
    with Pool(runs, 1) as pool, room_for(0.5):
        assert pool.process(1) == 1
        assert pool.process_batch(range(2, 50)).raise_for_errors() == list(range(2, 50))
        refuses(lambda: pool.process_async(50))
    assert runs.counts == Counter(range(1, 50))


def no_worker_of_an_executor() -> None:
    runs = Runs()
    with Executor(2) as executor:
        with room_for(0.5):
            refuses(lambda: executor.submit(runs, 1), "thread")
            refuses(lambda: list(executor.map(runs, [1, 2])), "thread")
        assert list(executor.map(runs, range(100), timeout=WAIT)) == list(range(100))
        assert runs.counts == Counter(range(100))


def no_stateful_worker() -> None:
    with room_for(0.5):
        pool = Pool.from_workers(Echo, 2)  # would start them
        refuses(lambda: pool.process(1))
        refuses(lambda: pool.process_async(1))
    with pool:
        assert pool.process_batch(range(100), timeout=WAIT).raise_for_errors() == list(range(100))


def fewer_workers() -> None:
    """Those that there are do all of it, and are joined by others when there are threads again."""
    runs = Runs()
    together = threading.Barrier(6)

    def job(payload: int) -> int:
        if payload < 0:
            together.wait(WAIT)
        return runs(payload)

    with Pool(job, 6, name="scarce", affinity="worker") as pool:
        with room_for(3):
            results = [pool.process_async(i) for i in range(500)]
            batch = pool.process_batch_async(range(500, 1000))
            assert list(pool.map(range(1000, 1500))) == list(range(1000, 1500))
            assert [result.wait(WAIT) for result in results] == list(range(500))
            assert batch.wait(WAIT).raise_for_errors() == list(range(500, 1000))
            assert sum(thread.name.startswith("scarce-") for thread in threading.enumerate()) <= 3
        assert runs.counts == Counter(range(1500))
        assert (
            len(pool.process_batch([-1] * 6, timeout=WAIT).raise_for_errors()) == 6
        )  # all six, or they hang


def no_thread_for_deadlines() -> None:
    """What nobody would end at its deadline is refused at once; who waits for the end sees to it himself."""
    held, begun = threading.Event(), threading.Event()

    def job(payload: int) -> int:
        if payload == 0:
            begun.set()
            held.wait(WAIT)
        return payload

    with Pool(job, 1, affinity="worker") as pool:
        first = pool.process_async(0)
        assert begun.wait(WAIT)
        with room_for(0.5):
            refuses(lambda: pool.process_async(1, timeout=WAIT), "the timer thread could not be started")
            refuses(lambda: pool.process_batch_async([1], timeout=WAIT), "the timer thread")
            refuses(lambda: Context(timeout=WAIT).on_cancel(held.set), "the timer thread")
            try:
                pool.process(1, timeout=0.01)
            except loomy.JobTimedOut:
                pass
            else:
                raise AssertionError("a job ran beside the one that holds the only worker")
        error = pool.process_async(1, timeout=0.01).exception(WAIT)
        assert isinstance(error, loomy.JobTimedOut), error
        held.set()
        assert first.wait(WAIT) == 0
        assert pool.process(2, timeout=WAIT) == 2


def no_thread_for_interrupts() -> None:
    """Then the worker is told of the job that was given up when that returns, and of no other."""
    running, door = threading.Event(), threading.Event()
    hits: list[int] = []

    class Interrupted(Worker[int, int]):
        def process(self, ctx: Context, payload: int) -> int:
            self.current = payload
            if payload == 0:
                running.set()
                door.wait(WAIT)
            return payload

        def interrupt(self) -> None:
            hits.append(self.current)

    with Pool.from_workers(Interrupted, 1) as pool:
        given_up = pool.process_async(0)
        behind = pool.process_async(1)
        assert running.wait(WAIT)
        with room_for(0.5):
            assert given_up.cancel()
            time.sleep(0.05)  # nobody comes; an interrupt that came all the same would be no fault
            door.set()
            assert behind.wait(WAIT) == 1
        assert hits == [0]


SCENARIOS: dict[str, Callable[[], None]] = {
    scenario.__name__: scenario
    for scenario in (
        there_is_none,
        no_worker,
        no_worker_but_the_caller,
        no_worker_of_an_executor,
        no_stateful_worker,
        fewer_workers,
        no_thread_for_deadlines,
        no_thread_for_interrupts,
    )
}

if __name__ == "__main__":
    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    if soft != STACK:  # which a process learns when it begins
        resource.setrlimit(resource.RLIMIT_STACK, (STACK, hard))
        os.execv(sys.executable, [sys.executable, *sys.argv])
    must_end()
    scenario_of(SCENARIOS)()
