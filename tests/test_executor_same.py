"""`Executor` and `ThreadPoolExecutor` are asked the same and answer the same: values, errors, messages."""

from __future__ import annotations

import collections.abc
import contextvars
import copy
import decimal
import fractions
import inspect
import logging
import math
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from concurrent.futures.thread import BrokenThreadPool
from typing import Any

import pytest
from helpers import WAIT, Gate, raise_it

import loomy
from loomy import Executor

Ask = Callable[[Any], Any]  # of the class of an executor


def outcome(ask: Ask, kind: type[Any]) -> tuple[str, Any]:
    try:
        return "value", ask(kind)
    except BaseException as error:
        # Only where an object lies, and which class the executor is, may differ.
        text = re.sub(r" at 0x[0-9a-f]+", "", str(error)).replace("loomy.Future", "Future")
        cause = error.__cause__
        return type(error).__qualname__, (text, type(cause).__qualname__, isinstance(error, Exception))


def both_say(ask: Ask) -> tuple[str, Any]:
    theirs = outcome(ask, ThreadPoolExecutor)
    assert outcome(ask, Executor) == theirs
    return theirs


def made(*args: Any, **kwargs: Any) -> Ask:
    """An executor is made with these, runs a job, and ends."""

    def ask(kind: Any) -> Any:
        with kind(*args, **kwargs) as executor:
            return executor.submit(int, "7").result(WAIT)

    return ask


@pytest.mark.parametrize(
    "ask",
    [
        made(),
        made(2),
        made(2.5),
        made(0.5),
        made(True),
        made(fractions.Fraction(5, 2)),
        made(decimal.Decimal("1.5")),
        made(max_workers=math.inf),
        made(10**5),
        made(10**30),
        made(0),
        made(False),
        made(-1),
        made(-0.5),
        made("4"),
        made([]),
        made(2, "prefix"),
        made(2, ""),
        made(2, 7),
        made(2, None),
        made(2, b"bytes"),
        made(1, "", len, [""]),
        made(1, "", None, 5),
        made(1, "", 7),
        made(max_workers=1, thread_name_prefix="p", initializer=int, initargs=()),
    ],
)
def test_making_one(ask: Ask) -> None:
    both_say(ask)


@pytest.mark.parametrize("workers", [math.nan, 1j, object()])
def test_what_is_no_number_of_workers_is_refused_by_that_name(workers: Any) -> None:
    with pytest.raises(TypeError, match=r"max_workers|complex|object"):
        Executor(workers)


@pytest.mark.parametrize("prefix", ["mine", 7, ("a", "b")])
def test_names_of_threads(prefix: Any) -> None:
    def ask(kind: Any) -> str:
        with kind(1, prefix) as executor:
            name: str = executor.submit(lambda: threading.current_thread().name).result(WAIT)
            return name

    if isinstance(
        prefix, tuple
    ):  # "%s_%d" % (prefix, ...) of the standard library takes them for two arguments
        assert outcome(ask, Executor)[0] == "value"
    else:
        both_say(ask)


def on_one(call: Callable[[Any], Any]) -> Ask:
    def ask(kind: Any) -> Any:
        with kind(1) as executor:
            return call(executor)

    return ask


def done(executor: Any, value: str = "7") -> Any:
    future = executor.submit(int, value)
    wait([future], WAIT)
    return future


def with_a_running_job(call: Callable[[Any, Any], Any]) -> Ask:
    """`call(executor, future)` while the future's job runs on the only worker."""

    def ask(kind: Any) -> Any:
        with kind(1) as executor, Gate() as gate:
            future = executor.submit(gate.block, 7)
            gate.wait_entered()
            return call(executor, future)

    return ask


def cancelled(executor: Any) -> Any:
    future = executor.submit(int)
    assert future.cancel()
    return future


SUBMITTING: dict[str, Ask] = {
    "submit without a function": on_one(lambda e: e.submit()),
    "submit with fn by name": on_one(lambda e: e.submit(fn=int)),
    "submit what cannot be called": on_one(lambda e: e.submit(7).result(WAIT)),
    "submit with wrong arguments": on_one(lambda e: e.submit(int, x=1).result(WAIT)),
    "submit after shutdown": on_one(lambda e: (e.shutdown(), e.submit(int))),
    "map after shutdown": on_one(lambda e: (e.shutdown(), e.map(int, ["1"]))),
    "map of nothing after shutdown": on_one(lambda e: (e.shutdown(), list(e.map(int, iter(()))))),
    "shutdown with two": on_one(lambda e: e.shutdown(True, True)),
    "shutdown with three": on_one(lambda e: e.shutdown(True, True, 3)),
    "shutdown with a wrong name": on_one(lambda e: e.shutdown(hurry=True)),
    "shutdown twice given": on_one(lambda e: e.shutdown(True, wait=True)),
    "shutdown with anything true": on_one(lambda e: e.shutdown(wait="", cancel_futures=[])),
    "shutdown by name": on_one(lambda e: e.shutdown(wait=True, cancel_futures=True)),
}


@pytest.mark.parametrize("ask", SUBMITTING.values(), ids=SUBMITTING)
def test_submitting_and_shutting_down(ask: Ask) -> None:
    both_say(ask)


FUTURES: dict[str, Ask] = {
    "result": on_one(lambda e: e.submit(int, "7").result()),
    "exception": on_one(lambda e: type(e.submit(int, "x").exception()).__name__),
    "result raises": on_one(lambda e: e.submit(int, "x").result()),
    "result with two": on_one(lambda e: done(e).result(1, 2)),
    "result with a wrong name": on_one(lambda e: done(e).result(seconds=1)),
    "exception with two": on_one(lambda e: done(e).exception(1, 2)),
    "timed out": with_a_running_job(lambda _, f: f.result(0.001)),
    "timed out by name": with_a_running_job(lambda _, f: f.exception(timeout=0.001)),
    "cancelled": with_a_running_job(lambda e, _: cancelled(e).result()),
    "cancelled, exception": with_a_running_job(lambda e, _: cancelled(e).exception()),
    "cancel of one that runs": with_a_running_job(lambda _, f: f.cancel()),
    "callback by name": on_one(
        lambda e: (lambda seen: (done(e).add_done_callback(fn=seen.append), len(seen)))([])
    ),
    "callback missing": on_one(lambda e: done(e).add_done_callback()),
    "callbacks two": on_one(lambda e: done(e).add_done_callback(int, int)),
    "callback with a wrong name": on_one(lambda e: done(e).add_done_callback(callback=int)),
    "late callback raises": on_one(lambda e: done(e).add_done_callback(lambda _: raise_it(ValueError()))),
    "late callback interrupts": on_one(
        lambda e: done(e).add_done_callback(lambda _: raise_it(KeyboardInterrupt("late")))
    ),
    "late callback exits": on_one(lambda e: done(e).add_done_callback(lambda _: raise_it(SystemExit(3)))),
    "late callback that cannot be called": on_one(lambda e: done(e).add_done_callback(7)),
    "set_result when done": on_one(lambda e: done(e).set_result(result=1)),
    "set_exception when done": on_one(lambda e: done(e).set_exception(exception=ValueError())),
    "set_result without one": on_one(lambda e: done(e).set_result()),
    "set_exception by a wrong name": on_one(lambda e: done(e).set_exception(error=1)),
    "snapshot by hand": on_one(lambda e: (lambda f: (f._state, f._result, f._exception))(done(e))),
}


@pytest.mark.parametrize("ask", FUTURES.values(), ids=FUTURES)
def test_futures(ask: Ask) -> None:
    logging.getLogger("concurrent.futures").disabled = True
    try:
        both_say(ask)
    finally:
        logging.getLogger("concurrent.futures").disabled = False


@pytest.mark.parametrize("method", ["result", "exception"])
@pytest.mark.parametrize(
    "timeout",
    [True, False, 0, -1, 10, 1e3, math.nan, -math.inf, "x", b"", [], None, 1j, fractions.Fraction(-1, 2)],
    ids=repr,
)
def test_timeouts_of_a_future_that_is_done_and_of_one_that_is_not(method: str, timeout: Any) -> None:
    both_say(on_one(lambda e: getattr(done(e), method)(timeout)))
    if timeout in (None, True, 10, 1e3):
        return

    def ask(_: Any, future: Any) -> Any:
        return getattr(future, method)(timeout)

    assert both_say(with_a_running_job(ask))[0] in ("TimeoutError", "TypeError")


@pytest.mark.parametrize("timeout", [math.inf, 1e18, 10**400, fractions.Fraction(1, 100)])
def test_more_timeouts_are_taken_than_the_standard_library_takes(timeout: Any) -> None:
    def ask(kind: Any) -> Any:
        with kind(1) as executor:
            return executor.submit(time.sleep, 0.001).result(timeout)

    assert outcome(ask, Executor)[0] in ("value", "TimeoutError")


def test_a_timeout_of_true_is_a_second() -> None:
    begun = time.monotonic()
    assert both_say(with_a_running_job(lambda _, f: f.result(True)))[0] == "TimeoutError"
    assert time.monotonic() - begun >= 2


MAPS: dict[str, Ask] = {
    "nothing": on_one(lambda e: list(e.map(int))),
    "no function": on_one(lambda e: list(e.map())),
    "what is no iterable": on_one(lambda e: list(e.map(int, None))),
    "what is no iterable, second": on_one(lambda e: list(e.map(int, [1], 5))),
    "what cannot be called": on_one(lambda e: list(e.map(3, [1]))),
    "a wrong name": on_one(lambda e: list(e.map(int, [1], seconds=3))),
    "timeout of a wrong type": on_one(lambda e: list(e.map(int, ["1"], timeout="x"))),
    "timeout of true": on_one(lambda e: list(e.map(int, ["1"], timeout=True))),
    "timeout that has passed": on_one(lambda e: list(e.map(time.sleep, [0.5], timeout=-1))),
    "timeout of nan": on_one(lambda e: list(e.map(time.sleep, [0.5], timeout=math.nan))),
    "StopIteration": on_one(lambda e: list(e.map(next, [iter([1]), iter(()), iter([3])]))),
    "StopIteration, pulled": on_one(lambda e: list(e.map(next, iter([iter([1]), iter(())])))),
    "SystemExit": on_one(lambda e: list(e.map(raise_it, [SystemExit(3)]))),
    "several": on_one(lambda e: list(e.map(pow, [2, 3, 4], (2, 2), range(5, 9)))),
    "dicts": on_one(lambda e: list(e.map(str, {1: 2}.items(), {3: 4}, "x"))),
    "next after the end": on_one(lambda e: next(e.map(int, []))),
    "closed": on_one(lambda e: (lambda r: (next(r), r.close(), list(r)))(e.map(int, "123"))),
    "closed before it began": on_one(lambda e: (lambda r: (r.close(), list(r)))(e.map(int, "123"))),
    "send nothing": on_one(lambda e: (lambda r: (r.send(None), r.send(5), list(r)))(e.map(int, "123"))),
    "send at first": on_one(lambda e: e.map(int, "123").send(5)),
    "send at the end": on_one(lambda e: (lambda r: (list(r), r.send(None)))(e.map(int, "123"))),
    "throw": on_one(lambda e: (lambda r: (next(r), r.throw(KeyError("x"))))(e.map(int, "123"))),
    "throw a class": on_one(lambda e: e.map(int, "123").throw(KeyError)),
    "throw at the end": on_one(lambda e: (lambda r: (list(r), r.throw(KeyError("x"))))(e.map(int, "123"))),
    "throw what is none": on_one(lambda e: e.map(int, "123").throw(7)),
    "throw and go on": on_one(
        lambda e: (lambda r: (outcome(lambda _: r.throw(KeyError), int), list(r)))(e.map(int, "12"))
    ),
    "is a generator": on_one(lambda e: isinstance(e.map(int, "123"), collections.abc.Generator)),
    "is its own iterator": on_one(lambda e: (lambda r: iter(r) is r)(e.map(int, "123"))),
}


@pytest.mark.parametrize("ask", MAPS.values(), ids=MAPS)
def test_maps(ask: Ask) -> None:
    both_say(ask)


def test_a_map_that_shutdown_cancels() -> None:
    def ask(kind: Any) -> Any:
        with kind(1) as executor, Gate() as gate:
            results = executor.map(gate.block, range(5))
            gate.wait_entered()
            executor.shutdown(wait=False, cancel_futures=True)
            gate.open()
            assert next(results) == 0
            return next(results)

    assert both_say(ask)[0] == "CancelledError"


def test_an_iterable_may_wait_for_the_jobs_before_it() -> None:
    def ask(kind: Any) -> Any:
        ran = threading.Event()

        def items() -> Iterator[int]:
            yield 1
            yield int(ran.wait(WAIT))

        def job(i: int) -> int:
            ran.set()
            return i

        with kind(1) as executor:
            return list(executor.map(job, items()))

    assert both_say(ask) == ("value", [1, 1])


def test_jobs_before_an_iterables_error_are_run() -> None:
    def ask(kind: Any) -> Any:
        ran: list[int] = []

        def items() -> Iterator[int]:
            yield from range(3)
            raise ValueError("half-way")

        with kind(1) as executor:
            try:
                executor.map(ran.append, items())
            except ValueError as error:
                text = str(error)
        return text, ran

    assert both_say(ask) == ("value", ("half-way", [0, 1, 2]))


def broken(call: Callable[[Any], Any]) -> Ask:
    def ask(kind: Any) -> Any:
        with kind(1, initializer=raise_it, initargs=(ValueError("of the initializer"),)) as executor:
            first = executor.submit(int)
            assert first.exception(WAIT) is not None
            return call(executor) if call is not None else first.result()

    return ask


@pytest.mark.parametrize(
    "ask",
    [
        broken(lambda e: e.submit(int)),
        broken(lambda e: e.map(int, ["1"])),
        broken(lambda e: e.map(int, iter(["1"]))),
        broken(lambda e: (e.shutdown(), e.submit(int))),
        broken(lambda e: raise_it(BrokenThreadPool(e._broken))),
        broken(None),  # type: ignore[arg-type]
    ],
)
def test_a_broken_one(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    assert both_say(ask)[0] == "BrokenThreadPool"
    caplog.clear()


def test_arguments_that_an_initializer_cannot_have_break_the_executor(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def ask(kind: Any) -> Any:
        executor = kind(1, initializer=len, initargs=5)
        return executor.submit(int).result(WAIT)

    assert both_say(ask)[0] == "BrokenThreadPool"
    assert len(caplog.records) == 2
    caplog.clear()


def test_what_is_known_of_an_executor_that_is_not_broken() -> None:
    both_say(lambda kind: kind(1)._broken)


@pytest.mark.parametrize("iterable", [[], (), iter(()), range(0)])
def test_a_map_of_nothing_may_come_after_shutdown(iterable: Any) -> None:
    def ask(kind: Any) -> Any:
        executor = kind(1)
        executor.shutdown()
        return list(executor.map(int, iterable)), list(executor.map(int, iterable, iterable))

    assert both_say(ask) == ("value", ([], []))


@pytest.mark.parametrize("error", [None, ValueError("in the block")])
def test_what_the_end_of_a_block_returns(error: Exception | None) -> None:
    def ask(kind: Any) -> Any:
        return kind(1).__exit__(type(error) if error else None, error, None)

    assert both_say(ask) == ("value", False)


@pytest.mark.parametrize("state", ["running", "finished", "cancelled"])
def test_what_a_future_says_to_who_would_begin_it(state: str, caplog: pytest.LogCaptureFixture) -> None:
    said: list[list[str]] = []

    def ask(kind: Any) -> Any:
        caplog.clear()
        with kind(1) as executor, Gate() as gate:
            future = executor.submit(gate.block, 7)
            gate.wait_entered()
            if state == "finished":
                gate.open()
                future.result(WAIT)
            if state == "cancelled":
                future = executor.submit(int)
                assert future.cancel()
            try:
                return future.set_running_or_notify_cancel()
            finally:
                said.append([re.sub(r"\d+", "", record.getMessage()) for record in caplog.records])

    both_say(ask)
    assert said[0] == said[1]
    caplog.clear()


@pytest.mark.parametrize("cancelled", [False, True])
def test_a_copy_of_a_future_that_has_ended(cancelled: bool) -> None:
    def ask(kind: Any) -> Any:
        with kind(1) as executor, Gate() as gate:
            first = executor.submit(gate.block, 7)
            future = executor.submit(int, "7")
            if cancelled:
                future.cancel()
            gate.open()
            wait([first, future], WAIT)
            copied = copy.copy(future)
            return copied.cancelled(), copied.done(), None if cancelled else copied.result(0)

    both_say(ask)


variable = contextvars.ContextVar("variable", default=0)


@pytest.mark.parametrize(
    ("initializer", "look"),
    [
        (lambda: setattr(decimal.getcontext(), "prec", 5), lambda: str(decimal.Decimal(1) / 3)),
        (lambda: variable.set(5), variable.get),
    ],
)
def test_jobs_find_the_context_that_the_initializer_left(
    initializer: Callable[[], None], look: Callable[[], Any]
) -> None:
    def ask(kind: Any) -> Any:
        with kind(1, initializer=initializer) as executor:
            return executor.submit(look).result(WAIT), list(executor.map(lambda _: look(), range(2)))

    both_say(ask)


def test_what_is_seen_of_a_future_in_its_callback() -> None:
    def ask(kind: Any) -> Any:
        seen: list[Any] = []

        def look(future: Any) -> None:
            seen.append((future._state, future.done(), future.running(), future._result))

        with kind(1) as executor, Gate() as gate:
            future = executor.submit(gate.block, 7)
            future.add_done_callback(look)  # before anybody touches it
            waiter = threading.Thread(target=lambda: wait([future], WAIT))
            waiter.start()
            while not future._waiters:
                time.sleep(0.001)
            gate.open()
            waiter.join(WAIT)
        return seen

    assert both_say(ask) == ("value", [("FINISHED", True, False, 7)])


@pytest.mark.parametrize(
    "name", ["result", "exception", "add_done_callback", "set_result", "set_exception", "cancel", "done"]
)
def test_the_signatures_of_futures(name: str) -> None:
    def shape(kind: type[Any]) -> list[Any]:
        parameters = inspect.signature(getattr(kind, name)).parameters.values()
        return [(one.name, one.default, one.kind) for one in parameters if one.name != "self"]

    assert shape(loomy.Future) == shape(Future)


def snapshot_of_python_3_14(future: Any) -> tuple[bool, bool, Any, Any]:
    if future._state == "FINISHED":
        return True, False, future._result, future._exception
    if future._state in ("CANCELLED", "CANCELLED_AND_NOTIFIED"):
        return True, True, None, None
    return False, False, None, None


def test_snapshots_are_those_of_python_3_14() -> None:
    with Executor(1) as executor, Gate() as gate:
        running = executor.submit(gate.block, 1)
        gate.wait_entered()
        queued, stopped, failing = executor.submit(int), executor.submit(int), executor.submit(int, "x")
        stopped.cancel()
        for future in (running, queued, stopped, failing):
            assert future._get_snapshot() == snapshot_of_python_3_14(future)
        gate.open()
        wait([running, queued, failing], WAIT)
        for future in (running, queued, failing):
            assert future._get_snapshot() == snapshot_of_python_3_14(future)
    if sys.version_info >= (3, 14):
        assert Future()._get_snapshot() == (False, False, None, None)
