"""Blocking calls under a storm of SIGALRM and SIGCHLD: they neither break nor end early."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

from _common import WAIT, must_end, report, scenario_of

import loomy
from loomy import Context, Pool

TIMEOUT = 0.2

PERIOD = 0.005
CALM = 75  # the exit code when there was no storm, so that nothing was shown

door = threading.Event()
seen: Counter[int] = Counter()


def on_signal(number: int, _: object) -> None:
    seen[number] += 1


@contextlib.contextmanager
def storm() -> Iterator[None]:
    """Both signals, each PERIOD, for as long as the block."""
    calm = threading.Event()

    def tell_of_children() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM, signal.SIGCHLD])  # as workers do
        while not calm.wait(PERIOD):
            os.kill(os.getpid(), signal.SIGCHLD)

    for number in (signal.SIGALRM, signal.SIGCHLD):
        signal.signal(number, on_signal)
    teller = threading.Thread(target=tell_of_children)
    teller.start()
    signal.setitimer(signal.ITIMER_REAL, PERIOD, PERIOD)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        calm.set()
        teller.join()


@contextlib.contextmanager
def hit_by_signals() -> Iterator[None]:
    before = seen.copy()
    yield
    hits = seen - before
    if not (hits[signal.SIGALRM] and hits[signal.SIGCHLD]):  # of some 40 each: the machine is too busy
        door.set()
        sys.exit(CALM)


def takes_its_time(call: Callable[[], object], error: type[Exception]) -> None:
    """The call must raise `error`, and not before its timeout."""
    with hit_by_signals():
        begun = time.monotonic()
        try:
            call()
        except error:
            pass
        else:
            raise AssertionError(f"{error.__name__} expected")
        elapsed = time.monotonic() - begun
        assert elapsed >= TIMEOUT - 0.001, f"ended after {elapsed} s"


def job(payload: int) -> int:
    door.wait(WAIT)
    return payload


def opens_soon() -> None:
    threading.Timer(TIMEOUT, door.set).start()


def wait_timeout() -> None:
    with Pool(job, size=1) as pool:
        result = pool.process_async(1)
        takes_its_time(lambda: result.wait(TIMEOUT), TimeoutError)
        door.set()


def exception_timeout() -> None:
    with Pool(job, size=1) as pool:
        result = pool.process_async(1)
        takes_its_time(lambda: result.exception(TIMEOUT), TimeoutError)
        door.set()


def process_timeout() -> None:
    with Pool(job, size=1) as pool:
        takes_its_time(lambda: pool.process(1, timeout=TIMEOUT), loomy.JobTimedOut)
        door.set()


def batch_timeout() -> None:
    with Pool(job, size=1) as pool:
        takes_its_time(lambda: pool.process_batch([1, 2], timeout=TIMEOUT).raise_for_errors(), ExceptionGroup)
        door.set()


def map_timeout() -> None:
    with Pool(job, size=1) as pool:
        takes_its_time(lambda: next(pool.map([1, 2], timeout=TIMEOUT)), loomy.JobTimedOut)
        door.set()


def submit_timeout() -> None:
    with Pool(job, size=1, max_pending=0) as pool:
        pool.process_async(1)
        takes_its_time(lambda: pool.process(2, timeout=TIMEOUT), loomy.JobTimedOut)
        door.set()


def shutdown_timeout() -> None:
    pool = Pool(job, size=1)
    pool.process_async(1)
    takes_its_time(lambda: pool.shutdown(TIMEOUT), loomy.JobTimedOut)
    door.set()
    pool.close()


def resize_timeout() -> None:
    with Pool(job, size=1) as pool:
        pool.process_async(1)
        wait_until_it_runs(pool)
        takes_its_time(lambda: pool.set_size(0, timeout=TIMEOUT), TimeoutError)
        door.set()
        pool.set_size(1)


def wait_until_it_runs(pool: Pool[int, int]) -> None:
    end = time.monotonic() + WAIT
    while not pool.running and time.monotonic() < end:
        time.sleep(0.001)


def context_wait() -> None:
    with hit_by_signals():
        begun = time.monotonic()
        assert Context().wait(TIMEOUT) is False
        assert time.monotonic() - begun >= TIMEOUT - 0.001


def results_arrive() -> None:
    with Pool(job, size=2, affinity="worker") as pool:
        opens_soon()
        with hit_by_signals():
            assert pool.process(7) == 7
        results, errors = pool.process_batch(range(100))
        assert results == list(range(100))
        assert errors == [None] * 100
        assert list(pool.map(range(100))) == list(range(100))


def batch_arrives() -> None:
    with Pool(job, size=2, affinity="worker") as pool:
        opens_soon()
        with hit_by_signals():
            assert pool.process_batch(range(100)).raise_for_errors() == list(range(100))


def map_arrives() -> None:
    with Pool(job, size=2, affinity="worker") as pool:
        opens_soon()
        with hit_by_signals():
            assert list(pool.map(range(100), timeout=WAIT)) == list(range(100))


def shutdown_drains() -> None:
    pool = Pool(job, size=1)
    results = [pool.process_async(i) for i in range(3)]
    opens_soon()
    with hit_by_signals():
        pool.shutdown(WAIT)
    assert [result.wait(0) for result in results] == [0, 1, 2]


def worker_leaves() -> None:
    with Pool(job, size=1) as pool:
        result = pool.process_async(1)
        wait_until_it_runs(pool)
        opens_soon()
        with hit_by_signals():
            pool.set_size(0, timeout=WAIT)
        assert result.wait(0) == 1


def full_queue_lets_in() -> None:
    with Pool(job, size=1, max_pending=0) as pool:
        pool.process_async(1)
        opens_soon()
        with hit_by_signals():
            assert pool.process_async(2).wait(WAIT) == 2


SCENARIOS: dict[str, Callable[[], None]] = {
    scenario.__name__: scenario
    for scenario in (
        wait_timeout,
        exception_timeout,
        process_timeout,
        batch_timeout,
        map_timeout,
        submit_timeout,
        shutdown_timeout,
        resize_timeout,
        context_wait,
        results_arrive,
        batch_arrives,
        map_arrives,
        shutdown_drains,
        worker_leaves,
        full_queue_lets_in,
    )
}

if __name__ == "__main__":
    must_end()
    with storm():
        scenario_of(SCENARIOS)()
    report(signals=seen.total())
