"""The worker pool: construction and the calls that are not hot. The hot ones are C methods of `PoolBase`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, cast, overload

from loomy._loomy import Context, PoolBase
from loomy._options import AFFINITY, ON_FULL, checked, checked_flag, checked_word, kind_of
from loomy.stats import PoolStats
from loomy.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType
    from typing import Unpack

    from loomy._loomy import AsyncResult, MapIterator
    from loomy._options import Affinity, OnFull, PoolOptions
    from loomy.batch import BatchResult
    from loomy.hooks import Hooks

__all__ = ("CallbackPool", "Pool")

In = TypeVar("In")
Out = TypeVar("Out")
T = TypeVar("T")
# Of a pool being made where In and Out of the class are not known yet: `Pool.from_workers`.
MadeIn = TypeVar("MadeIn")
MadeOut = TypeVar("MadeOut")


class Pool(PoolBase[In, Out]):
    """Runs `fn(payload)`, or `fn(ctx, payload)` with `pass_context=True`, on up to `size` threads at once.

    `size=None` means the CPUs this process may use (affinity mask and cgroup quota). With `size=0` jobs queue
    until the pool grows. Threads start at the first job that needs one, and an idle pool uses no CPU.

    Options:
        name: threads are called `name-0`, `name-1`, ...
        hooks: a `Hooks`, in place before the first worker starts.
        max_pending: the exact number of jobs that may be queued, a batch counting as one; 0 accepts a job
            only if a worker is idle; `None` is no bound.
        on_full: when the queue is at that bound, "block" (Ctrl-C and timeouts still work), "raise"
            `PoolFull`, or "caller_runs" the job on the submitting thread.
        copy_context: run each job in a copy of the submitter's `contextvars` context. The jobs of a batch
            that one worker runs share a copy.
        affinity: "any" lets a caller that would only wait run the job itself, on a slot that is free, which
            saves two thread switches; "worker" runs every job on a worker's thread (except those that
            "caller_runs" gives back).
        spin: microseconds a worker looks for work before it sleeps; 0 never; `None` adapts to what pays.

    A job that waits for another job of the pool, in whatever way, runs that job itself if it is still queued,
    on its own thread. Else it may run other queued jobs meanwhile, up to 32 of them inside each other: they
    find locks that it holds taken and see its thread-locals, and its wait may last longer than they do. Where
    that matters use an `Executor`, whose jobs run only what they wait for.

    Use it as a context manager: leaving normally waits for all jobs (`shutdown`), leaving on an exception
    gives up what has not started (`close`). A pool that is collected without either closes itself with a
    `ResourceWarning`.

    Raises `TypeError` and `ValueError` for arguments of the wrong type and out of range, before any thread
    starts.
    """

    __slots__ = ()
    __module__ = "loomy"

    @overload
    def __init__(
        self,
        fn: Callable[[In], Out],
        size: int | None = None,
        *,
        pass_context: Literal[False] = False,
        **options: Unpack[PoolOptions],
    ) -> None: ...
    @overload
    def __init__(
        self,
        fn: Callable[[Context, In], Out],
        size: int | None = None,
        *,
        pass_context: Literal[True],
        **options: Unpack[PoolOptions],
    ) -> None: ...
    def __init__(
        self,
        fn: Callable[..., Out],
        size: int | None = None,
        *,
        pass_context: bool = False,
        name: str = "loomy",
        hooks: Hooks[Any, Any] | None = None,
        max_pending: int | None = None,
        on_full: OnFull = "block",
        copy_context: bool = True,
        affinity: Affinity = "any",
        spin: float | None = None,
    ) -> None:
        if isinstance(fn, Worker) or (isinstance(fn, type) and issubclass(fn, Worker)):
            raise TypeError("fn must be a function; for workers with state use Pool.from_workers(factory)")
        if not callable(fn):
            raise TypeError(f"fn must be callable, got {kind_of(fn)}; see also Pool.from_callbacks()")
        super().__init__(
            "context" if checked_flag("pass_context", pass_context) else "function",
            fn,
            *checked(size, name, hooks, max_pending, on_full, copy_context, affinity, spin),
        )

    @classmethod
    def from_workers(
        cls,
        factory: Callable[[], Worker[MadeIn, MadeOut]],
        size: int | None = None,
        *,
        name: str = "loomy",
        hooks: Hooks[Any, Any] | None = None,
        max_pending: int | None = None,
        on_full: Literal["block", "raise"] = "block",
        copy_context: bool = True,
        affinity: Affinity = "worker",
        spin: float | None = None,
    ) -> Pool[MadeIn, MadeOut]:
        """Make a pool of `Worker` objects, which keep something between jobs: a connection, a model.

        `factory()` is called once for each worker, on that worker's thread, as soon as the pool has its size.
        If it raises and no worker can be made, jobs fail with `WorkerClosed` from its error and the pool
        stays usable.

        Jobs always run on worker threads, so `affinity` changes nothing here, and `on_full="caller_runs"` is
        refused: the caller has no worker. A worker's `process` is re-entered by a job that waits for another
        job of the same pool.

        A subclass's `__init__` is not called. Raises `TypeError` and `ValueError` as `Pool` does.
        """
        if not callable(factory):
            raise TypeError(f"factory must be a Worker class or make a Worker, got {kind_of(factory)}")
        checked_word("on_full", on_full, ON_FULL)
        if on_full not in ("block", "raise"):
            raise ValueError('on_full="caller_runs" needs a pool of functions: use "block" or "raise" here')
        checked_word("affinity", affinity, AFFINITY)
        pool = cast("Pool[MadeIn, MadeOut]", cls.__new__(cls))
        PoolBase.__init__(
            pool,
            "workers",
            factory,
            *checked(size, name, hooks, max_pending, on_full, copy_context, "worker", spin),
        )
        return pool

    @classmethod
    def from_callbacks(cls, size: int | None = None, **options: Unpack[PoolOptions]) -> CallbackPool:
        """Make a pool whose payloads are callables without arguments: `pool.process(lambda: f(x, y))`.

        Another payload raises `JobNotCallable`. Options, and errors, are those of `Pool`.
        """
        maker = cls if issubclass(cls, CallbackPool) else CallbackPool
        return maker(size, **options)

    def stats(self) -> PoolStats:
        """One consistent snapshot of the pool's counters. Never waits, also works on a closed pool."""
        return PoolStats._of(self._stats())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if exc_type is None:
            self.shutdown()
        else:
            self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """As `__exit__`, without blocking the event loop.

        When the task is cancelled while it waits for a normal end, jobs that have not started are given up,
        the contexts of those running are cancelled, and the cancellation goes on without waiting for them.
        """
        from loomy._asyncio_bridge import run_blocking

        if exc_type is None:
            ctx = Context()
            await run_blocking(
                lambda: self.shutdown(ctx=ctx),
                abort=lambda: ctx.cancel("the task that closes the pool was cancelled"),
            )
        else:
            await run_blocking(self.close)


class CallbackPool(Pool[Callable[[], Any], Any]):
    """What `Pool.from_callbacks` makes: each payload is a callable, and its type says that of the result."""

    __slots__ = ()
    __module__ = "loomy"

    def __init__(
        self,
        size: int | None = None,
        *,
        name: str = "loomy",
        hooks: Hooks[Any, Any] | None = None,
        max_pending: int | None = None,
        on_full: OnFull = "block",
        copy_context: bool = True,
        affinity: Affinity = "any",
        spin: float | None = None,
    ) -> None:
        PoolBase.__init__(
            self,
            "callbacks",
            None,
            *checked(size, name, hooks, max_pending, on_full, copy_context, affinity, spin),
        )

    # The methods are PoolBase's; only checkers can use what the payload says about the result.
    if TYPE_CHECKING:

        def process(
            self, payload: Callable[[], T], *, timeout: float | None = None, ctx: Context | None = None
        ) -> T: ...
        def process_async(
            self, payload: Callable[[], T], *, timeout: float | None = None, ctx: Context | None = None
        ) -> AsyncResult[T]: ...
        def try_process_async(
            self, payload: Callable[[], T], *, timeout: float | None = None, ctx: Context | None = None
        ) -> AsyncResult[T] | None: ...
        def process_batch(
            self,
            payloads: Iterable[Callable[[], T]],
            *,
            timeout: float | None = None,
            ctx: Context | None = None,
        ) -> BatchResult[T]: ...
        def process_batch_async(
            self,
            payloads: Iterable[Callable[[], T]],
            *,
            timeout: float | None = None,
            ctx: Context | None = None,
        ) -> AsyncResult[BatchResult[T]]: ...
        def map(
            self,
            payloads: Iterable[Callable[[], T]],
            *,
            ordered: bool = True,
            buffer: int | None = None,
            timeout: float | None = None,
            ctx: Context | None = None,
        ) -> MapIterator[T]: ...
