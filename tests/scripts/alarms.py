"""Blocking calls under a storm of SIGALRM: they neither break nor end early."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable

from _common import WAIT, must_end, report, scenario_of

import loomy
from loomy import Context, Pool

TIMEOUT = 0.3

door = threading.Event()
alarms = 0


def on_alarm(*_: object) -> None:
    global alarms
    alarms += 1


def job(payload: int) -> int:
    door.wait(WAIT)
    return payload


def takes_its_time(call: Callable[[], object], error: type[Exception]) -> None:
    """The call must raise `error`, and not before its timeout."""
    begun = time.monotonic()
    try:
        call()
    except error:
        pass
    else:
        raise AssertionError(f"{error.__name__} expected")
    elapsed = time.monotonic() - begun
    assert elapsed >= TIMEOUT - 0.001, f"ended after {elapsed} s"
    assert alarms > 5, alarms


def opens_soon() -> None:
    threading.Timer(TIMEOUT, door.set).start()


def wait_timeout() -> None:
    with Pool(job, size=1) as pool:
        result = pool.process_async(1)
        takes_its_time(lambda: result.wait(TIMEOUT), TimeoutError)
        door.set()


def process_timeout() -> None:
    with Pool(job, size=1) as pool:
        takes_its_time(lambda: pool.process(1, timeout=TIMEOUT), loomy.JobTimedOut)
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


def context_wait() -> None:
    begun = time.monotonic()
    assert Context().wait(TIMEOUT) is False
    assert time.monotonic() - begun >= TIMEOUT - 0.001
    assert alarms > 5


def results_arrive() -> None:
    with Pool(job, size=2, affinity="worker") as pool:
        opens_soon()
        assert pool.process(7) == 7
        results, errors = pool.process_batch(range(100))
        assert results == list(range(100))
        assert errors == [None] * 100
        assert list(pool.map(range(100))) == list(range(100))
    assert alarms > 5


def full_queue_lets_in() -> None:
    with Pool(job, size=1, max_pending=0) as pool:
        pool.process_async(1)
        opens_soon()
        assert pool.process_async(2).wait(WAIT) == 2
    assert alarms > 5


SCENARIOS: dict[str, Callable[[], None]] = {
    scenario.__name__: scenario
    for scenario in (
        wait_timeout,
        process_timeout,
        submit_timeout,
        shutdown_timeout,
        context_wait,
        results_arrive,
        full_queue_lets_in,
    )
}

if __name__ == "__main__":
    must_end()
    signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)
    scenario_of(SCENARIOS)()
    signal.setitimer(signal.ITIMER_REAL, 0)
    report(alarms=alarms)
