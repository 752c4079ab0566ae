"""`Pool.map`: lazy on both sides, ordered or as jobs finish, and how it ends."""

from __future__ import annotations

import gc
import itertools
import math
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from helpers import (
    NO_LIMIT,
    NOT_A_TIMEOUT,
    WAIT,
    Background,
    Gate,
    double,
    fail_on_negative,
    identity,
    wait_until,
)

import loomy
from loomy import Context, Pool, Worker

ORDERED: pytest.MarkDecorator = pytest.mark.parametrize("ordered", [True, False])


class Broken(Exception):
    """Raised by an iterable half-way."""


def breaks_after(count: int) -> Iterator[int]:
    yield from range(count)
    raise Broken


class Counting:
    """An iterator over the integers that knows how many were pulled."""

    def __init__(self) -> None:
        self.pulled = 0

    def __iter__(self) -> Counting:
        return self

    def __next__(self) -> int:
        self.pulled += 1
        return self.pulled - 1


def test_map_yields_results_in_the_order_of_the_payloads() -> None:
    with Pool(double, size=2) as pool:
        assert list(pool.map(range(1000))) == [2 * i for i in range(1000)]


def test_unordered_map_yields_every_result_once() -> None:
    with Pool(double, size=2) as pool:
        assert sorted(pool.map(range(1000), ordered=False)) == [2 * i for i in range(1000)]


def test_unordered_map_yields_as_jobs_finish() -> None:
    with Gate() as gate:

        def job(payload: int) -> int:
            return gate.block(payload) if payload == 0 else payload

        with Pool(job, size=2) as pool:
            results = pool.map(range(4), ordered=False)
            assert sorted(itertools.islice(results, 3)) == [1, 2, 3]
            gate.open()
            assert list(results) == [0]


@ORDERED
def test_map_of_nothing_is_empty(ordered: bool) -> None:
    with Pool(identity, size=1) as pool:
        assert list(pool.map([], ordered=ordered)) == []


@ORDERED
@pytest.mark.parametrize("buffer", [1, 2, 7, 1000, None])
def test_every_buffer_gives_the_same_results(ordered: bool, buffer: int | None) -> None:
    with Pool(double, size=2) as pool:
        assert sorted(pool.map(range(100), ordered=ordered, buffer=buffer)) == [2 * i for i in range(100)]


@ORDERED
def test_map_pulls_at_most_buffer_payloads_ahead(ordered: bool) -> None:
    source = Counting()
    with Pool(identity, size=2) as pool:
        results = pool.map(source, buffer=5, ordered=ordered)
        for taken in range(1, 50):
            next(results)
            assert source.pulled <= taken + 5
        results.close()


@ORDERED
def test_map_takes_an_infinite_generator(ordered: bool) -> None:
    source = Counting()
    with Pool(identity, size=2) as pool:
        results = pool.map(source, ordered=ordered)
        assert len(list(itertools.islice(results, 1000))) == 1000
        assert source.pulled < 100_000
        results.close()


def test_map_keeps_neither_payloads_nor_results_that_were_taken() -> None:
    class Thing:
        pass

    made: list[weakref.ref[Thing]] = []

    def things() -> Iterator[Thing]:
        for _ in range(200):
            thing = Thing()
            made.append(weakref.ref(thing))
            yield thing

    def job(thing: Thing) -> Thing:
        return thing

    with Pool(job, size=1) as pool:
        results = pool.map(things(), buffer=4)
        for _ in range(100):
            next(results)
        wait_until(lambda: gc.collect() >= 0 and sum(known() is not None for known in made) <= 12)
        results.close()


def test_next_on_an_exhausted_map_goes_on_to_stop() -> None:
    with Pool(identity, size=1) as pool:
        results = pool.map([1])
        assert next(results) == 1
        for _ in range(3):
            with pytest.raises(StopIteration):
                next(results)


def test_map_is_its_own_iterator() -> None:
    with Pool(identity, size=1) as pool:
        results = pool.map([1])
        assert iter(results) is results
        results.close()


@ORDERED
def test_first_failing_job_raises_at_its_turn(ordered: bool) -> None:
    with Pool(fail_on_negative, size=1) as pool:
        results = pool.map([1, 2, -3, 4], buffer=1, ordered=ordered)
        assert [next(results), next(results)] == [1, 2]
        with pytest.raises(ValueError, match="negative: -3"):
            next(results)
        results.close()


def test_failing_job_waits_for_its_turn_behind_a_slow_one() -> None:
    with Gate() as gate:

        def job(payload: int) -> int:
            if payload < 0:
                raise ValueError("early")
            return gate.block(payload)

        with Pool(job, size=2) as pool:
            results = pool.map([1, -2], buffer=2)
            taker = Background(lambda: next(results))
            gate.wait_entered()
            wait_until(lambda: pool.stats().failed == 1)
            gate.open()
            assert taker.result() == 1
            with pytest.raises(ValueError, match="early"):
                next(results)
            results.close()


def test_error_of_a_map_carries_a_note_that_names_the_pool() -> None:
    with (
        Pool(fail_on_negative, size=1, name="noted") as pool,
        pytest.raises(ValueError, match="negative") as caught,
    ):
        list(pool.map([-1]))
    assert "noted" in "\n".join(getattr(caught.value, "__notes__", []))


def test_panic_in_a_map_raises_worker_panic_at_its_turn() -> None:
    def job(payload: int) -> int:
        if payload == 1:
            raise SystemExit(3)
        return payload

    with Pool(job, size=1) as pool:
        results = pool.map(range(2))
        assert next(results) == 0
        with pytest.raises(loomy.WorkerPanic):
            next(results)
        results.close()


@pytest.mark.parametrize("error", [StopIteration, StopAsyncIteration])
def test_stop_iteration_of_a_job_does_not_end_the_map_silently(error: type[Exception]) -> None:
    def job(payload: int) -> int:
        if payload == 1:
            raise error("from the job")
        return payload

    with Pool(job, size=1) as pool:
        results = pool.map(range(3))
        assert next(results) == 0
        # a StopIteration that left __next__ as itself would look like the end
        with pytest.raises((RuntimeError, StopAsyncIteration)):
            next(results)
        results.close()


@pytest.mark.parametrize("buffer", [1, 3, 100])
def test_iterable_that_raises_half_way_raises_after_the_results_before_it(buffer: int) -> None:
    with Pool(double, size=2) as pool:
        results = pool.map(breaks_after(5), buffer=buffer)
        assert [next(results) for _ in range(5)] == [0, 2, 4, 6, 8]
        with pytest.raises(Broken):
            next(results)
        results.close()


@pytest.mark.parametrize("payloads", [None, 7, object()], ids=repr)
def test_what_is_no_iterable_is_a_type_error(payloads: Any) -> None:
    with Pool(identity, size=1) as pool, pytest.raises(TypeError):
        list(pool.map(payloads))


@pytest.mark.parametrize("buffer", [0, -1])
def test_buffer_below_one_is_a_value_error(buffer: int) -> None:
    with Pool(identity, size=1) as pool, pytest.raises(ValueError, match="buffer"):
        list(pool.map([1], buffer=buffer))


@pytest.mark.parametrize("buffer", [1.5, "4", []], ids=repr)
def test_buffer_that_is_no_int_is_a_type_error(buffer: Any) -> None:
    with Pool(identity, size=1) as pool, pytest.raises(TypeError):
        list(pool.map([1], buffer=buffer))


class BusyBehindTheFirst:
    """A job whose first payload is soon done; the second waits at the gate, others are queued behind it."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._some_queued = threading.Event()
        self.started = threading.Event()

    def payloads(self) -> Iterator[int]:
        yield from range(5)
        self._some_queued.set()  # the map pulls on while there is nothing to hand out
        yield from range(5, 100)

    def job(self, payload: int) -> int:
        if payload:
            self.started.set()
            self._gate.block(payload)
        else:
            assert self._some_queued.wait(WAIT)
        return payload


def test_closing_the_iterator_leaves_nothing_queued() -> None:
    with Gate() as gate:
        busy = BusyBehindTheFirst(gate)
        with Pool(busy.job, size=1) as pool:
            results = pool.map(busy.payloads(), buffer=10)
            assert next(results) == 0
            assert busy.started.wait(WAIT)
            assert pool.queue_length > 0
            results.close()
            assert pool.queue_length == 0
            gate.open()
        assert pool.stats().cancelled > 0


def test_closed_iterator_stops() -> None:
    with Pool(identity, size=1) as pool:
        results = pool.map(itertools.count())
        assert next(results) == 0
        results.close()
        results.close()
        with pytest.raises(StopIteration):
            next(results)


def test_closing_the_iterator_pulls_nothing_more() -> None:
    source = Counting()
    with Pool(identity, size=1) as pool:
        results = pool.map(source, buffer=3)
        next(results)
        results.close()
        pulled = source.pulled
        pool.process_async(1).wait(WAIT)
        assert source.pulled == pulled


def test_dropped_iterator_cancels_what_has_not_started() -> None:
    with Gate() as gate:
        busy = BusyBehindTheFirst(gate)
        with Pool(busy.job, size=1, affinity="worker") as pool:
            results = pool.map(busy.payloads(), buffer=10)
            assert next(results) == 0
            assert busy.started.wait(WAIT)
            del results
            wait_until(lambda: gc.collect() >= 0 and pool.queue_length == 0)
            gate.open()
        assert pool.stats().cancelled > 0


def test_leaving_a_loop_early_lets_the_pool_close_at_once() -> None:
    with Pool(identity, size=2) as pool:
        for value in pool.map(itertools.count()):
            if value == 10:
                break
        gc.collect()


@pytest.mark.parametrize("timeout", NO_LIMIT)
def test_timeout_without_limit(timeout: Any) -> None:
    with Pool(double, size=1) as pool:
        assert list(pool.map([1, 2], timeout=timeout)) == [2, 4]


def test_nan_timeout_is_a_value_error() -> None:
    with Pool(identity, size=1) as pool, pytest.raises(ValueError, match=r"(?i)nan|timeout"):
        list(pool.map([1], timeout=math.nan))


@pytest.mark.parametrize("timeout", NOT_A_TIMEOUT, ids=repr)
def test_timeout_that_is_no_number_is_a_type_error(timeout: Any) -> None:
    with Pool(identity, size=1) as pool, pytest.raises(TypeError):
        list(pool.map([1], timeout=timeout))


def test_timeout_raises_at_the_turn_of_the_job_it_stopped() -> None:
    with Gate() as gate:

        def job(payload: int) -> int:
            return gate.block(payload) if payload else payload

        with Pool(job, size=1) as pool:
            results = pool.map(range(3), timeout=0.5)
            assert next(results) == 0
            with pytest.raises(loomy.JobTimedOut):
                next(results)
            results.close()
            gate.open()


def test_deadline_of_the_context_raises_deadline_exceeded() -> None:
    with Gate() as gate, Pool(gate.block, size=1) as pool:
        results = pool.map(range(3), ctx=Context(timeout=0.1))
        with pytest.raises(loomy.DeadlineExceeded):
            next(results)
        results.close()
        gate.open()


def test_cancelling_the_context_raises_job_cancelled() -> None:
    with Gate() as gate, Pool(gate.block, size=1, affinity="worker") as pool:
        ctx = Context()
        results = pool.map(range(3), ctx=ctx)
        taker = Background(lambda: next(results))
        gate.wait_entered()
        ctx.cancel()
        with pytest.raises(loomy.JobCancelled):
            taker.result()
        results.close()
        gate.open()


def test_map_on_a_closed_pool_raises() -> None:
    pool = Pool(identity, size=1)
    pool.close()
    with pytest.raises(loomy.PoolNotRunning):
        list(pool.map([1]))


def test_close_of_the_pool_during_a_map_raises_pool_not_running() -> None:
    with Pool(identity, size=1) as pool:
        results = pool.map(itertools.count(), buffer=2)
        assert next(results) == 0
        pool.close()
        with pytest.raises(loomy.PoolNotRunning):
            list(itertools.islice(results, 100))


def test_map_keeps_all_workers_busy() -> None:
    together = threading.Barrier(3)

    def job(payload: int) -> int:
        together.wait(WAIT)
        return payload

    with Pool(job, size=3, affinity="worker") as pool:
        assert list(pool.map(range(9))) == list(range(9))


def test_two_maps_may_be_interleaved() -> None:
    with Pool(identity, size=2) as pool:
        pairs = zip(pool.map(range(50)), pool.map(range(100, 150)), strict=True)
        assert list(pairs) == [(i, 100 + i) for i in range(50)]


def test_map_through_stateful_workers() -> None:
    class Doubler(Worker[int, int]):
        def process(self, ctx: Context, payload: int) -> int:
            return 2 * payload

    with Pool.from_workers(Doubler, size=2) as pool:
        assert list(pool.map(range(100))) == [2 * i for i in range(100)]


def test_map_respects_a_full_queue() -> None:
    with Pool(double, size=1, max_pending=2) as pool:
        assert list(pool.map(range(200), buffer=50)) == [2 * i for i in range(200)]


def test_payloads_may_come_from_another_map() -> None:
    with Pool(double, size=2) as pool:
        assert list(pool.map(pool.map(range(100)))) == [4 * i for i in range(100)]
