"""Ctrl-C while a kernel runs: how soon it is raised, and that nothing runs any more then.

The library with the kernels of tests/kernels/native.c is the second argument.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable

from _common import WAIT, CtrlC, must_end, report, scenario_of

import loomy
from loomy import Pool

kernels = loomy.load_kernels(sys.argv[2])
started = threading.Event()
started.set()  # CtrlC waits until the main thread sleeps


def interrupt(call: Callable[[], object]) -> None:
    ctrl_c = CtrlC(started)
    try:
        call()
    except KeyboardInterrupt:
        report(latency=ctrl_c.latency())
    else:
        raise AssertionError("the call returned")


def polling_kernel() -> None:
    interrupt(lambda: kernels.poll(10.0, n=10))
    stats = loomy.default_pool().stats()
    assert stats.cancelled == 1
    assert stats.running == 0
    kernels.poll(0.0, n=1)  # and goes on


def polling_kernel_that_was_short_before() -> None:
    """Known to be short, the main thread takes part: what it takes longer then is not known."""
    for _ in range(5):
        kernels.poll(1.0, n=1)
    interrupt(lambda: kernels.poll(10.0, n=10))


def kernel_that_does_not_poll() -> None:
    """Stops after its running chunks, and is over when KeyboardInterrupt is raised."""
    done = (ctypes.c_int64 * 1)()
    ctrl_c = CtrlC(started)
    try:
        kernels.doze(0.1, done, n=100)
    except KeyboardInterrupt:
        latency = ctrl_c.latency()
    else:
        raise AssertionError("the call returned")
    seen = done[0]
    time.sleep(0.5)
    assert done[0] == seen < 100
    report(latency=latency)


def second_ctrl_c_does_not_wait() -> None:
    done = (ctypes.c_int64 * 1)()
    ctrl_c = CtrlC(started)
    again = threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGINT))
    again.daemon = True
    again.start()
    try:
        kernels.doze(WAIT / 4, done, n=2)
    except KeyboardInterrupt:
        latency = ctrl_c.latency()
    else:
        raise AssertionError("the call returned")
    assert done[0] == 0
    report(latency=latency - 1.0)


def result_of_a_launch() -> None:
    """The wait ends, the launch goes on, as with other jobs."""
    with Pool(int, size=1) as pool:
        result = pool.launch(kernels.poll, 10.0, n=10)
        interrupt(result.result)
        assert not result.done()
        assert result.cancel()


def launch_into_a_full_pool() -> None:
    with Pool(int, size=1, max_pending=0, affinity="worker") as pool:
        result = pool.launch(kernels.poll, 10.0, n=10)
        interrupt(lambda: pool.launch(kernels.poll, 10.0, n=10))
        result.cancel()


SCENARIOS: dict[str, Callable[[], None]] = {
    scenario.__name__: scenario
    for scenario in (
        polling_kernel,
        polling_kernel_that_was_short_before,
        kernel_that_does_not_poll,
        second_ctrl_c_does_not_wait,
        result_of_a_launch,
        launch_into_a_full_pool,
    )
}

if __name__ == "__main__":
    must_end()
    scenario_of(SCENARIOS)()
