"""Deadlines that pass in the middle of any hand-off of any call: no worker is lost, no job miscounted."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from helpers import LONG, WAIT, Background, in_threads

import loomy
from loomy import Context, Pool, Worker

SECONDS = 60.0 if LONG else 2.0  # all storms together
ROUNDS = 2  # of which the better one says how soon a pool closes: the machine may be busy in the other
CALLERS = 8
SIZE = 2

AnyPool = Pool[int, int]
Limits = dict[str, Any]


class Jobs:
    """20 µs each; those below zero wait until every worker runs one of them."""

    def __init__(self) -> None:
        self.together = threading.Barrier(SIZE)

    def run(self, payload: int) -> int:
        if payload < 0:
            self.together.wait(WAIT)
            return payload
        end = time.perf_counter() + 20e-6
        while time.perf_counter() < end:
            pass
        return payload

    def functions(self, **options: Any) -> AnyPool:
        return Pool(self.run, size=SIZE, **options)

    def workers(self, **options: Any) -> AnyPool:
        jobs = self

        class Stateful(Worker[int, int]):
            def process(self, ctx: Context, payload: int) -> int:
                return jobs.run(payload)

            def interrupt(self) -> None:
                pass

        return Pool.from_workers(Stateful, size=SIZE, **options)


class Caller:
    """What one thread saw: items that ended in each way, and those that nobody knows of."""

    def __init__(self, pool: AnyPool, index: int) -> None:
        self.pool = pool
        self.dice = random.Random(index)
        self.seen: Counter[str] = Counter()

    def storm(self, end: float) -> Counter[str]:
        calls = (self.process, self.process_async, self.batch, self.batch_async, self.map)
        while time.monotonic() < end:
            self.dice.choice(calls)()
        return self.seen

    def limits(self) -> Limits:
        """The hand-offs of one call take some 100 µs, and more where it must wait for room."""
        limit = self.dice.uniform(0, 300e-6)
        if self.dice.random() < 0.5:
            return {"timeout": limit}
        return {"ctx": Context(timeout=limit)}

    def note(self, payload: int, call: Callable[[], int]) -> None:
        try:
            assert call() == payload
        except loomy.JobTimedOut:
            self.seen["timed out"] += 1
        else:
            self.seen["completed"] += 1

    def process(self) -> None:
        payload = self.dice.randrange(10**6)
        self.note(payload, lambda: self.pool.process(payload, **self.limits()))

    def process_async(self) -> None:
        payloads = [self.dice.randrange(10**6) for _ in range(3)]
        results = [self.pool.process_async(payload, **self.limits()) for payload in payloads]
        for payload, result in zip(payloads, results, strict=True):
            self.note(payload, lambda result=result: result.wait(WAIT))  # type: ignore[misc]

    def batch(self) -> None:
        payloads = range(self.dice.randrange(1, 6))
        self.note_batch(payloads, self.pool.process_batch(payloads, **self.limits()))

    def batch_async(self) -> None:
        payloads = range(self.dice.randrange(1, 6))
        self.note_batch(payloads, self.pool.process_batch_async(payloads, **self.limits()).wait(WAIT))

    def note_batch(self, payloads: range, batch: loomy.BatchResult[int]) -> None:
        for payload, result, error in zip(payloads, *batch, strict=True):
            if error is None:
                assert result == payload
                self.seen["completed"] += 1
            else:
                assert isinstance(error, loomy.JobTimedOut), error
                self.seen["timed out"] += 1

    def map(self) -> None:
        """It ends at the first job that has timed out. What becomes of those after it is not seen."""
        pulled = 0

        def payloads() -> Iterator[int]:
            nonlocal pulled
            for payload in range(5):
                pulled += 1
                yield payload

        results: list[int] = []
        try:
            results.extend(self.pool.map(payloads(), buffer=2, **self.limits()))
            assert len(results) == 5
        except loomy.JobTimedOut:
            pass
        assert results == list(range(len(results)))
        self.seen["completed"] += len(results)
        self.seen["unseen"] += pulled - len(results)


def storm(jobs: Jobs, pool: AnyPool, seconds: float) -> float:
    """How long close() took after it."""
    end = time.monotonic() + seconds
    seen: Counter[str] = sum(
        in_threads(CALLERS, lambda index: Caller(pool, index).storm(end)), start=Counter()
    )
    meeting = [Background(lambda: pool.process_async(-1).wait(WAIT)) for _ in range(SIZE)]
    assert [each.result() for each in meeting] == [-1] * SIZE  # no worker is missing
    begun = time.monotonic()
    pool.close()
    took = time.monotonic() - begun
    stats = pool.stats()
    seen["completed"] += SIZE
    assert seen["completed"] <= stats.completed <= seen["completed"] + seen["unseen"]
    assert seen["timed out"] <= stats.timed_out <= seen["timed out"] + seen["unseen"]
    assert stats.failed == 0
    assert stats.cancelled <= seen["unseen"]  # by the end of a map
    assert stats.submitted == stats.completed + stats.timed_out + stats.cancelled
    return took


POOLS: dict[str, Callable[[Jobs], AnyPool]] = {
    "functions": lambda jobs: jobs.functions(),
    "functions, on workers only": lambda jobs: jobs.functions(affinity="worker"),
    "functions, bounded": lambda jobs: jobs.functions(max_pending=1),
    "functions, hand-off only": lambda jobs: jobs.functions(max_pending=0),
    "workers": lambda jobs: jobs.workers(),
    "workers, bounded": lambda jobs: jobs.workers(max_pending=1),
}


@pytest.mark.timeout(60 + SECONDS, method="thread")
@pytest.mark.parametrize("make", POOLS.values(), ids=POOLS)
def test_deadlines_that_pass_at_any_step_of_any_call_lose_no_worker(make: Callable[[Jobs], AnyPool]) -> None:
    closing: list[float] = []
    for _ in range(ROUNDS):
        jobs = Jobs()
        closing.append(storm(jobs, make(jobs), SECONDS / len(POOLS) / ROUNDS))
    assert min(closing) < 1.0
    assert max(closing) < WAIT / 2
