"""What the core needs from asyncio, and the waits that are not hot.

Imported at the first `await`, so that `import loomy` does not import asyncio.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from loomy._loomy import Context
from loomy.errors import JobCancelled

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from loomy._loomy import AsyncResult, MapIterator

Out = TypeVar("Out")


running_loop = asyncio._get_running_loop
set_running_loop = asyncio._set_running_loop

# The core keeps an object of its own as an attribute of each event loop; those of loops that take no
# attributes are here.
event_loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Any] = weakref.WeakKeyDictionary()

# While there are some, a task may be running inside a step of another.
eager_tasks: Collection[Any] = (
    getattr(asyncio.tasks, "_eager_tasks", ("cannot tell",)) if sys.version_info >= (3, 12) else ()
)


class CancelledJob(JobCancelled, asyncio.CancelledError):
    """What `AsyncResult.result()` raises for a cancelled job where an event loop runs.

    `asyncio.wait_for` and others tell by `asyncio.CancelledError` that the future they cancelled has ended.
    """

    __module__ = "loomy._asyncio_bridge"

    def __init__(self, error: object) -> None:
        super().__init__(str(error))


def task_cancelled(error: JobCancelled) -> asyncio.CancelledError:
    """What `asyncio.gather` raises when it was cancelled, or one of its jobs was."""
    cancelled = asyncio.CancelledError(str(error))
    cancelled.__cause__ = error
    return cancelled


def report_callback_error(
    loop: asyncio.AbstractEventLoop, callback: Callable[..., object], error: BaseException
) -> None:
    """What a done-callback raised goes where the loop sends what its own callbacks raise."""
    loop.call_exception_handler({"message": f"exception in done-callback {callback!r}", "exception": error})


def _running_loop() -> asyncio.AbstractEventLoop:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError(
            "a job can be awaited only where an asyncio event loop is running; elsewhere call its wait()"
        ) from None


async def next_result(results: MapIterator[Out]) -> Out:
    """`MapIterator.__anext__` when the next result is not there: wait for it without blocking the loop."""
    while (polled := results._poll()) is not None:
        try:
            if isinstance(polled, Context):
                await _place(results, polled)
            elif isinstance(polled, list):
                await _any_of(polled)
            else:
                return await _answer(polled)
        except BaseException as error:
            end_iteration(results, error)
            raise
    raise StopAsyncIteration


def end_iteration(results: MapIterator[Any], raised: BaseException | type[BaseException]) -> None:
    """An `async for` over a map was left in the middle; if its task was cancelled, so is what runs."""
    kind = raised if isinstance(raised, type) else type(raised)
    with suppress(ValueError):  # another thread is advancing it; what was raised goes on all the same
        if issubclass(kind, asyncio.CancelledError):
            results._cancel()
        else:
            results.close()


async def _place(results: MapIterator[Any], ctx: Context) -> None:
    """Wait for a place in a full queue."""
    try:
        await run_blocking(lambda: results._wait_for_place(ctx), abort=ctx.cancel, name="loomy-place")
    finally:
        ctx.cancel()


async def fail(results: MapIterator[Out], failed: AsyncResult[Out]) -> Out:
    """`MapIterator.__anext__` when the next job failed: the iteration ends with its error."""
    results.close()
    return await _answer(failed)


async def _answer(result: AsyncResult[Out]) -> Out:
    """A StopAsyncIteration would end the `async for` in silence; as in async generators it is an error."""
    try:
        return await result
    except StopAsyncIteration as error:
        raise RuntimeError("a job raised StopAsyncIteration; see __cause__") from error


async def _any_of(pending: list[AsyncResult[Any]]) -> None:
    ended = _running_loop().create_future()

    def end(_: object) -> None:
        if not ended.done():
            ended.set_result(None)

    for result in pending:
        result.add_done_callback(end)
    try:
        await ended
    finally:
        for result in pending:
            result.remove_done_callback(end)


async def run_blocking(
    call: Callable[[], None], abort: Callable[[], object] | None = None, *, name: str = "loomy-close"
) -> None:
    """Await `call()`, which blocks, on a thread of its own: it is the pool itself that is waited for.

    When the awaiting task is cancelled, `abort()` must make the call return soon, and that is waited for;
    without `abort` the call is left to finish alone. Either way the cancellation goes on.
    """
    loop = _running_loop()
    ended: asyncio.Future[BaseException | None] = loop.create_future()

    def end(error: BaseException | None) -> None:
        if not ended.done():
            ended.set_result(error)

    def run() -> None:
        error: BaseException | None = None
        try:
            call()
        except BaseException as raised:
            error = raised
        try:
            loop.call_soon_threadsafe(end, error)
        except RuntimeError:  # the loop was closed, so nobody is waiting
            pass
        finally:
            error = None  # no cycle between this frame and its traceback

    # A daemon, so that a job that never ends does not keep the interpreter; pools have an exit handler.
    threading.Thread(target=run, name=name, daemon=True).start()

    cancelled: asyncio.CancelledError | None = None
    while not ended.done():
        try:
            # Unlike awaiting the future itself, this leaves it alone when the task is cancelled.
            await asyncio.wait([ended])
        except asyncio.CancelledError as error:
            if abort is None:
                raise
            abort()
            cancelled = error
    outcome = ended.result() if cancelled is None else cancelled
    if outcome is not None:
        try:
            raise outcome
        finally:
            del outcome, cancelled  # no cycle between this frame and the traceback
