"""A job given up at the very moment it starts or ends: caller, hooks and statistics agree on each job."""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from helpers import LONG, WAIT, Background, in_threads, wait_until

import loomy
from loomy import AsyncResult, Context, Hooks, Pool, Worker

EACH = 3000 if LONG else 300  # jobs of each of the threads
THREADS = 4
LIMIT = 4e-6  # times 0 to 60: seconds until a deadline, which is about when the job starts

End = str  # "value", or the name of the error
Ends = dict[int, End]


class Told(Hooks[int, int]):
    """What the hooks were told of each job."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.started: Counter[int] = Counter()
        self.ended: list[tuple[int, End]] = []

    def on_job_start(self, payload: int) -> None:
        with self.lock:
            self.started[payload] += 1

    def on_job_complete(self, payload: int, result: int, duration: float) -> None:
        with self.lock:
            self.ended.append((payload, "value"))

    def on_job_error(self, payload: int, error: BaseException, duration: float) -> None:
        with self.lock:
            self.ended.append((payload, type(error).__name__))


class Payload:
    """Weakly referable."""


def spin(microseconds: float) -> None:
    end = time.perf_counter() + microseconds * 1e-6
    while time.perf_counter() < end:
        pass


def while_it_starts(payload: int) -> None:
    """About as long as that takes, with the interpreter let go of and without."""
    if payload % 4:
        time.sleep(payload % 61 * 1e-6)
    else:
        spin(payload % 61)


def end_of(result: AsyncResult[int], payload: int) -> End:
    try:
        assert result.wait(WAIT) == payload
    except (ValueError, loomy.LoomyError) as error:
        return type(error).__name__
    return "value"


def given_up_by_cancel(pool: Pool[int, int], payload: int) -> End:
    result = pool.process_async(payload)
    while_it_starts(payload)
    cancelled = result.cancel()
    assert result.cancelled() == cancelled
    end = end_of(result, payload)
    assert cancelled == (end == "JobCancelled")
    return end


def given_up_by_its_context(pool: Pool[int, int], payload: int) -> End:
    context = Context()
    result = pool.process_async(payload, ctx=context)
    while_it_starts(payload)
    context.cancel()
    end = end_of(result, payload)
    assert result.cancelled() == (end == "JobCancelled")
    return end


def given_up_by_its_deadline(pool: Pool[int, int], payload: int) -> End:
    return end_of(pool.process_async(payload, timeout=payload % 61 * LIMIT), payload)


def given_up_by_two_at_once(pool: Pool[int, int], payload: int) -> End:
    """By its deadline and by cancel(): one of them it is, if any."""
    result = pool.process_async(payload, timeout=payload % 61 * LIMIT)
    while_it_starts(payload)
    cancelled = result.cancel()
    end = end_of(result, payload)
    assert result.cancelled() == (end == "JobCancelled")
    assert cancelled or end != "JobCancelled"
    return end


WAYS = [given_up_by_cancel, given_up_by_its_context, given_up_by_its_deadline, given_up_by_two_at_once]
COUNTED_AS = {
    "value": "completed",
    "ValueError": "failed",
    "JobCancelled": "cancelled",
    "JobTimedOut": "timed_out",
}


@pytest.mark.parametrize("way", WAYS, ids=[way.__name__ for way in WAYS])
@pytest.mark.parametrize("affinity", ["any", "worker"])
def test_caller_hooks_and_statistics_agree_on_each_job(
    way: Callable[[Pool[int, int], int], End], affinity: Any
) -> None:
    hooks = Told()
    ran: Counter[int] = Counter()
    lock = threading.Lock()

    def job(payload: int) -> int:
        with lock:
            ran[payload] += 1
        spin(20)
        if payload % 3 == 0:
            raise ValueError(payload)
        return payload

    with Pool(job, size=2, hooks=hooks, affinity=affinity) as pool:

        def caller(index: int) -> Ends:
            mine = range(index * EACH, (index + 1) * EACH)
            return {payload: way(pool, payload) for payload in mine}

        saw = {payload: end for ends in in_threads(THREADS, caller) for payload, end in ends.items()}

    # Who gives a job up tells its hook after its caller, and may be neither a caller nor a worker.
    wait_until(lambda: len(hooks.ended) >= THREADS * EACH)
    stats = pool.stats()
    assert len(hooks.ended) == len(saw) == THREADS * EACH  # one end each
    assert dict(hooks.ended) == saw
    counted = Counter(COUNTED_AS[end] for end in saw.values())
    assert {name: getattr(stats, name) for name in COUNTED_AS.values()} == {
        name: counted[name] for name in COUNTED_AS.values()
    }
    # Whatever ran, ran once and was said to start; what has a value or a ValueError of its own ran.
    assert hooks.started == ran
    assert set(ran.values()) <= {1}
    assert {payload for payload, end in saw.items() if end in ("value", "ValueError")} <= set(ran)
    assert all((end == "ValueError") <= (payload % 3 == 0) for payload, end in saw.items())
    assert all((end == "value") <= (payload % 3 != 0) for payload, end in saw.items())


def test_payload_dies_with_a_job_given_up_as_it_starts() -> None:
    """Its deadline is far away, and what watches for that must not keep it."""

    class Echo(Worker[Payload, None]):
        def process(self, ctx: Context, payload: Payload) -> None:
            pass

    payloads: list[weakref.ref[Payload]] = []
    with Pool.from_workers(Echo, size=2) as pool:
        for i in range(EACH * 5):
            payload = Payload()
            payloads.append(weakref.ref(payload))
            result = pool.process_async(payload, timeout=3600)
            spin(i % 40)
            result.cancel()
            with contextlib.suppress(loomy.JobCancelled):
                result.wait(WAIT)
            del payload, result
        wait_until(lambda: all(payload() is None for payload in payloads), "the end of all payloads")


def test_deadline_that_passes_while_a_close_refuses_a_batch() -> None:
    """Of each item caller, hooks and statistics say the same, whichever of the two was faster."""
    refusing, collected = threading.Event(), threading.Event()
    told: Ends = {}

    class Slow(Hooks[int, int]):
        def on_job_error(self, payload: int, error: BaseException, duration: float) -> None:
            told[payload] = type(error).__name__
            if not refusing.is_set():
                refusing.set()
                collected.wait(WAIT)

    pool: Pool[int, int] = Pool(abs, size=0, hooks=Slow())
    batch = pool.process_batch_async(range(50), timeout=0.2)
    closer = Background(pool.close)
    assert refusing.wait(WAIT)
    errors = batch.wait(WAIT).errors
    collected.set()
    closer.result()
    pool.close()
    saw = {payload: type(error).__name__ for payload, error in enumerate(errors)}
    assert told == saw
    stats = pool.stats()
    ends = Counter(saw.values())
    assert (stats.timed_out, stats.failed) == (ends["JobTimedOut"], ends["PoolNotRunning"])
    assert stats.submitted == 50
