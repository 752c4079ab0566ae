"""What several threads do with one object at once. With the GIL they take turns; without it they do not."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
import warnings

import pytest
from helpers import WAIT, Background, Gate, in_threads

import loomy


def listed(payload: int) -> list[int]:
    return [payload]  # what the collector must know of, so the result is shown to it


def fail(payload: int) -> int:
    raise ValueError(payload)


def test_threads_that_ask_the_same_results_for_their_answers() -> None:
    with loomy.Pool(listed, 2) as pool:
        results = [pool.process_async(payload) for payload in range(2_000)]
    answers = in_threads(4, lambda _: [result.wait() for result in results])
    assert answers == [[[payload] for payload in range(2_000)]] * 4


def test_threads_that_ask_the_same_futures_for_their_answers_and_conditions() -> None:
    with loomy.Executor(2) as executor:
        futures = [executor.submit(listed, payload) for payload in range(1_000)]

    def ask(index: int) -> list[list[int]]:
        if (
            index % 2
        ):  # half of them begin with what makes the condition; either shows the collector the future
            assert all(future._condition is not None for future in futures)
        return [future.result() for future in futures]

    assert in_threads(4, ask) == [[[payload] for payload in range(1_000)]] * 4


def test_threads_that_ask_the_same_results_for_their_errors() -> None:
    with loomy.Pool(fail, 2) as pool:
        results = [pool.process_async(payload) for payload in range(500)]
    for errors in in_threads(4, lambda _: [result.exception() for result in results]):
        assert [str(error) for error in errors] == [str(payload) for payload in range(500)]


def test_pool_that_is_dropped_while_its_workers_begin_jobs() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        for _ in range(200):
            ran: list[int] = []
            pool = loomy.Pool(lambda payload, ran=ran: ran.append(payload) or payload, 2)  # type: ignore[misc]
            results = [pool.process_async(payload) for payload in range(8)]
            del pool
            for payload, result in enumerate(results):
                try:
                    assert result.wait(WAIT) == payload
                    assert payload in ran
                except loomy.PoolNotRunning:
                    assert payload not in ran


def test_error_of_a_worker_that_cannot_be_made_is_asked_for_at_once() -> None:
    def factory() -> loomy.Worker[int, int]:
        raise ValueError("no worker")

    with loomy.Pool.from_workers(factory, 1) as pool:
        for payload in range(50):
            result = pool.process_async(payload)

            def ask(_: int, one: loomy.AsyncResult[int] = result) -> BaseException | None:
                while not one.done():
                    pass
                return one.exception()

            for error in in_threads(3, ask):
                assert isinstance(error, loomy.WorkerClosed)
                assert isinstance(error.__cause__, ValueError)


def test_shutdown_out_of_time_ends_a_batch_whose_items_all_run() -> None:
    with Gate() as gate:
        pool = loomy.Pool(gate.block, 2, affinity="worker")
        batch = Background(lambda: pool.process_batch([1, 2]))
        gate.wait_entered(2)
        with pytest.raises(loomy.JobTimedOut):
            pool.shutdown(0.01)
        result = batch.result()
        assert result.results == [None, None]
        assert [type(error) for error in result.errors] == [loomy.JobCancelled] * 2


@pytest.mark.parametrize("ends", ["timeout", "cancel", "shutdown"])
def test_batch_that_is_abandoned_while_items_start_and_end(ends: str) -> None:
    items = range(400)
    for turn in range(60):
        pool = loomy.Pool(listed, 2, affinity="worker")
        delay = turn * 1e-5
        result = pool.process_batch_async(items, timeout=delay if ends == "timeout" else None)
        if ends != "timeout":
            time.sleep(delay)
        if ends == "shutdown":
            with contextlib.suppress(loomy.JobTimedOut):
                pool.shutdown(0)
        pool_ended_it = ends != "cancel" or not result.cancel()
        try:
            whole = result.wait(WAIT)
        except loomy.JobCancelled:
            assert not pool_ended_it
        else:
            for item, value, error in zip(items, whole.results, whole.errors, strict=True):
                assert value == ([item] if error is None else None)
        pool.close()


@pytest.mark.parametrize("ordered", [True, False])
def test_map_advanced_by_several_threads_gives_each_result_once(ordered: bool) -> None:
    with loomy.Pool(listed, 2) as pool:
        results = pool.map(range(300), ordered=ordered)

        def take(_: int) -> list[int]:
            taken: list[int] = []
            while True:
                try:
                    taken += next(results)
                except StopIteration:
                    return taken
                except ValueError:  # another thread is in it
                    time.sleep(0)

        assert sorted(itertools.chain.from_iterable(in_threads(4, take))) == list(range(300))


def test_list_that_other_threads_shorten_while_a_batch_copies_it() -> None:
    payloads = [[payload] for payload in range(600_000)]  # beyond what is copied at one go
    stop = threading.Event()

    def shorten() -> None:
        while not stop.is_set() and len(payloads) > 1_000:
            del payloads[-1_000:]

    with loomy.Pool(len, 2) as pool:
        helper = Background(shorten)
        try:
            batch = pool.process_batch(payloads)
        finally:
            stop.set()
            helper.result()
        assert set(batch.results) == {1}
        assert len(batch.results) <= 600_000
