"""The functions the pools run, and busy work that is counted in loops, not in wall-clock time."""

import threading
import time
from abc import ABC, abstractmethod
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
    """From the best of many short runs: one that was preempted says nothing about the loop."""
    loops = 10_000
    best = float("inf")
    for _ in range(200):
        start = time.perf_counter()
        busy(loops)
        best = min(best, time.perf_counter() - start)
    return loops / (best * 1e6)


def sleep_10_ms(payload: Any) -> Any:
    time.sleep(0.01)
    return payload


class Errand(ABC):
    """A payload that does something on the worker that runs it."""

    @abstractmethod
    def run(self) -> None: ...


class Gate(Errand):
    """Keeps its worker busy until it is opened."""

    def __init__(self) -> None:
        self._held = threading.Event()
        self._open = threading.Event()

    def run(self) -> None:
        self._held.set()
        self._open.wait()

    def wait_until_held(self) -> None:
        if not self._held.wait(30):
            raise TimeoutError("no worker took the gate job within 30 s")

    def open(self) -> None:
        self._open.set()


class Meeting(Errand):
    """Keeps its worker busy until the given number of threads are in it."""

    def __init__(self, parties: int) -> None:
        self._barrier = threading.Barrier(parties, timeout=30)

    def run(self) -> None:
        self._barrier.wait()


class Stamp(Errand):
    """Notes when it ran."""

    def __init__(self) -> None:
        self.time = 0.0

    def run(self) -> None:
        self.time = time.perf_counter()


def identity_or_errand(payload: Any) -> Any:
    """The no-op job for workloads that must first occupy workers; their other payloads are integers."""
    if payload.__class__ is not int:
        payload.run()
    return payload
