"""`Context`: deadlines, cancellation and values, without any pool."""

from __future__ import annotations

import gc
import itertools
import math
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import pytest
from helpers import (
    ALREADY_PASSED,
    NO_LIMIT,
    NOT_A_TIMEOUT,
    WAIT,
    Background,
    in_threads,
    run_program,
    unraisable_errors,
    wait_until,
)

import loomy
from loomy import CancelHandle, Context


@pytest.fixture(scope="module", autouse=True)
def _timer_thread() -> None:
    """The thread that watches deadlines is the process's, not that of the test that happens to start it."""
    Context(timeout=3600).on_cancel(int).close()


class Calls:
    """A callback that counts its calls and knows their threads."""

    def __init__(self) -> None:
        self.threads: list[int] = []

    def __call__(self) -> None:
        self.threads.append(threading.get_ident())

    @property
    def count(self) -> int:
        return len(self.threads)


def end_of(ctx: Context) -> type[BaseException] | None:
    error = ctx.err()
    return None if error is None else type(error)


# Making


def test_new_context_has_no_end() -> None:
    ctx = Context()
    assert not ctx.cancelled
    assert ctx.deadline is None
    assert ctx.remaining() is None
    assert ctx.err() is None
    ctx.check()


def test_timeout_counts_from_now() -> None:
    before = time.monotonic()
    deadline = Context(timeout=100).deadline
    after = time.monotonic()
    assert deadline is not None
    assert before + 100 - 1e-6 <= deadline <= after + 100 + 1e-6


def test_timeout_may_be_positional() -> None:
    remaining = Context(100).remaining()
    assert remaining is not None
    assert 99 < remaining <= 100


def test_deadline_is_on_the_clock_of_time_monotonic() -> None:
    at = time.monotonic() + 100
    assert Context(deadline=at).deadline == pytest.approx(at, abs=1e-6)


def test_earlier_of_timeout_and_deadline_counts() -> None:
    at = time.monotonic() + 50
    assert Context(timeout=100, deadline=at).deadline == pytest.approx(at, abs=1e-6)
    remaining = Context(timeout=10, deadline=at).remaining()
    assert remaining is not None
    assert remaining <= 10


@pytest.mark.parametrize("timeout", NO_LIMIT[:4])
def test_no_timeout_is_no_deadline(timeout: Any) -> None:
    assert Context(timeout=timeout).deadline is None
    assert Context(deadline=timeout).deadline is None
    assert Context().with_timeout(timeout).deadline is None


@pytest.mark.parametrize("timeout", [10**400, sys.float_info.max])
def test_timeout_beyond_every_clock_is_none(timeout: Any) -> None:
    assert Context(timeout=timeout).deadline is None


@pytest.mark.parametrize("timeout", [*ALREADY_PASSED, -(10**400)])
def test_timeout_of_zero_or_less_has_passed(timeout: Any) -> None:
    ctx = Context(timeout=timeout)
    assert ctx.cancelled
    assert end_of(ctx) is loomy.DeadlineExceeded
    assert ctx.remaining() == 0
    assert ctx.wait()


@pytest.mark.parametrize("deadline", [0, -1, -math.inf, -(10**400)])
def test_deadline_in_the_past_has_passed(deadline: Any) -> None:
    assert Context(deadline=deadline).cancelled


@pytest.mark.parametrize("timeout", NOT_A_TIMEOUT)
def test_what_is_no_number_is_a_type_error(timeout: Any) -> None:
    for call in (
        lambda: Context(timeout=timeout),
        lambda: Context().with_timeout(timeout),
        lambda: Context().wait(timeout),
    ):
        with pytest.raises(TypeError, match="timeout must be a number of seconds or None, got"):
            call()
    for call in (lambda: Context(deadline=timeout), lambda: Context().with_deadline(timeout)):
        with pytest.raises(TypeError, match=r"deadline must be a time of time.monotonic\(\) or None, got"):
            call()


def test_nan_is_a_value_error() -> None:
    for call in (
        lambda: Context(math.nan),
        lambda: Context(deadline=math.nan),
        lambda: Context().wait(math.nan),
    ):
        with pytest.raises(ValueError, match="got nan"):
            call()


def test_whatever_can_be_a_float_or_an_index_is_a_timeout() -> None:
    class Index:
        def __index__(self) -> int:
            return 100

    for timeout in (100, 100.0, Fraction(100), Index()):
        remaining = Context(timeout=timeout).remaining()  # type: ignore[arg-type]
        assert remaining is not None
        assert 99 < remaining <= 100


def test_numpy_scalars_are_timeouts() -> None:
    numpy = pytest.importorskip("numpy")
    for timeout in (numpy.float32(100), numpy.int64(100), numpy.float64(100)):
        remaining = Context(timeout=timeout).remaining()
        assert remaining is not None
        assert 99 < remaining <= 100


def test_error_of_a_number_that_cannot_say_its_value_passes_through() -> None:
    class Broken:
        def __float__(self) -> float:
            raise ZeroDivisionError("broken")

    with pytest.raises(ZeroDivisionError, match="broken"):
        Context(timeout=Broken())  # type: ignore[arg-type]


def test_wrong_arguments_are_type_errors() -> None:
    make: Any = Context
    calls: list[Callable[[], object]] = [
        lambda: make(1, 2),
        lambda: make(timeout=1, limit=2),
        lambda: make(1, timeout=2),
        lambda: make().with_timeout(),
        lambda: make().with_value("key"),
        lambda: make().cancel("a", "b"),
    ]
    for call in calls:
        with pytest.raises(TypeError):
            call()


def test_context_cannot_be_subclassed_changed_or_pickled() -> None:
    with pytest.raises(TypeError):
        type("Mine", (Context,), {})
    with pytest.raises(TypeError):
        Context.extra = 1  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        Context().extra = 1  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(Context())


def test_types_call_themselves_loomy() -> None:
    assert (Context.__module__, Context.__qualname__) == ("loomy", "Context")
    assert (CancelHandle.__module__, CancelHandle.__qualname__) == ("loomy", "CancelHandle")


def test_new_without_calling_the_type_works_the_same() -> None:
    remaining = Context.__new__(Context, 100).remaining()
    assert remaining is not None
    assert 99 < remaining <= 100


# Deadlines


def test_remaining_never_is_negative() -> None:
    ctx = Context(timeout=0.01)
    assert ctx.wait(WAIT)
    assert ctx.remaining() == 0


def test_deadline_that_passes_ends_the_context() -> None:
    ctx = Context(timeout=0.02)
    assert not ctx.cancelled
    time.sleep(0.03)
    assert ctx.cancelled
    with pytest.raises(loomy.DeadlineExceeded, match="deadline of the context passed"):
        ctx.check()


def test_child_has_the_earlier_deadline() -> None:
    parent = Context(timeout=100)
    assert parent.with_timeout(1000).deadline == parent.deadline
    assert parent.with_cancel().deadline == parent.deadline
    assert parent.with_value("a", 1).deadline == parent.deadline
    at = time.monotonic() + 10
    assert parent.with_deadline(at).deadline == pytest.approx(at, abs=1e-6)


def test_deadline_of_a_child_leaves_its_parent_alone() -> None:
    parent = Context()
    child = parent.with_timeout(0.01)
    assert child.wait(WAIT)
    assert end_of(child) is loomy.DeadlineExceeded
    assert not parent.cancelled


# Cancelling


def test_cancel_says_whether_it_did_it() -> None:
    ctx = Context()
    assert ctx.cancel() is True
    assert ctx.cancel() is False
    assert ctx.cancelled


def test_cancelled_context_stays_cancelled_when_its_deadline_passes() -> None:
    ctx = Context(timeout=0.02)
    ctx.cancel()
    time.sleep(0.03)
    assert end_of(ctx) is loomy.JobCancelled


def test_context_past_its_deadline_cannot_be_cancelled() -> None:
    ctx = Context(timeout=0)
    assert ctx.cancelled
    assert ctx.cancel("late") is False
    assert end_of(ctx) is loomy.DeadlineExceeded


def test_check_raises_what_err_returns() -> None:
    ctx = Context()
    ctx.cancel("enough")
    with pytest.raises(loomy.JobCancelled, match="the context was cancelled: enough"):
        ctx.check()
    error = ctx.err()
    assert isinstance(error, loomy.JobCancelled)
    assert str(error) == "the context was cancelled: enough"


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("the user left", "the user left"),
        (404, "404"),
        (ValueError("bad"), "ValueError: bad"),
        (KeyError(), "KeyError"),
        ("naïve ☃ 🧵", "naïve ☃ 🧵"),
        ("lone \ud800 surrogate", r"lone \ud800 surrogate"),
        ("%s %n", "%s %n"),
    ],
)
def test_any_object_can_be_the_reason(reason: object, words: str) -> None:
    ctx = Context()
    ctx.cancel(reason)
    assert str(ctx.err()) == f"the context was cancelled: {words}"


@pytest.mark.parametrize("reason", [None, ""])
def test_cancel_without_a_reason(reason: object) -> None:
    ctx = Context()
    ctx.cancel(reason)
    assert str(ctx.err()) == "the context was cancelled"


def test_reason_that_cannot_say_what_it_is_still_cancels() -> None:
    class Silent:
        def __str__(self) -> str:
            raise RuntimeError("no words")

    ctx = Context()
    assert ctx.cancel(Silent())
    assert str(ctx.err()) == "the context was cancelled: an object of type Silent"


def test_reason_is_not_kept_alive() -> None:
    class Reason:
        pass

    reason = Reason()
    ctx = Context()
    ctx.cancel(reason)
    gone = weakref.ref(reason)
    del reason
    assert gone() is None


def test_cancelling_a_parent_cancels_its_children_with_its_reason() -> None:
    parent = Context()
    children = [parent.with_cancel(), parent.with_timeout(100), parent.with_value("a", 1).with_cancel()]
    parent.cancel("all of it")
    for child in children:
        assert child.cancelled
        assert str(child.err()) == "the context was cancelled: all of it"


def test_cancelling_a_child_leaves_parent_and_siblings_alone() -> None:
    parent = Context()
    child, sibling = parent.with_cancel(), parent.with_cancel()
    child.cancel()
    assert not parent.cancelled
    assert not sibling.cancelled


def test_child_of_a_cancelled_context_is_born_cancelled() -> None:
    parent = Context()
    parent.cancel("before")
    child = parent.with_timeout(100).with_value("a", 1)
    assert child.cancelled
    assert str(child.err()) == "the context was cancelled: before"


def test_child_outlives_its_parents_object() -> None:
    child = Context(timeout=100).with_value("a", 1).with_cancel()
    gc.collect()
    assert child.value("a") == 1
    assert child.deadline is not None


def test_leaving_the_block_cancels() -> None:
    with Context() as ctx:
        child = ctx.with_cancel()
        assert not ctx.cancelled
    assert ctx.cancelled
    assert child.cancelled


def test_leaving_the_block_passes_errors_on() -> None:
    with pytest.raises(ZeroDivisionError), Context() as ctx:
        raise ZeroDivisionError
    assert ctx.cancelled


def test_deep_chain_of_contexts_is_cancelled_and_freed() -> None:
    root = Context()
    ctx = root
    for i in range(20_000):
        ctx = ctx.with_value(i, ctx)
    root.cancel()
    assert ctx.cancelled
    assert ctx.value(0) is root
    del ctx


def test_cancel_from_another_thread_is_seen_at_once() -> None:
    ctx = Context()
    child = ctx.with_cancel()
    Background(ctx.cancel).result()
    assert child.cancelled


def test_cancel_from_many_threads_has_one_winner() -> None:
    for _ in range(50):
        ctx = Context()
        won = in_threads(4, lambda i, ctx=ctx: ctx.cancel(i))  # type: ignore[misc]
        assert won.count(True) == 1
        assert str(ctx.err()) == f"the context was cancelled: {won.index(True)}"


# Values


def test_value_is_looked_up_towards_the_root() -> None:
    ctx = Context().with_value("a", 1).with_cancel().with_value("b", 2).with_timeout(100)
    assert (ctx.value("a"), ctx.value("b")) == (1, 2)


def test_nearest_value_counts() -> None:
    parent = Context().with_value("a", 1)
    child = parent.with_value("a", 2)
    assert (parent.value("a"), child.value("a")) == (1, 2)


def test_missing_value_is_none_or_the_default() -> None:
    ctx = Context().with_value("a", None)
    assert ctx.value("b") is None
    assert ctx.value("b", 7) == 7
    assert ctx.value("b", default=7) == 7
    assert ctx.value("a", 7) is None
    assert Context().value("a", 7) == 7


def test_keys_compare_as_in_a_dict() -> None:
    class SameHash:
        def __hash__(self) -> int:
            return hash(1)

        def __eq__(self, other: object) -> bool:
            return self is other

    nan = math.nan
    ctx = Context().with_value(1, "one").with_value(nan, "nan").with_value((1, "a"), "tuple")
    assert ctx.value(1.0) == "one"
    assert ctx.value(True) == "one"
    assert ctx.value(nan) == "nan"
    assert ctx.value(float("nan")) is None
    assert ctx.value((1, "a")) == "tuple"
    assert ctx.value(SameHash()) is None


def test_unhashable_keys_are_type_errors() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        Context().with_value([], 1)
    with pytest.raises(TypeError, match="unhashable"):
        Context().value([])


def test_error_in_a_comparison_of_keys_passes_through() -> None:
    class Broken:
        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: object) -> bool:
            raise ZeroDivisionError

    ctx = Context().with_value(Broken(), 1)
    with pytest.raises(ZeroDivisionError):
        ctx.value(1)


# Waiting


def test_wait_ends_when_the_context_is_cancelled() -> None:
    ctx = Context()
    waiter = Background(ctx.wait)
    time.sleep(0.01)
    ctx.cancel()
    assert waiter.result() is True


def test_wait_ends_when_a_parent_is_cancelled() -> None:
    parent = Context()
    waiter = Background(parent.with_value("a", 1).wait)
    time.sleep(0.01)
    parent.cancel()
    assert waiter.result() is True


def test_wait_times_out() -> None:
    ctx = Context()
    before = time.monotonic()
    assert ctx.wait(0.02) is False
    assert time.monotonic() - before >= 0.02
    assert not ctx.cancelled


@pytest.mark.parametrize("timeout", ALREADY_PASSED)
def test_wait_without_time_only_looks(timeout: Any) -> None:
    assert Context().wait(timeout) is False
    ctx = Context()
    ctx.cancel()
    assert ctx.wait(timeout) is True


def test_wait_ends_at_the_deadline() -> None:
    ctx = Context(timeout=0.02)
    assert ctx.wait() is True
    assert end_of(ctx) is loomy.DeadlineExceeded


def test_wait_lets_other_threads_run() -> None:
    ctx = Context()
    done = threading.Event()
    waiters = [Background(ctx.wait) for _ in range(3)]
    Background(done.set).result()
    assert done.is_set()
    ctx.cancel()
    assert all(waiter.result() for waiter in waiters)


class Alarm(Exception):
    pass


@pytest.fixture
def alarms() -> Iterator[list[int]]:
    """SIGALRM is counted; the handler raises when the list it fills is longer than 2."""
    seen: list[int] = []

    def handler(number: int, _: object) -> None:
        seen.append(number)
        if len(seen) > 2:
            signal.setitimer(signal.ITIMER_REAL, 0)  # the next one would find nobody who expects it
            raise Alarm

    before = signal.signal(signal.SIGALRM, handler)
    yield seen
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(sys.platform == "win32", reason="needs interval timers")
def test_signal_handlers_run_during_a_wait_and_end_it_by_raising(alarms: list[int]) -> None:
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
    before = time.monotonic()
    with pytest.raises(Alarm):
        Context().wait(WAIT)
    assert time.monotonic() - before < WAIT / 2
    assert len(alarms) == 3


@pytest.mark.skipif(sys.platform == "win32", reason="needs pthread_kill")
def test_signal_that_another_thread_took_ends_a_wait(alarms: list[int]) -> None:
    alarms.extend([0, 0])  # the next one raises
    ctx = Context()
    about_to_wait = threading.Event()

    def interrupt() -> None:
        about_to_wait.wait(WAIT)
        time.sleep(0.02)
        signal.pthread_kill(threading.get_ident(), signal.SIGALRM)
        ctx.wait(WAIT)

    def wait() -> None:
        about_to_wait.set()
        ctx.wait(WAIT)

    other = Background(interrupt)
    before = time.monotonic()
    with pytest.raises(Alarm):
        wait()
    assert time.monotonic() - before < WAIT / 2
    ctx.cancel()
    other.result()


# Callbacks


def test_callback_is_called_once_on_the_cancelling_thread() -> None:
    ctx = Context()
    calls = Calls()
    ctx.on_cancel(calls)
    assert calls.count == 0
    ctx.cancel()
    ctx.cancel()
    assert calls.threads == [threading.get_ident()]


def test_callback_of_a_child_is_called_when_the_parent_is_cancelled() -> None:
    parent = Context()
    child = parent.with_value("a", 1)
    calls = Calls()
    child.on_cancel(calls)
    parent.cancel()
    assert calls.count == 1


def test_callback_of_a_cancelled_context_is_called_at_once() -> None:
    ctx = Context()
    ctx.cancel()
    calls = Calls()
    handle = ctx.on_cancel(calls)
    assert calls.threads == [threading.get_ident()]
    handle.close()


def test_callback_of_a_passed_deadline_is_called_at_once() -> None:
    calls = Calls()
    Context(timeout=0).on_cancel(calls)
    assert calls.threads == [threading.get_ident()]


def test_callback_is_called_when_the_deadline_passes_and_nobody_looks() -> None:
    ctx = Context(timeout=0.02)
    calls = Calls()
    ctx.on_cancel(calls)
    wait_until(lambda: calls.count > 0)
    assert calls.count == 1
    assert calls.threads != [threading.get_ident()]
    assert time.monotonic() >= (ctx.deadline or math.inf)


def test_whoever_notices_the_deadline_calls_the_callbacks() -> None:
    looks: list[Callable[[Context], object]] = [lambda ctx: ctx.cancelled, Context.err, Context.wait]
    for notice in looks:
        ctx = Context(timeout=0.001)
        calls = Calls()
        ctx.on_cancel(calls)
        wait_until(lambda ctx=ctx: ctx.remaining() == 0)  # type: ignore[misc]
        assert notice(ctx)
        wait_until(lambda calls=calls: calls.count > 0)  # type: ignore[misc]
        assert calls.count == 1


def test_callbacks_are_called_in_order() -> None:
    ctx = Context()
    order: list[int] = []
    for i in range(5):
        ctx.on_cancel(lambda i=i: order.append(i))  # type: ignore[misc]
    ctx.cancel()
    assert order == [0, 1, 2, 3, 4]


def test_callback_sees_the_context_and_its_children_cancelled() -> None:
    ctx = Context()
    child = ctx.with_cancel()
    seen: list[bool] = []
    ctx.on_cancel(lambda: seen.extend([ctx.cancelled, child.cancelled, ctx.with_cancel().cancelled]))
    ctx.cancel()
    assert seen == [True, True, True]


def test_error_in_a_callback_goes_to_the_unraisable_hook_and_stops_nothing() -> None:
    def fail() -> None:
        raise ValueError("in a callback")

    ctx = Context()
    calls = Calls()
    with unraisable_errors() as errors:
        ctx.on_cancel(fail)
        ctx.on_cancel(calls)
        assert ctx.cancel() is True
        ctx.on_cancel(fail)
    assert [str(error) for error in errors] == ["in a callback", "in a callback"]
    assert calls.count == 1


def test_what_cannot_be_called_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="something to call without arguments, got an object of type int"):
        Context().on_cancel(7)  # type: ignore[arg-type]


def test_closed_callback_is_not_called() -> None:
    ctx = Context()
    calls = Calls()
    handle = ctx.on_cancel(calls)
    handle.close()
    handle.close()
    ctx.cancel()
    assert calls.count == 0


def test_handle_is_a_context_manager() -> None:
    ctx = Context()
    calls = Calls()
    with ctx.on_cancel(calls) as handle:
        assert isinstance(handle, CancelHandle)
    ctx.cancel()
    assert calls.count == 0


def test_handle_cannot_be_made() -> None:
    make: Any = CancelHandle
    with pytest.raises(TypeError, match="cannot create"):
        make()


def test_close_waits_for_a_callback_that_is_running_elsewhere() -> None:
    ctx = Context()
    entered, leave = threading.Event(), threading.Event()
    left: list[bool] = []

    def slow() -> None:
        entered.set()
        leave.wait(WAIT)
        left.append(True)

    handle = ctx.on_cancel(slow)
    canceller = Background(ctx.cancel)
    assert entered.wait(WAIT)
    closer = Background(handle.close)
    time.sleep(0.02)
    assert closer.running()
    leave.set()
    closer.result()
    assert left == [True]
    canceller.result()


def test_callback_may_close_itself() -> None:
    ctx = Context()
    handles: list[CancelHandle] = []
    handles.append(ctx.on_cancel(lambda: handles[0].close()))
    ctx.cancel()


def test_callback_may_close_one_that_would_be_called_after_it() -> None:
    ctx = Context()
    calls = Calls()
    handles: list[CancelHandle] = []
    ctx.on_cancel(lambda: handles[0].close())
    handles.append(ctx.on_cancel(calls))
    ctx.cancel()
    assert calls.count == 0


def test_callback_may_cancel_another_context() -> None:
    first, second = Context(), Context()
    calls = Calls()
    first.on_cancel(second.cancel)
    second.on_cancel(first.cancel)
    second.on_cancel(calls)
    first.cancel()
    assert second.cancelled
    assert calls.count == 1


def test_cancel_racing_close_calls_or_does_not_but_never_after_close() -> None:
    late: list[int] = []
    for _ in range(200):
        ctx = Context()
        closed = threading.Event()
        handle = ctx.on_cancel(lambda closed=closed: late.append(1) if closed.is_set() else None)  # type: ignore[misc]

        def close(handle: CancelHandle = handle, closed: threading.Event = closed) -> None:
            handle.close()
            closed.set()

        actions: list[Callable[[], object]] = [ctx.cancel, close]
        in_threads(2, lambda i, actions=actions: actions[i]())  # type: ignore[misc]
    assert late == []


def test_every_callback_added_while_cancelling_is_called_once() -> None:
    for _ in range(50):
        ctx = Context()
        calls = [Calls() for _ in range(60)]

        def work(index: int, ctx: Context = ctx, calls: list[Calls] = calls) -> None:
            if index == 3:
                ctx.cancel()
                return
            for one in calls[index * 20 : index * 20 + 20]:
                ctx.on_cancel(one)

        in_threads(4, work)
        assert [one.count for one in calls] == [1] * 60


def test_contexts_and_callbacks_from_many_threads() -> None:
    root = Context().with_value("who", "root")
    called = itertools.count()

    def work(index: int) -> int:
        expected = 0
        for i in range(300):
            child = root.with_timeout(100).with_value("who", (index, i))
            handle = child.on_cancel(lambda: next(called))
            if i % 3 == 0:
                handle.close()
            if i % 2 == 0:
                child.cancel(i)
                expected += i % 3 != 0
            assert child.value("who") == (index, i)
        return expected

    expected = sum(in_threads(4, work))
    assert next(called) == expected
    assert not root.cancelled


# Memory


class Target:
    def stop(self) -> None:
        raise AssertionError("called")


def test_context_can_be_referred_to_weakly() -> None:
    ctx = Context()
    gone = weakref.ref(ctx)
    del ctx
    assert gone() is None


def test_callback_goes_with_its_context() -> None:
    target = Target()
    gone = weakref.ref(target)
    ctx = Context(timeout=3600)
    ctx.on_cancel(target.stop)
    del target
    assert gone() is not None
    del ctx
    assert gone() is None


def test_callback_goes_when_it_is_closed_or_called() -> None:
    ends: list[Callable[[Context, CancelHandle], object]] = [
        lambda ctx, handle: handle.close(),
        lambda ctx, handle: ctx.cancel(),
    ]
    for end in ends:
        calls = Calls()
        gone = weakref.ref(calls)
        ctx = Context()
        handle = ctx.on_cancel(calls)
        del calls
        end(ctx, handle)
        assert gone() is None


def test_handle_keeps_the_context_and_its_callback() -> None:
    parent = Context()
    calls = Calls()
    handle = parent.with_cancel().on_cancel(calls)
    gc.collect()
    parent.cancel()
    assert calls.count == 1
    handle.close()


def test_child_keeps_the_callbacks_of_its_parent() -> None:
    ctx = Context()
    calls = Calls()
    ctx.on_cancel(calls)
    child = ctx.with_cancel()
    parent_of_child = ctx.cancel
    del ctx
    gc.collect()
    parent_of_child()
    assert child.cancelled
    assert calls.count == 1


def test_cycle_through_a_value_is_collected() -> None:
    target: Any = Target()
    gone = weakref.ref(target)
    target.ctx = Context().with_value("me", target)
    del target
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("keep_handle", [False, True])
def test_cycle_through_a_callback_is_collected(keep_handle: bool) -> None:
    target: Any = Target()
    gone = weakref.ref(target)
    target.ctx = Context(timeout=3600).with_cancel()
    handle = target.ctx.on_cancel(target.stop)
    if keep_handle:
        target.handle = handle
    del target, handle
    gc.collect()
    assert gone() is None


def test_callback_that_only_a_child_keeps_is_not_collected() -> None:
    target: Any = Calls()
    target.ctx = Context()
    target.ctx.on_cancel(target)
    child = target.ctx.with_cancel()
    cancel = target.ctx.cancel
    gone = weakref.ref(target)
    del target
    gc.collect()
    assert gone() is not None
    cancel()
    assert child.cancelled


def test_long_lived_parent_does_not_grow() -> None:
    resource = pytest.importorskip("resource")
    parent = Context()

    def churn(count: int) -> None:
        for i in range(count):
            child = parent.with_timeout(3600).with_value("i", i)
            child.on_cancel(int)

    churn(10_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    churn(200_000)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000


# Showing


def test_repr_shows_the_state() -> None:
    ctx = Context()
    assert repr(ctx) == "<loomy.Context no deadline>"
    ctx.cancel("enough")
    assert repr(ctx) == "<loomy.Context cancelled: enough>"
    assert repr(Context(timeout=0)) == "<loomy.Context deadline exceeded>"
    assert re.fullmatch(r"<loomy.Context (100\.000|99\.\d{3}) s left>", repr(Context(timeout=100)))


def test_repr_calls_no_callbacks() -> None:
    ctx = Context(timeout=3600)
    with ctx.on_cancel(int):
        assert repr(ctx).endswith(" s left>")
    assert not ctx.cancelled


# Processes


FORKS = """
import os, sys, threading
from loomy import Context

root = Context(timeout=3600)
stop = threading.Event()

def churn():
    while not stop.is_set():
        root.with_cancel().on_cancel(int).close()

threads = [threading.Thread(target=churn, daemon=True) for _ in range(2)]
for thread in threads: thread.start()
for _ in range(20):
    child = os.fork()
    if child == 0:
        cancelled, passed = threading.Event(), threading.Event()
        first, second = root.with_cancel(), root.with_timeout(0.01)
        handles = first.on_cancel(cancelled.set), second.on_cancel(passed.set)
        first.cancel()
        os._exit(0 if cancelled.is_set() and passed.wait(20) and not root.cancelled else 1)
    status = os.waitpid(child, 0)[1]
    if status: sys.exit(f"the child ended with {status:#x}")
stop.set()
for thread in threads: thread.join()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_contexts_work_in_the_child_of_a_fork() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKS],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_exit_with_deadlines_pending_is_quiet() -> None:
    script = (
        "from loomy import Context\n"
        "keep = [Context(timeout=0.001 * i) for i in range(100)]\n"
        "handles = [ctx.on_cancel(lambda: None) for ctx in keep]\n"
    )
    for _ in range(5):
        done = run_program(script)
        assert (done.returncode, done.stderr) == (0, "")
