"""The system has no more threads: a clear error, or fewer workers, and never a lost job."""

from __future__ import annotations

import itertools
import os
import random
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable

import pytest
from helpers import WAIT, Gate, identity, identity_holds, in_threads, run_script, scenarios_in

from loomy import Context, Executor, Pool, Worker

NAME = "scarce"  # of pools whose threads the tests refuse


def refuse_starts(monkeypatch: pytest.MonkeyPatch, refused: Callable[[int], bool], name: str = NAME) -> None:
    """Of the threads of that name those do not start whose number, from 1 on, `refused` is true for."""
    start = threading.Thread.start
    numbers = itertools.count(1)

    def failing(thread: threading.Thread) -> None:
        if thread.name.startswith(name) and refused(next(numbers)):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", failing)


class Runs:
    """A job that counts how often each payload was run."""

    def __init__(self) -> None:
        self.counts = Counter[int]()
        self._lock = threading.Lock()

    def __call__(self, payload: int) -> int:
        with self._lock:
            self.counts[payload] += 1
        return payload


def test_fewer_threads_than_asked_for_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_starts(monkeypatch, lambda number: number > 1)
    with Pool(identity, size=4, name=NAME) as pool:
        results = [pool.process_async(i) for i in range(500)]
        assert [result.wait(WAIT) for result in results] == list(range(500))


def test_without_any_thread_a_submission_fails_clearly_and_later_ones_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forbidden = True
    refuse_starts(monkeypatch, lambda _: forbidden)
    runs = Runs()
    with Pool(runs, size=1, name=NAME, affinity="worker") as pool:
        for refused in (pool.process_async, pool.process):
            with pytest.raises(RuntimeError, match="has no worker thread"):
                refused(4)
        forbidden = False
        results = [pool.process_async(i) for i in range(300)]
        assert [result.wait(WAIT) for result in results] == list(range(300))
        assert runs.counts == Counter(range(300))
        assert pool.stats().submitted == 300


def through_process(pool: Pool[int, int], payloads: Iterable[int]) -> list[int]:
    return [pool.process(i) for i in payloads]


def through_process_async(pool: Pool[int, int], payloads: Iterable[int]) -> list[int]:
    return [result.wait(WAIT) for result in [pool.process_async(i) for i in payloads]]


def through_process_batch(pool: Pool[int, int], payloads: Iterable[int]) -> list[int]:
    return pool.process_batch(payloads).raise_for_errors()


def through_map(pool: Pool[int, int], payloads: Iterable[int]) -> list[int]:
    return list(pool.map(payloads))


EACH_WAY: pytest.MarkDecorator = pytest.mark.parametrize(
    "way", [through_process, through_process_async, through_process_batch, through_map]
)
EACH_START: pytest.MarkDecorator = pytest.mark.parametrize("failing", [1, 2, 3, 4])


@EACH_START
@EACH_WAY
def test_whichever_start_fails_no_job_is_lost(
    way: Callable[[Pool[int, int], Iterable[int]], list[int]], failing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_starts(monkeypatch, lambda number: number == failing)
    runs = Runs()
    with Pool(runs, size=4, name=NAME, affinity="worker") as pool:
        assert way(pool, range(200)) == list(range(200))
        assert pool.stats().submitted == 200
    assert runs.counts == Counter(range(200))


@EACH_START
def test_whichever_start_fails_the_pool_gets_all_its_workers_later(
    failing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_starts(monkeypatch, lambda number: number == failing)
    together = threading.Barrier(4)
    with Gate() as gate:

        def job(payload: int) -> int:
            return together.wait(WAIT) if payload < 0 else gate.block(payload)

        with Pool(job, size=4, name=NAME, affinity="worker") as pool:
            held = [pool.process_async(i) for i in range(4)]  # each has a thread started
            gate.wait_entered(3)
            gate.open()
            assert [result.wait(WAIT) for result in held] == [0, 1, 2, 3]
            meeting = [pool.process_async(-1) for _ in range(4)]
            assert sorted(result.wait(WAIT) for result in meeting) == [0, 1, 2, 3]


@EACH_START
def test_whichever_start_fails_an_executor_loses_no_job(
    failing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_starts(monkeypatch, lambda number: number == failing)
    runs = Runs()
    with Executor(4, thread_name_prefix=NAME) as executor:
        futures = [executor.submit(runs, i) for i in range(100)]
        assert list(executor.map(runs, range(100, 200))) == list(range(100, 200))
        assert [future.result(WAIT) for future in futures] == list(range(100))
    assert runs.counts == Counter(range(200))


@EACH_START
def test_whichever_start_fails_stateful_workers_lose_no_job(
    failing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_starts(monkeypatch, lambda number: number == failing)
    runs = Runs()

    class Counting(Worker[int, int]):
        def process(self, ctx: Context, payload: int) -> int:
            return runs(payload)

    with Pool.from_workers(Counting, size=4, name=NAME) as pool:
        assert through_process_async(pool, range(200)) == list(range(200))
    assert runs.counts == Counter(range(200))


def test_starts_that_fail_now_and_then_lose_no_job_of_a_pool_that_is_resized(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A job that was accepted runs once; one that was refused, as there was no thread at all, never."""
    random_numbers = random.Random(14)
    refuse_starts(monkeypatch, lambda _: random_numbers.random() < 0.5)
    runs = Runs()
    with Pool(runs, size=1, name=NAME, affinity="worker") as pool:

        def submit(first: int) -> list[int]:
            accepted: list[int] = []
            refused: list[str] = []
            for payload in range(first, first + 500):
                if payload % 25 == 0:
                    pool.set_size(1 + payload // 25 % 3, wait=False)
                try:
                    accepted.append(pool.process_async(payload).wait(WAIT))
                except RuntimeError as error:
                    refused.append(str(error))
            assert all("has no worker thread" in words for words in refused)
            return accepted

        accepted = [payload for each in in_threads(4, lambda index: submit(500 * index)) for payload in each]
        assert runs.counts == Counter(accepted)
        stats = pool.stats()
        assert identity_holds(stats)
        assert stats.submitted == len(accepted) == stats.completed
    assert len(accepted) > 1000


def test_close_of_a_pool_whose_threads_never_started() -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        refuse_starts(monkeypatch, lambda _: True)
        for end in (Pool.close, Pool.shutdown):
            pool = Pool(identity, size=2, name=NAME, affinity="worker")
            with pytest.raises(RuntimeError, match="has no worker thread"):
                pool.process_async(1)
            end(pool)
            assert pool.closed


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or "LD_PRELOAD" in os.environ,
    reason="needs RLIMIT_AS, and sanitizers need all there is",
)
@pytest.mark.parametrize("scenario", scenarios_in("scarce_threads"))
def test_without_memory_for_stacks(scenario: str) -> None:
    """Not mocked: in a process that has no address space for another stack."""
    finished = run_script("scarce_threads", scenario)
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "", "")
