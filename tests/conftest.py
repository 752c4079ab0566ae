"""Holds for every test: it ends, its pools are closed, their statistics add up, and no thread outlives it."""

from __future__ import annotations

import faulthandler
import functools
import gc
import os
import signal
import threading
import weakref
from collections.abc import Callable, Generator, Iterator
from typing import Any

import helpers
import pytest
from alone import why_alone
from helpers import identity_holds, wait_until

import loomy
from loomy import _default_pool

AnyPool = loomy.Pool[Any, Any] | loomy.Executor

TIMEOUT = 60.0  # of a test, enforced by pytest-timeout from a Python thread
WATCHDOG = (
    TIMEOUT + 15.0
)  # enforced by a thread that needs no interpreter: a deadlock that holds the GIL ends as well

_failed = pytest.StashKey[bool]()
_stderr = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    threads = config.getoption("parallel_threads", 1)
    helpers.threads_at_once = threads if isinstance(threads, int) else os.cpu_count() or 1  # or "auto"
    config.stash[_stderr] = os.dup(2)  # the capture of a test replaces descriptor 2


def pytest_unconfigure(config: pytest.Config) -> None:
    os.close(config.stash[_stderr])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    run_parallel = config.pluginmanager.hasplugin("_run-parallel")
    if run_parallel:
        # Free-threaded Python's collector walks the whole heap each time: 5 s for the first of these with the
        # heap of the beginning, 90 s with what thousands of tests leave.
        makes_much = ("test_state_machine", "test_kernels_fuzz", "test_ufunc_same")
        items.sort(key=lambda item: item.path.stem not in makes_much)
    for item in items:
        if run_parallel and isinstance(item, pytest.Function) and (reason := why_alone(item)) is not None:
            item.add_marker(pytest.mark.thread_unsafe(reason=reason))
        if item.get_closest_marker("timeout") is None:
            # "thread", as a wait that ignores signals is one of the bugs to be found
            item.add_marker(pytest.mark.timeout(TIMEOUT, method="thread"))


def pytest_collection_finish(session: pytest.Session) -> None:
    # What is there before the first test stays to the end: the collector need not look through it each time.
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    marker = item.get_closest_marker("timeout")
    limit = float(marker.args[0]) + WATCHDOG - TIMEOUT if marker and marker.args else WATCHDOG
    faulthandler.dump_traceback_later(limit, exit=True, file=item.config.stash[_stderr])
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.stash[_failed] = True
    return report


class Registry:
    """Knows every pool made since it was installed, without keeping any alive."""

    def __init__(self) -> None:
        self._pools: list[weakref.ref[AnyPool]] = []

    def add(self, pool: AnyPool) -> None:
        if not any(known() is pool for known in self._pools):
            self._pools.append(weakref.ref(pool))

    def alive(self) -> list[AnyPool]:
        return [pool for pool in (known() for known in self._pools) if pool is not None]

    def watch_constructors(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for kind in (loomy.Pool, loomy.CallbackPool, loomy.Executor):
            monkeypatch.setattr(kind, "__init__", self._watched_init(kind.__init__))
        monkeypatch.setattr(loomy.Pool, "from_workers", self._watched_from_workers())

    def _watched_init(self, original: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(original)
        def init(pool: AnyPool, *args: Any, **options: Any) -> None:
            original(pool, *args, **options)
            self.add(pool)

        return init

    def _watched_from_workers(self) -> Any:
        original = loomy.Pool.__dict__["from_workers"].__func__

        @functools.wraps(original)
        def from_workers(cls: type[AnyPool], *args: Any, **options: Any) -> AnyPool:
            pool: AnyPool = original(cls, *args, **options)
            self.add(pool)
            return pool

        return classmethod(from_workers)


SERVICE = "loomy-service"  # the one thread of the process for deadlines nobody waits on; it stays


def _live_threads() -> set[threading.Thread]:
    return {
        thread
        for thread in threading.enumerate()
        if not isinstance(thread, threading.Timer) and thread.name != SERVICE
    }


@pytest.fixture(autouse=True)
def nothing_is_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """After the test: every pool closed and at rest with statistics that add up, every thread gone."""
    threads_before = _live_threads()
    registry = Registry()
    # Not the fixture, for whose sake pytest-run-parallel would run no test on several threads.
    with pytest.MonkeyPatch.context() as monkeypatch:
        registry.watch_constructors(monkeypatch)
        yield
    problems: list[str] = []
    if _default_pool._shared._pool is not None:
        _default_pool._shared._pool.close()  # it is made to be left open; the next test gets another
    for pool in registry.alive():
        if not is_closed(pool):
            problems.append(f"{pool!r} was left open")
            close(pool)
    for pool in registry.alive():
        try:
            wait_until(functools.partial(_is_at_rest, pool), timeout=10.0)
        except AssertionError:
            problems.append(f"the statistics of the closed pool {pool!r} do not add up: {pool.stats()}")
    for thread in _live_threads() - threads_before:
        thread.join(10.0)
        if thread.is_alive():
            problems.append(f"the thread {thread.name!r} is still alive")
    if problems and not request.node.stash.get(_failed, False):
        pytest.fail("\n".join(problems))


def close(pool: AnyPool) -> None:
    if isinstance(pool, loomy.Executor):
        pool.shutdown(cancel_futures=True)
    else:
        pool.close()


def is_closed(pool: AnyPool) -> bool:
    return pool._shutdown if isinstance(pool, loomy.Executor) else pool.closed


def _is_at_rest(pool: AnyPool) -> bool:
    stats = pool.stats()
    return identity_holds(stats) and stats.queued == stats.running == 0 and pool.running == 0


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt, even if whoever started us (a shell, in the background) ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
