"""A signal handler that raises while a worker's thread is being started: nothing is lost or counted twice."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest
from helpers import WAIT, identity, run_program, thread_of_job, unraisable_errors, wait_until

from loomy import Pool, _threads

NATIVE_START = (
    "_start_joinable_thread" if hasattr(threading, "_start_joinable_thread") else "_start_new_thread"
)


class Raised(BaseException):
    """What the handler raises; no `Exception`, as `KeyboardInterrupt` is none."""


def raise_in_start(
    monkeypatch: pytest.MonkeyPatch, when: str, error: BaseException, works: threading.Event | None = None
) -> None:
    """`Thread.start` of the next worker raises once, before there is a thread, or when it runs or works."""
    start = threading.Thread.start
    tries: list[int] = []

    def interrupted(thread: threading.Thread) -> None:
        first = not tries
        tries.append(1)
        if first and when == "before there is a thread":
            raise error
        start(thread)
        if first:
            assert isinstance(thread._started, _threads._Started)  # type: ignore[attr-defined]
            thread._started.wait_for_thread(WAIT)  # type: ignore[attr-defined]
            assert works is None or works.wait(WAIT)
            raise error

    monkeypatch.setattr(_threads._Thread, "start", interrupted)


def look_for_signals(call: Callable[[], Any]) -> None:
    """Call it, and go on for long enough that the interpreter raises what is pending."""
    call()
    for _ in range(10**6):
        pass


@pytest.mark.parametrize("when", ["before there is a thread", "when the thread runs"])
def test_handler_that_raises_while_a_thread_starts_is_heard_and_the_job_runs(
    monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    ran: list[int] = []
    with Pool(ran.append, size=1, affinity="worker") as pool:
        raise_in_start(monkeypatch, when, Raised())
        with pytest.raises(Raised):
            look_for_signals(lambda: pool.process_async(1))
        pool.process_async(2).wait(WAIT)
        assert ran == [1, 2]
        assert pool.stats().completed == 2


@pytest.mark.parametrize("error", [Raised, RuntimeError, MemoryError])
def test_threads_are_counted_once_though_their_start_was_interrupted(
    monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    """The last two are what `Thread.start` raises when the system has no thread, which here it had."""
    works = threading.Event()

    def job(payload: int) -> int:
        works.set()
        return thread_of_job(payload)

    with Pool(job, size=1, affinity="worker") as pool:
        raise_in_start(monkeypatch, "when the thread runs", error("by a handler"), works)
        with pytest.raises(error, match="by a handler"):
            look_for_signals(lambda: pool.process_async(0))
        assert len({pool.process(i) for i in range(100)}) == 1
        assert pool.stats().completed == 101


def test_what_a_handler_raised_is_not_hidden_by_a_key_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """`Thread.start` answers with a KeyError when it is interrupted after the thread has begun."""

    class Alarm(Exception):
        """`Thread.start` handles what is an `Exception`, and loses it."""

    start = getattr(threading, NATIVE_START)
    tries: list[int] = []

    def interrupted(bootstrap: Any, *arguments: Any, **options: Any) -> Any:
        handle = start(bootstrap, *arguments, **options)
        tries.append(1)
        if len(tries) == 1:
            bootstrap.__self__._started.wait_for_thread(WAIT)
            wait_until(lambda: bootstrap.__self__ not in threading._limbo)  # type: ignore[attr-defined]
            raise Alarm
        return handle

    with Pool(identity, size=1, affinity="worker") as pool:
        monkeypatch.setattr(threading, NATIVE_START, interrupted)
        with pytest.raises(Alarm):
            look_for_signals(lambda: pool.process_async(1))
        assert pool.process(2) == 2


def test_a_thread_whose_start_was_interrupted_before_it_ran_ends_in_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`Thread.start` has forgotten it by then, which gives the thread a KeyError."""

    class Alarm(Exception):
        """`Thread.start` handles what is an `Exception`."""

    start = getattr(threading, NATIVE_START)
    forgotten, over = threading.Event(), threading.Event()
    tries: list[int] = []

    def interrupted(bootstrap: Any, *arguments: Any, **options: Any) -> Any:
        tries.append(1)
        if len(tries) > 1:
            return start(bootstrap, *arguments, **options)

        def late() -> None:
            forgotten.wait(WAIT)
            try:
                bootstrap()
            finally:
                over.set()

        start(late, *arguments, **options)
        raise Alarm

    with unraisable_errors() as errors, Pool(identity, size=1, affinity="worker") as pool:
        monkeypatch.setattr(threading, NATIVE_START, interrupted)
        with pytest.raises(Alarm):
            look_for_signals(lambda: pool.process_async(1))
        assert pool.process(2) == 2
        forgotten.set()
        assert over.wait(WAIT)
        assert pool.process(3) == 3
        assert pool.stats().completed == 3
    assert errors == []


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX timers")
def test_alarms_that_raise_at_any_moment_of_a_start_lose_no_pool() -> None:
    """In an interpreter of its own, as what raises at any moment may raise in the test's bookkeeping."""
    program = """
import faulthandler, loomy, random, signal, threading
faulthandler.dump_traceback_later(40, exit=True)
class Alarm(Exception): pass
def handler(*_): raise Alarm
signal.signal(signal.SIGALRM, handler)
refused = 0
for turn in range(400):
    pool = loomy.Pool(lambda x: x, 1, affinity="worker")
    try:
        signal.setitimer(signal.ITIMER_REAL, 20e-6 + random.random() * 150e-6)
        try:
            pool.process_async(1)
        except RuntimeError:
            refused += 1
        for _ in range(20000): pass
    except Alarm:
        pass
    while True:
        try:
            signal.setitimer(signal.ITIMER_REAL, 0)
            pool.close()
            break
        except Alarm:
            pass
assert refused == 0, refused
assert threading.active_count() <= 2, threading.enumerate()
print("ok")
"""
    finished = run_program(program)
    assert (finished.returncode, finished.stdout) == (0, "ok\n"), finished.stderr
    assert finished.stderr == ""


def test_a_refused_thread_is_still_an_error_of_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with Pool(identity, size=1, affinity="worker") as pool:
        with monkeypatch.context() as patch:
            patch.setattr(_threads._Thread, "start", refuse)
            with pytest.raises(RuntimeError, match="no worker thread"):
                pool.process_async(1)
        assert pool.process(2) == 2
