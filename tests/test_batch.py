"""`process_batch` and `process_batch_async`: order, one error per payload, deadlines, bounds."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from helpers import (
    ALREADY_PASSED,
    NO_LIMIT,
    NOT_A_TIMEOUT,
    WAIT,
    Background,
    Gate,
    double,
    fail_on_negative,
    identity,
    in_threads,
    thread_of_job,
    wait_until,
)

import loomy
from loomy import BatchResult, Context, Pool, Worker

AFFINITIES: pytest.MarkDecorator = pytest.mark.parametrize("affinity", ["any", "worker"])


class Broken(Exception):
    """Raised by an iterable half-way."""


def breaks_after(count: int) -> Iterator[int]:
    yield from range(count)
    raise Broken


@AFFINITIES
def test_results_keep_the_order_of_the_payloads(affinity: Any) -> None:
    with Pool(double, size=2, affinity=affinity) as pool:
        results, errors = pool.process_batch(range(1000))
    assert results == [2 * i for i in range(1000)]
    assert errors == [None] * 1000


@AFFINITIES
def test_one_bad_payload_spoils_no_other(affinity: Any) -> None:
    with Pool(fail_on_negative, size=2, affinity=affinity) as pool:
        results, errors = pool.process_batch([1, -2, 3])
    assert results == [1, None, 3]
    assert [type(error) for error in errors] == [type(None), ValueError, type(None)]


def test_error_of_an_item_is_the_very_exception_of_the_job() -> None:
    known = [ValueError(i) for i in range(10)]

    def job(index: int) -> int:
        raise known[index]

    with Pool(job, size=2) as pool:
        _, errors = pool.process_batch(range(10))
    assert all(error is expected for error, expected in zip(errors, known, strict=True))


def test_error_of_an_item_carries_a_note_that_names_the_pool() -> None:
    with Pool(fail_on_negative, size=1, name="noted") as pool:
        _, errors = pool.process_batch([-1])
    notes = "\n".join(getattr(errors[0], "__notes__", []))
    assert "noted" in notes
    assert "worker" in notes


def test_what_is_no_exception_is_a_worker_panic_of_that_item() -> None:
    def job(payload: int) -> int:
        if payload == 1:
            raise SystemExit(3)
        return payload

    with Pool(job, size=1) as pool:
        results, errors = pool.process_batch(range(3))
    assert results == [0, None, 2]
    assert isinstance(errors[1], loomy.WorkerPanic)
    assert isinstance(errors[1].__cause__, SystemExit)


def test_ok_tells_whether_every_item_succeeded() -> None:
    with Pool(fail_on_negative, size=1) as pool:
        assert pool.process_batch([1, 2]).ok is True
        assert pool.process_batch([1, -2]).ok is False
        assert pool.process_batch([]).ok is True


def test_raise_for_errors_raises_a_group_of_all_errors() -> None:
    with Pool(fail_on_negative, size=1) as pool:
        batch = pool.process_batch([1, -2, 3, -4])
        with pytest.raises(ExceptionGroup) as caught:
            batch.raise_for_errors()
    assert sorted(str(error) for error in caught.value.exceptions) == ["negative: -2", "negative: -4"]


def test_raise_for_errors_does_nothing_without_errors() -> None:
    with Pool(identity, size=1) as pool:
        pool.process_batch([1, 2]).raise_for_errors()


def test_batch_result_unpacks_again_and_again() -> None:
    with Pool(double, size=1) as pool:
        batch = pool.process_batch([1, 2])
    first, _ = batch
    second, _ = batch
    assert first == second == [2, 4]
    assert isinstance(batch, BatchResult)


@pytest.mark.parametrize(
    "payloads",
    [
        [1, 2, 3],
        (1, 2, 3),
        range(1, 4),
        {1: "a", 2: "b", 3: "c"},
        {1: 0, 2: 0, 3: 0}.keys(),
        iter([1, 2, 3]),
        (i for i in (1, 2, 3)),
    ],
    ids=["list", "tuple", "range", "dict", "keys", "iterator", "generator"],
)
def test_any_iterable_is_taken(payloads: Any) -> None:
    with Pool(double, size=2) as pool:
        results, _ = pool.process_batch(payloads)
    assert results == [2, 4, 6]


def test_text_is_an_iterable_of_its_letters() -> None:
    with Pool(str.upper, size=1) as pool:
        results, _ = pool.process_batch("loom")
    assert results == ["L", "O", "O", "M"]


@pytest.mark.parametrize("payloads", [None, 7, object()], ids=repr)
def test_what_is_no_iterable_is_a_type_error(payloads: Any) -> None:
    with Pool(identity, size=1) as pool, pytest.raises(TypeError):
        pool.process_batch(payloads)


@AFFINITIES
def test_empty_batch_returns_at_once(affinity: Any) -> None:
    with Pool(identity, size=0, affinity=affinity) as pool:
        results, errors = pool.process_batch([])
    assert results == []
    assert errors == []


def test_iterable_that_raises_half_way_submits_nothing() -> None:
    ran: list[int] = []
    with Pool(ran.append, size=1) as pool:
        with pytest.raises(Broken):
            pool.process_batch(breaks_after(5))
        assert pool.stats().submitted == 0
        assert pool.queue_length == 0
    assert ran == []


def test_list_that_a_job_changes_meanwhile_is_taken_as_it_was() -> None:
    payloads = list(range(100))

    def job(payload: int) -> int:
        payloads.clear()
        return payload

    with Pool(job, size=2) as pool:
        results, _ = pool.process_batch(payloads)
    assert results == list(range(100))


@pytest.mark.parametrize("value", [None, False, 0, ValueError("a value, not an error")], ids=repr)
def test_result_of_an_item_may_be_any_object(value: Any) -> None:
    def job(_: int) -> Any:
        return value

    with Pool(job, size=1) as pool:
        batch = pool.process_batch([1])
    results, errors = batch
    assert results[0] is value
    assert errors == [None]
    assert batch.ok


def test_each_payload_counts_as_one_job() -> None:
    with Pool(fail_on_negative, size=2) as pool:
        pool.process_batch([1, -2, 3, -4, 5])
        stats = pool.stats()
    assert (stats.submitted, stats.completed, stats.failed) == (5, 3, 2)


def test_each_payload_runs_exactly_once() -> None:
    lock = threading.Lock()
    counts = [0] * 5000

    def job(payload: int) -> None:
        with lock:
            counts[payload] += 1

    with Pool(job, size=4) as pool:
        pool.process_batch(range(5000)).raise_for_errors()
    assert counts == [1] * 5000


def test_batches_from_many_threads_do_not_mix() -> None:
    with Pool(identity, size=2) as pool:

        def caller(index: int) -> list[int | None]:
            collected: list[int | None] = []
            for i in range(20):
                results, _ = pool.process_batch(range(index * 1000 + i * 10, index * 1000 + i * 10 + 10))
                collected.extend(results)
            return collected

        for index, collected in enumerate(in_threads(8, caller)):
            assert collected == list(range(index * 1000, index * 1000 + 200))


def test_caller_takes_a_free_slot_and_works_on_the_batch() -> None:
    with Pool(thread_of_job, size=1) as pool:
        results, _ = pool.process_batch(range(10))
    assert set(results) == {threading.get_ident()}


def test_caller_and_workers_share_a_batch() -> None:
    together = threading.Barrier(3)

    def job(_: int) -> int:
        together.wait(WAIT)
        return threading.get_ident()

    with Pool(job, size=3) as pool:
        results, errors = pool.process_batch(range(3))
    assert errors == [None] * 3
    assert len(set(results)) == 3
    assert threading.get_ident() in results


def test_affinity_worker_keeps_the_caller_out_of_the_batch() -> None:
    with Pool(thread_of_job, size=1, affinity="worker") as pool:
        results, _ = pool.process_batch(range(10))
    assert threading.get_ident() not in results


def test_stateful_workers_run_a_batch_on_their_threads() -> None:
    class Where(Worker[int, int]):
        def process(self, ctx: Context, payload: int) -> int:
            return threading.get_ident()

    with Pool.from_workers(Where, size=2) as pool:
        results, _ = pool.process_batch(range(10))
    assert threading.get_ident() not in results


def test_batch_uses_every_slot() -> None:
    together = threading.Barrier(4)

    def job(_: int) -> int:
        return together.wait(WAIT)

    with Pool(job, size=4, affinity="worker") as pool:
        results, errors = pool.process_batch(range(4))
    assert errors == [None] * 4
    assert sorted(result for result in results if result is not None) == [0, 1, 2, 3]


@pytest.mark.parametrize("timeout", NO_LIMIT)
def test_timeout_without_limit(timeout: Any) -> None:
    with Pool(double, size=1) as pool:
        results, _ = pool.process_batch([1, 2], timeout=timeout)
    assert results == [2, 4]


@pytest.mark.parametrize("timeout", ALREADY_PASSED)
def test_timeout_that_has_already_passed_runs_nothing(timeout: Any) -> None:
    ran: list[int] = []
    with Pool(ran.append, size=1) as pool:
        results, errors = pool.process_batch([1, 2], timeout=timeout)
    assert results == [None, None]
    assert [type(error) for error in errors] == [loomy.JobTimedOut] * 2
    assert ran == []


def test_nan_timeout_is_a_value_error() -> None:
    with Pool(identity, size=1) as pool, pytest.raises(ValueError, match=r"(?i)nan|timeout"):
        pool.process_batch([1], timeout=math.nan)


@pytest.mark.parametrize("timeout", NOT_A_TIMEOUT, ids=repr)
def test_timeout_that_is_no_number_is_a_type_error(timeout: Any) -> None:
    with Pool(identity, size=1) as pool, pytest.raises(TypeError):
        pool.process_batch([1], timeout=timeout)


@AFFINITIES
def test_batch_at_its_deadline_keeps_what_had_finished(affinity: Any) -> None:
    ran: list[int] = []
    with Gate() as gate:

        def job(payload: int) -> int:
            ran.append(payload)
            return gate.block(payload) if payload == 2 else payload

        with Pool(job, size=1, affinity=affinity) as pool:
            results, errors = pool.process_batch(range(5), timeout=0.5)
            gate.open()
    assert results == [0, 1, None, None, None]
    assert [type(error) for error in errors] == [type(None)] * 2 + [loomy.JobTimedOut] * 3
    assert ran == [0, 1, 2]


def test_batch_behind_a_busy_worker_times_out_as_a_whole() -> None:
    ran: list[int] = []
    with Gate() as gate:

        def job(payload: int) -> int:
            ran.append(payload)
            return gate.block(payload)

        with Pool(job, size=1) as pool:
            pool.process_async(-1)
            gate.wait_entered()
            _, errors = pool.process_batch(range(3), timeout=0.02)
            gate.open()
    assert [type(error) for error in errors] == [loomy.JobTimedOut] * 3
    assert ran == [-1]


def test_batch_at_the_deadline_of_its_context_says_deadline_exceeded() -> None:
    with Gate() as gate, Pool(gate.block, size=1) as pool:
        _, errors = pool.process_batch(range(3), ctx=Context(timeout=0.1))
        gate.open()
    assert [type(error) for error in errors] == [loomy.DeadlineExceeded] * 3


def test_cancelling_the_context_ends_the_batch() -> None:
    with Gate() as gate, Pool(gate.block, size=1, affinity="worker") as pool:
        ctx = Context()
        caller = Background(lambda: pool.process_batch(range(3), ctx=ctx))
        gate.wait_entered()
        ctx.cancel()
        results, errors = caller.result()
        gate.open()
    assert results == [None] * 3
    assert [type(error) for error in errors] == [loomy.JobCancelled] * 3


def test_cancelled_context_runs_nothing_of_the_batch() -> None:
    ran: list[int] = []
    ctx = Context()
    ctx.cancel()
    with Pool(ran.append, size=1) as pool:
        _, errors = pool.process_batch(range(3), ctx=ctx)
    assert [type(error) for error in errors] == [loomy.JobCancelled] * 3
    assert ran == []


def test_items_that_run_at_the_deadline_have_their_context_cancelled() -> None:
    saw: list[bool] = []

    def job(ctx: Context, _: int) -> None:
        saw.append(ctx.wait(WAIT))

    with Pool(job, size=1, pass_context=True) as pool:
        pool.process_batch([1], timeout=0.3)
    assert saw == [True]


@AFFINITIES
def test_close_during_a_batch_fails_what_has_not_started(affinity: Any) -> None:
    with Gate() as gate, Pool(gate.block, size=1, affinity=affinity) as pool:
        caller = Background(lambda: pool.process_batch(range(4)))
        gate.wait_entered()
        closer = Background(pool.close)
        wait_until(lambda: pool.queue_length == 0)
        gate.open()
        closer.result()
        results, errors = caller.result()
    assert results == [0, None, None, None]
    assert [type(error) for error in errors] == [type(None)] + [loomy.PoolNotRunning] * 3


def test_queue_length_counts_the_payloads_of_a_batch_that_have_not_started() -> None:
    with Gate() as gate, Pool(gate.block, size=1) as pool:
        batch = pool.process_batch_async(range(10))
        gate.wait_entered()
        assert pool.queue_length == 9
        assert pool.running == 1
        gate.open()
        batch.wait(WAIT)
        assert pool.queue_length == 0


def test_batch_takes_one_place_in_a_bounded_queue() -> None:
    with Gate() as gate, Pool(gate.block, size=1, max_pending=2, on_full="raise") as pool:
        first = pool.process_async(-1)
        gate.wait_entered()
        batch = pool.process_batch_async(range(100))
        single = pool.process_async(-2)
        with pytest.raises(loomy.PoolFull):
            pool.process_async(-3)
        gate.open()
        assert first.wait(WAIT) == -1
        assert single.wait(WAIT) == -2
        results, _ = batch.wait(WAIT)
    assert results == list(range(100))


def test_process_batch_async_gives_a_batch_result() -> None:
    with Pool(fail_on_negative, size=1) as pool:
        batch = pool.process_batch_async([1, -2, 3]).wait(WAIT)
    results, errors = batch
    assert isinstance(batch, BatchResult)
    assert results == [1, None, 3]
    assert isinstance(errors[1], ValueError)


def test_process_batch_async_returns_before_its_jobs_end() -> None:
    with Gate() as gate, Pool(gate.block, size=2) as pool:
        batch = pool.process_batch_async(range(4))
        assert not batch.done()
        gate.open()
        results, _ = batch.wait(WAIT)
    assert results == [0, 1, 2, 3]


def test_empty_process_batch_async_is_done() -> None:
    with Pool(identity, size=0) as pool:
        results, errors = pool.process_batch_async([]).wait(WAIT)
    assert (results, errors) == ([], [])


def test_process_batch_async_of_an_iterable_that_raises_submits_nothing() -> None:
    with Pool(identity, size=1) as pool:
        with pytest.raises(Broken):
            pool.process_batch_async(breaks_after(5)).wait(WAIT)
        assert pool.stats().submitted == 0


def test_cancelling_a_queued_batch_runs_nothing_of_it() -> None:
    ran: list[int] = []
    with Gate() as gate:

        def job(payload: int) -> int:
            ran.append(payload)
            return gate.block(payload)

        with Pool(job, size=1) as pool:
            pool.process_async(-1)
            gate.wait_entered()
            batch = pool.process_batch_async(range(3))
            assert batch.cancel() is True
            assert batch.cancelled()
            with pytest.raises(loomy.JobCancelled):
                batch.wait(WAIT)
            assert pool.queue_length == 0
            gate.open()
    assert ran == [-1]


def test_process_batch_async_at_its_deadline_keeps_what_had_finished() -> None:
    with Gate() as gate:

        def job(payload: int) -> int:
            return gate.block(payload) if payload == 1 else payload

        with Pool(job, size=1) as pool:
            results, errors = pool.process_batch_async(range(3), timeout=0.5).wait(WAIT)
            gate.open()
    assert results == [0, None, None]
    assert [type(error) for error in errors] == [type(None)] + [loomy.JobTimedOut] * 2


def test_close_fails_the_items_of_a_queued_batch() -> None:
    with Gate() as gate, Pool(gate.block, size=1) as pool:
        pool.process_async(-1)
        gate.wait_entered()
        batch = pool.process_batch_async(range(3))
        closer = Background(pool.close)
        results, errors = batch.wait(WAIT)
        gate.open()
        closer.result()
    assert results == [None] * 3
    assert [type(error) for error in errors] == [loomy.PoolNotRunning] * 3


def test_batch_on_a_pool_without_workers_waits_for_one() -> None:
    with Pool(double, size=0) as pool:
        batch = pool.process_batch_async(range(3))
        assert pool.queue_length == 3
        pool.size = 1
        results, _ = batch.wait(WAIT)
    assert results == [0, 2, 4]


def test_batch_after_close_raises() -> None:
    pool = Pool(identity, size=1)
    pool.close()
    for payloads in ([], [1, 2]):
        with pytest.raises(loomy.PoolNotRunning):
            pool.process_batch(payloads)


def test_workers_that_join_during_a_batch_take_part() -> None:
    together = threading.Barrier(3)

    def job(_: int) -> int:
        return together.wait(WAIT)

    with Pool(job, size=1) as pool:
        batch = pool.process_batch_async(range(3))
        pool.size = 3
        _, errors = batch.wait(WAIT)
    assert errors == [None] * 3


def test_repr_of_a_batch_result_is_short_however_large_the_batch() -> None:
    with Pool(identity, size=1) as pool:
        assert len(repr(pool.process_batch(range(100_000)))) < 1000
