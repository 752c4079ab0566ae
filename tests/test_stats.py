"""Statistics: what counts as what, and that a snapshot adds up."""

from __future__ import annotations

import dataclasses
import threading
from typing import Any

import pytest
from helpers import GIL, WAIT, Gate, fail_on_negative, identity, identity_holds, in_threads, wait_until

import loomy
from loomy import Context, Histogram, Hooks, Pool, PoolStats

AFFINITIES: pytest.MarkDecorator = pytest.mark.parametrize("affinity", ["any", "worker"])

COUNTERS = [
    "submitted",
    "queued",
    "running",
    "completed",
    "failed",
    "cancelled",
    "timed_out",
    "rejected",
    "workers",
    "idle",
    "peak_queued",
    "wakes",
    "parks",
    "inline",
]


def test_fresh_pool_has_counted_nothing() -> None:
    with Pool(identity, size=3) as pool:
        stats = pool.stats()
    counts = {
        name: getattr(stats, name) for name in COUNTERS if name not in {"workers", "idle", "parks", "wakes"}
    }
    assert set(counts.values()) == {0}
    assert (stats.workers, stats.idle) == (3, 3)
    assert stats.busy_seconds == 0


@pytest.mark.parametrize("name", COUNTERS)
def test_counters_are_ints(name: str) -> None:
    with Pool(identity, size=1) as pool:
        pool.process(1)
        assert type(getattr(pool.stats(), name)) is int


def test_snapshot_is_frozen() -> None:
    with Pool(identity, size=1) as pool:
        stats = pool.stats()
    assert isinstance(stats, PoolStats)
    with pytest.raises(dataclasses.FrozenInstanceError):
        stats.submitted = 7  # type: ignore[misc]


def test_snapshot_does_not_change_afterwards() -> None:
    with Pool(identity, size=1) as pool:
        before = pool.stats()
        pool.process(1)
        assert before.submitted == 0
        assert pool.stats().submitted == 1


@AFFINITIES
def test_completed_and_failed_jobs_are_counted(affinity: Any) -> None:
    with Pool(fail_on_negative, size=2, affinity=affinity) as pool:
        for i in range(10):
            pool.process(i)
        for i in range(1, 5):
            with pytest.raises(ValueError, match="negative"):
                pool.process(-i)
        stats = pool.stats()
    assert (stats.submitted, stats.completed, stats.failed) == (14, 10, 4)


def test_queued_and_running_jobs_are_counted() -> None:
    with Gate() as gate, Pool(gate.block, size=1) as pool:
        for i in range(6):
            pool.process_async(i)
        gate.wait_entered()
        stats = pool.stats()
        assert (stats.submitted, stats.queued, stats.running, stats.completed) == (6, 5, 1, 0)
        assert stats.idle == 0
        assert identity_holds(stats)
        gate.open()


def test_cancelled_jobs_are_counted() -> None:
    with Gate() as gate, Pool(gate.block, size=1) as pool:
        running = pool.process_async(0)
        gate.wait_entered()
        pool.process_async(1).cancel()
        assert pool.stats().cancelled == 1
        running.cancel()
        assert pool.stats().cancelled == 2
        gate.open()


def test_timed_out_jobs_are_counted() -> None:
    with Gate() as gate, Pool(gate.block, size=1) as pool:
        pool.process_async(0)
        gate.wait_entered()
        with pytest.raises(loomy.JobTimedOut):
            pool.process(1, timeout=0.02)
        with pytest.raises(loomy.DeadlineExceeded):
            pool.process(2, ctx=Context(timeout=0.02))
        assert pool.stats().timed_out == 2
        gate.open()


def test_abandoned_job_that_still_runs_is_timed_out_and_not_running() -> None:
    for timeout in (0.3, 1.0, 3.0, 10.0):  # the job has to start in time, which a busy machine decides
        with Gate() as gate, Pool(gate.block, size=1) as pool:
            with pytest.raises(loomy.JobTimedOut):
                pool.process(0, timeout=timeout)
            running = pool.running
            if running:
                gate.wait_entered()
                stats = pool.stats()
                assert (stats.timed_out, stats.running, pool.running) == (1, 0, 1)
                assert identity_holds(stats)
            gate.open()  # before the pool is left, which waits for the job
        if running:
            return
    pytest.fail("no job started within ten seconds")


def test_jobs_failed_by_close_are_counted_as_failed() -> None:
    pool = Pool(identity, size=0)
    for i in range(5):
        pool.process_async(i)
    pool.close()
    stats = pool.stats()
    assert (stats.submitted, stats.failed, stats.queued) == (5, 5, 0)


def test_jobs_that_callers_ran_are_counted_as_inline() -> None:
    with Pool(identity, size=1) as pool:
        for i in range(10):
            pool.process(i)
        pool.process_async(1).wait(WAIT)
        assert pool.stats().inline == 10


def test_affinity_worker_runs_nothing_inline() -> None:
    with Pool(identity, size=2, affinity="worker") as pool:
        for i in range(10):
            pool.process(i)
        pool.process_batch(range(100))
        assert pool.stats().inline == 0


def test_peak_queued_remembers_the_deepest_queue() -> None:
    with Gate() as gate, Pool(gate.block, size=1) as pool:
        pool.process_async(0)
        gate.wait_entered()
        for i in range(7):
            pool.process_async(i)
        gate.open()
        wait_until(lambda: pool.queue_length == 0)
        assert pool.stats().peak_queued == 7


def test_workers_follows_the_size() -> None:
    with Pool(identity, size=1) as pool:
        pool.size = 5
        assert pool.stats().workers == 5
        pool.size = 2
        assert pool.stats().workers == 2


def test_busy_seconds_grow_with_the_work() -> None:
    def work(count: int) -> int:
        return sum(range(count))

    with Pool(work, size=1, affinity="worker") as pool:
        for _ in range(300):
            pool.process(10_000)
        assert pool.stats().busy_seconds > 0


def test_histograms_record_durations() -> None:
    def work(count: int) -> int:
        return sum(range(count))

    with Pool(work, size=1, affinity="worker") as pool:
        for _ in range(300):
            pool.process(10_000)
        stats = pool.stats()
    assert isinstance(stats.run_time, Histogram)
    assert isinstance(stats.queue_wait, Histogram)
    # sampled, and then scaled up: near the number of jobs, not equal to it
    assert 0 < stats.run_time.total <= 600
    assert 0 < stats.queue_wait.total <= 600


def test_wakes_of_ten_thousand_submits_to_eight_idle_workers() -> None:
    together = threading.Barrier(8)

    def job(payload: int) -> int:
        if payload < 0:
            together.wait(WAIT)
        return payload

    with Pool(job, size=8) as pool:
        # all eight threads exist before the count begins
        pool.process_batch_async([-1] * 8).wait(WAIT)
        wait_until(lambda: pool.stats().idle == 8)
        before = pool.stats()
        results = [pool.process_async(i) for i in range(10_000)]
        assert sum(result.wait(WAIT) for result in results) == sum(range(10_000))
        after = pool.stats()
        if GIL:
            assert after.wakes - before.wakes < 100
        else:
            # Workers run beside the submitter and may find nothing and sleep after any job; still nobody is
            # woken who did not sleep.
            assert after.wakes - before.wakes <= after.parks - before.parks + 8


def test_identity_holds_after_a_storm_of_every_kind_of_end() -> None:
    with Pool(fail_on_negative, size=2, max_pending=50, on_full="raise") as pool:

        def caller(index: int) -> None:
            for i in range(300):
                try:
                    match i % 6:
                        case 0:
                            pool.process(i)
                        case 1:
                            pool.process(-i)
                        case 2:
                            pool.process_async(i).cancel()
                        case 3:
                            pool.process(i, timeout=1e-5)
                        case 4:
                            pool.process_batch([i, -i, i])
                        case _:
                            pool.process_async(i).wait(WAIT)
                except (ValueError, loomy.LoomyError):
                    pass

        in_threads(6, caller)
        wait_until(lambda: pool.stats().queued == 0 and pool.stats().running == 0)
        stats = pool.stats()
        assert identity_holds(stats)
        assert min(stats.completed, stats.failed) > 0


def test_stats_can_be_read_while_jobs_run() -> None:
    with Pool(identity, size=2) as pool:
        results = [pool.process_async(i) for i in range(20_000)]
        seen = -1
        while not results[-1].done():
            completed = pool.stats().completed
            assert completed >= seen
            seen = completed
        for result in results:
            result.wait(WAIT)
        assert pool.stats().completed == 20_000


def test_stats_may_be_read_from_a_job_and_from_a_hook() -> None:
    seen: list[int] = []

    class Reading(Hooks[int, int]):
        def on_job_start(self, payload: int) -> None:
            seen.append(pool.stats().running)

    def job(_: int) -> int:
        return pool.stats().running

    pool: Pool[int, int] = Pool(job, size=1, hooks=Reading())
    with pool:
        assert pool.process(1) == 1
    assert seen == [1]


def test_idle_pool_neither_wakes_nor_parks_anybody() -> None:
    with Pool(identity, size=4, affinity="worker") as pool:
        pool.process_batch(range(1000))

        def settled() -> bool:
            before = pool.stats()
            threading.Event().wait(0.3)
            after = pool.stats()
            return (before.wakes, before.parks) == (after.wakes, after.parks)

        wait_until(settled)
