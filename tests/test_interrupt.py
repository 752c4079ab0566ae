"""`Worker.interrupt`: called for the job that was given up, once, and for no other."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from queue import SimpleQueue

import pytest
from helpers import LONG, WAIT, Background, Gate, in_threads, wait_until

import loomy
from loomy import Context, Pool, Worker


class Interruptible(Worker[int, int]):
    """Processes until it is interrupted, and remembers who it was interrupted for."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self.interrupted = threading.Event()
        self.interrupts = 0
        self.current = -1
        self.hit: list[int] = []

    def process(self, ctx: Context, payload: int) -> int:
        self.current = payload
        self.started.set()
        if payload >= 0:
            assert self.interrupted.wait(WAIT)
        return payload

    def interrupt(self) -> None:
        self.interrupts += 1
        self.hit.append(self.current)
        self.interrupted.set()


def one_worker(worker: Interruptible) -> Callable[[], Interruptible]:
    return lambda: worker


def test_interrupt_reaches_the_running_job_whose_timeout_passed() -> None:
    worker = Interruptible()
    with Pool.from_workers(one_worker(worker), size=1) as pool:
        with pytest.raises(loomy.JobTimedOut):
            pool.process(1, timeout=0.3)
        assert worker.interrupted.wait(WAIT)
        assert pool.process(-1) == -1
    assert worker.hit == [1]


def test_interrupt_reaches_the_running_job_whose_context_was_cancelled() -> None:
    worker = Interruptible()
    with Pool.from_workers(one_worker(worker), size=1) as pool:
        ctx = Context()
        caller = Background(lambda: pool.process(1, ctx=ctx))
        assert worker.started.wait(WAIT)
        ctx.cancel()
        with pytest.raises(loomy.JobCancelled):
            caller.result()
        assert pool.process(-1) == -1
    assert worker.interrupts == 1


def test_interrupt_reaches_the_running_job_whose_result_was_cancelled() -> None:
    worker = Interruptible()
    with Pool.from_workers(one_worker(worker), size=1) as pool:
        result = pool.process_async(1)
        assert worker.started.wait(WAIT)
        assert result.cancel()
        assert pool.process(-1) == -1
    assert worker.interrupts == 1


def test_interrupt_is_called_once_for_an_abandoned_job_however_often_it_is_given_up() -> None:
    worker = Interruptible()
    with Pool.from_workers(one_worker(worker), size=1) as pool:
        ctx = Context()
        result = pool.process_async(1, ctx=ctx)
        assert worker.started.wait(WAIT)
        result.cancel()
        ctx.cancel()
        result.cancel()
        assert pool.process(-1) == -1
    assert worker.interrupts == 1


def test_interrupt_is_not_called_for_a_job_that_ended_by_itself() -> None:
    worker = Interruptible()
    with Pool.from_workers(one_worker(worker), size=1) as pool:
        for _ in range(100):
            ctx = Context()
            pool.process(-1, ctx=ctx)
            ctx.cancel()
    assert worker.interrupts == 0


def test_interrupt_is_not_called_for_a_queued_job() -> None:
    with Gate() as gate:
        interrupts: list[int] = []

        class Gated(Worker[int, int]):
            def process(self, ctx: Context, payload: int) -> int:
                return gate.block(payload)

            def interrupt(self) -> None:
                interrupts.append(1)

        with Pool.from_workers(Gated, size=1) as pool:
            pool.process_async(1)
            gate.wait_entered()
            pool.process_async(2).cancel()
            with pytest.raises(loomy.JobTimedOut):
                pool.process(3, timeout=0.02)
            gate.open()
    assert interrupts == []


@pytest.mark.parametrize("end", ["cancel", "context"])
def test_interrupt_reaches_every_worker_that_runs_an_item_of_the_batch_given_up(end: str) -> None:
    running = threading.Semaphore(0)
    hits: list[int] = []

    class Patient(Worker[int, int]):
        def process(self, ctx: Context, payload: int) -> int:
            self.current = payload
            self.struck = threading.Event()
            running.release()
            self.struck.wait(2 * WAIT)  # so that the test gives up first
            return payload

        def interrupt(self) -> None:
            hits.append(self.current)
            self.struck.set()

    with Pool.from_workers(Patient, size=3) as pool:
        ctx = Context()
        batch = pool.process_batch_async(range(3), ctx=ctx)
        for _ in range(3):
            assert running.acquire(timeout=WAIT)
        assert batch.cancel() if end == "cancel" else ctx.cancel()
        wait_until(lambda: len(hits) == 3)
    assert sorted(hits) == [0, 1, 2]


def test_interrupt_never_hits_another_job() -> None:
    """A job given up while it runs is hit once; the one right behind it, which nobody gave up, never is."""
    rounds, callers = 25_000 if LONG else 2_500, 4
    patience = [WAIT, 0.0, 2e-5, 1e-4]  # the first ends when it is interrupted, the others at about that time
    running = [SimpleQueue[int]() for _ in range(callers)]
    hits: list[int] = []
    given_up: list[int] = []

    class Target(Worker[int, int]):
        def process(self, ctx: Context, payload: int) -> int:
            struck = threading.Lock()
            struck.acquire()
            self.current = (
                payload,
                struck,
            )  # stays when the job has ended: no interrupt is too late to be seen
            if payload >= 0:
                running[payload % callers].put(payload)
                struck.acquire(timeout=patience[payload // callers % len(patience)])
            return payload

        def interrupt(self) -> None:
            payload, struck = self.current
            hits.append(payload)
            if payload >= 0 and struck.locked():
                struck.release()

    def caller(index: int) -> None:
        for payload in range(index, rounds * callers, callers):
            ctx = Context() if payload // callers % 8 < 4 else None
            job = pool.process_async(payload, ctx=ctx)
            behind = pool.process_async(~payload)
            assert running[index].get(timeout=WAIT) == payload
            if ctx is not None:
                ctx.cancel()
            else:
                job.cancel()
            if isinstance(job.exception(WAIT), loomy.JobCancelled):
                given_up.append(payload)
            assert behind.wait(WAIT) == ~payload

    with Pool.from_workers(Target, size=2) as pool:
        in_threads(callers, caller)
    assert Counter(hits) == Counter(given_up)
    assert len(given_up) >= rounds * callers // len(patience)


def test_interrupt_that_blocks_does_not_hold_up_the_caller_that_gave_up() -> None:
    with Gate() as gate:

        class Slow(Interruptible):
            def interrupt(self) -> None:
                super().interrupt()
                gate.block(0)

        worker = Slow()
        with Pool.from_workers(one_worker(worker), size=1) as pool:
            with pytest.raises(loomy.JobTimedOut):
                pool.process(1, timeout=0.3)
            gate.wait_entered()
            gate.open()
