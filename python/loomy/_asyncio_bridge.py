"""How a job's end reaches an event loop.

Imported at the first `await`, so that `import loomy` does not import asyncio.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from loomy._loomy import AsyncResult, MapIterator

Out = TypeVar("Out")


class _Inbox:
    """Futures of one event loop that are ready to be resolved.

    Many jobs ending together cost one wake-up of the loop. Whoever takes the token wakes it; the loop puts
    the token back *before* it empties the inbox, so what is posted after that finds the token again. Both are
    deques and not a lock with a flag because a done-callback may run in a finaliser, inside another one on
    the same thread.
    """

    __slots__ = ("_loop", "_ready", "_token")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)  # a closed loop must not be kept by the thread that ran it
        self._ready: deque[asyncio.Future[None]] = deque()
        self._token = deque([None])

    def belongs_to(self, loop: asyncio.AbstractEventLoop) -> bool:
        return self._loop() is loop

    def post(self, future: asyncio.Future[None]) -> None:
        """Resolve `future` soon; from any thread. If its loop is closed, nobody can be awaiting it."""
        self._ready.append(future)
        try:
            self._token.pop()
        except IndexError:
            return  # a wake-up is on its way
        loop = self._loop()
        try:
            if loop is not None:
                loop.call_soon_threadsafe(self._drain)
                return
        except RuntimeError:  # closed
            pass
        self._ready.clear()
        self._token.append(None)

    def _drain(self) -> None:
        self._token.append(None)
        while self._ready:
            future = self._ready.popleft()
            if not future.done():  # the awaiting task may have been cancelled meanwhile
                future.set_result(None)


class _Local(threading.local):
    inbox: _Inbox | None = None


_local = _Local()


def _running_loop() -> asyncio.AbstractEventLoop:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError(
            "a job can be awaited only where an asyncio event loop is running; elsewhere call its wait()"
        ) from None


def _inbox_of(loop: asyncio.AbstractEventLoop) -> _Inbox:
    inbox = _local.inbox
    if inbox is None or not inbox.belongs_to(loop):
        inbox = _local.inbox = _Inbox(loop)
    return inbox


def await_result(result: AsyncResult[Out]) -> Generator[Any, None, Out]:
    """`AsyncResult.__await__`: wait without blocking the loop. Cancelling the task cancels the job."""
    if not result.done():
        loop = _running_loop()
        inbox = _inbox_of(loop)
        future: asyncio.Future[None] = loop.create_future()
        post = inbox.post
        result.add_done_callback(lambda _: post(future))
        try:
            yield from future
        except BaseException:  # the future never fails: this is CancelledError, or GeneratorExit
            result.cancel()
            raise
    return result.result()


async def next_result(results: MapIterator[Out]) -> Out:
    """`MapIterator.__anext__`: pull ahead, then wait for the next job without blocking the loop."""
    while (polled := results._poll()) is not None:
        if isinstance(polled, list):
            await _any_of(polled)
            continue
        try:
            return polled.result()
        except BaseException:
            results.close()
            raise
    raise StopAsyncIteration


async def _any_of(pending: list[AsyncResult[Any]]) -> None:
    inbox = _inbox_of(_running_loop())
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    for result in pending:
        result.add_done_callback(lambda _: inbox.post(future))
    await future


async def run_blocking(call: Callable[[], None], abort: Callable[[], object] | None = None) -> None:
    """Await `call()`, which blocks, on a thread of its own: the pool itself is what is being closed.

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
    threading.Thread(target=run, name="loomy-close", daemon=True).start()

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
