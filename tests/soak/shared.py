"""What the actors share: the end, the tally, one pool, and checks."""

from __future__ import annotations

import contextlib
import random
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import loomy
from loomy import Pool

WAIT = 20.0  # bound of each wait: no job here takes a tenth of that


class Fault(Exception):
    """What jobs raise that are to fail."""


class Odd(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text either")


class Soak:
    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.over = threading.Event()
        self.lock = threading.RLock()  # a signal handler tallies inside the main thread's tallying
        self.injected: Counter[str] = Counter()
        self.survived: Counter[str] = Counter()
        self.rounds: Counter[str] = Counter()
        self.failures: list[str] = []
        self.armed = False  # whether the handler of SIGUSR1 raises
        self.handling = False  # whether that of SIGALRM is at work, which is interrupted by neither
        self.pool: Pool[Callable[[], Any], Any] = Pool.from_callbacks(size=4, name="shared")

    @contextlib.contextmanager
    def fault(self, name: str, count: int = 1) -> Iterator[None]:
        with self.lock:
            self.injected[name] += count
        yield
        with self.lock:
            self.survived[name] += count

    def act(self, actor: Callable[[Soak, random.Random], None]) -> None:
        dice = random.Random(f"{self.seed} {actor.__name__}")
        while not self.over.is_set():
            try:
                actor(self, dice)
            except BaseException:
                self.failures.append(f"{actor.__name__}:\n{traceback.format_exc()}")
                self.over.set()
            self.rounds[actor.__name__] += 1


def expect(kind: type[BaseException], call: Callable[[], object]) -> None:
    try:
        result = call()
    except kind:
        return
    raise AssertionError(f"{kind} expected, came to {result!r}")


def check(condition: object, what: object) -> None:
    if not condition:
        raise AssertionError(what)


def fail(error: BaseException) -> None:
    raise error


def until_cancelled() -> None:
    context = loomy.current_context()
    assert context is not None
    if not context.wait(WAIT):
        raise AssertionError("nobody cancelled this job")


def growth(sizes: Sequence[float]) -> float:
    """By how much what was measured, one after the other, has grown for certain since it was warmed up.

    From the most in the second quarter of the time to the least in the last one: neither what the beginning
    takes nor the ups and downs count.
    """
    quarter = len(sizes) // 4
    if not quarter:
        return 0.0
    return min(sizes[-quarter:]) - max(sizes[quarter : 2 * quarter])
