"""Forks in mid-launch: the child can use loomy, the parent is unaffected.

The library with the kernels of tests/kernels/native.c is the second argument.
"""

from __future__ import annotations

import ctypes
import signal
import sys
import time
from collections.abc import Callable

from _common import WAIT, in_child, scenario_of

import loomy
from loomy import Pool

kernels = loomy.load_kernels(sys.argv[2])
COUNT = 50_000


def floats(value: float) -> ctypes.Array[ctypes.c_double]:
    return (ctypes.c_double * COUNT)(*[value] * COUNT)


def kernels_work() -> None:
    x, y = floats(1.0), floats(0.0)
    kernels.saxpy(x, y, 2.0)
    assert list(y) == [2.0] * COUNT
    with Pool(int, size=2) as pool:
        pool.launch(kernels.saxpy, x, y, 2.0).result(WAIT)
    assert list(y) == [4.0] * COUNT
    seen = (ctypes.c_int64 * 100)()
    kernels.nest(seen, n=5)
    assert list(seen) == [5] * 100


def fork_in_mid_launch() -> None:
    kernels.poll(0.0, n=1)  # there is a default pool
    with Pool(int, size=2) as pool:
        result = pool.launch(kernels.poll, 0.5, n=50)
        while not result.running():
            time.sleep(0.001)
        in_child(kernels_work)
        assert result.result(WAIT) is None
        kernels_work()


def old_launches_are_refused_in_the_child() -> None:
    def check() -> None:
        assert result.done()
        try:
            result.result(WAIT)
        except loomy.PoolNotRunning:
            pass
        else:
            raise AssertionError("it has a result")
        try:
            pool.launch(kernels.poll, 0.0, n=1)
        except loomy.PoolNotRunning:
            return
        raise AssertionError("it was launched")

    with Pool(int, size=2) as pool:
        result = pool.launch(kernels.poll, 0.5, n=50)
        while not result.running():
            time.sleep(0.001)
        in_child(check)
        assert result.result(WAIT) is None


def fork_in_many_short_launches() -> None:
    x, y = floats(1.0), floats(0.0)
    with Pool(int, size=2) as pool:
        for _ in range(20):
            results = [pool.launch(kernels.saxpy, x, floats(0.0), 1.0) for _ in range(3)]
            in_child(lambda: kernels.saxpy(x, y, 1.0))
            for result in results:
                result.result(WAIT)


SCENARIOS: dict[str, Callable[[], None]] = {
    scenario.__name__: scenario
    for scenario in (
        fork_in_mid_launch,
        old_launches_are_refused_in_the_child,
        fork_in_many_short_launches,
    )
}

if __name__ == "__main__":
    signal.alarm(40)
    scenario_of(SCENARIOS)()
