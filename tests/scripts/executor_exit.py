"""Ends the interpreter with executors in some state: what was submitted has run, and nothing hangs."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any
from unittest import mock

from _common import WAIT, must_end, scenario_of

import loomy
from loomy import Executor

started = threading.Event()
kept: list[object] = []  # lives until the interpreter is torn down


def say(word: str) -> None:
    os.write(1, f"{word}\n".encode())


def sleep_and_say(word: str) -> None:
    started.set()
    time.sleep(0.05)
    say(word)


def unused() -> None:
    kept.append(Executor(4))


def idle() -> None:
    executor = Executor(4)
    assert list(executor.map(abs, range(100))) == list(range(100))
    kept.append(executor)


def idle_and_shut_down_without_waiting() -> None:
    executor = Executor(2)
    executor.submit(abs, 1).result(WAIT)
    executor.shutdown(wait=False)


def busy() -> None:
    executor = Executor(1)
    executor.submit(sleep_and_say, "ran")
    assert started.wait(WAIT)
    kept.append(executor)


def queued() -> None:
    executor = Executor(2)
    for _ in range(10):
        executor.submit(sleep_and_say, "ran")
    kept.append(executor)


def queued_in_a_map() -> None:
    executor = Executor(2)
    kept.append((executor, executor.map(sleep_and_say, ["ran"] * 10)))


def queued_and_dropped() -> None:
    executor = Executor(1)
    for _ in range(10):
        executor.submit(sleep_and_say, "ran")
    del executor


def queued_and_shut_down_without_waiting() -> None:
    executor = Executor(1)
    for _ in range(10):
        executor.submit(sleep_and_say, "ran")
    executor.shutdown(wait=False)


def queued_and_cancelled() -> None:
    executor = Executor(1)
    executor.submit(sleep_and_say, "ran")
    assert started.wait(WAIT)
    for _ in range(10):
        executor.submit(say, "a cancelled job ran")
    executor.shutdown(wait=False, cancel_futures=True)


def job_that_submits_another() -> None:
    executor = Executor(1)

    def first() -> None:
        sleep_and_say("first")
        try:
            executor.submit(say, "second")
        except RuntimeError as error:
            say(str(error))

    executor.submit(first)
    assert started.wait(WAIT)


def thread_that_submits_after_the_main_thread_has_ended() -> None:
    executor = Executor(1)
    executor.submit(abs, 1).result(WAIT)

    def later() -> None:
        threading.main_thread().join()
        time.sleep(0.05)  # by now the interpreter waits for this thread
        futures: list[Future[int]] = [executor.submit(abs, -i) for i in range(100)]
        assert [future.result(WAIT) for future in futures] == list(range(100))
        assert list(executor.map(abs, range(10))) == list(range(10))
        if sys.version_info[:2] != (3, 12):  # which lets no thread start any more
            with Executor(1) as another:
                assert another.submit(abs, -7).result(WAIT) == 7
        executor.submit(sleep_and_say, "ran")

    threading.Thread(target=later).start()


def submitting_in_atexit() -> None:
    executor = Executor(1)
    executor.submit(abs, 1).result(WAIT)

    def at_exit() -> None:
        executor.submit(say, "ran").result(WAIT)

    atexit.register(at_exit)  # called before loomy's own


def submitting_too_late() -> None:
    executor = Executor(1)

    def at_exit() -> None:
        try:
            executor.submit(say, "a job ran after all")
        except RuntimeError as error:
            say(str(error))

    atexit.unregister(loomy._loomy._after_threads)
    atexit.register(at_exit)
    atexit.register(loomy._loomy._after_threads)


def thread_that_a_job_starts() -> None:
    def job() -> None:
        threading.Thread(target=sleep_and_say, args=["ran"]).start()

    executor = Executor(1)
    executor.submit(job).result(WAIT)
    kept.append(executor)


def no_thread(end: Callable[[Executor], object]) -> None:
    """The system has no thread for the first job, then has one again."""
    executor = Executor(1)
    refused: list[str] = []
    with mock.patch.object(threading.Thread, "start", side_effect=RuntimeError("can't start new thread")):
        for _ in range(10):
            try:
                executor.submit(say, "a refused job ran")
            except RuntimeError as error:
                refused.append(str(error))
    assert len(refused) == 10
    assert all("has no worker thread" in message for message in refused)
    end(executor)


def no_thread_and_shut_down() -> None:
    no_thread(Executor.shutdown)


def no_thread_and_dropped() -> None:
    no_thread(lambda executor: None)


def no_thread_and_then_one() -> None:
    def end(executor: Executor) -> None:
        assert list(executor.map(abs, range(10))) == list(range(10))
        assert [executor.submit(abs, i).result(WAIT) for i in range(300)] == list(range(300))
        assert executor.stats().submitted == 310
        executor.submit(say, "ran")

    no_thread(end)


def ctrl_c_while_jobs_run(hooks: loomy.Hooks[Any, Any] | None = None) -> None:
    """One job heeds its context, so the process ends; the queued ones are given up."""
    executor = Executor(1, hooks=hooks)

    def job() -> None:
        context = loomy.current_context()
        assert context is not None
        started.set()
        if context.wait(WAIT):
            say("told to stop")

    executor.submit(job)
    for _ in range(10):
        executor.submit(say, "a queued job ran")
    assert started.wait(WAIT)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started us may have it ignored

    def interrupt() -> None:
        threading.main_thread().join()
        time.sleep(0.2)  # until the interpreter waits for the executor
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    kept.append(executor)


class TellsErrors(loomy.Hooks[Any, Any]):
    def on_job_error(self, payload: Any, error: BaseException, duration: float) -> None:
        say(type(error).__name__)


def ctrl_c_of_which_hooks_hear() -> None:
    ctrl_c_while_jobs_run(TellsErrors())


SCENARIOS: dict[str, Callable[[], None]] = {
    scenario.__name__: scenario
    for scenario in (
        unused,
        idle,
        idle_and_shut_down_without_waiting,
        busy,
        queued,
        queued_in_a_map,
        queued_and_dropped,
        queued_and_shut_down_without_waiting,
        queued_and_cancelled,
        job_that_submits_another,
        thread_that_submits_after_the_main_thread_has_ended,
        thread_that_a_job_starts,
        submitting_in_atexit,
        submitting_too_late,
        no_thread_and_shut_down,
        no_thread_and_dropped,
        no_thread_and_then_one,
        ctrl_c_while_jobs_run,
        ctrl_c_of_which_hooks_hear,
    )
}

if __name__ == "__main__":
    must_end()
    scenario_of(SCENARIOS)()
