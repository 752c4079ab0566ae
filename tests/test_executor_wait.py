"""`concurrent.futures.wait` and `as_completed` on the futures of `loomy.Executor`, also mixed with others."""

from __future__ import annotations

import asyncio
import random
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed, wait
from contextlib import contextmanager
from typing import Any

import pytest
from helpers import WAIT, Background, Gate, double, identity, in_threads, one_busy_worker, wait_until

from loomy import Executor

# Futures that never run.


def end_by_cancel(_: Executor, futures: list[Any]) -> None:
    for future in futures:
        assert future.cancel()


def end_by_shutdown(executor: Executor, _: list[Any]) -> None:
    executor.shutdown(wait=False, cancel_futures=True)


ENDS = pytest.mark.parametrize("end", [end_by_cancel, end_by_shutdown])


@ENDS
@pytest.mark.parametrize("return_when", ["ALL_COMPLETED", "FIRST_COMPLETED", "FIRST_EXCEPTION"])
def test_27_wait_returns_when_queued_futures_are_cancelled(
    end: Callable[[Executor, list[Any]], None], return_when: str
) -> None:
    with one_busy_worker() as (executor, _):
        futures = [executor.submit(identity, i) for i in range(5)]
        waiter = Background(lambda: wait(futures, WAIT, return_when))
        wait_until(lambda: bool(futures[-1]._waiters), "the waiter")
        end(executor, futures)
        done, pending = waiter.result()
        assert done
        if return_when != "FIRST_COMPLETED":
            assert (len(done), len(pending)) == (5, 0)


@ENDS
def test_27_wait_sees_futures_that_were_cancelled_before(
    end: Callable[[Executor, list[Any]], None],
) -> None:
    with one_busy_worker() as (executor, _):
        futures = [executor.submit(identity, i) for i in range(5)]
        end(executor, futures)
        done, pending = wait(futures, WAIT)
        assert (len(done), len(pending)) == (5, 0)


@ENDS
def test_27_as_completed_yields_futures_that_are_cancelled(
    end: Callable[[Executor, list[Any]], None],
) -> None:
    with one_busy_worker() as (executor, _):
        futures = [executor.submit(identity, i) for i in range(5)]
        waiter = Background(lambda: [future.cancelled() for future in as_completed(futures, WAIT)])
        wait_until(lambda: bool(futures[-1]._waiters), "the waiter")
        end(executor, futures)
        assert waiter.result() == [True] * 5


# Both kinds of futures.


@contextmanager
def both_kinds(gate: Gate) -> Iterator[tuple[Callable[..., Any], Callable[..., Any]]]:
    with Executor(4) as ours, ThreadPoolExecutor(4) as theirs:
        try:
            yield ours.submit, theirs.submit
        finally:
            gate.open()


def test_wait_for_all_of_both_kinds() -> None:
    with Gate() as gate, both_kinds(gate) as submits:
        futures = [submit(double, i) for i in range(20) for submit in submits]
        done, pending = wait(futures, WAIT)
        assert (done, pending) == (set(futures), set())


@pytest.mark.parametrize("first", [0, 1])
def test_wait_for_the_first_of_both_kinds(first: int) -> None:
    with Gate() as gate, both_kinds(gate) as submits:
        held = [submit(gate.block, 1) for submit in submits]
        gate.wait_entered(2)
        late = Gate()
        with late:
            quick = submits[first](late.block, 2)
            late.wait_entered()
            waiter = Background(lambda: wait([*held, quick], WAIT, "FIRST_COMPLETED"))
            wait_until(lambda: bool(quick._waiters), "the waiter")
            late.open()
            done, pending = waiter.result()
        assert (done, pending) == ({quick}, set(held))


@pytest.mark.parametrize("failing", [0, 1])
def test_wait_for_the_first_exception_of_both_kinds(failing: int) -> None:
    with Gate() as gate, both_kinds(gate) as submits:
        held = [submit(gate.block, 1) for submit in submits]
        gate.wait_entered(2)
        fine = [submit(double, 2) for submit in submits]
        wait(fine, WAIT)
        go = threading.Event()

        def job() -> None:
            go.wait(WAIT)
            raise ValueError

        bad = submits[failing](job)
        waiter = Background(lambda: wait([*held, *fine, bad], WAIT, "FIRST_EXCEPTION"))
        wait_until(lambda: bool(bad._waiters), "the waiter")
        go.set()
        done, pending = waiter.result()
        assert (done, pending) == ({*fine, bad}, set(held))


def test_wait_times_out_with_both_kinds() -> None:
    with Gate() as gate, both_kinds(gate) as submits:
        held = [submit(gate.block, 1) for submit in submits]
        fine = [submit(double, 2) for submit in submits]
        wait(fine, WAIT)
        done, pending = wait([*held, *fine], 0.01)
        assert (done, pending) == (set(fine), set(held))


def test_as_completed_yields_each_of_both_kinds_once() -> None:
    with Gate() as gate, both_kinds(gate) as submits:
        futures = {submit(double, i): 2 * i for i in range(50) for submit in submits}
        seen = list(as_completed(futures, WAIT))
        assert len(seen) == len(futures)
        assert {future: future.result() for future in seen} == futures


def test_as_completed_yields_in_the_order_of_completion() -> None:
    gates = [Gate() for _ in range(4)]
    with Executor(4) as ours:
        futures = [ours.submit(gate.block, i) for i, gate in enumerate(gates)]
        order = [2, 0, 3, 1]
        seen: list[int] = []
        gates[order[0]].open()
        for future in as_completed(futures, WAIT):
            seen.append(future.result())
            if len(seen) < 4:
                gates[order[len(seen)]].open()
    assert seen == order


def test_as_completed_times_out() -> None:
    with one_busy_worker() as (executor, _):
        futures = [executor.submit(identity, 1)]
        with pytest.raises(TimeoutError, match=r"1 \(of 1\) futures unfinished"):
            list(as_completed(futures, 0.01))


def test_no_waiter_is_left_behind_by_wait() -> None:
    with one_busy_worker() as (executor, gate):
        future = executor.submit(identity, 1)
        wait([future], 0.01)
        assert future._waiters == []
        gate.open()
        assert wait([future], WAIT).done == {future}


def test_whoever_holds_the_condition_sees_no_end_that_was_not_told() -> None:
    """What `wait` relies on: a future that it saw unfinished tells the waiter that it lists."""
    with one_busy_worker() as (executor, gate):
        future = executor.submit(identity, 1)
        with future._condition:
            gate.open()
            wait_until(lambda: executor.stats().completed == 2, "the end of the job")
            assert future._state == "RUNNING"
            told: list[Any] = []

            class Waiter:
                def add_result(self, ended: Any) -> None:
                    told.append(ended)

            future._waiters.append(Waiter())
            assert told == []
        wait_until(lambda: told == [future])
        assert future._state == "FINISHED"


@pytest.mark.parametrize("tell", ["done", "result", "exception"])
def test_what_a_future_says_its_condition_says_too(tell: str) -> None:
    """`wait` must find finished what is known to be, though its worker has not come to tell it yet."""
    with one_busy_worker() as (executor, gate):
        future = executor.submit(identity, 1)
        with future._condition:  # which the worker would need
            gate.open()
            wait_until(lambda: "finished" in repr(future), "the end of the job")
            assert future._state == "RUNNING"
            getattr(future, tell)()
            assert future._state == "FINISHED"
            assert wait([future], 0).done == {future}


def test_a_future_that_has_said_it_ended_says_no_other_thing_to_whoever_looks_first() -> None:
    """Its callback reads the state while others look at the condition, which comes into being there."""
    seen: set[str] = set()
    current: list[Any] = [None]

    def look_often(ended: Any) -> None:
        current[0] = ended
        seen.update(ended._state for _ in range(300))

    def touch(stop: threading.Event) -> int:
        looked: list[Any] = [None]
        while not stop.is_set():
            future = current[0]
            if future is not looked[-1]:
                looked.append(future)
                assert future._condition
        return len(looked)

    stop = threading.Event()
    toucher = Background(lambda: touch(stop))
    try:
        with Executor(1) as executor:
            for _ in range(10_000):
                executor.submit(int).add_done_callback(look_often)
    finally:
        stop.set()
    assert toucher.result() > 1, "nothing was looked at"
    assert seen == {"FINISHED"}


# Everything at once.


@pytest.fixture
def _threads_take_turns_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def cancel_some(futures: list[Any]) -> None:
    for future in random.sample(futures, len(futures) // 2):
        future.cancel()


Ends = tuple[int, int]  # how many returned, how many were cancelled


def ends_by_result(futures: list[Any]) -> Ends:
    cancelled = 0
    for future in futures:
        try:
            future.result(WAIT)
        except CancelledError:
            cancelled += 1
    return len(futures) - cancelled, cancelled


def ends_by_wait(futures: list[Any]) -> Ends:
    done, pending = wait(futures, WAIT)
    assert not pending
    cancelled = sum(future.cancelled() for future in done)
    return len(done) - cancelled, cancelled


def ends_by_as_completed(futures: list[Any]) -> Ends:
    cancelled = [future.cancelled() for future in as_completed(futures, WAIT)]
    return len(cancelled) - sum(cancelled), sum(cancelled)


def ends_by_asyncio(futures: list[Any]) -> Ends:
    async def ends() -> list[Any]:
        wrapped = [asyncio.wrap_future(future) for future in futures]
        return await asyncio.wait_for(asyncio.gather(*wrapped, return_exceptions=True), WAIT)

    cancelled = sum(isinstance(end, asyncio.CancelledError) for end in asyncio.run(ends()))
    return len(futures) - cancelled, cancelled


@pytest.mark.usefixtures("_threads_take_turns_often")
@pytest.mark.parametrize("look", [ends_by_result, ends_by_wait, ends_by_as_completed, ends_by_asyncio])
def test_100_000_racing_cancels_waits_and_completions_lose_nothing(look: Callable[[list[Any]], Ends]) -> None:
    rounds, each = 100, 1_000
    ran = [0] * (rounds * each)

    def job(i: int, go: threading.Event) -> None:
        go.wait(WAIT)
        ran[i] += 1

    def one_round(executor: Executor, turn: int) -> Ends:
        called: list[str] = []
        go = threading.Event()
        futures = [executor.submit(job, turn * each + i, go) for i in range(each)]
        for future in futures[::10]:
            future.add_done_callback(lambda ended: called.append(ended._state))
        calls: list[Callable[[list[Any]], Any]]
        calls = [cancel_some, cancel_some, ends_by_result, look, lambda _: go.set()]
        ends: Ends
        _, _, ends, seen, _ = in_threads(5, lambda index: calls[index](futures))
        assert seen == ends
        assert sum(ends) == each
        wait_until(lambda: len(called) == each // 10, "the callbacks")
        assert set(called) <= {"FINISHED", "CANCELLED_AND_NOTIFIED"}
        return ends

    with Executor(4) as executor:
        all_ends = [one_round(executor, turn) for turn in range(rounds)]
    returned, cancelled = map(sum, zip(*all_ends, strict=True))
    assert min(returned, cancelled) > 0, "nothing raced"
    assert (sum(ran), max(ran)) == (returned, 1)
    stats = executor.stats()
    assert (stats.submitted, stats.completed, stats.cancelled) == (rounds * each, returned, cancelled)
