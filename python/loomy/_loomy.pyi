"""The compiled half of loomy. Users get it through `loomy`; the rest is between `loomy.pool` and C++.

Every `timeout` is in seconds and `None` means for ever; deadlines are readings of `time.monotonic()`.
"""

from asyncio import AbstractEventLoop, CancelledError
from collections.abc import Callable, Generator, Iterable
from collections.abc import Set as AbstractSet
from contextvars import Context as ContextVars
from threading import Condition, Thread
from types import GenericAlias, TracebackType
from typing import Any, Final, Generic, Literal, NoReturn, ParamSpec, Self, TypeVar, final

from loomy.batch import BatchResult
from loomy.errors import DeadlineExceeded, JobCancelled
from loomy.executor import Future
from loomy.hooks import Hooks

_In = TypeVar("_In")
_Out = TypeVar("_Out")
_Out_co = TypeVar("_Out_co", covariant=True)

_T = TypeVar("_T")
_P = ParamSpec("_P")

# What PoolStats is made of.
_Stats = tuple[
    int,  # submitted
    int,  # queued
    int,  # running
    int,  # completed
    int,  # failed
    int,  # cancelled
    int,  # timed_out
    int,  # rejected
    int,  # workers
    int,  # idle
    int,  # peak_queued
    int,  # wakes
    int,  # parks
    int,  # inline
    float,  # busy_seconds
    tuple[int, ...],  # queue_wait
    tuple[int, ...],  # run_time
]

__version__: str
_host_api: object  # the capsule of loomy/host.h

def _set_checkpoint(function: Callable[[], None], /) -> None:
    """A Python function that does nothing; calling it lets the interpreter switch threads."""

def _at_exit() -> None:
    """Close all pools; what runs gets its context cancelled and a second to end."""

def _after_threads() -> None:
    """Wait for the jobs of all executors, then the same as `_at_exit`."""

def _set_future_type(type: type[FutureBase[Any]], /) -> None:
    """The class of the futures that executors make."""

def _after_fork_in_child() -> None:
    """For os.register_at_fork: old pools are dead, new ones work."""

def build_info() -> dict[str, Any]:
    """How this module was built: `compiler`, `wait` ("futex" or "portable"), `free_threaded`, `sanitizer`."""

def usable_cpus() -> int:
    """CPUs this process may use: its affinity mask and its cgroup quota, never less than 1."""

def current_context() -> Context | None:
    """The context of the job this thread is running, made at the first call; `None` outside a job."""

def check_cancelled() -> None:
    """Raise `JobCancelled` or `DeadlineExceeded` if the job on this thread was cancelled."""

def current_worker_id() -> int | None:
    """The number of the slot this thread is running a job on; `None` outside a job."""

def _make_kernel(
    abi: str,
    address: int,
    name: str,
    signature: str | None,
    grain: int,
    user_data: int,
    doc: str | None,
    source: object,
    /,
) -> Kernel:
    """A Kernel of a function of that ABI, or, without one, of a `loomy_kernel`."""

def _read_capsule(capsule: object, /) -> tuple[str | None, int, int]:
    """Its name, address and context."""

def _read_kernel(address: int, /) -> tuple[str | None, str | None, str | None]:
    """Name, signature and doc of a `loomy_kernel`."""

def _kernel_shapes() -> list[tuple[str, str]]:
    """The ABIs that a bare function may have, each with its shape."""

class PoolBase(Generic[_In, _Out]):
    """Queue, workers and lifecycle. It trusts its arguments: `loomy.Pool` has checked them."""

    def __class_getitem__(cls, item: Any, /) -> GenericAlias: ...
    def __init__(
        self,
        kind: Literal["function", "context", "callbacks", "workers"],
        target: Callable[..., Any] | None,
        size: int,
        name: str,
        hooks: Hooks[_In, _Out] | None,
        max_pending: int | None,
        on_full: Literal["block", "raise", "caller_runs"],
        copy_context: bool,
        affinity: Literal["any", "worker"],
        spin: float | None,
        /,
    ) -> None: ...
    def _is_inside(self) -> bool:
        """Whether the calling thread runs a job of this pool."""

    def process(self, payload: _In, *, timeout: float | None = None, ctx: Context | None = None) -> _Out:
        """Run one job and return its result, or raise what it raised."""

    def process_async(
        self, payload: _In, *, timeout: float | None = None, ctx: Context | None = None
    ) -> AsyncResult[_Out]:
        """Queue one job and return at once."""

    def try_process_async(
        self, payload: _In, *, timeout: float | None = None, ctx: Context | None = None
    ) -> AsyncResult[_Out] | None:
        """As `process_async`, but `None` when the queue is full, whatever `on_full` says; never blocks."""

    def process_batch(
        self, payloads: Iterable[_In], *, timeout: float | None = None, ctx: Context | None = None
    ) -> BatchResult[_Out]:
        """Run one job for each payload and return all results and errors in input order."""

    def process_batch_async(
        self, payloads: Iterable[_In], *, timeout: float | None = None, ctx: Context | None = None
    ) -> AsyncResult[BatchResult[_Out]]:
        """Queue a batch and return at once."""

    def map(
        self,
        payloads: Iterable[_In],
        *,
        ordered: bool = True,
        buffer: int | None = None,
        timeout: float | None = None,
        ctx: Context | None = None,
    ) -> MapIterator[_Out]:
        """Iterate over the results, pulling at most `buffer` payloads ahead."""

    def launch(
        self,
        kernel: Kernel,
        /,
        *args: Any,
        n: int | None = None,
        chunks: int | None = None,
        grain: int | None = None,
        ctx: Context | None = None,
        timeout: float | None = None,
    ) -> AsyncResult[None]:
        """Run a kernel over its iteration range, in chunks on the workers, and return at once."""

    @property
    def size(self) -> int:
        """Jobs that may run at once. Assigning waits until the pool has that size, as `set_size` does."""

    @size.setter
    def size(self, value: int, /) -> None: ...
    def set_size(self, n: int, *, wait: bool = True, timeout: float | None = None) -> None:
        """Grow or shrink the pool, from any thread, also from inside a job or a hook."""

    @property
    def queue_length(self) -> int:
        """Payloads queued and not started, those of batches included."""

    @property
    def running(self) -> int:
        """Payloads started and not finished."""

    @property
    def name(self) -> str:
        """What the threads, and the pool in metrics and traces, are called."""

    @property
    def closed(self) -> bool:
        """Whether the pool has stopped taking jobs."""

    def close(self) -> None:
        """Fail what is queued with `PoolNotRunning`, let what is running finish, join."""

    def shutdown(self, timeout: float | None = None, *, ctx: Context | None = None) -> None:
        """Stop taking jobs, drain the queue, join."""

    def set_hooks(self, hooks: Hooks[_In, _Out] | None) -> None:
        """Replace the hooks, for existing workers too, from any thread, also from a hook."""

    def _stats(self) -> _Stats: ...

@final
class AsyncResult(Generic[_Out_co]):
    """The result of a job that may not have ended yet."""

    def __class_getitem__(cls, item: Any, /) -> GenericAlias: ...
    def wait(self, timeout: float | None = None) -> _Out_co:
        """Block until the job has ended; return its result, or raise its error or `JobTimedOut`."""

    def result(self, timeout: float | None = None) -> _Out_co:
        """Alias of `wait`."""

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Block until the job has ended; return what it raised, `None` if it returned."""

    def done(self) -> bool:
        """Whether the job has ended, in whatever way."""

    def running(self) -> bool:
        """Whether the job has started and not ended."""

    def cancelled(self) -> bool:
        """Whether the job ended by being cancelled."""

    def cancel(self, msg: object = None) -> bool:
        """Give the job up: queued, it will not run; running, its context is cancelled. False if ended."""

    def add_done_callback(
        self, callback: Callable[[AsyncResult[_Out_co]], object], /, *, context: ContextVars | None = None
    ) -> None:
        """Call `callback(result)` once the job has ended: in the running asyncio loop if there is one.

        Elsewhere on the thread that ends the job, or at once if it has ended.
        """

    def remove_done_callback(self, callback: Callable[[AsyncResult[_Out_co]], object], /) -> int:
        """Take back callbacks that equal this one; return how many there were."""

    def get_loop(self) -> AbstractEventLoop:
        """The asyncio loop that runs on this thread; `RuntimeError` where none does."""

    @property
    def _asyncio_future_blocking(self) -> Literal[False] | None: ...
    @property
    def _cancel_message(self) -> None: ...
    def _make_cancelled_error(self) -> CancelledError: ...
    def __await__(self) -> Generator[Any, None, _Out_co]: ...

@final
class Kernel:
    """A native function that a pool runs over an iteration range without the GIL; made by `loomy.kernel`."""

    name: Final[str]
    __name__: Final[str]
    signature: Final[str | None]
    shape: Final[Literal["native", "range", "loop", "element"]]
    _source: Final[object]
    @property
    def grain(self) -> int:
        """Fewest items in a chunk; 0 leaves it to the pool."""

    def __call__(
        self, *args: Any, n: int | None = None, chunks: int | None = None, grain: int | None = None
    ) -> None:
        """Run it on the default pool until all of it has ended."""

@final
class MapIterator(Generic[_Out_co]):
    """Results of `Pool.map`, for `for` and for `async for`."""

    def __class_getitem__(cls, item: Any, /) -> GenericAlias: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> _Out_co: ...
    def __aiter__(self) -> Self: ...
    async def __anext__(self) -> _Out_co: ...
    def _poll(self) -> AsyncResult[_Out_co] | list[AsyncResult[_Out_co]] | Context | None:
        """An ended job, jobs to wait for one of, a Context to wait for a place with, or None at the end."""

    def _wait_for_place(self, ctx: Context, /) -> None:
        """Block until there may be a place in the queue, or the context ends."""

    def close(self) -> None:
        """Cancel what has not started and pull no more payloads; what runs goes on."""

    def _cancel(self) -> None:
        """As `close`, and what runs is cancelled too: the task of an `async for` was cancelled."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...

@final
class Context:
    """Deadline, cancellation and values, passed down a call tree."""

    def __new__(cls, timeout: float | None = None, *, deadline: float | None = None) -> Self: ...
    def with_timeout(self, timeout: float) -> Context:
        """A child that ends `timeout` seconds from now, or with its parent."""

    def with_deadline(self, deadline: float) -> Context:
        """A child that ends when `time.monotonic()` reaches `deadline`, or with its parent."""

    def with_cancel(self) -> Context:
        """A child that can be cancelled without its parent."""

    def with_value(self, key: object, value: object) -> Context:
        """A child that carries one more value."""

    def cancel(self, reason: object = None) -> bool:
        """Cancel this context and its children; True if this call did it. `reason` shows in the error."""

    @property
    def cancelled(self) -> bool:
        """Whether the context was cancelled or its deadline passed."""

    @property
    def deadline(self) -> float | None:
        """The earliest deadline from here to the root, as `time.monotonic()` reads, or `None`."""

    def remaining(self) -> float | None:
        """Seconds to the deadline, not less than 0.0; `None` if there is none."""

    def err(self) -> JobCancelled | DeadlineExceeded | None:
        """The error `check` would raise, or `None`."""

    def check(self) -> None:
        """Raise `JobCancelled` or `DeadlineExceeded` if the context has ended."""

    def value(self, key: object, default: Any = None) -> Any:
        """The value of the nearest context that has `key`, `default` if there is none."""

    def wait(self, timeout: float | None = None) -> bool:
        """Block until the context has ended; False if `timeout` seconds passed first."""

    def on_cancel(self, callback: Callable[[], object], /) -> CancelHandle:
        """Call `callback()` once, on the thread that ends the context; at once if it has ended."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...

@final
class CancelHandle:
    """What `Context.on_cancel` returns."""

    def close(self) -> None:
        """Take the callback back; when this returns it is not running and will not run."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...

@final
class ufunc:
    """A NumPy ufunc whose large calls are computed on all workers of a pool, without the GIL."""

    def __new__(cls, ufunc: Any, /, *, pool: PoolBase[Any, Any] | None = None) -> Self: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """As the ufunc is called, with the same result."""

    def __getattr__(self, name: str, /) -> Any:
        """Whatever else a ufunc has is NumPy's."""

    @property
    def __wrapped__(self) -> Any:
        """The ufunc that was given."""

def _run_ufunc_loop(
    pool: PoolBase[Any, Any] | None, call_info: object, views: tuple[Any, ...], /
) -> int | None:
    """Run NumPy's inner loop over arrays of one shape, on the pool or, for `None`, here.

    Returns the floating-point flags that were raised, as NumPy numbers them; `None` if nothing was computed.
    """

def _run_ufunc_pieces(pool: PoolBase[Any, Any], pieces: tuple[Callable[[], object], ...], /) -> bool:
    """Call each once, on the pool. False: nothing was called."""

def _array_layout(array: Any, /) -> tuple[int, tuple[int, ...], tuple[int, ...]] | None:
    """Data address, shape and strides as loomy reads them; `None` if they make no sense."""

class FutureBase(Generic[_Out]):
    """The native half of `loomy.Future`."""

    def __class_getitem__(cls, item: Any, /) -> GenericAlias: ...
    def result(self, timeout: float | None = None) -> _Out:
        """The job's result, or its exception raised, as soon as it has ended."""

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """The job's exception as soon as it has ended, or `None` if it has a result."""

    def done(self) -> bool:
        """Whether the job has ended or was cancelled."""

    def running(self) -> bool:
        """Whether the job has started and not ended."""

    def cancelled(self) -> bool:
        """Whether the job was cancelled before it started."""

    def cancel(self) -> bool:
        """Cancel the job if it has not started; a running one is asked to stop."""

    def add_done_callback(self, fn: Callable[[Any], object]) -> None:
        """Call `fn(self)` once the job has ended."""

    def _get_snapshot(self) -> tuple[bool, bool, _Out | None, BaseException | None]:
        """Python 3.14's: done, cancelled, result and exception, as they are at one moment."""

    def set_result(self, result: Any) -> NoReturn:
        """Raises `InvalidStateError`: the job sets its outcome."""

    def set_exception(self, exception: Any) -> NoReturn:
        """Raises `InvalidStateError`: the job sets its outcome."""

    def set_running_or_notify_cancel(self) -> Literal[False]:
        """`False` if the job was cancelled, `RuntimeError` if it has started, else `InvalidStateError`."""

    _condition: Condition
    _waiters: list[Any]
    _state: str
    _result: _Out | None
    _exception: BaseException | None

class ExecutorBase:
    """The native half of `loomy.Executor`. It trusts the arguments of `__init__`."""

    def __init__(
        self,
        kind: Literal["executor"],
        initializer: Callable[[], object] | None,
        size: int,
        name: str,
        hooks: Hooks[Any, Any] | None,
        max_pending: int | None,
        on_full: Literal["block", "raise", "caller_runs"],
        copy_context: bool,
        affinity: Literal["any", "worker"],
        spin: float | None,
        /,
    ) -> None: ...
    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Queue `fn(*args, **kwargs)` and return its `Future` at once."""

    def _map(
        self, fn: Callable[..., _T], items: Iterable[Any], spread: bool, end: float | None, /
    ) -> Generator[_T] | None:
        """`fn(item)`, or `fn(*item)` if `spread`, for each item: an iterator over the results in order.

        end: a reading of `time.monotonic()`. `None` if the queue is bounded: submit them one by one.
        """

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more jobs; what was submitted is still run."""

    def set_max_workers(self, n: int, *, wait: bool = True, timeout: float | None = None) -> None:
        """Change the number of workers, from any thread, also from inside a job."""

    def set_hooks(self, hooks: Hooks[Any, Any] | None, /) -> None:
        """Replace the hooks, from any thread, also from a hook."""

    @property
    def max_workers(self) -> int:
        """Jobs that may run at once."""

    @property
    def queue_length(self) -> int:
        """Jobs queued and not started."""

    @property
    def running(self) -> int:
        """Jobs started and not ended."""

    @property
    def name(self) -> str:
        """What the threads are called."""

    _max_workers: int
    _shutdown: bool
    _threads: AbstractSet[Thread]
    _broken: bool  # as typeshed has it; the message, once it is broken
    def _stats(self) -> _Stats: ...
