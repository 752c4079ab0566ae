"""The functions the pools run, and busy work that is counted in loops, not in wall-clock time."""

import threading
import time
from typing import Any


def identity(payload: Any) -> Any:
    """The no-op job: its answer can still be checked."""
    return payload


def busy(loops: int) -> int:
    """Pure-Python CPU work of a fixed number of steps; a closed form (`busy_answer`) checks it."""
    total = 0
    for step in range(loops):
        total += step
    return total


def busy_answer(loops: int) -> int:
    return loops * (loops - 1) // 2


def loops_per_microsecond() -> float:
    """The best of several runs: a run that was preempted says nothing about the loop."""
    loops = 100_000
    best = float("inf")
    for _ in range(15):
        start = time.perf_counter()
        busy(loops)
        best = min(best, time.perf_counter() - start)
    return loops / (best * 1e6)


def sleep_10_ms(payload: Any) -> Any:
    time.sleep(0.01)
    return payload


class Gate:
    """A payload that keeps its worker busy until it is opened."""

    def __init__(self) -> None:
        self._held = threading.Event()
        self._open = threading.Event()

    def hold(self) -> None:
        self._held.set()
        self._open.wait()

    def wait_until_held(self) -> None:
        if not self._held.wait(30):
            raise TimeoutError("no worker took the gate job within 30 s")

    def open(self) -> None:
        self._open.set()


class Meeting:
    """A payload that keeps its worker busy until the given number of threads hold it."""

    def __init__(self, parties: int) -> None:
        self._barrier = threading.Barrier(parties, timeout=30)

    def hold(self) -> None:
        self._barrier.wait()


def identity_or_hold(payload: Any) -> Any:
    """The no-op job for workloads that must first occupy workers."""
    if payload.__class__ is Gate or payload.__class__ is Meeting:
        payload.hold()
    return payload
