"""`loomy.Executor`: what the standard library's thread pool executor does, and what it does beyond that."""

from __future__ import annotations

import concurrent.futures
import contextvars
import decimal
import inspect
import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, ThreadPoolExecutor
from concurrent.futures.thread import BrokenThreadPool
from typing import Any

import pytest
from helpers import WAIT, Background, Gate, double, fail_on_negative, identity, identity_holds, wait_until

import loomy
from loomy import Executor, Hooks

MESSAGE_AFTER_SHUTDOWN = "cannot schedule new futures after shutdown"


def message_of(call: Callable[[], object]) -> tuple[type[BaseException], str]:
    try:
        call()
    except Exception as error:
        return type(error), str(error)
    raise AssertionError("it was not refused")


# What it is.


def test_it_is_an_executor_of_the_standard_library() -> None:
    with Executor(1) as executor:
        assert isinstance(executor, concurrent.futures.Executor)
        assert isinstance(executor, ThreadPoolExecutor)


def test_its_futures_are_those_of_the_standard_library() -> None:
    with Executor(1) as executor:
        future = executor.submit(double, 4)
        assert isinstance(future, concurrent.futures.Future)
        assert type(future) is loomy.Future


def test_the_arguments_begin_with_those_of_the_standard_library() -> None:
    ours = list(inspect.signature(Executor).parameters.values())
    theirs = list(inspect.signature(ThreadPoolExecutor).parameters.values())[:4]  # 3.14 adds **ctxkwargs
    assert [(one.name, one.default, one.kind) for one in ours[:4]] == [
        (one.name, one.default, one.kind) for one in theirs
    ]
    assert {one.kind for one in ours[4:]} == {inspect.Parameter.KEYWORD_ONLY}


@pytest.mark.parametrize("method", ["submit", "shutdown"])
def test_methods_have_the_signature_of_the_standard_library(method: str) -> None:
    def shape(kind: type[Any]) -> list[tuple[str, object, object]]:
        parameters = inspect.signature(getattr(kind, method)).parameters.values()
        return [(one.name, one.default, one.kind) for one in parameters if one.name != "self"]

    assert shape(Executor) == shape(ThreadPoolExecutor)


def test_map_has_the_parameters_of_python_3_14() -> None:
    parameters = inspect.signature(Executor.map).parameters
    assert list(parameters) == ["self", "fn", "iterables", "timeout", "chunksize", "buffersize"]
    assert [parameters[name].default for name in ("timeout", "chunksize", "buffersize")] == [None, 1, None]
    theirs = inspect.signature(ThreadPoolExecutor.map).parameters
    assert {name: str(parameters[name]).split(":")[0] for name in theirs} == {
        name: str(parameter).split("=")[0] for name, parameter in theirs.items()
    }


@pytest.mark.parametrize("method", ["result", "exception", "done", "running", "cancelled", "cancel"])
def test_methods_of_futures_have_the_signature_of_the_standard_library(method: str) -> None:
    ours = inspect.signature(getattr(loomy.Future, method)).parameters.values()
    theirs = inspect.signature(getattr(concurrent.futures.Future, method)).parameters.values()
    assert [(one.name, one.default) for one in ours] == [(one.name, one.default) for one in theirs]


# Making one.


@pytest.mark.parametrize("workers", [0, -1])
def test_max_workers_must_be_positive_in_the_words_of_the_standard_library(workers: int) -> None:
    assert message_of(lambda: Executor(workers)) == message_of(lambda: ThreadPoolExecutor(workers))


@pytest.mark.parametrize("initializer", [7, "name", object()])
def test_initializer_must_be_callable_in_the_words_of_the_standard_library(initializer: Any) -> None:
    assert message_of(lambda: Executor(1, initializer=initializer)) == message_of(
        lambda: ThreadPoolExecutor(1, initializer=initializer)
    )


def test_the_default_number_of_workers_is_that_of_the_standard_library() -> None:
    with Executor() as ours, ThreadPoolExecutor() as theirs:
        assert ours._max_workers == ours.max_workers == theirs._max_workers


def test_executors_without_a_prefix_have_names_of_their_own() -> None:
    with Executor(1) as one, Executor(1) as other:
        names = [each.submit(lambda: threading.current_thread().name).result(WAIT) for each in (one, other)]
    assert names[0] != names[1]
    assert all(name.startswith("loomy.Executor-") and name.endswith("_0") for name in names)


def test_threads_are_named_as_those_of_the_standard_library() -> None:
    def name() -> str:
        return threading.current_thread().name

    with Executor(1, "prefix") as ours, ThreadPoolExecutor(1, "prefix") as theirs:
        assert ours.submit(name).result(WAIT) == theirs.submit(name).result(WAIT) == "prefix_0"


@pytest.mark.skipif(not os.path.exists("/proc/self/comm"), reason="needs /proc of Linux")
@pytest.mark.parametrize(
    ("prefix", "seen"), [("short", "short-0"), ("a-prefix-of-many-bytes", "a-prefix-of-m-0")]
)
def test_33_the_operating_system_sees_the_names_of_workers(prefix: str, seen: str) -> None:
    def own_name() -> str:
        with open(f"/proc/self/task/{threading.get_native_id()}/comm") as comm:
            return comm.read().strip()

    with Executor(1, prefix) as executor:
        assert executor.submit(own_name).result(WAIT) == seen


def test_an_idle_executor_has_started_no_thread() -> None:
    with Executor(8) as executor:
        assert len(executor._threads) == 0
        executor.submit(identity, 1).result(WAIT)
        assert len(executor._threads) == 1


def test_threads_in_view_are_threads() -> None:
    with Executor(2) as executor:
        executor.submit(identity, 1).result(WAIT)
        assert all(isinstance(thread, threading.Thread) for thread in executor._threads)


def test_jobs_run_on_threads_of_the_executor_never_on_the_caller() -> None:
    with Executor(2) as executor:
        seen = {executor.submit(threading.get_ident).result(WAIT) for _ in range(1000)}
    assert threading.get_ident() not in seen


# Submitting.


def test_arguments_reach_the_function() -> None:
    def collect(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        return args, kwargs

    with Executor(1) as executor:
        assert executor.submit(collect).result(WAIT) == ((), {})
        assert executor.submit(collect, 1, 2).result(WAIT) == ((1, 2), {})
        assert executor.submit(collect, a=1).result(WAIT) == ((), {"a": 1})
        assert executor.submit(collect, *range(9), b=2, c=3).result(WAIT) == (
            tuple(range(9)),
            {"b": 2, "c": 3},
        )


@pytest.mark.parametrize("name", ["self", "fn", "args", "kwargs", "executor", "timeout"])
def test_keyword_arguments_may_have_any_name(name: str) -> None:
    def collect(**kwargs: Any) -> dict[str, Any]:
        return kwargs

    with Executor(1) as executor:
        assert executor.submit(collect, **{name: 7}).result(WAIT) == {name: 7}


def test_submit_without_a_function_says_what_is_missing() -> None:
    with (
        Executor(1) as executor,
        pytest.raises(TypeError, match="missing 1 required positional argument: 'fn'"),
    ):
        executor.submit()  # type: ignore[call-arg]


@pytest.mark.parametrize("arguments", [(), (1,), (1, 2)])
def test_what_cannot_be_called_raises_from_its_future(arguments: tuple[int, ...]) -> None:
    not_callable: Any = 7
    with Executor(1) as executor:
        error = executor.submit(not_callable, *arguments).exception(WAIT)
    assert type(error) is TypeError
    assert str(error) == "'int' object is not callable"


def test_missing_arguments_are_an_error_of_the_job() -> None:
    wrong: Any = double
    with Executor(1) as executor, pytest.raises(TypeError, match="missing 1 required positional argument"):
        executor.submit(wrong).result(WAIT)


def test_submit_after_shutdown_is_refused_in_the_words_of_the_standard_library() -> None:
    ours, theirs = Executor(1), ThreadPoolExecutor(1)
    ours.shutdown()
    theirs.shutdown()
    assert message_of(lambda: ours.submit(identity, 1)) == message_of(lambda: theirs.submit(identity, 1))
    assert message_of(lambda: ours.submit(identity, 1)) == (RuntimeError, MESSAGE_AFTER_SHUTDOWN)


def test_map_after_shutdown_is_refused_in_the_same_words() -> None:
    executor = Executor(1)
    executor.shutdown()
    assert message_of(lambda: executor.map(identity, [1])) == (RuntimeError, MESSAGE_AFTER_SHUTDOWN)


def test_one_worker_runs_jobs_in_the_order_of_submission() -> None:
    order: list[int] = []
    with Executor(1) as executor:
        for i in range(1000):
            executor.submit(order.append, i)
    assert order == list(range(1000))


# The initializer.


def test_each_worker_runs_the_initializer_once_before_its_first_job() -> None:
    local = threading.local()
    calls: list[tuple[int, str]] = []
    barrier = threading.Barrier(3)

    def prepare(number: int, word: str) -> None:
        local.ready = True
        calls.append((number, word))

    def job() -> bool:
        barrier.wait(WAIT)  # so that each of the three workers gets one
        return bool(local.ready)

    with Executor(3, initializer=prepare, initargs=(7, "x")) as executor:
        for _ in range(3):
            assert all(future.result(WAIT) for future in [executor.submit(job) for _ in range(3)])
    assert calls == [(7, "x")] * 3


def test_an_initializer_that_raises_breaks_the_executor(caplog: pytest.LogCaptureFixture) -> None:
    def refuse() -> None:
        raise ValueError("no database")

    with Executor(2, initializer=refuse) as executor:
        futures = [executor.submit(identity, 1)]
        with pytest.raises(BrokenThreadPool) as of_future:
            futures[0].result(WAIT)
        with pytest.raises(BrokenThreadPool) as of_submit:
            executor.submit(identity, 1)
    assert executor._broken
    text = "A thread initializer failed, the thread pool is not usable anymore"
    assert str(of_future.value).startswith(text)
    assert str(of_submit.value).startswith(text)


def test_the_error_of_an_initializer_is_logged_where_the_standard_library_logs_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse() -> None:
        raise ValueError("no database")

    with Executor(1, initializer=refuse) as executor:
        executor.submit(identity, 1).exception(WAIT)
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("concurrent.futures", logging.CRITICAL)
    assert record.getMessage() == "Exception in initializer:"
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "no database"


def test_what_is_queued_when_an_initializer_fails_is_broken_too(caplog: pytest.LogCaptureFixture) -> None:
    go = threading.Event()

    def refuse() -> None:
        go.wait(WAIT)
        raise ValueError

    with Executor(1, initializer=refuse) as executor:
        futures = [executor.submit(identity, i) for i in range(50)]
        go.set()
        done, pending = concurrent.futures.wait(futures, WAIT)
        assert (len(done), len(pending)) == (50, 0)
        assert {type(future.exception()) for future in futures} == {BrokenThreadPool}


# Beyond the standard library.


variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


def run_in_fresh_context(call: Callable[[], Any]) -> Any:
    return contextvars.Context().run(call)


def test_jobs_run_in_a_copy_of_the_submitters_context() -> None:
    def scenario() -> list[str]:
        variable.set("mine")
        with Executor(1) as executor:
            seen = [executor.submit(variable.get).result(WAIT)]
            executor.submit(variable.set, "changed by a job").result(WAIT)
            seen += [variable.get(), executor.submit(variable.get).result(WAIT)]
        return seen

    assert run_in_fresh_context(scenario) == ["mine", "mine", "mine"]


def test_the_context_is_that_of_the_submission() -> None:
    def scenario() -> str:
        with Executor(1) as executor, Gate() as gate:
            executor.submit(gate.block, 0)
            gate.wait_entered()
            variable.set("early")
            future = executor.submit(variable.get)
            variable.set("late")
            gate.open()
            return future.result(WAIT)

    assert run_in_fresh_context(scenario) == "early"


def test_map_runs_in_a_copy_of_the_context_of_its_call() -> None:
    def scenario() -> list[str]:
        with Executor(2) as executor:
            variable.set("early")
            results = executor.map(lambda _: variable.get(), range(4))
            variable.set("late")
            return list(results)

    assert run_in_fresh_context(scenario) == ["early"] * 4


@pytest.mark.parametrize(("copy_context", "seen"), [(None, 5), (False, 5), (True, 28)])
def test_jobs_find_what_an_initializer_did_to_the_context(copy_context: bool | None, seen: int) -> None:
    """Unless they are to have the submitter's."""

    def initialize() -> None:
        decimal.getcontext().prec = 5

    def precision(_: int = 0) -> int:
        return decimal.getcontext().prec

    with Executor(1, initializer=initialize, copy_context=copy_context) as executor:
        assert executor.submit(precision).result(WAIT) == seen
        assert list(executor.map(precision, range(3))) == [seen] * 3


def test_without_copy_context_jobs_see_that_of_their_thread() -> None:
    def scenario() -> list[str]:
        variable.set("mine")
        with Executor(1, copy_context=False) as executor:
            return [executor.submit(variable.get).result(WAIT), *executor.map(lambda _: variable.get(), [1])]

    assert run_in_fresh_context(scenario) == ["unset", "unset"]


def test_max_pending_is_the_exact_bound_of_the_queue() -> None:
    with Executor(1, max_pending=2, on_full="raise") as executor, Gate() as gate:
        executor.submit(gate.block, 0)
        gate.wait_entered()
        executor.submit(identity, 1)
        executor.submit(identity, 2)
        with pytest.raises(loomy.PoolFull) as full:
            executor.submit(identity, 3)
        assert full.value.depth == executor.queue_length == 2
    assert executor.stats().rejected == 1


def test_a_full_queue_blocks_the_submitter_until_a_job_starts() -> None:
    with Executor(1, max_pending=1) as executor, Gate() as gate:
        executor.submit(gate.block, 0)
        gate.wait_entered()
        executor.submit(identity, 1)
        blocked = Background(lambda: executor.submit(identity, 2))
        blocked.thread.join(0.05)
        assert blocked.running()
        gate.open()
        assert blocked.result().result(WAIT) == 2


def test_a_full_queue_may_let_the_caller_run_the_job() -> None:
    with Executor(1, max_pending=1, on_full="caller_runs") as executor, Gate() as gate:
        executor.submit(gate.block, 0)
        gate.wait_entered()
        executor.submit(identity, 1)
        future = executor.submit(threading.get_ident)
        assert future.done()
        assert future.result() == threading.get_ident()


def test_set_max_workers_grows_a_working_executor() -> None:
    barrier = threading.Barrier(4)
    with Executor(1) as executor:
        futures = [executor.submit(barrier.wait, WAIT) for _ in range(4)]
        executor.set_max_workers(4)
        assert sorted(future.result(WAIT) for future in futures) == [0, 1, 2, 3]
        assert executor._max_workers == 4


def test_set_max_workers_shrinks_without_losing_a_job() -> None:
    with Executor(4) as executor:
        futures = [executor.submit(identity, i) for i in range(1000)]
        executor.set_max_workers(1)
        assert executor.max_workers == 1
        assert [future.result(WAIT) for future in futures] == list(range(1000))
        wait_until(lambda: len([thread for thread in executor._threads if thread.is_alive()]) <= 1)


def test_the_statistics_add_up() -> None:
    with Executor(2) as executor:
        with Gate() as gate:
            running = [executor.submit(gate.block, i) for i in range(2)]
            gate.wait_entered(2)
            queued = [executor.submit(fail_on_negative, i) for i in range(-5, 5)]
            assert [future.cancel() for future in queued[:2]] == [True, True]
            stats = executor.stats()
            assert (stats.submitted, stats.running, stats.queued, stats.cancelled) == (12, 2, 8, 2)
            assert identity_holds(stats)
        concurrent.futures.wait([*running, *queued], WAIT)
        list(executor.map(identity, range(100)))
        wait_until(lambda: executor.stats().running == 0)
        stats = executor.stats()
        assert (stats.submitted, stats.completed, stats.failed, stats.cancelled) == (112, 107, 3, 2)
        assert identity_holds(stats)
    assert executor.stats().submitted == 112


class Recording(Hooks[Any, Any]):
    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []

    def on_job_start(self, payload: Any) -> None:
        self.events.append(("start", payload))

    def on_job_complete(self, payload: Any, result: Any, duration: float) -> None:
        self.events.append(("complete", payload, result))

    def on_job_error(self, payload: Any, error: BaseException, duration: float) -> None:
        self.events.append(("error", payload, error))


def test_hooks_see_the_function_of_a_job_without_arguments() -> None:
    hooks = Recording()

    def job() -> int:
        return 7

    with Executor(1, hooks=hooks) as executor:
        executor.submit(job).result(WAIT)
    assert hooks.events == [("start", job), ("complete", job, 7)]


def test_hooks_see_a_call_with_its_arguments() -> None:
    hooks = Recording()

    def job(*args: Any, **kwargs: Any) -> int:
        return 7

    with Executor(1, hooks=hooks) as executor:
        executor.submit(job, 1, 2, key=3).result(WAIT)
    call = hooks.events[0][1]
    assert (call.func, call.args, call.keywords) == (job, (1, 2), {"key": 3})
    assert call() == 7
    assert hooks.events[1] == ("complete", call, 7)


@pytest.mark.parametrize(
    ("iterables", "payloads"), [([[1, 2]], [1, 2]), ([[1, 2], "ab"], [(1, "a"), (2, "b")])]
)
def test_hooks_see_the_arguments_of_a_map(iterables: list[Any], payloads: list[Any]) -> None:
    hooks = Recording()
    with Executor(1, hooks=hooks) as executor:
        list(executor.map(lambda *args: args, *iterables))
    assert [event[1] for event in hooks.events if event[0] == "start"] == payloads


def test_hooks_are_told_of_what_was_cancelled_in_the_queue() -> None:
    hooks = Recording()
    with Executor(1, hooks=hooks) as executor, Gate() as gate:
        executor.submit(gate.block, 0)
        gate.wait_entered()
        executor.submit(print, "never").cancel()
        (event,) = [event for event in hooks.events if event[0] == "error"]
        assert event[1].args == ("never",)
        assert type(event[2]) is CancelledError


def test_cancelling_a_running_job_returns_false_and_cancels_its_context() -> None:
    started = threading.Event()

    def job() -> str:
        context = loomy.current_context()
        assert context is not None
        started.set()
        context.wait(WAIT)
        return "stopped" if context.cancelled else "never told"

    with Executor(1) as executor:
        future = executor.submit(job)
        assert started.wait(WAIT)
        assert future.cancel() is False
        assert future.result(WAIT) == "stopped"
        assert future.cancelled() is False


def test_a_job_that_asks_for_its_context_late_learns_that_it_was_cancelled() -> None:
    with Executor(1) as executor, Gate() as gate:

        def job() -> bool:
            gate.block(0)
            context = loomy.current_context()
            return context is not None and context.cancelled

        future = executor.submit(job)
        gate.wait_entered()
        assert future.cancel() is False
        gate.open()
        assert future.result(WAIT) is True


def test_representation_of_an_executor_says_how_it_is() -> None:
    with Executor(3, "mine") as executor:
        assert "mine" in repr(executor)
        assert "open" in repr(executor)
    assert "closed" in repr(executor)


def test_executors_have_room_for_attributes_as_those_of_the_standard_library() -> None:
    with Executor(1) as executor:
        executor.label = "x"  # type: ignore[attr-defined]
        assert vars(executor)["label"] == "x"


def test_class_can_be_subclassed_with_an_init_of_its_own() -> None:
    class Mine(Executor):
        def __init__(self) -> None:
            super().__init__(2, "mine")
            self.submitted = 0

        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
            self.submitted += 1
            return super().submit(fn, *args, **kwargs)

    with Mine() as executor:
        assert executor.submit(double, 4).result(WAIT) == 8
        assert executor.submitted == 1
