"""`interrupt()` of a worker whose job waits for others of its own pool."""

from __future__ import annotations

import threading
from contextlib import suppress

from helpers import LONG, WAIT

import loomy
from loomy import Context, Pool, Worker


def test_job_is_interrupted_while_it_runs_a_batch_of_its_own_pool() -> None:
    """The interrupt needs the interpreter: the batch must not keep it while it waits for the interrupt."""
    interrupts: list[int] = []

    class Nesting(Worker[int, int]):
        def process(self, ctx: Context, payload: int) -> int:
            if payload < 0:
                started.set()
                while not stop.is_set():
                    with suppress(loomy.LoomyError):
                        pool.process_batch(range(20))
            return payload

        def interrupt(self) -> None:
            interrupts.append(1)
            stop.set()

    rounds = 2_000 if LONG else 60
    with Pool.from_workers(Nesting, 1) as pool:
        for number in range(rounds):
            started, stop = threading.Event(), threading.Event()
            result = pool.process_async(-1)
            assert started.wait(WAIT)
            threading.Event().wait((number % 37) * 1e-5)
            assert result.cancel()
            assert stop.wait(WAIT)
            assert pool.process_async(1).wait(WAIT) == 1
    assert len(interrupts) == rounds
