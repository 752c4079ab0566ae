"""Ends the interpreter with launches in some state. Whatever it is: exit code 0, no output, soon.

The library with the kernels of tests/kernels/native.c is the second argument.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
import threading
import time
from collections.abc import Callable

from _common import must_end, scenario_of

import loomy
from loomy import Pool

kernels = loomy.load_kernels(sys.argv[2])
kept: list[object] = []  # lives until the interpreter is torn down


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition() and time.monotonic() < end:
        time.sleep(0.001)


def floats(count: int) -> ctypes.Array[ctypes.c_double]:
    return (ctypes.c_double * count)()


def finished_launches() -> None:
    pool = Pool(int, size=2)
    kept.append([pool.launch(kernels.saxpy, floats(1000), floats(1000), 1.0) for _ in range(100)])
    kernels.saxpy(floats(1000), floats(1000), 1.0)
    kept.append(pool)


def running_launch() -> None:
    pool = Pool(int, size=2)
    result = pool.launch(kernels.poll, 20.0, n=20)
    wait_until(result.running)
    kept.append((pool, result))


def running_launch_whose_result_was_dropped() -> None:
    pool = Pool(int, size=2)
    pool.launch(kernels.poll, 20.0, n=20)
    wait_until(lambda: pool.running == 1)
    kept.append(pool)


def queued_launches() -> None:
    pool = Pool(int, size=1)
    running = pool.launch(kernels.poll, 20.0, n=20)
    wait_until(running.running)
    kept.append(
        (pool, running, [pool.launch(kernels.saxpy, floats(10), floats(10), 1.0) for _ in range(100)])
    )


def failed_launches() -> None:
    pool = Pool(int, size=2)
    results = [pool.launch(kernels.fail, -2, 3, True, n=10) for _ in range(10)]
    wait_until(lambda: all(result.done() for result in results))
    assert all(result.exception() is not None for result in results)
    kept.append((pool, results))


def failed_queued_and_running_launches() -> None:
    failed_launches()
    queued_launches()
    running_launch_whose_result_was_dropped()


def called_on_a_daemon_thread() -> None:
    def call() -> None:
        with contextlib.suppress(loomy.LoomyError):  # exit stops it
            kernels.poll(20.0, n=20)

    threading.Thread(target=call, daemon=True).start()
    wait_until(lambda: loomy.default_pool().running == 1)


def doze_through_the_end() -> None:
    """Chunks that do not look go on for a while; exit does not wait for them longer than a second."""
    pool = Pool(int, size=1)
    result = pool.launch(kernels.doze, 0.3, (ctypes.c_int64 * 1)(), n=100)
    wait_until(result.running)
    kept.append(pool)


SCENARIOS: dict[str, Callable[[], None]] = {
    scenario.__name__: scenario
    for scenario in (
        finished_launches,
        running_launch,
        running_launch_whose_result_was_dropped,
        queued_launches,
        failed_launches,
        failed_queued_and_running_launches,
        called_on_a_daemon_thread,
        doze_through_the_end,
    )
}

if __name__ == "__main__":
    must_end()
    scenario_of(SCENARIOS)()
