"""The standard library's executor interface over the native core."""

from __future__ import annotations

import concurrent.futures
import itertools
import math
import os
import sys
import time
import weakref
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import BuiltinMethodType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from loomy import _loomy
from loomy._loomy import ExecutorBase, FutureBase
from loomy._options import MAX_SIZE, checked, kind_of
from loomy.stats import PoolStats

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from types import TracebackType

    from loomy._options import OnFull
    from loomy.hooks import Hooks

__all__ = ("Executor", "Future")

T = TypeVar("T")


class Future(FutureBase[T], concurrent.futures.Future[T]):
    """What `Executor.submit` returns: a `concurrent.futures.Future` that is also the job.

    It works wherever the standard library's does: `wait`, `as_completed`, `asyncio.wrap_future`. Its lock and
    its lists are made when somebody asks for them. `cancel()` of a job that is running returns `False`, as in
    the standard library, and cancels the job's `loomy.current_context()` all the same.
    """

    __slots__ = ()
    __module__ = "loomy"
    # Not that of the other base, of which the collector would not learn: see future_view.cpp.
    __dict__ = FutureBase.__dict__["__dict__"]

    def __copy__(self) -> Self:
        """The future itself: there is one job. (The standard library's copy never hears of its end.)"""
        return self


_loomy._set_future_type(Future)

_numbers = itertools.count()

_empty: dict[Any, Any] = {}
# To iterate over them runs nobody's code and waits for nothing. (Not so count, which adds.)
_AT_HAND: frozenset[type] = frozenset(
    [list, tuple, range, str, bytes, bytearray, dict, set, frozenset, deque, itertools.repeat]
).union(map(type, (_empty.keys(), _empty.values(), _empty.items())))


class Executor(ExecutorBase, ThreadPoolExecutor):
    """A drop-in for `concurrent.futures.ThreadPoolExecutor`, with native dispatch.

    The arguments, their defaults and their errors are the standard library's: `max_workers` (`None`: CPUs
    + 4, at most 32; no more than 65,536 are made), `thread_name_prefix`, and `initializer(*initargs)`, which
    each worker thread calls before its first job; if it raises, `BrokenThreadPool` is raised by every future
    and every `submit` from then on.
    Jobs run on worker threads. An executor nobody shuts down runs what was submitted, also at interpreter
    exit.

    Beyond that:
        hooks: a `loomy.Hooks`; a job's payload is a callable without arguments, `fn` or a call of it with its
            arguments (`func`, `args`, `keywords`); that of a call of `map` is its argument, or their tuple.
        max_pending: the exact number of jobs that may be queued, those of `map` included; `None` is no bound.
        on_full: when the queue is at that bound, "block" (Ctrl-C works), "raise" `PoolFull`, or "caller_runs"
            the job on the submitting thread, where no initializer was called.
        copy_context: run each job in a copy of the submitter's `contextvars` context; of a `map` that is one
            batch, those that one worker runs share a copy. `False`: in the context of the worker's thread,
            as in the standard library, where what one job changes the next ones find. `None` is `False`
            with an initializer, which may have changed that context (`decimal.getcontext().prec = 5`), and
            `True` without.
        spin: microseconds a worker looks for work before it sleeps; 0 never; `None` adapts to what pays.

    A job that waits without a timeout for another job of the same executor, or for a result of `map`, runs
    that one itself if it is still queued, so that one worker is enough. It never runs others: those could
    want a lock that it holds, or keep it longer than what it waits for.
    """

    __module__ = "loomy"

    def __init__(
        self,
        max_workers: int | None = None,
        thread_name_prefix: str = "",
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        hooks: Hooks[Any, Any] | None = None,
        max_pending: int | None = None,
        on_full: OnFull = "block",
        copy_context: bool | None = None,
        spin: float | None = None,
    ) -> None:
        if max_workers is None:
            max_workers = min(32, _cpus() + 4)
        if max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        name = str(thread_name_prefix or f"loomy.Executor-{next(_numbers)}")
        if copy_context is None:
            copy_context = initializer is None
        super().__init__(
            "executor",
            partial(_initialize, initializer, initargs) if initializer is not None else None,
            *checked(_whole(max_workers), name, hooks, max_pending, on_full, copy_context, "worker", spin),
        )

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """Iterate over `fn(*args)` for the arguments of `zip(*iterables)`, in that order.

        timeout: seconds from this call to the last result; `TimeoutError` when they have passed.
        chunksize: no effect, as in the standard library's thread pool.
        buffersize: how many jobs may be submitted whose results have not been taken; `None` submits one for
            each argument at once. (Python 3.14's parameter, on all versions.)

        A job is submitted as soon as its arguments have been pulled, so an iterable may wait for those before
        it; and those are run though it then raises. Where all iterables are lists, ranges or the like, which
        cannot wait, and `max_pending` is `None`, all calls are one batch, which costs less.

        The result is a generator, or has all methods of one, and isinstance calls it a
        `collections.abc.Generator`; `inspect.isgenerator` need not.

        The first job that raises ends the iteration with its exception and cancels what has not started; so
        does closing the iterator. Raises `TypeError` and `ValueError` for a wrong `buffersize`.
        """
        if buffersize is not None and not isinstance(buffersize, int):
            raise TypeError("buffersize must be an integer or None")
        if buffersize is not None and buffersize < 1:
            raise ValueError("buffersize must be None or > 0")
        submit = self.submit
        end = None if timeout is None else timeout + time.monotonic()
        if (
            buffersize is None
            # Nobody, subclass or mock, has another idea of submitting.
            and isinstance(submit, BuiltinMethodType)
            and submit.__self__ is self
            and _AT_HAND.issuperset(map(type, iterables))
        ):
            spread = len(iterables) != 1
            results = self._map(fn, zip(*iterables, strict=False) if spread else iterables[0], spread, end)
            if results is not None:
                return results
        arguments = zip(*iterables, strict=False)
        if buffersize is None:
            futures = deque([submit(fn, *args) for args in arguments])
            return _results(futures, end)
        futures = deque([submit(fn, *args) for args in itertools.islice(arguments, buffersize)])
        return _results(futures, end, _Refill(weakref.ref(self), fn, arguments))

    def stats(self) -> PoolStats:
        """One consistent snapshot of the executor's counters. Never waits, also works after shutdown."""
        return PoolStats._of(self._stats())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> Literal[False]:
        self.shutdown(wait=True)
        return False


def _initialize(initializer: Callable[..., object], initargs: Iterable[Any]) -> None:
    """On a worker's thread; so what is wrong with the arguments is an initializer that fails."""
    initializer(*initargs)


class _Refill:
    """Submits one more job of a bounded `map`, as long as there is an executor and something to submit."""

    __slots__ = ("arguments", "executor", "fn")

    def __init__(
        self, executor: weakref.ref[Executor], fn: Callable[..., Any], arguments: Iterator[tuple[Any, ...]]
    ) -> None:
        self.executor = executor  # weak: the iterator must not keep it open
        self.fn = fn
        self.arguments = arguments

    def __call__(self, futures: deque[Future[Any]]) -> None:
        executor = self.executor()
        if executor is None:
            return
        for args in self.arguments:
            futures.append(executor.submit(self.fn, *args))
            return


def _results(
    futures: deque[Future[T]], end: float | None, refill: _Refill | None = None
) -> Generator[T, None, None]:
    try:
        while futures:
            if refill is not None:
                refill(futures)
            # No reference to the future is kept while its result is used.
            yield _result_or_cancel(futures.popleft(), None if end is None else end - time.monotonic())
    finally:
        for future in futures:
            future.cancel()


def _result_or_cancel(future: Future[T], timeout: float | None) -> T:
    try:
        return future.result(timeout)
    except BaseException:
        future.cancel()
        raise
    finally:
        del future  # no cycle with the exception through this frame


def _whole(max_workers: float) -> int:
    """As many as the standard library would start: it takes whatever can be compared with a number."""
    try:
        return MAX_SIZE if max_workers >= MAX_SIZE else math.ceil(max_workers)
    except (TypeError, ValueError, OverflowError):  # nan, or no number
        raise TypeError(f"max_workers must be a number of threads, got {kind_of(max_workers)}") from None


def _cpus() -> int:
    if sys.version_info >= (3, 13):
        return os.process_cpu_count() or 1
    return os.cpu_count() or 1
