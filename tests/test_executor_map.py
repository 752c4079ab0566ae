"""`Executor.map`: order, laziness, timeouts, errors and what closing does, as in the standard library."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from typing import Any
from unittest import mock

import pytest
from helpers import WAIT, Background, Gate, double, identity, wait_until
from test_garbage import Watch, without_collector

from loomy import Executor, Future, Hooks, PoolFull

BOUNDS = pytest.mark.parametrize("buffersize", [None, 1, 3])


@BOUNDS
def test_results_come_in_the_order_of_the_arguments(buffersize: int | None) -> None:
    def later_the_smaller(i: int) -> int:
        time.sleep((20 - i) * 0.0005)
        return i

    with Executor(4) as executor:
        assert list(executor.map(later_the_smaller, range(20), buffersize=buffersize)) == list(range(20))


@BOUNDS
def test_several_iterables_are_zipped_to_the_shortest(buffersize: int | None) -> None:
    with Executor(2) as executor:
        results = executor.map(lambda *args: args, [1, 2, 3], "ab", itertools.count(), buffersize=buffersize)
        assert list(results) == [(1, "a", 0), (2, "b", 1)]


@pytest.mark.parametrize("iterables", [(), ([],), ([], [1])])
@BOUNDS
def test_nothing_to_do(iterables: tuple[Any, ...], buffersize: int | None) -> None:
    with Executor(1) as executor:
        assert list(executor.map(double, *iterables, buffersize=buffersize)) == []
        assert executor.stats().submitted == 0


def test_an_argument_that_is_a_tuple_is_one_argument() -> None:
    with Executor(1) as executor:
        assert list(executor.map(len, [(1, 2), (3,)])) == [2, 1]


@pytest.mark.parametrize("chunksize", [1, 7, 10**9, 0, -1])
def test_chunksize_has_no_effect(chunksize: int) -> None:
    def outcome(kind: type[ThreadPoolExecutor]) -> object:
        with kind(2) as executor:
            return list(executor.map(double, range(10), chunksize=chunksize))

    assert outcome(Executor) == outcome(ThreadPoolExecutor)


def test_the_iterables_are_pulled_at_once_without_a_buffersize() -> None:
    pulled: list[int] = []

    def items() -> Iterator[int]:
        for i in range(10):
            pulled.append(i)
            yield i

    with Executor(1) as executor:
        results = executor.map(identity, items())
        assert pulled == list(range(10))
        assert list(results) == list(range(10))


def test_jobs_start_while_an_iterable_is_pulled() -> None:
    ran: list[int] = []

    def items() -> Iterator[int]:
        for i in range(5):
            yield i
            wait_until(lambda: len(ran) == i + 1)  # noqa: B023 called before the next one

    with Executor(1) as executor:
        executor.map(ran.append, items())
    assert ran == list(range(5))


def test_an_iterable_that_raises_raises_from_the_call_and_what_came_before_is_run() -> None:
    ran: list[int] = []

    def items() -> Iterator[int]:
        yield 1
        raise ValueError("half-way")

    with Executor(1) as executor, pytest.raises(ValueError, match="half-way"):
        executor.map(ran.append, items())
    assert ran == [1]


@pytest.mark.parametrize("arguments", [list("abc"), tuple("abc"), "abc", dict.fromkeys("abc").keys()])
def test_arguments_that_are_at_hand_are_one_batch(arguments: Any) -> None:
    with Executor(1) as executor:
        results = executor.map(str.upper, arguments)
        assert type(results).__name__ == "ExecutorResults"
        assert list(results) == ["A", "B", "C"]


def test_a_bound_on_the_queue_holds_for_each_job_of_a_map() -> None:
    with Executor(1, max_pending=2, on_full="raise") as executor, Gate() as gate:
        executor.submit(gate.block, 0)
        gate.wait_entered()
        with pytest.raises(PoolFull):
            executor.map(identity, range(100))
        assert executor.queue_length == 2
        gate.open()
    with Executor(1, max_pending=2) as executor:
        assert list(executor.map(identity, range(100))) == list(range(100))


def test_jobs_start_before_the_results_are_asked_for() -> None:
    ran = threading.Event()
    with Executor(1) as executor:
        results = executor.map(lambda _: ran.set(), [1])
        assert ran.wait(WAIT)
        assert list(results) == [None]


@BOUNDS
def test_a_result_comes_while_later_jobs_still_run(buffersize: int | None) -> None:
    with Executor(2) as executor, Gate() as gate:
        results = executor.map(lambda i: gate.block(i) if i else i, range(3), buffersize=buffersize)
        assert next(results) == 0
        gate.open()
        assert list(results) == [1, 2]


@pytest.mark.parametrize("workers", [2, 4, 8])
def test_each_worker_has_a_job_of_its_own_so_that_jobs_may_wait_for_each_other(workers: int) -> None:
    barrier = threading.Barrier(workers)
    with Executor(workers) as executor:
        for _ in range(20):
            assert sorted(executor.map(lambda _: barrier.wait(WAIT), range(workers))) == list(range(workers))


def test_a_job_may_wait_for_the_next_after_thousands_of_short_ones() -> None:
    """However short jobs have been, no worker takes two at once: the second would wait behind the first."""
    passed = [threading.Event() for _ in range(500)]

    def job(i: int) -> bool:
        pair, is_second = divmod(i - 5000, 2)
        if not 0 <= pair < 500:
            return True
        if is_second:
            passed[pair].set()
        return passed[pair].wait(WAIT)

    with Executor(2) as executor:
        for waited in executor.map(job, range(8000)):
            assert waited


def test_a_map_inside_a_job_of_a_single_worker() -> None:
    with Executor(1) as executor:

        def job(n: int) -> int:
            return n + sum(executor.map(job, range(n)))

        assert executor.submit(job, 6).result(WAIT) == job_alone(6)


def job_alone(n: int) -> int:
    return n + sum(job_alone(i) for i in range(n))


def test_a_map_inside_a_map_of_a_single_worker() -> None:
    with Executor(1) as executor:
        rows = executor.map(lambda i: list(executor.map(lambda j: 10 * i + j, range(3))), range(3))
        assert list(rows) == [[10 * i + j for j in range(3)] for i in range(3)]


# Timeouts.


@BOUNDS
def test_the_timeout_counts_from_the_call(buffersize: int | None) -> None:
    with Executor(1) as executor, Gate() as gate:
        results = executor.map(gate.block, range(2), timeout=0.05, buffersize=buffersize)
        time.sleep(0.06)
        begun = time.monotonic()
        with pytest.raises(TimeoutError):
            next(results)
        assert time.monotonic() - begun < 5


@BOUNDS
def test_a_timeout_cancels_what_has_not_started(buffersize: int | None) -> None:
    ran: list[int] = []
    with Executor(1) as executor, Gate() as gate:

        def job(i: int) -> int:
            ran.append(i)
            return gate.block(i)

        results = executor.map(job, range(9), timeout=0.02, buffersize=buffersize)
        with pytest.raises(TimeoutError):
            list(results)
        gate.open()
    assert ran == [0]


def test_results_that_are_there_come_though_the_timeout_has_passed() -> None:
    with Executor(1) as executor:
        results = executor.map(identity, range(3), timeout=0.001)
        wait_until(lambda: executor.stats().completed == 3)
        time.sleep(0.002)
        assert list(results) == [0, 1, 2]


def test_an_iterator_that_timed_out_is_at_its_end() -> None:
    with Executor(1) as executor, Gate() as gate:
        results = executor.map(gate.block, range(2), timeout=0.001)
        with pytest.raises(TimeoutError):
            next(results)
        assert list(results) == []


# Errors.


@BOUNDS
def test_the_first_error_is_raised_at_its_place(buffersize: int | None) -> None:
    seen: list[float] = []
    with Executor(2) as executor:
        results = executor.map(lambda i: 1 / i, [1, 2, 0, 4, 0], buffersize=buffersize)
        with pytest.raises(ZeroDivisionError):
            seen.extend(results)
    assert seen == [1.0, 0.5]


@BOUNDS
def test_the_first_error_cancels_what_has_not_started(buffersize: int | None) -> None:
    ran: list[int] = []
    with Executor(1) as executor, Gate() as gate:

        def job(i: int) -> int:
            ran.append(i)
            if i == 0:
                raise ValueError
            return gate.block(i)

        with pytest.raises(ValueError):  # noqa: PT011 raised above
            list(executor.map(job, range(100), buffersize=buffersize))
        gate.open()
    assert len(ran) <= 2  # the worker may have started the next one


@BOUNDS
def test_an_iterator_that_raised_is_at_its_end(buffersize: int | None) -> None:
    with Executor(1) as executor:
        results = executor.map(lambda i: 1 / i, [0, 1], buffersize=buffersize)
        with pytest.raises(ZeroDivisionError):
            next(results)
        assert list(results) == []


@BOUNDS
def test_a_stop_iteration_of_a_job_does_not_pass_for_the_end(buffersize: int | None) -> None:
    sources: list[Iterator[int]] = [iter([1]), iter(()), iter([3])]
    with Executor(1) as executor:
        results = executor.map(next, sources, buffersize=buffersize)
        assert next(results) == 1
        with pytest.raises(RuntimeError, match=r"^generator raised StopIteration$") as caught:
            next(results)
        assert type(caught.value.__cause__) is StopIteration
        assert list(results) == []


# Closing.


@BOUNDS
def test_closing_cancels_what_has_not_started(buffersize: int | None) -> None:
    ran: list[int] = []
    with Executor(1) as executor, Gate() as gate:

        def job(i: int) -> int:
            ran.append(i)
            return gate.block(i) if i else i

        results: Any = executor.map(job, range(100), buffersize=buffersize)
        assert next(results) == 0
        gate.wait_entered()
        results.close()
        assert list(results) == []
        gate.open()
    assert ran == [0, 1]


@BOUNDS
def test_dropping_the_iterator_half_way_cancels_what_has_not_started(buffersize: int | None) -> None:
    ran: list[int] = []
    with Executor(1) as executor, Gate() as gate:

        def job(i: int) -> int:
            ran.append(i)
            return gate.block(i) if i else i

        for _ in executor.map(job, range(9), buffersize=buffersize):
            break
        gate.open()
    assert len(ran) <= 2


@pytest.mark.parametrize("end", ["drop", "close"])
def test_an_iterator_that_nobody_used_lets_all_its_jobs_run(end: str) -> None:
    ran: list[int] = []
    with Executor(1) as executor:
        results: Any = executor.map(ran.append, range(100))
        if end == "close":
            results.close()
        del results
    assert ran == list(range(100))


def test_shutdown_lets_a_map_end() -> None:
    executor = Executor(2)
    results = executor.map(double, range(1000))
    executor.shutdown(wait=False)
    assert list(results) == [2 * i for i in range(1000)]


def test_shutdown_may_cancel_what_has_not_started() -> None:
    with Executor(1) as executor, Gate() as gate:
        results = executor.map(gate.block, range(10))
        gate.wait_entered()
        executor.shutdown(wait=False, cancel_futures=True)
        gate.open()
        assert next(results) == 0
        with pytest.raises(CancelledError) as caught:
            list(results)
        assert type(caught.value) is CancelledError


def test_two_threads_cannot_take_from_one_iterator_at_once() -> None:
    for _ in range(20):
        with Executor(1) as executor, Gate() as gate:
            results = executor.map(gate.block, range(3))
            gate.wait_entered()
            other = Background(lambda results=results: list(results))  # type: ignore[misc]
            time.sleep(0.05)
            try:
                results.close()  # type: ignore[attr-defined]
            except ValueError:
                gate.open()
                assert other.result() == [0, 1, 2]
                return
            gate.open()  # closing was first, as the other thread had not begun yet
            assert other.result() == []
    pytest.fail("close() was never refused")


# Bounded.


@pytest.mark.parametrize("buffersize", ["3", 2.5, (1,)])
def test_buffersize_must_be_an_integer(buffersize: Any) -> None:
    with Executor(1) as executor, pytest.raises(TypeError, match="buffersize must be an integer or None"):
        executor.map(identity, [1], buffersize=buffersize)


@pytest.mark.parametrize("buffersize", [0, -1])
def test_buffersize_must_be_positive(buffersize: int) -> None:
    with Executor(1) as executor, pytest.raises(ValueError, match="buffersize must be None or > 0"):
        executor.map(identity, [1], buffersize=buffersize)


@pytest.mark.parametrize("buffersize", [1, 2, 5])
def test_an_endless_iterable_is_pulled_no_further_than_the_buffer(buffersize: int) -> None:
    pulled = itertools.count()
    highest = 0

    def items() -> Iterator[int]:
        nonlocal highest
        while True:
            highest = next(pulled)
            yield highest

    with Executor(2) as executor:
        results = executor.map(identity, items(), buffersize=buffersize)
        assert highest == buffersize - 1
        for taken in range(50):
            assert next(results) == taken
            assert highest <= taken + buffersize
        results.close()  # type: ignore[attr-defined]


def test_a_bounded_map_does_not_keep_its_executor() -> None:
    """As in Python 3.14: once nobody has the executor, the iterator ends with what had been submitted."""
    executor = Executor(1)
    results = executor.map(identity, itertools.count(), buffersize=3)
    assert next(results) == 0
    del executor
    assert list(results) == [1, 2, 3]


# Who has another idea of what submitting is.


class Counting(Executor):
    submitted = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.submitted += 1
        return super().submit(fn, *args, **kwargs)


@BOUNDS
def test_a_subclass_that_overrides_submit_sees_each_call(buffersize: int | None) -> None:
    with Counting(2) as executor:
        assert list(executor.map(double, range(10), buffersize=buffersize)) == [2 * i for i in range(10)]
        assert executor.submitted == 10


def test_a_submit_that_was_replaced_on_the_object_sees_each_call() -> None:
    with Executor(2) as executor:
        calls: list[Any] = []
        submit = executor.submit

        def replaced(fn: Any, *args: Any) -> Any:
            calls.append(args)
            return submit(fn, *args)

        with mock.patch.object(executor, "submit", replaced):
            assert list(executor.map(double, range(3))) == [0, 2, 4]
        assert calls == [(0,), (1,), (2,)]


def test_a_submit_that_is_a_mock_sees_each_call() -> None:
    with Executor(2) as executor, mock.patch.object(executor, "submit", wraps=executor.submit) as submit:
        assert list(executor.map(double, range(3))) == [0, 2, 4]
        assert submit.call_count == 3


# Memory.


def test_results_are_handed_on_and_not_kept() -> None:
    watch = Watch()
    with without_collector(), Executor(1) as executor:
        for thing in executor.map(lambda _: watch.new(), range(100)):
            assert thing is not None
            del thing
        wait_until(lambda: watch.alive() == 0)


def test_a_result_comes_after_its_hook_and_its_count() -> None:
    completed: list[int] = []

    class Slow(Hooks[Any, Any]):
        def on_job_complete(self, payload: Any, result: Any, duration: float) -> None:
            time.sleep(0.1)  # long enough for whoever waits for the result to go on, if it may
            completed.append(result)

    with Executor(1, hooks=Slow()) as executor:
        for result in executor.map(abs, [-1, -2, -3]):
            assert completed[-1] == result
            assert executor.stats().completed >= result
