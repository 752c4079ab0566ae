"""The futures of `loomy.Executor`: how they end, what cancels them, and who is called then."""

from __future__ import annotations

import concurrent.futures
import logging
import pickle
import threading
import time
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from typing import Any

import pytest
from helpers import (
    WAIT,
    Background,
    Gate,
    double,
    identity,
    one_busy_worker,
    raise_it,
    unraisable_errors,
    wait_until,
)

from loomy import Executor, Future

# Outcomes.


def test_result_and_exception_of_a_job_that_returned() -> None:
    with Executor(1) as executor:
        future = executor.submit(double, 4)
        assert future.result(WAIT) == 8
        assert future.exception() is None
        assert (future.done(), future.running(), future.cancelled()) == (True, False, False)


def test_result_raises_the_very_exception_of_the_job() -> None:
    error = ValueError("mine")
    with Executor(1) as executor:
        future = executor.submit(raise_it, error)
        with pytest.raises(ValueError, match="mine") as caught:
            future.result(WAIT)
        assert caught.value is future.exception() is error
    assert not hasattr(error, "__notes__")


@pytest.mark.parametrize(
    "error",
    [SystemExit(3), KeyboardInterrupt("in a job"), GeneratorExit(), StopIteration(7), RecursionError()],
)
def test_31_any_exception_is_the_answer_as_it_is(error: BaseException) -> None:
    with Executor(1) as executor:
        future = executor.submit(raise_it, error)
        with pytest.raises(type(error)) as caught:
            future.result(WAIT)
        assert caught.value is error
        assert executor.submit(identity, 1).result(WAIT) == 1


class Falsy(Exception):
    def __bool__(self) -> bool:
        return False

    def __len__(self) -> int:
        return 0


def test_31_a_falsy_exception_is_raised() -> None:
    with Executor(1) as executor:
        future = executor.submit(raise_it, Falsy())
        with pytest.raises(Falsy):
            future.result(WAIT)
        assert type(future.exception()) is Falsy
        with pytest.raises(Falsy):
            list(executor.map(raise_it, [Falsy()]))


@pytest.mark.parametrize("method", ["result", "exception"])
@pytest.mark.parametrize("timeout", [0, 0.01, -1])
def test_a_timeout_leaves_the_job_alone(method: str, timeout: float) -> None:
    with one_busy_worker() as (executor, gate):
        future = executor.submit(double, 4)
        with pytest.raises(TimeoutError):
            getattr(future, method)(timeout)
        gate.open()
        assert future.result(timeout=WAIT) == 8


def test_states_are_those_of_the_standard_library() -> None:
    with one_busy_worker() as (executor, gate):
        queued, cancelled = executor.submit(identity, 1), executor.submit(identity, 2)
        assert queued._state == "PENDING"
        cancelled.cancel()
        assert cancelled._state == "CANCELLED_AND_NOTIFIED"
        running = executor.submit(gate.block, 1)
        executor.set_max_workers(2)
        gate.wait_entered()
        assert (running._state, running.running()) == ("RUNNING", True)
        gate.open()
        running.result(WAIT)
        assert (running._state, running.running()) == ("FINISHED", False)


@pytest.mark.parametrize("how", ["pending", "cancelled", "returned int", "raised ValueError"])
def test_representations_are_those_of_the_standard_library(how: str) -> None:
    def made_by(executor: concurrent.futures.Executor) -> str:
        gate = Gate()
        with gate:
            executor.submit(gate.block, 0)
            gate.wait_entered()
            future: Any = executor.submit(raise_it, ValueError()) if "raised" in how else executor.submit(int)
            if how == "cancelled":
                future.cancel()
            if how.startswith("r"):
                gate.open()
                future.exception(WAIT)
            text = repr(future)
        return text.partition(" at ")[2].partition(" ")[2]

    with Executor(1) as ours, ThreadPoolExecutor(1) as theirs:
        text = made_by(ours)
        assert how in text
        assert text == made_by(theirs)


@pytest.mark.parametrize("call", ["set_result", "set_exception", "set_running_or_notify_cancel"])
def test_nobody_else_sets_the_outcome(call: str) -> None:
    arguments = () if call.endswith("cancel") else (ValueError(),)
    with one_busy_worker() as (executor, _):
        future = executor.submit(identity, 1)
        with pytest.raises(concurrent.futures.InvalidStateError, match="sets its outcome itself"):
            getattr(future, call)(*arguments)


def test_futures_are_made_by_executors_alone() -> None:
    with pytest.raises(TypeError, match=r"made by Executor\.submit"):
        Future()


def test_futures_are_not_pickled() -> None:
    with Executor(1) as executor:
        future = executor.submit(identity, 1)
        with pytest.raises(TypeError):
            pickle.dumps(future)


def test_futures_can_be_keys_and_carry_attributes() -> None:
    with Executor(1) as executor:
        futures: dict[Any, str] = {executor.submit(identity, i): f"url {i}" for i in range(3)}
        for future, url in futures.items():
            future.label = url
        ended: list[Any] = list(as_completed(futures, WAIT))
        assert {future.label for future in ended} == {"url 0", "url 1", "url 2"}


# Cancelling.


def test_a_queued_job_that_was_cancelled_never_runs() -> None:
    ran: list[int] = []
    with one_busy_worker() as (executor, gate):
        future = executor.submit(ran.append, 1)
        assert future.cancel() is True
        assert future.cancel() is True
        assert (future.cancelled(), future.done(), future.running()) == (True, True, False)
        gate.open()
    assert ran == []


@pytest.mark.parametrize("method", ["result", "exception"])
def test_a_cancelled_future_raises_cancelled_error(method: str) -> None:
    with one_busy_worker() as (executor, _):
        future = executor.submit(identity, 1)
        future.cancel()
        with pytest.raises(CancelledError) as caught:
            getattr(future, method)(WAIT)
        assert type(caught.value) is CancelledError  # asyncio looks at the class itself


def test_a_finished_job_cannot_be_cancelled() -> None:
    with Executor(1) as executor:
        future = executor.submit(double, 4)
        future.result(WAIT)
        assert future.cancel() is False
        assert future.cancelled() is False
        assert future.result() == 8


@pytest.mark.parametrize("look", ["result", "exception"])
def test_27_cancelling_wakes_whoever_waits(look: str) -> None:
    with one_busy_worker() as (executor, _):
        future = executor.submit(identity, 1)
        waiter = Background(lambda: getattr(future, look)(WAIT))
        time.sleep(0.01)
        future.cancel()
        with pytest.raises(CancelledError):
            waiter.result()


# Callbacks.


def test_callbacks_are_called_in_order_with_the_future() -> None:
    calls: list[tuple[int, Any]] = []
    with one_busy_worker() as (executor, gate):
        future = executor.submit(identity, 1)
        for i in range(5):
            future.add_done_callback(lambda ended, i=i: calls.append((i, ended)))  # type: ignore[misc]
        gate.open()
        future.result(WAIT)
        wait_until(lambda: len(calls) == 5)
    assert calls == [(i, future) for i in range(5)]


def test_a_callback_of_a_finished_future_is_called_at_once_on_this_thread() -> None:
    calls: list[int] = []
    with Executor(1) as executor:
        future = executor.submit(identity, 1)
        future.result(WAIT)
        future.add_done_callback(lambda _: calls.append(threading.get_ident()))
    assert calls == [threading.get_ident()]


def test_a_callback_is_called_on_the_thread_that_ends_the_job() -> None:
    calls: list[int] = []
    with one_busy_worker() as (executor, gate):
        first, second = executor.submit(threading.get_ident), executor.submit(identity, 1)
        for future in (first, second):
            future.add_done_callback(lambda _: calls.append(threading.get_ident()))
        second.cancel()
        assert calls == [threading.get_ident()]
        gate.open()
        worker = first.result(WAIT)
        wait_until(lambda: len(calls) == 2)
    assert calls[1] == worker


def test_a_callback_sees_the_future_done() -> None:
    seen: list[Any] = []
    with one_busy_worker() as (executor, gate):
        future = executor.submit(double, 4)
        future.add_done_callback(lambda ended: seen.append((ended.done(), ended._state, ended.result(0))))
        gate.open()
    assert seen == [(True, "FINISHED", 8)]


def test_exceptions_of_callbacks_are_logged_and_the_others_are_called(
    caplog: pytest.LogCaptureFixture,
) -> None:
    calls: list[int] = []
    with one_busy_worker() as (executor, gate):
        future = executor.submit(identity, 1)
        future.add_done_callback(lambda _: raise_it(ValueError("of a callback")))
        future.add_done_callback(lambda _: calls.append(1))
        gate.open()
    assert calls == [1]
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("concurrent.futures", logging.ERROR)
    assert record.getMessage().startswith("exception calling callback for <")
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "of a callback"


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_29_no_exception_of_a_callback_ends_the_worker(error: BaseException) -> None:
    with unraisable_errors() as seen, one_busy_worker() as (executor, gate):
        future = executor.submit(identity, 1)
        future.add_done_callback(lambda _: raise_it(error))
        gate.open()
        (worker,) = executor._threads
        assert executor.submit(threading.get_ident).result(WAIT) == worker.ident
    assert seen == [error]


def test_a_callback_that_cannot_be_called_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    not_callable: Any = 7
    with one_busy_worker() as (executor, gate):
        future = executor.submit(identity, 1)
        future.add_done_callback(not_callable)
        gate.open()
        future.result(WAIT)
        future.add_done_callback(not_callable)
    assert [record.getMessage()[:26] for record in caplog.records] == ["exception calling callback"] * 2


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_what_a_late_callback_raises_beside_exceptions_is_the_callers(error: BaseException) -> None:
    with Executor(1) as executor:
        future = executor.submit(identity, 1)
        future.result(WAIT)
        with pytest.raises(type(error)):
            future.add_done_callback(lambda _: raise_it(error))
